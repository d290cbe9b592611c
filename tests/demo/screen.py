"""The demo's output: the steps, then a picture that is redrawn in place, or a line every few seconds."""

import os
import shutil
import sys
import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Final

from tests.demo.tally import Outcome, Tally, count, milliseconds

_WIDTH: Final = 80
_BAR: Final = 24
_LINE_EVERY: Final = 5.0  # s, if the output can't be redrawn


class Style(Enum):
    """The style of a line on a terminal with colours: the numbers of its escape sequence."""

    PLAIN = ""
    READY = "-"  # it is already coloured and wrapped
    BOLD = "1"
    DIM = "2"
    BAD = "1;31"
    GOOD = "1;32"


Line = tuple[str, Style]


@dataclass(frozen=True, slots=True)
class View:
    """The state that is shown.

    Args:
        elapsed: seconds for which the programs have run.
        seconds: seconds for which they will run.
        status: the output of `auth-agent status`.
        refreshes: the number since the login.
        tallies: the programs' requests.

    """

    elapsed: float
    seconds: float
    status: Sequence[str]
    refreshes: int
    tallies: Mapping[str, Tally]


def picture(view: View) -> list[Line]:
    """Return the state as a picture."""
    lines: list[Line] = [("", Style.PLAIN), ("$ auth-agent status", Style.DIM)]
    lines += [(text, Style.READY) for text in view.status]
    lines += [("", Style.PLAIN), *_table(view.tallies), ("", Style.PLAIN)]
    done = round(_BAR * min(view.elapsed / view.seconds, 1))
    bar = "#" * done + "." * (_BAR - done)
    left = max(view.seconds - view.elapsed, 0)
    lines.append(
        (f"{bar}  {left:3.0f} s left, {count(view.refreshes, 'refresh', 'es')} so far   Ctrl-C: stop", Style.DIM)
    )
    return lines


def _table(tallies: Mapping[str, Tally]) -> list[Line]:
    lines: list[Line] = [
        ("PROGRAM   REQUESTS  FAILED  REFUSED  TOKENS  SLOWEST: AGENT  PROVIDER", Style.BOLD),
    ]
    for name, tally in tallies.items():
        row = (
            f"{name:<8}{tally.requests:>10}{tally.failures:>8}{tally.refusals:>9}{len(tally.tokens):>8}"
            f"{milliseconds(tally.slowest_agent):>16}{milliseconds(tally.slowest_provider):>10}"
        )
        lines.append((row, Style.BAD if tally.failures or tally.refusals else Style.PLAIN))
    return lines


def sentence(view: View) -> str:
    """Return the state as one line."""
    total = Outcome(view.elapsed, view.tallies).total
    return (
        f"{view.elapsed:4.0f} s  {count(total.requests, 'request')}, {total.failures} failed, "
        f"{total.refusals} refused, {count(view.refreshes, 'refresh', 'es')}"
    )


class Screen:
    """Standard output: redrawn if it is a terminal, and coloured unless NO_COLOR is set."""

    def __init__(self) -> None:
        self._is_terminal = sys.stdout.isatty() and os.environ.get("TERM", "dumb") != "dumb"
        self._has_colours = self._is_terminal and not os.environ.get("NO_COLOR")
        self._drawn = 0  # lines of the picture, above which the cursor is
        self._written_at = 0.0  # when the last line was written

    def say(self, text: str, style: Style = Style.PLAIN) -> None:
        """Print a line."""
        self._write(self._styled(text, style) + "\n")
        self._drawn = 0

    def step(self, number: int, text: str) -> None:
        """Print the heading of a step."""
        self.say(f"{number}. {text}", Style.BOLD)

    def detail(self, text: str) -> None:
        """Print a detail below the step."""
        for line in textwrap.wrap(text, _WIDTH - 4, subsequent_indent="    ", break_on_hyphens=False):
            self.say(f"   {line}", Style.DIM)

    def show(self, view: View) -> None:
        """Show the state."""
        if self._is_terminal:
            self._redraw(picture(view))
        elif view.elapsed >= self._written_at + _LINE_EVERY:
            self._written_at = view.elapsed
            self.say(sentence(view))

    def _redraw(self, lines: Sequence[Line]) -> None:
        columns, rows = shutil.get_terminal_size((_WIDTH, 24))
        # A line that has scrolled off the screen, or has wrapped, can't be redrawn.
        last = lines[-(rows - 1) :]
        visible = [(text if style is Style.READY else text[: columns - 1], style) for text, style in last]
        up = f"\x1b[{self._drawn}F" if self._drawn else ""
        body = "".join(f"{self._styled(text, style)}\x1b[K\n" for text, style in visible)
        self._write(f"{up}{body}\x1b[J")
        self._drawn = len(visible)

    def _styled(self, text: str, style: Style) -> str:
        has_style = self._has_colours and style not in {Style.PLAIN, Style.READY}
        return f"\x1b[{style.value}m{text}\x1b[0m" if has_style else text

    def _write(self, text: str) -> None:
        sys.stdout.write(text)
        sys.stdout.flush()
