"""How a person is shown sessions."""

import math
import unicodedata
from collections.abc import Mapping

import pytest
from hypothesis import given, settings, strategies as st

from auth_agent.cli.status import status_lines
from auth_agent_client.messages import RECORD

NOW = 1_800_000_000.0
HEAD = "ACCOUNT  USER  STATE  GOOD FOR  NEXT REFRESH"

# What msgpack can bring, but for floats that are no numbers (they have a test of their own).
VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**64 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(alphabet=st.characters(codec=None))
    | st.binary(),
    lambda values: st.lists(values, max_size=3) | st.dictionaries(st.text(max_size=3), values, max_size=3),
    max_leaves=5,
)
RECORDS = st.lists(st.dictionaries(st.sampled_from(RECORD), VALUES), max_size=4)


def shown(**more: object) -> dict[str, object]:
    """A record as an agent gives it."""
    return {
        "account": "work",
        "name": "Alice",
        "subject": "auth0|alice",
        "state": "ready",
        "renewal": "idle",
        "reason": None,
        "expires_at": NOW + 3599,
        "refresh_at": NOW + 2880,
        **more,
    }


def cells(record: Mapping[str, object]) -> list[str]:
    """The row of one record, in its columns."""
    head, row = status_lines([record], NOW)
    starts = [head.index(title) for title in ("ACCOUNT", "USER", "STATE", "GOOD FOR", "NEXT REFRESH")]
    ends = [*starts[1:], None]
    return [row[start:end].strip() for start, end in zip(starts, ends, strict=True)]


def columns(text: str) -> int:
    """How many columns a terminal gives a text."""
    return sum(2 if unicodedata.east_asian_width(character) in "WF" else 1 for character in text)


def test_a_session_is_a_row_under_a_head() -> None:
    assert status_lines([shown()], NOW) == [
        "ACCOUNT  USER   STATE  GOOD FOR  NEXT REFRESH",
        "work     Alice  ready  59m 59s   48m 0s",
    ]


def test_without_sessions_there_is_the_head_alone() -> None:
    assert status_lines([], NOW) == [HEAD]


def test_columns_are_as_wide_as_what_is_widest_in_them() -> None:
    lines = status_lines(
        [
            shown(),
            shown(account="a-longer-name", name="Bo", state="login_required", expires_at=None, refresh_at=None),
            shown(account="x", name="Somebody with a name", renewal="running", refresh_at=None),
        ],
        NOW,
    )
    assert lines == [
        "ACCOUNT        USER                  STATE           GOOD FOR  NEXT REFRESH",
        "work           Alice                 ready           59m 59s   48m 0s",
        "a-longer-name  Bo                    login_required  -         -",
        "x              Somebody with a name  ready           59m 59s   now",
    ]


def test_columns_are_aligned_also_after_a_name_of_wide_characters() -> None:
    _, latin, wide = status_lines([shown(), shown(name="無効")], NOW)
    assert columns(wide.partition("ready")[0]) == columns(latin.partition("ready")[0])


def test_what_is_wrong_stands_below_its_session() -> None:
    assert status_lines([shown(reason="no route"), shown(account="home")], NOW) == [
        "ACCOUNT  USER   STATE  GOOD FOR  NEXT REFRESH",
        "work     Alice  ready  59m 59s   48m 0s",
        "         no route",
        "home     Alice  ready  59m 59s   48m 0s",
    ]


def test_a_reason_does_not_widen_the_columns() -> None:
    lines = status_lines([shown(reason="r" * 150)], NOW)
    assert lines[0] == "ACCOUNT  USER   STATE  GOOD FOR  NEXT REFRESH"
    assert lines[2] == " " * 9 + "r" * 150


def test_records_may_come_one_by_one() -> None:
    assert status_lines((shown() for _ in range(2)), NOW) == status_lines([shown(), shown()], NOW)


# ---- who


@pytest.mark.parametrize(
    ("name", "subject", "user"),
    [
        ("Alice", "auth0|alice", "Alice"),
        (None, "auth0|alice", "auth0|alice"),
        ("", "auth0|alice", "auth0|alice"),
        (None, None, "-"),
        (7, None, "-"),
        ("n" * 41, None, "n" * 39 + "…"),
    ],
)
def test_a_user_is_shown_by_name_else_by_subject(name: object, subject: object, user: str) -> None:
    assert cells(shown(name=name, subject=subject))[1] == user


# ---- how long


@pytest.mark.parametrize(
    ("seconds", "span"),
    [
        (59, "59s"),
        (1, "1s"),
        (59.9, "59s"),
        (60, "1m 0s"),
        (125, "2m 5s"),
        (3599, "59m 59s"),
        (3600, "1h 0m"),
        (2 * 3600 + 5 * 60 + 59, "2h 5m"),
        (86_399, "23h 59m"),
        (86_400, "1d 0h"),
        (86_400 + 3 * 3600 + 59 * 60, "1d 3h"),
        (400 * 86_400, "400d 0h"),
        (0.9, "0s"),
        (0, "0s"),
        (-5000, "0s"),
    ],
)
def test_a_time_is_shown_as_how_long_it_is_until_then(seconds: float, span: str) -> None:
    assert cells(shown(expires_at=NOW + seconds, refresh_at=NOW + seconds))[3:] == [span, span]


@pytest.mark.parametrize("value", [None, "soon", b"1", [1], {}])
def test_a_time_that_is_none_is_a_dash(value: object) -> None:
    assert cells(shown(expires_at=value, refresh_at=value))[3:] == ["-", "-"]


def test_a_refresh_in_flight_is_now() -> None:
    assert cells(shown(renewal="running", refresh_at=None))[4] == "now"


def test_the_next_attempt_after_a_failure_is_the_next_refresh() -> None:
    assert cells(shown(renewal="retrying", refresh_at=NOW + 12))[4] == "12s"


# ---- what comes from outside


@pytest.mark.parametrize("text", ["\x1b[31mred", "two\nlines", "a\u2028b", "\u202eevil", "c1 \x9b31m", "bell\x07"])
def test_nothing_that_a_terminal_obeys_reaches_it(text: str) -> None:
    lines = status_lines([shown(account=text, name=text, state=text, reason=text)], NOW)
    assert len(lines) == 3
    assert [character for line in lines for character in line if not character.isprintable()] == []


@settings(deadline=None, max_examples=25)
@given(RECORDS)
def test_records_of_any_kind_become_printable_lines(records: list[dict[str, object]]) -> None:
    lines = status_lines(records, NOW)
    assert 1 + len(records) <= len(lines) <= 1 + 2 * len(records)
    assert [line for line in lines if not line.isprintable()] == []


def test_a_record_of_nothing_is_a_row_of_dashes() -> None:
    assert status_lines([{}], NOW) == [HEAD, "         -            -         -"]


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_a_time_that_is_no_finite_number_does_not_raise(value: float) -> None:
    assert len(status_lines([shown(expires_at=value)], NOW)) == 2
