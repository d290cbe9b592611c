"""One agent per store: two would present the same refresh tokens, and end each other's sessions."""

import contextlib
import fcntl
import json
import os
from hashlib import sha256
from pathlib import Path
from typing import NamedTuple

from auth_agent import remedies
from auth_agent.errors import StartupError
from auth_agent.json_object import JsonObjectError, parse_object
from auth_agent.printable import printable
from auth_agent.storage.state_directory import prepare

_MAX_PATH = 4096


class StoreLock:
    """The lock of a store: held while the agent lives, and names the agent's socket to others.

    It is an flock of a file that is never unlinked; the kernel lets go of it when the agent dies, however it does, or
    when its process becomes another agent.
    """

    def __init__(self, path: Path, socket_path: Path) -> None:
        """Take it.

        Args:
            path: the lock's file, in the store's state directory.
            socket_path: where this agent listens.

        Raises:
            StartupError: another agent holds it; the text says where that one listens.

        """
        try:
            self._descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        except OSError as error:
            raise StartupError(f"{path} can't be opened: {error.strerror}") from error
        try:
            fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            owner = _owner(self._descriptor)
            os.close(self._descriptor)
            raise StartupError(
                f"another agent{_shown(owner)} has the sessions of this keyring already, and two would end each "
                "other's",
                remedies.see_status() if owner is None else remedies.see_status_at(owner.socket),
                remedies.run_beside(os.fspath(socket_path)),
            ) from error
        except OSError as error:
            os.close(self._descriptor)
            raise StartupError(f"{path} can't be locked: {error.strerror}") from error
        with contextlib.suppress(OSError):  # on a full disk it is locked all the same
            os.ftruncate(self._descriptor, 0)
            os.pwrite(self._descriptor, json.dumps({"pid": os.getpid(), "socket": os.fspath(socket_path)}).encode(), 0)

    def close(self) -> None:
        """Let another agent have the store, while this process goes on."""
        os.close(self._descriptor)


def keyring_locks(state_path: Path) -> list[Path]:
    """The locks of the system keyring: the state directory's, and one for the D-Bus session that leads to the keyring.

    Two agents with different state directories could have the same keyring. The second lock is in the user's runtime
    directory, which goes with the session; where there is none, as on macOS, the first has to do.
    """
    locks = [state_path / "keyring.lock"]
    runtime = os.environ.get("XDG_RUNTIME_DIR")
    if runtime and Path(runtime).is_dir():
        address = os.environ.get("DBUS_SESSION_BUS_ADDRESS") or f"unix:path={runtime}/bus"
        # What follows the address proper tells one start of the bus from another.
        bus = sha256(address.partition(",")[0].encode()).hexdigest()[:16]
        directory = Path(runtime) / "auth-agent"
        prepare(directory)
        locks.append(directory / f"keyring-{bus}.lock")
    return locks


class _Owner(NamedTuple):
    """Who holds a lock, and where that agent listens."""

    pid: int
    socket: str


def _owner(descriptor: int) -> _Owner | None:
    """What the holder says of itself; nothing, when it is only about to."""
    try:
        fields = parse_object(os.pread(descriptor, _MAX_PATH, 0))
    except (OSError, JsonObjectError):
        return None
    pid, socket = fields.get("pid"), printable(fields.get("socket"), _MAX_PATH)
    return _Owner(pid, socket) if isinstance(pid, int) and socket else None


def _shown(owner: _Owner | None) -> str:
    return "" if owner is None else f", process {owner.pid}, which listens at {owner.socket},"
