"""When a provider ends a session in spite of refreshes: at its ceiling, or when its refresh token ends. Pure.

The *ceiling* is the claim `session_expiry` of ID tokens: the client must end the session then. It is the login's: a
later ID token may lower it, and neither raises nor removes it. It is reached a little early, so that nothing is served
or sent after it. It is compared with the wall clock alone, which may be wrong: so the session comes back if the clock
does, until its provider's clock agrees that it is over, and its secrets are erased.

The *refresh token's end* is of one refresh token. At some providers each refresh moves it, so the session is refreshed
in time; at others it is that of the login, and a refresh for its sake would achieve nothing. All times are Unix times
in seconds.
"""

import math
from dataclasses import dataclass
from typing import Final

# As in Auth0's SDKs.
LEEWAY: Final = 30.0
# The share of the refresh token's lifetime after which the session is refreshed, if the access token lives longer.
_SHARE: Final = 0.6
# Seconds, and share of the lifetime, by which an end that doesn't move may seem to: providers round, networks are slow.
_JITTER: Final = 10.0
_JITTER_SHARE: Final = 0.2


@dataclass(frozen=True, slots=True)
class RefreshTokenEnd:
    """The refresh token ends `at` that time; a refresh must be tried by `refresh_by`, None if that doesn't move it."""

    at: float
    refresh_by: float | None


def lower_ceiling(ceiling: float | None, claimed: float | None) -> float | None:
    """Return the ceiling after an ID token that claims another one, or None."""
    return min((end for end in (ceiling, claimed) if end is not None), default=None)


def is_reached(ceiling: float | None, time: float) -> bool:
    """Return whether the session is over at that time."""
    return seconds_until(ceiling, time) <= 0


def seconds_until(ceiling: float | None, time: float) -> float:
    """Return the seconds until the session is over; infinity if it has no ceiling."""
    return over_at(ceiling) - time


def over_at(ceiling: float | None) -> float:
    """Return when the session is over; infinity if it has no ceiling."""
    return math.inf if ceiling is None else ceiling - LEEWAY


def next_refresh_token_end(
    before: RefreshTokenEnd | None, lifetime: float | None, sent: float, *, is_new: bool
) -> RefreshTokenEnd | None:
    """Return the refresh token's end after a response; None if it is not known, or there is none.

    Args:
        before: what it was.
        lifetime: the refresh token's, in seconds, infinite if it has no end; None if the response doesn't say.
        sent: when the request was sent.
        is_new: whether the response brought a new refresh token.

    """
    if lifetime is None:
        return None if before is None or is_new else RefreshTokenEnd(before.at, _still_ahead(before, sent))
    if math.isinf(lifetime):
        return None
    at = sent + lifetime
    if before is None or at - before.at > min(_JITTER, _JITTER_SHARE * lifetime):
        return RefreshTokenEnd(at, sent + _SHARE * lifetime)
    return RefreshTokenEnd(at, _still_ahead(before, sent))


def _still_ahead(before: RefreshTokenEnd, sent: float) -> float | None:
    """Return the time of a planned refresh; None if this refresh was it, or there was none."""
    return before.refresh_by if before.refresh_by is not None and before.refresh_by > sent else None
