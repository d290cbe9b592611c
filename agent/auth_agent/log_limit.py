"""How many lines of the log are written: so many a minute of each kind about one account or client.

Without a limit, a client that sends garbage, or a provider whose tokens live for a second, fills the disk.
"""

from dataclasses import dataclass
from itertools import takewhile
from typing import Final, NamedTuple

WINDOW: Final = 60.0  # s, from the first line on
# Lines of a kind about one subject in a window, and of a kind about all clients: each new process is another client.
SUBJECT_LINES: Final = 10
CLIENT_LINES: Final = 60


class LeftOut(NamedTuple):
    """Lines of that kind about that subject were left out; a subject is as in the log, such as `account=work`."""

    kind: str
    subject: str
    lines: int


@dataclass(slots=True)
class _Window:
    end: float
    most: int
    lines: int = 0
    left_out: int = 0


class LogLimit:
    """Counts lines. Times are on any clock that doesn't go back, in seconds."""

    def __init__(self) -> None:
        # In the order in which they end, since they are of one length.
        self._windows: dict[tuple[str, str], _Window] = {}

    def remaining(self, kind: str, subject: str, now: float) -> int:
        """Count a line; return how many may be written, with this one, and 0 if this one may not.

        Args:
            kind: what the line says, without what differs from line to line.
            subject: whom it is about: `account=…`, `pid=…` or `uid=…`; "" for lines about nobody.
            now: the time.

        """
        keys = [((kind, subject), SUBJECT_LINES)]
        if subject.startswith(("pid=", "uid=")):
            keys.insert(0, ((kind, ""), CLIENT_LINES))
        windows: list[_Window] = []
        for key, most in keys:
            window = self._windows.setdefault(key, _Window(now + WINDOW, most))
            if window.lines == window.most:
                window.left_out += 1
                return 0
            windows.append(window)
        for window in windows:
            window.lines += 1
        return 1 + min(window.most - window.lines for window in windows)

    def ended(self, now: float) -> list[LeftOut]:
        """Forget the windows that have ended; return what was left out in them."""
        ended = list(takewhile(lambda item: item[1].end <= now, self._windows.items()))
        for key, _ in ended:
            del self._windows[key]
        return [LeftOut(*key, window.left_out) for key, window in ended if window.left_out]
