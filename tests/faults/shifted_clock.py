"""The agent with clocks that a test sets: `python shifted_clock.py FILE run`, and the other commands.

FILE belongs to a `ShiftedClock`: two offsets and a boot id, in memory that the test and the agent share.
"""

import mmap
import struct
import sys
from functools import partial
from pathlib import Path
from unittest import mock

from auth_agent import daemon
from auth_agent.cli import commands
from auth_agent.host.clock import Clock, Moment

_LAYOUT = struct.Struct("dd36s")


class ShiftedClock(Clock):
    """The machine's clocks plus the test's offsets; `awake` and the event loop's clock are unchanged.

    A suspend shifts both clocks, setting the clock only the wall clock, and a reboot gives the clock since boot another
    id and start.
    """

    def __init__(self, path: Path) -> None:
        """Share the offsets in that existing file."""
        with path.open("r+b") as file:
            self._shared = mmap.mmap(file.fileno(), _LAYOUT.size)

    @classmethod
    def make(cls, path: Path) -> "ShiftedClock":
        """Create the file, without offsets."""
        path.write_bytes(_LAYOUT.pack(0, 0, b""))
        return cls(path)

    def now(self) -> Moment:
        """Return the present moment on the shifted clocks."""
        wall, boot, _ = _LAYOUT.unpack_from(self._shared)
        real = super().now()
        return Moment(real.wall + wall, real.boot + boot)

    def boot_id(self) -> str:
        """Return the machine's boot id, or that of the last reboot."""
        name = _LAYOUT.unpack_from(self._shared)[2].rstrip(b"\0").decode()
        return name or super().boot_id()

    def suspend(self, seconds: float) -> None:
        """Let that many seconds pass while the machine sleeps."""
        self.shift(wall=seconds, boot=seconds)

    def set_wall(self, seconds: float) -> None:
        """Set the wall clock forward by that many seconds; negative: back."""
        self.shift(wall=seconds)

    def reboot(self, name: str, off: float = 0) -> None:
        """Turn the machine off for that many seconds; then its clock since boot is ten seconds."""
        self.shift(wall=off, boot=10 - self.now().boot, name=name)

    def shift(self, wall: float = 0, boot: float = 0, name: str | None = None) -> None:
        """Shift the clocks, and set the boot id."""
        before = _LAYOUT.unpack_from(self._shared)
        boot_name = before[2] if name is None else name.encode()
        self._shared[:] = _LAYOUT.pack(before[0] + wall, before[1] + boot, boot_name)


def _main(path: str, *arguments: str) -> int:
    """Run `auth-agent` with those arguments on that clock."""
    serve = partial(daemon.serve, clock=ShiftedClock(Path(path)))
    with mock.patch.object(daemon, "serve", serve):
        return commands.main(arguments)


if __name__ == "__main__":
    sys.exit(_main(*sys.argv[1:]))
