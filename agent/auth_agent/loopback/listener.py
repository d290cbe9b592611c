"""The redirect's listener: a port of the loopback interface, for as long as a login is under way (RFC 8252, 7.3).

Whatever comes there is anybody's: every process of this machine can connect, and every website can make a browser
do so. A redirect's query is therefore a secret on its way in, and no proof of anything before it was checked.
"""

import logging
import os
import socket
from collections.abc import Awaitable, Callable, Sequence
from http import HTTPStatus
from typing import Final

import anyio
import anyio.abc

from auth_agent.defect import place
from auth_agent.host.accepting import Acceptor
from auth_agent.loopback.connection import BrowserConnection
from auth_agent.loopback.http_request import HOST, PATH
from auth_agent.loopback.page import Page, error_page
from auth_agent.promise import Promise
from auth_agent.secret import Secret

_log = logging.getLogger(__name__)

# A browser opens two or three, one of them ahead of need.
MAX_CONNECTIONS: Final = 32
# Redirects whose answers are not known yet; those of browsers that left count too.
MAX_ANSWERS: Final = 64
CLOSE_WITHIN: Final = 2.0  # s
_BACKLOG: Final = 64


class PortsTakenError(Exception):
    """No port can be listened on; the text says which were tried, and why each failed."""


class RedirectListener:
    """Waits for the browser at one port of 127.0.0.1, which is its own from the beginning to the end."""

    def __init__(self, ports: Sequence[int]) -> None:
        """Listen on the first of these ports that is free; 0 stands for any.

        Browsers can connect from now on, and wait until they are served.

        Raises:
            PortsTakenError: none is.

        """
        self._listening = _listen(ports)
        self.port: int = self._listening.getsockname()[1]
        self.redirect_uri = f"http://{HOST}:{self.port}{PATH}"
        # By age: the oldest first.
        self._connections: dict[BrowserConnection, None] = {}
        self._answers = 0
        # While it serves: what accepts, all that is done, and the end of that.
        self._accepting: anyio.CancelScope | None = None
        self._all: anyio.CancelScope | None = None
        self._ended: anyio.Event | None = None

    async def serve(self, answer: Callable[[str], Awaitable[Page]]) -> None:
        """Answer browsers, until cancelled or closed.

        Args:
            answer: gets a redirect's query, as it came, forged or not, and finds the page for it. It may take its
                time; several may be under way at once. It goes on when the browser leaves, and ends with this.

        """
        if self._listening.fileno() == -1:
            return  # closed before it began
        self._accepting, self._ended = anyio.CancelScope(), anyio.Event()
        try:
            async with anyio.create_task_group() as tasks:
                self._all = tasks.cancel_scope
                with self._accepting:
                    await self._accept(tasks, lambda query: self._ask(tasks, answer, query))
                self._listening.close()
                for connection in self._connections:
                    if not connection.asked:
                        connection.drop()
        finally:
            self._listening.close()
            self._ended.set()

    async def aclose(self) -> None:
        """Accept no more, and free the port; what was asked is answered, if that takes no longer than 2 s.

        Not to be called from within an answer, which would wait for itself.
        """
        if self._accepting is None or self._all is None or self._ended is None:
            self._listening.close()
            return
        self._accepting.cancel()
        with anyio.CancelScope(shield=True):
            with anyio.move_on_after(CLOSE_WITHIN):
                await self._ended.wait()
            self._all.cancel()
            await self._ended.wait()

    async def _accept(self, tasks: anyio.abc.TaskGroup, ask: Callable[[Secret], Promise[Page]]) -> None:
        acceptor = Acceptor(self._listening, _log, "redirect accept", self._make_room)
        while True:
            connected = await acceptor.accept()
            if len(self._connections) >= MAX_CONNECTIONS and not self._make_room():
                connected.close()
                continue
            connected.setblocking(False)
            connection = BrowserConnection(connected, self.port, ask)
            self._connections[connection] = None
            tasks.start_soon(self._run, connection)

    async def _run(self, connection: BrowserConnection) -> None:
        try:
            await connection.run()
        finally:
            self._connections.pop(connection, None)

    def _make_room(self) -> bool:
        """Let the oldest go that has asked nothing, or else has its answer. Whether one went."""
        leaving = next((one for one in self._connections if not one.asked), None)
        if leaving is None:
            leaving = next((one for one in self._connections if one.answered), None)
        if leaving is None:
            return False
        del self._connections[leaving]
        leaving.drop()
        return True

    def _ask(
        self, tasks: anyio.abc.TaskGroup, answer: Callable[[str], Awaitable[Page]], query: Secret
    ) -> Promise[Page]:
        """Begin to answer, in a task that the browser's leaving doesn't end."""
        promise = Promise[Page]()
        if self._answers >= MAX_ANSWERS:
            promise.resolve(error_page(HTTPStatus.SERVICE_UNAVAILABLE, "Too many logins end at once; try again"))
        else:
            self._answers += 1
            tasks.start_soon(self._answer, answer, query, promise)
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


def _listen(ports: Sequence[int]) -> socket.socket:
    failures: list[str] = []
    for port in ports:
        listening = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        try:
            listening.setblocking(False)
            # What an earlier login left in TIME_WAIT is in nobody's way, if it had this set too; a port on which
            # somebody listens stays taken. SO_REUSEPORT, which would share it, is never set.
            listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listening.bind((HOST, port))
            listening.listen(_BACKLOG)  # two that bound at the same moment are told apart here
        except OSError as error:
            listening.close()
            failures.append(f"{port} ({os.strerror(error.errno or 0)})")
        except BaseException:
            listening.close()
            raise
        else:
            return listening
    raise PortsTakenError(f"no port of {HOST} to receive the login on: tried {', '.join(failures)}")
