"""How often clients may cause requests to the provider: token buckets, with shares. The caller provides the time.

A session's limit is shared by all programs. One that has just used it gets no more than what all have in common; the
reserve is for the others, and a second reserve for a person at a terminal. So a program that asks without pause takes
nothing from another one that asks now and then, and many such programs take nothing from a person.
"""

from collections.abc import Hashable
from dataclasses import dataclass, field
from typing import Final

from auth_agent.sessions.advice import too_many_requests

BURST: Final = 5
INTERVAL: Final = 10.0  # s until one more is allowed
# Of calls of Auth0's Management API, which allows two a second to a free tenant.
CALLS: Final = 20
CALL_INTERVAL: Final = 1.0  # s
# Of one program for all sessions together: a person may refresh dozens of accounts at once.
PROGRAM_BURST: Final = 60
PROGRAM_INTERVAL: Final = 1.0  # s
# A program that was allowed at most one in so many intervals may use the reserve, a person after one interval.
_PAUSE: Final = 3


class RateLimit:
    """Allows a burst of requests, then one in an interval; times are in seconds since boot."""

    __slots__ = ("_at", "_burst", "_interval", "_left")

    def __init__(self, burst: int = BURST, interval: float = INTERVAL) -> None:
        self._burst = float(burst)
        self._interval = interval
        self._left = self._burst
        self._at: float | None = None

    def wait(self, now: float) -> float:
        """Return for how many seconds no request is allowed; 0 if one is."""
        self._refill(now)
        return 0.0 if self._left >= 1 else (1 - self._left) * self._interval

    def spend(self, now: float) -> None:
        """Count one request; `wait` must have returned 0."""
        self._refill(now)
        self._left -= 1

    def is_whole(self, now: float) -> bool:
        """Whether the whole burst is allowed, as of a new limit."""
        self._refill(now)
        return self._left >= self._burst

    def _refill(self, now: float) -> None:
        if self._at is not None:
            self._left = min(self._burst, self._left + max(0.0, now - self._at) / self._interval)
        self._at = now


def _program_limit() -> RateLimit:
    return RateLimit(PROGRAM_BURST, PROGRAM_INTERVAL)


@dataclass(frozen=True, slots=True)
class Asker:
    """The program for which a request is sent to the provider, and its own limit; by default the agent itself."""

    program: Hashable = None
    is_at_terminal: bool = False
    rate_limit: RateLimit = field(default_factory=_program_limit)


class SharedLimit:
    """How often all programs together may cause requests of one kind, for one session."""

    def __init__(self, burst: int = BURST, interval: float = INTERVAL) -> None:
        self._interval = interval
        self._common = RateLimit(burst, interval)
        self._reserve = RateLimit(burst, interval / 2)
        self._persons = RateLimit(burst, interval)
        # When each program was allowed the last one, and the one before: in the last `_PAUSE` intervals, so there are
        # few of them.
        self._last: dict[Hashable, tuple[float, float | None]] = {}

    def charge(self, now: float, asker: Asker) -> None:
        """Count a request to the provider that a program causes.

        Raises:
            Unavailable: too many were sent; this one is not counted.

        """
        for rate_limit in self._allowed(now, asker):
            if rate_limit.wait(now) == 0:
                rate_limit.spend(now)
                before = self._last.get(asker.program)
                self._last[asker.program] = now, None if before is None else before[0]
                return
        raise too_many_requests(self._common.wait(now))

    def _allowed(self, now: float, asker: Asker) -> list[RateLimit]:
        """Return the limits that the program may use, the first one first."""
        pause = _PAUSE * self._interval
        self._last = {who: times for who, times in self._last.items() if now - times[0] < pause}
        last, before = self._last.get(asker.program, (None, None))
        allowed = [self._common]
        if before is None or now - before >= pause:
            allowed.append(self._reserve)
        if asker.is_at_terminal and (last is None or now - last >= self._interval):
            allowed.append(self._persons)
        return allowed


def charge(now: float, shared: SharedLimit, asker: Asker) -> None:
    """Count a request to the provider against a session's limit and the program's own.

    Raises:
        Unavailable: one of them is exceeded; neither has counted the request.

    """
    wait = asker.rate_limit.wait(now)
    if wait > 0:
        raise too_many_requests(wait)
    shared.charge(now, asker)
    asker.rate_limit.spend(now)
