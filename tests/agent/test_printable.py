"""Texts from outside, on a log line and a terminal."""

import unicodedata

import pytest
from hypothesis import example, given, strategies as st

from auth_agent.printable import MAX_LENGTH, printable

TEXTS = st.text(alphabet=st.characters(codec=None))


def test_a_plain_text_stays_as_it_is() -> None:
    assert printable("The refresh token is invalid. Ungültig! 無効") == "The refresh token is invalid. Ungültig! 無効"


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("two\nlines", "two lines"),
        ("a\r\nb", "a  b"),
        ("tab\there", "tab here"),
        ("\x1b[31mred\x1b[0m", " [31mred [0m"),
        ("\x1b]0;title\x07", " ]0;title "),
        ("c1 \x9b31m", "c1  31m"),
        ("nul\0", "nul "),
        ("delete\x7f", "delete "),
        ("\u202eevil", " evil"),  # right-to-left override
        ("a\u2066b", "a b"),
        ("zero\u200bwidth", "zero width"),
        ("half \ud83d", "half  "),
    ],
)
def test_what_a_terminal_would_obey_becomes_a_space(text: str, shown: str) -> None:
    assert printable(text) == shown


@pytest.mark.parametrize("value", [None, 7, b"bytes", ["text"], {"a": 1}, True, object()])
def test_what_is_no_text_is_shown_as_nothing(value: object) -> None:
    assert printable(value) == ""


def test_a_text_of_exactly_the_limit_stays_whole() -> None:
    assert printable("a" * MAX_LENGTH) == "a" * MAX_LENGTH
    assert printable("abcde", 5) == "abcde"


def test_a_longer_text_is_cut_and_shows_that_it_was() -> None:
    assert printable("a" * (MAX_LENGTH + 1)) == "a" * (MAX_LENGTH - 1) + "…"
    assert printable("abcdef", 5) == "abcd…"


def test_a_text_of_many_mebibytes_costs_its_beginning_only() -> None:
    assert printable("a" * 10_000_000, 10) == "aaaaaaaaa…"


@given(TEXTS, st.integers(1, 300))
def test_no_text_is_longer_than_the_limit_or_holds_a_control_character(text: str, limit: int) -> None:
    shown = printable(text, limit)
    assert len(shown) <= limit
    assert [character for character in shown if unicodedata.category(character).startswith("C")] == []


@given(TEXTS)
@example("one\u2028two")
@example("one\u2029two")
def test_every_text_is_one_line_that_can_be_encoded(text: str) -> None:
    shown = printable(text)
    assert shown.splitlines() in ([], [shown])
    assert shown.encode().decode() == shown


@given(TEXTS)
def test_what_was_made_printable_stays_as_it_is(text: str) -> None:
    assert printable(printable(text)) == printable(text)
