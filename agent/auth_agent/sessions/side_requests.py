"""Side requests: refreshes for other scopes than the session's, or for another API.

Many providers that rotate refresh tokens narrow the new one to what that refresh asked for (RFC 6749, section 6, says
that its scope is the old one's). So a side request is sent only where the provider is known or shown to keep the
refresh token whole, or where the configuration says that it does.
"""

from dataclasses import replace
from typing import Final

from auth_agent.config import ALLOW
from auth_agent.oauth.manners import Manners
from auth_agent.oauth.outcome import TokenResponse
from auth_agent.oauth.scope import UNLISTED, missing
from auth_agent.sessions.state import MAIN, Credentials, TokenKey

# Refreshes in a row that brought no other refresh token, after which the provider counts as one that does not rotate;
# and the count of one that took scopes from the session once.
SHOWN: Final = 2
NARROWS: Final = -1


def is_allowed(configured: str | None, credentials: Credentials, manners: Manners) -> bool:
    """Return whether a side request costs the session nothing; `configured` is the account's `side_requests`."""
    if not credentials.grant_type.has_refresh_token:
        return True
    if configured is not None:
        return configured == ALLOW
    if manners.keeps_refresh_token:
        return not credentials.lost_scope  # what is known of a provider may be wrong of its version
    return credentials.same_refresh_tokens >= SHOWN


def after_login(credentials: Credentials, former: Credentials | None) -> Credentials:
    """Return a login's credentials, with the memory that this client's provider took scopes from a session before."""
    if former is None or former.same_refresh_tokens != NARROWS:
        return credentials
    is_same = former.is_bound_to(credentials.issuer, credentials.client_id)
    return replace(credentials, same_refresh_tokens=NARROWS) if is_same else credentials


def after_refresh(credentials: Credentials, response: TokenResponse, key: TokenKey, *, rotated: bool) -> Credentials:
    """Return the credentials with what the response to a refresh shows of the provider, and of the session's scopes.

    The login's response says which scopes the session had. Some providers leave out scopes about the user, or rename
    them: these don't count. A response that lists none is no difference.

    Args:
        credentials: the session's.
        response: the response.
        key: the token that the refresh was for.
        rotated: whether it brought another refresh token.

    """
    same, lost = 0 if rotated else min(credentials.same_refresh_tokens + 1, SHOWN), credentials.lost_scope
    if key == MAIN and credentials.granted_scope is not None and response.scope is not None:
        lacking = missing(set(credentials.granted_scope.split()) - UNLISTED, response.scope)
        lost = " ".join(name for name in lacking if name not in UNLISTED)  # a list with commas may have them, too
    if lost or credentials.same_refresh_tokens == NARROWS:
        same = NARROWS  # whatever it does later
    return replace(credentials, same_refresh_tokens=same, lost_scope=lost)
