"""Waiting: the one thing that the blocking client and the asynchronous client do differently.

The rest is written once, as coroutines (`Link`, `Pool`, `Watch`). In the blocking client they wait with system calls
and never suspend, so that `finish` runs them from start to end in a single step.
"""

import select
import socket
import struct
import time
from abc import ABC, abstractmethod
from collections.abc import Coroutine

# Seconds to wait for an agent that is too busy to accept a connection.
CONNECT_TIMEOUT = 10.0


class Late(Exception):
    """A deadline has passed. It is not a `TimeoutError`, which a program's signal handler may raise at any time."""


def check_origin(error: OSError) -> None:
    """Raise an error again that is not the system's, which has a number: a program's signal handler raised it."""
    if error.errno is None:
        raise error


class Waits(ABC):
    """The operations that wait. A `deadline` is on the monotonic clock; None means no deadline."""

    @abstractmethod
    async def connect(self, path: str) -> socket.socket:
        """Connect, and wait while the agent's backlog is full.

        Raises:
            OSError: nobody listens there.
            Late, BlockingIOError: the backlog stayed full.

        """

    @abstractmethod
    async def readable(self, connection: socket.socket, deadline: float | None) -> None:
        """Wait until there is data or the end of the stream. Raises `Late` at the deadline."""

    @abstractmethod
    async def writable(self, connection: socket.socket, deadline: float | None) -> None:
        """Wait until data can be written. Raises `Late` at the deadline."""

    @abstractmethod
    async def pause(self, seconds: float) -> None:
        """Wait for that time."""


class Blocking(Waits):
    """Waits with system calls, which block the thread."""

    async def connect(self, path: str) -> socket.socket:
        deadline = time.monotonic() + CONNECT_TIMEOUT
        while True:
            connection = _try_to_connect(path)
            try:
                connection.getpeername()
            except OSError as error:
                # After a signal during connect(2) with a full backlog, Python returns as if the connection were made.
                connection.close()
                check_origin(error)
                if time.monotonic() > deadline:
                    raise Late from error
                continue
            return connection

    async def readable(self, connection: socket.socket, deadline: float | None) -> None:
        _poll(connection, select.POLLIN, deadline)

    async def writable(self, connection: socket.socket, deadline: float | None) -> None:
        _poll(connection, select.POLLOUT, deadline)

    async def pause(self, seconds: float) -> None:
        time.sleep(seconds)  # noqa: ASYNC251 -- to block is its purpose


def finish(coroutine: Coroutine[object, None, object]) -> StopIteration:
    """Run a coroutine that waits with `Blocking`, and return its end, whose `value` is the result.

    It doesn't return the result itself: a generic function needs `typing`, whose import costs milliseconds.
    """
    try:
        coroutine.send(None)
    except StopIteration as end:
        return end
    raise RuntimeError("a coroutine of the blocking client was suspended")  # a defect of this package


def _try_to_connect(path: str) -> socket.socket:
    connection = socket.socket(socket.AF_UNIX)
    try:
        # A blocking connect with a timeout in the kernel: on Linux a non-blocking connect fails at once if the backlog
        # is full.
        limit = struct.pack("ll", int(CONNECT_TIMEOUT), 0)
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, limit)
        connection.connect(path)
    except BaseException:
        connection.close()
        raise
    return connection


def _poll(connection: socket.socket, event: int, deadline: float | None) -> None:
    left = None if deadline is None else deadline - time.monotonic()
    if left is not None and left <= 0:  # the agent sends without pause, but no response
        raise Late
    poll = select.poll()
    poll.register(connection, event)
    if not poll.poll(None if left is None else int(left * 1000) + 1):
        raise Late
