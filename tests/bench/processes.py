"""Starting, measuring and ending processes."""

import contextlib
import subprocess
import time
from collections.abc import Callable, Generator, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from tests.bench.cores import pinned

_START_TIMEOUT: Final = 15.0  # s
_STOP_TIMEOUT: Final = 15.0  # s: the agent lets what is in flight finish for ten
_POLL: Final = 0.01  # s


class ProcessError(Exception):
    """A process didn't start, or ended by itself."""


class Missing(Exception):
    """The machine lacks a program; the message is its package's name."""


@dataclass(frozen=True, slots=True)
class Memory:
    """The memory of a process in KiB; `pss` is None if it is not known."""

    rss: int
    pss: int | None


@contextlib.contextmanager
def running(
    command: Sequence[str],
    log: Path,
    environment: Mapping[str, str],
    ready: Callable[[], bool],
    core: int | None = None,
) -> Generator[int]:
    """Run a process during the block, on that core, once it is `ready`; yield its pid."""
    with log.open("wb") as output, pinned(core):
        process = subprocess.Popen(
            command,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            process_group=0,  # Ctrl-C is for the caller, which ends it
        )
    try:
        _await_ready(process, log, ready)
        yield process.pid
        if process.poll() is not None:
            raise ProcessError(f"{command[0]} ended by itself, with {process.returncode}:\n{tail(log)}")
    finally:
        stop(process)


def _await_ready(process: "subprocess.Popen[bytes]", log: Path, ready: Callable[[], bool]) -> None:
    deadline = time.monotonic() + _START_TIMEOUT
    while not ready():
        if process.poll() is not None:
            raise ProcessError(f"{process.args!r} did not start:\n{tail(log)}")
        if time.monotonic() > deadline:
            raise ProcessError(f"{process.args!r} was not ready within {_START_TIMEOUT:g} s:\n{tail(log)}")
        time.sleep(_POLL)


def stop(process: "subprocess.Popen[bytes]") -> None:
    """End the process, and wait for that."""
    process.terminate()
    try:
        process.wait(_STOP_TIMEOUT)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def tail(log: Path) -> str:
    """Return the last lines of the log."""
    return "\n".join(log.read_text(errors="replace").splitlines()[-20:])


def children(pid: int) -> list[int]:
    """Return the processes that the main thread of the process started and that still run; none without Linux."""
    try:
        return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    except OSError:
        return []


def cpu_time(pids: Iterable[int]) -> int | None:
    """Return the CPU time of all threads of the processes in nanoseconds; None if it is not known."""
    try:
        return sum(
            int((thread / "schedstat").read_text().split()[0])
            for pid in pids
            for thread in Path(f"/proc/{pid}/task").iterdir()
        )
    except OSError:
        return None


def memory(pid: int) -> Memory:
    """Return the current memory of a process."""
    try:
        lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    except OSError:  # not Linux, or the agent's, which only root may read
        process = subprocess.run(["ps", "-o", "rss=", "-p", str(pid)], stdout=subprocess.PIPE, check=True, text=True)
        return Memory(int(process.stdout), None)
    sizes = {words[0]: int(words[1]) for words in map(str.split, lines) if words[-1] == "kB"}
    return Memory(sizes["Rss:"], sizes["Pss:"])
