"""What a change of metadata comes to, and whether it is in force."""

from typing import Any

import pytest
from hypothesis import given, strategies as st

from auth_agent.sessions.user_metadata import is_applied, replacement

JSON: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers(-5, 5) | st.text(max_size=3),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=2), inner, max_size=3),
    max_leaves=5,
)
MAPS = st.dictionaries(st.text(max_size=2), JSON, max_size=4)
VALUES = st.dictionaries(st.text(max_size=2), JSON.filter(lambda value: value is not None), max_size=4)


def merged(before: dict[str, object], changes: dict[str, object]) -> dict[str, object]:
    """As Auth0 does it."""
    return {name: value for name, value in {**before, **changes}.items() if value is not None}


@given(VALUES, MAPS)
def test_a_merged_change_is_in_force(before: dict[str, object], changes: dict[str, object]) -> None:
    assert is_applied(merged(before, changes), changes, clear=False)


@given(VALUES, MAPS)
def test_a_replacement_leaves_nothing_else(before: dict[str, object], wanted: dict[str, object]) -> None:
    after = merged(before, replacement(before, wanted))
    assert after == merged({}, wanted)
    assert is_applied(after, wanted, clear=True)


@pytest.mark.parametrize(
    ("after", "changes"),
    [
        ({}, {"a": 1}),
        ({"a": 2}, {"a": 1}),
        ({"a": True}, {"a": 1}),
        ({"a": [1]}, {"a": [True]}),
        ({"a": {"b": 0}}, {"a": {"b": False}}),
        ({"a": {"b": 1, "c": 2}}, {"a": {"b": 1}}),
        ({"a": [1, 2]}, {"a": [1]}),
        ({"a": 1}, {"a": None}),
        ({"a": None}, {"a": "x"}),
    ],
)
def test_a_different_value_is_not_in_force(after: dict[str, object], changes: dict[str, object]) -> None:
    assert not is_applied(after, changes, clear=False)


def test_a_number_is_equal_however_it_is_written() -> None:
    assert is_applied({"a": 1}, {"a": 1.0}, clear=False)


def test_a_change_that_clears_is_not_in_force_while_other_keys_are_left() -> None:
    assert not is_applied({"a": 1, "b": 2}, {"a": 1}, clear=True)
    assert is_applied({"a": 1}, {"a": 1}, clear=True)
    assert is_applied({}, {}, clear=True)
