"""Commands: the times of a process from its start to its end."""

import os
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from tests.bench.comparison import CPU, WALL, Figures, WrongResponse


def time_command(
    command: Sequence[str], environment: Mapping[str, str], directory: Path, expected: bytes, stdin: bytes = b""
) -> Figures:
    """Run a command, and return its processor time and its wall time in ms.

    Args:
        command: an absolute path, and arguments.
        environment: its environment.
        directory: where its input and output are put.
        expected: what its output must contain.
        stdin: its standard input.

    Raises:
        WrongResponse: it failed, or its output was wrong.

    """
    given, output = directory / "stdin", directory / "stdout"
    given.write_bytes(stdin)
    actions = [
        (os.POSIX_SPAWN_OPEN, 0, os.fspath(given), os.O_RDONLY, 0),
        (os.POSIX_SPAWN_OPEN, 1, os.fspath(output), os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600),
    ]
    start = time.perf_counter_ns()
    pid = os.posix_spawn(command[0], [*command], environment, file_actions=actions)
    _, status, usage = os.wait4(pid, 0)
    wall = (time.perf_counter_ns() - start) / 1e6
    code = os.waitstatus_to_exitcode(status)
    if code != 0:
        raise WrongResponse(f"{' '.join(command)} ended with {code}")
    if expected not in output.read_bytes():
        raise WrongResponse(f"{' '.join(command)} printed a wrong output")
    return {CPU: 1e3 * (usage.ru_utime + usage.ru_stime), WALL: wall}
