"""The agent's log: one line an event on standard error, `key=value`, safe for a terminal."""

import logging
import os
import queue
import sys
import threading
from typing import Final

from auth_agent.printable import printable

_MAX_LINE: Final = 1000
# Lines that wait to be written; while so many wait, further ones are counted and dropped.
_MAX_WAITING: Final = 1000
_LAST_WORDS: Final = 1.0  # s; how long the agent waits at its end for the lines to be written


class _Line(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        when = self.formatTime(record, "%Y-%m-%dT%H:%M:%S")
        # A line stays one line, whatever a provider or a client put in it.
        return f"{when}.{int(record.msecs):03d} {record.levelname.lower()} {printable(record.getMessage(), _MAX_LINE)}"


class _Writer(logging.Handler):
    """Writes in a thread of its own: a stopped terminal or a full pipe must not block the agent."""

    def __init__(self) -> None:
        super().__init__()
        self._lines: queue.Queue[str | None] = queue.Queue(_MAX_WAITING)
        self._dropped = 0
        self._thread = threading.Thread(target=self._write, name="log", daemon=True)
        self._thread.start()

    def emit(self, record: logging.LogRecord) -> None:
        try:
            self._lines.put_nowait(self.format(record))
        except queue.Full:
            self._dropped += 1

    def close(self) -> None:
        """Write the waiting lines, if standard error takes them within a second or two."""
        if self._thread.is_alive():
            try:
                self._lines.put(None, timeout=_LAST_WORDS)
                self._thread.join(_LAST_WORDS)
            except queue.Full:
                pass  # nobody reads
        super().close()

    def _write(self) -> None:
        while (line := self._lines.get()) is not None:
            dropped, self._dropped = self._dropped, 0
            if dropped:
                line = f"{line}\n(and {dropped} lines were lost: nobody read them)"
            try:
                sys.stderr.write(f"{line}\n")
                sys.stderr.flush()
            except (OSError, ValueError):
                return  # nobody will read any more


def log_to_stderr(level: int = logging.INFO) -> None:
    """Log from that level on, or from `debug` on where `AUTH_AGENT_LOG=debug`.

    Only this package's loggers: httpx would log URLs with their queries.
    """
    handler = _Writer()
    handler.setFormatter(_Line())
    log = logging.getLogger("auth_agent")
    log.addHandler(handler)
    log.setLevel(logging.DEBUG if os.environ.get("AUTH_AGENT_LOG", "").lower() == "debug" else level)
    log.propagate = False
