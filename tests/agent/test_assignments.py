"""How a person sets names to values: as HTTPie has it."""

import json

import pytest
from hypothesis import given, settings, strategies as st

from auth_agent.cli.assignments import AssignmentError, assignments, is_assignment


def mistake(*texts: str) -> str:
    with pytest.raises(AssignmentError) as raised:
        assignments(texts)
    return str(raised.value)


def test_a_text_is_a_text_and_json_keeps_its_type() -> None:
    given_texts = ["country=Canada", "active:=true", 'address:={"city": "Oslo"}', "count:=3", "half:=0.5", "gone:=null"]
    assert assignments(given_texts) == {
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
def test_the_first_sign_of_equality_divides_it(text: str, name: str, value: object) -> None:
    assert is_assignment(text)
    assert assignments([text]) == {name: value}


@pytest.mark.parametrize(
    ("texts", "said"),
    [
        (["work"], "work sets nothing: write KEY=VALUE, or KEY:=JSON"),
        (["=x"], "=x has no key before its ="),
        ([":=1"], ":=1 has no key before its :="),
        (["a=1", "b=2", "a:=3"], "a is set twice"),
        (["a:=yes"], "a: yes is no JSON; a text is written a=TEXT"),
        (["a:="], "a: there is no JSON after its :="),
        (["a:=[1 2]"], "a: [1 2] is no JSON at character 4; a text is written a=TEXT"),
        (["a:=1 2"], "a: 1 2 is no JSON at character 3; a text is written a=TEXT"),
        (["a:=NaN"], "a: JSON has no NaN"),
        (["a:=[-Infinity]"], "a: JSON has no -Infinity"),
        (["a:=1e999"], "a: 1e999 is larger than a number can be"),
        (['a:={"b": {"c": 1, "c": 2}}'], "a: its JSON has c twice"),
        ([f"a:={'[' * 100_000}"], f"a: {'[' * 59}… is more than can be read"),
        ([f"a:={'1' * 5000}"], f"a: {'1' * 59}… is more than can be read"),
        (["\x1b[31m"], " [31m sets nothing: write KEY=VALUE, or KEY:=JSON"),
    ],
)
def test_a_mistake_is_told(texts: list[str], said: str) -> None:
    assert mistake(*texts) == said


@settings(deadline=None)
@given(st.lists(st.text(max_size=20), max_size=4))
def test_whatever_is_written_is_understood_or_refused(texts: list[str]) -> None:
    try:
        found, complaint = assignments(texts), ""
    except AssignmentError as error:
        found, complaint = {}, str(error)
    assert complaint.isprintable()
    assert complaint or len(found) == len(texts)
    assert json.loads(json.dumps(found, allow_nan=False)) == found
