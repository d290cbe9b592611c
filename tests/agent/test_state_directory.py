"""The state directory: for this user only, and each note in it is written atomically."""

import os
from pathlib import Path

import pytest

from auth_agent.errors import StartupError
from auth_agent.storage.state_directory import prepare, read_note, state_path, write_note

NOBODY = 65534


def test_the_state_directory_is_where_the_platform_keeps_state(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    monkeypatch.setenv("HOME", str(tmp_path))
    assert tmp_path in state_path().parents
    assert state_path().name == "auth-agent"


def test_the_directory_is_created_for_this_user_only(tmp_path: Path) -> None:
    directory = tmp_path / "state" / "auth-agent"
    prepare(directory)
    prepare(directory)
    assert directory.stat().st_mode & 0o777 == 0o700


@pytest.mark.parametrize("mode", [0o755, 0o777, 0o710, 0o701])
def test_a_directory_that_others_may_enter_is_closed_to_them(mode: int, tmp_path: Path) -> None:
    tmp_path.chmod(mode)
    prepare(tmp_path)
    assert tmp_path.stat().st_mode & 0o777 == 0o700


def test_another_users_directory_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: NOBODY)
    with pytest.raises(StartupError, match=rf"{tmp_path}.*\b{os.getuid()}\b"):
        prepare(tmp_path)


def test_a_file_in_place_of_the_directory_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StartupError, match=str(tmp_path / "file")) as caught:
        prepare(tmp_path / "file")
    assert caught.value.remedy
    with pytest.raises(StartupError, match=str(tmp_path / "file" / "below")):
        prepare(tmp_path / "file" / "below")


def test_a_missing_note_is_none(tmp_path: Path) -> None:
    assert read_note(tmp_path / "note") is None
    assert read_note(tmp_path / "no directory" / "note") is None


def test_an_unreadable_note_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(IsADirectoryError):
        read_note(tmp_path)


def test_a_note_is_read_unchanged_and_for_this_user_only(tmp_path: Path) -> None:
    for text in ("first, and longer", "sécond"):
        write_note(tmp_path / "note", text)
        assert read_note(tmp_path / "note") == text
    assert (tmp_path / "note").stat().st_mode & 0o777 == 0o600
    assert [file.name for file in tmp_path.iterdir()] == ["note"]


def test_bytes_that_are_not_utf8_are_read_with_replacements(tmp_path: Path) -> None:
    (tmp_path / "note").write_bytes(b"a\xffb")
    assert read_note(tmp_path / "note") == "a\ufffdb"


@pytest.mark.parametrize("call", ["write", "fsync", "replace"])
def test_a_write_that_fails_leaves_the_old_note_and_no_other_file(
    call: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    note = tmp_path / "note"
    write_note(note, "first")

    def fail(*_: object) -> None:
        raise OSError(5, "Input/output error")

    if call == "fsync":
        monkeypatch.setattr(os, "fsync", fail)
    elif call == "replace":
        monkeypatch.setattr(Path, "replace", fail)
    else:
        note.with_name("note.new").mkdir()
    with pytest.raises(OSError, match=r"Input/output error|Is a directory"):
        write_note(note, "second")
    assert read_note(note) == "first"
    assert [file.name for file in tmp_path.iterdir() if file.is_file()] == ["note"]


def test_a_symbolic_link_in_place_of_the_new_file_is_not_followed(tmp_path: Path) -> None:
    precious = tmp_path / "precious"
    precious.write_text("precious")
    (tmp_path / "note.new").symlink_to(precious)
    with pytest.raises(OSError, match="symbolic link"):
        write_note(tmp_path / "note", "text")
    assert precious.read_text() == "precious"
