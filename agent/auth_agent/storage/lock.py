"""One agent per store: two agents would send the same refresh tokens and end each other's sessions."""

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
from auth_agent_client.remedy import Remedy

_MAX_PATH = 4096


class StoreLock:
    """The lock of a store, held while the agent runs. Its file names the agent's process and socket.

    It is an flock(2) on a file that is never unlinked. The kernel releases it when the agent dies for any reason, or
    when its process executes a new agent.
    """

    def __init__(self, path: Path, socket_path: Path) -> None:
        """Acquire the lock.

        Args:
            path: the lock file, in the store's state directory.
            socket_path: where this agent listens.

        Raises:
            StartupError: another agent holds it (the message names its socket), or the file can't be locked.

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
                f"another agent{_owner_details(owner)} already uses these sessions; "
                "two agents would end each other's sessions",
                *((remedies.see_status(),) if owner is None else _other_agent(owner.socket)),
                remedies.run_beside(os.fspath(socket_path)),
            ) from error
        except OSError as error:
            os.close(self._descriptor)
            raise StartupError(f"{path} can't be locked: {error.strerror}") from error
        with contextlib.suppress(OSError):  # the lock works on a full disk, too
            os.ftruncate(self._descriptor, 0)
            os.pwrite(self._descriptor, json.dumps({"pid": os.getpid(), "socket": os.fspath(socket_path)}).encode(), 0)

    def close(self) -> None:
        """Release the lock while this process goes on."""
        os.close(self._descriptor)


def _other_agent(socket: str) -> tuple[Remedy, ...]:
    return remedies.see_status_at(socket), remedies.stop_at(socket)


def keyring_locks(state_path: Path) -> list[Path]:
    """Return the lock files of the system keyring: the state directory's, and one for its D-Bus session.

    Two agents with different state directories could use the same keyring. The second lock is in the user's runtime
    directory, which lasts as long as the session; without one, as on macOS, only the first is used.
    """
    locks = [state_path / "keyring.lock"]
    runtime = os.environ.get("XDG_RUNTIME_DIR")
    if runtime and Path(runtime).is_dir():
        address = os.environ.get("DBUS_SESSION_BUS_ADDRESS") or f"unix:path={runtime}/bus"
        # After the comma comes a GUID, which changes whenever the bus is restarted.
        bus = sha256(address.partition(",")[0].encode()).hexdigest()[:16]
        directory = Path(runtime) / "auth-agent"
        prepare(directory)
        locks.append(directory / f"keyring-{bus}.lock")
    return locks


def sealed_file_locks(state_path: Path) -> list[Path]:
    """Return the lock file of the sealed files, which are in the state directory."""
    return [state_path / "sealed.lock"]


class _Owner(NamedTuple):
    """The process that holds a lock, and the socket where it listens."""

    pid: int
    socket: str


def _owner(descriptor: int) -> _Owner | None:
    """Return the holder's process and socket; None if it has not written them yet."""
    try:
        fields = parse_object(os.pread(descriptor, _MAX_PATH, 0))
    except (OSError, JsonObjectError):
        return None
    pid, socket = fields.get("pid"), printable(fields.get("socket"), _MAX_PATH)
    return _Owner(pid, socket) if isinstance(pid, int) and socket else None


def _owner_details(owner: _Owner | None) -> str:
    return "" if owner is None else f", process {owner.pid}, which listens at {owner.socket},"
