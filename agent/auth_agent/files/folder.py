"""The folder of a token file, and what is in it.

Theory of operation. A token in a folder that others can write could be replaced by theirs, and a link on the way could
lead the agent to write or delete somewhere else. So the way is gone from the root, each folder opened in the one before
without following links, and each must be this user's or root's, and closed to other writers. What follows happens in
the open folder, wherever the path leads meanwhile. A file is written under another name and renamed: a reader sees the
old token or the new one, whole.
"""

import contextlib
import errno
import os
import stat
from hashlib import sha256
from pathlib import PurePath
from types import TracebackType
from typing import Final, NamedTuple, Self

from auth_agent import remedies
from auth_agent.files.problem import FileProblem
from auth_agent.secret import Secret

# Only passing through needs no right to list the folder, where the system has such a descriptor.
_PASS: Final = getattr(os, "O_PATH", os.O_RDONLY) | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_ENTER: Final = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_READ: Final = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
_CREATE: Final = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
# Bytes; no token that the agent keeps is longer.
_MAX_LENGTH: Final = 65_536 * 4
_OTHERS_WRITE: Final = stat.S_IWGRP | stat.S_IWOTH


class Found(NamedTuple):
    """What is at a name: the SHA-256 of a file's content, in hexadecimal, and its mode.

    `digest` is "" if it can't be a file that the agent made.
    """

    digest: str
    mode: int


_FOREIGN: Final = Found("", 0)


class Folder:
    """An open folder."""

    def __init__(self, path: PurePath, *, to_clean: bool = False) -> None:
        """Open it; `to_clean`: only to remove something from it, also if others can write it by now.

        Raises:
            FileProblem: it is missing, others can write it or a folder on the way, or a symbolic link is on the way.
            OSError: it can't be opened.

        """
        self._descriptor = _open(path, is_checked=not to_clean)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        os.close(self._descriptor)

    def look(self, name: str) -> Found | None:
        """Return what is at that name, None if nothing is. Raises an `OSError`."""
        try:
            # Before it is opened: opening a pipe or a device may do something.
            status = os.stat(name, dir_fd=self._descriptor, follow_symlinks=False)
        except FileNotFoundError:
            return None
        if not stat.S_ISREG(status.st_mode) or status.st_uid != os.geteuid() or status.st_size > _MAX_LENGTH:
            return _FOREIGN
        with os.fdopen(os.open(name, _READ, dir_fd=self._descriptor), "rb") as file:
            opened = os.fstat(file.fileno())
            if (opened.st_dev, opened.st_ino) != (status.st_dev, status.st_ino):
                return _FOREIGN
            return Found(sha256(file.read(_MAX_LENGTH + 1)).hexdigest(), stat.S_IMODE(opened.st_mode))

    def put(self, name: str, temporary: str, token: Secret, mode: int) -> None:
        """Replace the file of that name by one with that token, written as `temporary` before.

        Raises:
            OSError: it could not be written; what was there is there.

        """
        descriptor = os.open(temporary, _CREATE, 0o600, dir_fd=self._descriptor)
        try:
            with os.fdopen(descriptor, "wb") as file:
                os.fchmod(descriptor, mode)
                if stat.S_IMODE(os.fstat(descriptor).st_mode) != mode:
                    raise PermissionError(errno.EPERM, "the file system does not keep the modes of files")
                file.write(token.reveal().encode("utf-8", "surrogatepass"))
                file.flush()
                os.fsync(descriptor)  # a power cut must not leave an empty file of that name
            os.replace(temporary, name, src_dir_fd=self._descriptor, dst_dir_fd=self._descriptor)
        except OSError:
            self.remove(temporary)
            raise

    def remove(self, name: str) -> None:
        """Remove that name, if it is there. Raises an `OSError`."""
        with contextlib.suppress(FileNotFoundError):
            os.unlink(name, dir_fd=self._descriptor)


def _open(path: PurePath, *, is_checked: bool) -> int:
    """Open a folder from the root, as `Folder` does."""
    root, *names = path.parts
    descriptor = os.open(root, _PASS)
    try:
        way = PurePath(root)
        if is_checked:
            _check(os.fstat(descriptor), way, is_last=not names)
        for number, name in enumerate(names, 1):
            way /= name
            is_last = number == len(names)
            inner = _enter(descriptor, name, way, is_last=is_last)
            os.close(descriptor)
            descriptor = inner
            if is_checked:
                _check(os.fstat(descriptor), way, is_last=is_last)
    except BaseException:
        os.close(descriptor)
        raise
    return descriptor


def _enter(folder: int, name: str, way: PurePath, *, is_last: bool) -> int:
    try:
        return os.open(name, _ENTER if is_last else _PASS, dir_fd=folder)
    except FileNotFoundError as error:
        raise FileProblem(f"the folder {way} is missing", remedies.make_folder(str(way))) from error
    except OSError as error:
        # Linux says of a link, which is not followed, that it is not a folder.
        if error.errno in (errno.ELOOP, errno.ENOTDIR) and _is_link(folder, name):
            raise FileProblem(f"{way} is a symbolic link", remedies.name_real_path(os.path.realpath(way))) from error
        raise


def _is_link(folder: int, name: str) -> bool:
    try:
        return stat.S_ISLNK(os.stat(name, dir_fd=folder, follow_symlinks=False).st_mode)
    except OSError:
        return False


def _check(status: os.stat_result, way: PurePath, *, is_last: bool) -> None:
    """Raise a `FileProblem` if another user could replace what is in a folder."""
    if status.st_uid not in (0, os.geteuid()):
        raise FileProblem(f"the folder {way} belongs to the user {status.st_uid}, not to you", remedies.own_folder())
    is_sticky = status.st_mode & stat.S_ISVTX and not is_last
    if status.st_mode & _OTHERS_WRITE and not is_sticky:
        own = remedies.close_folder(str(way)) if status.st_uid == os.geteuid() else remedies.own_folder()
        raise FileProblem(f"others can write to the folder {way}", own)
