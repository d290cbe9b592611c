"""A lock that is held by flock(2) on a file at a path.

The kernel releases it when the process ends for any reason, or executes another program. The file is never unlinked by
those who lock it: two processes would otherwise lock two different files. Somebody else may unlink it, as a cleaner of
temporary files does, so the holder looks again whether its path still leads to it.
"""

import fcntl
import os
from pathlib import Path
from typing import Final

# Attempts to lock a file that is replaced between its opening and its locking.
_ATTEMPTS: Final = 3


class LockFile:
    """A locked file, until it is closed or the process ends."""

    def __init__(self, path: Path) -> None:
        """Lock the file at that path; create it, with mode 0600, if it is missing.

        Raises:
            BlockingIOError: another process, or this one, has locked it.
            OSError: it can't be locked.

        """
        self.path: Final = path
        for _ in range(_ATTEMPTS):
            self.descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
            try:
                fcntl.flock(self.descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BaseException:
                self.close()
                raise
            if self.is_in_place:
                return
            self.close()
        raise FileNotFoundError(2, "its file is replaced all the time", os.fspath(path))

    @property
    def is_in_place(self) -> bool:
        """Whether the path still leads to the locked file."""
        try:
            return os.path.samestat(self.path.lstat(), os.fstat(self.descriptor))
        except OSError:
            return False

    def close(self) -> None:
        """Release the lock while this process goes on."""
        os.close(self.descriptor)
