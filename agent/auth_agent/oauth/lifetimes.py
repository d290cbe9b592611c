"""How long the tokens of a response live, by all that a provider says about it. Pure.

Providers say it in several ways: by `expires_in` (RFC 6749, section 5.1), by members of their own for the refresh
token, and by the claim `exp` of an access token that is a JWT. Durations are in seconds. Absolute times are relative to
the response's own `Date`, since the sender's clock may differ from this machine's.
"""

import math
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Final

from auth_agent.oauth import id_token
from auth_agent.secret import Secret

# Seconds: ten years, a "for ever" that fits every clock and every client's integers.
MAX_LIFETIME: Final = 315_360_000.0
UNLIMITED: Final = float("inf")
# Numbers from here on are Unix times, not durations (31 years); and those from here on are in milliseconds.
_FIRST_TIME: Final = 1e9
_FIRST_IN_MILLISECONDS: Final = 1e11

# Google, LinkedIn, GitHub and eBay: refresh_token_expires_in; Keycloak and TikTok: refresh_expires_in; Intuit:
# x_refresh_token_expires_in; Square: refresh_token_expires_at; others write the same in camel case or by other words.
_ENDS: Final = frozenset(
    {
        *("expiresin", "expirein", "expiresinsec", "expiresinsecs", "expiresinseconds", "expiresat", "expireat"),
        *("expireson", "expires", "expire", "expirestime", "expiretime", "expired", "expiredat", "expiredin"),
        *("expiry", "expirydate", "expirytime", "expiration", "expirationtime", "expirationdate", "exp"),
        *("lifetime", "lifespan", "timeout", "ttl", "maxage", "validity", "validityperiod", "validfor", "validuntil"),
    }
)
_PREFIXES: Final = ("xrefreshtoken", "refreshtoken", "refresh")


def parse_lifetime(value: object) -> float | None:
    """Return `expires_in` in seconds, None if it is missing, not a number, or less than one.

    Providers that send zero or less mean "unknown"; taken literally, such a token could never be served.
    """
    number = _number(value)
    return None if number is None or not number >= 1 else min(number, MAX_LIFETIME)  # a NaN isn't


def access_token_lifetime(fields: Mapping[str, object], now: float) -> float | None:
    """Return for how many seconds the access token of a response lives; None if no member says it.

    `now`: when the response was sent, as Unix time in seconds, by its sender's clock.
    """
    lifetime = parse_lifetime(fields.get("expires_in"))
    # Square: expires_at; Entra's first endpoints: expires_on. A number that is no time is not trusted.
    for name in ("expires_at", "expires_on"):
        time = _time(fields.get(name)) if lifetime is None else None
        if time is not None:
            lifetime = parse_lifetime(time - now)
    return lifetime


def refresh_token_lifetime(fields: Mapping[str, object], now: float) -> float | None:
    """Return for how many seconds the refresh token of a response lives, by the first member that says so.

    `UNLIMITED` if that is zero or less, which Keycloak sends for offline tokens; None if no member says it.
    `now`: when the response was sent, as Unix time in seconds, by its sender's clock.
    """
    for name, value in fields.items():
        if _is_refresh_token_end(name):
            lifetime = _lifetime_or_time(value, now)
            if lifetime is not None:
                return lifetime
    return None


def lifetime_by_claim(access_token: Secret | None, now: float) -> float | None:
    """Return for how many seconds the access token lives by its own claim `exp`; zero or less: not any more.

    None if it is not a JWT, or `exp` is not a time in seconds. `now`: as above.
    """
    claims = None if access_token is None else id_token.claims(access_token)
    expiry = None if claims is None else id_token.expiry(claims)
    return None if expiry is None else min(expiry - now, MAX_LIFETIME)


def _is_refresh_token_end(name: str) -> bool:
    plain = "".join(filter(str.isalnum, name)).lower()
    return any(plain.startswith(prefix) and plain.removeprefix(prefix) in _ENDS for prefix in _PREFIXES)


def _lifetime_or_time(value: object, now: float) -> float | None:
    number, time = _number(value), _time(value)
    if time is not None:
        return parse_lifetime(time - now)
    return UNLIMITED if number is not None and number <= 0 else parse_lifetime(number)


def _time(value: object) -> float | None:
    """Return a Unix time in seconds or milliseconds, or a date, as Unix time in seconds; None if it is neither."""
    number = _number(value)
    if number is None:
        return _date(value)
    if number < _FIRST_TIME:
        return None
    return number / 1000 if number >= _FIRST_IN_MILLISECONDS else number


def _number(value: object) -> float | None:
    """Return a JSON number, or one in a string; None if it is neither, or a NaN."""
    if isinstance(value, str) and "_" not in value:  # Python reads "1_000" as a number, and nobody else does
        try:
            value = float(value)
        except ValueError:
            return None
    if isinstance(value, bool) or not isinstance(value, int | float) or math.isnan(value):
        return None
    return float(max(min(value, 1e300), -1e300))  # a larger integer does not fit a float


def _date(value: object) -> float | None:
    """Return a date and time of ISO 8601 as Unix time, in UTC if it names no zone; None if it is not one."""
    try:
        date = datetime.fromisoformat(value) if isinstance(value, str) else None
        return None if date is None else (date if date.tzinfo else date.replace(tzinfo=UTC)).timestamp()
    except (ValueError, OverflowError):
        return None
