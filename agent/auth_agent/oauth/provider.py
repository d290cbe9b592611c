"""A provider, over HTTP: its metadata, and what each of its endpoints is asked and answers."""

import logging
import time
from collections.abc import Mapping
from dataclasses import replace
from http import HTTPStatus
from types import MappingProxyType
from typing import Any, Final, Protocol

from anyio.abc import TaskGroup

from auth_agent.defect import place
from auth_agent.host.clock import Clock, Moment
from auth_agent.oauth.auth0 import parse_user
from auth_agent.oauth.client import Client
from auth_agent.oauth.device import DeviceAuthorization, parse_device_authorization
from auth_agent.oauth.discovery import Metadata
from auth_agent.oauth.freshness import LIFETIME, RETRY, Freshness
from auth_agent.oauth.http_client import HttpClient, Response
from auth_agent.oauth.metadata_documents import MetadataDocuments
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
from auth_agent.oauth.requests import SUCCESS, device_form, retry_after, revocation_form, says_error, unix_time
from auth_agent.oauth.token_request import TokenRequest
from auth_agent.oauth.transport import Transport
from auth_agent.oauth.userinfo import SignedUserInfo, parse_userinfo
from auth_agent.printable import printable
from auth_agent.promise import Promise
from auth_agent.secret import Secret

_log = logging.getLogger(__name__)

# Requests that one provider gets at the same time: for tokens, logins, metadata and keys; and for users' data, which
# programs ask for, so that those who wait for an API of it delay no refresh.
MAX_REQUESTS: Final = 16
MAX_USER_REQUESTS: Final = 8
# What an endpoint answers that has moved; redirects are not followed.
_MOVED: Final = (*range(300, 400), HTTPStatus.NOT_FOUND, HTTPStatus.METHOD_NOT_ALLOWED, HTTPStatus.GONE)
# Seconds. A person who logs in, or reloads the configuration, has metadata that is no older.
_RECENT: Final = 60.0


class Provider(Protocol):
    """What a session needs of its provider."""

    def time(self, now: Moment) -> float | None:
        """Return the Unix time by the provider's clock; None if no response had a `Date`."""
        ...

    async def discover(self) -> Metadata | Failure:
        """Return the provider's metadata, or why it is not available."""
        ...

    def look_again(self, *, older_than: float = _RECENT) -> None:
        """Look the metadata up before the next request if something failed, or if it is that old, in seconds.

        An endpoint may have moved.
        """
        ...

    async def keys(self) -> str | Failure:
        """Return the provider's current JWK set, as JSON."""
        ...

    async def token(self, client: Client, request: TokenRequest) -> TokenResponse | Failure:
        """Send a token request once; return its outcome."""
        ...

    async def begin_device(
        self, client: Client, scope: str, parameters: Mapping[str, str]
    ) -> DeviceAuthorization | Failure:
        """Begin a login on another device, with further parameters, such as those that name the API."""
        ...

    async def revoke(self, client: Client, refresh_token: Secret) -> bool:
        """Revoke the refresh token (RFC 7009); return whether the provider confirmed it."""
        ...

    async def userinfo(self, access_token: Secret, token_type: str) -> dict[str, object] | SignedUserInfo | Failure:
        """Request the claims of the access token's user from the UserInfo endpoint, once."""
        ...

    async def user(
        self, access_token: Secret, token_type: str, url: str, update: Mapping[str, object] | None = None
    ) -> dict[str, object] | Failure:
        """Request the user at that URL of Auth0's Management API, or update it and return the result, once."""
        ...


class HttpProvider:
    """The provider of one issuer, through one proxy or none."""

    def __init__(
        self,
        issuer: str,
        transport: Transport,
        tasks: TaskGroup,
        endpoints: Mapping[str, str] | None = None,
        clock: Clock | None = None,
        *,
        has_certificate: bool = False,
    ) -> None:
        """Create one, whose metadata is requested in that task group.

        `endpoints` are those of the configuration; `clock` is by default the machine's. `has_certificate`: whether the
        client has one, for which a provider may have other endpoints.
        """
        self._endpoints: dict[str, Any] = dict(endpoints or {})
        self._has_certificate = has_certificate
        self._issuer = issuer
        self._documents = MetadataDocuments(issuer, endpoints or {}, self._get)
        self._metadata: Metadata | None = None
        self._freshness = Freshness()
        self._look_up: Promise[Metadata | Failure] | None = None
        self._clock = clock or Clock()
        self._clock_offset: float | None = None
        # The `Date` of the last response that had one, as Unix time, and when that came, in seconds since boot.
        self._dated: tuple[float, float] | None = None
        self._tasks = tasks
        self._http = HttpClient(transport, MAX_REQUESTS)
        self._users = HttpClient(transport, MAX_USER_REQUESTS)

    @property
    def clock_offset(self) -> float | None:
        """By how many seconds the provider's clock was ahead of this machine's at its last response, by its `Date`.

        A `Date` has whole seconds (RFC 9110, section 5.6.7). None: there was no response with a valid one.
        """
        return self._clock_offset

    def time(self, now: Moment) -> float | None:
        """Return the Unix time by the provider's clock, from its last response; None if there was none with a `Date`.

        It goes on by the clock since boot, so that it is right although the wall clock was set meanwhile.
        """
        if self._dated is None:
            return None
        date, boot = self._dated
        return date + now.boot - boot

    async def keys(self) -> str | Failure:
        """Return the provider's current JWK set, as JSON."""
        metadata = await self._discover_with("jwks_uri")
        if isinstance(metadata, Failure):
            return metadata
        if metadata.jwks_uri is None:
            return Misconfigured(
                f"{self._issuer} names no usable jwks_uri, so its ID tokens can't be checked with its keys",
                keys=("jwks_uri", "id_token_signed_response_alg"),
            )
        response = self._of_endpoint(await self._get(metadata.jwks_uri))
        if isinstance(response, Misconfigured):
            return response
        if isinstance(response, Failure):
            return Transient(response.reason)
        status, headers, body = response
        if status != HTTPStatus.OK:
            reason = f"{printable(metadata.jwks_uri)} answered HTTP {status}"
            return Busy(reason, retry_after(headers, time.time()))
        if not body.lstrip().startswith(b"{"):  # a page of something that stands before it
            return Transient(f"{printable(metadata.jwks_uri)} is not a JSON object")
        try:
            return body.decode()
        except UnicodeDecodeError:
            return Unusable(f"{printable(metadata.jwks_uri)} is not valid UTF-8")

    async def token(self, client: Client, request: TokenRequest) -> TokenResponse | Failure:
        """Send a token request once; return its outcome."""
        metadata = await self.discover()
        if isinstance(metadata, Failure):
            return metadata
        form = request.form(metadata.api_parameters)
        response = await self._post(metadata.token_endpoint, client, metadata, form, request.headers)
        if isinstance(response, Failure):
            self._freshness.failed()
            return response
        status, headers, body = response
        outcome = request.parse(status, headers, body, time.time(), _presented(client, *request.secrets.values()))
        is_failing = isinstance(outcome, Busy | Lost) and status != HTTPStatus.TOO_MANY_REQUESTS
        (self._freshness.failed if is_failing else self._freshness.succeeded)()
        return outcome

    async def begin_device(
        self, client: Client, scope: str, parameters: Mapping[str, str]
    ) -> DeviceAuthorization | Failure:
        """Begin a login on another device, with further parameters, such as those that name the API."""
        metadata = await self._discover_with("device_authorization_endpoint")
        if isinstance(metadata, Failure):
            return metadata
        if metadata.device_authorization_endpoint is None:
            return Misconfigured(f"{self._issuer} has no device flow: it names no usable device_authorization_endpoint")
        response = await self._post(
            metadata.device_authorization_endpoint, client, metadata, device_form(scope, parameters)
        )
        if isinstance(response, Failure):
            return response
        return parse_device_authorization(*response, time.time(), _presented(client), self._issuer)

    async def revoke(self, client: Client, refresh_token: Secret) -> bool:
        """Revoke the refresh token (RFC 7009); return whether the provider confirmed it.

        By the RFC with status 200; some answer 202 or 204, and others report their errors with status 200.
        """
        metadata = await self._discover_with("revocation_endpoint")
        if isinstance(metadata, Failure) or metadata.revocation_endpoint is None:
            return False
        form = revocation_form(refresh_token)
        response = await self._post(metadata.revocation_endpoint, client, metadata, form)
        return not isinstance(response, Failure) and response.status in SUCCESS and not says_error(response.body)

    async def userinfo(self, access_token: Secret, token_type: str) -> dict[str, object] | SignedUserInfo | Failure:
        """Request the claims of the access token's user from the UserInfo endpoint, once."""
        metadata = await self.discover()
        if isinstance(metadata, Failure):
            return metadata
        if metadata.userinfo_endpoint is None:
            return Refusal(f"{self._issuer} has no UserInfo endpoint")
        headers = _bearer(access_token, token_type)
        response = self._of_endpoint(
            self._noted(await self._users.send("GET", metadata.userinfo_endpoint, headers=headers))
        )
        if isinstance(response, Failure):
            return response
        return parse_userinfo(*response, time.time(), is_openid=metadata.is_openid)

    async def user(
        self, access_token: Secret, token_type: str, url: str, update: Mapping[str, object] | None = None
    ) -> dict[str, object] | Failure:
        """Request the user at that URL of Auth0's Management API, or update it and return the result, once."""
        method, headers = ("GET" if update is None else "PATCH"), _bearer(access_token, token_type)
        response = self._noted(await self._users.send(method, url, headers=headers, content=update))
        return response if isinstance(response, Failure) else parse_user(*response, time.time(), access_token)

    def look_again(self, *, older_than: float = _RECENT) -> None:
        """Look the metadata up before the next request if something failed, or if it is that old, in seconds."""
        self._freshness.ask_again(time.monotonic(), older_than)

    async def discover(self) -> Metadata | Failure:
        """Return the metadata, fetched at most a day ago; or why it is not available."""
        known = self._metadata
        if known is not None and self._freshness.is_current(time.monotonic()):
            return known
        look_up = self._look_up
        if look_up is None:  # all callers share one request and its outcome
            look_up = self._look_up = Promise[Metadata | Failure]()
            # In a task of its own: the caller that came first may leave while others wait.
            self._tasks.start_soon(self._renew_metadata, look_up)
        return await look_up.wait()

    async def _renew_metadata(self, look_up: Promise[Metadata | Failure]) -> None:
        known = self._metadata
        try:
            metadata = await self._documents.find()
            if self._has_certificate and isinstance(metadata, Metadata):
                metadata = replace(metadata.for_certificate(), **self._endpoints)
            if isinstance(metadata, Metadata) and (known is None or not self._documents.is_provisional):
                self._metadata = metadata
                self._freshness.look_up_ended(time.monotonic(), RETRY if self._documents.is_provisional else LIFETIME)
            elif known is not None:
                self._freshness.look_up_ended(time.monotonic(), RETRY)
                metadata = known
            look_up.resolve(metadata)
        except Exception as error:  # noqa: BLE001 -- raised again in each caller's task; here it would end the agent
            _log.error("defect in=metadata error=%s", place(error))
            look_up.fail(error)
        finally:
            self._look_up = None
            # No effect if it is resolved already.
            look_up.resolve(Unsent("the request for the provider's metadata was cancelled"))

    async def _discover_with(self, endpoint: str) -> Metadata | Failure:
        """Return the metadata, with that endpoint if any of the provider's documents names it."""
        metadata = await self.discover()
        if isinstance(metadata, Failure) or getattr(metadata, endpoint) is not None:
            return metadata
        completed = await self._documents.completed(metadata)
        if isinstance(completed, Metadata) and self._metadata is metadata:
            self._metadata = completed
        return completed

    async def _get(self, url: str) -> Response | Failure:
        return self._noted(await self._http.send("GET", url))

    async def _post(
        self,
        url: str,
        client: Client,
        metadata: Metadata,
        form: Mapping[str, str],
        more: Mapping[str, str] = MappingProxyType({}),
    ) -> Response | Failure:
        headers, form = client.authenticate(form, metadata.token_endpoint_auth_methods)
        return self._of_endpoint(
            self._noted(await self._http.send("POST", url, form=form, headers={**more, **headers}))
        )

    def _of_endpoint(self, response: Response | Failure) -> Response | Failure:
        """Return the response of an endpoint that the metadata names, and note if it says that it has moved."""
        if isinstance(response, Response) and response.status in _MOVED:
            self._freshness.moved()
        return response

    def _noted(self, response: Response | Failure) -> Response | Failure:
        """Return the response, and note what it says of the provider's clock."""
        if isinstance(response, Response):
            date = unix_time(response.headers.get("date", ""))
            self._clock_offset = None if date is None else date - time.time()
            if date is not None:
                self._dated = date, self._clock.now().boot
        return response


def _bearer(access_token: Secret, token_type: str) -> dict[str, str]:
    """Return the `Authorization` header; some APIs accept only RFC 6750's spelling of the scheme."""
    scheme = "Bearer" if token_type.lower() == "bearer" else token_type
    return {"authorization": f"{scheme} {access_token.reveal()}"}


def _presented(client: Client, *secrets: Secret) -> tuple[Secret, ...]:
    """Return the secrets that a request had, to remove them from a response that quotes them."""
    return secrets if client.secret is None else (*secrets, client.secret)
