"""Standard error as the agent's log. The agent's own log file is rotated by its size, and made anew if it is removed.

Its own file is the one that commands give to an agent in the background. A file that somebody else redirected standard
error to, a pipe, a terminal and the journal are written to, and otherwise left alone.
"""

import contextlib
import os
import select
from pathlib import Path
from typing import Final

# Bytes; the log before is kept, too.
MAX_SIZE: Final = 4 << 20
_CREATE: Final = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC | os.O_NOFOLLOW


class LogFile:
    """What the log is written to."""

    def __init__(self, descriptor: int, own: Path | None = None) -> None:
        """Write to that descriptor; `own` is where the agent's own log file is, if it is that."""
        self.descriptor: Final = descriptor
        self._own = own if own is not None and self._is_at(own) else None

    def write(self, data: bytes) -> int:
        """Write some of the bytes; return how many. Raises an `OSError` if none could be written."""
        if self._own is not None:
            with contextlib.suppress(OSError):  # it goes on where it is
                if not self._is_at(self._own):
                    self._begin_anew(self._own)
                elif os.fstat(self.descriptor).st_size >= MAX_SIZE:
                    self._rotate(self._own)
        return os.write(self.descriptor, data)

    def wait_for_room(self, timeout: float) -> bool:
        """Wait until a pipe that does not block has room, for so many seconds at most; return whether it has."""
        poll = select.poll()
        poll.register(self.descriptor, select.POLLOUT)
        return bool(poll.poll(timeout * 1000))

    def _is_at(self, path: Path) -> bool:
        try:
            return os.path.samestat(path.lstat(), os.fstat(self.descriptor))
        except OSError:
            return False

    def _begin_anew(self, path: Path) -> None:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        if path.parent.lstat().st_uid == os.geteuid():
            self._continue_in(os.open(path, _CREATE, 0o600))

    def _rotate(self, path: Path) -> None:
        beside = path.with_name(f"{path.name}.new")
        new = os.open(beside, _CREATE | os.O_TRUNC, 0o600)
        try:
            path.replace(old_log(path))
            beside.replace(path)
        except OSError:
            os.close(new)
            raise
        self._continue_in(new)

    def _continue_in(self, descriptor: int) -> None:
        os.dup2(descriptor, self.descriptor)  # inheritable, for the agent that this process executes at a restart
        os.close(descriptor)


def old_log(path: Path) -> Path:
    """Return where the log before is kept."""
    return path.with_name(f"{path.name}.old")
