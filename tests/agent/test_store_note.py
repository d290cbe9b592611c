"""The store in use: which one is remembered, and what an agent makes of a note that can't be used."""

import json
import logging
from contextlib import closing, suppress
from pathlib import Path

import pytest

from auth_agent import remedies
from auth_agent.errors import StartupError
from auth_agent.storage.lock import StoreLock, keyring_locks, sealed_file_locks
from auth_agent.storage.state_directory import prepare
from auth_agent.storage.store_note import StoreNote
from auth_agent.storage.stores import DEFAULT, NAMES, is_persistent, remember_store, store_in_use

SOCKET = Path("/run/user/1000/auth-agent/agent.sock")
PERSISTENT = [name for name in NAMES if is_persistent(name)]
CHOICES = [("auth-agent", "start", "--store", name) for name in PERSISTENT]
UNUSABLE = [
    "",
    "{",
    "[]",
    "{}",
    '{"version": 1}',
    '{"version": 1, "store": null}',
    '{"version": 1, "store": ["file"]}',
    '{"version": 1, "store": "disk"}',
    '{"version": 1, "store": "memory"}',
    '{"version": 2, "store": "file"}',
    "\0" * 40,
]


@pytest.fixture
def state_path(tmp_path: Path) -> Path:
    directory = tmp_path / "state"
    prepare(directory)
    return directory


@pytest.fixture
def note(state_path: Path) -> StoreNote:
    return StoreNote(state_path)


# ---- which store an agent uses


def test_without_a_note_the_default_store_is_used(state_path: Path) -> None:
    assert store_in_use(state_path) == DEFAULT
    assert store_in_use(state_path / "nowhere") == DEFAULT


@pytest.mark.parametrize("name", PERSISTENT)
def test_a_persistent_store_is_remembered(name: str, state_path: Path, note: StoreNote) -> None:
    remember_store(name, state_path, SOCKET)
    assert store_in_use(state_path) == name
    assert json.loads(note.path.read_text()) == {"version": 1, "store": name}
    assert note.path.stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize("before", [None, *PERSISTENT])
def test_a_store_that_is_not_persistent_is_not_remembered(
    before: str | None, state_path: Path, note: StoreNote
) -> None:
    if before is not None:
        note.write(before)
    for name in set(NAMES) - set(PERSISTENT):
        remember_store(name, state_path, SOCKET)
    assert note.read() == before


@pytest.mark.parametrize("content", UNUSABLE)
def test_a_note_that_can_not_be_used_never_stands_for_another_store(
    content: str, state_path: Path, note: StoreNote
) -> None:
    note.path.write_text(content)
    with pytest.raises(StartupError, match=str(note.path)) as caught:
        store_in_use(state_path)
    assert [remedy.command for remedy in caught.value.remedy] == CHOICES
    assert note.path.read_text() == content


def test_a_directory_in_place_of_the_note_never_stands_for_another_store(state_path: Path, note: StoreNote) -> None:
    note.path.mkdir()
    with pytest.raises(StartupError, match=f"{note.path}.*Is a directory") as caught:
        store_in_use(state_path)
    assert [remedy.command for remedy in caught.value.remedy] == CHOICES


def test_a_state_directory_that_can_not_be_used_is_reported_as_such(state_path: Path) -> None:
    (state_path / "file").touch()
    with pytest.raises(StartupError) as caught:
        store_in_use(state_path / "file" / "below")
    assert remedies.run_in_memory() in caught.value.remedy


# ---- what is remembered


@pytest.mark.parametrize("content", UNUSABLE)
def test_a_store_that_was_named_replaces_a_note_that_can_not_be_used(
    content: str, state_path: Path, note: StoreNote
) -> None:
    note.path.write_text(content)
    remember_store("file", state_path, SOCKET)
    assert store_in_use(state_path) == "file"


def test_a_note_that_is_right_is_not_written_again(state_path: Path, note: StoreNote) -> None:
    note.write("file")
    before = note.path.stat()
    remember_store("file", state_path, SOCKET)
    assert note.path.stat() == before


def test_another_store_than_the_remembered_one_is_logged_in_one_line(
    state_path: Path, note: StoreNote, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    for _ in range(2):
        remember_store(DEFAULT, state_path, SOCKET)
    assert (note.read(), caplog.messages) == ("keyring", [])
    remember_store("file", state_path, SOCKET)
    assert caplog.messages == ["store name=file before=keyring"]


@pytest.mark.parametrize("place", ["note", "new"])
def test_a_note_that_can_not_be_written_is_logged(
    place: str, state_path: Path, note: StoreNote, caplog: pytest.LogCaptureFixture
) -> None:
    (note.path if place == "note" else note.path.with_name(f"{note.path.name}.new")).mkdir()
    remember_store("file", state_path, SOCKET)
    assert caplog.messages == [f"store name=file note={note.path} error='Is a directory'"]


@pytest.mark.parametrize("before", [None, "keyring"])
def test_the_store_of_an_agent_beside_another_one_is_not_remembered(
    before: str | None, state_path: Path, note: StoreNote, caplog: pytest.LogCaptureFixture
) -> None:
    if before is not None:
        note.write(before)
    (lock,) = keyring_locks(state_path)
    with closing(StoreLock(lock, SOCKET)):
        remember_store("file", state_path, SOCKET.with_name("beside.sock"))
    assert note.read() == before
    assert len(caplog.messages) == 1
    remember_store("file", state_path, SOCKET)
    assert note.read() == "file"


def test_an_agent_with_another_state_directory_does_not_keep_a_store_from_being_remembered(
    state_path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    (_, of_session) = keyring_locks(tmp_path / "other")
    with closing(StoreLock(of_session, SOCKET)):
        remember_store("file", state_path, SOCKET)
    assert store_in_use(state_path) == "file"


def test_to_remember_a_store_leaves_the_locks_of_the_one_before_free(state_path: Path) -> None:
    remember_store("file", state_path, SOCKET)
    remember_store("keyring", state_path, SOCKET)
    for path in (*keyring_locks(state_path), *sealed_file_locks(state_path)):
        StoreLock(path, SOCKET).close()


# ---- a note that is replaced for a while


@pytest.mark.parametrize("before", [None, "{", '{"version": 1, "store": "file"}', '{"version": 1, "store": "keyring"}'])
def test_a_replaced_note_stays_if_the_block_succeeds_and_is_as_before_if_not(
    before: str | None, note: StoreNote
) -> None:
    if before is not None:
        note.path.write_text(before)
    written: list[str | None] = []
    with suppress(LookupError), note.replaced("file"):
        written.append(note.read())
        raise LookupError
    assert written == ["file"]
    assert (note.path.read_text() if note.path.exists() else None) == before
    with note.replaced("file"):
        pass
    assert note.read() == "file"


def test_without_a_replaced_note_the_block_is_not_run(note: StoreNote) -> None:
    note.path.mkdir()
    with pytest.raises(IsADirectoryError), note.replaced("file"):
        pytest.fail("the block was run")
