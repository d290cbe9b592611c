"""The socket's directory, checked by the client: it sends nothing where others could listen."""

import os
import socket
from collections.abc import Generator
from pathlib import Path

import pytest

from auth_agent_client import Agent, AgentNotRunning, UntrustedAgent


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    path = tmp_path / "run"
    path.mkdir(mode=0o700)
    return path


@pytest.fixture
def server(directory: Path, monkeypatch: pytest.MonkeyPatch) -> Generator[socket.socket, None, None]:
    """Listen in that directory, by a relative path, since sun_path is short."""
    monkeypatch.chdir(directory.parent)
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind("run/agent.sock")
        listening.listen()
        listening.setblocking(False)
        yield listening


def has_connection(server: socket.socket) -> bool:
    """Return whether a client has connected."""
    try:
        server.accept()[0].close()
    except BlockingIOError:
        return False
    return True


def refusal_of(path: str) -> str:
    with Agent(path) as agent, pytest.raises(UntrustedAgent) as caught:
        agent.hello()
    assert "AUTH_AGENT_SOCK" in caught.value.remedy[-1].text
    assert not caught.value.retryable
    return "; ".join([caught.value.message, *map(str, caught.value.remedy)])


@pytest.mark.parametrize("mode", [0o755, 0o750, 0o710, 0o701, 0o770, 0o702])
def test_a_directory_that_others_may_enter_is_not_trusted(mode: int, directory: Path, server: socket.socket) -> None:
    directory.chmod(mode)
    assert "chmod 700 run" in refusal_of("run/agent.sock")
    assert not has_connection(server)


def test_a_symbolic_link_to_a_directory_is_not_trusted(directory: Path, server: socket.socket) -> None:
    directory.with_name("link").symlink_to(directory)
    assert refusal_of("link/agent.sock").startswith("link ")
    assert not has_connection(server)


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root, to be two users")
def test_another_users_directory_is_not_trusted(directory: Path, server: socket.socket) -> None:
    os.chown(directory, 65534, 65534)
    assert "65534" in refusal_of("run/agent.sock")
    assert not has_connection(server)


@pytest.mark.usefixtures("server")
@pytest.mark.parametrize("path", ["missing/agent.sock", "run/missing.sock"])
def test_without_a_socket_no_agent_is_running(path: str) -> None:
    with Agent(path) as agent, pytest.raises(AgentNotRunning, match=path):
        agent.hello()


def test_a_path_below_a_file_is_an_error_with_the_systems_reason(directory: Path, server: socket.socket) -> None:
    directory.with_name("file").touch()
    with Agent("file/run/agent.sock") as agent, pytest.raises(AgentNotRunning, match="Not a directory"):
        agent.hello()
    assert not has_connection(server)
