"""How long a provider's metadata counts as current, without I/O. Times are in seconds by a clock that is never set.

Endpoints move once in years, so a document serves for a day. It is looked up earlier where an endpoint says that it has
moved, or after some failures in a row; but not again and again at a provider that is out of order.
"""

import math
from typing import Final

LIFETIME: Final = 86_400.0
# Until a look-up is repeated that failed, or found less than there was.
RETRY: Final = 300.0
# Failures in a row of the token endpoint: it may have moved, and something else may answer there, or nothing.
_FAILURES: Final = 3
# Between two look-ups that something made doubtful.
_PAUSE: Final = 30.0


class Freshness:
    """Whether the metadata is current."""

    def __init__(self) -> None:
        self._until = -math.inf
        self._looked_up_at = -math.inf
        # When the next look-up may be made early.
        self._next_early = -math.inf
        self._failures = 0
        self._is_doubted = False

    def is_current(self, now: float) -> bool:
        """Return whether the metadata may be used without another look-up."""
        return now < self._until and not (self._is_doubted and now >= self._next_early)

    def look_up_ended(self, now: float, lifetime: float) -> None:
        """Note that the metadata was looked up; what is known now is current for `lifetime` seconds."""
        if self._is_doubted:
            self._next_early = now + _PAUSE
        self._until, self._looked_up_at, self._is_doubted, self._failures = now + lifetime, now, False, 0

    def moved(self) -> None:
        """Note that an endpoint answered that it is elsewhere, or nowhere."""
        self._is_doubted = True

    def failed(self) -> None:
        """Note that the token endpoint failed."""
        self._failures += 1
        self._is_doubted = self._is_doubted or self._failures >= _FAILURES

    def succeeded(self) -> None:
        """Note that the token endpoint answered as one does."""
        self._failures = 0

    def ask_again(self, now: float, older_than: float) -> None:
        """Note that a person wants to go on: doubt what has failed, or was looked up `older_than` seconds ago."""
        if self._failures or now - self._looked_up_at >= older_than:
            self._is_doubted = True
