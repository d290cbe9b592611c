"""Bars and ratios: what the table says of the rounds."""

import dataclasses
from collections.abc import Sequence

import pytest

from tests.bench.__main__ import COMPARISONS
from tests.bench.comparison import Bar, Comparison, Figures, Row, at_least, at_most
from tests.bench.table import Line, as_json, as_markdown, far_from_bar, line, text


@pytest.mark.parametrize(
    ("bar", "value", "met", "near"),
    [
        (at_most(1.5), 1.5, True, True),
        (at_most(1.5), 1.6, False, True),
        (at_most(1.5), 3.1, False, False),
        (at_least(0.7), 0.7, True, True),
        (at_least(0.7), 0.36, False, True),
        (at_least(0.7), 0.34, False, False),
    ],
)
def test_a_bar_is_met_from_one_side_and_near_within_twice(bar: Bar, value: float, *, met: bool, near: bool) -> None:
    assert (bar.is_met(value), bar.is_near(value)) == (met, near)


def test_a_ratio_is_the_median_of_the_rounds_own() -> None:
    # The ratio of the medians would be 3, since the second round's load is in both.
    measured = _measured([10, 200, 30], [5, 100, 10])
    assert [(ratio.other, ratio.figure, ratio.median) for ratio in measured.ratios] == [("floor", 10, 2)]
    assert measured.figure == 30
    assert list(measured.judged) == [("floor", 2, at_most(1.5))]


def test_a_side_that_the_machine_lacks_costs_its_ratio() -> None:
    measured = line(_row(), {"agent": [{"p50": 1.0}]})
    assert measured is not None
    assert measured.ratios == []


def test_a_row_without_its_figure_is_left_out() -> None:
    assert line(_row(), {"floor": [{"p50": 1.0}]}) is None
    assert line(_row(), {"agent": [{"CPU": 1.0}], "floor": [{"CPU": 1.0}]}) is None


def test_the_short_form_fails_for_processor_time_over_twice_its_bar_alone() -> None:
    near, far = _measured([3], [1]), _measured([3.1], [1])
    of_processor = [
        dataclasses.replace(one, row=dataclasses.replace(one.row, processor_time=True)) for one in (near, far)
    ]
    assert [list(far_from_bar(one)) for one in (far, *of_processor)] == [
        [],
        [],
        ["a token: 3.10 times that of floor; the bar is 1.5"],
    ]


@pytest.mark.parametrize("comparison", COMPARISONS, ids=lambda comparison: comparison.rows[0].words)
def test_the_table_fits_into_a_terminal_of_80_columns(comparison: Comparison) -> None:
    figures = {name: 123_456.0 for row in comparison.rows for name in (row.figure, row.tail or row.figure)}
    for row in comparison.rows:
        measured = line(row, {side: [figures] for side in comparison.sides})
        assert measured is not None
        assert [each for each in text(measured).splitlines() if len(each) > 80] == []


def test_all_forms_have_the_ratio_and_whether_its_bar_is_met() -> None:
    measured = _measured([10, 20], [5, 10])
    assert text(measured).splitlines()[-1].split() == ["floor", "7.50", "2.00", "2.00..2.00", "<=", "1.5", "missed"]
    assert as_markdown([measured]).splitlines()[2:] == [
        "| a token | 15.0 µs | floor, 7.50 µs | 2.00 | <= 1.5 | missed |"
    ]
    assert as_json(measured)["beside"] == [
        {
            "side": "floor",
            "median": 7.5,
            "p99": None,
            "ratio": 2,
            "min": 2,
            "max": 2,
            "bar": 1.5,
            "more_is_better": False,
            "met": False,
        }
    ]


def _row() -> Row:
    return Row("a token", "p50", "µs", "agent", {"floor": at_most(1.5)})


def _measured(agent: Sequence[float], floor: Sequence[float]) -> Line:
    def figures(values: Sequence[float]) -> list[Figures]:
        return [{"p50": value} for value in values]

    measured = line(_row(), {"agent": figures(agent), "floor": figures(floor)})
    assert measured is not None
    return measured
