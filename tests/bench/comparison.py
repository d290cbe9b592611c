"""Comparisons: what is measured in turns, and the rows of the table that come of it."""

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import Final

from tests.bench.stage import Stage

# The figures of one side in one round, by name.
Figures = Mapping[str, float]

# Measures a side for about so many seconds.
Measure = Callable[[float], Figures]

# Starts what a side needs for the block. Raises Missing if the machine lacks something.
Side = Callable[[Stage], AbstractContextManager[Measure]]

# Names of figures that many sides have; times are in microseconds and of one request.
P50: Final = "p50"
P99: Final = "p99"
RATE: Final = "requests/s"
CPU: Final = "CPU"
WALL: Final = "wall"

# How far above its bar a row of processor time may be before the short form fails.
TOLERANCE: Final = 2.0


class WrongResponse(Exception):
    """What was measured gave a wrong response."""


@dataclass(frozen=True, slots=True)
class Bar:
    """What a figure, or its ratio to another side's, should be: at most `limit`, or at least where `more` is better."""

    limit: float
    more: bool = False

    def is_met(self, value: float) -> bool:
        """Whether the value reaches the bar."""
        return value >= self.limit if self.more else value <= self.limit

    def is_near(self, value: float) -> bool:
        """Whether the value is within the short form's tolerance of the bar."""
        return value >= self.limit / TOLERANCE if self.more else value <= self.limit * TOLERANCE


def at_most(limit: float) -> Bar:
    """Return the bar of a figure of which less is better."""
    return Bar(limit)


def at_least(limit: float) -> Bar:
    """Return the bar of a figure of which more is better."""
    return Bar(limit, more=True)


@dataclass(frozen=True, slots=True)
class Row:
    """A row of the table: a figure of one side, with its ratio to the same figure of others.

    Args:
        words: What it is; `--only` looks for words in it.
        figure: The name of the figure.
        unit: Its unit.
        side: Whose figure it is.
        beside: The sides to compare it with: floors and peers, each with the ratio's bar, or None if the ratio is for
            information.
        bar: The bar of the figure itself, in its unit.
        tail: The name of the figure's 99th percentile, which the row also shows, if there is one.
        processor_time: Whether it is processor time, which other load hardly changes: the short form judges it.

    """

    words: str
    figure: str
    unit: str
    side: str
    beside: Mapping[str, Bar | None] = field(default_factory=dict[str, Bar | None])
    bar: Bar | None = None
    tail: str | None = None
    processor_time: bool = False


@dataclass(frozen=True, slots=True)
class Comparison:
    """Sides that are measured in turns, round after round, and their rows.

    Args:
        sides: By name. A side that raises Missing is left out, with the rows and ratios that need it.
        rows: The rows.
        seconds: How long a measurement lasts.
        rounds: How many rounds there are at most, if fewer than the others' make sense.
        warms_up: Whether each side is measured once before the rounds.

    """

    sides: Mapping[str, Side]
    rows: Sequence[Row]
    seconds: float = 0.2
    rounds: int | None = None
    warms_up: bool = True

    @property
    def is_judged(self) -> bool:
        """Whether the short form has a row of it."""
        return any(row.processor_time for row in self.rows)
