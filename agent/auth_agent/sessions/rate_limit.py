"""How often a client may cause requests to the provider: a token bucket. The caller provides the time."""

from typing import Final

from auth_agent.sessions.advice import too_many_requests

BURST: Final = 5
INTERVAL: Final = 10.0  # s until one more is allowed


class RateLimit:
    """Allows a burst of five requests, then one in ten seconds; times are in seconds since boot."""

    __slots__ = ("_at", "_left")

    def __init__(self) -> None:
        self._left = float(BURST)
        self._at: float | None = None

    def wait(self, now: float) -> float:
        """Return for how many seconds no request is allowed; 0 if one is."""
        self._refill(now)
        return 0.0 if self._left >= 1 else (1 - self._left) * INTERVAL

    def spend(self, now: float) -> None:
        """Count one request; `wait` must have returned 0."""
        self._refill(now)
        self._left -= 1

    def _refill(self, now: float) -> None:
        if self._at is not None:
            self._left = min(float(BURST), self._left + max(0.0, now - self._at) / INTERVAL)
        self._at = now


def charge(now: float, *rate_limits: RateLimit) -> None:
    """Count a request to the provider that a client causes, against each of these limits.

    Raises:
        Unavailable: one of them is exceeded; no limit has counted the request.

    """
    wait = max(rate_limit.wait(now) for rate_limit in rate_limits)
    if wait > 0:
        raise too_many_requests(wait)
    for rate_limit in rate_limits:
        rate_limit.spend(now)
