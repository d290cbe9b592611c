"""A login on another device, without I/O: RFC 8628."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from auth_agent.oauth.outcome import Failure, Refusal, TokenResponse, Transient, Unusable
from auth_agent.oauth.requests import error_fields, parse_lifetime, parse_token_response, read_token
from auth_agent.oauth.token_request import TokenRequest
from auth_agent.printable import printable
from auth_agent.secret import Secret
from auth_agent.urls import InvalidURLError, check_url

_GRANT_TYPE: Final = "urn:ietf:params:oauth:grant-type:device_code"

# Seconds: section 3.2, and what `slow_down` adds (section 3.5).
_INTERVAL: Final = 5.0
_SLOWER: Final = 5.0
# What a person can be expected to wait, whatever a provider says.
_MAX_INTERVAL: Final = 60.0
_MAX_LIFETIME: Final = 3600.0
_MAX_CODE: Final = 64


@dataclass(frozen=True, slots=True)
class DeviceAuthorization:
    """What a person is to do (section 3.2), and what is asked for meanwhile; `lifetime`, `interval` in seconds."""

    device_code: Secret
    user_code: str
    verification_uri: str
    verification_uri_complete: str | None
    lifetime: float
    interval: float


class AuthorizationPending(Transient):
    """Nobody has answered yet."""

    __slots__ = ()


class SlowDown(AuthorizationPending):
    """Nobody has answered yet, and it was asked too often."""

    __slots__ = ()


class CodeExpired(Failure):
    """Nobody answered in time."""

    __slots__ = ()


def parse_device_authorization(
    status: int, headers: Mapping[str, str], body: bytes, now: float, presented: tuple[Secret, ...] = ()
) -> DeviceAuthorization | Failure:
    """What the device authorization endpoint's answer means; the arguments are those of `parse_token_answer`."""
    fields = error_fields(body)
    device_code, user_code = (
        read_token(fields.get("device_code")),
        printable(fields.get("user_code"), _MAX_CODE).strip(),
    )
    # Google calls it `verification_url`.
    address = fields.get("verification_uri", fields.get("verification_url"))
    if fields.get("error") or device_code is None:
        outcome = parse_token_response(status, headers, body, now, presented)
        return outcome if isinstance(outcome, Failure) else Unusable("the provider's answer holds no device code")
    if not user_code or not isinstance(address, str):
        return Unusable("the provider's answer holds no code for the person, or no address")
    complete = fields.get("verification_uri_complete")
    try:
        check_url(address)
        if isinstance(complete, str):
            check_url(complete)
    except InvalidURLError as error:
        return Unusable(f"the provider's verification_uri: {error}")
    return DeviceAuthorization(
        device_code=device_code,
        user_code=user_code,
        verification_uri=address,
        verification_uri_complete=complete if isinstance(complete, str) else None,
        lifetime=min(parse_lifetime(fields.get("expires_in")) or _MAX_LIFETIME, _MAX_LIFETIME),
        interval=min(parse_lifetime(fields.get("interval")) or _INTERVAL, _MAX_INTERVAL),
    )


def parse_poll_response(
    status: int, headers: Mapping[str, str], body: bytes, now: float, presented: tuple[Secret, ...] = ()
) -> TokenResponse | Failure:
    """What the token endpoint's answer means to one who asks for a device's token (section 3.5).

    By the `error` alone: Auth0 answers 403 where the RFC has 400, and `slow_down` with 429.
    """
    error = error_fields(body).get("error")
    if error == "authorization_pending":
        return AuthorizationPending("nobody has answered yet")
    if error == "slow_down":
        return SlowDown("nobody has answered yet, and it was asked too often")
    if error == "expired_token":
        return CodeExpired("the code has expired: nobody entered it in time")
    outcome = parse_token_response(status, headers, body, now, presented)
    if error == "access_denied" and isinstance(outcome, Failure):
        return Refusal(outcome.reason)
    return outcome


def device_request(device_code: Secret) -> TokenRequest:
    """Return the request that asks whether somebody has logged in on the other device (section 3.4)."""
    return TokenRequest(_GRANT_TYPE, {"device_code": device_code}, {}, parse=parse_poll_response)


def next_interval(interval: float, outcome: Failure) -> float:
    """Seconds to the next question, after that answer (section 3.5)."""
    if isinstance(outcome, SlowDown):
        return min(interval + _SLOWER, _MAX_INTERVAL)
    if isinstance(outcome, AuthorizationPending):
        return interval
    return min(interval * 2, _MAX_INTERVAL)  # it can't be reached, or has trouble
