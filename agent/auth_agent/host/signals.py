"""The signals that ask something of this process, in the order they came; none is lost, not even at its end."""

import os
import signal
from types import FrameType, TracebackType
from typing import Self

import anyio


class Signals:
    """Catches signals, from `with` on; when that ends without an error, those still caught are ignored.

    asyncio's own way gives a signal back its default action before anybody can choose another. So one that comes at
    the very end would be lost with the loop that it was noted in, or kill a process that is about to begin anew.
    """

    def __init__(self, *signums: signal.Signals) -> None:
        self._caught = set(signums)
        # A pipe, since it has room for 65,536 signals while nobody looks; a pair of sockets has some hundreds.
        self._reading, self._writing = os.pipe()
        os.set_blocking(self._reading, False)
        os.set_blocking(self._writing, False)

    def __enter__(self) -> Self:
        # The interpreter writes a signal's number there the moment it comes, in whichever thread.
        signal.set_wakeup_fd(self._writing, warn_on_full_buffer=False)
        for signum in self._caught:
            signal.signal(signum, _noted)
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
        """Wait for the next one."""
        while True:
            await anyio.wait_readable(self._reading)
            found = self._read(1)  # the others are for who asks next
            if found:
                return found[0]

    def release(self, *signums: signal.Signals) -> list[signal.Signals]:
        """Catch those no more, so that they end the process; which of them came before that, and nobody asked for."""
        for signum in signums:
            signal.signal(signum, signal.SIG_DFL)
        self._caught.difference_update(signums)
        return [signum for signum in self._read(1 << 16) if signum in signums]

    def _read(self, most: int) -> list[signal.Signals]:
        try:
            return [signal.Signals(number) for number in os.read(self._reading, most)]
        except BlockingIOError:
            return []


def _noted(signum: int, frame: FrameType | None) -> None:
    """Nothing is left to do: the number was written down already."""
