"""The agent's log: one line an event on standard error, `key=value`, safe for a terminal."""

import errno
import logging
import os
import queue
import re
import sys
import threading
import time
from pathlib import Path
from typing import Final

from auth_agent.host.limits import start_thread
from auth_agent.host.log_file import LogFile
from auth_agent.log_limit import WINDOW, LeftOut, LogLimit
from auth_agent.printable import printable

_MAX_LINE: Final = 1000
# Lines that wait to be written; while so many wait, further ones are counted and dropped.
_MAX_WAITING: Final = 1000
_LAST_WORDS: Final = 1.0  # s; how long the agent waits at its end for the lines to be written
_PAUSE: Final = 1.0  # s; until a line that could not be written is tried again
_UNREAD: Final = "nobody read them"  # why lines are dropped, unless the system said why
# Nobody will read any more. All other errors may pass: a full disk (ENOSPC, EDQUOT), a full pipe (EAGAIN), EIO.
_FINAL: Final = frozenset({errno.EPIPE, errno.EBADF})
# Whom a line is about; the agent's own words come before what a provider or a client wrote.
_SUBJECT: Final = re.compile(r"\b(?:account|pid|uid)=\S+")


class _Line(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        when = self.formatTime(record, "%Y-%m-%dT%H:%M:%S")
        # A line stays one line, whatever a provider or a client put in it.
        return f"{when}.{int(record.msecs):03d} {record.levelname.lower()} {printable(record.getMessage(), _MAX_LINE)}"


class _Writer(logging.Handler):
    """Writes in a thread of its own: a stopped terminal, a full pipe or a full disk must not block the agent."""

    def __init__(self, output: LogFile, limit: LogLimit | None) -> None:
        super().__init__()
        self._output = output
        self._limit = limit
        self._lines: queue.Queue[str | None] = queue.Queue(_MAX_WAITING)
        self._dropped = 0
        self._problem = _UNREAD
        self._is_closing = threading.Event()
        self._thread = threading.Thread(target=self._write, name="log", daemon=True)
        start_thread(self._thread)

    def emit(self, record: logging.LogRecord) -> None:
        if self._limit is not None:
            now = time.monotonic()
            self._put_left_out(self._limit.ended(now))
            subject = _SUBJECT.search(record.getMessage())
            remaining = self._limit.remaining(str(record.msg), "" if subject is None else subject[0], now)
            if remaining <= 0:
                return
            if remaining == 1:
                self._put(f"{self.format(record)} (more like this are left out for a minute)")
                return
        self._put(self.format(record))

    def close(self) -> None:
        """Write the waiting lines, if standard error takes them within a second or two."""
        if self._thread.is_alive():
            if self._limit is not None:
                self._put_left_out(self._limit.ended(time.monotonic() + WINDOW))
            try:
                self._lines.put(None, timeout=_LAST_WORDS)
                self._is_closing.set()
                self._thread.join(_LAST_WORDS)
            except queue.Full:
                self._is_closing.set()  # nobody reads
        super().close()

    def _put(self, line: str) -> None:
        try:
            self._lines.put_nowait(line)
        except queue.Full:
            self._dropped += 1

    def _put_left_out(self, left_out: list[LeftOut]) -> None:
        for each in left_out:
            event = each.kind.partition(" ")[0]
            self._put(self._own_line(f"log left_out={each.lines} of={event!r} {each.subject}".rstrip()))

    def _own_line(self, text: str) -> str:
        return self.format(logging.LogRecord(__name__, logging.WARNING, "", 0, text, None, None))

    def _write(self) -> None:
        while (line := self._lines.get()) is not None:
            if not self._write_line(line):
                return
            dropped, self._dropped = self._dropped, 0
            if dropped and not self._write_line(self._own_line(f"log lost={dropped} problem={self._problem!r}")):
                return
            self._problem = _UNREAD

    def _write_line(self, line: str) -> bool:
        """Write a line, as soon as that is possible; return False if it never will be."""
        data = f"{line}\n".encode(errors="backslashreplace")
        while data:
            is_last_attempt = self._is_closing.is_set()
            try:
                data = data[self._output.write(data) :]
            except OSError as error:
                self._problem = error.strerror or str(error)
                if error.errno in _FINAL:
                    return False
                if isinstance(error, BlockingIOError):
                    is_last_attempt &= not self._output.wait_for_room(_PAUSE)
                elif not is_last_attempt:
                    self._is_closing.wait(_PAUSE)
                if is_last_attempt:
                    return False
        return True


def log_to_stderr(level: int = logging.INFO, own: Path | None = None) -> None:
    """Log from that level on, or everything where `AUTH_AGENT_LOG=debug`.

    Only this package's loggers: httpx would log URLs with their queries.

    Args:
        level: the level.
        own: the agent's own log file, which it rotates if that is its standard error.

    Raises:
        StartupError: the thread that writes can't be started.

    """
    debug = os.environ.get("AUTH_AGENT_LOG", "").lower() == "debug"
    handler = _Writer(LogFile(sys.stderr.fileno(), own), None if debug else LogLimit())
    handler.setFormatter(_Line())
    log = logging.getLogger("auth_agent")
    log.addHandler(handler)
    log.setLevel(logging.DEBUG if debug else level)
    log.propagate = False
