"""The agent's log: one line an event on standard error, `key=value`, safe for a terminal."""

import logging
import os
import sys
from typing import Final

from auth_agent.printable import printable

_MAX_LINE: Final = 1000


class _Line(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        when = self.formatTime(record, "%Y-%m-%dT%H:%M:%S")
        # Whatever a provider or a client put into it, a line stays one line.
        return f"{when}.{int(record.msecs):03d} {record.levelname.lower()} {printable(record.getMessage(), _MAX_LINE)}"


def log_to_stderr() -> None:
    """Log from `info` on, or from `debug` on where `AUTH_AGENT_LOG=debug`.

    Only what this package says: httpx would log addresses with their query strings.
    """
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_Line())
    log = logging.getLogger("auth_agent")
    log.addHandler(handler)
    log.setLevel(logging.DEBUG if os.environ.get("AUTH_AGENT_LOG", "").lower() == "debug" else logging.INFO)
    log.propagate = False
