"""Accepts connections on a listening socket, and survives a lack of descriptors."""

import errno
import logging
import socket
from collections.abc import Callable
from typing import Final

import anyio

_NO_DESCRIPTORS: Final = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM})
_PAUSE: Final = 0.1  # s, until descriptors may have been freed


class Acceptor:
    """Accepts connections, even if descriptors run out or a peer disconnects before it is accepted."""

    def __init__(self, listening: socket.socket, log: logging.Logger, what: str, make_room: Callable[[], bool]) -> None:
        """Accept connections on that socket.

        Args:
            listening: the socket, non-blocking.
            log: where a lack of descriptors is logged, once for as long as it lasts.
            what: the first words of that line.
            make_room: closes a connection to free its descriptor.

        """
        self._listening = listening
        self._log = log
        self._what = what
        self._make_room = make_room
        self._short = False

    async def accept(self) -> socket.socket:
        """Return the next connection. Raises an `OSError` if the listening socket itself is broken."""
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

    async def accept_some(self, max_count: int) -> list[socket.socket]:
        """Return the next connection and those waiting behind it, `max_count` at most. Raises as `accept` does."""
        connections = [await self.accept()]
        while len(connections) < max_count:
            try:
                connection, _ = self._listening.accept()
            except OSError:  # mostly: none is waiting; the next `accept` handles other errors
                break
            connections.append(connection)
        return connections
