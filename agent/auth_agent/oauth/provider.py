"""A provider, over HTTP. Each exception of httpx becomes an outcome here."""

import os
import ssl
import time
from collections.abc import Mapping
from http import HTTPStatus
from http.cookiejar import CookieJar, DefaultCookiePolicy
from pathlib import Path
from typing import Final, Protocol

import anyio
import anyio.lowlevel
import httpx
import truststore

from auth_agent.config import Account
from auth_agent.errors import StartupError
from auth_agent.oauth.auth0 import parse_user
from auth_agent.oauth.client import Client
from auth_agent.oauth.device import DeviceAuthorization, parse_device_authorization
from auth_agent.oauth.discovery import (
    DiscoveryError,
    Metadata,
    UnreadableMetadataError,
    metadata_url,
    parse_metadata,
)
from auth_agent.oauth.outcome import (
    Busy,
    Failure,
    Lost,
    Misconfigured,
    Refusal,
    TokenResponse,
    Transient,
    Unsent,
    Unusable,
)
from auth_agent.oauth.requests import device_form, retry_after, revocation_form, unix_time
from auth_agent.oauth.token_request import TokenRequest
from auth_agent.oauth.userinfo import parse_userinfo
from auth_agent.printable import printable
from auth_agent.promise import Promise
from auth_agent.secret import Secret

# Seconds that a provider may take for one request, from the DNS lookup to the last byte.
REQUEST_TIMEOUT: Final = 30.0
# Bytes. Metadata and token responses have a few kilobytes, or a hundred with many groups in a token. What is served of
# one must fit in a message of the protocol.
MAX_BODY: Final = 1 << 19
# Each piece of a body costs as much as its headers do, however small it is.
_MAX_PIECES: Final = 1 << 14
# Seconds. Endpoints move once in years; an agent runs for weeks.
METADATA_LIFETIME: Final = 86_400.0
METADATA_RETRY: Final = 300.0
# A provider may close an idle connection just as a request is sent on it; then nobody knows whether it was read.
_ONE_REQUEST_A_CONNECTION: Final = httpx.Limits(max_keepalive_connections=0)
_GONE: Final = (HTTPStatus.NOT_FOUND, HTTPStatus.METHOD_NOT_ALLOWED, HTTPStatus.GONE)


class Provider(Protocol):
    """What a session needs of its provider."""

    async def discover(self) -> Metadata | Failure:
        """Return the provider's metadata, or why it is not available."""
        ...

    async def keys(self) -> str | Failure:
        """Return the provider's current JWK set, as JSON."""
        ...

    async def token(self, client: Client, request: TokenRequest) -> TokenResponse | Failure:
        """Send a token request once; return its outcome."""
        ...

    async def begin_device(self, client: Client, scope: str, audience: str | None) -> DeviceAuthorization | Failure:
        """Begin a login on another device."""
        ...

    async def revoke(self, client: Client, refresh_token: Secret) -> bool:
        """Revoke the refresh token (RFC 7009); return whether the provider confirmed it."""
        ...

    async def userinfo(self, access_token: Secret, token_type: str) -> dict[str, object] | Failure:
        """Request the claims of the access token's user from the UserInfo endpoint, once."""
        ...

    async def user(
        self, access_token: Secret, token_type: str, url: str, update: Mapping[str, object] | None = None
    ) -> dict[str, object] | Failure:
        """Request the user at that URL of Auth0's Management API, or update it and return the result, once."""
        ...


def trusted_certificates() -> ssl.SSLContext:
    """Return the system's trusted certificates, or those in the file that `SSL_CERT_FILE` names.

    Raises:
        StartupError: `SSL_CERT_FILE` can't be read, or has no certificate. (OpenSSL would ignore that.)

    """
    file = os.environ.get("SSL_CERT_FILE")
    if not file:
        return truststore.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    if not Path(file).is_file():
        raise StartupError(f"SSL_CERT_FILE is {file!r}, which is not a file; correct or unset it")
    try:
        return ssl.create_default_context(cafile=file)
    except (OSError, ssl.SSLError) as error:
        raise StartupError(f"SSL_CERT_FILE is {file!r}, and no certificate can be read from it") from error


class HttpProvider:
    """The provider of one issuer, through one proxy or none."""

    def __init__(self, issuer: str, certificates: ssl.SSLContext, proxy: str | None = None) -> None:
        self._issuer = issuer
        self._metadata: Metadata | None = None
        self._metadata_at = 0.0
        self._look_up: Promise[Metadata | Failure] | None = None
        self._clock_offset: float | None = None
        self._http = httpx.AsyncClient(
            verify=certificates,
            proxy=proxy,
            # Plain http is for this machine only: never through a proxy, whatever the environment says. It needs no
            # certificates; without these, httpx would read the system's once more for nothing.
            mounts={"http://": httpx.AsyncHTTPTransport(verify=certificates, limits=_ONE_REQUEST_A_CONNECTION)},
            follow_redirects=False,
            event_hooks={"response": [_forget_location]},
            # No cookies: one account's would go out with another's tokens.
            cookies=CookieJar(DefaultCookiePolicy(allowed_domains=[])),
            limits=_ONE_REQUEST_A_CONNECTION,
            timeout=REQUEST_TIMEOUT,
            headers={"accept": "application/json", "accept-encoding": "identity", "user-agent": "auth-agent"},
        )

    @property
    def clock_offset(self) -> float | None:
        """By how many seconds the provider's clock was ahead of this machine's at its last response, by its `Date`.

        A `Date` has whole seconds (RFC 9110, section 5.6.7). None: there was no response with a valid one.
        """
        return self._clock_offset

    async def aclose(self) -> None:
        """Close all connections."""
        await self._http.aclose()

    async def keys(self) -> str | Failure:
        """Return the provider's current JWK set, as JSON. Like all methods, it raises no exception of httpx."""
        metadata = await self.discover()
        if isinstance(metadata, Failure):
            return metadata
        if metadata.jwks_uri is None:
            return Misconfigured(f"{self._issuer} names no jwks_uri, so its ID tokens can't be checked")
        response = await self._send("GET", metadata.jwks_uri)
        if isinstance(response, Failure):
            return Transient(response.reason)
        status, _, body = response
        try:
            return (
                body.decode()
                if status == HTTPStatus.OK
                else Busy(f"{printable(metadata.jwks_uri)} answered HTTP {status}")
            )
        except UnicodeDecodeError:
            return Unusable(f"{printable(metadata.jwks_uri)} is not valid UTF-8")

    async def token(self, client: Client, request: TokenRequest) -> TokenResponse | Failure:
        """Send a token request once; return its outcome."""
        metadata = await self.discover()
        if isinstance(metadata, Failure):
            return metadata
        form = request.form(is_auth0=metadata.is_auth0)
        response = await self._post(metadata.token_endpoint, client, metadata, form)
        if isinstance(response, Failure):
            return response
        status, headers, body = response
        if status in _GONE:
            self._metadata_at = (
                -METADATA_LIFETIME
            )  # the endpoint may have moved: fetch the metadata again before the next request
        return request.parse(status, headers, body, time.time(), _presented(client, *request.secrets.values()))

    async def begin_device(self, client: Client, scope: str, audience: str | None) -> DeviceAuthorization | Failure:
        """Begin a login on another device."""
        metadata = await self.discover()
        if isinstance(metadata, Failure):
            return metadata
        if metadata.device_authorization_endpoint is None:
            return Misconfigured(f"{self._issuer} has no device flow: it names no device_authorization_endpoint")
        response = await self._post(
            metadata.device_authorization_endpoint, client, metadata, device_form(scope, audience)
        )
        if isinstance(response, Failure):
            return response
        return parse_device_authorization(*response, time.time(), _presented(client))

    async def revoke(self, client: Client, refresh_token: Secret) -> bool:
        """Revoke the refresh token (RFC 7009); return whether the provider confirmed it."""
        metadata = await self.discover()
        if isinstance(metadata, Failure) or metadata.revocation_endpoint is None:
            return False
        form = revocation_form(refresh_token)
        response = await self._post(metadata.revocation_endpoint, client, metadata, form)
        return not isinstance(response, Failure) and response[0] == HTTPStatus.OK

    async def userinfo(self, access_token: Secret, token_type: str) -> dict[str, object] | Failure:
        """Request the claims of the access token's user from the UserInfo endpoint, once."""
        metadata = await self.discover()
        if isinstance(metadata, Failure):
            return metadata
        if metadata.userinfo_endpoint is None:
            return Refusal(f"{self._issuer} has no UserInfo endpoint")
        response = await self._send("GET", metadata.userinfo_endpoint, headers=_bearer(access_token, token_type))
        return response if isinstance(response, Failure) else parse_userinfo(*response, time.time())

    async def user(
        self, access_token: Secret, token_type: str, url: str, update: Mapping[str, object] | None = None
    ) -> dict[str, object] | Failure:
        """Request the user at that URL of Auth0's Management API, or update it and return the result, once."""
        method, headers = ("GET" if update is None else "PATCH"), _bearer(access_token, token_type)
        response = await self._send(method, url, headers=headers, content=update)
        return response if isinstance(response, Failure) else parse_user(*response, time.time(), access_token)

    async def discover(self) -> Metadata | Failure:
        """Return the metadata, fetched at most a day ago; or why it is not available."""
        known = self._metadata
        if known is not None and time.monotonic() - self._metadata_at < METADATA_LIFETIME:
            return known
        look_up = self._look_up
        if look_up is None:  # all callers share one request and its outcome
            look_up = self._look_up = Promise[Metadata | Failure]()
            try:
                look_up.resolve(await self._fetch_metadata())
            finally:
                self._look_up = None
                # No effect if it is resolved already.
                look_up.resolve(Unsent("the request for the provider's metadata was cancelled"))
        metadata = await look_up.wait()
        if isinstance(metadata, Metadata):
            self._metadata, self._metadata_at = metadata, time.monotonic()
        elif known is not None:
            self._metadata_at += METADATA_RETRY
            return known
        return metadata

    async def _fetch_metadata(self) -> Metadata | Failure:
        url = metadata_url(self._issuer)
        response = await self._send("GET", url)
        if isinstance(response, Failure):
            return Unsent(response.reason)  # the token request was not sent
        status, headers, body = response
        if status == HTTPStatus.NOT_FOUND:
            return Misconfigured(f"{url} is not found", keys=("issuer",))
        if status != HTTPStatus.OK:
            return Busy(f"{url} answered HTTP {status}", retry_after(headers, time.time()))
        try:
            return parse_metadata(self._issuer, body)
        except UnreadableMetadataError as error:
            return Unsent(str(error))  # a captive portal's page, more often than a wrong issuer
        except DiscoveryError as error:
            return Misconfigured(str(error), keys=("issuer",))

    async def _post(
        self, url: str, client: Client, metadata: Metadata, form: Mapping[str, str]
    ) -> tuple[int, Mapping[str, str], bytes] | Failure:
        headers, form = client.authenticate(form, metadata.token_endpoint_auth_methods)
        return await self._send("POST", url, form, headers)

    async def _send(
        self,
        method: str,
        url: str,
        form: Mapping[str, str] | None = None,
        headers: Mapping[str, str] | None = None,
        content: Mapping[str, object] | None = None,
    ) -> tuple[int, Mapping[str, str], bytes] | Failure:
        """Return status, headers by lower-case name, and body; or `Unsent`, or `Lost` if the request was sent."""
        sent = False

        async def trace(event: str, _: Mapping[str, object]) -> None:
            nonlocal sent
            # Set before the first byte is sent; also for a proxy's CONNECT, which errs on the safe side.
            sent = sent or event.endswith("send_request_headers.started")

        try:
            request = self._http.build_request(
                method, url, data=form, json=content, headers=headers, extensions={"trace": trace}
            )
        except (httpx.InvalidURL, UnicodeError):
            return Misconfigured(f"{printable(url)!r} is not a URL")
        host = request.url.host
        try:
            with anyio.fail_after(REQUEST_TIMEOUT):
                response = await self._http.send(request, stream=True)
                try:
                    body = await _bounded_body(response)
                finally:
                    await response.aclose()
        except TimeoutError:
            reason = f"{host} did not respond within {REQUEST_TIMEOUT:g} s"
        except _NOT_CONNECTED as error:
            return Unsent(f"{host} can't be reached: {_cause(error)}")
        except httpx.TransportError as error:
            reason = f"{host} can't be reached: {_cause(error)}"
        except httpx.HTTPError as error:
            reason = f"{host} sent an invalid HTTP response: {type(error).__name__}"
        else:
            if body is None:
                return Lost(f"{host} sent more than {MAX_BODY} bytes, or than {_MAX_PIECES} pieces")
            lower = {k.lower(): v for k, v in response.headers.items()}
            date = unix_time(lower.get("date", ""))
            self._clock_offset = None if date is None else date - time.time()
            return response.status_code, lower, body
        return Lost(reason) if sent else Unsent(reason)


# Raised before there is a connection: no request was sent, at most a proxy's CONNECT.
_NOT_CONNECTED: Final = (
    httpx.ConnectError,
    httpx.ConnectTimeout,
    httpx.PoolTimeout,
    httpx.ProxyError,
    httpx.UnsupportedProtocol,
)


def _bearer(access_token: Secret, token_type: str) -> dict[str, str]:
    """Return the `Authorization` header; some APIs accept only RFC 6750's spelling of the scheme."""
    scheme = "Bearer" if token_type.lower() == "bearer" else token_type
    return {"authorization": f"{scheme} {access_token.reveal()}"}


def _presented(client: Client, *secrets: Secret) -> tuple[Secret, ...]:
    """Return the secrets that a request had, to remove them from a response that quotes them."""
    return secrets if client.secret is None else (*secrets, client.secret)


async def _forget_location(response: httpx.Response) -> None:
    # No redirect is followed, but httpx would parse its URL all the same, and raise if that is invalid.
    response.headers.pop("location", None)


async def _bounded_body(response: httpx.Response) -> bytes | None:
    body, pieces = bytearray(), 0
    # Raw: a compressed body, which was not requested, could expand to gigabytes. Raw, it is just not valid JSON.
    async for chunk in response.aiter_raw():
        body += chunk
        pieces += 1
        if len(body) > MAX_BODY or pieces > _MAX_PIECES:
            return None
        await anyio.lowlevel.checkpoint()  # thousands of pieces may arrive at once: let other tasks run
    return bytes(body)


# What OpenSSL's versions call a first response that is not of TLS.
_NOT_TLS: Final = frozenset({"WRONG_VERSION_NUMBER", "HTTP_REQUEST", "PACKET_LENGTH_TOO_LONG", "RECORD_LAYER_FAILURE"})


def _cause(error: BaseException) -> str:
    """Return the message of the innermost exception, which is the operating system's or OpenSSL's."""
    while error.__cause__ is not None or error.__context__ is not None:
        error = error.__cause__ or error.__context__ or error
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


class HttpProviders:
    """The providers of all accounts: one per issuer and proxy, created at first use."""

    def __init__(self, certificates: ssl.SSLContext) -> None:
        self._certificates = certificates
        self._providers: dict[tuple[str, str | None], HttpProvider] = {}

    def __call__(self, account: Account) -> HttpProvider:
        """Return the account's provider."""
        key = (account.issuer, account.proxy)
        provider = self._providers.get(key)
        if provider is None:
            provider = self._providers[key] = HttpProvider(account.issuer, self._certificates, account.proxy)
        return provider

    async def aclose(self) -> None:
        """Close all connections."""
        for provider in self._providers.values():
            await provider.aclose()
