"""The bridge: what the client writes is posted to the server, and what the server answers is written to the client.

Theory of operation. Each message of the client is a POST, whose response is a JSON message, or a stream of events with
messages that ends with the response to that request. Requests are sent side by side; a notification waits until the
server has accepted it before what follows it is sent, since their order matters. Before the revision 2026-07-28 there
is a session besides: the server may send messages of its own by a stream that a GET opens, a broken stream is resumed
where it ended, and if the server has ended the session, the bridge begins another one, with the client's handshake.
"""

import json
import logging
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager
from http import HTTPStatus
from typing import Final

import anyio
import anyio.lowlevel
import httpx
from httpx_sse import EventSource, ServerSentEvent, SSEError

from auth_agent.mcp.headers import ToolHeaders, metadata_headers
from auth_agent.mcp.message import (
    ID,
    PARSE_ERROR,
    Message,
    error_line,
    read_message,
    request_line,
    responses,
    unanswered,
    with_id,
)
from auth_agent.mcp.server import EVENTS, JSON, REFUSED, Server, ServerError, json_body, media_type
from auth_agent.mcp.session import SESSION_HEADER, Session
from auth_agent.mcp.streams import Output
from auth_agent_client.errors import AgentError

_log = logging.getLogger(__name__)

LONGEST: Final = 64 * 1024 * 1024  # bytes of a message
_MOST: Final = 1000  # requests at once
_ACCEPTING: Final = 10.0  # s that a notification may take to be accepted before what follows it is sent
_RECONNECT: Final = 1.0  # s, unless the server says otherwise (`retry`)
_LONGEST_RECONNECT: Final = 60.0
_ATTEMPTS: Final = 5  # to resume a stream
_DRAIN: Final = 1.5  # s for requests in flight when the client has closed its stream; the client waits for about two
_FAREWELL: Final = 2.0  # s for the end of the session
_TOOL_LIST: Final = "tools/list"
_OWN_ID: Final = "auth-agent"  # of the bridge's own requests, which no client makes


class Bridge:
    """Between one client and one server."""

    def __init__(self, server: Server, output: Output) -> None:
        self._server = server
        self._output = output
        self._session = Session()
        self._tools = ToolHeaders()
        self._in_flight: dict[ID, anyio.CancelScope] = {}
        self._cancelled: set[ID] = set()
        self._renewing = anyio.Lock()
        self._idle = anyio.Event()
        self._tasks = anyio.create_task_group()

    async def run(self, lines: AsyncIterator[bytes]) -> None:
        """Pass messages on until the client closes its stream. Raises an `OSError` if it reads no more."""
        async with self._tasks:
            async for line in lines:
                await self._accept(line)
            if self._in_flight:
                with anyio.move_on_after(_DRAIN):
                    self._idle = anyio.Event()
                    await self._idle.wait()
            self._tasks.cancel_scope.cancel()

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

    async def _accept(self, line: bytes) -> None:
        message = read_message(line)
        if message is None:
            await self._output.write(error_line(None, "this line is not a JSON-RPC message", code=PARSE_ERROR))
        elif message.cancelled is not None and (scope := self._in_flight.get(message.cancelled)) is not None:
            self._cancelled.add(message.cancelled)
            if message.version is not None or self._session.version is None:
                scope.cancel()  # the end of its stream is what tells the server
            else:
                self._tasks.start_soon(self._notify, message)
        elif not message.requests:
            with anyio.move_on_after(_ACCEPTING):
                accepted = anyio.Event()
                self._tasks.start_soon(self._notify, message, accepted)
                await accepted.wait()
            if message.method == "notifications/initialized" and self._session.number:
                self._session.initialized = message
                self._tasks.start_soon(self._listen, self._session.number)
        elif len(self._in_flight) + len(message.requests) > _MOST:
            for identifier in message.requests:
                await self._output.write(error_line(identifier, f"{_MOST} requests are in flight already"))
        elif message.method == "initialize":
            await self._ask(message)  # nothing else is of a session before that
        else:
            self._tasks.start_soon(self._ask, message)
            await anyio.lowlevel.checkpoint()

    async def _notify(self, message: Message, accepted: anyio.Event | None = None) -> None:
        """Post a message that gets no response."""
        try:
            async with self._post(message) as response:
                if not response.is_success:
                    _log.warning("%s answered HTTP %s to %s", self._server.place, response.status_code, message.methods)
        except (AgentError, ServerError) as error:
            _log.warning("%s was not sent: %s", message.methods or "a response", error)
        finally:
            if accepted is not None:
                accepted.set()

    async def _ask(self, message: Message) -> None:
        """Post a message with requests, and write what the server answers, or why it doesn't."""
        with anyio.CancelScope() as scope:
            self._in_flight |= dict.fromkeys(message.requests, scope)
            answered: set[ID | None] = set()
            text, data = "the server ended the stream before its response", None
            try:
                text = await self._exchange(message, answered) or text
            except AgentError as error:
                text = "\n".join([error.message, *(str(remedy) for remedy in error.remedy)])
                data = {"code": error.code, "failure": error.failure}
            except ServerError as error:
                text = str(error)
            finally:
                for identifier in message.requests:
                    self._in_flight.pop(identifier, None)
                if not self._in_flight:
                    self._idle.set()
            for identifier in unanswered(message, answered):
                if identifier not in self._cancelled:
                    await self._output.write(error_line(identifier, text, data))
        self._cancelled -= message.requests.keys()

    async def _exchange(self, message: Message, answered: set[ID | None]) -> str | None:
        """Send a request and pass on what the server answers; return why it didn't, if that is known."""
        number = self._session.number
        async with self._post(message) as response:
            if not await self._has_ended_session(response, message):
                return await self._pass_on(response, message, answered)
        if not await self._renew(number):
            return "the server has ended the session, and begins no other"
        async with self._post(message) as response:
            return await self._pass_on(response, message, answered)

    def _post(self, message: Message) -> AbstractAsyncContextManager[httpx.Response]:
        headers = {"Content-Type": JSON, "Accept": f"{JSON}, {EVENTS}"}
        headers |= self._session.headers(message) | metadata_headers(message, self._tools)
        return self._server.request("POST", headers, message.body)

    # ---- what the server answers

    async def _pass_on(self, response: httpx.Response, message: Message, answered: set[ID | None]) -> str | None:
        kind = media_type(response)
        if response.is_success and kind == EVENTS:
            await self._pass_on_events(response, message, answered)
            return None
        body = await json_body(response, LONGEST)
        reply = None if body is None else read_message(body)
        if response.is_success and reply is not None:
            await self._write(reply, message, answered, response)
            return None
        if reply is not None:  # the status says that it is an error, perhaps of an unknown request
            for identifier, one in responses(reply):
                if "error" in one and len(message.requests) == 1:
                    (own,) = message.requests
                    answered.add(own)
                    await self._output.write(reply.body if identifier == own else with_id(one, own))
                    return None
        if response.status_code in REFUSED:
            return f"{self._server.place} does not take the token (HTTP {response.status_code})"
        hint = " (a server of the older HTTP+SSE transport?)" if message.method == "initialize" else ""
        return f"{self._server.place} answered HTTP {response.status_code}{hint}"

    async def _pass_on_events(self, response: httpx.Response, message: Message, answered: set[ID | None]) -> None:
        """Pass on a stream of events until it has each response; if it breaks off, resume it where it ended."""
        cursor = _Cursor()
        await self._read_events(response, message, answered, cursor)
        for _ in range(_ATTEMPTS):
            if not unanswered(message, answered) or not cursor.id or message.version is not None:
                return
            await anyio.sleep(cursor.pause)
            headers = {"Accept": EVENTS, "Last-Event-ID": cursor.id, **self._session.headers()}
            try:
                async with self._server.request("GET", headers) as resumed:
                    if not resumed.is_success or media_type(resumed) != EVENTS:
                        return
                    await self._read_events(resumed, message, answered, cursor)
            except ServerError as error:
                _log.warning("%s", error)

    async def _read_events(
        self, response: httpx.Response, message: Message | None, answered: set[ID | None], cursor: "_Cursor"
    ) -> None:
        try:
            async for event in EventSource(response).aiter_sse():
                cursor.move(event)
                reply = read_message(event.data.encode()) if event.data and event.event == "message" else None
                if reply is not None:
                    await self._write(reply, message, answered, response)
                if message is not None and not unanswered(message, answered):
                    return
        except (httpx.HTTPError, SSEError) as error:
            _log.warning("the stream of %s broke off: %s", self._server.place, error)

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
                self._session.initialize = message
                self._session.begin(response.headers.get(SESSION_HEADER), one["result"])
            if method == _TOOL_LIST and (kept := self._tools.learn(one.get("result"))) != one.get("result"):
                body = json.dumps({**one, "result": kept}, separators=(",", ":"), ensure_ascii=False).encode()
        await self._output.write(body)

    # ---- sessions, before the revision 2026-07-28

    async def _listen(self, number: int) -> None:
        """Pass on what the server sends of itself, as long as that session lasts."""
        cursor = _Cursor()
        while self._session.number == number:
            headers = {"Accept": EVENTS, **self._session.headers()}
            if cursor.id:
                headers["Last-Event-ID"] = cursor.id
            try:
                async with self._server.request("GET", headers) as response:
                    if not response.is_success or media_type(response) != EVENTS:
                        return  # the server has no such stream
                    await self._read_events(response, None, set(), cursor)
            except (AgentError, ServerError) as error:
                _log.warning("the server's own messages can't be read: %s", error)
                cursor.pause = min(2 * cursor.pause, _LONGEST_RECONNECT)
            await anyio.sleep(cursor.pause)

    async def _has_ended_session(self, response: httpx.Response, message: Message) -> bool:
        """Whether the server doesn't know the session any more: 404 says so, and some servers say 400."""
        if self._session.id is None or message.version is not None or message.method == "initialize":
            return False
        if response.status_code == HTTPStatus.NOT_FOUND:
            return True
        if response.status_code != HTTPStatus.BAD_REQUEST:
            return False
        headers = {"Content-Type": JSON, "Accept": f"{JSON}, {EVENTS}", **self._session.headers()}
        async with self._server.request("POST", headers, request_line(_OWN_ID, "ping")) as probe:
            return probe.status_code in (HTTPStatus.BAD_REQUEST, HTTPStatus.NOT_FOUND)

    async def _renew(self, number: int) -> bool:
        """Begin another session in place of that one, with the client's handshake; return whether there is one."""
        async with self._renewing:
            session = self._session
            if session.number != number:
                return True  # for another request, meanwhile
            if session.initialize is None:
                return False
            _log.warning("%s has ended the session; beginning another one", self._server.place)
            session.id = session.version = None
            async with self._post(session.initialize) as response:
                result = await _result(response)
                if result is None:
                    return False
                session.begin(response.headers.get(SESSION_HEADER), result)
            if session.initialized is not None:
                await self._notify(session.initialized)
                self._tasks.start_soon(self._listen, session.number)
            return True


def _method(message: Message | None, identifier: ID | None) -> object:
    """Return the method of the request of that id."""
    request = None if message is None or identifier is None else message.requests.get(identifier)
    return None if request is None else request.get("method")


class _Cursor:
    """Where a stream ended, and for how long to wait before it is resumed, in seconds."""

    def __init__(self) -> None:
        self.id = ""
        self.pause = _RECONNECT

    def move(self, event: ServerSentEvent) -> None:
        self.id = event.id or self.id
        if event.retry is not None:
            self.pause = min(event.retry / 1000, _LONGEST_RECONNECT)


async def _result(response: httpx.Response) -> object:
    """Return the result in the response to a request of its own; None if there is none."""
    if not response.is_success:
        return None
    if media_type(response) != EVENTS:
        return _result_in(await json_body(response, LONGEST))
    async for event in EventSource(response).aiter_sse():
        result = _result_in(event.data.encode())
        if result is not None:
            return result
    return None


def _result_in(body: bytes | None) -> object:
    reply = None if not body else read_message(body)
    return None if reply is None else next((one.get("result") for _, one in responses(reply)), None)
