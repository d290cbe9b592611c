"""Changes of metadata: the replacement, and whether a change was applied."""

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


def merge(before: dict[str, object], changes: dict[str, object]) -> dict[str, object]:
    """Merge a change as Auth0 does."""
    return {name: value for name, value in {**before, **changes}.items() if value is not None}


@given(VALUES, MAPS)
def test_a_merged_change_is_applied(before: dict[str, object], changes: dict[str, object]) -> None:
    assert is_applied(merge(before, changes), changes, clear=False)


@given(VALUES, MAPS)
def test_a_replacement_leaves_only_its_members(before: dict[str, object], wanted: dict[str, object]) -> None:
    after = merge(before, replacement(before, wanted))
    assert after == merge({}, wanted)
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
def test_a_change_with_another_value_is_not_applied(after: dict[str, object], changes: dict[str, object]) -> None:
    assert not is_applied(after, changes, clear=False)


def test_an_integer_equals_a_float() -> None:
    assert is_applied({"a": 1}, {"a": 1.0}, clear=False)


def test_a_clearing_change_is_not_applied_while_other_keys_remain() -> None:
    assert not is_applied({"a": 1, "b": 2}, {"a": 1}, clear=True)
    assert is_applied({"a": 1}, {"a": 1}, clear=True)
    assert is_applied({}, {}, clear=True)
