"""HTTP requests to a provider. Each exception of httpx becomes an outcome here.

A request goes to the transport, not through an `httpx.AsyncClient`: what that adds is not wanted. It follows redirects,
parses the URL of one, and keeps cookies: one account's would go out with another's tokens.

A refresh token that was sent may be used up, so it must be known of each request whether it was sent. What comes before
it (a turn, the look-up of the host's name, a proxy, TLS) leaves it unsent.
"""

from collections.abc import Mapping
from typing import Final, NamedTuple

import anyio
import anyio.lowlevel
import httpcore
import httpx

from auth_agent.oauth.account_certificates import CertificateError
from auth_agent.oauth.content_coding import decode
from auth_agent.oauth.outcome import Failure, Lost, Misconfigured, Unsent, Untrusted, Unusable
from auth_agent.oauth.transport import FAILURES, Transport, cause, is_of_unknown_authority
from auth_agent.printable import printable
from auth_agent.proxies import ProxyError

# Seconds that a provider may take for one request, from the DNS lookup to the last byte; also how long a request waits
# for its turn.
REQUEST_TIMEOUT: Final = 30.0
# Bytes. Metadata and token responses have a few kilobytes, or a hundred with many groups in a token. What is served of
# one must fit in a message of the protocol.
MAX_BODY: Final = 1 << 19
# Each piece of a body costs as much as its headers do, however small it is.
_MAX_PIECES: Final = 1 << 14
_HEADERS: Final = httpx.Headers(
    {
        "accept": "application/json",
        "accept-encoding": "identity",
        "connection": "keep-alive",
        "user-agent": "auth-agent",
    }
)


class Response(NamedTuple):
    """A complete response; the headers by lower-case name."""

    status: int
    headers: Mapping[str, str]
    body: bytes


class HttpClient:
    """Sends requests over a transport, `at_once` at most at the same time, in the order in which they came."""

    def __init__(self, transport: Transport, at_once: int) -> None:
        self._transport = transport
        self._at_once = at_once
        self._turns = anyio.Semaphore(at_once, fast_acquire=True)

    async def send(
        self,
        method: str,
        url: str,
        *,
        headers: Mapping[str, str] | None = None,
        form: Mapping[str, str] | None = None,
        content: Mapping[str, object] | None = None,
    ) -> Response | Failure:
        """Send a request once, with a form or JSON; return the response, `Unsent`, or `Lost` if it was sent."""
        trace = _Trace()
        try:
            request = httpx.Request(method, url, data=form, json=content, headers=_HEADERS, extensions={"trace": trace})
        except (httpx.InvalidURL, UnicodeError):
            request = None
        if request is None or not url.isascii() or not request.url.host or request.url.scheme not in ("http", "https"):
            return Misconfigured(f"{printable(url)!r} is not a URL")
        try:
            request.headers.update(headers)
        except UnicodeError:
            return _no_header(request.url.host)
        try:
            with anyio.fail_after(REQUEST_TIMEOUT):
                await self._turns.acquire()
        except TimeoutError:
            return Unsent(f"{request.url.host} has not answered {self._at_once} requests for {REQUEST_TIMEOUT:g} s")
        try:
            return await self._send(request, trace)
        finally:
            self._turns.release()

    async def _send(self, request: httpx.Request, trace: "_Trace") -> Response | Failure:
        host = request.url.host
        try:
            proxy = self._transport.proxy_of(request.url)
            self._transport.certificates()  # kept until a file changes
        except CertificateError as error:
            return Misconfigured(str(error), error.keys, error.variable)
        except ProxyError as error:
            return Misconfigured(str(error), () if error.variable else ("proxy",), error.variable)
        through = f" through the proxy {proxy.place}" if proxy else ""
        try:
            with anyio.fail_after(REQUEST_TIMEOUT):
                try:
                    response = await self._transport.handle_async_request(request)
                    try:
                        body = await _bounded_body(response)
                    finally:
                        await response.aclose()
                finally:
                    await trace.close()
        except TimeoutError:
            reason = f"{host} did not respond within {REQUEST_TIMEOUT:g} s{through}"
        except httpx.LocalProtocolError:  # found before the first byte is sent
            return _no_header(host)
        except FAILURES as error:
            if not trace.sent and is_of_unknown_authority(error):
                return Untrusted(f"{host} can't be reached{through}: {cause(error)}")
            reason = f"{host} can't be reached{through}: {cause(error)}"
        except httpx.HTTPError as error:
            reason = f"{host} sent an invalid HTTP response: {type(error).__name__}"
        else:
            if body is None:
                return Lost(f"{host} sent more than {MAX_BODY} bytes, or than {_MAX_PIECES} pieces")
            return Response(response.status_code, {k.lower(): v for k, v in response.headers.items()}, body)
        return Lost(reason) if trace.sent else Unsent(reason)


def _no_header(host: str) -> Failure:
    return Unusable(f"the access token for {host} has characters that no header may have")


class _Trace:
    """What httpcore tells of one request."""

    def __init__(self) -> None:
        self.sent = False  # set before the first byte is sent, but for a proxy's CONNECT
        self._connections: list[httpcore.AsyncNetworkStream] = []

    async def __call__(self, event: str, what: Mapping[str, object]) -> None:
        stream = what.get("return_value")
        if event.endswith("connect_tcp.complete") and isinstance(stream, httpcore.AsyncNetworkStream):
            self._connections.append(stream)
        if event.endswith("send_request_headers.started"):
            self.sent = self.sent or getattr(what.get("request"), "method", None) != b"CONNECT"

    async def close(self) -> None:
        """Close its connections: httpcore leaves one open whose TLS handshake is cancelled."""
        with anyio.CancelScope(shield=True):
            for stream in self._connections:
                await stream.aclose()


async def _bounded_body(response: httpx.Response) -> bytes | None:
    body, pieces = bytearray(), 0
    # Raw: httpx would expand a compressed body, which was not requested, to gigabytes.
    async for chunk in response.aiter_raw():
        body += chunk
        pieces += 1
        if len(body) > MAX_BODY or pieces > _MAX_PIECES:
            return None
        if pieces > 1:
            await anyio.lowlevel.checkpoint()  # thousands of pieces may arrive at once: let other tasks run
    return decode(bytes(body), response.headers.get("content-encoding", ""), MAX_BODY)
