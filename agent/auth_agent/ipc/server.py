"""The accept loop, and the connections there are.

It is ours, since it must survive what a library's may die of: no descriptors left, an exception in a handler.
"""

import asyncio
import logging
import resource
import socket
from typing import Final

import anyio
from anyio.abc import TaskGroup

from auth_agent.host.accepting import Acceptor
from auth_agent.ipc.connection import ClientConnection, Handler
from auth_agent.ipc.peer import is_this_user, peer_of
from auth_agent_client import errors

_log = logging.getLogger(__name__)

MAX_CONNECTIONS: Final = 1200
# Descriptors that are left for requests to providers, and for what the interpreter needs.
_RESERVED: Final = 256
# Bytes that no message was made of yet, and requests that wait, of all connections together.
MAX_PENDING: Final = 64 << 20
MAX_WAITING: Final = 4096
# For how long, in seconds, those who have many requests are answered, before whoever has one gets a turn again.
_ROUND: Final = 0.001
# Connections that are let in at a time.
_BATCH: Final = 16
_FAREWELL: Final = 1.0  # s


class Server:
    """Serves the clients of one listening socket."""

    def __init__(self, listening: socket.socket, handler: Handler, tasks: TaskGroup) -> None:
        """Serve there; requests that have to wait do so in `tasks`."""
        self.handler = handler
        self.tasks = tasks
        self._listening = listening
        soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
        unlimited = soft == resource.RLIM_INFINITY
        self._most = MAX_CONNECTIONS if unlimited else min(MAX_CONNECTIONS, max(soft - _RESERVED, soft // 2))
        self._pending = 0
        self._waiting = 0
        # Those who have more requests, and wait for their turn.
        self._queue: dict[ClientConnection, None] = {}
        self._next_round: asyncio.Handle | None = None
        # By age: the oldest first.
        self._connections: dict[ClientConnection, None] = {}
        self._emptied = anyio.Event()

    async def run(self) -> None:
        """Accept clients until cancelled."""
        acceptor = Acceptor(self._listening, _log, "accept", self._make_room)
        while True:
            # Each takes the loop a few rounds: one after the other, a newcomer would wait long behind a crowd.
            async with anyio.create_task_group() as welcoming:
                for connection in await acceptor.accept_some(_BATCH):
                    welcoming.start_soon(self._welcome, connection)

    async def _welcome(self, connection: socket.socket) -> None:
        try:
            connection.setblocking(False)
            peer = peer_of(connection)
            if is_this_user(peer):
                await self._let_in(connection, ClientConnection(peer, self))
            else:
                _log.warning("refused uid=%d pid=%d", peer.uid, peer.pid)
                connection.close()
        except OSError as error:  # it has gone
            _log.debug("accept error=%s", error.strerror)
            connection.close()

    async def _let_in(self, connection: socket.socket, client: ClientConnection) -> None:
        full = len(self._connections) >= self._most and not self._make_room()
        if not full:
            self._connections[client] = None
        try:
            await asyncio.get_running_loop().connect_accepted_socket(lambda: client, connection)
        except BaseException:
            self.made_room(client)
            raise
        if full:
            client.hang_up("there are too many connections; try again", errors.Unavailable.code)

    def _make_room(self) -> bool:
        """Let the oldest that never said anything go, or else the one that has been idle longest. Whether one went."""
        # One that is still on its way in had no time to speak.
        leaving = next((one for one in self._connections if not one.spoke and not one.leaving), None)
        if leaving is None:
            idle = [one for one in self._connections if one.idle and not one.leaving]
            leaving = min(idle, key=lambda one: one.last_spoke, default=None)
        if leaving is None:
            return False
        del self._connections[leaving]
        leaving.hang_up("others want to be served, and this connection has not asked for anything")
        return True

    # ---- what connections call

    def made_room(self, connection: ClientConnection) -> None:
        """The connection has closed."""
        self._connections.pop(connection, None)
        if not self._connections:
            self._emptied.set()

    def holds(self, more: int) -> None:
        """A connection holds so many bytes more (or less) that no message was made of yet; all may hold so much."""
        self._pending += more
        if more > 0 and self._pending > MAX_PENDING:
            staying = (one for one in self._connections if not one.leaving)
            worst = max(staying, key=lambda one: one.pending, default=None)
            if worst is not None:
                worst.hang_up("too much was sent that is not whole")

    def queue(self, connection: ClientConnection) -> None:
        """The connection has more requests: it is to take its turn when those before it have had theirs."""
        self._queue[connection] = None
        if self._next_round is None:
            self._next_round = asyncio.get_running_loop().call_soon(self._go_round)

    def leave_queue(self, connection: ClientConnection) -> None:
        """It has no more, or closes."""
        self._queue.pop(connection, None)

    def _go_round(self) -> None:
        """Give turns for a while, however many want one: the loop's other work comes between two rounds."""
        self._next_round = None
        loop = asyncio.get_running_loop()
        end = loop.time() + _ROUND
        while self._queue and loop.time() < end:
            connection = next(iter(self._queue))
            del self._queue[connection]
            connection.take_turn(min(end, loop.time() + _ROUND / (1 + len(self._queue))))
        if self._queue and self._next_round is None:
            self._next_round = loop.call_soon(self._go_round)

    def begin_waiting(self) -> None:
        """A request has to wait. Raises `Unavailable` where too many do."""
        if self._waiting >= MAX_WAITING:
            raise errors.Unavailable("too many requests wait already; try again", retry_after=1.0)
        self._waiting += 1

    def end_waiting(self) -> None:
        """A request waits no more."""
        self._waiting -= 1

    # ---- the end

    async def close(self) -> None:
        """Close all connections, once they have been sent what is due to them; a second is enough for that."""
        self._emptied = anyio.Event()
        for connection in tuple(self._connections):
            connection.close()
        if self._connections:
            with anyio.move_on_after(_FAREWELL):
                await self._emptied.wait()
        for connection in tuple(self._connections):
            connection.abort()
