"""One agent for each store: a second one learns where the first one listens."""

import json
import os
import shutil
import socket
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest

from auth_agent import remedies
from auth_agent.errors import StartupError
from auth_agent.storage.lock import LockTaken, SocketLock, StoreLock, lost_agent

SOCKET = Path("/run/user/1000/auth-agent/agent.sock")
HOLDER = (
    "import sys; from pathlib import Path; from auth_agent.storage.lock import StoreLock\n"
    "lock = StoreLock(Path(sys.argv[1]), Path(sys.argv[2])); print('locked', flush=True); sys.stdin.read()"
)


BESIDE = ("env", "AUTH_AGENT_SOCK=memory.sock", "auth-agent", "run", "--store", "memory")


def taken_by(socket_path: Path, directory: Path, **note: str) -> list[tuple[str, ...]]:
    """Return the commands that help a second agent, if the first one says that it listens at that path."""
    path = directory / "lock"
    with closing(StoreLock(path, socket_path)):
        path.write_text(json.dumps(json.loads(path.read_text()) | note))
        with pytest.raises(LockTaken) as caught:
            StoreLock(path, Path("mine.sock"))
    return [remedy.command for remedy in caught.value.remedy]


def start_holder(path: Path) -> "subprocess.Popen[str]":
    """Start another process that holds the lock."""
    process = subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(path), str(SOCKET)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "locked\n"
    return process


def test_a_second_agent_learns_the_process_and_socket_of_the_first(tmp_path: Path) -> None:
    with start_holder(tmp_path / "lock") as other:
        with pytest.raises(StartupError, match=rf"\b{other.pid}\b.*{SOCKET}"):
            StoreLock(tmp_path / "lock", Path("elsewhere"))
        other.kill()


def test_the_lock_ends_with_its_holder_and_its_file_stays(tmp_path: Path) -> None:
    with start_holder(tmp_path / "lock") as other:
        inode = (tmp_path / "lock").stat().st_ino
        other.kill()
        other.wait()
    for _ in range(2):
        with closing(StoreLock(tmp_path / "lock", SOCKET)):
            assert f'"pid": {os.getpid()}' in (tmp_path / "lock").read_text()
    assert (tmp_path / "lock").stat().st_ino == inode
    assert (tmp_path / "lock").stat().st_mode & 0o777 == 0o600


def test_an_agent_that_listens_can_be_asked_or_stopped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)  # sun_path is short
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind("agent.sock")
        listening.listen()
        assert taken_by(Path("agent.sock"), tmp_path) == [
            ("env", "AUTH_AGENT_SOCK=agent.sock", "auth-agent", "status"),
            ("env", "AUTH_AGENT_SOCK=agent.sock", "auth-agent", "stop"),
            BESIDE,
        ]


def test_an_agent_whose_socket_is_gone_comes_back_or_is_ended(tmp_path: Path) -> None:
    assert taken_by(tmp_path / "agent.sock", tmp_path) == [(), ("kill", str(os.getpid())), BESIDE]


def test_a_process_of_another_kernel_is_not_ended(tmp_path: Path) -> None:
    assert taken_by(tmp_path / "agent.sock", tmp_path, kernel="another boot") == [(), BESIDE]


def test_a_lock_whose_file_is_removed_is_locked_anew(tmp_path: Path) -> None:
    path = tmp_path / "runtime" / "lock"
    path.parent.mkdir()
    with closing(StoreLock(path, SOCKET)) as lock:
        assert not lock.look()
        shutil.rmtree(path.parent)
        assert lock.look()
        assert not lock.look()
        with pytest.raises(LockTaken):
            StoreLock(path, SOCKET)


def test_a_lock_that_another_agent_took_meanwhile_is_left_to_it(tmp_path: Path) -> None:
    with closing(StoreLock(tmp_path / "lock", SOCKET)) as lock:
        (tmp_path / "lock").unlink()
        with start_holder(tmp_path / "lock") as other:
            with pytest.raises(LockTaken):
                lock.look()
            other.kill()
        assert lock.look()


def test_a_released_lock_is_not_taken_again(tmp_path: Path) -> None:
    lock = StoreLock(tmp_path / "lock", SOCKET)
    lock.close()
    (tmp_path / "lock").unlink()
    assert not lock.look()


def test_the_agent_of_a_socket_that_is_gone_is_found(tmp_path: Path) -> None:
    assert lost_agent(tmp_path, SOCKET) is None
    with closing(SocketLock(tmp_path, SOCKET)):
        assert lost_agent(tmp_path, SOCKET) == os.getpid()
        assert lost_agent(tmp_path, SOCKET.with_name("other.sock")) is None
    assert lost_agent(tmp_path, SOCKET) is None  # the file is still there


def test_a_child_process_does_not_inherit_it(tmp_path: Path) -> None:
    script = [sys.executable, "-c", "print('started', flush=True); input()"]
    lock = StoreLock(tmp_path / "lock", SOCKET)
    with subprocess.Popen(script, stdin=subprocess.PIPE, stdout=subprocess.PIPE, close_fds=False) as child:
        with closing(lock):
            assert child.stdout is not None
            assert child.stdout.readline() == b"started\n"
        with closing(StoreLock(tmp_path / "lock", SOCKET)):
            child.communicate(b"\n")


@pytest.mark.parametrize("text", [b"", b"\xff", b"[]", b'{"pid": 1', b'{"pid": "\\u001b[31m", "socket": 7}'])
def test_a_lock_without_a_readable_owner_is_held_too(text: bytes, tmp_path: Path) -> None:
    with closing(StoreLock(tmp_path / "lock", SOCKET)):
        (tmp_path / "lock").write_bytes(text)
        with pytest.raises(StartupError) as caught:
            StoreLock(tmp_path / "lock", SOCKET)
        assert caught.value.remedy[0] == remedies.see_status()
        assert str(caught.value).isprintable()


def test_a_symbolic_link_in_place_of_the_lock_is_refused_and_not_followed(tmp_path: Path) -> None:
    precious = tmp_path / "precious"
    precious.write_text("precious")
    (tmp_path / "lock").symlink_to(precious)
    with pytest.raises(StartupError, match=str(tmp_path / "lock")):
        StoreLock(tmp_path / "lock", SOCKET)
    assert precious.read_text() == "precious"


def test_a_missing_directory_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(StartupError, match="No such file"):
        StoreLock(tmp_path / "missing" / "lock", SOCKET)


def test_an_agent_on_another_host_is_named_with_its_host(tmp_path: Path) -> None:
    with closing(StoreLock(tmp_path / "lock", SOCKET)):
        (tmp_path / "lock").write_text('{"pid": 7, "socket": "/run/a.sock", "kernel": "its", "host": "host-one"}')
        with pytest.raises(StartupError, match="host-one") as caught:
            StoreLock(tmp_path / "lock", SOCKET)
    assert caught.value.remedy[0] == remedies.own_state_directory()


def test_an_agent_of_this_kernel_is_of_this_host_under_an_earlier_name(tmp_path: Path) -> None:
    assert taken_by(tmp_path / "agent.sock", tmp_path, host="before") == [(), ("kill", str(os.getpid())), BESIDE]


def test_a_lock_that_names_no_host_is_one_of_this_host(tmp_path: Path) -> None:
    with closing(StoreLock(tmp_path / "lock", SOCKET)):
        (tmp_path / "lock").write_text('{"pid": 7, "socket": "/run/a.sock"}')  # an earlier version's
        with pytest.raises(StartupError) as caught:
            StoreLock(tmp_path / "lock", SOCKET)
    assert caught.value.remedy[:2] == (remedies.wait_for_agent(), remedies.end_agent(7))
