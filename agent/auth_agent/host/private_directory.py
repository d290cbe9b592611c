"""Directories of this user alone, and the files in one: none is followed elsewhere, each is replaced durably."""

import contextlib
import errno
import os
import stat
from itertools import chain, takewhile
from pathlib import Path
from types import TracebackType
from typing import Final, Self

_READ: Final = os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW
_WRITE: Final = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC | os.O_NOFOLLOW
_NEW: Final = ".new"


class NotPrivateError(OSError):
    """Other users can access the directory or a file in it, or it is not what it should be."""


class ForeignDirectoryError(PermissionError):
    """A directory belongs to another user, and what this process would make in it would not be that user's."""


def make_directory(path: Path) -> None:
    """Create a directory and all that is missing above it, each with mode 0700 whatever the umask is.

    Nothing is made in another user's directory, where root could, as after `sudo -E`: that user could not use what root
    made. Directories of root and those with a sticky bit, such as /tmp, are everybody's: the kernel decides.

    Raises:
        ForeignDirectoryError: the directory, or the nearest one above it that exists, belongs to another user.
        OSError: it can't be created, or is not a directory.

    """
    existing = nearest_directory(path)
    missing = takewhile(existing.__ne__, chain((path,), path.parents))
    for directory in reversed([*missing]):
        with contextlib.suppress(FileExistsError):  # another process was faster
            directory.mkdir(mode=0o700)
            directory.chmod(0o700)
    if not path.is_dir():
        raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR), os.fspath(path))


def nearest_directory(path: Path) -> Path:
    """Return the directory, or the nearest one above it that exists: the one in which `make_directory` begins.

    Raises:
        ForeignDirectoryError: it belongs to another user.
        OSError: it can't be examined.

    """
    for existing in chain((path,), path.parents):
        try:
            status = existing.stat()
        except FileNotFoundError:
            continue
        if status.st_uid in {0, os.geteuid()} or status.st_mode & stat.S_ISVTX:
            return existing
        text = f"{existing} belongs to the user {status.st_uid}, not to you"
        raise ForeignDirectoryError(errno.EPERM, text, os.fspath(path))
    raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), os.fspath(path))


class PrivateDirectory:
    """An open directory. Its files are found by name in it, wherever a path would lead meanwhile."""

    def __init__(self, path: Path) -> None:
        """Open the directory; create it with mode 0700 if it is missing.

        Raises:
            NotPrivateError: it belongs to another user, or others can access it.
            OSError: it can't be opened, or is a symbolic link.

        """
        make_directory(path)
        self._descriptor = os.open(path, _READ | os.O_DIRECTORY)
        status = os.fstat(self._descriptor)
        if status.st_uid != os.geteuid() or stat.S_IMODE(status.st_mode) & 0o077:
            os.close(self._descriptor)
            raise NotPrivateError(f"{path} is accessible to other users")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        os.close(self._descriptor)

    def names(self) -> list[str]:
        """Return the names of its files, without those of writes that were interrupted."""
        return sorted(name for name in os.listdir(self._descriptor) if not name.endswith(_NEW))  # noqa: PTH208 -- a path can't name an open directory

    def read(self, name: str, limit: int) -> bytes | None:
        """Return the content of a file, at most `limit` bytes of it and one more; None if it is missing.

        Raises:
            NotPrivateError: it is not a regular file of this user, or a symbolic link.
            OSError: it can't be read.

        """
        try:
            descriptor = os.open(name, _READ | os.O_NONBLOCK, dir_fd=self._descriptor)
        except FileNotFoundError:
            return None
        except OSError as error:
            if error.errno == errno.ELOOP:
                raise NotPrivateError(f"{name} is a symbolic link") from error
            raise
        with os.fdopen(descriptor, "rb") as file:
            status = os.fstat(descriptor)
            if status.st_uid != os.geteuid() or not stat.S_ISREG(status.st_mode):
                raise NotPrivateError(f"{name} is not a file of this user")
            return file.read(limit + 1)

    def write(self, name: str, content: bytes) -> None:
        """Replace a file. After a crash it has the old content or the new one; on return, the new one is on the disk.

        Raises:
            OSError: it could not be written, and has the old content.

        """
        beside = f"{name}{_NEW}"
        descriptor = os.open(beside, _WRITE, 0o600, dir_fd=self._descriptor)
        try:
            with os.fdopen(descriptor, "wb") as file:
                os.fchmod(descriptor, 0o600)  # one that an interrupted write left may have another mode
                file.write(content)
                file.flush()
                os.fsync(descriptor)
            os.replace(beside, name, src_dir_fd=self._descriptor, dst_dir_fd=self._descriptor)
        except OSError:
            with contextlib.suppress(OSError):
                os.unlink(beside, dir_fd=self._descriptor)
            raise
        os.fsync(self._descriptor)

    def delete(self, name: str) -> None:
        """Delete a file, if there is one, and what an interrupted write left of it.

        Raises:
            OSError: it may still be there.

        """
        for one in (name, f"{name}{_NEW}"):
            with contextlib.suppress(FileNotFoundError):
                os.unlink(one, dir_fd=self._descriptor)
        os.fsync(self._descriptor)
