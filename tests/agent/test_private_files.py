"""The files of a directory of this user alone: what others own, can reach or have put there is refused."""

import os
from pathlib import Path

import pytest

from auth_agent.host.private_directory import NotPrivateError, PrivateDirectory

NOBODY = 65534


@pytest.fixture
def place(tmp_path: Path) -> Path:
    return tmp_path / "directory"


def descriptors() -> list[str]:
    return sorted(os.listdir("/proc/self/fd"))  # noqa: PTH208 -- as short as the path


def test_it_is_made_for_this_user_only(place: Path) -> None:
    before = descriptors()
    with PrivateDirectory(place) as directory:
        directory.write("file", b"content")
        assert directory.read("file", 100) == b"content"
        assert directory.read("missing", 100) is None
    assert place.stat().st_mode & 0o777 == 0o700
    assert (place / "file").stat().st_mode & 0o777 == 0o600
    assert descriptors() == before


@pytest.mark.parametrize("mode", [0o755, 0o710, 0o701])
def test_a_directory_that_others_can_access_is_refused(mode: int, place: Path) -> None:
    place.mkdir()
    place.chmod(mode)
    before = descriptors()
    with pytest.raises(NotPrivateError, match=str(place)):
        PrivateDirectory(place)
    assert descriptors() == before


def test_another_users_directory_or_file_is_refused(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with PrivateDirectory(place) as directory:
        directory.write("file", b"content")
        monkeypatch.setattr(os, "geteuid", lambda: NOBODY)
        with pytest.raises(NotPrivateError, match="file"):
            directory.read("file", 100)
    with pytest.raises(NotPrivateError):
        PrivateDirectory(place)


def test_a_link_to_a_directory_is_refused(place: Path, tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir(mode=0o700)
    place.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(OSError, match=r"directory|symbolic"):
        PrivateDirectory(place)


@pytest.mark.parametrize("what", ["link", "pipe", "directory"])
def test_what_is_not_a_file_is_not_read(what: str, place: Path, tmp_path: Path) -> None:
    with PrivateDirectory(place) as directory:
        if what == "link":
            (tmp_path / "elsewhere").write_bytes(b"content")
            (place / "file").symlink_to(tmp_path / "elsewhere")
        elif what == "pipe":
            os.mkfifo(place / "file")
        else:
            (place / "file").mkdir()
        with pytest.raises(OSError, match=r"file|directory"):
            directory.read("file", 100)


def test_a_read_is_bounded_and_says_if_there_is_more(place: Path) -> None:
    with PrivateDirectory(place) as directory:
        directory.write("file", b"content")
        assert directory.read("file", 3) == b"cont"


def test_what_an_interrupted_write_left_is_no_file_and_is_replaced_or_deleted(place: Path) -> None:
    with PrivateDirectory(place) as directory:
        (place / "file.new").write_bytes(b"half of it, and longer than the next one")
        (place / "file.new").chmod(0o644)
        (place / "other.new").write_bytes(b"half")
        assert directory.names() == []
        directory.write("file", b"content")
        directory.delete("other")
        assert directory.names() == ["file"]
        assert [path.name for path in place.iterdir()] == ["file"]
        assert directory.read("file", 100) == b"content"
    assert (place / "file").stat().st_mode & 0o777 == 0o600


def test_a_failed_write_leaves_the_old_file_and_nothing_beside_it(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(_: int) -> None:
        raise OSError("no room")

    with PrivateDirectory(place) as directory:
        directory.write("file", b"old")
        monkeypatch.setattr(os, "fsync", fail)
        with pytest.raises(OSError, match="no room"):
            directory.write("file", b"new")
        assert directory.read("file", 100) == b"old"
        assert [path.name for path in place.iterdir()] == ["file"]
