"""The agent's own log file: rotated by its size, made anew if it is removed; somebody else's file is left alone."""

import os
from collections.abc import Generator
from pathlib import Path

import pytest

from auth_agent.host.log_file import MAX_SIZE, LogFile, old_log


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "state" / "agent.log"


@pytest.fixture
def descriptor(path: Path) -> Generator[int]:
    """Yield what an agent in the background has as standard error."""
    path.parent.mkdir()
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    yield descriptor
    os.close(descriptor)


def test_a_large_log_is_kept_beside_a_new_one(path: Path, descriptor: int) -> None:
    log = LogFile(descriptor, path)
    log.write(b"x" * MAX_SIZE)
    log.write(b"new\n")
    assert path.read_bytes() == b"new\n"
    assert path.stat().st_mode & 0o777 == 0o600
    assert old_log(path).stat().st_size == MAX_SIZE
    log.write(b"y" * MAX_SIZE)
    log.write(b"newest\n")
    assert path.read_bytes() == b"newest\n"
    assert old_log(path).read_bytes()[:5] == b"new\ny"
    assert len(list(path.parent.iterdir())) == 2


def test_a_removed_log_is_made_anew(path: Path, descriptor: int) -> None:
    log = LogFile(descriptor, path)
    path.unlink()
    log.write(b"one\n")
    path.rename(path.with_name("elsewhere"))
    path.parent.rename(path.parent.with_name("moved"))
    log.write(b"two\n")
    assert path.read_bytes() == b"two\n"


@pytest.mark.usefixtures("descriptor")
def test_a_file_of_somebody_else_is_not_touched(path: Path, tmp_path: Path) -> None:
    mine = tmp_path / "mine.log"
    with mine.open("ab") as file:
        log = LogFile(file.fileno(), path)
        log.write(b"x" * MAX_SIZE)
        log.write(b"more\n")
    assert mine.stat().st_size == MAX_SIZE + 5
    assert path.stat().st_size == 0
    assert not old_log(path).exists()


def test_a_link_to_another_file_is_not_the_own_log(path: Path, descriptor: int, tmp_path: Path) -> None:
    path.rename(tmp_path / "mine.log")
    path.symlink_to(tmp_path / "mine.log")
    log = LogFile(descriptor, path)
    log.write(b"x" * MAX_SIZE)
    log.write(b"more\n")
    assert path.is_symlink()
    assert path.stat().st_size == MAX_SIZE + 5


def test_where_no_new_file_can_be_made_the_old_one_is_written_on(path: Path, descriptor: int) -> None:
    log = LogFile(descriptor, path)
    log.write(b"x" * MAX_SIZE)
    path.with_name("agent.log.new").mkdir()
    log.write(b"more\n")
    assert path.stat().st_size == MAX_SIZE + 5
