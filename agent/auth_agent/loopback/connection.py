"""One browser's connection: its request is read, asked about and answered, and then the connection ends."""

import logging
import socket
from collections.abc import Callable
from http import HTTPStatus
from typing import Final

import anyio

from auth_agent.defect import place
from auth_agent.loopback.http_request import HTTPRequest, Redirect
from auth_agent.loopback.page import Page, error_page
from auth_agent.promise import Promise
from auth_agent.secret import Secret

_log = logging.getLogger(__name__)

REQUEST_WITHIN: Final = 10.0  # s; browsers open connections ahead of time, and may never use them
_SEND_WITHIN: Final = 5.0  # s; a page fits into the socket's buffer
_LINGER_WITHIN: Final = 1.0  # s
_READ_SIZE: Final = 16 << 10


class BrowserConnection:
    """A connection that a browser opened, or anything else on this machine."""

    def __init__(self, connected: socket.socket, port: int, ask: Callable[[Secret], Promise[Page]]) -> None:
        """Serve there.

        Args:
            connected: the connection's socket, not blocking; it is closed at the end.
            port: where it was accepted.
            ask: begins to answer a redirect with that query, and goes on with it if the browser leaves.

        """
        self.asked = False  # whether its request is whole
        self.answered = False  # whether its page is out
        self._socket = connected
        self._exchange = HTTPRequest(port)
        self._ask = ask
        self._scope = anyio.CancelScope()

    async def run(self) -> None:
        """Serve the one request, until the browser leaves or is dropped."""
        try:
            with self._scope:
                await self._serve()
        except OSError as error:  # the browser left
            _log.debug("redirect left error=%s", error.strerror)
        except Exception as error:  # noqa: BLE001 -- one connection must not end the others
            # No text of the exception: it could hold the code.
            _log.error("defect in=redirect error=%s", place(error))
        finally:
            self._socket.close()

    def drop(self) -> None:
        """End the connection, whatever it was at."""
        self._scope.cancel()

    async def _serve(self) -> None:
        request = await self._request()
        if request is None:
            return
        self.asked = True
        page = await self._while_there(self._ask(request.query)) if isinstance(request, Redirect) else request
        if page is None:
            return
        with anyio.fail_after(_SEND_WITHIN):
            await self._send(self._exchange.answer(page))
        self.answered = True
        _log.debug("redirect answered status=%d", page.status)
        await self._linger()

    async def _request(self) -> Redirect | Page | None:
        """What is asked, or a page to refuse it with; None: nobody asks."""
        with anyio.move_on_after(REQUEST_WITHIN):
            while True:
                data = await self._receive(min(_READ_SIZE, self._exchange.room))
                request = self._exchange.receive(data)
                if request is not None or not data:
                    return request
        if self._exchange.begun:
            return error_page(HTTPStatus.REQUEST_TIMEOUT, "The request did not come to its end in time")
        return None

    async def _while_there(self, promise: Promise[Page]) -> Page | None:
        """The page, once there is one; None if the browser leaves before that."""
        page: Page | None = None
        async with anyio.create_task_group() as tasks:

            async def watch() -> None:
                await self._gone()
                tasks.cancel_scope.cancel()

            tasks.start_soon(watch)
            page = await promise.wait()
            tasks.cancel_scope.cancel()
        return page

    async def _gone(self) -> None:
        """Wait for the browser to close the connection, or break it."""
        try:
            while await self._receive(_READ_SIZE):
                pass  # nothing that comes after the request counts
        except OSError:
            pass

    async def _linger(self) -> None:
        """Close once the browser has read all: closing before that what it still sends would make the page vanish."""
        self._socket.shutdown(socket.SHUT_WR)
        with anyio.move_on_after(_LINGER_WITHIN):
            await self._gone()

    async def _receive(self, most: int) -> bytes:
        while True:
            await anyio.wait_readable(self._socket)
            try:
                return self._socket.recv(most)
            except (BlockingIOError, InterruptedError):
                continue

    async def _send(self, data: bytes) -> None:
        left = memoryview(data)
        while left:
            await anyio.wait_writable(self._socket)
            try:
                left = left[self._socket.send(left) :]
            except (BlockingIOError, InterruptedError):
                continue
