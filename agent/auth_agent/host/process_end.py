"""Waits for the end of a process that may not be a child."""

import os
import select
import sys
from collections.abc import Callable, Generator
from contextlib import contextmanager


@contextmanager
def end_of(pid: int) -> Generator[Callable[[float | None], bool], None, None]:
    """Yield a function that waits for the end of a process, and returns whether it has ended.

    The function takes how many seconds it waits at most; None: as long as the process runs. From here on, another
    process that gets the same id is not mistaken for it.

    Raises:
        OSError: no process has that id, or too many files are open.

    """
    if sys.platform == "linux":
        descriptor = os.pidfd_open(pid)
        try:
            yield lambda seconds: bool(select.select([descriptor], [], [], _not_negative(seconds))[0])
        finally:
            os.close(descriptor)
    else:
        queue = select.kqueue()
        exits = select.kevent(pid, select.KQ_FILTER_PROC, select.KQ_EV_ADD, fflags=select.KQ_NOTE_EXIT)
        try:
            queue.control([exits], 0)
            yield lambda seconds: bool(queue.control([], 1, _not_negative(seconds)))
        finally:
            queue.close()


def _not_negative(seconds: float | None) -> float | None:
    return None if seconds is None else max(0.0, seconds)
