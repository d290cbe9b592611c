"""Assignments on the command line, in the form of HTTPie."""

import json

import pytest
from hypothesis import given, strategies as st

from auth_agent.cli.assignments import AssignmentError, assignments, is_assignment


def mistake(*words: str) -> str:
    with pytest.raises(AssignmentError) as raised:
        assignments(words)
    return str(raised.value)


def test_a_string_stays_a_string_and_json_keeps_its_type() -> None:
    words = ["country=Canada", "active:=true", 'address:={"city": "Oslo"}', "count:=3", "half:=0.5", "gone:=null"]
    assert assignments(words) == {
        "country": "Canada",
        "active": True,
        "address": {"city": "Oslo"},
        "count": 3,
        "half": 0.5,
        "gone": None,
    }


@pytest.mark.parametrize(
    ("text", "name", "value"),
    [
        ("a=", "a", ""),
        ("a=true", "a", "true"),
        ("a= b ", "a", " b "),
        ("a=b=c", "a", "b=c"),
        ("url=https://x.example/?a:=1", "url", "https://x.example/?a:=1"),
        ("a:b=c", "a:b", "c"),
        ("a::=1", "a:", 1),
        ('a:="b=c"', "a", "b=c"),
        ("a:= [1,\n2] ", "a", [1, 2]),
        ("a b=c", "a b", "c"),
        ("a=@file", "a", "@file"),
    ],
)
def test_the_first_equals_sign_is_the_separator(text: str, name: str, value: object) -> None:
    assert is_assignment(text)
    assert assignments([text]) == {name: value}


@pytest.mark.parametrize(
    "words",
    [
        ["work"],
        ["=x"],
        [":=1"],
        ["a=1", "b=2", "a:=3"],
        ["a:=yes"],
        ["a:="],
        ["a:=[1 2]"],
        ["a:=1 2"],
        ["a:=NaN"],
        ["a:=[-Infinity]"],
        ["a:=1e999"],
        ['a:={"b": {"c": 1, "c": 2}}'],
        [f"a:={'[' * 100_000}"],
        [f"a:={'1' * 5000}"],
        ["\x1b[31m"],
    ],
)
def test_what_is_not_an_assignment_is_refused_in_a_short_sentence(words: list[str]) -> None:
    message = mistake(*words)
    assert message.isprintable()
    assert len(message) < 200


@given(st.lists(st.text(max_size=20), max_size=4))
def test_any_words_are_parsed_or_refused(words: list[str]) -> None:
    try:
        values, message = assignments(words), ""
    except AssignmentError as error:
        values, message = {}, str(error)
    assert message.isprintable()
    assert message or len(values) == len(words)
    assert json.loads(json.dumps(values, allow_nan=False)) == values
