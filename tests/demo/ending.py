"""That a person, or the system, wants the demo to end: noticed at once, acted upon where nothing is left half done."""

import signal
from types import FrameType
from typing import Final

# Ctrl-C, a polite end, and a terminal that was closed.
_SIGNALS: Final = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class Ended(Exception):
    """The demo was asked to end before there was anything to sum up."""


class Ending:
    """Whether the demo was asked to end; an exception out of a signal could leave processes that nobody ends."""

    def __init__(self) -> None:
        self.is_asked = False
        for one in _SIGNALS:
            signal.signal(one, self._ask)

    def _ask(self, _: int, __: FrameType | None) -> None:
        self.is_asked = True

    def check(self) -> None:
        """Between two steps. Raises `Ended`."""
        if self.is_asked:
            raise Ended
