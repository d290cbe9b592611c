"""The directory where a program runs, as it is told to the agent."""

import os
import shutil
from pathlib import Path

import pytest

from auth_agent_client.messages import MAX_DIRECTORY
from auth_agent_client.working_directory import working_directory


def test_it_has_no_links(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to("real")
    monkeypatch.chdir(tmp_path / "link")
    assert working_directory() == str(tmp_path.resolve() / "real")


def test_one_that_was_removed_is_not_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "gone").mkdir()
    monkeypatch.chdir(tmp_path / "gone")
    (tmp_path / "gone").rmdir()
    assert working_directory() is None


def test_one_that_is_not_unicode_is_not_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = os.fsencode(tmp_path) + b"/\xff"
    try:
        os.mkdir(path)  # noqa: PTH102 -- a path of bytes
    except OSError:
        pytest.skip("this file system takes no such name")
    monkeypatch.chdir(os.fsdecode(path))
    assert working_directory() is None


def test_one_that_is_longer_than_the_agent_takes_is_not_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    name = "x" * 200
    try:
        for _ in range(MAX_DIRECTORY // len(name) + 1):
            assert working_directory() is not None
            Path(name).mkdir()
            os.chdir(name)
        assert working_directory() is None
    finally:
        os.chdir(tmp_path)
        shutil.rmtree(tmp_path / name)
