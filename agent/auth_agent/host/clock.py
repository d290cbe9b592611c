"""Time on two clocks that fail in different ways.

The wall clock can be set, and jumps; the clock since boot can't be set and counts the time a machine is suspended, but
means nothing after a reboot. A deadline is kept on both and is reached when either clock reaches it.
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
        """Return the moment that many seconds later."""
        return Moment(self.wall + seconds, self.boot + seconds)

    def until(self, other: "Moment") -> float:
        """Return the seconds until the other moment, on the clock that reaches it first; negative if it is past."""
        return min(other.wall - self.wall, other.boot - self.boot)


class Clock:
    """The machine's clocks."""

    def now(self) -> Moment:
        """Return the present moment."""
        # As `Moment(…)` does, without a call of a function in Python: every request asks for the time.
        return tuple.__new__(Moment, (time.time(), time.clock_gettime(_SINCE_BOOT)))  # pyright: ignore[reportUnknownMemberType] -- typeshed's

    def awake(self) -> float:
        """Return seconds on a clock that stops while the machine is suspended."""
        return time.monotonic()

    def boot_id(self) -> str:
        """Return an identifier of the current boot; "" if the system has none."""
        if sys.platform == "darwin":
            return _sysctl("kern.bootsessionuuid")
        try:
            return Path("/proc/sys/kernel/random/boot_id").read_text("ascii").strip()
        except OSError:
            return ""


def _sysctl(name: str) -> str:
    """Return the string value of a macOS sysctl; "" if it can't be read."""
    size = ctypes.c_size_t(64)
    value = ctypes.create_string_buffer(size.value)
    failed = ctypes.CDLL(None).sysctlbyname(name.encode(), value, ctypes.byref(size), None, 0)
    return "" if failed else value.value.decode("ascii", "replace")
