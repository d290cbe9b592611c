"""Accepts connections on a listening socket, and survives a lack of descriptors."""

import asyncio
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
        self._is_short = False

    async def run(self, welcome: Callable[[socket.socket], None], max_count: int) -> None:
        """Give each connection to `welcome`, until cancelled.

        `welcome` is called by the loop itself, in each iteration for `max_count` connections at most: no task takes
        part in it. Raises an `OSError` if the listening socket itself is broken.
        """
        loop = asyncio.get_running_loop()
        while True:
            short = loop.create_future()
            loop.add_reader(self._listening, self._welcome_some, welcome, max_count, short)
            try:
                await short
            finally:
                loop.remove_reader(self._listening)
            await anyio.sleep(_PAUSE)

    def _welcome_some(
        self, welcome: Callable[[socket.socket], None], max_count: int, short: asyncio.Future[None]
    ) -> None:
        for _ in range(max_count):
            try:
                connection = self._accept()
            except OSError as error:
                if not short.done():
                    short.set_exception(error)
                return
            if connection is None:
                break
            welcome(connection)
        if self._is_short and not short.done():
            short.set_result(None)

    async def accept_some(self, max_count: int) -> list[socket.socket]:
        """Return the next connection and those waiting behind it, `max_count` at most. Raises as `run` does."""
        while True:
            await anyio.wait_readable(self._listening)
            connections = list[socket.socket]()
            while len(connections) < max_count and (connection := self._accept()) is not None:
                connections.append(connection)
            if connections:
                return connections
            if self._is_short:
                await anyio.sleep(_PAUSE)

    def _accept(self) -> socket.socket | None:
        """Return a connection; None if none is waiting any more, or there is no descriptor for it."""
        try:
            connection, _ = self._listening.accept()
        except (BlockingIOError, InterruptedError, ConnectionAbortedError):
            return None
        except OSError as error:
            if error.errno not in _NO_DESCRIPTORS:
                raise
            if not self._is_short:
                self._log.warning("%s error=%s", self._what, error.strerror)
            self._is_short = True
            self._make_room()
            return None
        self._is_short = False
        return connection
