"""The bridge: what the client writes is posted to the server, and what the server answers is written to the client.

Theory of operation. Each message of the client is a POST, whose response is a JSON message, or a stream of events with
messages that ends with the response to that request. Requests are sent side by side; a notification waits until the
server has accepted it before what follows it is sent, since their order matters. Before the revision 2026-07-28 there
is a session besides: the server may send messages of its own by a stream that a GET opens, a broken stream is resumed
where it ended, and if the server has ended the session, the bridge begins another one, with the client's handshake. The
session is replaced when that is complete, so that nothing is sent in half of one.
"""

import json
import logging
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Final

import anyio
import anyio.lowlevel
import httpx
from anyio.streams.memory import MemoryObjectSendStream

from auth_agent.mcp.event_stream import EventStream, EventTooLong
from auth_agent.mcp.headers import ToolHeaders, metadata_headers
from auth_agent.mcp.message import (
    ID,
    PARSE_ERROR,
    Message,
    Object,
    error_line,
    read_message,
    request_line,
    responses,
    unanswered,
    with_id,
)
from auth_agent.mcp.server import EVENTS, JSON, REFUSED, Server, ServerError, json_body, media_type, too_long
from auth_agent.mcp.session import Session, session_id
from auth_agent.mcp.streams import Output
from auth_agent.oauth.transport import FAILURES, cause
from auth_agent_client.errors import AgentError
from auth_agent_client.remedy import remedies_to_wire
from auth_agent_client.values import mapping

_log = logging.getLogger(__name__)

LONGEST: Final = 64 * 1024 * 1024  # bytes of a message
_MOST: Final = 1000  # requests at once
_ACCEPTING: Final = 10.0  # s that a notification may take to be accepted before what follows it is sent
_RECONNECT: Final = 1.0  # s, unless the server says otherwise (`retry`)
_LONGEST_RECONNECT: Final = 60.0
_ATTEMPTS: Final = 8  # in vain, one after the other, to resume a stream
# Refusals of a stream that may pass: of a token, a timeout, too many requests.
_PASSING: Final = (401, 403, 408, 425, 429)
_READ_AHEAD: Final = 16  # lines, so that the end of the input is noticed while those before wait
# Seconds for requests in flight when the client has closed its stream, and for the end of the session. A client waits
# for about two before it kills the bridge.
_DRAIN: Final = 1.0
_FAREWELL: Final = 0.8
_TOOL_CALL: Final = "tools/call"
_TOOL_LIST: Final = "tools/list"
_OWN_ID: Final = "auth-agent"  # of the bridge's own requests, which no client makes
_HEADER_MISMATCH: Final = -32020
_MOST_PAGES: Final = 100  # of a list of tools


class _HeaderMismatch(Exception):
    """The server has another definition of a tool than the bridge has seen."""


@dataclass(slots=True)
class _InFlight:
    """A message whose requests are not all answered; `is_sent` when the server has all of it."""

    message: Message
    scope: anyio.CancelScope = field(default_factory=anyio.CancelScope)
    is_sent: bool = False

    def mark_sent(self) -> None:
        """Note that the server has all of it."""
        self.is_sent = True


class Bridge:
    """Between one client and one server."""

    def __init__(self, server: Server, output: Output) -> None:
        self._server = server
        self._output = output
        self._session = Session()
        self._tools = ToolHeaders()
        self._in_flight: dict[ID, _InFlight] = {}
        self._cancelled: set[ID] = set()
        self._renewing = anyio.Lock()
        self._idle = anyio.Event()
        self._tasks = anyio.create_task_group()

    async def run(self, lines: AsyncIterator[bytes | None]) -> None:
        """Pass messages on until the client closes its stream. Raises an `OSError` if it reads no more."""
        send, receive = anyio.create_memory_object_stream[bytes | None](_READ_AHEAD)
        async with self._tasks:
            self._tasks.start_soon(self._output.run)
            self._tasks.start_soon(self._read_ahead, lines, send)
            with receive:
                async for line in receive:
                    await self._accept(line)
            if self._in_flight:
                self._idle = anyio.Event()
                await self._idle.wait()
            self._tasks.cancel_scope.cancel()

    async def _read_ahead(self, lines: AsyncIterator[bytes | None], send: MemoryObjectSendStream[bytes | None]) -> None:
        with send:
            async for line in lines:
                await send.send(line)
        self._tasks.cancel_scope.deadline = anyio.current_time() + _DRAIN

    async def end(self) -> None:
        """End the session at the server."""
        if self._session.id is None:
            return
        with anyio.move_on_after(_FAREWELL, shield=True):
            try:
                async with self._server.request("DELETE", self._session.headers()):
                    pass
            except (AgentError, ServerError) as error:
                _log.warning("the session was not ended at the server: %s", error)

    # ---- what the client writes

    async def _accept(self, line: bytes | None) -> None:
        message = None if line is None else read_message(line)
        if message is None:
            what = "is not a JSON-RPC message" if line is not None else f"is longer than {LONGEST >> 20} MiB"
            await self._output.write(error_line(None, f"this line {what}", code=PARSE_ERROR))
        elif message.cancelled is not None:
            self._cancel(message, message.cancelled)
        elif not message.requests:
            with anyio.move_on_after(_ACCEPTING):
                accepted = anyio.Event()
                self._tasks.start_soon(self._notify, message, accepted)
                await accepted.wait()
            if message.method == "notifications/initialized" and self._session.number:
                self._session.initialized = message
                self._tasks.start_soon(self._listen, self._session)
        elif len(self._in_flight) + len(message.requests) > _MOST:
            for identifier in message.requests:
                await self._output.write(error_line(identifier, f"{_MOST} requests are in flight already"))
        elif message.method == "initialize":
            await self._ask(message)  # nothing else is of a session before that
        else:
            self._tasks.start_soon(self._ask, message)
            await anyio.lowlevel.checkpoint()

    def _cancel(self, message: Message, identifier: ID) -> None:
        flight = self._in_flight.get(identifier)
        is_modern = self._session.version is None if flight is None else flight.message.version is not None
        if flight is not None:
            self._cancelled.add(identifier)
            # The end of its connection is what tells a server of 2026-07-28. Another one ignores the cancellation of
            # what it has not seen.
            if is_modern or (not flight.is_sent and len(flight.message.requests) == 1):
                flight.scope.cancel()
                return
        if not is_modern:
            self._tasks.start_soon(self._notify_of_cancellation, message, flight)

    async def _notify_of_cancellation(self, message: Message, flight: _InFlight | None) -> None:
        await self._notify(message)
        if flight is not None and len(flight.message.requests) == 1:
            flight.scope.cancel()  # there may never be a response

    async def _notify(self, message: Message, accepted: anyio.Event | None = None) -> None:
        """Post a message that gets no response."""
        try:
            async with self._deliver(message) as response:
                if not response.is_success:
                    _log.warning("%s answered HTTP %s to %s", self._server.place, response.status_code, message.methods)
        except (AgentError, ServerError) as error:
            _log.warning("%s was not sent: %s", message.methods or "a response", error)
        finally:
            if accepted is not None:
                accepted.set()

    async def _ask(self, message: Message) -> None:
        """Post a message with requests, and write what the server answers, or why it doesn't."""
        flight = _InFlight(message)
        self._in_flight |= dict.fromkeys(message.requests, flight)
        answered: set[ID | None] = set()
        text, data = "the server ended the stream before its response", dict[str, object]()
        try:
            with flight.scope:
                text = await self._exchange(flight, answered) or text
        except AgentError as error:
            text = "\n".join([error.message, *(str(remedy) for remedy in error.remedy)])
            data = {"code": error.code, "failure": error.failure, "remedy": remedies_to_wire(error.remedy)}
        except ServerError as error:
            text = str(error)
        for identifier in unanswered(message, answered):
            if identifier not in self._cancelled:
                await self._output.write(error_line(identifier, text, {"source": "auth-agent", **data}))
        for identifier in message.requests:
            if self._in_flight.get(identifier) is flight:  # not one that has the same id since
                del self._in_flight[identifier]
                self._cancelled.discard(identifier)
        if not self._in_flight:
            self._idle.set()

    async def _exchange(self, flight: _InFlight, answered: set[ID | None]) -> str | None:
        """Send a request and pass on what the server answers; return why it didn't, if that is known."""
        message = flight.message
        try:
            async with self._deliver(message, flight.mark_sent) as response:
                may_learn = message.method == _TOOL_CALL and message.version is not None
                return await self._pass_on(response, message, answered, may_learn=may_learn)
        except _HeaderMismatch:
            await self._learn_tools(message)
        async with self._deliver(message, flight.mark_sent) as response:
            return await self._pass_on(response, message, answered)

    @asynccontextmanager
    async def _deliver(
        self, message: Message, sent: Callable[[], None] | None = None
    ) -> AsyncGenerator[httpx.Response, None]:
        """Post a message, again in another session if the server has ended this one: it has not read the message."""
        session = self._session
        async with self._post(message, session, sent) as response:
            of_session = message.version is None and message.method != "initialize"
            if not (of_session and await self._has_ended(session, response)):
                yield response
                return
        if not await self._renew(session):
            raise ServerError("the server has ended the session, and begins no other")
        async with self._post(message, self._session, sent) as response:
            yield response

    def _post(
        self, message: Message, session: Session, sent: Callable[[], None] | None = None
    ) -> AbstractAsyncContextManager[httpx.Response]:
        headers = {"Content-Type": JSON, "Accept": f"{JSON}, {EVENTS}"}
        headers |= session.headers(message) | metadata_headers(message, self._tools)
        return self._server.request("POST", headers, message.body, sent)

    async def _learn_tools(self, call: Message) -> None:
        """Ask the server for the definitions of its tools, as the client of that call would."""
        params: dict[str, object] = {"_meta": call.params.get("_meta")}
        for _ in range(_MOST_PAGES):
            question = read_message(request_line(_OWN_ID, _TOOL_LIST, params))
            if question is None:
                return
            async with self._post(question, self._session) as response:
                result = await _result(response)
            self._tools.learn(result)
            cursor = mapping(result).get("nextCursor")
            if not isinstance(cursor, str):
                return
            params = {**params, "cursor": cursor}

    # ---- what the server answers

    async def _pass_on(
        self, response: httpx.Response, message: Message, answered: set[ID | None], *, may_learn: bool = False
    ) -> str | None:
        kind = media_type(response)
        if response.is_success and kind == EVENTS:
            await self._pass_on_events(response, message, answered)
            return None
        body = await json_body(response, LONGEST)
        reply = None if body is None else read_message(body)
        if response.is_success and reply is not None:
            await self._write(reply, message, answered, response)
            return None
        if reply is not None and response.status_code not in REFUSED:
            # The status says that it is an error, perhaps of an unknown request.
            for identifier, one in responses(reply):
                error = mapping(one.get("error"))
                if "code" in error and len(message.requests) == 1:
                    if may_learn and error["code"] == _HEADER_MISMATCH:
                        raise _HeaderMismatch
                    (own,) = message.requests
                    answered.add(own)
                    await self._output.write(reply.body if identifier == own else with_id(one, own))
                    return None
        return self._refusal(response, message)

    def _refusal(self, response: httpx.Response, message: Message) -> str:
        if response.status_code in REFUSED:
            return f"{self._server.place} does not take the token (HTTP {response.status_code})"
        if response.is_success:
            return f"{self._server.place} answered HTTP {response.status_code}, without a message"
        hint = " (a server of the older HTTP+SSE transport?)" if message.method == "initialize" else ""
        return f"{self._server.place} answered HTTP {response.status_code}{hint}"

    async def _pass_on_events(self, response: httpx.Response, message: Message, answered: set[ID | None]) -> None:
        """Pass on a stream of events until it has each response; if it breaks off, resume it where it ended."""
        session, cursor, failed = self._session, _Cursor(), 0
        await self._read_events(response, message, answered, cursor)
        while unanswered(message, answered) and cursor.id and message.version is None:
            await anyio.sleep(cursor.pause)
            headers = {"Accept": EVENTS, "Last-Event-ID": cursor.id, **session.headers()}
            failed += 1
            try:
                async with self._server.request("GET", headers) as resumed:
                    if resumed.is_success and media_type(resumed) == EVENTS:
                        # A server may end it, and want to be asked again, as often as it likes.
                        if await self._read_events(resumed, message, answered, cursor):
                            failed = 0
                    elif not _may_pass(resumed):
                        return
            except (AgentError, ServerError) as error:
                _log.warning("%s", error)
            if failed == _ATTEMPTS:
                return

    async def _read_events(
        self, response: httpx.Response, message: Message | None, answered: set[ID | None], cursor: "_Cursor"
    ) -> bool:
        """Pass on the messages of a stream; return whether it ended, rather than broke off."""
        stream, before = EventStream(LONGEST, cursor.id), cursor.id
        try:
            async for chunk in response.aiter_bytes():
                for event in stream.feed(chunk):
                    reply = read_message(event.data) if event.data and event.type == "message" else None
                    if reply is not None:
                        await self._write(reply, message, answered, response)
                    if message is not None and not unanswered(message, answered):
                        return True
                cursor.id = stream.last_event_id
        except EventTooLong as error:
            raise too_long(LONGEST) from error
        except (httpx.HTTPError, *FAILURES) as error:
            _log.warning("the stream of %s broke off: %s", self._server.place, cause(error))
            return False
        finally:
            cursor.wait(stream.retry, has_moved=cursor.id != before)
        return True

    async def _write(
        self, reply: Message, message: Message | None, answered: set[ID | None], response: httpx.Response
    ) -> None:
        body = reply.body
        for identifier, one in responses(reply):
            if identifier == _OWN_ID:
                return
            answered.add(identifier)
            method = _method(message, identifier)
            if method == "initialize" and "result" in one:
                self._session = Session(message, number=self._session.number)
                self._session.begin(session_id(response.headers), one["result"])
            if method == _TOOL_LIST and (kept := self._tools.learn(one.get("result"))) != one.get("result"):
                body = json.dumps({**one, "result": kept}, separators=(",", ":"), ensure_ascii=False).encode()
        await self._output.write(body)

    # ---- sessions, before the revision 2026-07-28

    async def _listen(self, session: Session) -> None:
        """Pass on what the server sends of itself, as long as that session lasts."""
        cursor = _Cursor()
        while self._session is session:
            headers = {"Accept": EVENTS, **session.headers()}
            if cursor.id:
                headers["Last-Event-ID"] = cursor.id
            try:
                async with self._server.request("GET", headers) as response:
                    if response.is_success and media_type(response) == EVENTS:
                        await self._read_events(response, None, set(), cursor)
                    elif await self._has_ended(session, response):
                        await self._renew(session)
                        return
                    elif not _may_pass(response):
                        return  # the server has no such stream
                    else:
                        cursor.wait(None, has_moved=False)
            except (AgentError, ServerError) as error:
                _log.info("the server's own messages can't be read: %s", error)
                cursor.wait(None, has_moved=False)
            await anyio.sleep(cursor.pause)

    async def _has_ended(self, session: Session, response: httpx.Response) -> bool:
        """Whether the server doesn't know the session any more: 404 says so, and some servers say 400."""
        if session.id is None:
            return False
        if response.status_code == HTTPStatus.NOT_FOUND:
            return True
        if response.status_code != HTTPStatus.BAD_REQUEST:
            return False
        headers = {"Content-Type": JSON, "Accept": f"{JSON}, {EVENTS}", **session.headers()}
        async with self._server.request("POST", headers, request_line(_OWN_ID, "ping")) as probe:
            return probe.status_code in (HTTPStatus.BAD_REQUEST, HTTPStatus.NOT_FOUND)

    async def _renew(self, session: Session) -> bool:
        """Begin another session in place of that one, with the client's handshake; return whether there is one.

        Raises:
            AgentError, ServerError: there is none now; that one stays, so that the next message tries again.

        """
        async with self._renewing:
            if self._session is not session:
                return True  # for another request, meanwhile
            if session.initialize is None:
                return False
            _log.warning("%s has ended the session; beginning another one", self._server.place)
            handshake = read_message(with_id(session.initialize.content, _OWN_ID))
            if handshake is None:
                return False
            async with self._post(handshake, session) as response:
                result = await _result(response)
                if result is None:
                    return False
                renewed = Session(session.initialize, session.initialized, number=session.number)
                renewed.begin(session_id(response.headers), result)
            if renewed.version != session.version:
                raise ServerError(
                    "the server speaks another revision of MCP now: restart the client's connection to it"
                )
            if session.initialized is not None:
                async with self._post(session.initialized, renewed):
                    pass
            self._session = renewed
            if session.initialized is not None:
                self._tasks.start_soon(self._listen, renewed)
            return True


def _may_pass(response: httpx.Response) -> bool:
    """Return whether a stream that the server refuses is asked for again."""
    return response.is_server_error or response.status_code in _PASSING


def _method(message: Message | None, identifier: ID | None) -> object:
    """Return the method of the request of that id."""
    request = None if message is None or identifier is None else message.requests.get(identifier)
    return None if request is None else request.get("method")


class _Cursor:
    """Where a stream ended, and for how long to wait before it is resumed, in seconds."""

    def __init__(self) -> None:
        self.id: str | None = None
        self.pause = _RECONNECT
        self._own = _RECONNECT

    def wait(self, retry: float | None, *, has_moved: bool) -> None:
        """Wait as the server says, or else the longer, the more often nothing came."""
        self._own = _RECONNECT if has_moved else min(2 * self._own, _LONGEST_RECONNECT)
        self.pause = min(retry, _LONGEST_RECONNECT) if retry else self._own


async def _result(response: httpx.Response) -> Object | None:
    """Return the result in the response to a request of the bridge's own; None if there is none."""
    if not response.is_success:
        return None
    if media_type(response) != EVENTS:
        return _result_in(await json_body(response, LONGEST))
    stream = EventStream(LONGEST)
    try:
        async for chunk in response.aiter_bytes():
            for event in stream.feed(chunk):
                result = _result_in(event.data)
                if result is not None:
                    return result
    except (EventTooLong, httpx.HTTPError, *FAILURES):
        return None
    return None


def _result_in(body: bytes | None) -> Object | None:
    reply = None if not body else read_message(body)
    results = (
        (mapping(one.get("result")) for identifier, one in responses(reply) if identifier == _OWN_ID) if reply else ()
    )
    return next(iter(results), None)
