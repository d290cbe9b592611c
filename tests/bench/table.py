"""The table: rows with their figures and ratios, as text and as JSON."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Final

from tests.bench.comparison import Bar, Figures, Row

# The figures of each side in each round: of all sides in the same order.
Rounds = Mapping[str, Sequence[Figures]]


@dataclass(frozen=True, slots=True)
class Ratio:
    """What a figure is in terms of another side's: the median of the rounds, the least and the greatest."""

    other: str
    figure: float
    tail: float | None
    median: float
    least: float
    greatest: float
    bar: Bar | None


@dataclass(frozen=True, slots=True)
class Line:
    """A measured row; `rounds` are its figure in each of them."""

    row: Row
    figure: float
    tail: float | None
    rounds: Sequence[float]
    ratios: Sequence[Ratio]

    @property
    def judged(self) -> Iterator[tuple[str, float, Bar]]:
        """What has a bar: the side that it is compared with (or ""), the value, the bar."""
        if self.row.bar is not None:
            yield "", self.figure, self.row.bar
        for ratio in self.ratios:
            if ratio.bar is not None:
                yield ratio.other, ratio.median, ratio.bar


def line(row: Row, rounds: Rounds) -> Line | None:
    """Return the measured row; None if its side or its figure is missing."""
    own = [figures[row.figure] for figures in rounds.get(row.side, ()) if row.figure in figures]
    if not own:
        return None
    ratios: list[Ratio] = []
    for other, bar in row.beside.items():
        others = [figures[row.figure] for figures in rounds.get(other, ()) if row.figure in figures]
        if len(others) == len(own):
            quotients = [a / b for a, b in zip(own, others, strict=True)]
            ratio = Ratio(
                other,
                median(others),
                _tail(row, rounds[other]),
                median(quotients),
                min(quotients),
                max(quotients),
                bar,
            )
            ratios.append(ratio)
    return Line(row, median(own), _tail(row, rounds[row.side]), own, ratios)


def _tail(row: Row, rounds: Sequence[Figures]) -> float | None:
    tails = [figures[row.tail] for figures in rounds if row.tail is not None and row.tail in figures]
    return median(tails) if tails else None


def far_from_bar(measured: Line) -> Iterator[str]:
    """Say where the row's processor time is further from a bar than the short form tolerates."""
    row = measured.row
    for other, value, bar in measured.judged:
        if row.processor_time and not bar.is_near(value):
            what = f"{value:.2f} times that of {other}" if other else f"{value:.4g} {row.unit}"
            yield f"{row.words}: {what}; the bar is {bar.limit:g}"


_COLUMNS: Final = ("beside", "median", "p99", "ratio", "min..max", "bar", "")
# With the indentation they fill a terminal.
_WIDTHS: Final = (25, 9, 8, 7, 14, 8, 7)


def heading() -> str:
    """Return the names of the columns."""
    return _cells(_COLUMNS)


def text(measured: Line) -> str:
    """Return the row's lines: its own figure, then the others' with its ratio to them."""
    row = measured.row
    own = (row.side, _number(measured.figure), _number(measured.tail), "", "", *_judgement(measured.figure, row.bar))
    lines = [f"{row.words} ({row.unit})", _cells(own)]
    for ratio in measured.ratios:
        span = f"{ratio.least:.2f}..{ratio.greatest:.2f}"
        figures = (_number(ratio.figure), _number(ratio.tail), f"{ratio.median:.2f}", span)
        lines.append(_cells((ratio.other, *figures, *_judgement(ratio.median, ratio.bar))))
    return "\n".join(lines)


def _cells(cells: Sequence[str]) -> str:
    aligned = [f" {cell:>{width - 1}}" for cell, width in zip(cells[1:], _WIDTHS[1:], strict=True)]
    return f"  {cells[0]:<{_WIDTHS[0]}}{''.join(aligned)}".rstrip()


def _judgement(value: float, bar: Bar | None) -> tuple[str, str]:
    if bar is None:
        return "", ""
    return f"{'>=' if bar.more else '<='} {bar.limit:g}", "met" if bar.is_met(value) else "missed"


def _number(figure: float | None) -> str:
    if figure is None:
        return ""
    places = 0 if abs(figure) >= 1000 or figure == 0 else 1 if abs(figure) >= 10 else 2 if abs(figure) >= 0.1 else 4
    return f"{figure:,.{places}f}"


def as_markdown(lines: Sequence[Line]) -> str:
    """Return a Markdown table of what has a bar."""
    table = ["| what | figure | beside | ratio | bar | |", "| --- | --- | --- | --- | --- | --- |"]
    for measured in lines:
        unit = measured.row.unit
        figure = f"{_number(measured.figure)} {unit}"
        if measured.row.bar is not None:
            limit, met = _judgement(measured.figure, measured.row.bar)
            table.append(f"| {measured.row.words} | {figure} | | | {limit} {unit} | {met} |")
        for ratio in measured.ratios:
            if ratio.bar is not None:
                beside = f"{ratio.other}, {_number(ratio.figure)} {unit}"
                limit, met = _judgement(ratio.median, ratio.bar)
                table.append(f"| {measured.row.words} | {figure} | {beside} | {ratio.median:.2f} | {limit} | {met} |")
    return "\n".join(table)


def as_json(measured: Line) -> dict[str, object]:
    """Return the row as JSON values."""
    row = measured.row
    return {
        "row": row.words,
        "unit": row.unit,
        "processor_time": row.processor_time,
        "side": row.side,
        "median": measured.figure,
        "p99": measured.tail,
        "rounds": list(measured.rounds),
        **_bar(measured.figure, row.bar),
        "beside": [
            {
                "side": ratio.other,
                "median": ratio.figure,
                "p99": ratio.tail,
                "ratio": ratio.median,
                "min": ratio.least,
                "max": ratio.greatest,
                **_bar(ratio.median, ratio.bar),
            }
            for ratio in measured.ratios
        ],
    }


def _bar(value: float, bar: Bar | None) -> dict[str, object]:
    if bar is None:
        return {}
    return {"bar": bar.limit, "more_is_better": bar.more, "met": bar.is_met(value)}
