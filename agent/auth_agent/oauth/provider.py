"""A provider, over HTTP. It translates what httpx raises, once, into outcomes with a class."""

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
from auth_agent.oauth.requests import device_form, retry_after, revocation_form
from auth_agent.oauth.token_request import TokenRequest
from auth_agent.oauth.userinfo import parse_userinfo
from auth_agent.printable import printable
from auth_agent.promise import Promise
from auth_agent.secret import Secret

# How long a provider may take for one request, from the name's look-up to the last byte.
REQUEST_TIMEOUT: Final = 30.0
# Metadata and token replies are a few kilobytes; groups in a token may make them a hundred. What is served of one
# has to fit into a message of the protocol.
MAX_BODY: Final = 1 << 19
# Each piece of a body costs as much as its headers do, however small it is.
_MAX_PIECES: Final = 1 << 14
# Endpoints move once in years; an agent runs for weeks.
METADATA_LIFETIME: Final = 86_400.0
METADATA_RETRY: Final = 300.0
# On a connection that was kept, a request may meet the provider's closing it, and nobody can tell whether it was read.
_ONE_REQUEST_A_CONNECTION: Final = httpx.Limits(max_keepalive_connections=0)
_GONE: Final = (HTTPStatus.NOT_FOUND, HTTPStatus.METHOD_NOT_ALLOWED, HTTPStatus.GONE)


class Provider(Protocol):
    """What a session needs of its provider."""

    async def discover(self) -> Metadata | Failure:
        """The provider's metadata, so that a request takes no longer than its own time; why it can't be had, if so."""
        ...

    async def keys(self) -> str | Failure:
        """The keys that it signs with now, as its JWK set is written."""
        ...

    async def token(self, client: Client, request: TokenRequest) -> TokenResponse | Failure:
        """Send a token request once; return what came of it."""
        ...

    async def begin_device(self, client: Client, scope: str, audience: str | None) -> DeviceAuthorization | Failure:
        """Begin a login on another device."""
        ...

    async def revoke(self, client: Client, refresh_token: Secret) -> bool:
        """Whether the provider took the refresh token back (RFC 7009)."""
        ...

    async def userinfo(self, access_token: Secret, token_type: str) -> dict[str, object] | Failure:
        """What the provider says of the user whom that access token was granted by, once."""
        ...

    async def user(
        self, access_token: Secret, token_type: str, address: str, update: Mapping[str, object] | None = None
    ) -> dict[str, object] | Failure:
        """The user at that address of Auth0's Management API, or as it is after that update, once."""
        ...


def trusted_certificates() -> ssl.SSLContext:
    """What the system trusts, or the file in `SSL_CERT_FILE`.

    Raises:
        StartupError: `SSL_CERT_FILE` can't be read, or holds no certificate. (OpenSSL would say nothing.)

    """
    file = os.environ.get("SSL_CERT_FILE")
    if not file:
        return truststore.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    if not Path(file).is_file():
        raise StartupError(f"SSL_CERT_FILE is {file!r}, which is no file; correct it, or unset it")
    try:
        return ssl.create_default_context(cafile=file)
    except (OSError, ssl.SSLError) as error:
        raise StartupError(f"SSL_CERT_FILE is {file!r}, and no certificate can be read from it") from error


class HttpProvider:
    """One issuer, as the accounts that share its proxy see it."""

    def __init__(self, issuer: str, certificates: ssl.SSLContext, proxy: str | None = None) -> None:
        self._issuer = issuer
        self._metadata: Metadata | None = None
        self._metadata_at = 0.0
        self._look_up: Promise[Metadata | Failure] | None = None
        self._http = httpx.AsyncClient(
            verify=certificates,
            proxy=proxy,
            # Plain http is for this machine: it goes through no proxy, whatever the environment says.
            # It uses no certificates; without these, httpx reads the system's once more for nothing.
            mounts={"http://": httpx.AsyncHTTPTransport(verify=certificates, limits=_ONE_REQUEST_A_CONNECTION)},
            follow_redirects=False,
            event_hooks={"response": [_forget_location]},
            # No cookies: one account's would go out with another's tokens.
            cookies=CookieJar(DefaultCookiePolicy(allowed_domains=[])),
            limits=_ONE_REQUEST_A_CONNECTION,
            timeout=REQUEST_TIMEOUT,
            headers={"accept": "application/json", "accept-encoding": "identity", "user-agent": "auth-agent"},
        )

    async def aclose(self) -> None:
        """Close what is open."""
        await self._http.aclose()

    async def keys(self) -> str | Failure:
        """The keys that it signs with now. Never raises what httpx raises, as all of these."""
        metadata = await self.discover()
        if isinstance(metadata, Failure):
            return metadata
        if metadata.jwks_uri is None:
            return Misconfigured(f"{self._issuer} names no jwks_uri, so its ID tokens can't be checked")
        answer = await self._send("GET", metadata.jwks_uri)
        if isinstance(answer, Failure):
            return Transient(answer.reason)
        status, _, body = answer
        try:
            return (
                body.decode()
                if status == HTTPStatus.OK
                else Busy(f"{printable(metadata.jwks_uri)} answered HTTP {status}")
            )
        except UnicodeDecodeError:
            return Unusable(f"{printable(metadata.jwks_uri)} holds no text")

    async def token(self, client: Client, request: TokenRequest) -> TokenResponse | Failure:
        """Send a token request once; return what came of it."""
        metadata = await self.discover()
        if isinstance(metadata, Failure):
            return metadata
        form = request.form(is_auth0=metadata.is_auth0)
        answer = await self._post(metadata.token_endpoint, client, metadata, form)
        if isinstance(answer, Failure):
            return answer
        status, headers, body = answer
        if status in _GONE:
            self._metadata_at = -METADATA_LIFETIME  # the endpoint may have moved: look again before the next request
        return request.parse(status, headers, body, time.time(), _presented(client, *request.secrets.values()))

    async def begin_device(self, client: Client, scope: str, audience: str | None) -> DeviceAuthorization | Failure:
        """Begin a login on another device."""
        metadata = await self.discover()
        if isinstance(metadata, Failure):
            return metadata
        if metadata.device_authorization_endpoint is None:
            return Misconfigured(f"{self._issuer} has no device flow: it names no device_authorization_endpoint")
        answer = await self._post(
            metadata.device_authorization_endpoint, client, metadata, device_form(scope, audience)
        )
        if isinstance(answer, Failure):
            return answer
        return parse_device_authorization(*answer, time.time(), _presented(client))

    async def revoke(self, client: Client, refresh_token: Secret) -> bool:
        """Whether the provider took the refresh token back (RFC 7009)."""
        metadata = await self.discover()
        if isinstance(metadata, Failure) or metadata.revocation_endpoint is None:
            return False
        form = revocation_form(refresh_token)
        answer = await self._post(metadata.revocation_endpoint, client, metadata, form)
        return not isinstance(answer, Failure) and answer[0] == HTTPStatus.OK

    async def userinfo(self, access_token: Secret, token_type: str) -> dict[str, object] | Failure:
        """What the provider says of the user whom that access token was granted by, once."""
        metadata = await self.discover()
        if isinstance(metadata, Failure):
            return metadata
        if metadata.userinfo_endpoint is None:
            return Refusal(f"{self._issuer} has no UserInfo endpoint")
        answer = await self._send("GET", metadata.userinfo_endpoint, headers=_bearer(access_token, token_type))
        return answer if isinstance(answer, Failure) else parse_userinfo(*answer, time.time())

    async def user(
        self, access_token: Secret, token_type: str, address: str, update: Mapping[str, object] | None = None
    ) -> dict[str, object] | Failure:
        """The user at that address of Auth0's Management API, or as it is after that update, once."""
        method, headers = ("GET" if update is None else "PATCH"), _bearer(access_token, token_type)
        answer = await self._send(method, address, headers=headers, content=update)
        return answer if isinstance(answer, Failure) else parse_user(*answer, time.time(), access_token)

    async def discover(self) -> Metadata | Failure:
        """The metadata, as it was found at most a day ago; or else why it isn't known."""
        known = self._metadata
        if known is not None and time.monotonic() - self._metadata_at < METADATA_LIFETIME:
            return known
        look_up = self._look_up
        if look_up is None:  # one look-up, and what came of it, is everybody's
            look_up = self._look_up = Promise[Metadata | Failure]()
            try:
                look_up.resolve(await self._fetch_metadata())
            finally:
                self._look_up = None
                look_up.resolve(Unsent("the look-up of the provider's metadata was cut short"))  # unless it wasn't
        found = await look_up.wait()
        if isinstance(found, Metadata):
            self._metadata, self._metadata_at = found, time.monotonic()
        elif known is not None:
            self._metadata_at += METADATA_RETRY
            return known
        return found

    async def _fetch_metadata(self) -> Metadata | Failure:
        address = metadata_url(self._issuer)
        answer = await self._send("GET", address)
        if isinstance(answer, Failure):
            return Unsent(answer.reason)  # of the token request, nothing was sent
        status, headers, body = answer
        if status == HTTPStatus.NOT_FOUND:
            return Misconfigured(f"{address} is not found", keys=("issuer",))
        if status != HTTPStatus.OK:
            return Busy(f"{address} answered HTTP {status}", retry_after(headers, time.time()))
        try:
            return parse_metadata(self._issuer, body)
        except UnreadableMetadataError as error:
            return Unsent(str(error))  # a captive portal's page, more often than a wrong issuer
        except DiscoveryError as error:
            return Misconfigured(str(error), keys=("issuer",))

    async def _post(
        self, address: str, client: Client, metadata: Metadata, form: Mapping[str, str]
    ) -> tuple[int, Mapping[str, str], bytes] | Failure:
        headers, form = client.authenticate(form, metadata.token_endpoint_auth_methods)
        return await self._send("POST", address, form, headers)

    async def _send(
        self,
        method: str,
        address: str,
        form: Mapping[str, str] | None = None,
        headers: Mapping[str, str] | None = None,
        content: Mapping[str, object] | None = None,
    ) -> tuple[int, Mapping[str, str], bytes] | Failure:
        """Status, headers by lower-case name, and body; or why there are none, and whether the request was sent."""
        sent = False

        async def trace(event: str, _: Mapping[str, object]) -> None:
            nonlocal sent
            # Before its first byte leaves; for a proxy's CONNECT as well, which errs to the safe side.
            sent = sent or event.endswith("send_request_headers.started")

        try:
            request = self._http.build_request(
                method, address, data=form, json=content, headers=headers, extensions={"trace": trace}
            )
        except (httpx.InvalidURL, UnicodeError):
            return Misconfigured(f"{printable(address)!r} is no address")
        host = request.url.host
        try:
            with anyio.fail_after(REQUEST_TIMEOUT):
                response = await self._http.send(request, stream=True)
                try:
                    body = await _bounded_body(response)
                finally:
                    await response.aclose()
        except TimeoutError:
            reason = f"{host} has not answered for {REQUEST_TIMEOUT:g} s"
        except _NOT_CONNECTED as error:
            return Unsent(f"{host} can't be reached: {_cause(error)}")
        except httpx.TransportError as error:
            reason = f"{host} can't be reached: {_cause(error)}"
        except httpx.HTTPError as error:
            reason = f"{host} sent what is no HTTP: {type(error).__name__}"
        else:
            if body is None:
                return Lost(f"{host} sent more than {MAX_BODY} bytes, or than {_MAX_PIECES} pieces")
            return response.status_code, {k.lower(): v for k, v in response.headers.items()}, body
        return Lost(reason) if sent else Unsent(reason)


# Before there is a connection nothing was sent, whatever was said to a proxy.
_NOT_CONNECTED: Final = (
    httpx.ConnectError,
    httpx.ConnectTimeout,
    httpx.PoolTimeout,
    httpx.ProxyError,
    httpx.UnsupportedProtocol,
)


def _bearer(access_token: Secret, token_type: str) -> dict[str, str]:
    """The header by which an API takes a token; some take only RFC 6750's spelling of the scheme."""
    scheme = "Bearer" if token_type.lower() == "bearer" else token_type
    return {"authorization": f"{scheme} {access_token.reveal()}"}


def _presented(client: Client, *secrets: Secret) -> tuple[Secret, ...]:
    """What a request held that must not be shown, should the answer quote it."""
    return secrets if client.secret is None else (*secrets, client.secret)


async def _forget_location(response: httpx.Response) -> None:
    # No redirect is followed. httpx would read all the same where it leads, and raise where that is no address.
    response.headers.pop("location", None)


async def _bounded_body(response: httpx.Response) -> bytes | None:
    body, pieces = bytearray(), 0
    # Raw: a compressed body, which was not asked for, could unfold into gigabytes. It is then no JSON.
    async for chunk in response.aiter_raw():
        body += chunk
        pieces += 1
        if len(body) > MAX_BODY or pieces > _MAX_PIECES:
            return None
        await anyio.lowlevel.checkpoint()  # thousands of pieces may have come at once: nobody waits for all of them
    return bytes(body)


def _cause(error: BaseException) -> str:
    """The text of what lies at the bottom: the operating system's or OpenSSL's, not each layer's."""
    while error.__cause__ is not None or error.__context__ is not None:
        error = error.__cause__ or error.__context__ or error
    # An HTTP library's own texts quote what came, and a server may have echoed what it was sent.
    text = ""
    if isinstance(error, ConnectionError) and error.errno:  # asyncio has put a text of its own in the system's place
        text = os.strerror(error.errno)
    elif isinstance(error, OSError):
        text = error.strerror or str(error)
    return printable(text) or type(error).__name__


class HttpProviders:
    """The providers of all accounts: one for each issuer and proxy, made when it is first needed."""

    def __init__(self, certificates: ssl.SSLContext) -> None:
        self._certificates = certificates
        self._providers: dict[tuple[str, str | None], HttpProvider] = {}

    def __call__(self, account: Account) -> HttpProvider:
        """The account's provider."""
        key = (account.issuer, account.proxy)
        provider = self._providers.get(key)
        if provider is None:
            provider = self._providers[key] = HttpProvider(account.issuer, self._certificates, account.proxy)
        return provider

    async def aclose(self) -> None:
        """Close what is open."""
        for provider in self._providers.values():
            await provider.aclose()
