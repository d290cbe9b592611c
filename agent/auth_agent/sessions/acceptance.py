"""Checks whether a token response may be used for the session that requested it."""

from collections.abc import Mapping
from dataclasses import replace
from types import MappingProxyType

from auth_agent.host.clock import Moment
from auth_agent.oauth import id_token
from auth_agent.oauth.asked import Required, names_organization, refresh_problem
from auth_agent.oauth.entra import Tenant, issuers_for, tenant_of
from auth_agent.oauth.outcome import (
    AnotherUser,
    Failure,
    Lost,
    Refusal,
    SessionOver,
    TokenResponse,
    Unsupported,
    Unusable,
)
from auth_agent.oauth.scope import NOT_OF_TOKENS, further, missing
from auth_agent.printable import printable
from auth_agent.secret import Secret
from auth_agent.sessions.session_end import is_reached, lower_ceiling, next_refresh_token_end
from auth_agent.sessions.state import MAIN, Credentials, TokenKey


def accept(
    credentials: Credentials,
    response: TokenResponse,
    sent: Moment,
    key: TokenKey = MAIN,
    required: Required = MappingProxyType({}),
    organization: str | None = None,
) -> Credentials | Failure:
    """Return the credentials after a refresh with this response, or the reason why it can't be used.

    Checks that issuer, client and subject are the same as before (OpenID Connect Core 1.0, section 12.2), and that the
    access token is the requested one: if it is a JWT, it must be for the audience of `key`, since Auth0 may answer with
    one for its default audience; if the provider lists the granted scopes, they must be those of `key`, or more.
    `sent` is when the request was sent; `required` is what the account requires of the ID token's claims, and
    `organization` the one that its logins ask for: older agents did not store that of a session.

    Another difference from the ID token before costs the session nothing: that one is kept.
    """
    if response.access_token is None:
        return Lost("the provider's response has no access token")
    if response.is_single_use and key == MAIN:
        return Unsupported("the provider issues tokens for one use, which are no access tokens")
    problem = _token_problem(credentials, response, key)
    if problem is not None:
        return Refusal(problem)
    if not credentials.grant_type.has_user:
        return credentials  # there is no ID token to check
    credentials = replace(
        credentials,
        refresh_token=response.refresh_token or credentials.refresh_token,
        ends_access_token=credentials.ends_access_token or response.ends_access_token,
    )
    if credentials.refresh_token is not None:  # Keycloak sends its lifetime without it, too
        before, is_new = credentials.refresh_token_end, response.refresh_token is not None
        end = next_refresh_token_end(before, response.refresh_token_lifetime, sent.wall, is_new=is_new)
        credentials = replace(credentials, refresh_token_end=end)
    if response.id_token is None:
        return credentials
    former = (id_token.claims(credentials.id_token) if credentials.id_token is not None else None) or {}
    if credentials.organization is None and organization and names_organization(former, organization):
        credentials = replace(credentials, organization=organization)
    # What the token before left out still holds.
    return _with(credentials, response.id_token, {**former, **credentials.bound_claims}, sent, required)


def _with(
    credentials: Credentials, token: Secret, former: Mapping[str, object], sent: Moment, required: Required
) -> Credentials | Failure:
    """Return the credentials with an ID token, or why it can't be used; `former`: the claims of those before."""
    claims = id_token.claims(token)
    if claims is None:
        return Unusable("the provider's ID token is not a valid JWT")
    tenant = credentials.tenant or tenant_of(claims, issuers_for(credentials.issuer))
    mismatch = _mismatch(claims, credentials, tenant)
    if mismatch is not None:
        return Unusable(mismatch)
    subject = id_token.subject(claims)
    if credentials.subject is not None and subject != credentials.subject:
        return AnotherUser("another_user: the provider responded with a token of another user")
    elsewhere = refresh_problem(claims, credentials.organization, required)
    if elsewhere is not None:
        return AnotherUser(elsewhere)
    credentials = replace(credentials, ceiling=lower_ceiling(credentials.ceiling, id_token.session_expiry(claims)))
    difference = id_token.difference(former, claims, credentials.client_id, sent.wall)
    if difference is not None:
        return replace(credentials, id_token_problem=difference)
    return replace(
        credentials,
        subject=subject,
        tenant=tenant,
        name=id_token.display_name(claims) or credentials.name,
        id_token=token,
        id_token_problem="",
        bound_claims=MappingProxyType({**id_token.bound_claims(former), **id_token.bound_claims(claims)}),
        acr=id_token.acr(claims) or credentials.acr,
    )


def _mismatch(claims: Mapping[str, object], credentials: Credentials, tenant: Tenant | None) -> str | None:
    """Return why an ID token is another session's, None if it isn't."""
    if tenant is None and issuers_for(credentials.issuer):
        return f"the ID token's issuer is {printable(claims.get('iss'))!r}, which is not that of a tenant (tid)"
    issuer = credentials.issuer if tenant is None else tenant.issuer
    mismatch = id_token.mismatch(claims, issuer, credentials.client_id)
    if mismatch is None and tenant is not None and claims.get("tid") != tenant.tid:
        return f"the ID token's tenant (tid) is {printable(claims.get('tid'))!r}, not {tenant.tid!r}"
    return mismatch


def over_already(credentials: Credentials, time: float) -> SessionOver | None:
    """Return why accepted credentials can't begin a session at that Unix time: their ceiling is reached; else None."""
    if not is_reached(credentials.ceiling, time):
        return None
    return SessionOver("the session that the provider granted ends now, or has ended already (session_expiry)")


def _token_problem(credentials: Credentials, response: TokenResponse, key: TokenKey) -> str | None:
    """Return how the access token differs from the requested one; None if it doesn't, as far as the agent can tell."""
    audience = credentials.audience if key.audience is None else key.audience
    claims = None if audience is None or response.access_token is None else id_token.claims(response.access_token)
    if audience is not None and claims is not None and not id_token.names_no_other_audience(claims, audience):
        reason = f"the provider granted a token for another audience than {audience}"
        return reason if key.audience is None else f"{reason}: this session can't get tokens for that API"
    if response.scope is None:
        return None
    lacking = missing(set(key.scope.split()) - NOT_OF_TOKENS, response.scope)
    if lacking:
        return f"the provider granted a token without the scope {printable(' '.join(lacking))}"
    more = further(key.scope.split(), response.scope) if key.only else ()
    return f"the provider granted a token with the scope {printable(' '.join(more))} besides" if more else None
