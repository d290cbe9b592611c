"""What Auth0 does its own way, without I/O: how it is known, its logout page, and the Management API's two calls.

Those are the ones that a user's own token may make (Auth0's documentation, "Get Management API Tokens for Single-Page
Applications"): read the user, and update the `user_metadata`.
"""

from collections.abc import Mapping, Sequence
from http import HTTPStatus
from typing import Final
from urllib.parse import quote, urlencode, urlsplit

from auth_agent.json_object import JsonObjectError, is_portable, read_object
from auth_agent.oauth.outcome import Busy, Failure, Lost, Refusal, Rejected, Unusable
from auth_agent.oauth.quotation import without
from auth_agent.oauth.requests import MAX_RETRY_AFTER, retry_after
from auth_agent.printable import printable
from auth_agent.secret import Secret

# What a user's own token needs for the two calls.
READ: Final = "read:current_user"
UPDATE: Final = "update:current_user_metadata"
_FIRST_SERVER_ERROR: Final = 500
# Seconds until somebody who asked too often may ask again, where nothing is said of it.
_PATIENCE: Final = 2.0


class InsufficientScope(Refusal):
    """The token lacks a scope."""

    __slots__ = ()


def is_auth0(issuer: str, authorization_endpoint: str | None, token_endpoint: str) -> bool:
    """Whether a provider is Auth0, by where its endpoints are: a custom domain has no other name in common with it."""
    base = issuer.rstrip("/")
    return (
        urlsplit(base).path == ""
        and authorization_endpoint == f"{base}/authorize"
        and token_endpoint == f"{base}/oauth/token"
    )


def logout_url(issuer: str, client_id: str) -> str:
    """The page that ends the browser's session (Auth0's Authentication API, "Logout")."""
    return f"{issuer.rstrip('/')}/v2/logout?{urlencode({'client_id': client_id})}"


# ---- the Management API


def management_audience(issuer: str) -> str:
    """The audience of the Management API, where the issuer is the tenant's own domain."""
    return f"{issuer.rstrip('/')}/api/v2/"


def user_url(issuer: str, subject: str, fields: Sequence[str] = ()) -> str:
    """Where that user is; with `fields`, as much of it as these.

    That is at the domain which issued the token, be it a custom one, whatever the audience is called: another one
    takes it for invalid (Auth0 Support, "Access Token Rejected When Calling Auth0 APIs").
    """
    query = f"?{urlencode({'fields': ','.join(fields), 'include_fields': 'true'})}" if fields else ""
    return f"{issuer.rstrip('/')}/api/v2/users/{quote(subject, safe='')}{query}"


def parse_user(
    status: int, headers: Mapping[str, str], body: bytes, now: float, presented: Secret
) -> dict[str, object] | Failure:
    """The user that the Management API answered with, or why there is none.

    The texts of its errors (`{"statusCode", "error", "message", "errorCode"}`) are for people; its codes count.

    Args:
        status: the HTTP status.
        headers: by lower-case name.
        body: all of it.
        now: Unix time in seconds, for a time at which a limit ends.
        presented: the access token that was sent, which is not shown should a text quote it.

    """
    try:
        found = read_object(body)
    except JsonObjectError:
        found = None
    if status == HTTPStatus.OK:
        if found is None or not is_portable(found):
            return Lost("the Management API's answer can't be read")
        return found
    said = printable(without((found or {}).get("message"), (presented,))) or f"HTTP {status}"
    code = printable((found or {}).get("errorCode"), 64)
    reason = f"the Management API says: {said}"
    if status == HTTPStatus.TOO_MANY_REQUESTS:
        return Busy(reason, retry_after(headers, now) or _until_reset(headers, now) or _PATIENCE)
    if status >= _FIRST_SERVER_ERROR or HTTPStatus.MULTIPLE_CHOICES <= status < HTTPStatus.BAD_REQUEST:
        return Busy(reason, retry_after(headers, now))
    if status == HTTPStatus.UNAUTHORIZED:
        return Rejected(reason)
    if code == "insufficient_scope":
        return InsufficientScope(reason)
    if code == "Bearer":  # what it says of a token that is no JWT
        return Refusal(f"{reason}: the access token is not for this API")
    return Unusable(f"{code}: {said}" if code else reason)


def _until_reset(headers: Mapping[str, str], now: float) -> float | None:
    """Seconds until Auth0's limit counts anew (`x-ratelimit-reset`, Unix time), None where it isn't said."""
    value = headers.get("x-ratelimit-reset", "").strip()
    if not (value.isascii() and value.isdigit()):
        return None
    return min(max(float(value[:12]) - now, 0.0), MAX_RETRY_AFTER)
