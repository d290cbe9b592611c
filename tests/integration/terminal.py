"""A command on a pseudo-terminal, its output, and what a person types."""

import os
import pty
import re
import select
import subprocess
import termios
import time
from collections.abc import Mapping
from contextlib import AbstractContextManager, suppress
from types import TracebackType
from typing import Final, Self

from tests.integration.agent_process import PATIENCE, Process
from tests.integration.fork_server import SERVER, Launch, take_terminal

_ESCAPES: Final = re.compile(r"\x1b\[[0-9;?]*[a-zA-Z]")


class Terminal(AbstractContextManager["Terminal"]):
    """A command whose standard streams are a terminal of its own."""

    def __init__(self, command: list[str], environment: Mapping[str, str], columns: int = 80) -> None:
        self._ours, its = pty.openpty()
        termios.tcsetwinsize(its, (40, columns))
        own = {name: value for name, value in environment.items() if name not in {"COLUMNS", "NO_COLOR"}}
        own["TERM"] = "xterm-256color"
        self.process: Process
        launch = Launch.of(command, own)
        if launch is not None:
            self.process = SERVER.start(launch, own, (its, its, its), terminal=True)
        else:
            self.process = subprocess.Popen(
                command,
                env=own,
                stdin=its,
                stdout=its,
                stderr=its,
                start_new_session=True,
                preexec_fn=take_terminal,  # noqa: PLW1509 -- the tests that fork start no threads
            )
        os.close(its)
        self._shown = b""

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.process.kill()
        self.process.wait(PATIENCE)
        os.close(self._ours)

    def __enter__(self) -> Self:
        return self

    @property
    def shown(self) -> str:
        """All that it has printed, without escape codes; a URL is whole, since lines are not broken."""
        return _ESCAPES.sub("", self._shown.decode("utf-8", "replace")).replace("\r\n", "\n")

    @property
    def raw(self) -> str:
        """The output with escape codes."""
        return self._shown.decode("utf-8", "replace")

    def until(self, pattern: str) -> "re.Match[str]":
        """Wait until the output matches; return the match."""
        deadline = time.monotonic() + PATIENCE
        while (result := re.search(pattern, self.shown)) is None:
            assert time.monotonic() < deadline, f"{pattern!r} is not in:\n{self.shown}"
            assert self._read() or re.search(pattern, self.shown), f"{pattern!r} is not in:\n{self.shown}"
        return result

    def type(self, text: str) -> None:
        """Type the text, which includes Enter."""
        os.write(self._ours, text.encode())

    def interrupt(self) -> int:
        """Type Ctrl-C until the command ends, and return its exit code.

        Once may be too little: of a signal that comes just before a read(2), Python learns when that has returned.
        """
        for _ in range(int(PATIENCE)):
            self.type("\x03")
            while select.select([self._ours], [], [], 1.0)[0]:
                if not self._read():
                    return self.process.wait(PATIENCE)
        raise AssertionError(f"it goes on after:\n{self.shown}")

    def end(self) -> int:
        """Wait for its end; return the exit code."""
        while self._read():
            pass
        return self.process.wait(PATIENCE)

    def _read(self) -> bool:
        """Read what is printed next; return whether more may come."""
        ready, _, _ = select.select([self._ours], [], [], PATIENCE)
        assert ready, f"nothing more is shown after:\n{self.shown}"
        data = b""
        with suppress(OSError):  # how Linux reports that the other end is closed
            data = os.read(self._ours, 65_536)
        self._shown += data
        return bool(data)
