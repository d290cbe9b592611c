"""Sends token requests: once, or again if the response was lost, and never with a replaced refresh token.

Theory of operation. A provider that rotates refresh tokens ends the session when a replaced one is used again
(RFC 9700, section 4.14.2). Some accept the old one for a short overlap, in case the response was lost. So a refresh
token is sent twice only right after a lost response.
"""

import logging
import math
from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Final, TypeVar

from auth_agent.config import Account
from auth_agent.defect import place
from auth_agent.host.clock import Moment
from auth_agent.oauth.discovery import Metadata
from auth_agent.oauth.outcome import (
    Defect,
    Failure,
    InvalidClient,
    Lost,
    ReplacedToken,
    SideRequestRefusal,
    TokenResponse,
    Unsupported,
)
from auth_agent.oauth.provider import Provider
from auth_agent.oauth.resource import RESOURCE, omissions, overrides_of_api
from auth_agent.oauth.token_request import TokenRequest, client_credentials_request, refresh_request
from auth_agent.secret import Secret
from auth_agent.sessions.fingerprints import Fingerprints
from auth_agent.sessions.revocation import Revocation
from auth_agent.sessions.side_requests import is_allowed
from auth_agent.sessions.state import MAIN, Credentials, TokenKey
from auth_agent.sessions.table import Table
from auth_agent.token_type import scheme_of

_Outcome = TypeVar("_Outcome")
_log = logging.getLogger(__name__)

# With a rotation overlap a retry succeeds; without one the session was lost with the response.
LOST_RETRIES: Final = 2


class TokenClient:
    """Sends token and revocation requests, with an account's credentials."""

    def __init__(self, table: Table, provider_for: Callable[[Account], Provider], fingerprints: Fingerprints) -> None:
        self._table = table
        self._clock = table.clock
        self._provider_for = provider_for
        self._fingerprints = fingerprints
        # The fingerprints of refresh tokens in requests that are under way.
        self._presented: set[str] = set()
        # The accounts whose provider's own word for bearer tokens was logged.
        self._odd_types: set[str] = set()

    async def send(
        self, account: Account, credentials: Credentials, request: TokenRequest
    ) -> tuple[TokenResponse | Failure, Moment]:
        """Send a token request once; return the response or failure, and when the request was sent."""
        sent = self._clock.now()
        try:
            provider = self._provider_for(account)
            metadata = await provider.discover()
            if isinstance(metadata, Failure):
                return metadata, sent
            sent = self._clock.now()  # a token's lifetime starts here, not before the discovery
            request = request.with_more(account.token_parameters, account.token_headers)
            response = await provider.token(credentials.client(account.token_endpoint_auth_method), request)
        except Exception as error:  # noqa: BLE001 -- a defect in one account's provider must not end all sessions
            # Its type and place alone: an exception's text could hold what was being sent.
            _log.error("defect account=%s in=token error=%s", account.name, place(error))
            return Defect(f"a defect of the agent: {type(error).__name__}"), sent
        if isinstance(response, TokenResponse) and metadata.manners.ends_access_token:
            response = replace(response, ends_access_token=True)
        return self._with_scheme(account, response), sent

    def _with_scheme(self, account: Account, response: TokenResponse | Failure) -> TokenResponse | Failure:
        """Return the response with the scheme by which APIs take its token, or why the agent can't use it."""
        if isinstance(response, Failure) or response.is_single_use:
            return response
        scheme = scheme_of(response.token_type, account.token_type)
        if scheme is None:
            reason = f"the provider issues tokens of the type {response.token_type}, which the agent can't use"
            return Unsupported(reason, refresh_token=response.refresh_token)
        if scheme.lower() != response.token_type.lower() and account.name not in self._odd_types:
            self._odd_types.add(account.name)
            _log.warning("token account=%s type=%r served_as=%s", account.name, response.token_type, scheme)
        return replace(response, token_type=scheme)

    async def log_in(
        self,
        account: Account,
        credentials: Credentials,
        send: Callable[[Credentials], Awaitable[tuple[_Outcome, Moment]]],
    ) -> tuple[Credentials, _Outcome, Moment]:
        """Send a login's request; if the client is not accepted, once more by the other method that is offered.

        Return the credentials, with the method that was accepted, the outcome, and when the request was sent. A refresh
        keeps to that method, and so does a login to that of the configuration.
        """
        outcome, sent = await send(credentials)
        client = credentials.client(account.token_endpoint_auth_method)
        if client.secret is None or client.method is not None or not isinstance(outcome, InvalidClient | TokenResponse):
            return credentials, outcome, sent
        metadata = await self._provider_for(account).discover()
        if isinstance(metadata, Failure):
            return credentials, outcome, sent
        first, *others = client.methods(metadata.token_endpoint_auth_methods)
        if isinstance(outcome, TokenResponse):
            return replace(credentials, auth_method=first), outcome, sent
        for method in others:
            changed = replace(credentials, auth_method=method)
            second, sent_again = await send(changed)
            if not isinstance(second, InvalidClient):
                _log.info("login account=%s auth_method=%s", account.name, method)
                return changed, second, sent_again
        return credentials, outcome, sent

    def look_again(self, account: Account) -> None:
        """Look up again where the account's provider is, if it failed: a person wants to go on."""
        try:
            self._provider_for(account).look_again(older_than=math.inf)
        except Exception as error:  # noqa: BLE001 -- as in `send`
            _log.error("defect account=%s in=metadata error=%s", account.name, place(error))

    async def refresh(
        self, account: Account, credentials: Credentials, is_wanted: Callable[[], bool], key: TokenKey = MAIN
    ) -> tuple[TokenResponse | Failure, Moment]:
        """Request the token of that key, with the refresh token or by the client credentials grant.

        Return the last response or failure, and when its request was sent. A refresh token that was replaced, or is in
        another request, is not sent. Lost responses are retried only while `is_wanted()`.
        """
        if credentials.grant_type.has_refresh_token:
            side_scope = "" if key == MAIN else await self._side_scope(account, credentials)
            if isinstance(side_scope, Failure):
                return side_scope, self._clock.now()
            return await self._present(account, credentials, is_wanted, key, side_scope)
        overrides = account.authorize if key.audience is None else omissions(account.authorize)
        api = key.audience or credentials.audience
        request = client_credentials_request(key.scope or account.scope, api, overrides_of_api(overrides))
        response, sent = await self._send_with_retries(account, credentials, request, is_wanted)
        # A refresh token should not be issued here (RFC 6749, section 4.4.3): the client secret gets the next token.
        return replace(response, refresh_token=None), sent

    async def side_refusal(
        self, account: Account, credentials: Credentials, key: TokenKey
    ) -> SideRequestRefusal | None:
        """Return why no refresh is sent for the token of that key; None if one may be sent, as far as is known."""
        if key == MAIN or not credentials.grant_type.has_refresh_token:
            return None
        side_scope = await self._side_scope(account, credentials)
        return side_scope if isinstance(side_scope, SideRequestRefusal) else None

    async def _side_scope(self, account: Account, credentials: Credentials) -> str | Failure:
        """Return the scopes that a refresh for another token needs besides, or why none is sent."""
        metadata = await self._discover(account)
        if isinstance(metadata, Failure):
            return metadata
        if not is_allowed(account.side_requests, credentials, metadata.manners):
            return SideRequestRefusal("the provider may take scopes from the session for another token than its own")
        scope, asked = metadata.manners.side_scope, credentials.requested_scope.split()
        return scope if scope in asked else ""

    async def _discover(self, account: Account) -> Metadata | Failure:
        try:
            return await self._provider_for(account).discover()
        except Exception as error:  # noqa: BLE001 -- as in `send`
            _log.error("defect account=%s in=discovery error=%s", account.name, place(error))
            return Defect(f"a defect of the agent: {type(error).__name__}")

    def is_spent(self, refresh_token: Secret) -> bool:
        """Return whether a refresh token must not be sent: it was replaced, or is in a request under way."""
        return self._fingerprints.is_replaced(refresh_token) or refresh_token.fingerprint() in self._presented

    async def revoke(self, account: Account, credentials: Credentials, *, shared: bool = False) -> Revocation:
        """Revoke the refresh token, if there is one, unless another session may end with it.

        `shared`: revoke it even then.
        """
        if credentials.refresh_token is None:
            return Revocation()
        client = credentials.client(account.token_endpoint_auth_method)
        try:
            provider = self._provider_for(account)
            metadata = await provider.discover()  # before the check below: sessions may be added while it waits
            ending = () if shared else self._table.may_end_with(credentials)
            # No second attempt to reach the provider: the user who logs out waits for this.
            can_ask = not ending and not isinstance(metadata, Failure)
            revoked = can_ask and await provider.revoke(client, credentials.refresh_token)
        except Exception as error:  # noqa: BLE001 -- as in `send`
            _log.error("defect account=%s in=revoke error=%s", account.name, place(error))
            return Revocation()
        _log.info("revoke account=%s revoked=%s shared_with=%s", account.name, revoked, ",".join(ending) or "-")
        return Revocation(revoked, ending)

    async def _present(
        self, account: Account, credentials: Credentials, is_wanted: Callable[[], bool], key: TokenKey, side_scope: str
    ) -> tuple[TokenResponse | Failure, Moment]:
        refresh_token = credentials.refresh_token
        assert refresh_token is not None  # noqa: S101 -- for the type checker: only credentials with a refresh token come here
        if self.is_spent(refresh_token):
            return ReplacedToken("this refresh token is in use, or was replaced by another one"), self._clock.now()
        fingerprint = refresh_token.fingerprint()
        self._presented.add(fingerprint)
        self._fingerprints.record_sent(account.name, refresh_token)
        try:
            # RFC 8707's parameter is named at each refresh: without it, some providers issue a token for no API.
            named = {RESOURCE: credentials.resource} if key.audience is None else {}
            overrides = {**named, **omissions(account.authorize)}
            scope = f"{key.scope} {side_scope}".strip() if key.scope else ""
            request = refresh_request(refresh_token, key.audience, scope, overrides=overrides)
            response, sent = await self._send_with_retries(account, credentials, request, is_wanted)
            if response.refresh_token is not None:
                self._fingerprints.record_successor(account.name, refresh_token, response.refresh_token)
            return response, sent
        finally:
            self._presented.discard(fingerprint)

    async def _send_with_retries(
        self, account: Account, credentials: Credentials, request: TokenRequest, is_wanted: Callable[[], bool]
    ) -> tuple[TokenResponse | Failure, Moment]:
        """Send a token request, and again if its response was lost."""
        for retries_left in range(LOST_RETRIES, -1, -1):
            response, sent = await self.send(account, credentials, request)
            if not isinstance(response, Lost) or retries_left == 0 or not is_wanted():
                return response, sent
            if response.refresh_token is not None:  # the one that was sent is replaced
                return response, sent
            _log.warning("refresh account=%s outcome=lost reason=%r", account.name, response.reason)
        raise AssertionError("the last attempt returns")
