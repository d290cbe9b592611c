"""JSON as a person reads it and a program parses it."""

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
def test_it_says_what_it_was_given_in_any_encoding_and_steers_no_terminal(value: object, encoding: str) -> None:
    text = json_text(value, Terminal(encoding=encoding))
    assert json.loads(text) == value
    assert text.encode(encoding)
    assert all(character == "\n" or character.isprintable() for character in text)


@pytest.mark.parametrize(
    ("text", "encoding", "shown"),
    [
        ("Zoë", "utf-8", '"Zoë"'),
        ("Zoë 😀", "ascii", '"Zo\\u00eb \\ud83d\\ude00"'),
        ("\x1b[31m\x9b\u202e\n", "utf-8", '"\\u001b[31m\\u009b\\u202e\\n"'),
        ("\ud800", "utf-8", '"\\ud800"'),
    ],
)
def test_what_can_be_shown_is_shown(text: str, encoding: str, shown: str) -> None:
    assert json_text(text, Terminal(encoding=encoding)) == shown


def test_on_request_it_is_a_line() -> None:
    assert json_text({"a": [1, 2]}, indent=None) == '{"a": [1, 2]}'
    assert json_text({"a": 1}) == '{\n  "a": 1\n}'
