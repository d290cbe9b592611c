"""One client's connection: the I/O around the protocol's sans-I/O core.

It has callbacks, since anyio's streams cost more than most requests. A request that can be answered at once is
answered within the callback that brought it; one that has to wait gets a task.
"""

import asyncio
import logging
import select
import socket
import sys
import time
from collections.abc import Awaitable, Callable
from typing import Final, Protocol

import anyio
from anyio.abc import TaskGroup

from auth_agent.defect import place
from auth_agent.host.program import Program
from auth_agent.host.program_id import Origin
from auth_agent.ipc.peer import Peer
from auth_agent.ipc.readers import Readers
from auth_agent.ipc.replies import Repeatable
from auth_agent.ipc.transport import Transport
from auth_agent.printable import printable
from auth_agent.sessions.advice import internal_error, too_many
from auth_agent.sessions.background import Detached
from auth_agent.sessions.rate_limit import Asker
from auth_agent_client import errors
from auth_agent_client.wire import MAX_REQUEST_VALUES, Connection, Request, WireError

_log = logging.getLogger(__name__)

# Requests in flight on one connection, more than any honest client has; beyond, it isn't read until some are answered.
MAX_OPEN: Final = 64
# Bytes of unsent responses to a client that doesn't read; beyond, its further requests wait.
MAX_UNSENT: Final = 64 * 1024
# Seconds within which a client must send its first complete message.
FIRST_MESSAGE: Final = 10.0
# Bytes of unprocessed requests of one client; beyond, it isn't read.
_MAX_UNREAD: Final = 64 * 1024
# Seconds that a client has to read why its connection is being closed.
_LINGER: Final = 2.0

Result = dict[str, object] | bool
# A call whose awaitable gives the result; it is started in a task of its own.
Later = Callable[[], Awaitable[Result]]
# Requests that a person must be able to make whatever a program of the same session does.
_URGENT: Final = frozenset({"login", "logout"})
# Bytes that a waiting request takes: its task, and besides its message at most so many for each byte of that.
_TASK: Final = 8192
_VALUE: Final = 64


class Caller(Protocol):
    """The client that sent a request, as handlers see it."""

    peer: Peer

    @property
    def asker(self) -> Asker:
        """The client's program, as limits count it."""
        ...

    @property
    def program(self) -> Program | None:
        """The client's program; None if the system doesn't tell."""
        ...

    def watch(self, accounts: frozenset[str] | None) -> None:
        """Notify this client from now on when one of those accounts changes, or any (None).

        Raises `Unavailable` if too many clients watch.
        """
        ...

    def changed(self, account: str) -> None:
        """Take note that the account's record changed."""
        ...


class Handler(Protocol):
    """What answers requests."""

    def repeat(self, caller: Caller, data: bytes) -> bytes | None:
        """Return the response to those bytes, if they are a request whose answer is at hand; else None."""
        ...

    def answer(self, caller: Caller, request: Request) -> Result | Repeatable | Later:
        """Return the result, or a `Later` for it. Raises an `AgentError` for an error."""
        ...

    def keep(self, request: Request, response: bytes, basis: Repeatable) -> None:
        """Keep the response for the same request again."""
        ...

    def record(self, account: str) -> dict[str, object] | None:
        """Return the current record of an account."""
        ...

    def leave(self, caller: Caller) -> None:
        """Forget a client that disconnected."""
        ...


class ConnectionOwner(Protocol):
    """What a connection needs of the server."""

    handler: Handler
    tasks: TaskGroup
    loop: asyncio.AbstractEventLoop
    readers: Readers

    def has_spoken(self, connection: "ClientConnection") -> None:
        """Take note of the first complete message."""
        ...

    def connection_closed(self, connection: "ClientConnection") -> None:
        """Forget a connection that closed."""
        ...

    def count_held_bytes(self, more: int) -> None:
        """Count `more` bytes of incomplete messages (negative: fewer)."""
        ...

    def may_answer(self, item: "ClientConnection | Waiting") -> bool:
        """Whether there is time in this iteration of the loop to answer a request at once, before others' turns."""
        ...

    def queue(self, connection: "ClientConnection") -> None:
        """Give the connection, which has more requests, a turn; one program after the other has one."""
        ...

    async def wait_for_turn(self, waiting: "Waiting") -> None:
        """Wait for a turn to answer the request, as connections do."""
        ...

    def leave_queue(self, connection: "ClientConnection") -> None:
        """Remove the connection from the queue."""
        ...

    def notify_soon(self, connection: "ClientConnection") -> None:
        """Have the connection notify its client of changes, in its turn."""
        ...

    def origin(self, connection: socket.socket, peer: Peer) -> Origin:
        """Return the program of a client, as the system tells it."""
        ...

    def program(self, connection: socket.socket, peer: Peer) -> Program | None:
        """Return what a client's program is called; None if the system doesn't tell."""
        ...

    def asker(self, origin: Origin) -> Asker:
        """Return a client's program, as limits count it."""
        ...

    def begin_waiting(self, waiting: "Waiting", weight: int) -> None:
        """Count a waiting request of that many bytes. Raises `Unavailable` if too many wait."""
        ...

    def end_waiting(self, waiting: "Waiting") -> None:
        """Forget a waiting request."""
        ...

    def begin_watching(self, connection: "ClientConnection") -> None:
        """Count a client that watches. Raises `Unavailable` if too many do."""
        ...


class Waiting:
    """A request that waits for its result."""

    __slots__ = ("asker", "gave_way", "is_urgent", "scope", "turn", "work")

    def __init__(self, asker: Asker, method: str, later: Later) -> None:
        self.asker = asker
        # What it waits for, if that goes on when the client leaves.
        self.work: Detached[Result] | None = later if isinstance(later, Detached) else None
        self.is_urgent = asker.is_at_terminal or method in _URGENT
        self.scope = anyio.CancelScope()
        self.gave_way = False
        self.turn = anyio.Event()

    def give_way(self) -> None:
        """End it: another program needs the room."""
        self.gave_way = True
        self.scope.cancel()

    def take_turn(self, _until: float) -> None:
        """Let it be answered."""
        self.turn.set()


class ClientConnection:
    """The connection of one client."""

    __slots__ = (
        "_changed",
        "_ending",
        "_full",
        "_held_bytes",
        "_is_looked_up",
        "_lingering",
        "_origin",
        "_owner",
        "_program",
        "_queued",
        "_socket",
        "_transport",
        "_unparsed",
        "_unread",
        "_waits",
        "_watched",
        "_watches",
        "_wire_in_use",
        "last_spoke",
        "peer",
        "spoke",
    )

    def __init__(self, connection: socket.socket, peer: Peer, owner: ConnectionOwner) -> None:
        self.peer = peer
        self.spoke = False
        self.last_spoke = 0.0
        self._socket = connection
        self._program: Program | None = None
        self._is_looked_up = False
        self._origin: Origin | None = None
        self._held_bytes = 0
        self._owner = owner
        # The bytes that came while no wire was needed.
        self._unparsed = b""
        self._wire_in_use: Connection | None = None
        self._transport = Transport(connection, self, owner.loop, owner.readers, MAX_UNSENT)
        self._waits: set[Waiting] = set()
        self._watched: frozenset[str] | None = None
        self._watches = False
        # Accounts whose change is to be notified, once each, in order (a dict keeps it).
        self._changed: dict[str, None] = {}
        self._unread = False
        self._full = False
        self._ending = False
        self._queued = False
        self._lingering: asyncio.Handle | None = None

    def start(self) -> None:
        """Answer what has come already, and from now on whatever comes."""
        self._transport.start()

    @property
    def _wire(self) -> Connection:
        """The protocol's state, made when it is needed: it takes 45 KB, and most connections are idle."""
        if self._wire_in_use is None:
            self._wire_in_use = Connection(MAX_REQUEST_VALUES)
            self._wire_in_use.receive_data(self._unparsed)
            self._unparsed = b""
        return self._wire_in_use

    def _rest(self) -> None:
        """Free the wire, unless a message is incomplete or a request open."""
        if self._wire_in_use is not None and self._wire_in_use.is_settled:
            self._wire_in_use = None

    @property
    def pending(self) -> int:
        """How many bytes of unprocessed messages it holds."""
        return len(self._unparsed) if self._wire_in_use is None else self._wire_in_use.pending

    @property
    def _has_open_requests(self) -> bool:
        return self._wire_in_use is not None and self._wire_in_use.open_requests > 0

    @property
    def idle(self) -> bool:
        """Whether it can be closed without loss: no open request, and no watch."""
        return not self._has_open_requests and not self._watches

    @property
    def program(self) -> Program | None:
        """The client's program, looked up at first use; None if the system doesn't tell."""
        if not self._is_looked_up:
            self._is_looked_up = True
            self._program = self._owner.program(self._socket, self.peer)
        return self._program

    @property
    def asker(self) -> Asker:
        """The client's program, as limits count it; looked up at first use, since a valid token needs none."""
        if self._origin is None:
            self._origin = self._owner.origin(self._socket, self.peer)
        return self._owner.asker(self._origin)

    @property
    def leaving(self) -> bool:
        """Whether it is being closed."""
        return self._transport.is_closing

    # ---- the transport's callbacks

    def connection_lost(self) -> None:
        self._owner.leave_queue(self)
        if self._lingering is not None:
            self._lingering.cancel()
        for waiting in tuple(self._waits):
            waiting.scope.cancel()
        self._owner.handler.leave(self)
        self._owner.count_held_bytes(-self._held_bytes)
        self._held_bytes = 0
        self._wire_in_use = None
        self._owner.connection_closed(self)

    def data_received(self, data: bytes) -> None:
        if self._wire_in_use is None and not self._unparsed:
            self._unparsed = data
        else:
            self._wire.receive_data(data)
        if self._queued or self._owner.may_answer(self):
            self._read()
        else:
            self._queue()

    def eof_received(self) -> bool:
        # A client that only shut down its sending side still reads responses; one that closed its socket doesn't.
        if self._is_settled or _has_gone(self._socket):
            return False
        self._ending = True
        return True

    def pause_writing(self) -> None:
        self._full = True

    def resume_writing(self) -> None:
        self._full = False
        self.notify_changes()
        self._read()

    # ---- requests

    def take_turn(self, until: float) -> None:
        """Answer at least one request, and more until that time of the loop."""
        self._queued = False
        self._read(until)

    def _read(self, until: float = 0.0) -> None:
        """Answer the requests received, as far as the client reads the responses.

        One request at once, which is all that most clients have; further ones in its next turn.
        """
        if self._queued:
            self._set_unread(unread=self.pending > _MAX_UNREAD)
            return
        if self._unparsed and self._repeat():
            return
        while not self.leaving:
            if self._full or self._wire.open_requests >= MAX_OPEN:
                self._hold()
                # Read on up to a limit, without processing: otherwise the end of the connection would not be noticed.
                self._set_unread(unread=self.pending > _MAX_UNREAD)
                return
            before = self._wire.pending
            try:
                message = self._wire.next_message()
            except WireError as error:
                self.hang_up(str(error))
                return
            if message is None:
                self._set_unread(unread=False)
                self._hold()
                self._rest()
                self._close_when_settled()
                return
            self._note_message()
            # A response, or a notification, has no meaning to the agent.
            if isinstance(message, Request):
                self._answer(message, before - self._wire.pending)
            if self._wire.pending and self.last_spoke >= until:
                self._queue()
                return

    def _repeat(self) -> bool:
        """Answer what came, if it is the same request as one before; return whether it was."""
        if self._full or self._transport.is_closing:
            return False
        try:
            response = self._owner.handler.repeat(self, self._unparsed)
        except Exception:  # noqa: BLE001 -- `_answer` meets the defect again, and reports it
            return False
        if response is None:
            return False
        self._unparsed = b""
        self._note_message()
        self._transport.write(response)
        if self._ending:
            self._close_when_settled()
        return True

    def _note_message(self) -> None:
        self.last_spoke = time.monotonic()  # as the loop's
        if not self.spoke:
            self.spoke = True
            self._owner.has_spoken(self)

    def _queue(self) -> None:
        if not self._queued:
            self._set_unread(unread=self.pending > _MAX_UNREAD)
            self._queued = True
            self._owner.queue(self)

    def _hold(self) -> None:
        held = self.pending
        if held != self._held_bytes:
            more, self._held_bytes = held - self._held_bytes, held
            self._owner.count_held_bytes(more)

    def _answer(self, request: Request, size: int) -> None:
        """Answer a request of that many bytes, or begin to wait for its result."""
        try:
            result = self._owner.handler.answer(self, request)
            if isinstance(result, Repeatable):
                response = self._wire.respond(request, result.result)
                self._owner.handler.keep(request, response, result)
                self._send(response)
                return
            if not callable(result):
                self._send(self._wire.respond(request, result))
                return
            waiting = Waiting(self.asker, request.method, result)
            self._owner.begin_waiting(waiting, _TASK + size + _VALUE * min(size, MAX_REQUEST_VALUES))
            self._waits.add(waiting)
            self._owner.tasks.start_soon(self._wait, request, result, waiting, name=f"request {request.method}")
        except errors.AgentError as error:
            self._send(self._wire.respond_with_error(request, error))
        except Exception:  # noqa: BLE001 -- one client's request must not end the agent; `_report` logs it
            self._report(request)

    async def _wait(self, request: Request, later: Later, waiting: Waiting) -> None:
        """Wait for a result, until the client leaves and cancels the scope; count it while its work goes on."""
        try:
            await self._respond(request, later, waiting)
            if waiting.work is not None:
                await waiting.work.wait_until_over()
        finally:
            self._owner.end_waiting(waiting)

    async def _respond(self, request: Request, later: Later, waiting: Waiting) -> None:
        try:
            with waiting.scope:
                try:
                    response = self._wire.respond(request, await later())
                except errors.AgentError as error:
                    response = self._wire.respond_with_error(request, error)
                if not self._owner.may_answer(waiting):  # many may have waited for the same event
                    await self._owner.wait_for_turn(waiting)
                self._send(response)
            if waiting.gave_way and waiting.scope.cancelled_caught:
                self._send(self._wire.respond_with_error(request, too_many("waiting requests")))
        except Exception:  # noqa: BLE001 -- one client's request must not end the agent; `_report` logs it
            self._report(request)
        finally:
            self._waits.discard(waiting)
        if self._wire.pending and not self.leaving:  # many may have waited for the same event: each takes its turn
            self._queue()
        else:
            self._read()
        self._close_when_settled()

    def _report(self, request: Request) -> None:
        """Report a defect to the log and the client, without the exception's message, which could contain a secret."""
        error = sys.exception()
        _log.error("defect method=%s error=%s", printable(request.method, 32), place(error))
        self._send(self._wire.respond_with_error(request, internal_error()))

    # ---- what is sent

    def watch(self, accounts: frozenset[str] | None) -> None:
        """Notify this client from now on of changes of those accounts, or of all (None)."""
        self._owner.begin_watching(self)
        self._watches, self._watched = True, accounts
        self._changed.clear()

    def changed(self, account: str) -> None:
        """Notify the client that the account's record changed, now or when it reads again."""
        if self._watches and (self._watched is None or account in self._watched):
            self._changed[account] = None
            # Not at once: of many changes in one iteration of the loop, only the last is sent.
            self._owner.notify_soon(self)

    def notify_changes(self) -> None:
        """Send what has changed, as far as the client reads. If that fails, it must not rely on being notified."""
        try:
            while self._changed and not self._full:
                account = next(iter(self._changed))
                del self._changed[account]
                record = self._owner.handler.record(account)
                if record is not None:
                    self._send(self._wire.notify("changed", record))
        except BaseException:  # a defect, which the loop reports
            self.abort()
            raise
        self._rest()

    def hang_up(self, reason: str, code: str = errors.InvalidRequest.code, level: int = logging.INFO) -> None:
        """Send the client the reason, and close the connection; log it at that level."""
        _log.log(level, "closing pid=%d reason=%r", self.peer.pid, reason)
        self._send(self._wire.closing(reason, code))
        self._transport.close()
        if self._lingering is None:
            self._lingering = self._owner.loop.call_later(_LINGER, self.abort)

    def _send(self, data: bytes) -> None:
        self._transport.write(data)

    def _set_unread(self, *, unread: bool) -> None:
        if unread == self._unread:
            return
        self._unread = unread
        if unread:
            self._transport.pause_reading()
        else:
            self._transport.resume_reading()

    def close(self) -> None:
        """Close the connection once the waiting requests have been answered."""
        self._ending = True
        self._close_when_settled()

    def _close_when_settled(self) -> None:
        if self._ending and self._is_settled:
            self._transport.close()

    @property
    def _is_settled(self) -> bool:
        """Whether no request waits: for its result, for its turn, or for the client to read."""
        return not (self._waits or self._queued or (self._full and self.pending))

    def abort(self) -> None:
        """Close the connection at once; unsent data is lost."""
        self._transport.abort()

    def hang_up_on_silence(self) -> None:
        """Close the connection of a client that sent no complete message in time."""
        self.hang_up(f"no complete message came within {FIRST_MESSAGE:g} s")


def _has_gone(connection: socket.socket) -> bool:
    """Whether the peer closed its socket or ended, rather than only shut down its sending side."""
    poll = select.poll()
    poll.register(connection.fileno(), 0)
    return any(event & select.POLLHUP for _, event in poll.poll(0))
