"""The benchmark's look at commands: a command that fails, or prints something else, has no times."""

import os
import sys
from pathlib import Path

import pytest

from tests.bench.commands import time_command
from tests.bench.comparison import CPU, WALL, WrongResponse

_COPY = "import sys; print(sys.stdin.read())"


def test_a_command_takes_processor_time_and_wall_time(tmp_path: Path) -> None:
    times = time_command([sys.executable, "-c", _COPY], os.environ, tmp_path, b"token", stdin=b"a token\n")
    assert times[CPU] > 0
    assert times[WALL] > 0


@pytest.mark.parametrize(
    ("program", "problem"), [("print('an error')", "printed a wrong output"), ("exit(3)", "ended with 3")]
)
def test_a_command_that_does_not_print_a_token_is_a_wrong_response(tmp_path: Path, program: str, problem: str) -> None:
    with pytest.raises(WrongResponse, match=problem):
        time_command([sys.executable, "-c", program], os.environ, tmp_path, b"token")
