"""Who a provider says the user is, without I/O: the answer of its UserInfo endpoint (OpenID Connect Core 1.0, 5.3)."""

from collections.abc import Mapping
from http import HTTPStatus
from typing import Final

from auth_agent.json_object import JsonObjectError, is_portable, read_object
from auth_agent.oauth.id_token import subject
from auth_agent.oauth.outcome import Busy, Failure, Refusal, Rejected, Unusable
from auth_agent.oauth.requests import retry_after

# What an ID token says of itself, of the login, and of nobody's person (Core 1.0, section 2 and 3.1.3.6, and others).
_OF_THE_TOKEN: Final = frozenset(
    {
        *("iss", "aud", "exp", "iat", "nbf", "jti", "nonce", "auth_time", "acr", "amr", "azp", "sid", "rat"),
        *("at_hash", "c_hash", "s_hash", "session_expiry"),
    }
)


def claims_of_the_user(found: Mapping[str, object]) -> dict[str, object]:
    """What an ID token's claims say of the user."""
    return {claim: value for claim, value in found.items() if claim not in _OF_THE_TOKEN}


def parse_userinfo(status: int, headers: Mapping[str, str], body: bytes, now: float) -> dict[str, object] | Failure:
    """The claims that a UserInfo endpoint answered with (section 5.3.2), or why there are none.

    That they are the session's user's is for the caller to see: by `sub`, which is there.

    Args:
        status: the HTTP status.
        headers: by lower-case name.
        body: all of it.
        now: Unix time in seconds, for a `Retry-After` that is a date.

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
        found = read_object(body)
    except JsonObjectError as error:
        return Unusable(f"the provider's UserInfo {error}")
    if subject(found) is None:
        return Unusable("the provider's UserInfo names no subject")
    if not is_portable(found):
        return Unusable("the provider's UserInfo holds what can't be passed on")
    return found
