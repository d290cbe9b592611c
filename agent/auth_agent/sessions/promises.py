"""What clients were promised, where a refresh ends the access token from before: a refresh waits for it. Pure.

A client that gets a token may use it for its `min_ttl`, or for the preferred TTL. Where each refresh ends the tokens
from before, a refresh ahead of time waits until no client may still use one, but not for long: a client that asks
without pause must not let the token expire for the others. A refresh that a client needs waits a little for those that
gave a `min_ttl`. What an agent before promised is not known, so each token from the store is assumed to be in use.
Times are in seconds since boot, durations in seconds.
"""

import math
from typing import Final

from auth_agent.host.clock import Moment
from auth_agent.sessions.schedule import preferred_ttl
from auth_agent.sessions.state import AccessToken

# For how long promises hold back a refresh that is due, and one that a client waits for.
LONGEST: Final = 60.0
PATIENCE: Final = 5.0
# By how much a planned refresh may begin late; later, whoever wanted it has left.
_DELAY: Final = 1.0
# A token of at most this age, or share of its lifetime, was just refreshed: another refresh brings no better one.
_YOUNG: Final = 60.0
_YOUNG_SHARE: Final = 0.1


class Promises:
    """Until when the tokens that clients have may be in use."""

    __slots__ = ("_demanded_until", "_planned", "_until")

    def __init__(self) -> None:
        self._until = self._demanded_until = 0.0
        # When a client's refresh begins that is held back; long past if there is none.
        self._planned = -math.inf

    def make(self, token: AccessToken, min_ttl: float | None, now: Moment) -> None:
        """Record that a client gets this token for `min_ttl` seconds, or for the preferred TTL if that is left."""
        if min_ttl is None and not token.is_good_for(None, now):
            return
        wanted = preferred_ttl(token.lifetime) if min_ttl is None else min_ttl
        until = now.boot + min(wanted, token.remaining(now))
        self._until = max(self._until, until)
        if min_ttl is not None:
            self._demanded_until = max(self._demanded_until, until)

    def assume(self, token: AccessToken, now: Moment) -> None:
        """Record that clients may have this token from the agent before, or from before a lock."""
        self.make(token, min(LONGEST, token.remaining(now)), now)

    def are_open(self, now: Moment) -> bool:
        """Return whether a client may still use a token for as long as it was promised."""
        return self._until > now.boot

    def hold(self, due: Moment) -> Moment:
        """Return when to start a refresh that is due then."""
        return due.after(max(0.0, min(LONGEST, self._until - due.boot)))

    def patience(self, now: Moment) -> float:
        """Return for how many seconds a refresh that a client waits for is held back."""
        planned = self._planned - now.boot
        return planned if planned > 0 else max(0.0, min(PATIENCE, self._demanded_until - now.boot))

    def plan(self, seconds: float, now: Moment) -> None:
        """Record that a refresh which a client waits for begins in so many seconds."""
        self._planned = now.boot + seconds

    def can_make(self, min_ttl: float | None, now: Moment) -> bool:
        """Return whether no refresh is planned that comes too early for that `min_ttl`."""
        is_planned = now.boot < self._planned + _DELAY
        return min_ttl is None or not is_planned or now.boot + min_ttl <= self._planned


def keeps(token: AccessToken, min_ttl: float | None, due: Moment | None, now: Moment) -> bool:
    """Return whether a token is still good after `min_ttl` seconds, although a refresh is `due` that ends it.

    One that was just refreshed is good enough: no other token would live longer.
    """
    if min_ttl is None or due is None or token.lifetime is None or min_ttl <= now.until(due) + LONGEST:
        return True
    return now.boot - token.sent.boot <= min(_YOUNG, _YOUNG_SHARE * token.lifetime)
