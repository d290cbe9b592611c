"""The four programs, each a process of its own, and what they say of their requests."""

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
    """One of them, running."""

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

    def last_words(self) -> str:
        """Why it ended."""
        said = self._errors.read_text(errors="replace").strip().splitlines() or ["without a word"]
        return f"{self.name} ended with {self._process.returncode}: {said[-1]}"

    def stop(self) -> None:
        """End it, and read what it has said until then."""
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
                if line.endswith("\n"):  # or it was ended in the middle
                    self.tally.add(Request.from_line(line))


class Crew:
    """All of them."""

    def __init__(self, programs: list[Program]) -> None:
        self._programs = programs

    @property
    def tallies(self) -> dict[str, Tally]:
        """The requests so far, by the programs' names."""
        return {program.name: program.tally for program in self._programs}

    @property
    def is_at_work(self) -> bool:
        """Whether each has made a request, or never will."""
        return all(program.tally.requests or program.has_ended for program in self._programs)

    def ended(self) -> list[str]:
        """What those said that ended by themselves."""
        return [program.last_words() for program in self._programs if program.has_ended]


@contextlib.contextmanager
def at_work(account: str, url: str, environment: Mapping[str, str], directory: Path) -> Generator[Crew]:
    """The programs, for as long as the block takes."""
    with contextlib.ExitStack() as stack:
        programs: list[Program] = []
        for name in NAMES:
            programs.append(Program(name, account, url, environment, directory))
            stack.callback(programs[-1].stop)
        yield Crew(programs)
