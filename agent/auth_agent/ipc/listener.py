"""The socket's place in the file system: made safely, taken over only from the dead, removed only if it is ours.

Or not ours at all: a service manager made it, passed it on, and keeps it when the agent ends.
"""

import fcntl
import os
import socket
import stat
from pathlib import Path
from typing import Final, Self

from auth_agent import remedies
from auth_agent.errors import StartupError
from auth_agent_client.remedy import Remedy

# Clients that come while all are busy wait here; the kernel's own limit is mostly 4,096.
BACKLOG: Final = 1024


class Listener:
    """A listening socket at a path, for one agent at a time.

    The lock beside it is held as long as the agent lives and is never unlinked: two agents that start at the same
    moment would otherwise lock two different files. A socket that was inherited is looked after by who passed it:
    nothing is locked, bound or removed, and clients queue in it while no agent runs.
    """

    def __init__(self, path: Path, inherited: socket.socket | None = None) -> None:
        """Listen there, or where the inherited socket does.

        Raises:
            StartupError: the place isn't safe, or another agent listens there.

        """
        self._inherited = inherited is not None
        self._lock: int | None = None
        self._identity: tuple[int, int] | None = None
        if inherited is not None:
            self.socket = inherited
            try:
                self.path = _path_of(inherited.getsockname())
            except BaseException:
                inherited.close()
                raise
            return
        self.path = path
        _make_directory(path.parent)
        self._lock = _lock(path)
        try:
            _check_place(path)
            self.socket = _bind(path)
        except BaseException:
            os.close(self._lock)
            raise
        self._identity = _identity(path)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def stop(self) -> None:
        """Listen no more, and leave no socket of ours behind that nobody answers; the place stays locked."""
        self.socket.close()
        if self._identity is not None and _identity(self.path) == self._identity:
            self.path.unlink(missing_ok=True)
        self._identity = None

    def hand_over(self) -> None:
        """Leave the place to the agent that this process is about to become.

        An inherited socket stays open over its beginning, and clients queue in it. One of our own is bound anew; its
        lock is released by that beginning and not before, so that nobody comes in between while this agent still ends.
        """
        if self._inherited:
            os.set_inheritable(self.socket.detach(), True)
        else:
            self.stop()
            self._lock = None

    def close(self) -> None:
        """Listen no more, and let another agent have the place, unless it was handed over."""
        self.stop()
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None


def _path_of(name: object) -> Path:
    """The path of an inherited socket of that name, if it is as safe a place as one that we would make."""
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
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise StartupError(f"{directory} can't be made: {error.strerror}", remedies.another_socket()) from error
    _check_directory(directory, another=remedies.another_socket())


def _check_directory(directory: Path, *, another: Remedy, closed: Remedy | None = None) -> None:
    """Whether nobody else can put a socket there, or come to ours.

    Args:
        directory: where the socket is, or is going to be.
        another: what helps if it belongs to somebody else.
        closed: what helps, besides, if others may enter it.

    """
    try:
        found = directory.lstat()
    except OSError as error:
        raise StartupError(f"{directory} can't be looked at: {error.strerror}") from error
    if not stat.S_ISDIR(found.st_mode):
        raise StartupError(f"{directory} is no directory (a symbolic link to one won't do either)", another)
    if found.st_uid != os.geteuid():
        raise StartupError(f"{directory} belongs to the user {found.st_uid}, not to you", another)
    if found.st_mode & 0o077:
        close = remedies.close_directory(os.fspath(directory))
        raise StartupError(f"others may enter {directory}", *([closed] if closed else []), close)


def _lock(path: Path) -> int:
    lock = path.with_name(path.name + ".lock")
    try:
        descriptor = os.open(lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    except OSError as error:
        raise StartupError(f"{lock} can't be opened: {error.strerror}") from error
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        os.close(descriptor)
        see = remedies.see_status_at(os.fspath(path))
        raise StartupError(f"another agent listens at {path} already", see) from error
    except OSError as error:
        os.close(descriptor)
        raise StartupError(f"{lock} can't be locked: {error.strerror}") from error
    return descriptor


def _check_place(path: Path) -> None:
    """Whether a socket may be put there: nothing is there, or a socket of ours that nobody answers."""
    try:
        found = path.lstat()
    except FileNotFoundError:
        return
    if not stat.S_ISSOCK(found.st_mode) or found.st_uid != os.geteuid():
        raise StartupError(f"{path} is not a socket of yours; it is left alone", remedies.another_socket())
    with socket.socket(socket.AF_UNIX) as probe:
        probe.settimeout(1)
        try:
            probe.connect(os.fspath(path))
        except (ConnectionRefusedError, FileNotFoundError):
            return  # an agent that was killed left it
        except OSError:
            pass  # somebody holds it, if too busy to answer
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
        raise StartupError(f"{path} can't be listened at: {error.strerror or error}") from error
    return listening


def _identity(path: Path) -> tuple[int, int] | None:
    try:
        found = path.lstat()
    except OSError:
        return None
    return found.st_dev, found.st_ino
