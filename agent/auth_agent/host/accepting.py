"""Connections as they come to a listening socket, through what a simpler loop dies of."""

import errno
import logging
import socket
from collections.abc import Callable
from typing import Final

import anyio

_NO_DESCRIPTORS: Final = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM})
_PAUSE: Final = 0.1  # s, until descriptors may have been freed


class Acceptor:
    """Accepts, also where no descriptor is left, or a peer went away between its connect and our accept."""

    def __init__(self, listening: socket.socket, log: logging.Logger, what: str, make_room: Callable[[], bool]) -> None:
        """Accept there.

        Args:
            listening: the socket, not blocking.
            log: where a shortage is told of, once for as long as it lasts.
            what: how the log's line begins.
            make_room: lets a connection go where descriptors are short.

        """
        self._listening = listening
        self._log = log
        self._what = what
        self._make_room = make_room
        self._short = False

    async def accept(self) -> socket.socket:
        """The next connection. Raises an `OSError` where the listening socket itself is broken."""
        while True:
            try:
                await anyio.wait_readable(self._listening)
                connection, _ = self._listening.accept()
            except (BlockingIOError, InterruptedError, ConnectionAbortedError):
                continue
            except OSError as error:
                if error.errno not in _NO_DESCRIPTORS:
                    raise
                if not self._short:
                    self._log.warning("%s error=%s", self._what, error.strerror)
                self._short = True
                self._make_room()
                await anyio.sleep(_PAUSE)
                continue
            self._short = False
            return connection

    async def accept_some(self, most: int) -> list[socket.socket]:
        """The next connection, and those that wait behind it, so many at most. Raises as `accept` does."""
        connections = [await self.accept()]
        while len(connections) < most:
            try:
                connection, _ = self._listening.accept()
            except OSError:  # mostly there is none; what else it is, the next `accept` finds out
                break
            connections.append(connection)
        return connections
