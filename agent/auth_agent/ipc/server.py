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
        # By age: the oldest first.
        self._connections: dict[ClientConnection, None] = {}
        self._emptied = anyio.Event()

    async def run(self) -> None:
        """Accept clients until cancelled."""
        acceptor = Acceptor(self._listening, _log, "accept", self._make_room)
        while True:
            connection = await acceptor.accept()
            try:
                await self._welcome(connection)
            except OSError as error:  # it has gone
                _log.debug("accept error=%s", error.strerror)
                connection.close()

    async def _welcome(self, connection: socket.socket) -> None:
        connection.setblocking(False)
        peer = peer_of(connection)
        if not is_this_user(peer):
            _log.warning("refused uid=%d pid=%d", peer.uid, peer.pid)
            connection.close()
            return
        full = len(self._connections) >= self._most and not self._make_room()
        client = ClientConnection(peer, self)
        await asyncio.get_running_loop().connect_accepted_socket(lambda: client, connection)
        if full:
            client.hang_up("there are too many connections; try again", errors.Unavailable.code)
        else:
            self._connections[client] = None

    def _make_room(self) -> bool:
        """Let the oldest that never said anything go, or else the one that has been idle longest. Whether one went."""
        leaving = next((one for one in self._connections if not one.spoke), None)
        if leaving is None:
            idle = [one for one in self._connections if one.idle]
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
