"""Signals that end the demo: recorded at once, and handled between two steps."""

import signal
from types import FrameType
from typing import Final

# Ctrl-C, a request to end, and a closed terminal.
_SIGNALS: Final = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class Ended(Exception):
    """The demo was ended before there was a result."""


class Ending:
    """Whether the demo has to end; an exception in a signal handler could leave processes behind."""

    def __init__(self) -> None:
        self.is_asked = False
        for signum in _SIGNALS:
            signal.signal(signum, self._ask)

    def _ask(self, _: int, __: FrameType | None) -> None:
        self.is_asked = True

    def check(self) -> None:
        """Raise `Ended` if a signal was received; called between two steps."""
        if self.is_asked:
            raise Ended
