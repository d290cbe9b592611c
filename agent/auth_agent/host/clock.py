"""Time, as two clocks that err in different ways.

The wall clock can be set, and jumps; the clock since boot can't, counts a suspended machine's sleep, and means
nothing after a reboot. A deadline is kept on both and is due when either says so.
"""

import time
from typing import NamedTuple

# macOS has no CLOCK_BOOTTIME: its CLOCK_MONOTONIC counts sleep, unlike the one that `time.monotonic` reads there.
_SINCE_BOOT = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)


class Moment(NamedTuple):
    """A moment on both clocks: Unix time, and time since boot; in seconds."""

    wall: float
    boot: float

    def after(self, seconds: float) -> "Moment":
        """The moment that many seconds later."""
        return Moment(self.wall + seconds, self.boot + seconds)

    def until(self, other: "Moment") -> float:
        """Seconds until the other moment comes, on the clock that brings it first; negative when it is past."""
        return min(other.wall - self.wall, other.boot - self.boot)


class Clock:
    """The machine's clocks."""

    def now(self) -> Moment:
        """The present moment."""
        return Moment(time.time(), time.clock_gettime(_SINCE_BOOT))

    def awake(self) -> float:
        """Seconds on a clock that stands still while the machine is suspended."""
        return time.monotonic()
