"""A terminal's screen as SVG: a window with its own background, readable on light and dark pages."""

import re
from collections.abc import Iterator
from html import escape
from typing import Final, NamedTuple

_COLUMN: Final = 8.4  # pixels, for a font of 14 pixels; all fonts are fitted to this grid
_LINE: Final = 20
_PADDING: Final = 18
_BAR: Final = 34
_TEXT: Final = "#d8dce5"
_WINDOW: Final = 'fill="#16181d" stroke="#3a3f4b"'
_LABELLED: Final = 'role="img" aria-labelledby="title output"'
# By SGR parameter; contrast with the background is 4.5 to 1 at least (WCAG 2, AA).
_COLOURS: Final = {"31": "#ff7b72", "32": "#5fd38d", "33": "#e5b95c", "2": "#929aab"}
_FONTS: Final = "ui-monospace, SFMono-Regular, Menlo, Consolas, 'DejaVu Sans Mono', 'Liberation Mono', monospace"
_BUTTONS: Final = ("#ff6159", "#ffbd2e", "#28c941")
_SGR: Final = re.compile(r"\x1b\[([0-9;]*)m")


class _Run(NamedTuple):
    text: str
    column: int
    parameter: str


def picture(command: str, screen: str, columns: int) -> str:
    """Return the SVG of a window of that many columns with the command and its coloured output.

    The screen's characters must be of one column each.
    """
    lines = [f"\x1b[2m$\x1b[0m \x1b[1m{command}\x1b[0m", *screen.rstrip("\n").split("\n")]
    width = round(columns * _COLUMN + 2 * _PADDING)
    height = _BAR + len(lines) * _LINE + _PADDING
    size = f'width="{width}" height="{height}"'
    output = escape(_SGR.sub("", screen).strip())
    return "\n".join(
        [
            f'<svg xmlns="http://www.w3.org/2000/svg" {size} viewBox="0 0 {width} {height}" {_LABELLED}>',
            f'<title id="title">{escape(command)}</title>',
            f'<desc id="output">{output}</desc>',
            f'<rect x="0.5" y="0.5" width="{width - 1}" height="{height - 1}" rx="9" {_WINDOW}/>',
            *(f'<circle cx="{20 + 20 * at}" cy="18" r="6" fill="{fill}"/>' for at, fill in enumerate(_BUTTONS)),
            f'<g fill="{_TEXT}" font-size="14" font-family="{_FONTS}">',
            *(element for row, line in enumerate(lines) for element in _elements(line, row)),
            "</g>",
            "</svg>",
            "",
        ]
    )


def _elements(line: str, row: int) -> Iterator[str]:
    y = _BAR + round((row + 0.75) * _LINE)
    for run in _runs(line):
        text = run.text.rstrip()
        if not text:
            continue
        x = _PADDING + run.column * _COLUMN
        style = ' font-weight="700"' if run.parameter == "1" else ""
        if run.parameter in _COLOURS:
            style = f' fill="{_COLOURS[run.parameter]}"'
        yield f'<text x="{x:.1f}" y="{y}" textLength="{len(text) * _COLUMN:.1f}"{style}>{escape(text)}</text>'


def _runs(line: str) -> Iterator[_Run]:
    """Yield the line in pieces of one style each, without leading blanks."""
    parameter, column = "", 0
    for index, part in enumerate(_SGR.split(line)):
        if index % 2:
            parameter = part
            continue
        # Several blanks separate columns; each column gets its own position, for every font.
        for piece in re.finditer(r"\S+(?: \S+)*", part):
            yield _Run(piece[0], column + piece.start(), parameter)
        column += len(part)
