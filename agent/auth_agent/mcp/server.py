"""HTTP requests to an MCP server, each with a token that the agent has for its URL.

Each request has a connection of its own: a server may close an idle one just as a request is sent on it, and then
nobody knows whether a tool was called.
"""

import json
import socket
from asyncio.trsock import TransportSocket
from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import asynccontextmanager, suppress
from http import HTTPStatus
from typing import Final
from urllib.parse import urljoin, urlsplit

import anyio
import httpcore
import httpx

from auth_agent.hosts import read_url
from auth_agent.oauth.transport import FAILURES, Transport, cause
from auth_agent.proxies import ProxyError
from auth_agent_client.aio import AsyncAgent
from auth_agent_client.messages import challenge_of
from auth_agent_client.token import Token

JSON: Final = "application/json"
EVENTS: Final = "text/event-stream"
# Seconds to connect, and to send a piece; a response may take as long as its client waits.
_TIMEOUT: Final = httpx.Timeout(30.0, read=None, pool=None)
# Seconds, and probes, after which TCP notices that a server is gone, however long its response takes.
_KEEPALIVE: Final = {"TCP_KEEPIDLE": 60, "TCP_KEEPALIVE": 60, "TCP_KEEPINTVL": 15, "TCP_KEEPCNT": 4}
_MAX_REDIRECTS: Final = 5
# Seconds before what was certainly not sent is sent again, as while a server restarts.
_PAUSES: Final = (0.2, 0.5, 1.0, 2.0)
REFUSED: Final = (401, 403)
_REDIRECTS: Final = (301, 302, 303, 307, 308)
_SAME_METHOD: Final = (307, 308)


class ServerError(Exception):
    """The server can't be asked, or refuses; the text is for people."""


class Server:
    """The server at a URL. Programs in `directory` get its token; of that account alone, if one is named."""

    def __init__(
        self, url: str, agent: AsyncAgent, transport: Transport, directory: str | None, account: str | None = None
    ) -> None:
        self.url = url
        self._agent = agent
        self._transport = transport
        self._directory = directory
        self._account = account
        self._http = httpx.AsyncClient(
            transport=transport,
            trust_env=False,
            follow_redirects=False,
            # httpx would parse the URL of a redirect, and raise if it is invalid.
            event_hooks={"response": [_set_location_aside]},
            timeout=_TIMEOUT,
            headers={"Accept-Encoding": "identity", "User-Agent": "auth-agent"},
        )

    @property
    def place(self) -> str:
        """Its host, as people know it."""
        return urlsplit(self.url).netloc

    async def close(self) -> None:
        """Close its client."""
        await self._http.aclose()

    @asynccontextmanager
    async def request(
        self, method: str, headers: Mapping[str, str], body: bytes | None = None, sent: Callable[[], None] | None = None
    ) -> AsyncGenerator[httpx.Response, None]:
        """Send a request; what it yields is the beginning of the response. `sent` is called when all of it is sent.

        A token that the server refuses is told to the agent, and the request is sent once more with another one.

        Raises:
            AgentError: there is no token.
            ServerError: the server can't be reached, refuses the token again, or redirects to another origin.

        """
        url = self.url
        for _ in range(_MAX_REDIRECTS):
            response = await self._authorized(url, method, headers, body, sent)
            try:
                if response.status_code not in _REDIRECTS:
                    yield response
                    return
            finally:
                with anyio.CancelScope(shield=True):
                    await response.aclose()
            url = self._redirected(url, response)
        raise ServerError(f"{self.place} redirects again and again")

    def _redirected(self, url: str, response: httpx.Response) -> str:
        """Return where a request goes on. Raises a `ServerError` if it must not."""
        try:
            target: str = urljoin(url, response.extensions["location"])
            origin = read_url(target).origin
        except ValueError as error:
            raise ServerError(f"{self.place} redirects to a URL that gets no token: {error}") from error
        if origin != read_url(url).origin:
            raise ServerError(f"{self.place} redirects to {origin}; start the bridge with the server's own URL")
        if response.status_code not in _SAME_METHOD:
            raise ServerError(f"{self.place} redirects to another page (HTTP {response.status_code})")
        return target

    async def _authorized(
        self, url: str, method: str, headers: Mapping[str, str], body: bytes | None, sent: Callable[[], None] | None
    ) -> httpx.Response:
        # The agent is asked for each URL: a rule may be for a path alone.
        token = await self._agent.token(self._account, url=_named(url), directory=self._directory)
        response = await self._send(url, method, headers, body, token, sent)
        if response.status_code not in REFUSED:
            return response
        challenges = response.headers.get_list("WWW-Authenticate")
        if response.status_code != HTTPStatus.UNAUTHORIZED and not any(challenges):
            return response
        with anyio.CancelScope(shield=True):
            await response.aclose()
        token = await self._agent.rejected(
            token.access_token,
            self._account,
            url=_named(url),
            directory=self._directory,
            challenge=challenge_of(*challenges),
        )
        return await self._send(url, method, headers, body, token, sent)

    async def _send(
        self,
        url: str,
        method: str,
        headers: Mapping[str, str],
        body: bytes | None,
        token: Token,
        sent: Callable[[], None] | None,
    ) -> httpx.Response:
        for pause in (*_PAUSES, None):
            trace = _Trace(sent)
            try:
                request = self._http.build_request(
                    method, url, content=body, headers={**headers, **token.headers(method, url)}
                )
                request.extensions["trace"] = trace
                return await self._http.send(request, stream=True)
            except ProxyError as error:
                raise ServerError(f"{self.place} can't be reached: {error}") from error
            except (httpx.InvalidURL, httpx.LocalProtocolError, UnicodeError) as error:  # before it is sent
                raise ServerError(f"a request to {self.place} can't be sent: {type(error).__name__}") from error
            except (httpx.HTTPError, *FAILURES) as error:
                if trace.is_sent:
                    raise ServerError(f"the connection to {self.place} was lost: {_cause(error)}") from error
                if pause is None:
                    raise ServerError(f"{self.place} can't be reached: {cause(error)}") from error
                await anyio.sleep(pause)
        raise AssertionError("the last attempt returns or raises")


class _Trace:
    """What httpcore tells of one request."""

    def __init__(self, sent: Callable[[], None] | None) -> None:
        self.is_sent = False  # the server may have read some of it
        self._sent = sent

    async def __call__(self, event: str, what: Mapping[str, object]) -> None:
        stream = what.get("return_value")
        if event.endswith("connect_tcp.complete") and isinstance(stream, httpcore.AsyncNetworkStream):
            _keep_alive(stream.get_extra_info("socket"))
        elif event.endswith("send_request_headers.started"):  # of a proxy's tunnel first
            self.is_sent = self.is_sent or getattr(what.get("request"), "method", None) != b"CONNECT"
        elif event.endswith("send_request_body.complete") and self.is_sent and self._sent is not None:
            self._sent()


def _keep_alive(connection: object) -> None:
    if isinstance(connection, socket.socket | TransportSocket):
        with suppress(OSError):
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
            for name, value in _KEEPALIVE.items():
                if hasattr(socket, name):
                    connection.setsockopt(socket.IPPROTO_TCP, getattr(socket, name), value)


async def _set_location_aside(response: httpx.Response) -> None:
    response.extensions["location"] = response.headers.pop("Location", "")


def media_type(response: httpx.Response) -> str:
    """Return the media type of a response, without parameters."""
    return str(response.headers.get("Content-Type", "")).partition(";")[0].strip().lower()


async def json_body(response: httpx.Response, longest: int) -> bytes | None:
    """Return the body of a response if it is JSON, else None. Raises a `ServerError` if it is longer, or cut off."""
    body = bytearray()
    try:
        async for chunk in response.aiter_bytes():
            body += chunk
            if len(body) > longest:
                raise too_long(longest)
    except (httpx.HTTPError, *FAILURES) as error:
        raise ServerError(f"the server's response was cut off: {cause(error)}") from error
    try:
        json.loads(body)
    except (ValueError, RecursionError):
        return None
    return bytes(body)


def too_long(longest: int) -> ServerError:
    """Return the error for a message of the server that is longer than that."""
    return ServerError(f"the server sent a message of more than {longest >> 20} MiB")


def _cause(error: BaseException) -> str:
    return "it was closed" if isinstance(error, httpx.RemoteProtocolError) else cause(error)


def _named(url: str) -> str:
    """Return a URL without what the agent does not compare, and which may hold a secret."""
    return url.partition("#")[0].partition("?")[0]
