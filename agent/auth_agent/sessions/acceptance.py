"""Whether what a provider granted may be used for the login that asked for it."""

from dataclasses import replace
from typing import Final

from auth_agent.host.clock import Moment
from auth_agent.oauth import id_token
from auth_agent.oauth.outcome import AnotherUser, Failure, Lost, Refused, TokenReply, Unusable
from auth_agent.printable import printable
from auth_agent.sessions.state import MAIN, Login, TokenKey

# What they ask for is no part of an access token, so a provider need not name them as granted with one.
_NOT_OF_TOKENS: Final = frozenset({"openid", "offline_access"})


def accept(login: Login, reply: TokenReply, sent: Moment, key: TokenKey = MAIN) -> Login | Failure:
    """The login as the reply to a refresh leaves it, or why the reply can't be used.

    Checks that it is the same issuer, client and subject as before (OpenID Connect Core 1.0, section 12.2), and that
    the access token is what was asked for by that key: a JWT for the audience, since Auth0 may answer with its default
    one, and with the scopes, as far as the provider names them. `sent` is when the reply was asked for.
    """
    if reply.access_token is None:
        return Lost("the provider's reply held no access token")
    problem = _token_problem(login, reply, key)
    if problem is not None:
        return Refused(problem)
    if not login.grant_type.has_user:
        return login  # nobody, so there is nothing else to check
    login = replace(login, refresh_token=reply.refresh_token or login.refresh_token)
    if reply.session_lifetime is not None:
        login = replace(login, ends_at=sent.wall + reply.session_lifetime)
    if reply.id_token is None:
        return login
    claims = id_token.claims(reply.id_token)
    if claims is None:
        return Unusable("the provider's ID token can't be read")
    wrong = id_token.mismatch(claims, login.issuer, login.client_id)
    if wrong is not None:
        return Unusable(wrong)
    subject = id_token.subject(claims)
    if login.subject is not None and subject != login.subject:
        return AnotherUser("another_user: the provider answered with the token of another user")
    ends_at = id_token.session_expiry(claims)
    if ends_at is not None and reply.session_lifetime is not None and login.ends_at is not None:
        ends_at = min(ends_at, login.ends_at)
    return replace(
        login,
        subject=subject,
        name=id_token.display_name(claims) or login.name,
        id_token=reply.id_token,
        ends_at=login.ends_at if ends_at is None else ends_at,
    )


def _token_problem(login: Login, reply: TokenReply, key: TokenKey) -> str | None:
    """How the access token differs from the one that was asked for; None: it doesn't, as far as it can be told."""
    audience = login.audience if key.audience is None else key.audience
    found = None if audience is None or reply.access_token is None else id_token.claims(reply.access_token)
    if audience is not None and found is not None and not id_token.names_audience(found, audience):
        what = f"the provider granted a token for another audience than {audience}"
        return what if key.audience is None else f"{what}: it serves this login for no such API"
    granted = None if reply.scope is None else set(reply.scope.split())
    missing = sorted(set(key.scope.split()) - (granted or set()) - _NOT_OF_TOKENS)
    if granted is not None and missing:
        return f"the provider granted a token without the scope {printable(' '.join(missing))}"
    return None
