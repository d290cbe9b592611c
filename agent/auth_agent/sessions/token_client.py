"""Token requests: each sent once, again where its reply was lost, and never with a refresh token that was replaced.

A provider that rotates refresh tokens ends the session when one comes again whose successor was used. It may answer
the same one again when the reply was lost, for a short while: that is the one time when a token is presented twice.
"""

import logging
from collections.abc import Callable
from dataclasses import replace
from typing import Final

from auth_agent.config import Account
from auth_agent.defect import place
from auth_agent.host.clock import Moment
from auth_agent.oauth.outcome import Defect, Failure, Lost, ReplacedToken, TokenResponse
from auth_agent.oauth.provider import Provider
from auth_agent.oauth.token_request import TokenRequest, client_credentials_request, refresh_request
from auth_agent.secret import Secret
from auth_agent.sessions.fingerprints import Fingerprints
from auth_agent.sessions.revocation import Revocation
from auth_agent.sessions.state import MAIN, Credentials, TokenKey
from auth_agent.sessions.table import Table

_log = logging.getLogger(__name__)

# With a rotation overlap the provider answers again; without one the session was lost with the reply.
LOST_RETRIES: Final = 2


class TokenClient:
    """Sends token requests for logins."""

    def __init__(self, table: Table, provider_for: Callable[[Account], Provider], fingerprints: Fingerprints) -> None:
        self._table = table
        self._clock = table.clock
        self._provider_for = provider_for
        self._fingerprints = fingerprints
        # The fingerprints of refresh tokens that are with their providers at this moment.
        self._presented: set[str] = set()

    async def send(
        self, account: Account, credentials: Credentials, request: TokenRequest
    ) -> tuple[TokenResponse | Failure, Moment]:
        """Send a request of the login's client once; return what came of it, and when it was sent."""
        sent = self._clock.now()
        try:
            provider = self._provider_for(account)
            found = await provider.discover()
            if isinstance(found, Failure):
                return found, sent
            sent = self._clock.now()  # a token's life begins here, however long a look-up took
            return await provider.token(credentials.client(account.token_endpoint_auth_method), request), sent
        except Exception as error:  # noqa: BLE001 -- a defect in one account's provider must not end all sessions
            # Its type and place alone: an exception's text could hold what was being sent.
            _log.error("defect account=%s in=token error=%s", account.name, place(error))
            return Defect(f"a defect of the agent: {type(error).__name__}"), sent

    async def refresh(
        self, account: Account, credentials: Credentials, is_wanted: Callable[[], bool], key: TokenKey = MAIN
    ) -> tuple[TokenResponse | Failure, Moment]:
        """Present what gets the login's next token: its refresh token, or its client's credentials.

        The token is to be the one of that key. What came of it, and when the request was sent that was answered. A
        refresh token is not sent where it is known to be replaced, or is with the provider already; nothing is sent
        again, once it is no longer wanted.
        """
        if credentials.grant_type.has_refresh_token:
            return await self._present(account, credentials, is_wanted, key)
        request = client_credentials_request(key.scope or account.scope, key.audience or credentials.audience)
        response, sent = await self._persist(account, credentials, request, is_wanted)
        # The secret gets the next one: a refresh token would be one more to lose (RFC 6749, section 4.4.3).
        return (replace(response, refresh_token=None) if isinstance(response, TokenResponse) else response), sent

    def is_spent(self, refresh_token: Secret) -> bool:
        """Whether a refresh token must not be presented: it was replaced, or is with its provider right now."""
        return self._fingerprints.is_replaced(refresh_token) or refresh_token.fingerprint() in self._presented

    async def revoke(self, account: Account, credentials: Credentials, *, shared: bool = False) -> Revocation:
        """Revoke a login's refresh token, where there is one and no session that stays may end with it.

        `shared`: also where one may.
        """
        if credentials.refresh_token is None:
            return Revocation()
        client = credentials.client(account.token_endpoint_auth_method)
        try:
            provider = self._provider_for(account)
            found = await provider.discover()  # it may take a while, and another session may come meanwhile
            ending = () if shared else self._table.may_end_with(credentials)
            # One that can't be reached is not looked for once more: whoever logs out waits for this.
            can_ask = not ending and not isinstance(found, Failure)
            revoked = can_ask and await provider.revoke(client, credentials.refresh_token)
        except Exception as error:  # noqa: BLE001 -- as in `send`
            _log.error("defect account=%s in=revoke error=%s", account.name, place(error))
            return Revocation()
        _log.info("revoke account=%s revoked=%s shared_with=%s", account.name, revoked, ",".join(ending) or "-")
        return Revocation(revoked, ending)

    async def _present(
        self, account: Account, credentials: Credentials, is_wanted: Callable[[], bool], key: TokenKey
    ) -> tuple[TokenResponse | Failure, Moment]:
        refresh_token = credentials.refresh_token
        assert refresh_token is not None  # noqa: S101 -- for the type checker: only what is renewable is refreshed
        if self.is_spent(refresh_token):
            return ReplacedToken("this refresh token is in use, or was replaced by another one"), self._clock.now()
        fingerprint = refresh_token.fingerprint()
        self._presented.add(fingerprint)
        self._fingerprints.record_sent(refresh_token)
        try:
            request = refresh_request(refresh_token, key.audience, key.scope)
            response, sent = await self._persist(account, credentials, request, is_wanted)
            if isinstance(response, TokenResponse) and response.refresh_token is not None:
                self._fingerprints.record_successor(refresh_token, response.refresh_token)
            return response, sent
        finally:
            self._presented.discard(fingerprint)

    async def _persist(
        self, account: Account, credentials: Credentials, request: TokenRequest, is_wanted: Callable[[], bool]
    ) -> tuple[TokenResponse | Failure, Moment]:
        """Send a request that may be sent twice, again where its reply was lost."""
        for retries_left in range(LOST_RETRIES, -1, -1):
            response, sent = await self.send(account, credentials, request)
            if not isinstance(response, Lost) or retries_left == 0 or not is_wanted():
                return response, sent
            _log.warning("refresh account=%s outcome=lost reason=%r", account.name, response.reason)
        raise AssertionError("the last attempt returns")
