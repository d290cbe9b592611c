"""Commands: what a process costs from its start to its end."""

import os
import time
from collections.abc import Mapping
from pathlib import Path

from tests.bench.drivers import WrongAnswer


def timed(command: list[str], environment: Mapping[str, str], output: Path, right: bytes) -> float:
    """How many milliseconds the command took, started and waited for.

    Raises:
        WrongAnswer: it failed, or printed something else than it had to.

    """
    opened = (os.POSIX_SPAWN_OPEN, 1, os.fspath(output), os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    start = time.perf_counter_ns()
    pid = os.posix_spawn(command[0], command, environment, file_actions=[opened])
    _, status = os.waitpid(pid, 0)
    taken = time.perf_counter_ns() - start
    code = os.waitstatus_to_exitcode(status)
    if code != 0:
        raise WrongAnswer(f"{' '.join(command)} ended with {code}")
    if output.read_bytes() != right:
        raise WrongAnswer(f"{' '.join(command)} printed something else than it had to")
    return taken / 1e6
