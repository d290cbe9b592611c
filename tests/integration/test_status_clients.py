"""`status --clients` of a live agent, with real processes as clients."""

import json
import os
import subprocess
import sys
from typing import Any

import pytest

from auth_agent_client import Agent
from tests.integration.agent_process import AgentProcess
from tests.integration.conftest import account, log_in
from tests.integration.terminal import Terminal
from tests.op.provider import OpenIDProvider

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="other systems tell no more than a pid")

TAKE = "from auth_agent_client import Agent; Agent().token('work')"


@pytest.fixture
def agent(agent: AgentProcess, provider: OpenIDProvider) -> AgentProcess:
    """An agent with a session of `work`, and `home` besides."""
    agent.configure({"work": account(provider), "home": account(provider)})
    with agent.client() as client:
        client.reload()
        log_in(client, provider)
    return agent


def clients(agent: AgentProcess, *arguments: str) -> list[dict[str, Any]]:
    """Return the rows of `auth-agent status --clients`, the latest first."""
    result = agent.run("status", "--clients", "--json", *arguments)
    assert (result.returncode, result.stderr) == (0, "")
    rows: list[dict[str, Any]] = json.loads(result.stdout)["clients"]
    return rows


def script(agent: AgentProcess, name: str, text: str) -> str:
    """A program of that name."""
    path = agent.home / name
    path.write_text(f"#!{sys.executable}\n{text}\n")
    path.chmod(0o700)
    return str(path)


def run(agent: AgentProcess, *command: str) -> int:
    """Run it to its end; its pid."""
    process = subprocess.Popen(command, env=agent.environment)
    assert process.wait(60) == 0
    return process.pid


def test_without_requests_the_table_of_clients_is_empty(agent: AgentProcess) -> None:
    assert clients(agent) == []
    assert (
        "No program has taken a token of work since the agent started"
        in agent.run("status", "work", "--clients").stdout
    )


def test_two_programs_are_two_rows_also_after_their_end(agent: AgentProcess) -> None:
    first, second = script(agent, "backup", TAKE), script(agent, "calendar-sync-of-mine", TAKE)
    pids = [run(agent, first), run(agent, second)]
    rows = clients(agent)
    assert [row["program"] for row in rows] == ["calendar-sync-o", "backup"]  # the kernel cuts at 15 bytes
    assert [row["pid"] for row in rows] == pids[::-1]
    assert {row["executable"] for row in rows} == {os.path.realpath(sys.executable)}
    assert [row["methods"] for row in rows] == [{"token": 1}] * 2
    assert rows[0]["last_at"] >= rows[1]["last_at"]


def test_a_loop_of_short_commands_is_one_row(agent: AgentProcess) -> None:
    pids = [run(agent, *agent.command, "token", "work") for _ in range(10)]
    (row,) = clients(agent)
    assert (row["methods"], row["pid"]) == ({"token": 10}, pids[-1])
    assert row["program"].startswith("python")


def test_a_forked_child_has_a_pid_of_its_own_and_is_the_same_program(agent: AgentProcess) -> None:
    text = """
import os
from auth_agent_client import Agent
agent = Agent()
agent.token("work")
child = os.fork()
if child == 0:
    agent.token("work")
    os._exit(0)
assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
open("child", "w").write(str(child))
"""
    agent.environment["PYTHONDONTWRITEBYTECODE"] = "1"
    process = subprocess.Popen([script(agent, "forks", text)], env=agent.environment, cwd=agent.home)
    assert process.wait(60) == 0
    (row,) = clients(agent)
    assert (row["program"], row["methods"]) == ("forks", {"token": 2})
    assert row["pid"] == int((agent.home / "child").read_text())


def test_arguments_of_programs_are_not_shown(agent: AgentProcess) -> None:
    run(agent, script(agent, "careless", TAKE), "--password", "canary-of-an-argument")
    assert "canary" not in agent.run("status", "--clients", "--json").stdout
    assert "canary" not in agent.log


def test_accounts_are_counted_separately(agent: AgentProcess, client: Agent, provider: OpenIDProvider) -> None:
    log_in(client, provider, "home")
    client.token("work")
    client.profile("home")
    assert [(row["account"], row["methods"]) for row in clients(agent)] == [
        ("home", {"profile": 1}),
        ("work", {"token": 1}),
    ]
    assert [row["account"] for row in clients(agent, "work")] == ["work"]
    assert agent.run("status", "nobody", "--clients").returncode == 1


def test_a_terminal_shows_the_table_of_clients(agent: AgentProcess) -> None:
    run(agent, script(agent, "backup", TAKE))
    with Terminal([*agent.command, "status", "--clients"], agent.environment, 120) as terminal:
        assert terminal.end() == 0
        lines = terminal.shown.splitlines()
    assert lines[0].split() == ["PROGRAM", "ACCOUNT", "LAST", "TIMES", "PID", "FROM"]
    assert lines[1].split()[:2] == ["backup", "work"]


def test_clients_and_check_exclude_each_other(agent: AgentProcess) -> None:
    result = agent.run("status", "--clients", "--check")
    assert (result.returncode, result.stdout) == (2, "")


def test_a_restart_clears_the_table_of_clients(agent: AgentProcess) -> None:
    run(agent, script(agent, "backup", TAKE))
    assert len(clients(agent)) == 1
    agent.terminate()
    agent.start()
    assert clients(agent) == []
