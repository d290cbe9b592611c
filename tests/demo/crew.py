"""The four programs, each in its own process, and their tallies."""

import contextlib
import subprocess
import sys
import threading
from collections.abc import Generator, Mapping
from pathlib import Path
from typing import Final

from tests.demo.request import Request
from tests.demo.tally import Tally

NAMES: Final = ("mail", "calendar", "backup", "notes")
_ROOT: Final = Path(__file__).parents[2]
_STOP_TIMEOUT: Final = 5.0  # s


class Program:
    """A running program."""

    def __init__(self, name: str, account: str, url: str, environment: Mapping[str, str], directory: Path) -> None:
        self.name = name
        self.tally = Tally()
        self._errors = directory / f"{name}.log"
        with self._errors.open("wb") as errors:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "tests.demo.program", account, url],
                cwd=_ROOT,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=errors,
                text=True,
                process_group=0,  # Ctrl-C is the demo's
            )
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    @property
    def has_ended(self) -> bool:
        """Whether it ended by itself."""
        return self._process.poll() is not None

    def exit_reason(self) -> str:
        """Return why it ended."""
        lines = self._errors.read_text(errors="replace").strip().splitlines() or ["without a word"]
        return f"{self.name} ended with {self._process.returncode}: {lines[-1]}"

    def stop(self) -> None:
        """End it, and read the rest of its output."""
        self._process.terminate()
        try:
            self._process.wait(_STOP_TIMEOUT)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._reader.join()

    def _read(self) -> None:
        assert self._process.stdout is not None
        with self._process.stdout as lines:
            for line in lines:
                if line.endswith("\n"):  # otherwise it was ended in the middle of a line
                    self.tally.add(Request.from_line(line))


class Crew:
    """All programs."""

    def __init__(self, programs: list[Program]) -> None:
        self._programs = programs

    @property
    def tallies(self) -> dict[str, Tally]:
        """The requests so far, by the programs' names."""
        return {program.name: program.tally for program in self._programs}

    @property
    def is_at_work(self) -> bool:
        """Whether each program has made a request or ended."""
        return all(program.tally.requests or program.has_ended for program in self._programs)

    def ended(self) -> list[str]:
        """Return why programs ended by themselves."""
        return [program.exit_reason() for program in self._programs if program.has_ended]


@contextlib.contextmanager
def at_work(account: str, url: str, environment: Mapping[str, str], directory: Path) -> Generator[Crew]:
    """Run the programs during the block."""
    with contextlib.ExitStack() as stack:
        programs: list[Program] = []
        for name in NAMES:
            programs.append(Program(name, account, url, environment, directory))
            stack.callback(programs[-1].stop)
        yield Crew(programs)
