"""Tables: rows of figures and ratios, as text and as JSON."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

_NAME_WIDTH: Final = 38
_WIDTH: Final = 12


@dataclass(frozen=True, slots=True)
class Ratio:
    """The ratio of a figure to the floor's: the median of the rounds, their minimum and maximum."""

    median: float
    least: float
    greatest: float


@dataclass(frozen=True, slots=True)
class Row:
    """The figures of one measured thing; None if a figure is not known."""

    name: str
    figures: Sequence[float | None]
    ratio: Ratio | None = None


@dataclass(frozen=True, slots=True)
class Section:
    """Rows with the same columns, which are the figures' names and decimal places."""

    title: str
    columns: Sequence[tuple[str, int]]
    rows: Sequence[Row]
    note: str


def text(sections: Sequence[Section]) -> str:
    """Return all sections as one table."""
    width = max(len(section.columns) for section in sections)
    return "\n".join(line.rstrip() for section in sections for line in _lines(section, width))


def _lines(section: Section, width: int) -> Iterator[str]:
    names = [name for name, _ in section.columns] + [""] * (width - len(section.columns))
    yield f"{section.title:<{_NAME_WIDTH}}" + "".join(f"{name:>{_WIDTH}}" for name in [*names, "ratio", "min..max"])
    for row in section.rows:
        figures = [_number(figure, places) for figure, (_, places) in zip(row.figures, section.columns, strict=True)]
        figures += [""] * (width - len(figures))
        ratio = ["", ""]
        if row.ratio is not None:
            ratio = [f"{row.ratio.median:.2f}", f"{row.ratio.least:.2f}..{row.ratio.greatest:.2f}"]
        yield f"  {row.name:<{_NAME_WIDTH - 2}}" + "".join(f"{cell:>{_WIDTH}}" for cell in [*figures, *ratio])
    yield f"  ({section.note})"
    yield ""


def _number(figure: float | None, places: int) -> str:
    return "-" if figure is None else f"{figure:,.{places}f}"


def as_json(sections: Sequence[Section]) -> list[dict[str, object]]:
    """Return all sections as JSON values."""
    return [
        {
            "title": section.title,
            "note": section.note,
            "rows": [_row(row, [name for name, _ in section.columns]) for row in section.rows],
        }
        for section in sections
    ]


def _row(row: Row, columns: Sequence[str]) -> dict[str, object]:
    ratio = row.ratio and {"median": row.ratio.median, "min": row.ratio.least, "max": row.ratio.greatest}
    return {"name": row.name, "figures": dict(zip(columns, row.figures, strict=True)), "ratio": ratio}
