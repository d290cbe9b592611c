"""The benchmark's programs in C, built into build/ beside this file."""

import shutil
import subprocess
import sys
from pathlib import Path
from typing import Final

from tests.bench.processes import Missing, ProcessError

_HERE: Final = Path(__file__).parent
_OPTIONS: Final = ["-O2", "-std=c11", "-D_GNU_SOURCE", "-Wall", "-Wextra", "-Werror"]


def compiled(name: str) -> str:
    """Return the path of a program, which is built if its source is newer.

    Raises:
        Missing: there is no compiler, or no Linux.
        ProcessError: the source has a mistake.

    """
    source, program = _HERE / f"{name}.c", _HERE / "build" / name
    if not program.exists() or program.stat().st_mtime < source.stat().st_mtime:
        gcc = shutil.which("gcc")
        if sys.platform != "linux" or gcc is None:
            raise Missing("gcc" if sys.platform == "linux" else "epoll")
        program.parent.mkdir(exist_ok=True)
        process = subprocess.run([gcc, *_OPTIONS, "-o", program, source], capture_output=True, text=True, check=False)
        if process.returncode != 0:
            raise ProcessError(f"{source.name} can't be built:\n{process.stderr}")
    return str(program)
