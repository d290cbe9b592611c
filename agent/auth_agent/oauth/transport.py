"""How requests get to a provider's hosts: directly or through a proxy, each over a connection of its own."""

import os
import ssl
from collections.abc import Callable
from typing import Final

import anyio
import httpcore
import httpx
from httpx_socks import AsyncProxyTransport, ProxyError as SocksError, ProxyType

from auth_agent.printable import printable
from auth_agent.proxies import Proxies, Proxy

# A provider may close an idle connection just as a request is sent on it; then nobody knows whether it was read.
_ONE_REQUEST_A_CONNECTION: Final = httpx.Limits(max_connections=None, max_keepalive_connections=0)
_PORTS: Final = {"http": 80, "https": 443}
# What OpenSSL's versions call a first response that is not of TLS.
_NOT_TLS: Final = frozenset({"WRONG_VERSION_NUMBER", "HTTP_REQUEST", "PACKET_LENGTH_TOO_LONG", "RECORD_LAYER_FAILURE"})
# OpenSSL's X509_V_ERR_… of a certificate that is its own authority, or whose authority is not known (verify(1)).
_UNKNOWN_AUTHORITY: Final = frozenset({2, 18, 19, 20, 21})
# What a request may fail with, sent or not. httpcore passes OpenSSL's errors on unless they end a handshake, and those
# of the system and of anyio on the way through a SOCKS proxy. A ValueError: a host that can't be one of a certificate.
FAILURES: Final = (
    httpx.TransportError,
    SocksError,
    OSError,
    anyio.BrokenResourceError,
    anyio.EndOfStream,
    ValueError,
)
# Bytes of the head of a response, as in Node.js; httpcore's 100 KiB may take the event loop 0.1 s. A head that is
# received at once counts only once it is longer than what is read at once.
MAX_HEAD: Final = 16 << 10
httpcore.AsyncHTTP11Connection.MAX_INCOMPLETE_EVENT_SIZE = MAX_HEAD  # pyright: ignore[reportAttributeAccessIssue] -- it takes the number for its type
httpcore.AsyncHTTP11Connection.READ_NUM_BYTES = MAX_HEAD  # pyright: ignore[reportAttributeAccessIssue] -- it takes the number for its type
_CLOSED: Final = (anyio.BrokenResourceError, anyio.EndOfStream)


class Transport(httpx.AsyncBaseTransport):
    """Opens the connections to one provider."""

    def __init__(self, certificates: Callable[[], ssl.SSLContext], proxies: Proxies) -> None:
        """Create it; `certificates` returns those that are trusted now, also of proxies."""
        self._certificates = certificates
        self._proxies = proxies

    def proxy_of(self, url: httpx.URL) -> Proxy | None:
        """Return the proxy that requests to that URL go through, None if they go there directly.

        Raises:
            ProxyError: the proxy can't be used.

        """
        return self._proxies.find(url.host, url.port or _PORTS.get(url.scheme, 0))

    def certificates(self) -> ssl.SSLContext:
        """Return the certificates of the next connection.

        Raises:
            CertificateError: a file of the account can't be used.

        """
        return self._certificates()

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Send a request; return the beginning of its response.

        Raises:
            ProxyError: the proxy can't be used.
            CertificateError: a file of the account can't be used.
            Exception: one of FAILURES; it does not tell whether the request was sent.

        """
        # httpcore's pool is one request's, too: it keeps a tunnel for ever whose handshake did not end.
        return await _way(self.proxy_of(request.url), self._certificates()).handle_async_request(request)


def _way(proxy: Proxy | None, certificates: ssl.SSLContext) -> httpx.AsyncBaseTransport:
    """Return the transport through a proxy, if there is one.

    SOCKS by `httpx-socks`: httpx's own takes a reply that comes in two pieces for a malformed one, and lets only the
    proxy look names up.
    """
    if proxy is None:
        return httpx.AsyncHTTPTransport(verify=certificates, trust_env=False, limits=_ONE_REQUEST_A_CONNECTION)
    if proxy.scheme in ("socks5", "socks5h"):
        user, password = proxy.credentials or (None, None)
        return AsyncProxyTransport(
            proxy_type=ProxyType.SOCKS5,
            proxy_host=proxy.host,
            proxy_port=proxy.port,
            username=user,
            password=password,
            rdns=proxy.scheme == "socks5h",
            verify=certificates,
            trust_env=False,
            limits=_ONE_REQUEST_A_CONNECTION,
        )
    return httpx.AsyncHTTPTransport(
        verify=certificates,
        trust_env=False,
        limits=_ONE_REQUEST_A_CONNECTION,
        proxy=httpx.Proxy(
            proxy.url, auth=proxy.credentials, ssl_context=certificates if proxy.scheme == "https" else None
        ),
    )


def is_of_unknown_authority(error: BaseException) -> bool:
    """Return whether that is the end of a handshake with a server whose certificate nobody signed who is trusted."""
    while (inner := error.__cause__ or error.__context__) is not None:
        error = inner
    return isinstance(error, ssl.SSLCertVerificationError) and error.verify_code in _UNKNOWN_AUTHORITY


def cause(error: BaseException) -> str:
    """Return a proxy's refusal, or the message of the innermost exception: the operating system's or OpenSSL's."""
    if isinstance(error, httpx.ProxyError):
        return f"it answered HTTP {str(error)[:3]}"  # httpcore's: the status, and what the proxy wrote beside it
    if isinstance(error, SocksError):
        return printable(str(error))
    while (inner := error.__cause__ or error.__context__) is not None:
        if isinstance(error, _CLOSED) and error.__cause__ is None:  # the context is how anyio came to know
            return "the connection was closed"
        error = inner
    # Messages of an HTTP library are not shown: they quote the response, which may echo a secret.
    message = ""
    if isinstance(error, ssl.SSLError) and error.reason in _NOT_TLS:
        message = "it does not use TLS at this port: is its URL http://?"
    elif isinstance(error, ssl.SSLCertVerificationError):
        message = f"its certificate can't be trusted: {error.verify_message}"
    elif isinstance(error, ConnectionError) and error.errno:  # asyncio replaces the system's message
        message = os.strerror(error.errno)
    elif isinstance(error, OSError):
        message = error.strerror or str(error)
    return printable(message) or type(error).__name__
