"""Whether what a provider granted may be used for the login that asked for it."""

from dataclasses import replace
from typing import Final

from auth_agent.host.clock import Moment
from auth_agent.oauth import id_token
from auth_agent.oauth.outcome import AnotherUser, Failure, Lost, Refusal, TokenResponse, Unusable
from auth_agent.printable import printable
from auth_agent.sessions.state import MAIN, Credentials, TokenKey

# What they ask for is no part of an access token, so a provider need not name them as granted with one.
_NOT_OF_TOKENS: Final = frozenset({"openid", "offline_access"})


def accept(
    credentials: Credentials, response: TokenResponse, sent: Moment, key: TokenKey = MAIN
) -> Credentials | Failure:
    """The login as the reply to a refresh leaves it, or why the reply can't be used.

    Checks that it is the same issuer, client and subject as before (OpenID Connect Core 1.0, section 12.2), and that
    the access token is what was asked for by that key: a JWT for the audience, since Auth0 may answer with its default
    one, and with the scopes, as far as the provider names them. `sent` is when the reply was asked for.
    """
    if response.access_token is None:
        return Lost("the provider's reply held no access token")
    problem = _token_problem(credentials, response, key)
    if problem is not None:
        return Refusal(problem)
    if not credentials.grant_type.has_user:
        return credentials  # nobody, so there is nothing else to check
    credentials = replace(credentials, refresh_token=response.refresh_token or credentials.refresh_token)
    if response.session_lifetime is not None:
        credentials = replace(credentials, ends_at=sent.wall + response.session_lifetime)
    if response.id_token is None:
        return credentials
    claims = id_token.claims(response.id_token)
    if claims is None:
        return Unusable("the provider's ID token can't be read")
    wrong = id_token.mismatch(claims, credentials.issuer, credentials.client_id)
    if wrong is not None:
        return Unusable(wrong)
    subject = id_token.subject(claims)
    if credentials.subject is not None and subject != credentials.subject:
        return AnotherUser("another_user: the provider answered with the token of another user")
    ends_at = id_token.session_expiry(claims)
    if ends_at is not None and response.session_lifetime is not None and credentials.ends_at is not None:
        ends_at = min(ends_at, credentials.ends_at)
    return replace(
        credentials,
        subject=subject,
        name=id_token.display_name(claims) or credentials.name,
        id_token=response.id_token,
        ends_at=credentials.ends_at if ends_at is None else ends_at,
    )


def _token_problem(credentials: Credentials, response: TokenResponse, key: TokenKey) -> str | None:
    """How the access token differs from the one that was asked for; None: it doesn't, as far as it can be told."""
    audience = credentials.audience if key.audience is None else key.audience
    found = None if audience is None or response.access_token is None else id_token.claims(response.access_token)
    if audience is not None and found is not None and not id_token.names_audience(found, audience):
        what = f"the provider granted a token for another audience than {audience}"
        return what if key.audience is None else f"{what}: it serves this login for no such API"
    granted = None if response.scope is None else set(response.scope.split())
    missing = sorted(set(key.scope.split()) - (granted or set()) - _NOT_OF_TOKENS)
    if granted is not None and missing:
        return f"the provider granted a token without the scope {printable(' '.join(missing))}"
    return None
