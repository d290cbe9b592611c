"""Commands: the time of a process from its start to its end."""

import os
import time
from collections.abc import Mapping
from pathlib import Path

from tests.bench.comparison import WrongResponse


def time_command(command: list[str], environment: Mapping[str, str], output: Path, expected: bytes) -> float:
    """Run the command, and return its duration in milliseconds.

    Raises:
        WrongResponse: it failed, or its output was wrong.

    """
    opened = (os.POSIX_SPAWN_OPEN, 1, os.fspath(output), os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    start = time.perf_counter_ns()
    pid = os.posix_spawn(command[0], command, environment, file_actions=[opened])
    _, status = os.waitpid(pid, 0)
    duration = time.perf_counter_ns() - start
    code = os.waitstatus_to_exitcode(status)
    if code != 0:
        raise WrongResponse(f"{' '.join(command)} ended with {code}")
    if output.read_bytes() != expected:
        raise WrongResponse(f"{' '.join(command)} printed a wrong output")
    return duration / 1e6
