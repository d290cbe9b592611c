"""When: pure rules of time. The caller owns the clock and the dice; durations are in seconds.

A token's *lifetime* is what the provider counts, from the moment the request was sent. It is *served* for a little
less, since providers count in whole seconds; the *lead* is how long before its end a successor is asked for.
"""

from typing import Final

from auth_agent.host.clock import Moment

ASSUMED_LIFETIME: Final = 3600.0
LEAD: Final = 120.0
# A refresh token may have a limit on idleness; a day is shorter than any that providers document.
LONGEST_WAIT: Final = 86_400.0
# How far a clock may be set back before a token seems to come from the future.
SKEW: Final = 60.0

RETRY_CAP: Final = 30.0
# For what does not pass by itself: now and then, should it have been mended at the provider.
PERMANENT_RETRY_CAP: Final = 300.0
_RETRY_BASE: Final = 1.0
_RETRY_FLOOR: Final = 0.1

_WISH: Final = 60.0
_MARGIN: Final = 1.0
_LEAST_LEAD: Final = 0.2
_MOST_LEAD: Final = 0.4
_SPREAD: Final = 0.05
# A provider whose tokens live a second or two is asked twice a second at most.
_FLOOR: Final = 0.5
_DEMAND_MARGIN: Final = 30.0


def served_until(sent: Moment, lifetime: float) -> Moment:
    """Until when a token is handed out: a second less than the provider counts, or half of a very short life."""
    return sent.after(lifetime - min(_MARGIN, lifetime / 2))


def remaining(sent: Moment, served_until_: Moment, now: Moment) -> float:
    """For how long a token can still be handed out; 0 when it can't.

    Both clocks have to agree. A wall clock from before the token was sent tells of a clock that was set, and then
    nothing is known of the token's age at the provider.
    """
    if now.wall < sent.wall - SKEW:
        return 0.0
    return max(0.0, now.until(served_until_))


def lead(lifetime: float, min_ttl: float = 0.0) -> float:
    """How long before a token's end its successor is asked for.

    Two minutes, or 30 s more than the largest `min_ttl` that clients asked for; within 20 % and 40 % of the lifetime.
    """
    wanted = max(LEAD, min_ttl + _DEMAND_MARGIN, _LEAST_LEAD * lifetime)
    return min(wanted, _MOST_LEAD * lifetime)


def wish(lifetime: float) -> float:
    """For how long a token should be good for a client that asks for nothing special."""
    return min(_WISH, lead(lifetime) / 2)


def refresh_at(sent: Moment, lifetime: float, chance: float, min_ttl: float = 0.0) -> Moment:
    """When to refresh a token ahead of its end: after it was sent, and before it is no longer served.

    (A token that lives for a second is served for half of it, and refreshed at the end of that.)

    Args:
        sent: when the token was asked for.
        lifetime: what the provider counts.
        chance: in [0, 1); spreads sessions that were issued together, by up to 5 % of the lifetime.
        min_ttl: the largest that clients asked for of late.

    """
    after = lifetime - lead(lifetime, min_ttl) - _SPREAD * lifetime * chance
    # In a life of a few seconds the margin of serving eats the lead up: a second of it is kept, or a fifth of the life.
    served = sent.until(served_until(sent, lifetime))
    latest = served - min(_MARGIN, _LEAST_LEAD * lifetime)
    return sent.after(max(_FLOOR, min(after, latest, LONGEST_WAIT * (1 - _SPREAD * chance))))


def retry_delay(failures: int, chance: float, cap: float = RETRY_CAP) -> float:
    """How long to wait after that many failures in a row (1 or more): exponential, full jitter, capped.

    Full jitter: AWS Architecture Blog, "Exponential Backoff And Jitter".
    """
    # 2**10 s is above every cap; a larger power would leave the numbers' range.
    ceiling = min(cap, _RETRY_BASE * 2.0 ** min(failures, 10))
    return max(_RETRY_FLOOR, ceiling * chance)
