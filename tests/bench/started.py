"""Processes that say when they are ready, as the agent does: no polling disturbs their start."""

import contextlib
import os
import select
import subprocess
import time
from collections.abc import Generator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from auth_agent.host.readiness import VARIABLE
from tests.bench.cores import pinned
from tests.bench.processes import ProcessError, stop, tail

_START_TIMEOUT: Final = 30.0  # s


@dataclass(frozen=True, slots=True)
class Started:
    """A process that is ready, when it was started (by `time.perf_counter`), and the line that it wrote then."""

    pid: int
    at: float
    line: str


@contextlib.contextmanager
def started(
    command: Sequence[str], log: Path, environment: Mapping[str, str], core: int | None = None
) -> Generator[Started]:
    """Run a process during the block, once it has written a line to the descriptor that `AUTH_AGENT_READY_FD` names.

    Args:
        command: the process.
        log: where its output goes.
        environment: its environment; that descriptor is added.
        core: where it runs.

    Raises:
        ProcessError: it ended by itself, or was not ready within half a minute.

    """
    ready, theirs = os.pipe()
    with os.fdopen(ready, "rb", buffering=0) as pipe, log.open("wb") as output, pinned(core):
        at = time.perf_counter()
        process = subprocess.Popen(
            command,
            env={**environment, VARIABLE: str(theirs)},
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            pass_fds=(theirs,),
            process_group=0,  # Ctrl-C is for the caller, which ends it
        )
        os.close(theirs)
        try:
            is_ready = bool(select.select([pipe], [], [], _START_TIMEOUT)[0])
            line = pipe.readline().decode() if is_ready else ""
            if not line:
                raise ProcessError(f"{command[0]} was not ready:\n{tail(log)}")
            yield Started(process.pid, at, line.strip())
            if process.poll() is not None:
                raise ProcessError(f"{command[0]} ended by itself, with {process.returncode}")
        finally:
            stop(process)
