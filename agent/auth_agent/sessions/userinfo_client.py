"""Asks the UserInfo endpoint whose access token it is, and checks the response if it is signed."""

from collections.abc import Callable

from auth_agent.config import Account
from auth_agent.oauth.outcome import Failure
from auth_agent.oauth.provider import Provider
from auth_agent.oauth.userinfo import SignedUserInfo, signed_claims
from auth_agent.secret import Secret
from auth_agent.sessions.verifier import USERINFO, Verifier


class UserInfoClient:
    """Requests claims about users."""

    def __init__(self, provider_for: Callable[[Account], Provider], verifier: Verifier) -> None:
        self._provider_for = provider_for
        self._verifier = verifier

    async def claims(
        self, account: Account, client_secret: Secret | None, access_token: Secret, token_type: str
    ) -> dict[str, object] | Failure:
        """Return the claims about the user of that access token of the account, or why there are none.

        Their `sub`, if they have one, is valid; the caller compares it with the session's user.
        """
        response = await self._provider_for(account).userinfo(access_token, token_type)
        if not isinstance(response, SignedUserInfo):
            return response
        claims = signed_claims(response.token, account.issuer, account.client_id)
        if isinstance(claims, Failure):
            return claims
        problem = await self._verifier.problem(account, client_secret, response.token, USERINFO)
        return claims if problem is None else problem
