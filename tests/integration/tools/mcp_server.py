"""A server of the Model Context Protocol by its Python SDK, which takes the provider's access tokens alone.

Run as a program: the port, the provider's URL of UserInfo, and `json` for JSON responses, `events` for streams, or the
URL of another server, which it then stands before.
"""

import sys
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Annotated, Any

import anyio
import httpx
import uvicorn
from mcp.server import MCPServer
from mcp.server.mcpserver import Context
from mcp.server.streamable_http import EventCallback, EventMessage, EventStore
from mcp.types import JSONRPCMessage, SamplingMessage, TextContent
from pydantic import BaseModel, Field

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]

server = MCPServer("tests")


class Name(BaseModel):
    """What a person is asked for."""

    name: str


@server.tool()
def echo(text: str) -> str:
    """Return the text."""
    return text


@server.tool()
def where(region: Annotated[str, Field(json_schema_extra={"x-mcp-header": "Region"})]) -> str:
    """Return a parameter that is sent as a header, too."""
    return region


@server.tool()
async def count(to: int, pause: float, ctx: Context[Any, Any]) -> int:
    """Count, and report the progress."""
    for number in range(1, to + 1):
        await anyio.sleep(pause)
        await ctx.report_progress(number, to)
    return to


@server.tool()
async def ask(ctx: Context[Any, Any]) -> str:
    """Ask the client's person for a name, and its model for a sentence."""
    answer = await ctx.elicit("What is your name?", Name)
    name = answer.data.name if answer.action == "accept" else "nobody"
    message = SamplingMessage(role="user", content=TextContent(type="text", text=f"Greet {name}"))
    create = ctx.session.create_message  # pyright: ignore[reportDeprecated] -- clients still have it
    result = await create([message], max_tokens=10, related_request_id=ctx.request_id)
    content = result.content
    return content.text if isinstance(content, TextContent) else "?"


@server.tool()
async def interrupt(ctx: Context[Any, Any]) -> str:
    """Close the connection of the stream before the response."""
    await ctx.close_sse_stream()
    await anyio.sleep(0.5)
    return "resumed"


class Events(EventStore):
    """Keeps all events of a stream."""

    def __init__(self) -> None:
        self._events: list[tuple[str, JSONRPCMessage | None]] = []

    async def store_event(self, stream_id: str, message: JSONRPCMessage | None) -> str:
        """Keep an event; return its id."""
        self._events.append((stream_id, message))
        return str(len(self._events))

    async def replay_events_after(self, last_event_id: str, send_callback: EventCallback) -> str | None:
        """Send what came after that event on its stream."""
        at = int(last_event_id)
        stream, _ = self._events[at - 1]
        for number, (one, message) in enumerate(self._events[at:], at + 1):
            if one == stream and message is not None:
                await send_callback(EventMessage(message, str(number)))
        return stream


class Before:
    """Passes requests on to another server."""

    def __init__(self, url: str) -> None:
        self._http = httpx.AsyncClient(base_url=url, trust_env=False, timeout=None)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return
        body, more = b"", True
        while more:
            event = await receive()
            body, more = body + event.get("body", b""), event.get("more_body", False)
        headers = [(name, value) for name, value in scope["headers"] if name not in (b"host", b"authorization")]
        async with self._http.stream(scope["method"], scope["path"], headers=headers, content=body) as response:
            head = {"type": "http.response.start", "status": response.status_code, "headers": response.headers.raw}
            await send(head)
            async for chunk in response.aiter_raw():
                await send({"type": "http.response.body", "body": chunk, "more_body": True})
            await send({"type": "http.response.body", "body": b""})


class TokensAlone:
    """Answers 401 to each request whose token the provider doesn't take."""

    def __init__(self, app: Callable[[Scope, Receive, Send], Awaitable[None]], userinfo: str) -> None:
        self._app = app
        self._userinfo = userinfo
        self._http = httpx.AsyncClient(trust_env=False)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            headers = {name.decode(): value.decode() for name, value in scope["headers"]}
            own = {"Authorization": headers.get("authorization", "")}
            if not own["Authorization"] or (await self._http.get(self._userinfo, headers=own)).status_code != 200:
                challenge = [(b"www-authenticate", b'Bearer error="invalid_token"'), (b"content-length", b"0")]
                await send({"type": "http.response.start", "status": 401, "headers": challenge})
                await send({"type": "http.response.body", "body": b""})
                return
        await self._app(scope, receive, send)


def main() -> None:
    """Serve until it is ended."""
    port, userinfo, form = sys.argv[1:]
    app: Callable[[Scope, Receive, Send], Awaitable[None]] = (
        Before(form)
        if form.startswith("http")
        else server.streamable_http_app(
            json_response=form == "json", event_store=None if form == "json" else Events(), retry_interval=200
        )
    )
    uvicorn.run(TokensAlone(app, userinfo), host="127.0.0.1", port=int(port), log_level="warning")


if __name__ == "__main__":
    main()
