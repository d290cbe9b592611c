"""Receives signals in order; none is lost, not even while the process ends."""

import os
import signal
from types import FrameType, TracebackType
from typing import Self

import anyio


def reset_signals() -> None:
    """Undo what this process inherited and can't work with: blocked signals, and ignored ends of its children.

    Others stay ignored: after nohup(1), or in the background of a script, until the agent catches them; and over a
    restart, while nothing catches them.
    """
    signal.pthread_sigmask(signal.SIG_SETMASK, ())
    for signum in (signal.SIGCHLD, signal.SIGALRM):
        signal.signal(signum, signal.SIG_DFL)


class Signals:
    """Catches signals within a `with` block; after it, unless an error ended it, they are ignored.

    SIGINT is not caught if it is ignored: a script's Ctrl-C is not for what it runs in the background.

    asyncio's handlers restore a signal's default action when they are removed. A signal that arrives at the very end
    would be lost with the loop, or kill a process that is about to restart.
    """

    def __init__(self, *signums: signal.Signals) -> None:
        ignored = {signal.SIGINT} if signal.getsignal(signal.SIGINT) is signal.SIG_IGN else set[signal.Signals]()
        self._caught = set(signums) - ignored
        # A pipe has room for 65,536 signals; a pair of sockets has room for some hundreds.
        self._reading, self._writing = os.pipe()
        os.set_blocking(self._reading, False)
        os.set_blocking(self._writing, False)

    def __enter__(self) -> Self:
        # The interpreter writes a signal's number there when it arrives, in whichever thread.
        signal.set_wakeup_fd(self._writing, warn_on_full_buffer=False)
        for signum in self._caught:
            signal.signal(signum, _ignore)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for signum in self._caught:
            signal.signal(signum, signal.SIG_IGN if kind is None else signal.SIG_DFL)
        signal.set_wakeup_fd(-1)
        os.close(self._reading)
        os.close(self._writing)

    async def next(self) -> signal.Signals:
        """Wait for the next signal and return it."""
        while True:
            await anyio.wait_readable(self._reading)
            signums = self._read(1)  # further ones are for the next call
            if signums:
                return signums[0]

    def release(self, *signums: signal.Signals) -> list[signal.Signals]:
        """Restore the default action of those signals; return those of them that arrived before and were not read."""
        for signum in self._caught.intersection(signums):
            signal.signal(signum, signal.SIG_DFL)
        self._caught.difference_update(signums)
        return [signum for signum in self._read(1 << 16) if signum in signums]

    def _read(self, max_count: int) -> list[signal.Signals]:
        try:
            return [signal.Signals(number) for number in os.read(self._reading, max_count)]
        except BlockingIOError:
            return []


def _ignore(signum: int, frame: FrameType | None) -> None:
    """Do nothing: the wakeup descriptor has the number already."""
