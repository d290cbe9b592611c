"""The listener with an inherited socket, whose file belongs to the service manager; real agents test their own."""

import os
import shutil
import socket
from collections.abc import Generator
from pathlib import Path

import pytest

from auth_agent import remedies
from auth_agent.errors import StartupError
from auth_agent.ipc.listener import Listener

ELSEWHERE = Path("/nowhere/agent.sock")


@pytest.fixture
def path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return the path of a service manager's socket; change to its directory, since sun_path is short."""
    tmp_path.chmod(0o700)
    monkeypatch.chdir(tmp_path)
    return tmp_path / "agent.sock"


@pytest.fixture
def inherited(path: Path) -> Generator[socket.socket]:
    """Return the listening socket at `path` as the agent inherits it; the manager keeps another descriptor."""
    with socket.socket(socket.AF_UNIX) as manager_socket:
        manager_socket.bind(str(path))
        manager_socket.listen()
        with manager_socket.dup() as agent_socket:
            yield agent_socket


def test_an_inherited_socket_keeps_its_path_and_no_file_is_created(path: Path, inherited: socket.socket) -> None:
    before = path.stat()
    with Listener(ELSEWHERE, inherited) as listener:
        assert listener.path == path
        assert [file.name for file in path.parent.iterdir()] == [path.name]
    after = path.stat()
    assert (after.st_ino, after.st_mode) == (before.st_ino, before.st_mode)


def test_after_closing_clients_can_still_connect_to_the_inherited_socket(path: Path, inherited: socket.socket) -> None:
    Listener(ELSEWHERE, inherited).close()
    assert inherited.fileno() == -1
    with socket.socket(socket.AF_UNIX) as client:
        client.connect(str(path))


def test_a_socket_that_is_handed_over_stays_open_and_inheritable(inherited: socket.socket) -> None:
    descriptor = inherited.fileno()
    with Listener(ELSEWHERE, inherited) as listener:
        listener.hand_over()
    assert os.get_inheritable(descriptor)
    os.close(descriptor)


def test_the_lock_of_an_own_socket_is_kept_after_a_handover(path: Path) -> None:
    with Listener(path) as listener:
        listener.hand_over()
    assert not path.exists()
    with pytest.raises(StartupError) as caught:
        Listener(path)
    assert caught.value.remedy == (remedies.see_status_at(str(path)),)


def test_an_own_socket_is_private_whatever_the_umask(path: Path) -> None:
    before = os.umask(0)
    try:
        with Listener(path):
            assert path.stat().st_mode & 0o777 == 0o600
    finally:
        os.umask(before)


def test_a_directory_that_others_may_enter_is_refused_with_remedies(path: Path, inherited: socket.socket) -> None:
    path.parent.chmod(0o750)
    with pytest.raises(StartupError) as caught:
        Listener(ELSEWHERE, inherited)
    assert caught.value.remedy == (remedies.directory_mode(), remedies.close_directory(str(path.parent)))


@pytest.mark.parametrize("name", ["\0auth-agent-test", ""])
def test_a_socket_without_a_path_is_refused(name: str) -> None:
    with socket.socket(socket.AF_UNIX) as inherited:
        if name:
            inherited.bind(f"{name}-{os.getpid()}")
        with pytest.raises(StartupError, match="ListenStream="):
            Listener(ELSEWHERE, inherited)


def answers(path: Path) -> bool:
    """Return whether somebody listens there."""
    with socket.socket(socket.AF_UNIX) as client:
        return client.connect_ex(str(path)) == 0


def test_a_socket_in_its_place_stays(path: Path) -> None:
    with Listener(path) as listener:
        before = listener.socket
        assert not listener.look()
        assert listener.socket is before


def test_a_removed_socket_is_bound_anew(path: Path) -> None:
    with Listener(path) as listener:
        path.unlink()
        assert not answers(path)
        assert listener.look()
        assert not listener.look()
        assert answers(path)
        assert path.stat().st_mode & 0o777 == 0o600
    assert not path.exists()


def test_a_removed_directory_is_made_anew_with_the_lock(tmp_path: Path) -> None:
    path = tmp_path / "run" / "agent.sock"
    with Listener(path) as listener:
        shutil.rmtree(path.parent)
        assert listener.look()
        assert answers(path)
        assert path.parent.stat().st_mode & 0o777 == 0o700
        with pytest.raises(StartupError):
            Listener(path)


def test_a_removed_lock_is_locked_anew(path: Path) -> None:
    with Listener(path) as listener:
        lock = path.with_name("agent.sock.lock")
        lock.unlink()
        assert not listener.look()
        assert lock.exists()
        with pytest.raises(StartupError) as caught:
            Listener(path)
        assert caught.value.remedy == (remedies.see_status_at(str(path)),)


def test_the_place_of_another_agent_is_not_taken(path: Path) -> None:
    with Listener(path) as lost:
        path.unlink()
        path.with_name("agent.sock.lock").unlink()
        with Listener(path) as other:
            with pytest.raises(StartupError):
                lost.look()
            assert not other.look()
        assert lost.look()  # the other one has ended
        assert answers(path)


def test_the_socket_of_another_process_is_not_replaced(path: Path) -> None:
    with Listener(path) as lost, socket.socket(socket.AF_UNIX) as other:
        path.unlink()
        other.bind(str(path))
        other.listen()
        there = path.stat().st_ino
        with pytest.raises(StartupError):
            lost.look()
        assert path.stat().st_ino == there
        lost.close()
        assert path.stat().st_ino == there


@pytest.mark.parametrize("instead", ["link", "file", "open"])
def test_an_unsafe_directory_in_its_place_is_not_used(instead: str, tmp_path: Path) -> None:
    path, elsewhere = tmp_path / "run" / "agent.sock", tmp_path / "elsewhere"
    elsewhere.mkdir(mode=0o700)
    with Listener(path) as listener:
        shutil.rmtree(path.parent)
        if instead == "link":
            path.parent.symlink_to(elsewhere)
        elif instead == "file":
            path.parent.touch()
        else:
            path.parent.mkdir()
            path.parent.chmod(0o777)
        with pytest.raises(StartupError):
            listener.look()
        assert list(elsewhere.iterdir()) == []
        if instead == "open":
            assert list(path.parent.iterdir()) == []


def test_a_directory_that_others_may_enter_since_is_told_of(path: Path) -> None:
    with Listener(path) as listener:
        path.parent.chmod(0o755)
        with pytest.raises(StartupError) as caught:
            listener.look()
        assert caught.value.remedy == (remedies.close_directory(str(path.parent)),)
        path.parent.chmod(0o700)
        assert not listener.look()
        assert answers(path)


def test_an_inherited_socket_whose_file_is_removed_is_replaced_and_handed_over(
    path: Path, inherited: socket.socket
) -> None:
    descriptor = inherited.fileno()
    with Listener(ELSEWHERE, inherited) as listener:
        assert not listener.look()
        path.unlink()
        assert listener.look()
        assert listener.replaces_inherited
        assert answers(path)
        listener.hand_over()
    assert not path.exists()
    assert os.get_inheritable(descriptor)
    os.close(descriptor)
