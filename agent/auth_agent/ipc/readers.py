"""Reads the sockets of all connections by one callback of the event loop.

Theory of operation. The descriptor of an epoll is readable when one of the sockets in it is. The loop watches that
descriptor in place of each socket, and all sockets that are ready are read in one go. So a socket is added or removed
by one system call, and a read needs no handle and no context of the loop: asyncio's cost more than the system calls. If
one client alone asks, it pays for a second epoll_wait.

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

        The loop reports what the callback raises. It may delay the callbacks of other sockets, but not prevent them.
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
