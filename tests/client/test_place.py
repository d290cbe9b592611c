"""The socket's directory, as a client finds it: nothing is sent where others could listen."""

import os
import socket
from collections.abc import Generator
from pathlib import Path

import pytest

from auth_agent_client import Agent, AgentNotRunning, UntrustedAgent


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    made = tmp_path / "run"
    made.mkdir(mode=0o700)
    return made


@pytest.fixture
def server(directory: Path, monkeypatch: pytest.MonkeyPatch) -> Generator[socket.socket, None, None]:
    """Listens in that directory, whose path may be longer than a socket's."""
    monkeypatch.chdir(directory.parent)
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind("run/agent.sock")
        listening.listen()
        listening.setblocking(False)
        yield listening


def came(server: socket.socket) -> bool:
    """Whether anybody has connected."""
    try:
        server.accept()[0].close()
    except BlockingIOError:
        return False
    return True


def refusal(path: str) -> str:
    with Agent(path) as agent, pytest.raises(UntrustedAgent) as refused:
        agent.hello()
    assert "nothing was sent" in refused.value.message
    assert "AUTH_AGENT_SOCK" in refused.value.remedy[-1].text
    assert not refused.value.retryable
    return "; ".join([refused.value.message, *map(str, refused.value.remedy)])


@pytest.mark.parametrize("mode", [0o755, 0o750, 0o710, 0o701, 0o770, 0o702])
def test_a_directory_that_others_may_enter_is_not_trusted(mode: int, directory: Path, server: socket.socket) -> None:
    directory.chmod(mode)
    assert "chmod 700 run" in refusal("run/agent.sock")
    assert not came(server)


def test_a_symbolic_link_to_a_directory_is_not_trusted(directory: Path, server: socket.socket) -> None:
    directory.with_name("link").symlink_to(directory)
    assert "link is not a directory" in refusal("link/agent.sock")
    assert not came(server)


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root, to be two users")
def test_another_users_directory_is_not_trusted(directory: Path, server: socket.socket) -> None:
    os.chown(directory, 65534, 65534)
    assert "belongs to the user 65534, not to you" in refusal("run/agent.sock")
    assert not came(server)


@pytest.mark.usefixtures("server")
@pytest.mark.parametrize("path", ["missing/agent.sock", "run/missing.sock"])
def test_where_nothing_is_no_agent_runs(path: str) -> None:
    with Agent(path) as agent, pytest.raises(AgentNotRunning, match="no agent listens"):
        agent.hello()


def test_what_can_not_be_a_directory_is_told_as_it_is(directory: Path, server: socket.socket) -> None:
    directory.with_name("file").touch()
    with Agent("file/run/agent.sock") as agent, pytest.raises(AgentNotRunning, match="Not a directory"):
        agent.hello()
    assert not came(server)
