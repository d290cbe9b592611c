"""Auth0's peculiarities, without I/O: how it is detected, its logout page, and two calls of its Management API.

The two calls are those that a user's own token may make (Auth0's documentation, "Get Management API Tokens for
Single-Page Applications"): read the user, and update the `user_metadata`.
"""

from collections.abc import Mapping, Sequence
from http import HTTPStatus
from typing import Final
from urllib.parse import quote, urlencode, urlsplit

from auth_agent.json_object import JsonObjectError, read_object
from auth_agent.oauth.outcome import Busy, Failure, Lost, Refusal, Rejected, Unusable
from auth_agent.oauth.quotation import redact
from auth_agent.oauth.requests import MAX_RETRY_AFTER, retry_after
from auth_agent.printable import printable
from auth_agent.secret import Secret
from auth_agent_client.messages import is_json

# The scopes that a user's own token needs for the two calls.
READ: Final = "read:current_user"
UPDATE: Final = "update:current_user_metadata"
_FIRST_SERVER_ERROR: Final = 500
# Seconds to wait after a 429 that gives no time.
_DEFAULT_RETRY_AFTER: Final = 2.0


class InsufficientScope(Refusal):
    """The token lacks a scope."""

    __slots__ = ()


def is_auth0(issuer: str, authorization_endpoint: str | None, token_endpoint: str) -> bool:
    """Whether a provider is Auth0, judged by its endpoints' paths: nothing else identifies a custom domain."""
    base = issuer.rstrip("/")
    return (
        urlsplit(base).path == ""
        and authorization_endpoint == f"{base}/authorize"
        and token_endpoint == f"{base}/oauth/token"
    )


def logout_url(issuer: str, client_id: str) -> str:
    """Return the URL of the page that ends the browser's session (Auth0's Authentication API, "Logout")."""
    return f"{issuer.rstrip('/')}/v2/logout?{urlencode({'client_id': client_id})}"


# ---- the Management API


def management_audience(issuer: str) -> str:
    """Return the audience of the Management API, for an issuer that is the tenant's own domain."""
    return f"{issuer.rstrip('/')}/api/v2/"


def user_url(issuer: str, subject: str, fields: Sequence[str] = ()) -> str:
    """Return the URL of that user; with `fields`, of these members only.

    Its host is the one that issued the token, even a custom domain, whatever the audience is: any other host rejects
    the token (Auth0 Support, "Access Token Rejected When Calling Auth0 APIs").
    """
    query = f"?{urlencode({'fields': ','.join(fields), 'include_fields': 'true'})}" if fields else ""
    return f"{issuer.rstrip('/')}/api/v2/users/{quote(subject, safe='')}{query}"


def parse_user(
    status: int, headers: Mapping[str, str], body: bytes, now: float, presented: Secret
) -> dict[str, object] | Failure:
    """Return the user in a response of the Management API, or the failure that it reports.

    An error (`{"statusCode", "error", "message", "errorCode"}`) is classified by its codes; the message is for people.

    Args:
        status: the HTTP status.
        headers: by lower-case name.
        body: all of it.
        now: Unix time in seconds; `x-ratelimit-reset` is relative to it.
        presented: the access token that was sent; it is removed from a message that quotes it.

    """
    try:
        fields = read_object(body)
    except JsonObjectError:
        fields = None
    if status == HTTPStatus.OK:
        if fields is None or not is_json(fields):
            return Lost("the Management API's response can't be read")
        return fields
    message = printable(redact((fields or {}).get("message"), (presented,))) or f"HTTP {status}"
    code = printable((fields or {}).get("errorCode"), 64)
    reason = f"the Management API says: {message}"
    if status == HTTPStatus.TOO_MANY_REQUESTS:
        return Busy(reason, retry_after(headers, now) or _until_reset(headers, now) or _DEFAULT_RETRY_AFTER)
    if status >= _FIRST_SERVER_ERROR or HTTPStatus.MULTIPLE_CHOICES <= status < HTTPStatus.BAD_REQUEST:
        return Busy(reason, retry_after(headers, now))
    if status == HTTPStatus.UNAUTHORIZED:
        return Rejected(reason)
    if code == "insufficient_scope":
        return InsufficientScope(reason)
    if code == "Bearer":  # its code for a token that is not a JWT
        return Refusal(f"{reason}: the access token is not for this API")
    return Unusable(f"{code}: {message}" if code else reason)


def _until_reset(headers: Mapping[str, str], now: float) -> float | None:
    """Return the seconds until Auth0's rate limit resets (`x-ratelimit-reset`, Unix time), None if that is missing."""
    value = headers.get("x-ratelimit-reset", "").strip()
    if not (value.isascii() and value.isdigit()):
        return None
    return min(max(float(value[:12]) - now, 0.0), MAX_RETRY_AFTER)
