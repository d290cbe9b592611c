"""The socket in the file system: created safely, replaced only if no agent uses it, removed only if it is our own.

An inherited socket is different: the service manager creates it, passes it, and keeps it when the agent ends.

Either socket's file can go away while the agent runs: somebody removes it, or its directory, which the system empties
at a logout. Nobody can reach the agent then, and a service manager does not notice. So the agent looks whether the path
still leads to its socket, and if not, binds one there.
"""

import contextlib
import os
import socket
import stat
from pathlib import Path
from typing import Final, Self

from auth_agent import remedies
from auth_agent.errors import StartupError
from auth_agent.host.activation import hand_over
from auth_agent.host.lock_file import LockFile
from auth_agent.host.private_directory import make_directory
from auth_agent_client.remedy import Remedy

# Connections waiting to be accepted; the kernel's own limit is mostly 4,096.
BACKLOG: Final = 1024


class Listener:
    """A listening socket at a path, for one agent at a time.

    The lock beside it is held as long as the agent lives. An inherited socket belongs to the process that passed it:
    nothing is locked, bound or removed while its path leads to it, and clients queue in it while no agent runs.
    """

    def __init__(self, path: Path, inherited: socket.socket | None = None) -> None:
        """Listen at that path, or on the inherited socket.

        Raises:
            StartupError: the directory isn't safe, or another agent listens there.

        """
        self._inherited = inherited
        self._lock: LockFile | None = None
        # A socket whose file went away; clients of it may still be accepted, until the next look.
        self._replaced: socket.socket | None = None
        if inherited is not None:
            self.socket = inherited
            try:
                self.path = _path_of(inherited.getsockname())
                # From here on the kernel names this process to clients, not the one that called listen(2) before. The
                # backlog is systemd's own: clients also queue while no agent runs.
                inherited.listen(socket.SOMAXCONN)
            except BaseException:
                inherited.close()
                raise
            self._identity = _identity(self.path)
            return
        self.path = path
        try:
            self._listen()
        except BaseException:
            self._release_lock()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def replaces_inherited(self) -> bool:
        """Whether `socket` took the place of an inherited one whose file went away."""
        return self._inherited is not None and self._is_own

    def look(self) -> bool:
        """If the path does not lead to `socket` any more, listen there anew; return whether that was so.

        `socket` is another one then. The lock beside it is renewed likewise.

        Raises:
            StartupError: nobody can reach the agent, or others could replace its socket; the next look may succeed.

        """
        if self._replaced is not None:
            self._replaced.close()
            self._replaced = None
        is_in_place = self._identity is not None and _identity(self.path) == self._identity
        if is_in_place:
            _check_directory(self.path.parent, another=remedies.another_socket())
            if self._lock is not None and not self._lock.is_in_place:
                self._renew_lock()
            return False
        before = self.socket if self._is_own else None
        self._listen()
        self._replaced = before
        return True

    def stop(self) -> None:
        """Stop listening and remove our own socket; the lock is kept."""
        for each in (self.socket, self._inherited, self._replaced):
            if each is not None:
                each.close()
        if self._is_own and self._identity is not None and _identity(self.path) == self._identity:
            with contextlib.suppress(OSError):  # the next agent replaces it
                self.path.unlink()
        self._identity = None

    def hand_over(self) -> None:
        """Prepare for the restart of this process.

        An inherited socket stays open over the exec, and clients queue in it. Our own is bound anew; only the exec
        releases its lock, so that no other agent starts in between.
        """
        if self._inherited is not None:
            hand_over(self._inherited.detach())
        self.stop()
        self._lock = None

    def close(self) -> None:
        """Stop listening and release the lock, unless `hand_over` was called."""
        self.stop()
        self._release_lock()

    @property
    def _is_own(self) -> bool:
        return self.socket is not self._inherited

    def _listen(self) -> None:
        """Bind a socket at the path, under the lock."""
        _make_directory(self.path.parent)
        self._renew_lock()
        _check_place(self.path)
        self.socket = _bind(self.path)
        self._identity = _identity(self.path)

    def _renew_lock(self) -> None:
        if self._lock is None or not self._lock.is_in_place:
            lock = _lock(self.path)
            self._release_lock()
            self._lock = lock

    def _release_lock(self) -> None:
        if self._lock is not None:
            self._lock.close()
            self._lock = None


def _path_of(name: object) -> Path:
    """Return the path of an inherited socket of that name; raise `StartupError` if its directory isn't safe."""
    if not (isinstance(name, str) and name.startswith("/")):  # an abstract one is bytes
        raise StartupError(
            "the socket that was passed to the agent has no path: "
            "ListenStream= must be one in the .socket unit, as %t/auth-agent/agent.sock"
        )
    directory = Path(name).parent
    _check_directory(
        directory,
        another=remedies.another_listen_stream(),
        closed=remedies.directory_mode(),
    )
    return Path(name)


def _make_directory(directory: Path) -> None:
    try:
        make_directory(directory)
    except OSError as error:
        text = f"{directory} can't be created: {error.strerror}"
        raise StartupError(text, *_remedies(error, directory)) from error
    _check_directory(directory, another=remedies.another_socket())


def _remedies(error: OSError, path: Path) -> tuple[Remedy, ...]:
    """Return what helps if the socket, or a file beside it, can't be made there: the reason, then another place."""
    return tuple(dict.fromkeys((*remedies.for_file(error, path), remedies.another_socket())))


def _check_directory(directory: Path, *, another: Remedy, closed: Remedy | None = None) -> None:
    """Check that nobody else can create a socket in that directory, or reach ours.

    Args:
        directory: where the socket is, or is going to be.
        another: the remedy if it belongs to another user.
        closed: a further remedy if others may enter it.

    """
    try:
        found = directory.lstat()
    except OSError as error:
        raise StartupError(f"{directory} can't be read: {error.strerror}") from error
    if not stat.S_ISDIR(found.st_mode):
        raise StartupError(f"{directory} is not a directory (a symbolic link to one is not accepted)", another)
    if found.st_uid != os.geteuid():
        raise StartupError(f"{directory} belongs to the user {found.st_uid}, not to you", another)
    if found.st_mode & 0o077:
        close = remedies.close_directory(os.fspath(directory))
        raise StartupError(f"others may enter {directory}", *([closed] if closed else []), close)


def _lock(path: Path) -> LockFile:
    lock = path.with_name(path.name + ".lock")
    try:
        return LockFile(lock)
    except BlockingIOError as error:
        see = remedies.see_status_at(os.fspath(path))
        raise StartupError(f"another agent listens at {path} already", see) from error
    except OSError as error:
        raise StartupError(f"{lock} can't be locked: {error.strerror}", *_remedies(error, lock)) from error


def _check_place(path: Path) -> None:
    """Check that the path is free, or a socket of this user that no process serves."""
    try:
        status = path.lstat()
    except FileNotFoundError:
        return
    except OSError as error:
        raise StartupError(f"{path} can't be read: {error.strerror}") from error
    if not stat.S_ISSOCK(status.st_mode) or status.st_uid != os.geteuid():
        raise StartupError(f"{path} is not a socket of yours; it was not changed", remedies.another_socket())
    with socket.socket(socket.AF_UNIX) as probe:
        probe.setblocking(False)
        try:
            probe.connect(os.fspath(path))
        except (ConnectionRefusedError, FileNotFoundError):
            return  # a killed agent left it
        except OSError:
            pass  # a process holds it, but is too busy to accept
    raise StartupError(
        f"something else listens at {path}: where systemd has an auth-agent.socket, it starts the agent by itself",
        remedies.another_socket(),
    )


def _bind(path: Path) -> socket.socket:
    """Under the lock, in a directory of mode 0700: nobody meets the socket before it is private and listening."""
    listening = socket.socket(socket.AF_UNIX)
    try:
        listening.setblocking(False)
        path.unlink(missing_ok=True)  # what a killed agent left
        listening.bind(os.fspath(path))
        path.chmod(0o600)
        listening.listen(BACKLOG)
    except OSError as error:
        listening.close()
        text = f"{path} can't be listened on: {error.strerror or error}"
        raise StartupError(text, *_remedies(error, path)) from error
    return listening


def _identity(path: Path) -> tuple[int, int] | None:
    try:
        status = path.lstat()
    except OSError:
        return None
    return status.st_dev, status.st_ino
