"""Parses responses of the UserInfo endpoint (OpenID Connect Core 1.0, section 5.3), without I/O."""

from collections.abc import Mapping
from dataclasses import dataclass
from http import HTTPStatus
from typing import Final

from auth_agent.json_object import JsonObjectError, read_object
from auth_agent.oauth import id_token
from auth_agent.oauth.outcome import Busy, Failure, Refusal, Rejected, Unusable
from auth_agent.oauth.requests import retry_after
from auth_agent.printable import printable
from auth_agent.secret import Secret
from auth_agent.urls import is_same_issuer
from auth_agent_client.messages import is_json

# Claims about the ID token and the login, not about the user (Core 1.0, sections 2 and 3.1.3.6, and others).
_TOKEN_CLAIMS: Final = frozenset(
    {
        *("iss", "aud", "exp", "iat", "nbf", "jti", "nonce", "auth_time", "acr", "amr", "azp", "sid", "rat"),
        *("at_hash", "c_hash", "s_hash", "session_expiry"),
    }
)
# `{"` in base64.
_JWT_BEGINNING: Final = b"eyJ"
# The provider may answer otherwise in a moment.
_PASSING: Final = (HTTPStatus.REQUEST_TIMEOUT, HTTPStatus.TOO_EARLY, HTTPStatus.TOO_MANY_REQUESTS)


def claims_of_the_user(claims: Mapping[str, object]) -> dict[str, object]:
    """Return those claims of an ID token that are about the user."""
    return {claim: value for claim, value in claims.items() if claim not in _TOKEN_CLAIMS}


@dataclass(frozen=True, slots=True)
class SignedUserInfo:
    """A UserInfo response that is a JWT; its signature is not checked yet."""

    token: Secret


def parse_userinfo(
    status: int, headers: Mapping[str, str], body: bytes, now: float, *, is_openid: bool = True
) -> dict[str, object] | SignedUserInfo | Failure:
    """Return the claims in a UserInfo response (section 5.3.2), or why there are none.

    The claims have a `sub`; the caller must check that it is the session's user. A provider of OAuth 2 alone may have
    another name for it: then there is none.

    Args:
        status: the HTTP status.
        headers: by lower-case name.
        body: all of it.
        now: Unix time in seconds; a `Retry-After` date is relative to it if the response has no `Date`.
        is_openid: whether the provider is one of OpenID Connect.

    """
    if status == HTTPStatus.UNAUTHORIZED:
        return Rejected("the provider's UserInfo endpoint does not take the session's access token (HTTP 401)")
    if status == HTTPStatus.FORBIDDEN:
        return Refusal("the session's access token is not for the provider's UserInfo endpoint (HTTP 403)")
    if status != HTTPStatus.OK and status < HTTPStatus.INTERNAL_SERVER_ERROR and status not in _PASSING:
        return Refusal(f"the provider's UserInfo endpoint answered HTTP {status}")
    if status != HTTPStatus.OK:
        return Busy(f"the provider's UserInfo endpoint answered HTTP {status}", retry_after(headers, now))
    if headers.get("content-type", "").partition(";")[0].strip().lower() == "application/jwt" or _is_jwt(body):
        return _signed(body)
    try:
        claims = read_object(body)
    except JsonObjectError as error:
        return Unusable(f"the provider's UserInfo {error}")
    if not is_openid and "sub" not in claims and "error" not in claims and is_json(claims):
        return claims
    return _checked(claims)


def signed_claims(token: Secret, issuer: str, client_id: str) -> dict[str, object] | Failure:
    """Return the claims of a signed UserInfo response, or why they must not be used; the signature is not checked.

    It should say who made it, and for whom (section 5.3.2).
    """
    claims = id_token.claims(token)
    if claims is None:
        return Unusable("the provider's UserInfo is encrypted, or not a valid JWT")
    if "iss" in claims and not is_same_issuer(claims["iss"], issuer):
        return Unusable(f"the provider's UserInfo is another issuer's, {printable(claims['iss'])!r}")
    if "aud" in claims and not id_token.names_audience(claims, client_id):
        return Unusable("the provider's UserInfo is meant for another client")
    return _checked(claims_of_the_user(claims))


def _is_jwt(body: bytes) -> bool:
    """Whether the body is a JWT, whatever its content type: no JSON object begins as the header of a JWT does."""
    return body.lstrip().startswith(_JWT_BEGINNING)


def _signed(body: bytes) -> SignedUserInfo | Unusable:
    token = body.strip()
    if token.isascii() and token.decode("ascii").isprintable():
        return SignedUserInfo(Secret(token.decode("ascii")))
    return Unusable("the provider's UserInfo is not a valid JWT")


def _checked(claims: dict[str, object]) -> dict[str, object] | Unusable:
    if id_token.subject(claims) is None:
        return Unusable(id_token.subject_problem(claims, "the provider's UserInfo"))
    if not is_json(claims):
        return Unusable("the provider's UserInfo holds what can't be passed on")
    return claims
