"""Parses responses of the UserInfo endpoint (OpenID Connect Core 1.0, section 5.3), without I/O."""

from collections.abc import Mapping
from http import HTTPStatus
from typing import Final

from auth_agent.json_object import JsonObjectError, read_object
from auth_agent.oauth.id_token import subject
from auth_agent.oauth.outcome import Busy, Failure, Refusal, Rejected, Unusable
from auth_agent.oauth.requests import retry_after
from auth_agent_client.messages import is_json

# Claims about the ID token and the login, not about the user (Core 1.0, sections 2 and 3.1.3.6, and others).
_TOKEN_CLAIMS: Final = frozenset(
    {
        *("iss", "aud", "exp", "iat", "nbf", "jti", "nonce", "auth_time", "acr", "amr", "azp", "sid", "rat"),
        *("at_hash", "c_hash", "s_hash", "session_expiry"),
    }
)


def claims_of_the_user(claims: Mapping[str, object]) -> dict[str, object]:
    """Return those claims of an ID token that are about the user."""
    return {claim: value for claim, value in claims.items() if claim not in _TOKEN_CLAIMS}


def parse_userinfo(status: int, headers: Mapping[str, str], body: bytes, now: float) -> dict[str, object] | Failure:
    """Return the claims in a UserInfo response (section 5.3.2), or why there are none.

    The claims have a `sub`; the caller must check that it is the session's user.

    Args:
        status: the HTTP status.
        headers: by lower-case name.
        body: all of it.
        now: Unix time in seconds; a `Retry-After` date is relative to it if the response has no `Date`.

    """
    if status == HTTPStatus.UNAUTHORIZED:
        return Rejected("the provider's UserInfo endpoint does not take the session's access token (HTTP 401)")
    if status == HTTPStatus.FORBIDDEN:
        return Refusal("the session's access token is not for the provider's UserInfo endpoint (HTTP 403)")
    if status != HTTPStatus.OK:
        return Busy(f"the provider's UserInfo endpoint answered HTTP {status}", retry_after(headers, now))
    if headers.get("content-type", "").partition(";")[0].strip().lower() == "application/jwt":
        return Unusable("the provider's UserInfo endpoint answers with signed tokens, which are not read here")
    try:
        claims = read_object(body)
    except JsonObjectError as error:
        return Unusable(f"the provider's UserInfo {error}")
    if subject(claims) is None:
        return Unusable("the provider's UserInfo names no subject")
    if not is_json(claims):
        return Unusable("the provider's UserInfo holds what can't be passed on")
    return claims
