"""Whether what a provider granted may be used for the login that asked for it."""

from dataclasses import replace

from auth_agent.config import CLIENT_CREDENTIALS
from auth_agent.oauth import id_token
from auth_agent.oauth.outcome import AnotherUser, Failure, Lost, Refused, TokenReply, Unusable
from auth_agent.sessions.state import Login


def accept(login: Login, reply: TokenReply) -> Login | Failure:
    """The login as the reply to a refresh leaves it, or why the reply can't be used.

    Checks that it is the same issuer, client and subject as before (OpenID Connect Core 1.0, section 12.2), and that
    a JWT access token is for the login's audience: Auth0 may answer with its default one.
    """
    if reply.access_token is None:
        return Lost("the provider's reply held no access token")
    if login.audience is not None:
        found = id_token.claims(reply.access_token)
        if found is not None and not id_token.names_audience(found, login.audience):
            return Refused(f"the provider granted a token for another audience than {login.audience}; log in for it")
    if login.grant == CLIENT_CREDENTIALS:
        return login  # there is no user to speak of, and the secret gets the next token (RFC 6749, section 4.4.3)
    login = replace(login, refresh_token=reply.refresh_token or login.refresh_token)
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
    return replace(login, subject=subject, name=id_token.display_name(claims) or login.name, id_token=reply.id_token)
