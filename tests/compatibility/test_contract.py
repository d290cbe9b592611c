"""Whatever a program, a script or a person had of the first version is there still."""

import copy
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.compatibility import first_version
from tests.compatibility.contract import contract, lost
from tests.compatibility.first_version import DATA
from tests.compatibility.record import record

FIRST: dict[str, Any] = json.loads((DATA / "contract.json").read_text())
# The number of a version isn't promised; that of the protocol is.
PARTS = sorted(FIRST.keys() - {"version"})


@pytest.fixture(scope="module")
def today() -> dict[str, Any]:
    return contract()


@pytest.mark.parametrize("part", PARTS)
def test_todays_contract_includes_the_first_versions(part: str, today: dict[str, Any]) -> None:
    assert lost(FIRST[part], today[part]) == []


# ---- the tests' own eyes


def _places(table: Any, at: tuple[str | int, ...] = ()) -> Iterator[tuple[str | int, ...]]:
    """Yield each place of a table."""
    kind = table.__class__
    inside: Any = table.items() if kind is dict else enumerate(table) if kind is list else ()
    for name, value in inside:
        yield (*at, name)
        yield from _places(value, (*at, name))


def _without(table: Any, place: tuple[str | int, ...]) -> Any:
    name, *rest = place
    smaller = copy.copy(table)
    if rest:
        smaller[name] = _without(smaller[name], tuple(rest))
    else:
        del smaller[name]
    return smaller


@pytest.mark.parametrize("part", [part for part in PARTS if isinstance(FIRST[part], (dict, list))])
def test_any_entry_removed_from_the_table_is_detected(part: str) -> None:
    places = [place for place in _places(FIRST[part]) if "needs" not in place]
    assert places
    assert [place for place in places if not lost(FIRST[part], _without(FIRST[part], place))] == []


def test_additions_to_the_contract_are_allowed() -> None:
    assert lost({"a": ["x"], "b": {}}, {"a": ["x", "y"], "b": {"c": 1}, "d": 2}) == []
    assert lost({"--store": ["keyring", "memory"]}, {"--store": ["anything"]}) == []


def test_a_requirement_may_be_dropped_but_not_added() -> None:
    assert lost({"needs": ["x"]}, {"needs": []}) == []
    assert lost({"needs": []}, {"needs": ["x"]}) == ["/needs: x"]


def test_a_changed_value_is_detected() -> None:
    assert lost({"timeout": 15.0}, {"timeout": 10.0}) == ["/timeout: 15.0 is 10.0"]


def test_the_recorded_data_is_what_the_first_version_writes(tmp_path: Path) -> None:
    reason = first_version.missing()
    if reason is not None:
        pytest.skip(reason)
    record(tmp_path / "data")
    assert _texts(tmp_path / "data") == {name: text for name, text in _texts(DATA).items() if name != "README.md"}


def _texts(directory: Path) -> dict[str, str]:
    return {str(path.relative_to(directory)): path.read_text() for path in directory.rglob("*") if path.is_file()}
