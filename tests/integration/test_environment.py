"""What a shell, `sudo`, a container or a full disk does to the commands: each says what it is, and what helps."""

import os
import shlex
import signal
import subprocess
import sys
from collections.abc import Generator
from pathlib import Path

import pytest

from auth_agent import remedies
from tests.integration.agent_process import COMMAND, PATIENCE, AgentProcess, until
from tests.integration.conftest import account, log_in, record
from tests.integration.keyring_session import KeyringSession
from tests.op.provider import OpenIDProvider

NOBODY = 65534
ADD = ("account", "add", "work", "--issuer", "https://acme.example/", "--client-id", "native-app")


@pytest.fixture
def alone() -> Generator[AgentProcess, None, None]:
    """An environment of the variables that each shell has, and no agent."""
    with AgentProcess(started=False) as process:
        for name in ("AUTH_AGENT_SOCK", "AUTH_AGENT_CONFIG"):
            del process.environment[name]
        yield process


def run(process: AgentProcess, *arguments: str, within: tuple[str, ...] = ()) -> "subprocess.CompletedProcess[str]":
    """Run a command that is expected to fail."""
    command = [*within, *COMMAND, *arguments]
    return subprocess.run(
        command, env=process.environment, capture_output=True, text=True, timeout=60, check=False, cwd="/"
    )


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can write where another user can")
@pytest.mark.parametrize(
    "arguments",
    [
        ADD,
        ("run", "--", "true"),
        ("run",),
        ("run", "--store", "memory"),
        ("run", "--store", "file"),
        ("start",),
        ("login", "work", *ADD[3:]),
    ],
    ids=" ".join,
)
def test_root_makes_nothing_in_a_users_directories(arguments: tuple[str, ...], alone: AgentProcess) -> None:
    os.chown(alone.home, NOBODY, NOBODY)
    before = sorted(alone.home.rglob("*"))
    result = run(alone, *arguments)
    assert result.returncode == 1
    assert str(remedies.as_yourself()) in result.stderr
    assert sorted(alone.home.rglob("*")) == before


def test_with_any_umask_nobody_else_may_write_beside_the_configuration(alone: AgentProcess) -> None:
    before = os.umask(0)
    try:
        assert run(alone, *ADD).returncode == 0
    finally:
        os.umask(before)
    made = [alone.home / ".config", alone.home / ".config/auth-agent"]
    assert [directory.stat().st_mode & 0o777 for directory in made] == [0o700, 0o700]


def test_a_relative_path_in_a_removed_working_directory_is_named(alone: AgentProcess, tmp_path: Path) -> None:
    script = f"cd {shlex.quote(str(tmp_path))} && mkdir gone && cd gone && rmdir ../gone && exec "
    within = ("sh", "-c", f'{script} "$@"', "sh")
    assert "--config" in run(alone, "--config", "my.toml", "config", "path", within=within).stderr
    assert run(alone, "config", "path", within=within).returncode == 0
    alone.environment["AUTH_AGENT_CONFIG"] = "my.toml"
    assert "AUTH_AGENT_CONFIG" in run(alone, "config", "path", within=within).stderr


@pytest.mark.parametrize(
    ("mount", "reason"),
    [("size=64k,nr_inodes=2", "No space left on device"), ("ro", "Read-only file system")],
)
def test_a_disk_that_takes_nothing_is_named_with_the_file(mount: str, reason: str, alone: AgentProcess) -> None:
    if subprocess.run(["unshare", "--mount", "true"], capture_output=True, check=False).returncode != 0:
        pytest.skip("nothing can be mounted: needs root")
    script = f"mount -t tmpfs -o {mount} tmpfs {shlex.quote(str(alone.home))} && exec "
    within = ("unshare", "--mount", "sh", "-c", f'{script} "$@"', "sh")
    result = run(alone, "start", within=within)
    assert result.returncode == 1
    assert "standard output" not in result.stderr
    assert f"{alone.home}/.local" in result.stderr
    assert reason in result.stderr


@pytest.mark.parametrize("arguments", [("config", "path"), ("completion", "bash")])
def test_only_what_standard_output_does_not_take_is_its_fault(arguments: tuple[str, ...], alone: AgentProcess) -> None:
    result = run(alone, *arguments, within=("sh", "-c", 'exec "$@" > /dev/full', "sh"))
    assert result.returncode == 1
    assert result.stderr.startswith("auth-agent: standard output: ")


def test_an_agent_of_another_host_that_shares_the_home_directory_is_named(alone: AgentProcess) -> None:
    if (
        subprocess.run(["unshare", "--uts", "--pid", "--fork", "true"], capture_output=True, check=False).returncode
        != 0
    ):
        pytest.skip("no host name can be set: needs root")
    with KeyringSession(keyring=False) as bus:
        alone.environment.update(bus.environment)
        alone.store = "keyring"
        alone.environment["AUTH_AGENT_SOCK"] = str(alone.socket)
        # With a PID namespace: of this kernel and under another name, it would be an agent of this host.
        alone.launch_with(
            "unshare", "--uts", "--pid", "--fork", "--kill-child", "sh", "-c", 'hostname host-one && exec "$@"', "sh"
        )
        alone.start()
        alone.environment["AUTH_AGENT_SOCK"] = str(alone.socket.with_name("second.sock"))
        result = run(alone, "run")
    assert result.returncode == 1
    assert "on the host host-one" in result.stderr
    assert str(remedies.own_state_directory()) in result.stderr


# ---- what a process inherits


DEAF = """
import os, signal, sys
signal.pthread_sigmask(signal.SIG_BLOCK, set(signal.Signals) - {signal.SIGKILL, signal.SIGSTOP})
for signum in (signal.SIGCHLD, signal.SIGTERM, signal.SIGUSR1, signal.SIGALRM):
    signal.signal(signum, signal.SIG_IGN)
os.execvp(sys.argv[1], sys.argv[1:])
"""


def test_an_agent_whose_parent_blocks_and_ignores_signals_works_as_any_other(provider: OpenIDProvider) -> None:
    with KeyringSession() as keyring:
        accounts = {"work": account(provider)}
        with AgentProcess(accounts, environment=keyring.environment, store="keyring", started=False) as agent:
            agent.launch_with(sys.executable, "-c", DEAF)
            agent.start()
            with agent.client() as client:
                log_in(client, provider)
                until(lambda: record(client).saved is True)
            agent.process.send_signal(signal.SIGHUP)
            agent.until_logged("reload ")
            worker = Path(f"/proc/{agent.process.pid}/task/{agent.process.pid}/children").read_text().split()[0]
            status = Path(f"/proc/{worker}/status").read_text()
            assert "SigBlk:\t0000000000000000" in status
            agent.process.terminate()
            assert agent.process.wait(PATIENCE) == 0


def test_an_agent_starts_without_streams_and_in_a_removed_directory(tmp_path: Path) -> None:
    with AgentProcess(started=False, log_is_read=False) as agent:
        script = f"cd {shlex.quote(str(tmp_path))} && mkdir gone && cd gone && rmdir ../gone && exec "
        agent.launch_with("sh", "-c", f'{script} "$@" <&- >&- 2>&-', "sh")
        agent.start()
        assert agent.run("status").returncode == 0
        pid = agent.process.pid
        assert agent.run("restart", "--force").returncode == 0
        assert agent.process.pid == pid
        assert agent.run("stop").returncode == 0


def test_a_limit_that_can_end_the_agent_is_in_its_log() -> None:
    with AgentProcess(started=False) as agent:
        agent.launch_with("sh", "-c", 'ulimit -t 600 && exec "$@"', "sh")
        agent.start()
        assert len(agent.until_logged("limit problem=")) == 1


def test_a_command_beside_an_agent_ends_by_sigpipe_as_in_a_shell(alone: AgentProcess) -> None:
    alone.environment["AUTH_AGENT_CONFIG"] = str(alone.config)
    script = "grep SigIgn /proc/self/status"
    result = run(alone, "run", "--store", "memory", "--", "sh", "-c", script)
    ignored = int(result.stdout.split()[1], 16)
    assert not ignored & (1 << (signal.SIGPIPE - 1))


@pytest.mark.parametrize(
    "variables",
    [
        {"PYTHONIOENCODING": "ascii"},
        {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"},
        {"LC_ALL": "de_DE.nonsense", "LANG": "nonsense"},
    ],
)
def test_a_locale_that_lacks_a_character_stops_no_command(variables: dict[str, str], alone: AgentProcess) -> None:
    alone.environment["AUTH_AGENT_CONFIG"] = str(alone.config)
    alone.configure({"work": {"issuer": "https://acme.example/", "client_id": "clïent"}})
    alone.environment.update(variables)
    for arguments in (("config", "show"), ("account", "show", "work"), ("account", "list"), ("config", "check")):
        result = run(alone, *arguments)
        assert result.returncode == 0, result.stderr


@pytest.mark.parametrize("name", ["XDG_RUNTIME_DIR", "XDG_STATE_HOME", "HOME"])
def test_no_agent_starts_with_a_relative_directory(name: str, alone: AgentProcess) -> None:
    alone.environment.update(
        {name: "relative", "AUTH_AGENT_SOCK": str(alone.socket), "AUTH_AGENT_CONFIG": str(alone.config)}
    )
    result = run(alone, "run")
    assert result.returncode == 1
    assert str(remedies.set_variable(name)) in result.stderr
