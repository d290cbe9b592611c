"""The accept loop and the open connections.

Not a library's: the loop must survive a lack of descriptors and an exception in a handler.
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
# Descriptors that are reserved for requests to providers and for the interpreter.
_RESERVED: Final = 256
# Bytes of incomplete messages, and waiting requests, of all connections together.
MAX_PENDING: Final = 64 << 20
MAX_WAITING: Final = 4096
# Seconds for which queued connections are served before the event loop runs other work, such as new requests.
_ROUND: Final = 0.001
# Connections that are accepted at a time.
_BATCH: Final = 16
_FAREWELL: Final = 1.0  # s


class Server:
    """Serves the clients of one listening socket."""

    def __init__(self, listening: socket.socket, handler: Handler, tasks: TaskGroup) -> None:
        """Serve clients of that socket; requests that have to wait do so in `tasks`."""
        self.handler = handler
        self.tasks = tasks
        self._listening = listening
        self._accepting: anyio.CancelScope | None = None
        soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
        unlimited = soft == resource.RLIM_INFINITY
        self._max_connections = MAX_CONNECTIONS if unlimited else min(MAX_CONNECTIONS, max(soft - _RESERVED, soft // 2))
        self._pending = 0
        self._waiting = 0
        # Connections with more requests, in the order of their turns.
        self._queue: dict[ClientConnection, None] = {}
        self._next_round: asyncio.Handle | None = None
        # The oldest first.
        self._connections: dict[ClientConnection, None] = {}
        self._emptied = anyio.Event()

    async def run(self) -> None:
        """Accept clients until cancelled."""
        while True:
            with anyio.CancelScope() as accepting:
                self._accepting = accepting
                await self._accept(Acceptor(self._listening, _log, "accept", self._make_room))

    def listen_on(self, listening: socket.socket) -> None:
        """Accept clients of another socket from now on; the one from before may be closed when the loop has gone on."""
        self._listening = listening
        if self._accepting is not None:
            self._accepting.cancel()

    async def _accept(self, acceptor: Acceptor) -> None:
        while True:
            connections = await acceptor.accept_some(_BATCH)
            # Each takes a few iterations of the loop; concurrently, a new client does not wait long behind a crowd.
            with anyio.CancelScope(shield=True):
                async with anyio.create_task_group() as welcoming:
                    for connection in connections:
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
        except OSError as error:  # the client disconnected
            _log.debug("accept error=%s", error.strerror)
            connection.close()

    async def _let_in(self, connection: socket.socket, client: ClientConnection) -> None:
        full = len(self._connections) >= self._max_connections and not self._make_room()
        if not full:
            self._connections[client] = None
        try:
            await asyncio.get_running_loop().connect_accepted_socket(lambda: client, connection)
        except BaseException:
            self.connection_closed(client)
            raise
        if full:
            client.hang_up("there are too many connections; try again", errors.Unavailable.code)

    def _make_room(self) -> bool:
        """Close the oldest connection that sent nothing, or else the longest idle; return whether there was one."""
        # A connection that is still being set up had no time to send anything.
        leaving = next((each for each in self._connections if not each.spoke and not each.leaving), None)
        if leaving is None:
            idle = [connection for connection in self._connections if connection.idle and not connection.leaving]
            leaving = min(idle, key=lambda connection: connection.last_spoke, default=None)
        if leaving is None:
            return False
        del self._connections[leaving]
        leaving.hang_up("other clients need a connection, and this one is idle")
        return True

    # ---- what connections call

    def connection_closed(self, connection: ClientConnection) -> None:
        """Forget a connection that closed."""
        self._connections.pop(connection, None)
        if not self._connections:
            self._emptied.set()

    def count_held_bytes(self, more: int) -> None:
        """Count `more` bytes of incomplete messages (negative: fewer); over the limit, close the worst connection."""
        self._pending += more
        if more > 0 and self._pending > MAX_PENDING:
            staying = (connection for connection in self._connections if not connection.leaving)
            worst = max(staying, key=lambda connection: connection.pending, default=None)
            if worst is not None:
                worst.hang_up("too many bytes of incomplete messages were sent")

    def queue(self, connection: ClientConnection) -> None:
        """Give the connection, which has more requests, a turn after those already in the queue."""
        self._queue[connection] = None
        if self._next_round is None:
            self._next_round = asyncio.get_running_loop().call_soon(self._go_round)

    def leave_queue(self, connection: ClientConnection) -> None:
        """Remove the connection from the queue."""
        self._queue.pop(connection, None)

    def _go_round(self) -> None:
        """Give turns for at most `_ROUND` seconds, then let the loop do other work before the next round."""
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
        """Count a waiting request. Raises `Unavailable` if too many wait."""
        if self._waiting >= MAX_WAITING:
            raise errors.Unavailable("too many requests are waiting; try again", retry_after=1.0)
        self._waiting += 1

    def end_waiting(self) -> None:
        """Count one waiting request less."""
        self._waiting -= 1

    # ---- the end

    async def close(self) -> None:
        """Close all connections once their responses have been sent, after a second at the latest."""
        self._emptied = anyio.Event()
        for connection in tuple(self._connections):
            connection.close()
        if self._connections:
            with anyio.move_on_after(_FAREWELL):
                await self._emptied.wait()
        for connection in tuple(self._connections):
            connection.abort()
