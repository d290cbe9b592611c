"""One client's connection: a thin shell of I/O around the protocol's sans-I/O core.

An `asyncio.Protocol` in anyio's loop: `make bench` shows what that saves over anyio's streams. A request that can
be answered at once is answered within the callback that brought it; one that has to wait gets a task.
"""

import asyncio
import logging
import select
import socket
import sys
from collections.abc import Awaitable, Callable
from typing import Final, Protocol

import anyio
from anyio.abc import TaskGroup

from auth_agent.defect import place
from auth_agent.host.program import Program
from auth_agent.ipc.peer import Peer, program_of
from auth_agent.printable import printable
from auth_agent.sessions.advice import internal_error
from auth_agent.sessions.rate_limit import RateLimit
from auth_agent_client import errors
from auth_agent_client.wire import Connection, Request, WireError

_log = logging.getLogger(__name__)

# More than any honest client has in flight on one connection; then it isn't read until some are answered.
MAX_OPEN: Final = 64
# Unsent replies to a client that doesn't read; then no more of its requests are looked at.
MAX_UNSENT: Final = 64 * 1024
# A connection that says nothing whole for that long, in seconds, is an accident.
FIRST_MESSAGE: Final = 10.0
# Bytes that are kept of a client that asks faster than it can be answered; then it isn't read.
_MAX_UNREAD: Final = 64 * 1024
# How long, in seconds, a connection that is being closed may take to read why.
_LINGER: Final = 2.0

Result = dict[str, object] | bool
# What has to be awaited for a result; not begun until a task does.
Later = Callable[[], Awaitable[Result]]


class Caller(Protocol):
    """Who asks, for those who answer."""

    peer: Peer
    rate_limit: RateLimit

    @property
    def program(self) -> Program | None:
        """Which program it is; None where the system doesn't say."""
        ...

    def watch(self, accounts: frozenset[str] | None) -> None:
        """Notify this client from now on of changes of those accounts, or of all."""
        ...

    def changed(self, account: str) -> None:
        """An account's record changed."""
        ...


class Handler(Protocol):
    """Who answers."""

    def answer(self, caller: Caller, request: Request) -> Result | Later:
        """The result, or what to call and await for it. Raises an `AgentError` for an error."""
        ...

    def record(self, account: str) -> dict[str, object] | None:
        """The record of an account as it is now."""
        ...

    def leave(self, caller: Caller) -> None:
        """That client has gone."""
        ...


class Door(Protocol):
    """What a connection needs of the server."""

    handler: Handler
    tasks: TaskGroup

    def made_room(self, connection: "ClientConnection") -> None:
        """The connection has closed."""
        ...

    def holds(self, more: int) -> None:
        """A connection holds so many bytes more (or less) that no message was made of yet."""
        ...

    def queue(self, connection: "ClientConnection") -> None:
        """The connection has more requests: it is to take its turn when those before it have had theirs."""
        ...

    def leave_queue(self, connection: "ClientConnection") -> None:
        """It has no more, or closes."""
        ...

    def begin_waiting(self) -> None:
        """A request has to wait. Raises `Unavailable` where too many do."""
        ...

    def end_waiting(self) -> None:
        """A request waits no more."""
        ...


class ClientConnection(asyncio.Protocol):
    """The connection of one client."""

    def __init__(self, peer: Peer, door: Door) -> None:
        self.peer = peer
        self.rate_limit = RateLimit()
        self.spoke = False
        self.last_spoke = 0.0
        self._program: Program | None = None
        self._is_looked_up = False
        self._held = 0
        self._door = door
        self._wire = Connection()
        self._transport: asyncio.Transport | None = None
        self._first = asyncio.get_running_loop().call_later(FIRST_MESSAGE, self._was_silent)
        self._waits: set[anyio.CancelScope] = set()
        self._watched: frozenset[str] | None = None
        self._watches = False
        # Accounts whose change is to be told, once each, in order; a dict, for its order.
        self._changed: dict[str, None] = {}
        self._unread = False
        self._full = False
        self._ending = False
        self._queued = False
        self._next_tell: asyncio.Handle | None = None
        self._lingering: asyncio.Handle | None = None

    @property
    def pending(self) -> int:
        """How many bytes it holds that no message was made of yet."""
        return self._wire.pending

    @property
    def idle(self) -> bool:
        """Whether nobody would miss it at this moment: nothing is asked, and nothing watched."""
        return not self._wire.open_requests and not self._watches

    @property
    def program(self) -> Program | None:
        """Which program it is, looked up once, when it first takes something; None where the system doesn't say."""
        if not self._is_looked_up and self._transport is not None:
            self._is_looked_up = True
            self._program = program_of(self._transport.get_extra_info("socket"), self.peer)
        return self._program

    @property
    def leaving(self) -> bool:
        """Whether it is being closed."""
        return self._transport is None or self._transport.is_closing()

    # ---- asyncio's callbacks

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)  # noqa: S101 -- a socket's
        transport.set_write_buffer_limits(high=MAX_UNSENT)
        self._transport = transport

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 -- asyncio's
        self._transport = None
        self._first.cancel()
        self._door.leave_queue(self)
        for handle in (self._next_tell, self._lingering):
            if handle is not None:
                handle.cancel()
        for scope in tuple(self._waits):
            scope.cancel()
        self._door.handler.leave(self)
        self._door.holds(-self._held)
        self._held = 0
        self._door.made_room(self)

    def data_received(self, data: bytes) -> None:
        self._wire.receive_data(data)
        self._read()

    def eof_received(self) -> bool:
        # A client that only ends what it says still wants its answers; one that has gone doesn't.
        transport = self._transport
        if transport is None or _has_gone(transport):
            return False
        self.close()
        return True

    def pause_writing(self) -> None:
        self._full = True

    def resume_writing(self) -> None:
        self._full = False
        self._tell_changes()
        self._read()

    # ---- requests

    def take_turn(self, until: float) -> None:
        """Answer requests until then, the loop's time, and one at least."""
        self._queued = False
        self._read(until)

    def _read(self, until: float = 0.0) -> None:
        """Answer what is there, as far as the client reads and leaves room for others.

        One request at once, which is all that most clients ever have; the others when its turn comes.
        """
        if self._queued:
            return
        loop = asyncio.get_running_loop()
        while not self.leaving:
            if self._full or self._wire.open_requests >= MAX_OPEN:
                self._hold()
                # Read on for a while, without looking at it: an end of the connection would not be noticed otherwise.
                self._set_unread(unread=self._wire.pending > _MAX_UNREAD)
                return
            try:
                message = self._wire.next_message()
            except WireError as error:
                self.hang_up(str(error))
                return
            if message is None:
                self._set_unread(unread=False)
                self._hold()
                self._close_when_settled()
                return
            self.last_spoke = loop.time()
            if not self.spoke:
                self.spoke = True
                self._first.cancel()
            # A response, or a notification, has no meaning to the agent.
            if isinstance(message, Request):
                self._answer(message)
            if self._wire.pending and self.last_spoke >= until:
                self._queue()
                return

    def _queue(self) -> None:
        if not self._queued:
            self._set_unread(unread=True)
            self._queued = True
            self._door.queue(self)

    def _hold(self) -> None:
        held = self._wire.pending
        if held != self._held:
            more, self._held = held - self._held, held
            self._door.holds(more)

    def _answer(self, request: Request) -> None:
        try:
            result = self._door.handler.answer(self, request)
            if not callable(result):
                self._send(self._wire.respond(request, result))
                return
            self._door.begin_waiting()
            scope = anyio.CancelScope()
            self._waits.add(scope)
            self._door.tasks.start_soon(self._wait, request, result, scope, name=f"request {request.method}")
        except errors.AgentError as error:
            self._send(self._wire.respond_with_error(request, error))
        except Exception:  # noqa: BLE001 -- one client's request must not end the agent; `_report` logs it
            self._report(request)

    async def _wait(self, request: Request, later: Later, scope: anyio.CancelScope) -> None:
        """Wait for a result, until the client leaves and cancels the scope."""
        try:
            with scope:
                self._send(self._wire.respond(request, await later()))
        except errors.AgentError as error:
            self._send(self._wire.respond_with_error(request, error))
        except Exception:  # noqa: BLE001 -- one client's request must not end the agent; `_report` logs it
            self._report(request)
        finally:
            self._waits.discard(scope)
            self._door.end_waiting()
        if self._wire.pending and not self.leaving:  # of many that waited for the same, each would let one more in
            self._queue()
        else:
            self._read()
        self._close_when_settled()

    def _report(self, request: Request) -> None:
        """Own up to a defect. No text of the exception, nor its variables: they could hold a secret."""
        error = sys.exception()
        _log.error("defect method=%s error=%s", printable(request.method, 32), place(error))
        self._send(self._wire.respond_with_error(request, internal_error()))

    # ---- what is sent

    def watch(self, accounts: frozenset[str] | None) -> None:
        """Notify this client from now on of changes of those accounts, or of all (None)."""
        self._watches, self._watched = True, accounts
        self._changed.clear()

    def changed(self, account: str) -> None:
        """An account's record changed: tell the client, now or when it reads again."""
        if self._watches and (self._watched is None or account in self._watched):
            self._changed[account] = None
            if self._next_tell is None:
                # Not at once: of many changes in one turn of the loop, the last is told.
                self._next_tell = asyncio.get_running_loop().call_soon(self._tell_changes)

    def _tell_changes(self) -> None:
        self._next_tell = None
        while self._changed and not self._full:
            account = next(iter(self._changed))
            del self._changed[account]
            record = self._door.handler.record(account)
            if record is not None:
                self._send(self._wire.notify("changed", record))

    def hang_up(self, reason: str, code: str = errors.InvalidRequest.code) -> None:
        """Close the connection, and say why."""
        _log.info("closing pid=%d reason=%r", self.peer.pid, reason)
        if self._transport is not None:
            self._send(self._wire.closing(reason, code))
            self._transport.close()
            self._lingering = asyncio.get_running_loop().call_later(_LINGER, self.abort)

    def _send(self, data: bytes) -> None:
        if self._transport is not None and not self._transport.is_closing():
            self._transport.write(data)

    def _set_unread(self, *, unread: bool) -> None:
        if self._transport is None or unread == self._unread:
            return
        self._unread = unread
        if unread:
            self._transport.pause_reading()
        else:
            self._transport.resume_reading()

    def close(self) -> None:
        """Close the connection, once the requests that wait have been answered."""
        self._ending = True
        self._close_when_settled()

    def _close_when_settled(self) -> None:
        settled = not self._waits and not self._queued
        if self._ending and settled and self._transport is not None:
            self._transport.close()

    def abort(self) -> None:
        """Close the connection, whatever is still to be sent."""
        if self._transport is not None:
            self._transport.abort()

    def _was_silent(self) -> None:
        self.hang_up(f"no whole message came for {FIRST_MESSAGE:g} s")


def _has_gone(transport: asyncio.Transport) -> bool:
    """Whether the peer closed its socket, or ended, rather than shut down its sending side."""
    connection: socket.socket = transport.get_extra_info("socket")
    poll = select.poll()
    poll.register(connection.fileno(), 0)
    return any(event & select.POLLHUP for _, event in poll.poll(0))
