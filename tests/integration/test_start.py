"""`auth-agent start`, and `auth-agent run -- COMMAND`: an agent in the background, and one for a command's lifetime."""

import os
import shutil
import subprocess
import sys
from collections.abc import Generator
from pathlib import Path

import pytest

from auth_agent.cli.start import setting
from auth_agent.host.log_file import MAX_SIZE, old_log
from auth_agent_client.paths import SUN_PATH
from tests.integration.agent_process import COMMAND, PATIENCE, AgentProcess, until
from tests.integration.conftest import account, log_in
from tests.integration.terminal import Terminal
from tests.op.provider import OpenIDProvider

# For a command that runs beside its agent: it prints the agent's process id, socket and store.
SHOW_AGENT = """
from auth_agent_client import Agent
with Agent() as client:
    agent = client.status().agent
print(agent.pid, agent.socket, agent.store.name, flush=True)
"""


@pytest.fixture
def alone() -> Generator[AgentProcess, None, None]:
    """A place for commands, where no agent runs and no keyring is; an agent that is started there is stopped."""
    with AgentProcess(started=False) as process:
        runtime = process.home / "runtime"
        runtime.mkdir(mode=0o700)
        process.environment.update(XDG_RUNTIME_DIR=str(runtime), DBUS_SESSION_BUS_ADDRESS="unix:path=/nonexistent")
        for name in ("AUTH_AGENT_SOCK", "AUTH_AGENT_LOG"):
            del process.environment[name]
        process.socket = runtime / "auth-agent" / "agent.sock"
        try:
            yield process
        finally:
            process.run("stop")


@pytest.fixture
def show_agent(alone: AgentProcess) -> str:
    """A command line that shows the agent it talks to."""
    script = alone.home / "show.py"
    script.write_text(SHOW_AGENT)
    return f"{sys.executable} {script}"


def text_of(log: Path) -> str:
    """Return what a log has, which there may be none of just now."""
    try:
        return log.read_text()
    except FileNotFoundError:
        return ""


def is_running(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


# ---- in the background


def test_start_starts_an_agent_once(alone: AgentProcess) -> None:
    first = alone.run("start")
    assert (first.returncode, first.stdout) == (0, "")
    with alone.client() as client:
        pid = client.hello().pid
    assert f"started one (process {pid})" in first.stderr
    second = alone.run("start")
    assert (second.returncode, second.stderr) == (0, f"The agent is already running (process {pid}).\n")


def test_an_agent_that_was_started_outlives_the_command_and_its_terminal(alone: AgentProcess) -> None:
    with Terminal([*COMMAND, "start"], alone.environment) as terminal:
        assert terminal.end() == 0, terminal.shown
    assert alone.answers()


def test_start_uses_the_store_that_is_named_and_refuses_if_another_is_in_use(alone: AgentProcess) -> None:
    assert alone.run("start", "--store", "memory").returncode == 0
    with alone.client() as client:
        assert client.status().agent.store.name == "memory"
    result = alone.run("start", "--store", "keyring")
    assert result.returncode == 1
    assert "auth-agent stop" in result.stderr


def test_a_start_that_fails_leaves_the_log_of_the_agent_that_runs(alone: AgentProcess) -> None:
    assert alone.run("start", "--store", "file").returncode == 0
    log = alone.home / ".local" / "state" / "auth-agent" / "agent.log"
    alone.environment["AUTH_AGENT_SOCK"] = str(alone.socket.with_name("second.sock"))
    for _ in range(2):
        result = alone.run("start", "--store", "file")  # whose sessions the first agent has
        assert result.returncode == 1
        assert " listening " not in result.stderr  # the running agent's line
    del alone.environment["AUTH_AGENT_SOCK"]
    until(lambda: " listening " in log.read_text())
    assert not old_log(log).exists()


def test_a_log_that_is_no_file_is_put_aside(alone: AgentProcess) -> None:
    log = alone.home / ".local" / "state" / "auth-agent" / "agent.log"
    log.parent.mkdir(mode=0o700, parents=True)
    os.mkfifo(log)
    assert alone.run("start", "--store", "memory").returncode == 0
    assert log.is_file()


def test_the_log_of_an_agent_in_the_background_is_rotated_while_it_runs(alone: AgentProcess) -> None:
    assert alone.run("start", "--store", "memory").returncode == 0
    log = alone.home / ".local" / "state" / "auth-agent" / "agent.log"
    with log.open("ab") as file:
        file.write(b"x" * MAX_SIZE)
    assert alone.run("reload").returncode == 0
    until(lambda: " reload " in text_of(log))
    assert old_log(log).stat().st_size > MAX_SIZE
    assert alone.run("restart", "--force").returncode == 0
    until(lambda: text_of(log).count(" listening ") == 1)  # the new agent has the same log
    log.unlink()
    assert alone.run("reload").returncode == 0
    until(lambda: " reload " in text_of(log))


# ---- the store that is remembered


def note_of(alone: AgentProcess) -> Path:
    return alone.home / ".local" / "state" / "auth-agent" / "store-in-use.json"


def use_file(alone: AgentProcess) -> str:
    """Have an agent use the store `file`, and end; return the note of it."""
    assert alone.run("start", "--store", "file").returncode == 0
    assert alone.run("stop").returncode == 0
    return note_of(alone).read_text()


def store_of(alone: AgentProcess) -> str | None:
    with alone.client() as client:
        return client.status().agent.store.name


def test_the_store_is_remembered_until_another_one_is_named(alone: AgentProcess) -> None:
    assert alone.run("start").returncode == 0
    assert store_of(alone) == "keyring"
    assert alone.run("stop").returncode == 0
    use_file(alone)
    assert alone.run("start").returncode == 0
    assert store_of(alone) == "file"
    before = agent_id(alone)
    assert alone.run("restart").returncode == 0
    assert agent_id(alone) != before
    assert store_of(alone) == "file"
    assert alone.run("stop").returncode == 0
    assert alone.run("start", "--store", "keyring").returncode == 0
    until(lambda: "store name=keyring before=file" in log_of(alone))
    assert alone.run("restart").returncode == 0
    assert alone.run("stop").returncode == 0
    assert alone.run("start").returncode == 0
    assert store_of(alone) == "keyring"


def wait_for_end_of(pid: int) -> None:
    until(lambda: not is_running(pid))


def agent_id(alone: AgentProcess) -> str | None:
    with alone.client() as client:
        return client.hello().agent_id


def log_of(alone: AgentProcess) -> str:
    return note_of(alone).with_name("agent.log").read_text()


def test_agents_for_a_command_and_in_memory_do_not_change_what_is_remembered(
    alone: AgentProcess, show_agent: str
) -> None:
    note = use_file(alone)
    command = ("--", "sh", "-c", show_agent)
    for options, store in (((), "file"), (("--store", "memory"), "memory"), (("--store", "keyring"), "keyring")):
        result = alone.run("run", *options, *command)
        assert result.returncode == 0, result.stderr
        pid, _, used = result.stdout.split()
        assert used == store
        wait_for_end_of(int(pid))
    assert alone.run("start", "--store", "memory").returncode == 0
    assert store_of(alone) == "memory"
    assert note_of(alone).read_text() == note


def test_an_agent_beside_another_one_does_not_change_what_is_remembered(alone: AgentProcess) -> None:
    assert alone.run("start").returncode == 0
    note = note_of(alone).read_text()
    with AgentProcess(environment={"HOME": str(alone.home)}, store="file") as beside:
        beside.until_logged("store name=file not_remembered=")
    assert note_of(alone).read_text() == note


def test_the_store_of_an_agent_that_can_not_start_is_not_remembered(alone: AgentProcess) -> None:
    note = use_file(alone)
    alone.socket.mkdir()
    assert alone.run("run", "--store", "keyring").returncode == 1
    assert note_of(alone).read_text() == note
    alone.socket.rmdir()


@pytest.mark.parametrize("content", ["{", None])
def test_no_agent_starts_if_it_is_not_known_which_store_has_the_sessions(
    content: str | None, alone: AgentProcess
) -> None:
    use_file(alone)
    note_of(alone).unlink()
    if content is None:
        note_of(alone).mkdir()
    else:
        note_of(alone).write_text(content)
    for command in (("start",), ("run",), ("run", "--", "true")):
        result = alone.run(*command)
        assert result.returncode == 1
        assert str(note_of(alone)) in result.stderr
        assert "auth-agent start --store file" in result.stderr
    assert alone.run("start", "--store", "file").returncode == 0
    assert store_of(alone) == "file"
    if content is None:
        until(lambda: f"note={note_of(alone)} error='Is a directory'" in log_of(alone))
    else:
        assert alone.run("stop").returncode == 0
        assert alone.run("start").returncode == 0
        assert store_of(alone) == "file"


def test_an_agent_that_would_not_know_its_store_does_not_restart(alone: AgentProcess) -> None:
    use_file(alone)
    assert alone.run("start").returncode == 0
    before = agent_id(alone)
    note_of(alone).write_text("{")
    result = alone.run("restart")
    assert result.returncode == 1
    assert str(note_of(alone)) in result.stderr
    assert agent_id(alone) == before


def test_a_rename_without_an_agent_excludes_agents_of_the_store_in_use(
    alone: AgentProcess, provider: OpenIDProvider
) -> None:
    alone.configure({"work": account(provider)})
    note = use_file(alone)
    with AgentProcess(environment={"HOME": str(alone.home)}, store="file"):
        result = alone.run("account", "rename", "work", "home")
        assert result.returncode == 1
        assert "another agent" in result.stderr
    assert alone.run("account", "rename", "work", "home").returncode == 0
    assert note_of(alone).read_text() == note


# ---- what a shell is told


@pytest.mark.parametrize("shell", ["sh", "bash", "zsh", "fish"])
def test_a_shell_sets_the_socket_by_the_output_of_start(shell: str, alone: AgentProcess) -> None:
    program = shutil.which(shell)
    if program is None:
        pytest.skip(f"apt-get install {shell}")
    alone.environment["SHELL"] = program
    result = alone.run("start", "--store", "memory", "--shell")
    script = f'eval "$LINE"\n{sys.executable} -c "import os; print(os.environ[\'AUTH_AGENT_SOCK\'])"'
    printed = subprocess.run(
        [program, "-c", script],
        env=alone.environment | {"LINE": result.stdout},
        capture_output=True,
        text=True,
        check=True,
        timeout=PATIENCE,
    )
    assert printed.stdout.strip() == str(alone.socket)


@pytest.mark.parametrize(
    ("shell", "line"),
    [
        ("", "NAME='it'\"'\"'s \\'; export NAME;"),
        ("/bin/dash", "NAME='it'\"'\"'s \\'; export NAME;"),
        ("/usr/bin/fish", "set -gx NAME 'it\\'s \\\\';"),
        ("/bin/tcsh", "setenv NAME 'it'\"'\"'s \\';"),
    ],
)
def test_a_value_is_quoted_for_its_shell(shell: str, line: str) -> None:
    assert setting("NAME", "it's \\", shell) == line


# ---- for a command


def test_a_command_has_an_agent_of_its_own_and_its_exit_code_is_passed_on(alone: AgentProcess, show_agent: str) -> None:
    result = alone.run("run", "--store", "memory", "--", "sh", "-c", f"{show_agent}; exit 7")
    pid, socket, store = result.stdout.split()
    assert (result.returncode, store, result.stderr) == (7, "memory", "")
    assert Path(socket) != alone.socket
    until(lambda: not is_running(int(pid)))
    until(lambda: not Path(socket).parent.exists())


def test_the_agent_of_a_command_ends_if_the_command_is_killed(alone: AgentProcess, show_agent: str) -> None:
    with alone.begin("run", "--store", "memory", "--", "sh", "-c", f"{show_agent}; exec sleep 120") as running:
        until(lambda: "memory" in running.output())
        pid, socket, _ = running.output().split()
        assert is_running(int(pid))
        running.process.kill()
        until(lambda: not is_running(int(pid)))
        until(lambda: not Path(socket).parent.exists())


def test_ctrl_c_reaches_the_command_and_not_its_agent(alone: AgentProcess) -> None:
    script = "trap 'echo caught' INT; echo ready; read line; "
    script += f"{sys.executable} -m auth_agent status | grep -c 'in memory only'; exit 3"
    with Terminal([*COMMAND, "run", "--store", "memory", "sh", "-c", script], alone.environment) as terminal:
        terminal.until("ready")
        terminal.type("\x03")
        terminal.until("caught")
        terminal.type("\n")  # if the shell had not begun to read when the signal came
        assert terminal.end() == 3, terminal.shown
    assert "\n1\n" in terminal.shown


def test_the_agent_of_a_command_can_restart_and_still_ends_with_it(alone: AgentProcess, show_agent: str) -> None:
    script = f"{sys.executable} -m auth_agent restart --force; {show_agent}"
    result = alone.run("run", "--store", "memory", "--", "sh", "-c", script)
    assert result.returncode == 0, result.stderr
    pid, socket, _ = result.stdout.split()
    until(lambda: not is_running(int(pid)))
    until(lambda: not Path(socket).parent.exists())


def test_a_command_beside_the_users_agent_needs_another_store(alone: AgentProcess, provider: OpenIDProvider) -> None:
    alone.configure({"work": account(provider)})
    assert alone.run("start").returncode == 0
    result = alone.run("run", "--", "true")
    assert result.returncode == 1
    assert "auth-agent status" in result.stderr
    assert alone.run("run", "--store", "memory", "--", "true").returncode == 0
    assert alone.answers()


@pytest.mark.parametrize(("mode", "code"), [(None, 127), (0o600, 126)], ids=["missing", "not executable"])
def test_a_command_that_can_not_be_executed(mode: int | None, code: int, alone: AgentProcess) -> None:
    program = alone.home / "program"
    if mode is not None:
        program.touch(mode)
    result = alone.run("run", "--store", "memory", "--", str(program))
    assert result.returncode == code
    assert str(program) in result.stderr
    until(lambda: not list((alone.home / "runtime").glob("auth-agent-*")))


def test_an_agent_that_can_not_start_keeps_the_command_from_running(alone: AgentProcess) -> None:
    alone.config.write_text("mistake")
    result = alone.run("run", "--store", "memory", "--", "touch", str(alone.home / "ran"))
    assert result.returncode == 1
    assert str(alone.config) in result.stderr
    assert not (alone.home / "ran").exists()
    assert not list((alone.home / "runtime").glob("auth-agent-*"))


def test_a_long_runtime_directory_does_not_keep_a_command_from_its_agent(alone: AgentProcess) -> None:
    runtime = alone.home / ("long" * (SUN_PATH // 4))
    runtime.mkdir(mode=0o700)
    alone.environment["XDG_RUNTIME_DIR"] = str(runtime)
    assert alone.run("run", "--store", "memory", "--", "true").returncode == 0


def test_the_agent_of_a_command_that_has_ended_already_stops_at_once(alone: AgentProcess) -> None:
    directory = alone.home / "own"
    directory.mkdir(mode=0o700)
    alone.environment["AUTH_AGENT_SOCK"] = str(directory / "agent.sock")
    with subprocess.Popen(["true"]) as ended:
        pass
    result = alone.run("run", "--store", "memory", "--for-command", str(ended.pid))
    assert result.returncode == 0
    assert not directory.exists()


def test_a_stop_names_the_sessions_that_were_only_in_memory(agent: AgentProcess, provider: OpenIDProvider) -> None:
    with agent.client() as client:
        log_in(client, provider)
    result = agent.run("stop")
    assert result.returncode == 0
    assert "work" in result.stderr.splitlines()[-1]
    assert agent.process.wait(PATIENCE) == 0
    agent.start()
    assert "memory" not in agent.run("stop").stderr
