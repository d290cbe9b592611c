"""One agent per store: two agents would send the same refresh tokens and end each other's sessions.

And one agent per socket, although the files beside the socket may go away with their directory.
"""

import contextlib
import json
import os
import socket as sockets
import threading
from hashlib import sha256
from pathlib import Path
from typing import NamedTuple

from auth_agent import remedies
from auth_agent.errors import StartupError
from auth_agent.host.clock import Clock
from auth_agent.host.lock_file import LockFile
from auth_agent.host.session_bus import session_bus_address
from auth_agent.json_object import JsonObjectError, parse_object
from auth_agent.printable import printable
from auth_agent.storage.state_directory import prepare
from auth_agent_client.paths import runtime_directory
from auth_agent_client.remedy import Remedy

_MAX_PATH = 4096
_MAX_HOST = 64  # of Linux


class LockTaken(StartupError):
    """Another agent holds the lock; `is_here`: of this system, as far as is known, not of one that shares its files."""

    is_here = True


class StoreLock:
    """The lock of a store, held while the agent runs. Its file names the agent's process and socket."""

    # What another agent that holds it does.
    claim = "already uses these sessions; two agents would end each other's sessions"

    def __init__(self, path: Path, socket_path: Path) -> None:
        """Acquire the lock.

        Args:
            path: the lock file, in the store's state directory.
            socket_path: where this agent listens.

        Raises:
            LockTaken: another agent holds it; the message names its process and its socket.
            StartupError: the file can't be locked.

        """
        self.path = path
        self._socket_path = socket_path
        self._change = threading.Lock()  # `look` is called in a thread
        self._file: LockFile | None = self._acquire()

    def look(self) -> bool:
        """Lock the file anew if it was removed or replaced; return whether that was so.

        Raises:
            LockTaken: another agent has locked the file that is there now.
            StartupError: it can't be locked; the next look may succeed.

        """
        before = self._file
        if before is None or before.is_in_place:
            return False
        prepare(self.path.parent)
        try:
            anew = self._acquire()
        except LockTaken:
            owner = _owner(self.path)
            if owner is not None and owner.is_here and owner.pid == os.getpid():
                return False  # a file system that numbers its files anew
            raise
        with self._change:
            if self._file is None:  # it was released meanwhile
                anew.close()
                return False
            self._file = anew
            before.close()
        return True

    def close(self) -> None:
        """Release the lock while this process goes on."""
        with self._change:
            if self._file is not None:
                self._file.close()
                self._file = None

    def _acquire(self) -> LockFile:
        try:
            file = LockFile(self.path)
        except BlockingIOError as error:
            raise self._taken() from error
        except OSError as error:
            remedy = remedies.for_file(error, self.path)
            raise StartupError(f"{self.path} can't be locked: {error.strerror}", *remedy) from error
        own = {"pid": os.getpid(), "socket": os.fspath(self._socket_path), "kernel": _kernel(), "host": _host()}
        with contextlib.suppress(OSError):  # the lock works on a full disk, too
            os.ftruncate(file.descriptor, 0)
            os.pwrite(file.descriptor, json.dumps(own).encode(), 0)
        return file

    def _taken(self) -> LockTaken:
        owner = _owner(self.path)
        beside = remedies.run_beside(os.fspath(self._socket_path))
        if owner is None:
            return LockTaken(f"another agent {self.claim}", remedies.see_status(), beside)
        process = f"another agent, process {owner.pid}{owner.where},"
        if owner.is_elsewhere:
            taken = LockTaken(f"{process} {self.claim}", remedies.own_state_directory(), beside)
        elif _listens(owner.socket):
            taken = LockTaken(
                f"{process} which listens at {owner.socket}, {self.claim}",
                remedies.see_status_at(owner.socket),
                remedies.stop_at(owner.socket),
                beside,
            )
        else:
            taken = LockTaken(
                f"{process} {self.claim}; it can't be reached at {owner.socket} at the moment",
                *unreachable(owner.pid if owner.is_here else None),
                beside,
            )
        taken.is_here = owner.is_here
        return taken


class SocketLock(StoreLock):
    """Holds the place of a socket, in the state directory: the lock beside the socket may go away with its directory.

    Without it, another agent could start at an empty place before this one has noticed.
    """

    claim = "already serves this socket"

    def __init__(self, state_path: Path, socket_path: Path) -> None:
        """Acquire the lock; raises as that of a store does."""
        prepare(state_path)
        super().__init__(_socket_lock_path(state_path, socket_path), socket_path)


def unreachable(pid: int | None) -> tuple[Remedy, ...]:
    """Return what helps if an agent runs that nobody can reach; `pid`: its process, if that is known here."""
    return (remedies.wait_for_agent(), *([] if pid is None else [remedies.end_agent(pid)]))


def lost_agent(state_path: Path, socket_path: Path) -> int | None:
    """Return the process of the agent that should listen at that path, where nobody listens; None if there is none.

    Args:
        state_path: the state directory.
        socket_path: where nobody listens.

    """
    path = _socket_lock_path(state_path, socket_path)
    try:
        path.lstat()  # without it, `LockFile` would create it
        LockFile(path).close()
    except BlockingIOError:
        owner = _owner(path)
        return owner.pid if owner is not None and owner.is_here else None
    except OSError:
        pass
    return None


def keyring_locks(state_path: Path) -> list[Path]:
    """Return the lock files of the system keyring: the state directory's, and one for its D-Bus session.

    Two agents with different state directories could use the same keyring. The second lock is in the user's runtime
    directory, which lasts as long as the session; without one, as on macOS, only the first is used.
    """
    locks = [state_path / "keyring.lock"]
    runtime = runtime_directory()
    if runtime is not None and Path(runtime).is_dir():
        address = session_bus_address() or f"unix:path={runtime}/bus"
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
    """The process that holds a lock, the socket where it listens, and whether the process's number is one of here.

    Hosts that share a home directory share the locks in it, and so do containers of one host.
    """

    pid: int
    socket: str
    host: str
    is_here: bool

    @property
    def is_elsewhere(self) -> bool:
        """Whether it runs on another host. One that was renamed meanwhile, as by DHCP, has the kernel of here."""
        return not self.is_here and self.host != _host()

    @property
    def where(self) -> str:
        """Where it runs, to be said after its number."""
        if self.is_elsewhere:
            return f" on the host {self.host}"
        return "" if self.is_here else " in another container"


def _socket_lock_path(state_path: Path, socket_path: Path) -> Path:
    return state_path / f"socket-{sha256(os.fsencode(socket_path)).hexdigest()[:16]}.lock"


def _host() -> str:
    return printable(os.uname().nodename, _MAX_HOST)


def _kernel() -> str:
    """Return where this process's number means this process: the boot, and the PID namespace."""
    with contextlib.suppress(OSError):
        return f"{Clock().boot_id()} {os.readlink('/proc/self/ns/pid')}"  # noqa: PTH115 -- not a path that leads somewhere
    return Clock().boot_id()


def _owner(path: Path) -> _Owner | None:
    """Return the holder of a lock; None if it has not written yet who it is."""
    try:
        with path.open("rb") as file:
            fields = parse_object(file.read(_MAX_PATH))
    except (OSError, JsonObjectError):
        return None
    pid, socket = fields.get("pid"), printable(fields.get("socket"), _MAX_PATH)
    # Earlier versions name neither.
    host, is_here = printable(fields.get("host"), _MAX_HOST) or _host(), fields.get("kernel", _kernel()) == _kernel()
    return _Owner(pid, socket, host, is_here) if isinstance(pid, int) and socket else None


def _listens(path: str) -> bool:
    """Return whether a process listens at that socket; never waits."""
    with sockets.socket(sockets.AF_UNIX) as probe:
        probe.setblocking(False)
        try:
            probe.connect(path)
        except BlockingIOError:  # too busy to accept
            return True
        except OSError:
            return False
    return True
