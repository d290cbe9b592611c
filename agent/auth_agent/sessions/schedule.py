"""When access tokens are served, refreshed and retried. Pure functions; durations are in seconds.

A token's *lifetime* is the provider's `expires_in`, counted from when the request was sent. The token is *served* for a
little less, since providers round to seconds. The *lead* is how long before its end it is refreshed. The caller
provides the time, and `chance`, a random number that spreads requests.
"""

import math
from typing import Final

from auth_agent.host.clock import Moment

ASSUMED_LIFETIME: Final = 3600.0
LEAD: Final = 120.0
# A provider may expire a refresh token that is not used; a day is shorter than any such limit in their documentation.
MAX_INTERVAL: Final = 86_400.0
# How far the wall clock may be set back before a token counts as sent in the future, and so as expired.
SKEW: Final = 60.0

RETRY_CAP: Final = 30.0
# For permanent failures: they are retried in case somebody has corrected them at the provider.
PERMANENT_RETRY_CAP: Final = 300.0
# Seconds between two tries, give or take a tenth, while the provider refuses the refresh token.
REFUSED_INTERVAL: Final = 900.0
_RETRY_BASE: Final = 1.0
_RETRY_FLOOR: Final = 0.1

_PREFERRED_TTL: Final = 60.0
_MARGIN: Final = 1.0
_MIN_LEAD: Final = 0.2
_MAX_LEAD: Final = 0.4
_SPREAD: Final = 0.05
# Tokens that live for a second or two are refreshed at most twice a second.
_MIN_INTERVAL: Final = 0.5
_DEMAND_MARGIN: Final = 30.0
# Of what `expires_in` says, and in seconds without it: how long a token is served at least, whatever its `exp` says.
_LEAST_REST: Final = 0.1
_LEAST_SHARE: Final = 0.1
_LEAST_BY_CLAIM: Final = 2.0


def lifetime_of(expires_in: float | None, by_claim: float | None, elapsed: float, *, refreshable: bool) -> float | None:
    """Return the lifetime of an access token from when its request was sent; None if it has no known end.

    A JWT's own `exp` is advice, since clients must not rely on what is in an access token (RFC 9068, section 6): it may
    shorten the lifetime, to a tenth of `expires_in` at the least, counted from when the token arrived. A token that the
    provider has just granted is served, whatever it says.

    Args:
        expires_in: what the provider said; None if nothing.
        by_claim: for how long the token lives by its `exp`; None if it doesn't say.
        elapsed: how long the response took.
        refreshable: whether the session can get another token, so that a lifetime may be assumed.

    """
    if by_claim is None:
        return ASSUMED_LIFETIME if expires_in is None and refreshable else expires_in
    if expires_in is None and by_claim >= 1:
        return max(by_claim, elapsed + _LEAST_BY_CLAIM)
    stated = ASSUMED_LIFETIME if expires_in is None else expires_in
    # What remains must be more than the margin by which it is served for less.
    least = elapsed + max(_LEAST_SHARE * stated, min(_MARGIN, elapsed) + _LEAST_REST)
    return min(stated, max(by_claim, least))


def served_from(sent: Moment) -> float:
    """Return from when on a token is served, as Unix time: before, the wall clock was set back since it was sent."""
    return sent.wall - SKEW


def served_until(sent: Moment, lifetime: float | None) -> Moment:
    """Return until when a token is served: a second less than its lifetime, or half of a lifetime below two seconds.

    Infinity if it has no known end.
    """
    if lifetime is None:
        return Moment(math.inf, math.inf)
    return sent.after(lifetime - min(_MARGIN, lifetime / 2))


def remaining(sent: Moment, end: Moment, now: Moment) -> float:
    """Return for how long a token may still be served; 0 if it may not.

    Both clocks must say so. If the wall clock shows a time before the request was sent, it was set back, and the
    token's age is not known.
    """
    if now.wall < served_from(sent):
        return 0.0
    return max(0.0, now.until(end))


def lead(lifetime: float, min_ttl: float = 0.0) -> float:
    """Return how long before its end a token is refreshed.

    Two minutes, or 30 s more than `min_ttl`, the largest that clients requested; between 20 % and 40 % of the lifetime.
    """
    preferred = max(LEAD, min_ttl + _DEMAND_MARGIN, _MIN_LEAD * lifetime)
    return min(preferred, _MAX_LEAD * lifetime)


def preferred_ttl(lifetime: float | None) -> float:
    """Return for how long a token should still be valid for a client that gives no `min_ttl`."""
    return 0.0 if lifetime is None else min(_PREFERRED_TTL, lead(lifetime) / 2)


def refresh_at(
    sent: Moment, lifetime: float, chance: float, min_ttl: float = 0.0, refresh_by: float = math.inf
) -> Moment:
    """Return when to refresh a token: after it was sent, and while it is still served.

    A token that lives for one second is served for half of it, and refreshed at the end of that.

    Args:
        sent: when the token's request was sent.
        lifetime: the token's.
        chance: in [0, 1); moves the refresh forward by up to 5 % of the lifetime, to spread sessions issued together.
        min_ttl: the largest that clients requested recently.
        refresh_by: when the session must be refreshed for the refresh token's sake, in seconds after `sent`.

    """
    after = lifetime - lead(lifetime, min_ttl) - _SPREAD * lifetime * chance
    # With a lifetime of a few seconds, the margin of serving uses up the lead: keep a second of it, or 20 %.
    served = sent.until(served_until(sent, lifetime))
    latest = served - min(_MARGIN, _MIN_LEAD * lifetime)
    return sent.after(max(_MIN_INTERVAL, min(after, latest, refresh_by, MAX_INTERVAL * (1 - _SPREAD * chance))))


def retry_delay(failures: int, chance: float, cap: float = RETRY_CAP) -> float:
    """Return how long to wait after that many failures in a row (at least 1): exponential backoff with full jitter.

    Full jitter: AWS Architecture Blog, "Exponential Backoff And Jitter".
    """
    # 2**10 s is above every cap; a large power would overflow a float.
    ceiling = min(cap, _RETRY_BASE * 2.0 ** min(failures, 10))
    return max(_RETRY_FLOOR, ceiling * chance)


def refused_delay(chance: float) -> float:
    """Return how long to wait before a refresh token that the provider refuses is tried again."""
    return REFUSED_INTERVAL * (0.9 + 0.2 * chance)
