"""The notes beside the store: they are on disk before the action that they announce, and never block it."""

import hashlib
import json
import logging
import os
import shutil
import threading
from pathlib import Path

import pytest

from auth_agent.secret import Secret
from auth_agent.storage import journal as module, state_directory
from auth_agent.storage.journal import Journal, Note

pytestmark = pytest.mark.anyio

ONE, TWO, THREE = (Secret(text).fingerprint() for text in ("rt-1", "rt-2", "rt-3"))


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


def read(directory: Path, account: str = "work") -> Note:
    """Return the note that the next agent reads."""
    return Journal(directory).note(account)


def files(directory: Path) -> list[Path]:
    return list(directory.iterdir())


def file_of(directory: Path, account: str = "work") -> Path:
    return directory / f"{account}.{hashlib.sha256(account.encode()).hexdigest()[:8]}.json"


async def test_a_new_account_has_an_empty_note(tmp_path: Path) -> None:
    assert read(tmp_path) == Note()
    assert files(tmp_path) == []


async def test_a_token_is_noted_on_disk_before_it_may_be_sent(tmp_path: Path) -> None:
    journal = Journal(tmp_path)
    await journal.record_sent("work", ONE, 123.5)
    assert read(tmp_path) == Note(sent=[ONE], used_at=123.5)
    await journal.record_sent("work", TWO, 124.5)
    await journal.record_sent("work", ONE, 125.5)
    assert read(tmp_path) == Note(sent=[TWO, ONE], used_at=125.5)


async def test_tokens_sent_before_a_save_are_replaced_after_it(tmp_path: Path) -> None:
    journal = Journal(tmp_path)
    await journal.record_sent("work", ONE, 1)
    await journal.record_sent("work", TWO, 2)
    await journal.saved("work", THREE, None, [ONE, TWO])
    assert read(tmp_path) == Note(replaced=[ONE, TWO], used_at=2)


async def test_a_token_that_its_provider_does_not_rotate_is_not_replaced(tmp_path: Path) -> None:
    journal = Journal(tmp_path)
    await journal.record_sent("work", ONE, 1)
    await journal.saved("work", ONE, None, [ONE])
    assert read(tmp_path) == Note(used_at=1)


async def test_a_token_sent_during_a_save_stays_noted_as_sent(tmp_path: Path) -> None:
    journal = Journal(tmp_path)
    await journal.record_sent("work", ONE, 1)
    await journal.record_sent("work", TWO, 2)
    await journal.saved("work", TWO, None, [ONE])
    assert read(tmp_path) == Note(sent=[TWO], replaced=[ONE], used_at=2)
    await journal.saved("work", THREE, None, [TWO])
    assert read(tmp_path) == Note(replaced=[ONE, TWO], used_at=2)


async def test_a_token_that_is_issued_again_is_no_longer_replaced(tmp_path: Path) -> None:
    journal = Journal(tmp_path)
    await journal.record_sent("work", ONE, 1)
    await journal.saved("work", TWO, None, [ONE])
    await journal.saved("work", ONE, None, [])
    assert read(tmp_path) == Note(used_at=1)


async def test_a_deletion_replaces_nothing(tmp_path: Path) -> None:
    journal = Journal(tmp_path)
    await journal.record_sent("work", ONE, 1)
    await journal.saved("work", None, None, [ONE])
    assert read(tmp_path) == Note(used_at=1)  # it may still be valid at a provider that doesn't rotate


async def test_a_tombstone_stays_until_its_logout_is_complete(tmp_path: Path) -> None:
    journal = Journal(tmp_path)
    await journal.mark_deleted("work", "first")
    assert read(tmp_path).tombstone == "first"
    await journal.saved("work", ONE, None, [])
    assert read(tmp_path).tombstone == "first"
    await journal.saved("work", ONE, "first", [])
    assert read(tmp_path).tombstone is None


async def test_the_tombstone_of_a_later_logout_stays(tmp_path: Path) -> None:
    journal = Journal(tmp_path)
    await journal.mark_deleted("work", "first")
    await journal.mark_deleted("work", "second")
    await journal.saved("work", None, "first", [])
    assert read(tmp_path).tombstone == "second"


async def test_a_save_that_changes_nothing_writes_nothing(tmp_path: Path) -> None:
    await Journal(tmp_path).saved("work", ONE, None, [])
    assert files(tmp_path) == []


async def test_a_journal_without_a_directory_is_kept_in_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    journal = Journal(None)
    await journal.record_sent("work", ONE, 1)
    await journal.mark_deleted("work", "first")
    assert journal.note("work") == Note(sent=[ONE], tombstone="first", used_at=1)
    assert files(tmp_path) == []


async def test_only_the_newest_tokens_are_noted(tmp_path: Path) -> None:
    journal = Journal(tmp_path)
    for number in range(25):
        await journal.record_sent("work", f"{number:064x}", 1)
    assert read(tmp_path).sent == [f"{number:064x}" for number in range(5, 25)]
    note = journal.note("work")
    note.replaced = [f"{number:064x}" for number in range(1000, 1190)]
    await journal.saved("work", ONE, None, note.sent)
    replaced = read(tmp_path).replaced
    assert len(replaced) == 200
    assert replaced[-1] == f"{24:064x}"
    assert file_of(tmp_path).stat().st_size < 20_000


# ---- files


async def test_a_note_is_readable_by_this_user_only_and_holds_no_token(tmp_path: Path) -> None:
    await Journal(tmp_path).record_sent("work", Secret("canary").fingerprint(), 1)
    (file,) = files(tmp_path)
    assert file.stat().st_mode & 0o777 == 0o600
    assert "canary" not in file.read_text()
    assert json.loads(file.read_text())["version"] == 1


async def test_accounts_that_differ_only_in_case_have_different_files(tmp_path: Path) -> None:
    journal = Journal(tmp_path)
    for name in (".", "..", "a", "A", "work", "Work", "con", "-", "x" * 64):
        await journal.mark_deleted(name, name)
    names = [file.name for file in files(tmp_path)]
    assert len({name.lower() for name in names}) == len(names) == 9
    assert all(read(tmp_path, name).tombstone == name for name in (".", "..", "a", "A"))


async def test_a_crash_during_a_write_leaves_the_old_note(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    journal = Journal(tmp_path)
    await journal.record_sent("work", ONE, 1)
    # A write that was interrupted in the middle of the new file.
    file_of(tmp_path).with_name(f"{file_of(tmp_path).name}.new").write_text('{"sent": ["')
    assert read(tmp_path).sent == [ONE]

    def fail(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", fail)
    await journal.record_sent("work", TWO, 2)
    assert read(tmp_path).sent == [ONE]
    monkeypatch.undo()
    await journal.record_sent("work", THREE, 3)
    assert read(tmp_path).sent == [ONE, TWO, THREE]


@pytest.mark.parametrize("obstacle", ["a file in place of the directory", "a directory in place of the file"])
async def test_a_failing_disk_causes_a_warning_and_stops_nothing(
    obstacle: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    directory = tmp_path / "sessions"
    if obstacle == "a file in place of the directory":
        directory.write_text("")
    elif obstacle == "a directory in place of the file":
        file_of(directory).mkdir(parents=True)
    with caplog.at_level(logging.WARNING):
        journal = Journal(directory)
        await journal.record_sent("work", ONE, 1)
        await journal.mark_deleted("work", "first")
    assert journal.note("work") == Note(sent=[ONE], tombstone="first", used_at=1)
    assert "journal account=work" in caplog.text
    assert ONE not in caplog.text


GARBAGE = [
    b"", b"\xff\xfe", b"canary", b"[]", b"null", b'{"sent": 7, "replaced": {}, "tombstone": [], "used_at": "x"}',
    b'{"used_at": 1' + b"0" * 400 + b"}", b'{"used_at": NaN}', b"[" * 100_000, b"\0" * 1000,
]  # fmt: skip


@pytest.mark.parametrize("text", GARBAGE, ids=range(len(GARBAGE)))
async def test_an_invalid_note_counts_as_missing(text: bytes, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    file_of(tmp_path).write_bytes(text)
    note = read(tmp_path)
    assert (note.sent, note.replaced, note.tombstone) == ([], [], None)
    assert note.used_at == 0 or note.used_at != note.used_at
    assert "canary" not in caplog.text
    await Journal(tmp_path).record_sent("work", ONE, 1)
    assert read(tmp_path) == Note(sent=[ONE], used_at=1)


async def test_a_slow_disk_delays_nobody_and_an_older_note_is_never_written_last(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(module, "_PATIENCE", 0.5)  # long enough for a thread to begin
    mended, written, write_note = threading.Event(), threading.Semaphore(0), state_directory.write_note

    def slow(path: Path, text: str) -> None:
        if THREE not in text:
            mended.wait(60)
        write_note(path, text)
        written.release()

    monkeypatch.setattr(module, "write_note", slow)
    journal = Journal(tmp_path)
    for number, fingerprint in enumerate((ONE, TWO, THREE)):
        await journal.record_sent("work", fingerprint, number)
    assert caplog.text.count("the disk takes too long") == 3
    mended.set()
    for _ in range(3):
        assert written.acquire(timeout=60)
    assert read(tmp_path) == Note(sent=[ONE, TWO, THREE], used_at=2)


async def test_the_note_of_a_renamed_account_keeps_what_was_sent_and_replaced_under_both_names(tmp_path: Path) -> None:
    journal = Journal(tmp_path)
    await journal.record_sent("old", ONE, 5.0)
    await journal.saved("old", TWO, None, [ONE])
    await journal.record_sent("old", TWO, 6.0, has=TWO)
    assert await journal.announce_move("new", "old", "a logout")
    await journal.record_sent("new", THREE, 4.0)
    journal.adopt("new")
    note = journal.note("new")
    assert (note.sent, note.replaced, note.has, note.used_at) == ([TWO, THREE], [ONE], TWO, 6.0)
    journal.adopt("old")  # it was no other account
    assert journal.note("old").sent == [TWO]


async def test_a_note_that_could_not_be_written_is_written_at_the_next_look(tmp_path: Path) -> None:
    directory = tmp_path / "sessions"
    directory.write_text("a file in its place")
    journal = Journal(directory)
    await journal.record_sent("work", ONE, 1)
    await journal.look()
    directory.unlink()
    await journal.look()
    assert read(directory) == Note(sent=[ONE], used_at=1)


async def test_a_note_whose_file_is_removed_is_written_at_the_next_look(tmp_path: Path) -> None:
    directory = tmp_path / "state" / "sessions"
    journal = Journal(directory)
    await journal.record_sent("work", ONE, 1)
    shutil.rmtree(tmp_path / "state")
    await journal.look()
    assert read(directory) == Note(sent=[ONE], used_at=1)
    before = file_of(directory).stat().st_ino
    await journal.look()
    assert file_of(directory).stat().st_ino == before


async def test_a_note_whose_file_is_removed_after_a_long_rest_is_written_at_the_next_look(tmp_path: Path) -> None:
    journal = Journal(tmp_path)
    await journal.record_sent("work", ONE, 1)
    for _ in range(2):
        os.utime(tmp_path, (1, 1))  # long ago
        for _ in range(3):
            await journal.look()
        file_of(tmp_path).unlink()
        await journal.look()
        assert read(tmp_path) == Note(sent=[ONE], used_at=1)


async def test_a_file_that_is_removed_in_the_same_tick_of_the_file_systems_clock_is_noticed(tmp_path: Path) -> None:
    journal = Journal(tmp_path)
    await journal.record_sent("work", ONE, 1)
    os.utime(tmp_path, (1, 1))
    await journal.look()
    file_of(tmp_path).unlink()
    os.utime(tmp_path, (1, 1))
    await journal.look()
    assert read(tmp_path) == Note(sent=[ONE], used_at=1)


async def test_a_disk_that_stays_full_is_told_of_once(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    directory = tmp_path / "sessions"
    directory.write_text("a file in its place")
    journal = Journal(directory)
    with caplog.at_level(logging.WARNING):
        for _ in range(3):
            await journal.record_sent("work", ONE, 1)
            await journal.look()
    assert len(caplog.messages) == 2  # that it could not be read, and that it could not be written


async def test_an_entry_is_held_from_its_save_or_its_reading_until_a_logout(tmp_path: Path) -> None:
    journal = Journal(tmp_path)
    assert not journal.is_held("work")
    await journal.saved("work", ONE, None, [], held=True)
    assert Journal(tmp_path).is_held("work")
    await journal.mark_deleted("work", "first")
    assert not Journal(tmp_path).is_held("work")
    await journal.hold("work")
    assert Journal(tmp_path).is_held("work")


async def test_the_tombstone_of_an_entry_that_was_not_found_stays(tmp_path: Path) -> None:
    journal = Journal(tmp_path)
    await journal.lose("work", None, "first")
    await journal.saved("work", ONE, "first", [], held=True)
    assert read(tmp_path).tombstone == "first"
    await journal.mark_deleted("work", "second")
    await journal.lose("work", "first", "third")  # of a write that the logout overtook
    await journal.saved("work", None, "second", [], held=False)
    assert (read(tmp_path).tombstone, read(tmp_path).held, read(tmp_path).lost) == ("second", False, True)
