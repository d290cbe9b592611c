"""How often a client may make the agent ask the provider: a token bucket, without a clock of its own."""

from typing import Final

from auth_agent.sessions.advice import asked_too_often

BURST: Final = 5
INTERVAL: Final = 10.0  # s until one more is allowed


class RateLimit:
    """A burst of five, then one in ten seconds; time is that since boot, in seconds."""

    __slots__ = ("_at", "_left")

    def __init__(self) -> None:
        self._left = float(BURST)
        self._at: float | None = None

    def wait(self, now: float) -> float:
        """For how long nothing is allowed; 0 when one is."""
        self._refill(now)
        return 0.0 if self._left >= 1 else (1 - self._left) * INTERVAL

    def spend(self, now: float) -> None:
        """Use one up; `wait` must have been 0."""
        self._refill(now)
        self._left -= 1

    def _refill(self, now: float) -> None:
        if self._at is not None:
            self._left = min(float(BURST), self._left + max(0.0, now - self._at) / INTERVAL)
        self._at = now


def charge(now: float, *rate_limits: RateLimit) -> None:
    """Count a request to the provider that a client drives.

    Raises:
        Unavailable: there were too many.

    """
    wait = max(rate_limit.wait(now) for rate_limit in rate_limits)
    if wait > 0:
        raise asked_too_often(wait)
    for rate_limit in rate_limits:
        rate_limit.spend(now)
