"""How clients use one token of a session: whether they requested it recently, and with which `min_ttl`."""

import math


class Interest:
    """The requests for a token during its lifetime and its predecessor's.

    `requested`: whether there was one since the last refresh; only then is the token refreshed ahead of time.
    `requested_at`: when the last one was, in seconds since boot.
    """

    __slots__ = ("_largest", "_largest_before", "requested", "requested_at")

    def __init__(self) -> None:
        self.requested = False
        self.requested_at = 0.0
        self._largest = 0.0
        self._largest_before = 0.0

    @property
    def min_ttl(self) -> float:
        """The largest `min_ttl` of these requests, in seconds."""
        return max(self._largest, self._largest_before)

    def demand(self, min_ttl: float | None) -> bool:
        """Record a request with that `min_ttl`; return whether it is larger than any before."""
        if min_ttl is None or min_ttl <= self._largest:
            return False
        before = self.min_ttl
        self._largest = float(math.ceil(min_ttl))  # watchers are not notified of fractions of a second
        return self.min_ttl > before

    def touch(self, boot: float) -> None:
        """Record a request, at that time in seconds since boot."""
        self.requested = True
        self.requested_at = boot

    def token_replaced(self) -> None:
        """Begin the lifetime of the next token."""
        self.requested = False
        self._largest_before, self._largest = self._largest, 0.0
