"""Time, as two clocks that err in different ways.

The wall clock can be set, and jumps; the clock since boot can't, counts a suspended machine's sleep, and means
nothing after a reboot. A deadline is kept on both and is due when either says so.
"""

import ctypes
import sys
import time
from pathlib import Path
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

    def boot_id(self) -> str:
        """Which boot the clock since boot counts from; empty where the system doesn't say."""
        if sys.platform == "darwin":
            return _sysctl("kern.bootsessionuuid")
        try:
            return Path("/proc/sys/kernel/random/boot_id").read_text("ascii").strip()
        except OSError:
            return ""


def _sysctl(name: str) -> str:
    """A text that macOS' kernel tells by that name; empty where it doesn't."""
    size = ctypes.c_size_t(64)
    value = ctypes.create_string_buffer(size.value)
    failed = ctypes.CDLL(None).sysctlbyname(name.encode(), value, ctypes.byref(size), None, 0)
    return "" if failed else value.value.decode("ascii", "replace")
