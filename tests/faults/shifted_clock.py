"""The agent on clocks that a test sets while it runs: `python shifted_clock.py FILE run`, and the other commands.

FILE is a `ShiftedClock`'s own: two offsets and a boot's name, in memory that the test and the agent share.
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
    """The machine's clocks, plus what a test has set; `awake` and the event loop's clock go on as they are.

    A suspend moves both on, a clock that is set the wall's alone, and a reboot gives the clock since boot another name
    and start.
    """

    def __init__(self, path: Path) -> None:
        """Share the offsets in that file, which has to be there."""
        with path.open("r+b") as file:
            self._shared = mmap.mmap(file.fileno(), _LAYOUT.size)

    @classmethod
    def make(cls, path: Path) -> "ShiftedClock":
        """One whose file is made, with nothing set yet."""
        path.write_bytes(_LAYOUT.pack(0, 0, b""))
        return cls(path)

    def now(self) -> Moment:
        """The present moment, on the shifted clocks."""
        wall, boot, _ = _LAYOUT.unpack_from(self._shared)
        real = super().now()
        return Moment(real.wall + wall, real.boot + boot)

    def boot_id(self) -> str:
        """The machine's, until there was a reboot."""
        name = _LAYOUT.unpack_from(self._shared)[2].rstrip(b"\0").decode()
        return name or super().boot_id()

    def suspend(self, seconds: float) -> None:
        """So many seconds pass while the machine sleeps."""
        self.shift(wall=seconds, boot=seconds)

    def set_wall(self, seconds: float) -> None:
        """Somebody sets the wall clock, so many seconds forward, or back when negative."""
        self.shift(wall=seconds)

    def reboot(self, name: str, off: float = 0) -> None:
        """The machine is off for so many seconds, and then its clock since boot begins anew, ten seconds ago."""
        self.shift(wall=off, boot=10 - self.now().boot, name=name)

    def shift(self, wall: float = 0, boot: float = 0, name: str | None = None) -> None:
        """Move each of the clocks on, and give the boot a name."""
        before = _LAYOUT.unpack_from(self._shared)
        boot_name = before[2] if name is None else name.encode()
        self._shared[:] = _LAYOUT.pack(before[0] + wall, before[1] + boot, boot_name)


def _main(path: str, *arguments: str) -> int:
    """Do what `auth-agent` does with those arguments, on that clock."""
    serve = partial(daemon.serve, clock=ShiftedClock(Path(path)))
    with mock.patch.object(daemon, "serve", serve):
        return commands.main(arguments)


if __name__ == "__main__":
    sys.exit(_main(*sys.argv[1:]))
