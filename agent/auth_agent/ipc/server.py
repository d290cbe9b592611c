"""The accept loop and the open connections.

Not a library's: the loop must survive a lack of descriptors and an exception in a handler.
"""

import asyncio
import contextlib
import logging
import resource
import socket
import time
from collections import Counter
from collections.abc import Hashable
from itertools import islice
from typing import Final

import anyio
from anyio.abc import TaskGroup

from auth_agent.host.accepting import Acceptor
from auth_agent.host.clock import Clock
from auth_agent.host.program import Program
from auth_agent.host.program_id import Origin
from auth_agent.ipc.connection import FIRST_MESSAGE, ClientConnection, Handler, Waiting
from auth_agent.ipc.peer import Peer, is_this_user, origin_of, peer_of, program_of
from auth_agent.ipc.programs import Programs
from auth_agent.ipc.readers import readers_in
from auth_agent.ipc.recent import Recent
from auth_agent.sessions.advice import too_many
from auth_agent.sessions.rate_limit import Asker
from auth_agent.sessions.shares import Shares
from auth_agent_client import errors
from auth_agent_client.wire import Connection

_log = logging.getLogger(__name__)

MAX_CONNECTIONS: Final = 1200
# Descriptors that are reserved for requests to providers and for the interpreter.
_RESERVED: Final = 256
# Bytes of incomplete messages of all connections together.
MAX_PENDING: Final = 64 << 20
# Bytes of waiting requests, and of those whose work goes on when their client has left: one small request of
# each connection.
MAX_WAITING: Final = 20 << 20
# Clients that watch. Each change costs a message for each of them.
MAX_WATCHING: Final = 256
# Seconds for which queued connections are served before the event loop runs other work, such as new requests.
_ROUND: Final = 0.00015
# Seconds for which requests are answered at once in each iteration of the loop: those of some 64 clients, since a turn
# costs as much as an answer.
_AT_ONCE: Final = 0.0006
# Seconds of a round which it takes to answer a request that has waited, once it has its turn.
_ANSWER: Final = 0.0001
# Connections that are served without turns: the requests that all of them send at a time take little time.
_FEW: Final = 8
# Connections that are accepted at a time.
_BATCH: Final = 4
# Connections that are compared at a time, to find one that gives way.
_COMPARED: Final = 16
# Seconds until a connection that gives way is looked for again, for a program that has none: they are many.
_PAUSE: Final = 0.05
_FAREWELL: Final = 1.0  # s


class Server:
    """Serves the clients of one listening socket."""

    def __init__(
        self, listening: socket.socket, handler: Handler, tasks: TaskGroup, clock: Clock | None = None
    ) -> None:
        """Serve clients of that socket; requests that have to wait do so in `tasks`."""
        self.handler = handler
        self._clock = clock or Clock()
        self._programs = Programs()
        self._origins = Recent(origin_of)
        self._names = Recent(program_of)
        self.tasks = tasks
        self.loop = asyncio.get_running_loop()  # looked up once: that is a system call in Python 3.11
        self.readers = readers_in(self.loop)
        self._listening = listening
        self._accepting: anyio.CancelScope | None = None
        soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
        unlimited = soft == resource.RLIM_INFINITY
        self._max_connections = MAX_CONNECTIONS if unlimited else min(MAX_CONNECTIONS, max(soft - _RESERVED, soft // 2))
        self._pending = 0
        self._waiting = Shares[Waiting](MAX_WAITING)
        self._watching = Shares[ClientConnection](MAX_WATCHING)
        # By program, connections with more requests, and requests that have a result, in the order of their turns.
        self._queues: dict[Hashable, dict[ClientConnection | Waiting, None]] = {}
        # Until when requests are answered at once in this iteration of the loop; None: it has answered none.
        self._iteration_end: float | None = None
        # The programs that had one answered after that.
        self._answered: set[Hashable] = set()
        self._next_round: asyncio.Handle | None = None
        # Whose clients watch, and have to be notified.
        self._to_notify: dict[ClientConnection, None] = {}
        # The oldest first.
        self._connections: dict[ClientConnection, None] = {}
        # Of these, those whose program was looked up, and the others: that takes a while, and few need it.
        self._known = Shares[ClientConnection](self._max_connections)
        self._unknown: dict[ClientConnection, None] = {}
        # Those that have sent no complete message, in the order of their deadlines.
        self._silent: dict[ClientConnection, float] = {}
        self._silence_ends: asyncio.TimerHandle | None = None
        # A program that has no connection to give way, and until when it isn't looked for again.
        self._last_refused: Hashable = None
        self._refused_until = 0.0
        self._emptied = anyio.Event()

    async def run(self) -> None:
        """Accept clients until cancelled."""
        while True:
            with anyio.CancelScope() as accepting:
                self._accepting = accepting
                await Acceptor(self._listening, _log, "accept", self._make_room).run(self._welcome, _BATCH)

    def listen_on(self, listening: socket.socket) -> None:
        """Accept clients of another socket from now on; the one from before may be closed when the loop has gone on."""
        self._listening = listening
        if self._accepting is not None:
            self._accepting.cancel()

    def _welcome(self, connection: socket.socket) -> None:
        """Serve a new connection, whose first request mostly comes with it."""
        client = self._admit(connection)
        if client is None:
            connection.close()
            return
        client.start()
        if not (client.spoke or client.leaving):
            self._silent[client] = self.loop.time() + FIRST_MESSAGE
            self._watch_silence()

    def _admit(self, connection: socket.socket) -> ClientConnection | None:
        """Return the client of a new connection, None if it isn't served."""
        try:
            connection.setblocking(False)
            peer = peer_of(connection)
        except OSError as error:  # the client disconnected
            _log.debug("accept error=%s", error.strerror)
            return None
        if not is_this_user(peer):
            _log.warning("refused uid=%d pid=%d", peer.uid, peer.pid)
            return None
        if len(self._connections) >= self._max_connections and not self._make_room(
            self.asker(self.origin(connection, peer))
        ):
            _refuse(connection)
            return None
        client = ClientConnection(connection, peer, self)
        self._connections[client] = self._unknown[client] = None
        if len(self._connections) > self._max_connections // 2:
            self._look_up(2)  # all are known when there is no more room
        return client

    def _watch_silence(self) -> None:
        """Have one timer for all clients that have sent nothing yet."""
        if self._silent and self._silence_ends is None:
            self._silence_ends = self.loop.call_at(next(iter(self._silent.values())), self._end_silence)

    def _end_silence(self) -> None:
        """Hang up on the one that has been silent for longest: on one, since there may be hundreds."""
        self._silence_ends = None
        client, until = next(iter(self._silent.items()), (None, 0.0))
        if client is not None and until <= self.loop.time():
            del self._silent[client]
            client.hang_up_on_silence()
        self._watch_silence()

    def _make_room(self, asker: Asker | None = None) -> bool:
        """Close a connection of the program that has most, or that the newcomer's program doesn't use.

        Return whether there was one. Without a newcomer, there is no descriptor to accept it.
        """
        self._look_up(len(self._unknown))
        is_urgent = asker is None or asker.is_at_terminal
        program = None if asker is None else asker.program
        now = anyio.current_time()
        if not is_urgent and program == self._last_refused and now < self._refused_until:
            return False
        candidates = self._known.giving_way(program, is_urgent=is_urgent)
        leaving = _unused(candidates or self._known.of(program)) or next(reversed(candidates), None)
        if leaving is None:
            self._last_refused, self._refused_until = program, now + _PAUSE
            return False
        self._forget(leaving)
        reason = "other clients need a connection, and this one is idle, or its program has most of them"
        leaving.hang_up(reason, errors.Unavailable.code, logging.DEBUG)  # there may be thousands
        return True

    def _look_up(self, count: int) -> None:
        """Look up the programs of that many connections."""
        for connection in tuple(islice(self._unknown, count)):
            del self._unknown[connection]
            self._known.add(connection, connection.asker.program)

    def _forget(self, connection: ClientConnection) -> None:
        self._connections.pop(connection, None)
        self._unknown.pop(connection, None)
        self._silent.pop(connection, None)
        self._known.remove(connection)
        self._watching.remove(connection)

    # ---- what connections call

    def has_spoken(self, connection: ClientConnection) -> None:
        """Take note of the first complete message."""
        self._silent.pop(connection, None)

    def connection_closed(self, connection: ClientConnection) -> None:
        """Forget a connection that closed."""
        self._forget(connection)
        if not self._connections:
            self._emptied.set()

    def count_held_bytes(self, more: int) -> None:
        """Count `more` bytes of incomplete messages (negative: fewer).

        Over the limit, close the worst connection of the program that has most.
        """
        self._pending += more
        if more > 0 and self._pending > MAX_PENDING:
            holding = [one for one in self._connections if one.pending and not one.leaving]
            held = Counter[Hashable]()
            for connection in holding:
                held[connection.asker.program] += connection.pending
            worst = max(holding, key=lambda one: (held[one.asker.program], one.pending), default=None)
            if worst is not None:
                worst.hang_up("too many bytes of incomplete messages were sent")

    def may_answer(self, item: ClientConnection | Waiting) -> bool:
        """Whether there is time in this iteration of the loop to answer a request at once, before others' turns.

        There is for a while, and then for one request of each program. A few connections can't have much at a time.
        """
        if len(self._connections) <= _FEW:
            return True
        now = time.monotonic()  # as the loop's
        if self._iteration_end is None:
            self._iteration_end = now + _AT_ONCE
            self.loop.call_soon(self._begin_iteration)
        if now < self._iteration_end:
            return True
        program = item.asker.program
        if program in self._answered:
            return False
        self._answered.add(program)
        return True

    def _begin_iteration(self) -> None:
        self._iteration_end = None
        self._answered.clear()

    def queue(self, connection: ClientConnection) -> None:
        """Give the connection, which has more requests, a turn; one program after the other has one."""
        self._enqueue(connection)

    async def wait_for_turn(self, waiting: Waiting) -> None:
        """Wait for a turn to answer the request, as connections do."""
        self._enqueue(waiting)
        try:
            await waiting.turn.wait()
        finally:
            self._dequeue(waiting)

    def leave_queue(self, connection: ClientConnection) -> None:
        """Remove the connection from the queue."""
        self._dequeue(connection)
        self._to_notify.pop(connection, None)

    def notify_soon(self, connection: ClientConnection) -> None:
        """Have the connection notify its client of changes, in its turn: there may be hundreds."""
        if not self._to_notify:
            self.loop.call_soon(self._notify)
        self._to_notify[connection] = None

    def _notify(self) -> None:
        end = self.loop.time() + _ROUND
        try:
            while self._to_notify and self.loop.time() < end:
                connection = next(iter(self._to_notify))
                del self._to_notify[connection]
                connection.notify_changes()
        finally:  # also after a defect, which the loop reports
            if self._to_notify:
                self.loop.call_soon(self._notify)

    def _enqueue(self, item: ClientConnection | Waiting) -> None:
        self._queues.setdefault(item.asker.program, {})[item] = None
        if self._next_round is None:
            self._next_round = self.loop.call_soon(self._go_round)

    def _dequeue(self, item: ClientConnection | Waiting) -> None:
        for program, queue in self._queues.items():
            if item in queue:
                del queue[item]
                if not queue:
                    del self._queues[program]
                return

    def _go_round(self) -> None:
        """Give turns for at most `_ROUND` seconds, then let the loop do other work before the next round."""
        self._next_round = None
        loop = self.loop
        end = loop.time() + _ROUND
        while self._queues and loop.time() < end:
            program, queue = next(iter(self._queues.items()))
            del self._queues[program]
            item = next(iter(queue))
            del queue[item]
            if queue:
                self._queues[program] = queue  # the next turn is another program's
            turns = 1 + sum(map(len, self._queues.values()))
            item.take_turn(min(end, loop.time() + _ROUND / turns))
            if isinstance(item, Waiting):
                end -= _ANSWER
        if self._queues and self._next_round is None:
            self._next_round = loop.call_soon(self._go_round)

    def origin(self, connection: socket.socket, peer: Peer) -> Origin:
        """Return the program of a client, as the system tells it, or told a moment ago."""
        return self._origins.of(connection, peer)

    def program(self, connection: socket.socket, peer: Peer) -> Program | None:
        """Return what a client's program is called, as the system tells it, or told a moment ago."""
        return self._names.of(connection, peer)

    def asker(self, origin: Origin) -> Asker:
        """Return a client's program, as limits count it."""
        return self._programs.asker(origin, self._clock.now().boot)

    def begin_waiting(self, waiting: Waiting, weight: int) -> None:
        """Count a waiting request of that many bytes. Raises `Unavailable` if too many wait."""
        asker, shares = waiting.asker, self._waiting
        while not shares.has_room(weight):
            candidates = shares.giving_way(asker.program, weight, is_urgent=waiting.is_urgent)
            if not candidates:
                raise too_many("waiting requests")
            candidates[-1].give_way()
            shares.remove(candidates[-1])
        # What its client can't end, the agent doesn't end either.
        shares.add(waiting, asker.program, weight, is_fixed=waiting.work is not None)

    def end_waiting(self, waiting: Waiting) -> None:
        """Forget a waiting request."""
        self._waiting.remove(waiting)

    def begin_watching(self, connection: ClientConnection) -> None:
        """Count a client that watches. Raises `Unavailable` if too many do."""
        asker, shares = connection.asker, self._watching
        shares.remove(connection)
        if not shares.has_room():
            candidates = shares.giving_way(asker.program, is_urgent=asker.is_at_terminal)
            if not candidates:
                raise too_many("clients that watch")
            shares.remove(candidates[-1])
            candidates[-1].hang_up(too_many("clients that watch").message, errors.Unavailable.code)
        shares.add(connection, asker.program)

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


def _refuse(connection: socket.socket) -> None:
    """Tell a client why it is not served: at once, so that others behind it don't wait long."""
    with contextlib.suppress(OSError):  # it has disconnected
        connection.send(Connection().closing(too_many("connections").message, errors.Unavailable.code))


def _unused(connections: list[ClientConnection]) -> ClientConnection | None:
    """Return one of the oldest: one that sent nothing, or else the longest idle; None if all are used."""
    for start in range(0, len(connections), _COMPARED):
        oldest = [each for each in connections[start : start + _COMPARED] if each.idle and not each.leaving]
        if oldest:
            return min(oldest, key=lambda each: (each.spoke, each.last_spoke))
    return None
