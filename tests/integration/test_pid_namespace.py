"""`auth-agent stop` and `restart` where a process id means another process than it means to the agent."""

import os
import socket
import subprocess
from collections.abc import Generator
from pathlib import Path

import pytest

from auth_agent import remedies
from auth_agent.cli.agent_process import agent_process
from auth_agent_client import Agent, link
from tests.integration.agent_process import COMMAND, PATIENCE, AgentProcess

OWN_NAMESPACE = ("unshare", "--pid", "--fork", "--kill-child", "--mount-proc")
# Has a process of nobody's concern get the agent's process id, `$1`, in there, and then runs the rest of its arguments.
BESIDE_A_STRANGER = """
echo $(($1 - 1)) > /proc/sys/kernel/ns_last_pid
sleep 300 & stranger=$!
test $stranger = $1 || exit 99
shift
"$@"
code=$?
kill -0 $stranger && test "$(cut -d ' ' -f 3 < /proc/$stranger/stat)" = S || exit 98
exit $code
"""


@pytest.fixture(autouse=True, scope="module")
def _namespaces() -> None:
    if os.geteuid() != 0 or subprocess.run([*OWN_NAMESPACE, "true"], capture_output=True, check=False).returncode:
        pytest.skip("only root can make a PID namespace, and not in every container")


@pytest.fixture
def agent() -> Generator[AgentProcess, None, None]:
    """An agent without an account, that does not run yet."""
    with AgentProcess(started=False, executed=True) as process:
        yield process


@pytest.mark.parametrize("command", [("stop",), ("restart",), ("restart", "--force")])
def test_a_command_in_a_container_signals_no_process_there_with_the_agents_number(
    command: tuple[str, ...], agent: AgentProcess
) -> None:
    agent.start()
    pid = agent.process.pid
    result = subprocess.run(
        [*OWN_NAMESPACE, "bash", "-c", BESIDE_A_STRANGER, "_", str(pid), *COMMAND, *command],
        env=agent.environment,
        capture_output=True,
        text=True,
        timeout=2 * PATIENCE,
        check=False,
    )
    assert result.returncode == 1, result.stderr
    assert f"process {pid}" in result.stderr
    assert f"  {remedies.run_where_the_agent_is()}\n" in result.stderr
    assert agent.process.poll() is None
    assert agent.logged(" info (stopping|restarting)") == []


@pytest.mark.parametrize("command", [("stop",), ("restart", "--force")])
def test_an_agent_in_a_container_is_not_signalled_from_outside(command: tuple[str, ...], agent: AgentProcess) -> None:
    # The first process in there is the shell.
    agent.launch_with(*OWN_NAMESPACE, "sh", "-c", '"$@" & wait', "_")
    agent.start()
    with agent.client() as client:
        inner = client.hello().pid
        result = agent.run(*command)
        assert result.returncode == 1
        assert f"process {inner}" in result.stderr
        (outer,) = processes_called(agent, inner)
        assert f"process {outer} to the kernel" in result.stderr
        assert client.hello().pid == inner
    assert agent.logged(" info (stopping|restarting)") == []


def processes_called(agent: AgentProcess, inner: int | None) -> list[int]:
    """Return the processes in the agent's PID namespace that have that number there."""
    statuses = [path.read_text() for path in Path("/proc").glob("[0-9]*/status")]
    numbers = [text.partition("NSpid:")[2].partition("\n")[0].split() for text in statuses]
    below = children_of(agent.process.pid)
    return [int(line[0]) for line in numbers if len(line) > 1 and int(line[-1]) == inner and int(line[0]) in below]


def children_of(pid: int) -> set[int]:
    """Return the process's children, and theirs."""
    children = {int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()}
    return children.union(*map(children_of, children))


def test_the_processes_in_one_container_may_signal_each_other(agent: AgentProcess) -> None:
    script = f'"$@" & until {" ".join(COMMAND)} stop 2>&1; do sleep 0.1; done; wait; echo ended'
    agent.launch_with(*OWN_NAMESPACE, "sh", "-c", script, "_")
    agent.spawn()
    assert agent.process.wait(PATIENCE) == 0
    assert agent.log.splitlines()[-2:] == ["stopped", "ended"]


def no_pidfd(_: socket.socket) -> None:
    """As `peer_pidfd` on Linux before 6.5."""


def test_a_kernel_without_a_pidfd_of_the_peer_is_enough(agent: AgentProcess, monkeypatch: pytest.MonkeyPatch) -> None:
    agent.start()
    monkeypatch.setattr(link, "peer_pidfd", no_pidfd)
    monkeypatch.setenv("AUTH_AGENT_SOCK", str(agent.socket))
    with Agent() as client, agent_process(client) as process:
        assert process.pid == agent.process.pid
        process.restart()
        agent.until_logged(" listening ", 2)
        process.stop()
    assert agent.process.wait(PATIENCE) == 0
