"""Rounds: the sides of a comparison are measured in turns, several times, so that other load affects them alike."""

import contextlib
from dataclasses import dataclass
from typing import Final

from tests.bench.comparison import Comparison, Figures, Measure
from tests.bench.processes import Missing
from tests.bench.stage import Stage

_WARM_UP: Final = 0.2  # of a measurement's time


@dataclass(frozen=True, slots=True)
class Form:
    """The number of rounds, and the length of a measurement in terms of what the comparison names."""

    rounds: int
    length: float


FULL: Final = Form(rounds=15, length=1.0)
SHORT: Final = Form(rounds=5, length=0.5)
# Its figures mean nothing.
QUICK: Final = Form(rounds=1, length=0.05)


@dataclass(frozen=True, slots=True)
class Findings:
    """The figures of each side in each round, and what the machine lacks for the sides that were left out."""

    rounds: dict[str, list[Figures]]
    missing: dict[str, str]


def measure(comparison: Comparison, stage: Stage, form: Form) -> Findings:
    """Measure all sides of the comparison."""
    findings = Findings({}, {})
    with contextlib.ExitStack() as resources:
        measures: dict[str, Measure] = {}
        for name, side in comparison.sides.items():
            try:
                measures[name] = resources.enter_context(side(stage))
                if comparison.warms_up:
                    measures[name](comparison.seconds * form.length * _WARM_UP)
            except Missing as missing:
                measures.pop(name, None)
                findings.missing[name] = str(missing)
        findings.rounds.update({name: [] for name in measures})
        for number in range(min(form.rounds, comparison.rounds or form.rounds)):
            # In the reverse order in every second round, so that none is always first.
            for name in list(measures)[:: -1 if number % 2 else 1]:
                findings.rounds[name].append(measures[name](comparison.seconds * form.length))
    return findings
