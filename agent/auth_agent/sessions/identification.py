"""Finds out who has logged in, where the token response doesn't tell: an ID token is missing, or has no name.

UserInfo is asked with the very access token of the login, so its `sub` is whose session this is. Without one the
session has no subject: then nobody knows whether a later login is the same user's (admission.py).
"""

import logging
from dataclasses import replace
from typing import Final

import anyio

from auth_agent.config import Account
from auth_agent.oauth import id_token
from auth_agent.oauth.outcome import Failure, TokenResponse, Transient, Unsent
from auth_agent.remedies import LOGIN
from auth_agent.sessions.advice import login_failed
from auth_agent.sessions.state import Credentials
from auth_agent.sessions.userinfo_client import UserInfoClient

_log = logging.getLogger(__name__)

# Seconds that a login waits for a name alone, which a person reads.
_NAME_PATIENCE: Final = 2.0
# Seconds within which UserInfo is asked who has logged in, and between two requests.
_PATIENCE: Final = 30.0
_PAUSE: Final = 2.0
# Only with these scopes does UserInfo have a name (OpenID Connect Core 1.0, section 5.4).
_NAMED: Final = frozenset({"profile", "email"})


class Identification:
    """Completes the credentials of logins and imports."""

    def __init__(self, userinfo: UserInfoClient) -> None:
        self._userinfo = userinfo

    async def complete(
        self, account: Account, credentials: Credentials, response: TokenResponse, command: str
    ) -> Credentials:
        """Return the credentials of a login or import with the user's subject and name, as far as UserInfo has them.

        Args:
            account: the account, with the scope that was requested.
            credentials: those after the response.
            response: its tokens.
            command: LOGIN or IMPORT; after an import nothing can be tried again, since its refresh token is used up.

        Raises:
            AgentError: at a login, UserInfo can't tell just now who has logged in.

        """
        if not credentials.grant_type.has_user:
            return credentials
        if credentials.subject is not None:
            if credentials.name is None and _NAMED.intersection(account.scope.split()):
                with anyio.move_on_after(_NAME_PATIENCE):
                    claims = await self._ask(account, credentials, response)
                    if not isinstance(claims, Failure) and claims.get("sub") == credentials.subject:
                        return replace(credentials, name=id_token.display_name(claims))
            return credentials
        claims = await self._ask_again(account, credentials, response)
        if isinstance(claims, Failure):
            if isinstance(claims, Transient) and command == LOGIN:
                reason = f"there is no ID token, and UserInfo can't tell who has logged in: {claims.reason}"
                raise login_failed(account, replace(claims, reason=reason), command)
            _log.warning("%s account=%s user=unknown reason=%r", command, account.name, claims.reason)
            return credentials
        return replace(credentials, subject=id_token.subject(claims), name=id_token.display_name(claims))

    async def _ask_again(
        self, account: Account, credentials: Credentials, response: TokenResponse
    ) -> dict[str, object] | Failure:
        """Ask until there is an answer that will stay the same, for `_PATIENCE` seconds."""
        claims: dict[str, object] | Failure = Unsent("it did not respond in time")
        with anyio.move_on_after(_PATIENCE):
            claims = await self._ask(account, credentials, response)
            while isinstance(claims, Transient):
                await anyio.sleep(_PAUSE)
                claims = await self._ask(account, credentials, response)
        return claims

    async def _ask(
        self, account: Account, credentials: Credentials, response: TokenResponse
    ) -> dict[str, object] | Failure:
        assert response.access_token is not None  # noqa: S101 -- for the type checker: `accept` has refused others
        return await self._userinfo.claims(
            account, credentials.client_secret, response.access_token, response.token_type
        )
