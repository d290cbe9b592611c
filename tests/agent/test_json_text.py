"""JSON output that is readable and valid."""

import json

import pytest
from hypothesis import given, strategies as st

from auth_agent.cli.json_text import json_text
from auth_agent.cli.terminal import Terminal

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda values: st.lists(values, max_size=3) | st.dictionaries(st.text(max_size=5), values, max_size=3),
    max_leaves=8,
)


@given(JSON, st.sampled_from(["utf-8", "latin-1", "ascii"]))
def test_the_output_is_equal_json_in_any_encoding_without_control_characters(value: object, encoding: str) -> None:
    text = json_text(value, Terminal(encoding=encoding))
    assert json.loads(text) == value
    assert text.encode(encoding)
    assert all(character == "\n" or character.isprintable() for character in text)


@pytest.mark.parametrize(
    ("text", "encoding", "expected"),
    [
        ("Zoë", "utf-8", '"Zoë"'),
        ("Zoë 😀", "ascii", '"Zo\\u00eb \\ud83d\\ude00"'),
        ("\x1b[31m\x9b\u202e\n", "utf-8", '"\\u001b[31m\\u009b\\u202e\\n"'),
        ("\ud800", "utf-8", '"\\ud800"'),
    ],
)
def test_only_characters_that_cannot_be_shown_are_escaped(text: str, encoding: str, expected: str) -> None:
    assert json_text(text, Terminal(encoding=encoding)) == expected


def test_without_indent_the_output_is_one_line() -> None:
    assert json_text({"a": [1, 2]}, indent=None) == '{"a": [1, 2]}'
    assert json_text({"a": 1}) == '{\n  "a": 1\n}'
