"""Format text for a terminal: width, colours, symbols and wrapping.

In a pipe or a file there is no width and no colour, and no line is wrapped.
"""

import math
import os
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple, TextIO

_SECONDS_MATTER: Final = 600  # s; a longer duration is shown without seconds
_MONTH: Final = 30  # days; a longer duration is shown without hours

# The symbol of each mark, and its replacement in ASCII.
_MARKS: Final = {"good": ("●", "*"), "warning": ("▲", "!"), "bad": ("✗", "x"), "off": ("○", "o")}
# SGR parameters (ECMA-48). The terminal's own 16 colours suit its background; important text is never dim, since some
# terminals make that nearly invisible.
_STYLES: Final = {
    "good": "32",
    "warning": "33",
    "bad": "31",
    "off": "2",
    "label": "2",
    "strong": "1",
}


class Piece(NamedTuple):
    """Text in one style ("" for none). A `whole` piece is wrapped only if it is wider than a line."""

    text: str
    style: str = ""
    whole: bool = False


@dataclass(frozen=True, slots=True)
class Terminal:
    """A terminal: its `width` in columns (None: unlimited), whether it has `colour`, and its `encoding`."""

    width: int | None = None
    colour: bool = False
    encoding: str = "utf-8"

    def styled(self, text: str, style: str) -> str:
        """Return the text with escape codes for the style, if the terminal has colours."""
        sgr = _STYLES.get(style)
        return f"\x1b[{sgr}m{text}\x1b[0m" if self.colour and sgr and text else text

    def mark(self, kind: str) -> str:
        """Return the symbol for `good`, `warning`, `bad` or `off`, in its colour."""
        symbol, plain = _MARKS[kind]
        return self.styled(symbol if self.can_show(symbol) else plain, kind)

    def can_show(self, text: str) -> bool:
        """Return whether the encoding has each character."""
        try:
            text.encode(self.encoding)
        except (UnicodeEncodeError, LookupError):
            return False
        return True

    def shown(self, text: str) -> str:
        """Return the text with `?` for each character that the encoding lacks."""
        return text if self.can_show(text) else text.encode(self.encoding, "replace").decode(self.encoding)

    def wrap(self, head: str, pieces: Iterable[Piece]) -> list[str]:
        """Wrap `head`, which may be styled, and the pieces after it; further lines are indented to the head's width.

        Words are separated by one space. A word that is wider than a line is broken at its end.
        """
        indent = columns(_bare(head))
        room = None if self.width is None else max(self.width - indent, 1)
        rows: list[list[Piece]] = [[]]
        used = 0
        for word in _words(pieces, room):
            width = columns(word.text)
            if room is not None and used and used + 1 + width > room:
                rows.append([])
                used = 0
            rows[-1].append(word)
            used += width + (1 if used else 0)
        lines = [" ".join(self._rendered(piece) for piece in _joined(row)) for row in rows]
        return [f"{head}{lines[0]}".rstrip(), *(" " * indent + line for line in lines[1:])]

    def _rendered(self, piece: Piece) -> str:
        text = piece.text.rstrip(",:")  # punctuation is not styled
        return f"{self.styled(text, piece.style)}{piece.text[len(text) :]}"


PLAIN: Final = Terminal()


def terminal_of(stream: TextIO, environ: Mapping[str, str] = os.environ) -> Terminal:
    """Return the terminal of a stream; `NO_COLOR`, `CLICOLOR_FORCE`, `TERM` and `COLUMNS` are respected."""
    encoding = stream.encoding or "ascii"
    if not stream.isatty():
        return Terminal(None, _forced(environ), encoding)
    colour = _forced(environ) or (not environ.get("NO_COLOR") and environ.get("TERM") not in (None, "", "dumb"))
    return Terminal(_width(stream, environ), colour, encoding)


def columns(text: str) -> int:
    """Return how many columns the text takes: two for a wide character, none for a combining one."""
    return sum(map(_columns_of, text))


def duration(seconds: float) -> str:
    """Return a duration in its two largest units: "12 s", "58 min", "2 h 5 min", "3 d 4 h"."""
    if not math.isfinite(seconds):
        return "-"
    left = max(int(seconds), 0)
    minutes, rest = divmod(left, 60)
    hours, minute = divmod(minutes, 60)
    days, hour = divmod(hours, 24)
    if days:
        units = ((days, "d"), (hour if days < _MONTH else 0, "h"))
    elif hours:
        units = ((hours, "h"), (minute, "min"))
    else:
        units = ((minutes, "min"), (rest if left < _SECONDS_MATTER else 0, "s"))
    return " ".join(f"{count} {unit}" for count, unit in units if count) or "0 s"


def _columns_of(character: str) -> int:
    if unicodedata.combining(character):
        return 0
    return 2 if unicodedata.east_asian_width(character) in "WF" else 1


def _forced(environ: Mapping[str, str]) -> bool:
    return not environ.get("NO_COLOR") and environ.get("CLICOLOR_FORCE", "0") not in ("", "0")


def _width(stream: TextIO, environ: Mapping[str, str]) -> int | None:
    """Return the terminal's width; None if it is unknown, or too narrow for a layout."""
    value = environ.get("COLUMNS", "")
    width = int(value) if value.isascii() and value.isdigit() else 0
    if width == 0:
        try:
            width = os.get_terminal_size(stream.fileno()).columns
        except OSError:
            return None
    return width if width >= _NARROWEST else None


# In fewer columns a line has room for little more than its label.
_NARROWEST: Final = 30


def _words(pieces: Iterable[Piece], room: int | None) -> Iterable[Piece]:
    """Yield the parts that a line can be wrapped between, none of them wider than `room`."""
    for piece in pieces:
        if piece.whole and piece.text.strip() and (room is None or columns(piece.text) <= room):
            yield piece
            continue
        for word in piece.text.split():
            for part in _broken(word, room):
                yield Piece(part, piece.style)


def _broken(word: str, room: int | None) -> Iterable[str]:
    if room is None or columns(word) <= room:
        yield word
        return
    start, used = 0, 0
    for index, character in enumerate(word):
        width = _columns_of(character)
        if used and used + width > room:
            yield word[start:index]
            start, used = index, 0
        used += width
    yield word[start:]


def _joined(row: Sequence[Piece]) -> list[Piece]:
    """Return the row with neighbours of the same style merged, for fewer escape codes."""
    joined: list[Piece] = []
    for piece in row:
        if joined and joined[-1].style == piece.style:
            joined[-1] = Piece(f"{joined[-1].text} {piece.text}", piece.style)
        else:
            joined.append(piece)
    return joined


def _bare(text: str) -> str:
    """Return the text without the escape codes of `Terminal.styled`."""
    parts = text.split("\x1b[")
    return parts[0] + "".join(part.partition("m")[2] for part in parts[1:])
