"""A well-behaved client beside a hostile one, and what the agent costs meanwhile."""

import os
import resource
import statistics
import subprocess
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, Self

from auth_agent_client import Agent

# What a call of a well-behaved client waits for at most, in seconds, on a machine that does much else; and a newcomer's
# first one, which has to be let in behind whoever came before.
_PATIENCE: Final = 5.0
_FIRST_PATIENCE: Final = 15.0
_PAUSE: Final = 0.002  # s: a program that asks before each of its own requests, and many of them
_NEWCOMER: Final = 5  # and pauses that long pass between two programs' first calls
_SAMPLE: Final = 0.1  # s, between two looks at the agent's memory
_MEBIBYTE: Final = 1 << 20


def resident(pid: int) -> int:
    """A process's resident memory in bytes."""
    statm = Path(f"/proc/{pid}/statm")
    if statm.exists():
        return int(statm.read_text().split()[1]) * resource.getpagesize()
    shown = subprocess.run(["ps", "-o", "rss=", "-p", str(pid)], capture_output=True, text=True, check=True)
    return int(shown.stdout) << 10


def descriptors(pid: int) -> int | None:
    """How many descriptors a process has; None where only root is told: the agent isn't dumpable."""
    try:
        return len(os.listdir(f"/proc/{pid}/fd"))  # noqa: PTH208 -- names
    except OSError:
        return None


@dataclass
class Waits:
    """How long calls took, in seconds."""

    took: list[float] = field(default_factory=list[float])

    def add(self, call: Callable[[], object]) -> None:
        """Time a call; what it raises is the caller's."""
        before = time.perf_counter()
        call()
        self.took.append(time.perf_counter() - before)

    @property
    def p99(self) -> float:
        """How long all but the slowest hundredth took."""
        return statistics.quantiles(self.took, n=100)[98] if len(self.took) > 1 else 0.0

    @property
    def worst(self) -> float:
        """How long the slowest took."""
        return max(self.took, default=0.0)


class Bystander:
    """A client that asks for its token all the time, on one connection; and others, each on its first one."""

    def __init__(self, path: Path, pid: int, account: str = "work") -> None:
        self._path = str(path)
        self._pid = pid
        self._account = account
        self._client = Agent(self._path)
        self.connected = Waits()
        self.newcomer = Waits()
        self.memory: list[int] = []

    def __enter__(self) -> Self:
        self._client.token(self._account)
        self.memory.append(resident(self._pid))
        return self

    def __exit__(self, *_: object) -> None:
        self._client.close()

    def beside(self, is_over: Callable[[], bool]) -> None:
        """Ask until it is over; an error is raised, `Timeout` among them."""
        ends = threading.Event()
        with ThreadPoolExecutor(1) as another:
            newcomers = another.submit(self._come, ends)
            try:
                self._stay(is_over)
            finally:
                ends.set()
            newcomers.result()
        self.memory.append(resident(self._pid))

    def _stay(self, is_over: Callable[[], bool]) -> None:
        sampled = 0.0
        while not is_over():
            self.connected.add(lambda: self._client.token(self._account, timeout=_PATIENCE))
            if time.monotonic() - sampled > _SAMPLE:
                self.memory.append(resident(self._pid))
                sampled = time.monotonic()
            time.sleep(_PAUSE)

    def _come(self, ends: threading.Event) -> None:
        while not ends.wait(_PAUSE * _NEWCOMER):
            self.newcomer.add(self._first_call)

    def _first_call(self) -> None:
        with Agent(self._path) as newcomer:
            newcomer.token(self._account, timeout=_FIRST_PATIENCE)

    @property
    def grown(self) -> int:
        """By how many bytes the agent had grown at most."""
        return max(self.memory) - self.memory[0]

    def __str__(self) -> str:
        return (
            f"p99 {1000 * self.connected.p99:5.1f} ms  worst {1000 * self.connected.worst:6.1f} ms  "
            f"newcomer's p99 {1000 * self.newcomer.p99:6.1f} ms  worst {1000 * self.newcomer.worst:6.1f} ms  "
            f"({len(self.connected.took) + len(self.newcomer.took)} calls)  "
            f"memory {self.memory[0] / _MEBIBYTE:.0f} MiB, at most +{self.grown / _MEBIBYTE:.0f}"
        )
