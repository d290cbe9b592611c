"""Making strings from outside safe for a log line and a terminal."""

import unicodedata

import pytest
from hypothesis import example, given, strategies as st

from auth_agent.printable import MAX_LENGTH, printable

STRINGS = st.text(alphabet=st.characters(codec=None))


def test_a_plain_string_is_unchanged() -> None:
    assert printable("The refresh token is invalid. Ungültig! 無効") == "The refresh token is invalid. Ungültig! 無効"


@pytest.mark.parametrize(
    ("text", "expected"),
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
def test_control_characters_become_spaces(text: str, expected: str) -> None:
    assert printable(text) == expected


@pytest.mark.parametrize("value", [None, 7, b"bytes", ["text"], {"a": 1}, True, object()])
def test_a_value_that_is_not_a_string_becomes_empty(value: object) -> None:
    assert printable(value) == ""


def test_a_string_of_the_maximum_length_is_unchanged() -> None:
    assert printable("a" * MAX_LENGTH) == "a" * MAX_LENGTH
    assert printable("abcde", 5) == "abcde"


def test_a_longer_string_is_cut_and_ends_with_an_ellipsis() -> None:
    assert printable("a" * (MAX_LENGTH + 1)) == "a" * (MAX_LENGTH - 1) + "…"
    assert printable("abcdef", 5) == "abcd…"


def test_a_string_of_many_mebibytes_is_cut() -> None:
    assert printable("a" * 10_000_000, 10) == "aaaaaaaaa…"


@given(STRINGS, st.integers(1, 300))
def test_any_string_becomes_short_and_has_no_control_characters(text: str, limit: int) -> None:
    result = printable(text, limit)
    assert len(result) <= limit
    assert [character for character in result if unicodedata.category(character).startswith("C")] == []


@given(STRINGS)
@example("one\u2028two")
@example("one\u2029two")
def test_any_string_becomes_one_line_that_can_be_encoded(text: str) -> None:
    result = printable(text)
    assert result.splitlines() in ([], [result])
    assert result.encode().decode() == result


@given(STRINGS)
def test_printable_is_idempotent(text: str) -> None:
    assert printable(printable(text)) == printable(text)
