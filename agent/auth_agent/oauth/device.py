"""A login on another device, without I/O: RFC 8628."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from auth_agent.oauth.lifetimes import parse_lifetime
from auth_agent.oauth.outcome import (
    DoubtfulRefusal,
    Failure,
    FlowNotAllowed,
    PolicyRefusal,
    Refusal,
    TokenResponse,
    Transient,
    Unusable,
)
from auth_agent.oauth.requests import error_fields, parse_token_response, read_token
from auth_agent.oauth.resource import RESOURCE
from auth_agent.oauth.token_request import TokenRequest
from auth_agent.printable import printable
from auth_agent.secret import Secret
from auth_agent.urls import InvalidURLError, check_url

_GRANT_TYPE: Final = "urn:ietf:params:oauth:grant-type:device_code"

# Seconds: the default interval (section 3.2), and what `slow_down` adds to it (section 3.5).
_INTERVAL: Final = 5.0
_SLOW_DOWN: Final = 5.0
# Upper bounds, in seconds, whatever a provider says: a person waits no longer.
_MAX_INTERVAL: Final = 60.0
_MAX_LIFETIME: Final = 3600.0
_MAX_CODE: Final = 64
# Entra's `error_codes` where conditional access wants a managed device, another app or place, or no device flow at all.
_POLICY_CODES: Final = frozenset({50097, 50131, 53000, 53001, 53002, 53003, 53009, 530003})
# GitHub's; and what others say of a client that may not use this grant.
_DISABLED: Final = "device_flow_disabled"
_NOT_ALLOWED: Final = ("unauthorized_client", "unsupported_grant_type")


@dataclass(frozen=True, slots=True)
class DeviceAuthorization:
    """A device authorization response (section 3.2); `lifetime` and `interval` are in seconds."""

    device_code: Secret
    user_code: str
    verification_uri: str
    verification_uri_complete: str | None
    lifetime: float
    interval: float


class AuthorizationPending(Transient):
    """The person has not finished the login yet (`authorization_pending`)."""

    __slots__ = ()


class SlowDown(AuthorizationPending):
    """The person has not finished the login yet, and the agent polled too often (`slow_down`)."""

    __slots__ = ()


class CodeExpired(Failure):
    """The person did not finish the login in time (`expired_token`)."""

    __slots__ = ()


def parse_device_authorization(
    status: int,
    headers: Mapping[str, str],
    body: bytes,
    now: float,
    presented: tuple[Secret, ...] = (),
    issuer: str | None = None,
) -> DeviceAuthorization | Failure:
    """Parse a device authorization response of that issuer; other arguments are those of `parse_token_response`."""
    fields = error_fields(body)
    device_code, user_code = (
        read_token(fields.get("device_code")),
        printable(fields.get("user_code"), _MAX_CODE).strip(),
    )
    # Google calls it `verification_url`.
    address = fields.get("verification_uri", fields.get("verification_url"))
    if fields.get("error") or device_code is None:
        outcome = parse_token_response(status, headers, body, now, presented)
        failure = outcome if isinstance(outcome, Failure) else Unusable("the provider's response has no device_code")
        return _by_policy(fields, failure)
    if not user_code or not isinstance(address, str):
        return Unusable("the provider's response has no user_code or no verification_uri")
    try:
        check_url(address, issuer)
    except InvalidURLError as error:
        return Unusable(f"the provider's verification_uri: {error}")
    return DeviceAuthorization(
        device_code=device_code,
        user_code=user_code,
        verification_uri=address,
        verification_uri_complete=_complete_url(fields.get("verification_uri_complete"), issuer),
        lifetime=min(parse_lifetime(fields.get("expires_in")) or _MAX_LIFETIME, _MAX_LIFETIME),
        interval=min(parse_lifetime(fields.get("interval")) or _INTERVAL, _MAX_INTERVAL),
    )


def _complete_url(value: object, issuer: str | None) -> str | None:
    """Return `verification_uri_complete` if it can be used: it is optional (section 3.2), since the code is shown."""
    try:
        return value if isinstance(value, str) and check_url(value, issuer) else None
    except InvalidURLError:
        return None


def parse_poll_response(
    status: int, headers: Mapping[str, str], body: bytes, now: float, presented: tuple[Secret, ...] = ()
) -> TokenResponse | Failure:
    """Parse the response to a device access token request (section 3.5).

    Only `error` counts: Auth0 sends 403 where the RFC has 400, and `slow_down` with 429. Any error but these two and
    those that pass by themselves ends the login.
    """
    fields = error_fields(body)
    error = fields.get("error")
    if error == "authorization_pending":
        return AuthorizationPending("the login is not complete yet")
    if error == "slow_down":
        return SlowDown("the login is not complete yet, and the agent polled too often")
    if error == "expired_token":
        return CodeExpired("the code expired before anybody entered it")
    outcome = parse_token_response(status, headers, body, now, presented)
    is_definite = error == "access_denied" or (isinstance(error, str) and isinstance(outcome, DoubtfulRefusal))
    if is_definite and isinstance(outcome, Failure):
        outcome = Refusal(outcome.reason)
    return _by_policy(fields, outcome) if isinstance(outcome, Failure) else outcome


def _by_policy(fields: Mapping[str, object], failure: Failure) -> Failure:
    """Return the failure of a login on another device; if another way to log in may remain, as one that says so.

    By codes alone: a description is for people.
    """
    codes = fields.get("error_codes")
    is_policy = isinstance(codes, list) and any(code in _POLICY_CODES for code in codes if isinstance(code, int))  # pyright: ignore[reportUnknownVariableType] -- any list from outside
    error = fields.get("error")
    if failure.refresh_token is not None:
        return failure
    if is_policy or error == _DISABLED:
        return PolicyRefusal(failure.reason)
    return FlowNotAllowed(failure.reason) if error in _NOT_ALLOWED else failure


def device_request(device_code: Secret, resource: str | None = None) -> TokenRequest:
    """Return a device access token request, with which the agent polls (section 3.4).

    `resource` is that of the device authorization request.
    """
    return TokenRequest(_GRANT_TYPE, {"device_code": device_code}, {RESOURCE: resource}, parse=parse_poll_response)


def next_interval(interval: float, outcome: Failure) -> float:
    """Return the seconds to wait before the next poll, after that outcome (section 3.5)."""
    if isinstance(outcome, SlowDown):
        return min(interval + _SLOW_DOWN, _MAX_INTERVAL)
    if isinstance(outcome, AuthorizationPending):
        return interval
    return min(interval * 2, _MAX_INTERVAL)  # the provider can't be reached, or has an error: back off
