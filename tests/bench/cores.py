"""Cores: servers run on one, what asks and times them on another, so that neither takes the other's time."""

import contextlib
import os
import sys
from collections.abc import Generator
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Cores:
    """The numbers of the cores; they are one on a machine with one, and None where processes can't be pinned."""

    server: int | None
    load: int | None

    def __str__(self) -> str:
        if self.server is None:
            return "no process is pinned to a core"
        if self.server == self.load:
            return f"servers and load share core {self.server}"
        return f"servers on core {self.server}, load on core {self.load}"


def available_cores() -> Cores:
    """Return the first and the last core that this process may use."""
    if sys.platform != "linux":
        return Cores(None, None)
    cores = sorted(os.sched_getaffinity(0))
    return Cores(cores[0], cores[-1])


@contextlib.contextmanager
def pinned(core: int | None) -> Generator[None]:
    """Run this thread on that core during the block; what it starts there stays on it."""
    if core is None or sys.platform != "linux":
        yield
        return
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {core})
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)
