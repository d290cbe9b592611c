"""The redirect's listener: a port of the loopback interface, for as long as a login is under way (RFC 8252, 7.3).

Anybody can send a request there: every process of this machine can connect, and every website can make a browser
connect. A redirect's query is therefore handled as a secret, and proves nothing until its state has been checked.

Where the kernel does not tell whose a connection is, the state is no secret to other users: it is in the arguments of
the program that opens the browser. Elsewhere, too, somebody may see it, log in as himself, and bring his code. What
another user's connection brings is therefore refused, if the kernel tells whose it is. It is asked before anything is
read: a user who sends and leaves is not to be known later.
"""

import logging
import os
import socket
from collections.abc import Awaitable, Callable, Sequence
from http import HTTPStatus
from typing import Final

import anyio
import anyio.abc
import anyio.to_thread

from auth_agent.config import DEFAULT_REDIRECT_HOST, DEFAULT_REDIRECT_PATH
from auth_agent.defect import place
from auth_agent.host.accepting import Acceptor
from auth_agent.host.tcp_table import End, is_of, read_other_ends, shows
from auth_agent.loopback.connection import BrowserConnection
from auth_agent.loopback.http_request import Redirect, Start
from auth_agent.loopback.page import Page, another_user, error_page, not_found
from auth_agent.loopback.port import listen
from auth_agent.loopback.redirect_uri import RedirectURI
from auth_agent.loopback.start_page import StartPage
from auth_agent.promise import Promise
from auth_agent.secret import Secret

_log = logging.getLogger(__name__)

# A browser opens two or three, one of them in advance.
MAX_CONNECTIONS: Final = 32
# Redirects that are being processed, including those of browsers that disconnected.
MAX_ANSWERS: Final = 64
CLOSE_WITHIN: Final = 2.0  # s


class PortsTakenError(Exception):
    """No port can be listened on; the message names those tried, and why each failed."""


class RedirectListener:
    """Waits for the browser on one port of this machine, which it holds from its creation until it is closed."""

    def __init__(
        self, ports: Sequence[int], host: str = DEFAULT_REDIRECT_HOST, path: str = DEFAULT_REDIRECT_PATH
    ) -> None:
        """Listen on the first of these ports that is free; 0 stands for any free port.

        The redirect URI has that host, on all of whose addresses it listens, and that path.

        Browsers can connect from now on; they wait until `serve` runs.

        Raises:
            PortsTakenError: none is free.

        """
        self._listening = _listen(host, ports)
        self.port: int = self._listening[0].getsockname()[1]
        self.redirect_uri = RedirectURI(self.port, host, path)
        # Whether the kernel tells whose connections are.
        self.knows_peers = all(map(shows, self._listening))
        self._has_refused = False
        self._start_page: StartPage | None = None
        # The oldest first.
        self._connections: dict[BrowserConnection, None] = {}
        self._answers = 0
        # While `serve` runs: the scope that accepts, the scope of all its tasks, and its end.
        self._accept_scope: anyio.CancelScope | None = None
        self._serve_scope: anyio.CancelScope | None = None
        self._finished: anyio.Event | None = None

    def start_at(self, url: str) -> str | None:
        """Return a URL of this listener that redirects to `url`, only for this user; None if it can't tell users."""
        if not self.knows_peers:
            return None
        self._start_page = StartPage(url)
        return f"{self.redirect_uri.origin}{self._start_page.path}"

    async def serve(self, answer: Callable[[str], Awaitable[Page]]) -> None:
        """Serve browsers, until cancelled or closed.

        Args:
            answer: takes the unchecked query of a redirect, and returns the page for it. Several calls may run at
                once; each goes on if its browser disconnects, and is cancelled when `serve` ends.

        """
        if self._listening[0].fileno() == -1:
            return  # closed before it was served
        self._accept_scope, self._finished = anyio.CancelScope(), anyio.Event()
        try:
            async with anyio.create_task_group() as tasks:
                self._serve_scope = tasks.cancel_scope
                with self._accept_scope:
                    async with anyio.create_task_group() as accepting:
                        for listening in self._listening:
                            accepting.start_soon(self._accept, listening, tasks, answer)
                self._free_port()
                for connection in self._connections:
                    if not connection.request_complete:
                        connection.drop()
        finally:
            self._free_port()
            self._finished.set()

    async def aclose(self) -> None:
        """Stop accepting and free the port; requests already received get 2 s to be answered.

        Must not be called from within `answer`, which would wait for itself.
        """
        if self._accept_scope is None or self._serve_scope is None or self._finished is None:
            self._free_port()
            return
        self._accept_scope.cancel()
        with anyio.CancelScope(shield=True):
            with anyio.move_on_after(CLOSE_WITHIN):
                await self._finished.wait()
            self._serve_scope.cancel()
            await self._finished.wait()

    def _free_port(self) -> None:
        for listening in self._listening:
            listening.close()

    async def _accept(
        self,
        listening: socket.socket,
        tasks: anyio.abc.TaskGroup,
        answer: Callable[[str], Awaitable[Page]],
    ) -> None:
        def ask(request: Redirect | Start) -> Promise[Page]:
            return self._ask(tasks, answer, request)

        acceptor = Acceptor(listening, _log, "redirect accept", self._make_room)
        address, port = listening.getsockname()[:2]
        while True:
            accepted = await acceptor.accept_some(MAX_CONNECTIONS)
            try:
                strangers = await self._strangers((address, port), accepted)
            except BaseException:
                for connected in accepted:
                    connected.close()
                raise
            for connected in accepted:
                if len(self._connections) >= MAX_CONNECTIONS and not self._make_room():
                    connected.close()
                    continue
                connected.setblocking(False)
                connection = BrowserConnection(connected, self.redirect_uri, _refuse if connected in strangers else ask)
                self._connections[connection] = None
                tasks.start_soon(self._run, connection)

    async def _strangers(self, end: End, accepted: Sequence[socket.socket]) -> list[socket.socket]:
        """Return those that are neither this user's nor root's, or that have been closed at the other end."""
        if not self.knows_peers:
            return []
        try:
            # In a thread: the table may be long. One read is for all, since whoever connects causes it.
            ends = await anyio.to_thread.run_sync(read_other_ends, end, abandon_on_cancel=True)
        except (OSError, RuntimeError) as error:  # the latter where no thread can be started
            _log.warning("redirect owner error=%r", str(error))
            return list(accepted)
        strangers = [connected for connected in accepted if not is_of(ends.get(_peer(connected)), os.geteuid())]
        if strangers and not self._has_refused:  # once, since others can make it happen
            self._has_refused = True
            _log.warning("redirect refused from=another_user")
        return strangers

    async def _run(self, connection: BrowserConnection) -> None:
        try:
            await connection.run()
        finally:
            self._connections.pop(connection, None)

    def _make_room(self) -> bool:
        """Drop the oldest connection without a request, or else with a response; return whether there was one."""
        leaving = next((connection for connection in self._connections if not connection.request_complete), None)
        if leaving is None:
            leaving = next((connection for connection in self._connections if connection.response_sent), None)
        if leaving is None:
            return False
        del self._connections[leaving]
        leaving.drop()
        return True

    def _ask(
        self, tasks: anyio.abc.TaskGroup, answer: Callable[[str], Awaitable[Page]], request: Redirect | Start
    ) -> Promise[Page]:
        """Start to process a request; a redirect in a task that goes on if the browser disconnects."""
        promise = Promise[Page]()
        if isinstance(request, Start):
            start = self._start_page
            promise.resolve(not_found() if start is None else start.visit(request.path, anyio.current_time()))
        elif self._answers >= MAX_ANSWERS:
            promise.resolve(error_page(HTTPStatus.SERVICE_UNAVAILABLE, "Too many logins end at once; try again"))
        else:
            self._answers += 1
            tasks.start_soon(self._answer, answer, request.query, promise)
        return promise

    async def _answer(self, answer: Callable[[str], Awaitable[Page]], query: Secret, promise: Promise[Page]) -> None:
        try:
            promise.resolve(await answer(query.reveal()))
        except Exception as error:  # noqa: BLE001 -- one answer must not end the others
            # No text of the exception: it could hold the code.
            _log.error("defect in=redirect error=%s", place(error))
            promise.resolve(error_page(HTTPStatus.INTERNAL_SERVER_ERROR, "A defect of the agent; its log says more"))
        finally:
            self._answers -= 1


def _peer(connected: socket.socket) -> End:
    try:
        address, port = connected.getpeername()[:2]
    except OSError:  # it was reset
        return "0.0.0.0", 0  # noqa: S104 -- nobody's address, which is in no table
    return address, port


def _refuse(request: Redirect | Start) -> Promise[Page]:
    promise = Promise[Page]()
    promise.resolve(another_user(at_start=isinstance(request, Start)))
    return promise


def _listen(host: str, ports: Sequence[int]) -> list[socket.socket]:
    failures: list[str] = []
    for port in ports:
        try:
            return listen(host, port)
        except OSError as error:
            failures.append(f"{port} ({os.strerror(error.errno or 0)})")
    raise PortsTakenError(f"no port of {host} to receive the login on: tried {', '.join(failures)}")
