"""A process that may not be a child of this one."""

import os
import select
import signal
import sys
from types import TracebackType
from typing import Self


class Process:
    """A process, to wait for its end or to signal it.

    From here on, another process that gets the same id is not mistaken for it. macOS, which has no pidfd, signals by
    the id.
    """

    def __init__(self, pid: int, pidfd: int | None = None) -> None:
        """Hold the process of that id, or of that pidfd, which is closed at the end.

        Raises:
            OSError: no process has that id, or too many files are open.

        """
        self.pid = pid
        if sys.platform == "linux":
            self._pidfd = os.pidfd_open(pid) if pidfd is None else pidfd
            self._poll = select.poll()
            self._poll.register(self._pidfd, select.POLLIN)
        else:
            self._queue = select.kqueue()
            try:
                end = select.kevent(pid, select.KQ_FILTER_PROC, select.KQ_EV_ADD, fflags=select.KQ_NOTE_EXIT)
                self._queue.control([end], 0)
            except BaseException:
                self._queue.close()
                raise

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if sys.platform == "linux":
            os.close(self._pidfd)
        else:
            self._queue.close()

    def ends_within(self, seconds: float | None) -> bool:
        """Wait for its end for that many seconds; None: as long as it runs. Return whether it has ended."""
        patience = None if seconds is None else max(0.0, seconds)
        if sys.platform == "linux":
            return bool(self._poll.poll(None if patience is None else patience * 1000))
        else:  # noqa: RET505 -- without it, mypy takes the next line for unreachable
            return bool(self._queue.control([], 1, patience))

    def send(self, signum: signal.Signals) -> None:
        """Send it a signal.

        Raises:
            ProcessLookupError: it has ended.
            OSError: it may not be signalled from here.

        """
        if sys.platform == "linux":
            signal.pidfd_send_signal(self._pidfd, signum)
        else:
            os.kill(self.pid, signum)
