"""What clients want of one token of a session: whether they asked for it of late, and how long it must be good."""

import math


class Interest:
    """What clients asked of a token, in its lifetime and in the one before; `at` is when last, since boot."""

    __slots__ = ("_largest", "_largest_before", "asked", "at")

    def __init__(self) -> None:
        # Whether somebody asked since the token was renewed: it is kept fresh for those who do.
        self.asked = False
        self.at = 0.0
        self._largest = 0.0
        self._largest_before = 0.0

    @property
    def min_ttl(self) -> float:
        """The largest `min_ttl` that was asked for, in seconds."""
        return max(self._largest, self._largest_before)

    def demand(self, min_ttl: float | None) -> bool:
        """Somebody needs it to be good for so many seconds; whether that is more than before."""
        if min_ttl is None or min_ttl <= self._largest:
            return False
        before = self.min_ttl
        self._largest = float(math.ceil(min_ttl))  # whole seconds: watchers are told of no smaller ones
        return self.min_ttl > before

    def touch(self, boot: float) -> None:
        """Somebody asks for it, at that time since boot."""
        self.asked = True
        self.at = boot

    def token_replaced(self) -> None:
        """Another token takes its place."""
        self.asked = False
        self._largest_before, self._largest = self._largest, 0.0
