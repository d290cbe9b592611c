"""One browser's connection: reads one request, sends the response, and ends."""

import logging
import socket
from collections.abc import Callable
from http import HTTPStatus
from typing import Final

import anyio

from auth_agent.defect import place
from auth_agent.loopback.http_request import HTTPRequest, Redirect, Start
from auth_agent.loopback.page import Page, error_page
from auth_agent.loopback.redirect_uri import RedirectURI
from auth_agent.promise import Promise

_log = logging.getLogger(__name__)

REQUEST_WITHIN: Final = 10.0  # s; browsers open connections in advance, and may never use them
_SEND_WITHIN: Final = 5.0  # s; a page fits into the socket's buffer
_LINGER_WITHIN: Final = 1.0  # s
_READ_SIZE: Final = 16 << 10


class BrowserConnection:
    """A connection that a browser, or anything else on this machine, opened."""

    def __init__(
        self, connected: socket.socket, redirect_uri: RedirectURI, ask: Callable[[Redirect | Start], Promise[Page]]
    ) -> None:
        """Serve that connection.

        Args:
            connected: the connection's socket, non-blocking; it is closed at the end.
            redirect_uri: that of the login.
            ask: starts to process a request; it goes on if the browser disconnects.

        """
        self.request_complete = False  # whether its request has been received
        self.response_sent = False  # whether its response has been sent
        self._socket = connected
        self._http_request = HTTPRequest(redirect_uri)
        self._ask = ask
        self._scope = anyio.CancelScope()

    async def run(self) -> None:
        """Serve one request, until the browser disconnects or `drop` is called."""
        try:
            with self._scope:
                await self._serve()
        except OSError as error:  # the browser disconnected
            _log.debug("redirect left error=%s", error.strerror)
        except Exception as error:  # noqa: BLE001 -- one connection must not end the others
            # Not the exception's message: it could contain the code.
            _log.error("defect in=redirect error=%s", place(error))
        finally:
            self._socket.close()

    def drop(self) -> None:
        """End the connection at once."""
        self._scope.cancel()

    async def _serve(self) -> None:
        request = await self._request()
        if request is None:
            return
        self.request_complete = True
        page = request if isinstance(request, Page) else await self._page_unless_gone(self._ask(request))
        if page is None:
            return
        with anyio.fail_after(_SEND_WITHIN):
            await self._send(self._http_request.answer(page))
        self.response_sent = True
        _log.debug("redirect answered status=%d", page.status)
        await self._linger()

    async def _request(self) -> Redirect | Start | Page | None:
        """Return the request, or an error page; None if no request was begun."""
        with anyio.move_on_after(REQUEST_WITHIN):
            while True:
                data = await self._receive(min(_READ_SIZE, self._http_request.room))
                request = self._http_request.receive(data)
                if request is not None or not data:
                    return request
        if self._http_request.begun:
            return error_page(HTTPStatus.REQUEST_TIMEOUT, "The request was not complete in time")
        return None

    async def _page_unless_gone(self, promise: Promise[Page]) -> Page | None:
        """Wait for the page and return it; None if the browser disconnects first."""
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
                pass  # whatever follows the request is ignored
        except OSError:
            pass

    async def _linger(self) -> None:
        """Wait until the browser has read the page: closing with unread data would reset the connection and lose it."""
        self._socket.shutdown(socket.SHUT_WR)
        with anyio.move_on_after(_LINGER_WITHIN):
            await self._gone()

    async def _receive(self, max_bytes: int) -> bytes:
        while True:
            await anyio.wait_readable(self._socket)
            try:
                return self._socket.recv(max_bytes)
            except (BlockingIOError, InterruptedError):
                continue

    async def _send(self, data: bytes) -> None:
        remaining = memoryview(data)
        while remaining:
            await anyio.wait_writable(self._socket)
            try:
                remaining = remaining[self._socket.send(remaining) :]
            except (BlockingIOError, InterruptedError):
                continue
