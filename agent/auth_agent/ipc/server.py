"""The accept loop, and the connections there are.

It is ours, since it must survive what a library's may die of: no descriptors left, a peer that went away between
its connect and our accept, an exception in a handler.
"""

import asyncio
import errno
import logging
import socket
from typing import Final

import anyio
from anyio.abc import TaskGroup

from auth_agent.ipc.connection import ClientConnection, Handler
from auth_agent.ipc.peer import is_this_user, peer_of
from auth_agent_client import errors

_log = logging.getLogger(__name__)

MAX_CONNECTIONS: Final = 1200
# Of messages that aren't whole, all connections together.
MAX_PENDING: Final = 64 << 20
# A connection that holds less doesn't count: at most so many times 1,200, some 20 MiB, besides.
_SMALL_PENDING: Final = 16 << 10
_NO_DESCRIPTORS: Final = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM})
_FAREWELL: Final = 1.0  # s
_PAUSE: Final = 0.1  # s, until descriptors may have been freed


class Server:
    """Serves the clients of one listening socket."""

    def __init__(self, listening: socket.socket, handler: Handler, tasks: TaskGroup) -> None:
        """Serve there; requests that have to wait do so in `tasks`."""
        self.handler = handler
        self.tasks = tasks
        self._listening = listening
        # By age: the oldest first.
        self._connections: dict[ClientConnection, None] = {}
        self._emptied = anyio.Event()

    async def run(self) -> None:
        """Accept clients until cancelled."""
        short = False
        while True:
            try:
                await anyio.wait_readable(self._listening)
                connection, _ = self._listening.accept()
            except (BlockingIOError, InterruptedError, ConnectionAbortedError):
                continue
            except OSError as error:
                if error.errno not in _NO_DESCRIPTORS:
                    raise  # the socket itself is broken: end, and say so
                if not short:
                    _log.warning("accept error=%s connections=%d", error.strerror, len(self._connections))
                short = True
                self._drop_a_silent_one()
                await anyio.sleep(_PAUSE)
                continue
            short = False
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
        full = len(self._connections) >= MAX_CONNECTIONS and not self._drop_a_silent_one()
        client = ClientConnection(peer, self)
        await asyncio.get_running_loop().connect_accepted_socket(lambda: client, connection)
        if full:
            client.hang_up("too many connections", errors.Unavailable.code)
        else:
            self._connections[client] = None

    def _drop_a_silent_one(self) -> bool:
        """Make room: the oldest that never said anything goes. Whether there was one."""
        for connection in self._connections:
            if not connection.spoke:
                del self._connections[connection]
                connection.hang_up("others want to be served, and this connection never said anything")
                return True
        return False

    # ---- what connections call

    def made_room(self, connection: ClientConnection) -> None:
        """The connection has closed."""
        self._connections.pop(connection, None)
        if not self._connections:
            self._emptied.set()

    def holds(self, connection: ClientConnection) -> None:
        """The connection holds that much of a message that isn't whole: all together may hold so much only."""
        if connection.pending <= _SMALL_PENDING:
            return
        large = [other for other in self._connections if other.pending > _SMALL_PENDING]
        if sum(other.pending for other in large) > MAX_PENDING:
            max(large, key=lambda other: other.pending).hang_up("too much was sent that is not whole")

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
