"""How a client waits: the one thing that the blocking client and the asynchronous one do differently.

All else is written once, in coroutines (`Link`, `Pool`, `Watch`). Those of the blocking client wait inside, by the
kernel, so that they never suspend, and a single step, `finish`, runs them from start to end.
"""

import select
import socket
import struct
import time
from abc import ABC, abstractmethod
from collections.abc import Coroutine

# Seconds that an agent which is too busy to accept is given.
CONNECT_TIMEOUT = 10.0


class Waits(ABC):
    """What has to be waited for; a `deadline` is on the monotonic clock, None where there is none."""

    @abstractmethod
    async def connect(self, path: str) -> socket.socket:
        """A new connection, once the agent has room for it.

        Raises:
            OSError: nobody listens there; a `TimeoutError` or `BlockingIOError` where there was no room.

        """

    @abstractmethod
    async def readable(self, connection: socket.socket, deadline: float | None) -> None:
        """Return when there is something to read, or its end. Raises a `TimeoutError` at the deadline."""

    @abstractmethod
    async def writable(self, connection: socket.socket, deadline: float | None) -> None:
        """Return when there is room to write. Raises a `TimeoutError` at the deadline."""

    @abstractmethod
    async def pause(self, seconds: float) -> None:
        """Let so much time pass."""


class Blocking(Waits):
    """Waits by the kernel, and lets the whole thread wait."""

    async def connect(self, path: str) -> socket.socket:
        deadline = time.monotonic() + CONNECT_TIMEOUT
        while True:
            connection = _try_to_connect(path)
            try:
                connection.getpeername()
            except OSError as error:
                # A signal came while the backlog was full, and Python takes the interrupted connect for a finished one.
                connection.close()
                if time.monotonic() > deadline:
                    raise TimeoutError from error
                continue
            return connection

    async def readable(self, connection: socket.socket, deadline: float | None) -> None:
        _poll(connection, select.POLLIN, deadline)

    async def writable(self, connection: socket.socket, deadline: float | None) -> None:
        _poll(connection, select.POLLOUT, deadline)

    async def pause(self, seconds: float) -> None:
        time.sleep(seconds)  # noqa: ASYNC251 -- to block is its purpose


def finish(coroutine: Coroutine[object, None, object]) -> StopIteration:
    """Run a coroutine that waits by `Blocking` to its end, whose `value` is the result.

    Not the result itself: a function from any type to the same takes `typing`, which costs a program milliseconds.
    """
    try:
        coroutine.send(None)
    except StopIteration as end:
        return end
    raise RuntimeError("a coroutine of the blocking client was suspended")  # a defect of this package


def _try_to_connect(path: str) -> socket.socket:
    connection = socket.socket(socket.AF_UNIX)
    try:
        # A blocking connect with a limit of the kernel's: one without blocking fails at once on Linux when the
        # backlog is full, instead of waiting for its turn.
        limit = struct.pack("ll", int(CONNECT_TIMEOUT), 0)
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, limit)
        connection.connect(path)
    except BaseException:
        connection.close()
        raise
    return connection


def _poll(connection: socket.socket, event: int, deadline: float | None) -> None:
    left = None if deadline is None else deadline - time.monotonic()
    if left is not None and left <= 0:  # it talks without pause, and never answers
        raise TimeoutError
    poll = select.poll()
    poll.register(connection, event)
    if not poll.poll(None if left is None else int(left * 1000) + 1):
        raise TimeoutError
