"""What a token endpoint answers, and the forms of the endpoints beside it, without I/O.

The `error` field is the truth, not the HTTP status: providers send `invalid_grant` with 400, 401 and 403.
"""

import email.utils
from collections.abc import Mapping
from datetime import UTC
from typing import Final, TypeGuard

from auth_agent.json_object import JsonObjectError, read_object
from auth_agent.oauth.outcome import (
    Busy,
    Failure,
    InteractionRequired,
    InvalidGrant,
    Lost,
    Misconfigured,
    Refusal,
    TokenResponse,
    Transient,
    UnexplainedRefusal,
)
from auth_agent.oauth.quotation import without
from auth_agent.printable import printable
from auth_agent.secret import Secret

# A provider may ask for patience, within what a person would have.
MAX_RETRY_AFTER: Final = 600.0
# Ten years: "for ever", in numbers that every clock's arithmetic and every client can hold.
MAX_LIFETIME: Final = 315_360_000.0

_GRANTED = range(200, 300)  # 200 by the RFC; what was granted with another one of these counts all the same
_REDIRECTS = range(300, 400)
_UNCLEAR = (400, 401, 403)
_TOO_MANY_REQUESTS = 429
# A gateway speaks for a provider that may well have done its work.
_GATEWAYS = (502, 504)

_ENDED = frozenset({"invalid_grant"})
_MISCONFIGURED = frozenset(
    {"invalid_client", "unauthorized_client", "unsupported_grant_type", "invalid_request", "invalid_dpop_proof"}
)
# What an account says of how its client authenticates.
_OF_THE_CLIENT: Final = ("client_id", "token_endpoint_auth_method")
_REFUSED = frozenset({"invalid_target", "invalid_scope", "access_denied"})
# OpenID Connect Core 1.0, section 3.1.2.6, and Auth0's.
_INTERACTION = frozenset(
    {"interaction_required", "login_required", "consent_required", "account_selection_required", "mfa_required"}
)


# ---- what is asked; `Client.authenticate` adds who asks


def device_form(scope: str, audience: str | None) -> dict[str, str]:
    """The form that begins a login on another device (RFC 8628, section 3.1); `audience` is Auth0's."""
    return _wanted(scope, audience)


def revocation_form(refresh_token: Secret) -> dict[str, str]:
    """The form of a revocation (RFC 7009, section 2.1)."""
    return {"token": refresh_token.reveal(), "token_type_hint": "refresh_token"}


def _wanted(scope: str, audience: str | None) -> dict[str, str]:
    return {name: value for name, value in (("scope", scope), ("audience", audience)) if value}


# ---- what is answered


def parse_token_response(
    status: int, headers: Mapping[str, str], body: bytes, now: float, presented: tuple[Secret, ...] = ()
) -> TokenResponse | Failure:
    """What a token endpoint's answer means.

    Args:
        status: the HTTP status.
        headers: by lower-case name.
        body: all of it.
        now: Unix time in seconds, for a `Retry-After` that is a date.
        presented: the secrets that were sent, which the provider may quote in its texts; they are shown without.

    """
    fields = error_fields(body)
    error = fields.get("error")
    if isinstance(error, str) and error:
        return failure_of_error(error, fields.get("error_description"), status, retry_after(headers, now), presented)
    if status in _GRANTED:
        reply = _token_response(fields)
        return reply if reply is not None else Lost("the provider's reply can't be read")
    if status in _GATEWAYS:
        return Lost(f"a gateway answered for the provider (HTTP {status})")
    if status in _UNCLEAR:
        return UnexplainedRefusal(f"the provider refused and did not say why (HTTP {status})")
    if status in _REDIRECTS:
        return Busy(f"the provider answered with a redirect (HTTP {status}), which is never followed here")
    return Busy(f"the provider answered HTTP {status}", retry_after(headers, now))


def error_fields(body: bytes) -> dict[str, object]:
    """The members of an answer; none, where it is no JSON object."""
    try:
        return read_object(body)
    except JsonObjectError:
        return {}


def failure_of_error(
    error: str,
    description: object = None,
    status: int = 400,
    wait: float | None = None,
    presented: tuple[Secret, ...] = (),
) -> Failure:
    """What a provider's `error` means.

    Args:
        error: as it said.
        description: what it said besides, of any kind.
        status: the HTTP status, where there is one.
        wait: how long it wants to be left alone, in seconds, if it said so.
        presented: the secrets that it was sent, and may quote; they are not shown.

    """
    shown, described = printable(without(error, presented), 64), printable(without(description, presented))
    reason = f"{shown}: {described}" if described else shown
    if status == _TOO_MANY_REQUESTS:
        return Busy(reason, wait)
    if error in _ENDED:
        return InvalidGrant(reason)
    if error == "invalid_client":
        return Misconfigured(reason, keys=_OF_THE_CLIENT)
    if error in _MISCONFIGURED:
        return Misconfigured(reason)
    if error in _REFUSED:
        return Refusal(reason)
    if error in _INTERACTION:
        return InteractionRequired(reason)
    if status in _GATEWAYS:
        return Lost(reason)
    # `server_error`, `temporarily_unavailable`, and what a provider made up: never the end of a session.
    return Busy(reason, wait) if wait is not None else Transient(reason)


def _token_response(fields: Mapping[str, object]) -> TokenResponse | None:
    access_token = read_token(fields.get("access_token"))
    refresh_token = read_token(fields.get("refresh_token"))
    if access_token is None and refresh_token is None:
        return None
    token_type, scope = fields.get("token_type"), fields.get("scope")
    return TokenResponse(
        access_token=access_token,
        # Required by RFC 6749, section 5.1, and left out by some all the same.
        token_type=token_type if _is_scheme(token_type) else "Bearer",
        lifetime=parse_lifetime(fields.get("expires_in")),
        refresh_token=refresh_token,
        scope=printable(scope, 4096) if isinstance(scope, str) else None,
        id_token=read_token(fields.get("id_token")),
        session_lifetime=_session_lifetime(fields),
    )


def _session_lifetime(fields: Mapping[str, object]) -> float | None:
    """How long the refresh token lasts, where the provider says so: by Google's name for it, or Keycloak's."""
    for name in ("refresh_token_expires_in", "refresh_expires_in"):
        lifetime = parse_lifetime(fields.get(name))
        if lifetime is not None:
            return lifetime
    return None


def _is_scheme(value: object) -> TypeGuard[str]:
    """Whether it can be the scheme of an `Authorization` header: a token (RFC 9110, section 5.6.2)."""
    return isinstance(value, str) and value != "" and value.isascii() and value.replace("-", "").isalnum()


def read_token(value: object) -> Secret | None:
    """A token is of visible characters (RFC 6749, appendix A.12); anything else would forge a client's headers."""
    if isinstance(value, str) and value and value.isascii() and value.isprintable():
        return Secret(value)
    return None


def parse_lifetime(value: object) -> float | None:
    """`expires_in` in seconds, or None where it says nothing: absent, no number, or less than a second.

    Zero and less are no lifetimes: providers that send them mean "none", and a token that was taken at such a word
    could never be served.
    """
    if isinstance(value, str) and "_" not in value:  # Python reads "1_000" as a number, and nobody else does
        try:
            value = float(value)
        except ValueError:
            return None
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return None
    if not value >= 1:  # a NaN isn't
        return None
    return float(min(value, MAX_LIFETIME))


def retry_after(headers: Mapping[str, str], now: float) -> float | None:
    """`Retry-After` in seconds (RFC 9110, section 10.2.3: a number of seconds or a date), None where there is none.

    A date is meant by the clock of whoever sent it, which the answer's own `Date` tells. `headers` are by lower-case
    name, `now` is Unix time in seconds, for an answer without one.
    """
    value = headers.get("retry-after", "").strip()
    if not value:
        return None
    if value.isascii() and value.isdigit():
        seconds = float(value[:9])
    else:
        date, sent = _unix_time(value), _unix_time(headers.get("date", ""))
        if date is None:
            return None
        seconds = date - (now if sent is None else sent)
    return min(max(seconds, 0.0), MAX_RETRY_AFTER)


def _unix_time(text: str) -> float | None:
    """An HTTP date (RFC 9110, section 5.6.7), None where it is none."""
    try:
        date = email.utils.parsedate_to_datetime(text)
        # A date from "-0000" knows no zone; an HTTP date is in UTC.
        return (date if date.tzinfo else date.replace(tzinfo=UTC)).timestamp()
    except (ValueError, OverflowError):
        return None
