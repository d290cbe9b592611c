"""The socket's place: an inherited one is looked after by who passed it. Real agents test our own ones."""

import os
import socket
from collections.abc import Generator
from pathlib import Path

import pytest

from auth_agent.errors import StartupError
from auth_agent.ipc.listener import Listener

ELSEWHERE = Path("/nowhere/agent.sock")


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where a service manager's socket is; from within, since a socket's path has room for a hundred bytes."""
    tmp_path.chmod(0o700)
    monkeypatch.chdir(tmp_path)
    return tmp_path / "agent.sock"


@pytest.fixture
def inherited(place: Path) -> Generator[socket.socket]:
    """That socket, as the agent has it: the service manager keeps another descriptor."""
    with socket.socket(socket.AF_UNIX) as kept:
        kept.bind(str(place))
        kept.listen()
        with kept.dup() as passed:
            yield passed


def test_its_path_is_its_own_and_nothing_is_put_beside_it(place: Path, inherited: socket.socket) -> None:
    before = place.stat()
    with Listener(ELSEWHERE, inherited) as listener:
        assert listener.path == place
        assert [path.name for path in place.parent.iterdir()] == [place.name]
    after = place.stat()
    assert (after.st_ino, after.st_mode) == (before.st_ino, before.st_mode)


def test_after_the_end_clients_queue_in_it(place: Path, inherited: socket.socket) -> None:
    Listener(ELSEWHERE, inherited).close()
    assert inherited.fileno() == -1
    with socket.socket(socket.AF_UNIX) as client:
        client.connect(str(place))


def test_handed_over_it_stays_open_across_a_beginning(inherited: socket.socket) -> None:
    descriptor = inherited.fileno()
    with Listener(ELSEWHERE, inherited) as listener:
        listener.hand_over()
    assert os.get_inheritable(descriptor)
    os.close(descriptor)


def test_the_lock_of_our_own_is_kept_after_a_handover(place: Path) -> None:
    with Listener(place) as listener:
        listener.hand_over()
    assert not place.exists()
    with pytest.raises(StartupError, match="another agent listens"):
        Listener(place)


def test_a_directory_that_others_may_enter_is_told_with_what_to_write_into_the_unit(
    place: Path, inherited: socket.socket
) -> None:
    place.parent.chmod(0o750)
    with pytest.raises(StartupError, match="others may enter") as caught:
        Listener(ELSEWHERE, inherited)
    assert "DirectoryMode=0700" in caught.value.remedy[0].text
    assert caught.value.remedy[1].command == ("chmod", "700", str(place.parent))


@pytest.mark.parametrize("name", ["\0auth-agent-test", ""])
def test_a_socket_without_a_path_is_refused(name: str) -> None:
    with socket.socket(socket.AF_UNIX) as inherited:
        if name:
            inherited.bind(f"{name}-{os.getpid()}")
        with pytest.raises(StartupError, match="ListenStream= must be one"):
            Listener(ELSEWHERE, inherited)
