"""HTTP requests to an MCP server, each with a token that the agent has for its URL."""

import json
from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager
from http import HTTPStatus
from typing import Final
from urllib.parse import urljoin, urlsplit

import anyio
import httpx

from auth_agent_client.aio import AsyncAgent
from auth_agent_client.messages import MAX_CHALLENGE
from auth_agent_client.token import Token

JSON: Final = "application/json"
EVENTS: Final = "text/event-stream"
_CONNECT_TIMEOUT: Final = 30.0  # s; a response may take as long as its client waits
_MAX_REDIRECTS: Final = 5
# Seconds before what was certainly not sent is sent again, as while a server restarts.
_PAUSES: Final = (0.2, 0.5, 1.0, 2.0)
REFUSED: Final = (401, 403)
_REDIRECTS: Final = (301, 302, 303, 307, 308)
_SAME_METHOD: Final = (307, 308)


class ServerError(Exception):
    """The server can't be asked, or refuses; the text is for people."""


class Server:
    """The server at a URL. Programs in `directory` get its token."""

    def __init__(self, url: str, agent: AsyncAgent, http: httpx.AsyncClient, directory: str | None) -> None:
        self.url = url
        self._agent = agent
        self._http = http
        self._directory = directory

    @property
    def place(self) -> str:
        """Its host, as people know it."""
        return urlsplit(self.url).netloc

    @asynccontextmanager
    async def request(
        self, method: str, headers: Mapping[str, str], body: bytes | None = None
    ) -> AsyncGenerator[httpx.Response, None]:
        """Send a request; what it yields is the beginning of the response.

        A token that the server refuses is told to the agent, and the request is sent once more with another one.

        Raises:
            AgentError: there is no token.
            ServerError: the server can't be reached, refuses the token again, or redirects to another origin.

        """
        token = await self._agent.token(url=self.url, directory=self._directory)
        response = await self._send(method, headers, body, token)
        try:
            if response.status_code in REFUSED:
                challenge = ", ".join(response.headers.get_list("WWW-Authenticate"))
                if response.status_code == HTTPStatus.UNAUTHORIZED or challenge:
                    await response.aclose()
                    token = await self._newer(token, challenge)
                    response = await self._send(method, headers, body, token)
            yield response
        finally:
            with anyio.CancelScope(shield=True):
                await response.aclose()

    async def _newer(self, token: Token, challenge: str) -> Token:
        return await self._agent.rejected(
            token.access_token,
            url=self.url,
            directory=self._directory,
            challenge=challenge if 0 < len(challenge) <= MAX_CHALLENGE else None,
        )

    async def _send(self, method: str, headers: Mapping[str, str], body: bytes | None, token: Token) -> httpx.Response:
        url = self.url
        for _ in range(_MAX_REDIRECTS):
            response = await self._send_to(url, method, headers, body, token)
            if response.status_code not in _REDIRECTS:
                return response
            await response.aclose()
            target = urljoin(url, response.headers.get("Location", ""))
            if response.status_code not in _SAME_METHOD or _origin(target) != _origin(url):
                raise ServerError(
                    f"{self.place} redirects to {_origin(target)}; start the bridge with the server's own URL"
                )
            url = target
        raise ServerError(f"{self.place} redirects again and again")

    async def _send_to(
        self, url: str, method: str, headers: Mapping[str, str], body: bytes | None, token: Token
    ) -> httpx.Response:
        request = self._http.build_request(method, url, content=body, headers={**headers, **token.headers(method, url)})
        for pause in (*_PAUSES, None):
            try:
                return await self._http.send(request, stream=True)
            except (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout) as error:
                if pause is None:
                    raise ServerError(f"{self.place} can't be reached: {_cause(error)}") from error
                await anyio.sleep(pause)
            except httpx.HTTPError as error:
                raise ServerError(f"the connection to {self.place} was lost: {_cause(error)}") from error
        raise AssertionError("the last attempt returns or raises")


def new_client(certificates: object) -> httpx.AsyncClient:
    """Return an HTTP client that trusts these certificates (an `ssl.SSLContext`) and follows no redirect."""
    timeout = httpx.Timeout(None, connect=_CONNECT_TIMEOUT)
    limits = httpx.Limits(max_connections=None, max_keepalive_connections=8)
    return httpx.AsyncClient(verify=certificates, timeout=timeout, limits=limits, follow_redirects=False)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType] -- as its caller made it


def media_type(response: httpx.Response) -> str:
    """Return the media type of a response, without parameters."""
    return str(response.headers.get("Content-Type", "")).partition(";")[0].strip().lower()


async def json_body(response: httpx.Response, longest: int) -> bytes | None:
    """Return the body of a response if it is JSON and not longer than that; else None."""
    body = bytearray()
    try:
        async for chunk in response.aiter_bytes():
            body += chunk
            if len(body) > longest:
                return None
    except httpx.HTTPError:
        return None
    try:
        json.loads(body)
    except (ValueError, RecursionError):
        return None
    return bytes(body)


def _origin(url: str) -> str:
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc}".lower()


def _cause(error: httpx.HTTPError) -> str:
    return str(error) or type(error).__name__
