"""Entries of the first version are read, and what is written today the first version can read."""

import inspect
import json
from pathlib import Path
from typing import Any

import pytest

from auth_agent.host.clock import Moment
from auth_agent.secret import Secret
from auth_agent.sessions.entry import EntryError, dump, load
from tests.compatibility.first_version import DATA

ENTRIES = sorted((DATA / "entries").glob("*.json"))
BOOT = "the boot of the first version"
THEN = Moment(1_800_000_000.25, 5_000.5)

every_entry = pytest.mark.parametrize("path", ENTRIES, ids=lambda path: path.stem)


def written(path: Path) -> dict[str, Any]:
    """Return the entry that the first version wrote."""
    entry: dict[str, Any] = json.loads(path.read_text())
    return entry


def rewritten(entry: dict[str, Any], *, boot: str = BOOT, now: Moment = THEN) -> dict[str, Any]:
    """Read an entry, and return what today's version writes for it."""
    account = entry["account"]
    session = load(Secret(json.dumps(entry)), account, boot, now)
    # These fit into a store that limits the length of an entry.
    room = {"max_length": 12 * 1024} if "max_length" in inspect.signature(dump).parameters else {}
    write: Any = dump
    again: dict[str, Any] = json.loads(write(account, session, boot, **room).reveal())
    return again


def known(value: Any, example: Any) -> Any:
    """A value without the keys that its example doesn't have."""
    if (type(value), type(example)) != (dict, dict):
        return value
    return {name: known(inner, example[name]) for name, inner in value.items() if name in example}


def test_there_is_an_entry_of_each_kind() -> None:
    assert [path.stem for path in ENTRIES] == [
        *("ended", "interrupted", "least", "logged-in", "logged-out", "numbered", "quarantined", "robot", "rotated"),
        *("to-be-seen", "without-token"),
    ]


@every_entry
def test_every_field_of_an_entry_is_read_and_written_again(path: Path) -> None:
    entry = written(path)
    # Which of two items of a keychain is the newer one is the store's to say, and not the session's.
    fields = {name: value for name, value in entry.items() if name != "number"}
    again = rewritten(entry)
    assert known(again, entry) == fields


@every_entry
def test_a_rewritten_entry_is_stable(path: Path) -> None:
    once = rewritten(written(path))
    assert rewritten(once) == once


@every_entry
def test_after_a_reboot_a_tokens_age_is_measured_by_the_wall_clock(path: Path) -> None:
    entry = written(path)
    again = rewritten(entry, boot="another boot", now=Moment(THEN.wall + 60, 100.0))
    if entry["token"] is not None:
        assert again["token"]["boot"] == {"id": "another boot", "at": 40.0}
        again["token"]["boot"] = entry["token"]["boot"]
    assert known(again, entry) == {name: value for name, value in entry.items() if name != "number"}


@every_entry
def test_an_entry_of_another_account_is_an_error(path: Path) -> None:
    with pytest.raises(EntryError, match="another account's"):
        load(Secret(path.read_text()), "another", BOOT, THEN)


@every_entry
def test_the_repr_of_a_session_has_no_secret(path: Path) -> None:
    text = path.read_text()
    session = load(Secret(text), path.stem, BOOT, THEN)
    assert "made-up" in text or path.stem == "least"
    assert "made-up" not in repr(session)
