"""A connected socket in the event loop: reads what comes, and writes what the socket takes now or later.

Of its own, since asyncio's public way to a transport for an accepted socket takes a coroutine, a future and several
iterations of the loop, which is most of what a short connection costs. This one is made and reads within one callback.
"""

import asyncio
import socket
from typing import Final, Protocol

from auth_agent.ipc.readers import Readers

# Bytes that are read at a time, as asyncio does: a large message in small pieces costs its buffers more memory.
_READ_SIZE: Final = 256 * 1024


class Receiver(Protocol):
    """What a transport calls, as asyncio does with an `asyncio.Protocol`."""

    def data_received(self, data: bytes) -> None:
        """Take bytes that came."""
        ...

    def eof_received(self) -> bool:
        """Take note that the peer sends no more; return whether to keep the connection open for writing."""
        ...

    def pause_writing(self) -> None:
        """Take note that more than `max_unsent` bytes wait for the peer."""
        ...

    def resume_writing(self) -> None:
        """Take note that the peer has read most of them."""
        ...

    def connection_lost(self) -> None:
        """Take note that the connection is over: the last call, made once."""
        ...


class Transport:
    """The non-blocking socket of one connection, which it closes in the end."""

    __slots__ = (
        "_connection",
        "_fd",
        "_is_full",
        "_is_reading",
        "_loop",
        "_max_unsent",
        "_readers",
        "_receiver",
        "_unsent",
        "is_closing",
    )

    def __init__(
        self,
        connection: socket.socket,
        receiver: Receiver,
        loop: asyncio.AbstractEventLoop,
        readers: Readers,
        max_unsent: int,
    ) -> None:
        """Create it; it does nothing before `start`.

        Args:
            connection: the socket, non-blocking.
            receiver: what is called, always from the loop.
            loop: the running loop.
            readers: what calls when there is something to read, in that loop.
            max_unsent: bytes that may be unsent before the receiver's `pause_writing`.

        """
        self.is_closing = False
        self._connection = connection
        self._fd = connection.fileno()
        self._receiver: Receiver | None = receiver  # None: the connection is over
        self._loop = loop
        self._readers = readers
        self._max_unsent = max_unsent
        self._unsent = bytearray()
        self._is_reading = False
        self._is_full = False

    def start(self) -> None:
        """Read what has come already, and from now on whatever comes."""
        self.resume_reading()
        self._on_readable()

    def pause_reading(self) -> None:
        """Leave what comes to the system, which makes the peer wait."""
        if self._is_reading:
            self._is_reading = False
            self._readers.remove_reader(self._fd)

    def resume_reading(self) -> None:
        """Read again."""
        if not self._is_reading and not self.is_closing:
            try:
                self._readers.add_reader(self._fd, self._on_readable)
            except OSError:  # there is no memory to watch one more
                self.abort()
                return
            self._is_reading = True

    def write(self, data: bytes) -> None:
        """Send the bytes, now or when the socket takes them. After `close` they are lost."""
        if self.is_closing:
            return
        sent = 0
        if not self._unsent:
            try:
                sent = self._connection.send(data)
            except BlockingIOError:
                pass
            except OSError:  # the peer has gone
                self.abort()
                return
            if sent == len(data):
                return
            try:
                self._loop.add_writer(self._fd, self._on_writable)
            except OSError:  # as for reading
                self.abort()
                return
        self._unsent += memoryview(data)[sent:]
        if len(self._unsent) > self._max_unsent and not self._is_full and self._receiver is not None:
            self._is_full = True
            self._receiver.pause_writing()

    def close(self) -> None:
        """Close the connection as soon as what was written is sent; read no more."""
        if not self.is_closing:
            self.is_closing = True
            self.pause_reading()
            if not self._unsent:
                # Not now: the caller may be at work with the receiver.
                self._loop.call_soon(self._end)

    def abort(self) -> None:
        """Close the connection at once: what is unsent is lost."""
        self.is_closing = True
        self.pause_reading()
        self._loop.call_soon(self._end)

    def _on_readable(self) -> None:
        receiver = self._receiver
        if receiver is None:
            return
        try:
            data = self._connection.recv(_READ_SIZE)
        except BlockingIOError:
            return
        except OSError:  # the peer has gone, with something unread
            self._end()
            return
        try:
            if data:
                receiver.data_received(data)
                return
            self.pause_reading()  # the end would be readable for ever
            if receiver.eof_received():
                return
        except BaseException:  # a defect, which the loop reports
            self.abort()
            raise
        self.is_closing = True
        if not self._unsent:
            self._end()

    def _on_writable(self) -> None:
        try:
            sent = self._connection.send(self._unsent)
        except BlockingIOError:
            return
        except OSError:  # the peer has gone
            self._end()
            return
        del self._unsent[:sent]
        if not self._unsent:
            self._loop.remove_writer(self._fd)
            if self.is_closing:
                self._end()
                return
        if self._is_full and len(self._unsent) <= self._max_unsent // 4 and self._receiver is not None:
            self._is_full = False
            try:
                self._receiver.resume_writing()
            except BaseException:  # a defect, which the loop reports
                self.abort()
                raise

    def _end(self) -> None:
        """End the connection, unless it is over."""
        receiver, self._receiver = self._receiver, None
        if receiver is None:
            return
        self.is_closing = True
        self.pause_reading()
        if self._unsent:
            self._loop.remove_writer(self._fd)
            self._unsent.clear()
        try:
            receiver.connection_lost()
        finally:
            self._connection.close()
