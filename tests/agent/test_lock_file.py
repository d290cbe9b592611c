"""A locked file: one holder, who notices if the file is removed."""

from contextlib import closing
from pathlib import Path

import pytest

from auth_agent.host.lock_file import LockFile


def test_a_file_is_locked_once(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    with closing(LockFile(path)) as lock:
        assert lock.is_in_place
        assert path.stat().st_mode & 0o777 == 0o600
        with pytest.raises(BlockingIOError):
            LockFile(path)
    LockFile(path).close()


def test_a_file_that_is_removed_or_replaced_is_not_in_place(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    with closing(LockFile(path)) as lock:
        path.unlink()
        assert not lock.is_in_place
        with closing(LockFile(path)) as other:
            assert (lock.is_in_place, other.is_in_place) == (False, True)


def test_a_symbolic_link_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "lock").symlink_to(tmp_path / "target")
    with pytest.raises(OSError, match="symbolic links"):
        LockFile(tmp_path / "lock")
    assert not (tmp_path / "target").exists()
