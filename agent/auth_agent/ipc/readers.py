"""The sockets that are read: of all connections by one callback of the event loop.

Theory of operation. An epoll is a file that can be read when one of its own is. The loop watches it in place of each
socket, and what is ready is read in one go. So a socket is added and removed by one system call, and a read needs no
handle and no context of the loop: asyncio's cost more than the calls. A client that is alone pays a second epoll_wait.

Where there is no epoll, such as on macOS, the loop itself is used in its place: it has the same two methods.
"""

import asyncio
import select
import sys
from collections.abc import Callable
from typing import Final, Protocol

# Sockets that are read before the loop does other work, such as accepting.
_MOST_AT_ONCE: Final = 256


class Readers(Protocol):
    """What calls when a socket can be read, as often as that is so."""

    def add_reader(self, fd: int, callback: Callable[[], None]) -> object:
        """Call back when there is something to read, or the connection is over.

        The loop reports what the callback raises. Those that it kept from their turn are called soon.
        """
        ...

    def remove_reader(self, fd: int) -> object:
        """Call back no more."""
        ...


class EpollReaders:
    """Reads the sockets in an epoll of its own."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        """Read in that loop, as long as it runs."""
        self._epoll = select.epoll()
        self._callbacks: dict[int, Callable[[], None]] = {}
        loop.add_reader(self._epoll.fileno(), self._read)

    def add_reader(self, fd: int, callback: Callable[[], None]) -> None:
        """Call back when there is something to read, or the connection is over."""
        self._epoll.register(fd, select.EPOLLIN)
        self._callbacks[fd] = callback

    def remove_reader(self, fd: int) -> None:
        """Call back no more."""
        del self._callbacks[fd]
        self._epoll.unregister(fd)

    def _read(self) -> None:
        for fd, _ in self._epoll.poll(0, _MOST_AT_ONCE):
            callback = self._callbacks.get(fd)
            if callback is not None:  # else one before has removed it
                callback()


def readers_in(loop: asyncio.AbstractEventLoop) -> Readers:
    """Return what reads sockets in that loop."""
    if sys.platform != "linux":
        return loop
    return EpollReaders(loop)
