"""One client's connection: a thin shell of I/O around the protocol's sans-I/O core.

An `asyncio.Protocol` in anyio's loop: `make bench` shows what that saves over anyio's streams. A request that can
be answered at once is answered within the callback that brought it; one that has to wait gets a task.
"""

import asyncio
import logging
import sys
from collections.abc import Awaitable
from typing import Final, Protocol

import anyio
from anyio.abc import TaskGroup

from auth_agent.defect import place
from auth_agent.ipc.peer import Peer
from auth_agent.printable import printable
from auth_agent.sessions.allowance import Allowance
from auth_agent_client import errors
from auth_agent_client.wire import Connection, Request, WireError

_log = logging.getLogger(__name__)

# More than any honest client has in flight on one connection; then it isn't read until some are answered.
MAX_OPEN: Final = 64
# Unsent replies to a client that doesn't read; then no more of its requests are looked at.
MAX_UNSENT: Final = 64 * 1024
# A connection that says nothing whole for that long, in seconds, is an accident.
FIRST_MESSAGE: Final = 10.0
# Requests of one connection that are answered before the others get their turn.
_TURN: Final = 64
# How long, in seconds, a connection that is being closed may take to read why.
_LINGER: Final = 2.0

Result = dict[str, object] | bool


class Caller(Protocol):
    """Who asks, for those who answer."""

    peer: Peer
    allowance: Allowance

    def watch(self, accounts: frozenset[str] | None) -> None:
        """Notify this client from now on of changes of those accounts, or of all."""
        ...

    def changed(self, account: str) -> None:
        """An account's record changed."""
        ...


class Handler(Protocol):
    """Who answers."""

    def answer(self, caller: Caller, request: Request) -> Result | Awaitable[Result]:
        """The result, or what has to be awaited for it. Raises an `AgentError` for an error."""
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

    def holds(self, connection: "ClientConnection") -> None:
        """The connection holds more bytes of a message that isn't whole than before."""
        ...


class ClientConnection(asyncio.Protocol):
    """The connection of one client."""

    def __init__(self, peer: Peer, door: Door) -> None:
        self.peer = peer
        self.allowance = Allowance()
        self.spoke = False
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
        self._next_turn: asyncio.Handle | None = None
        self._next_tell: asyncio.Handle | None = None

    @property
    def pending(self) -> int:
        """How many bytes it holds of a message that isn't whole."""
        return self._wire.pending

    # ---- asyncio's callbacks

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)  # noqa: S101 -- a socket's
        transport.set_write_buffer_limits(high=MAX_UNSENT)
        self._transport = transport

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 -- asyncio's
        self._transport = None
        self._first.cancel()
        for handle in (self._next_turn, self._next_tell):
            if handle is not None:
                handle.cancel()
        for scope in tuple(self._waits):
            scope.cancel()
        self._door.handler.leave(self)
        self._door.made_room(self)

    def data_received(self, data: bytes) -> None:
        self._wire.receive_data(data)
        self._read()

    def pause_writing(self) -> None:
        self._full = True

    def resume_writing(self) -> None:
        self._full = False
        self._tell_changes()
        self._read()

    # ---- requests

    def _read(self) -> None:
        """Answer what is there, as far as the client reads and leaves room for others."""
        if self._next_turn is not None:
            self._next_turn.cancel()
            self._next_turn = None
        for _ in range(_TURN):
            if self._transport is None or self._transport.is_closing():
                return
            if self._full or self._wire.open_requests >= MAX_OPEN:
                self._set_unread(unread=True)
                return
            try:
                message = self._wire.next_message()
            except WireError as error:
                self.hang_up(str(error))
                return
            if message is None:
                self._set_unread(unread=False)
                if self._wire.pending:
                    self._door.holds(self)
                return
            if not self.spoke:
                self.spoke = True
                self._first.cancel()
            # A response, or a notification, has no meaning to the agent.
            if isinstance(message, Request):
                self._answer(message)
        self._set_unread(unread=True)
        self._next_turn = asyncio.get_running_loop().call_soon(self._read)

    def _answer(self, request: Request) -> None:
        try:
            result = self._door.handler.answer(self, request)
        except errors.AgentError as error:
            self._send(self._wire.refuse(request, error))
        except Exception:  # noqa: BLE001 -- one client's request must not end the agent; `_report` logs it
            self._report(request)
        else:
            if isinstance(result, (dict, bool)):
                self._send(self._wire.answer(request, result))
                return
            scope = anyio.CancelScope()
            self._waits.add(scope)
            self._door.tasks.start_soon(self._wait, request, result, scope, name=f"request {request.method}")

    async def _wait(self, request: Request, result: Awaitable[Result], scope: anyio.CancelScope) -> None:
        """Wait for a result, until the client leaves and cancels the scope."""
        try:
            with scope:
                self._send(self._wire.answer(request, await result))
        except errors.AgentError as error:
            self._send(self._wire.refuse(request, error))
        except Exception:  # noqa: BLE001 -- one client's request must not end the agent; `_report` logs it
            self._report(request)
        finally:
            self._waits.discard(scope)
        self._read()
        self._close_when_settled()

    def _report(self, request: Request) -> None:
        """Own up to a defect. No text of the exception, nor its variables: they could hold a secret."""
        error = sys.exception()
        _log.error("defect method=%s error=%s", printable(request.method, 32), place(error))
        self._send(self._wire.refuse(request, errors.Internal("a defect of the agent; its log says more")))

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
            asyncio.get_running_loop().call_later(_LINGER, self.abort)

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
        if self._ending and not self._waits and self._transport is not None:
            self._transport.close()

    def abort(self) -> None:
        """Close the connection, whatever is still to be sent."""
        if self._transport is not None:
            self._transport.abort()

    def _was_silent(self) -> None:
        self.hang_up(f"no whole message came for {FIRST_MESSAGE:g} s")
