"""A well-behaved client beside a hostile one, and the agent's memory meanwhile."""

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

# Seconds that a call of a well-behaved client may take, on a busy machine; and the first call on a new connection,
# which has to be accepted after earlier ones.
_PATIENCE: Final = 5.0
_FIRST_PATIENCE: Final = 15.0
_PAUSE: Final = 0.002  # s: as of a program that gets a token before each of many requests
_NEWCOMER: Final = 5  # pauses between two first calls
_SAMPLE: Final = 0.1  # s, between two samples of the agent's memory
_MEBIBYTE: Final = 1 << 20


def resident(pid: int) -> int:
    """Return a process's resident memory in bytes."""
    statm = Path(f"/proc/{pid}/statm")
    if statm.exists():
        return int(statm.read_text().split()[1]) * resource.getpagesize()
    process = subprocess.run(["ps", "-o", "rss=", "-p", str(pid)], capture_output=True, text=True, check=True)
    return int(process.stdout) << 10


def descriptors(pid: int) -> int | None:
    """Return how many descriptors a process has; None if only root may know, since the agent isn't dumpable."""
    try:
        return len(os.listdir(f"/proc/{pid}/fd"))  # noqa: PTH208 -- names
    except OSError:
        return None


@dataclass
class Durations:
    """Durations of calls, in seconds."""

    seconds: list[float] = field(default_factory=list[float])

    def add(self, call: Callable[[], object]) -> None:
        """Make a call, and record its duration. Raises what it raises."""
        before = time.perf_counter()
        call()
        self.seconds.append(time.perf_counter() - before)

    @property
    def p99(self) -> float:
        """The 99th percentile."""
        return statistics.quantiles(self.seconds, n=100)[98] if len(self.seconds) > 1 else 0.0

    @property
    def worst(self) -> float:
        """The longest duration."""
        return max(self.seconds, default=0.0)


class Bystander:
    """A client that gets its token continuously on one connection, and others, each on a new connection."""

    def __init__(self, path: Path, pid: int, account: str = "work") -> None:
        self._path = str(path)
        self._pid = pid
        self._account = account
        self._client = Agent(self._path)
        self.connected = Durations()
        self.newcomer = Durations()
        self.memory: list[int] = []

    def __enter__(self) -> Self:
        self._client.token(self._account)
        self.memory.append(resident(self._pid))
        return self

    def __exit__(self, *_: object) -> None:
        self._client.close()

    def call_until(self, is_over: Callable[[], bool]) -> None:
        """Call until it is over. Raises any error, such as `Timeout`."""
        ends = threading.Event()
        with ThreadPoolExecutor(1) as another:
            newcomers = another.submit(self._call_on_new_connections, ends)
            try:
                self._call_on_one_connection(is_over)
            finally:
                ends.set()
            newcomers.result()
        self.memory.append(resident(self._pid))

    def _call_on_one_connection(self, is_over: Callable[[], bool]) -> None:
        sampled = 0.0
        while not is_over():
            self.connected.add(lambda: self._client.token(self._account, timeout=_PATIENCE))
            if time.monotonic() - sampled > _SAMPLE:
                self.memory.append(resident(self._pid))
                sampled = time.monotonic()
            time.sleep(_PAUSE)

    def _call_on_new_connections(self, ends: threading.Event) -> None:
        while not ends.wait(_PAUSE * _NEWCOMER):
            self.newcomer.add(self._first_call)

    def _first_call(self) -> None:
        with Agent(self._path) as newcomer:
            newcomer.token(self._account, timeout=_FIRST_PATIENCE)

    @property
    def grown(self) -> int:
        """The most bytes by which the agent has grown."""
        return max(self.memory) - self.memory[0]

    def __str__(self) -> str:
        return (
            f"p99 {1000 * self.connected.p99:5.1f} ms  worst {1000 * self.connected.worst:6.1f} ms  "
            f"newcomer's p99 {1000 * self.newcomer.p99:6.1f} ms  worst {1000 * self.newcomer.worst:6.1f} ms  "
            f"({len(self.connected.seconds) + len(self.newcomer.seconds)} calls)  "
            f"memory {self.memory[0] / _MEBIBYTE:.0f} MiB, at most +{self.grown / _MEBIBYTE:.0f}"
        )
