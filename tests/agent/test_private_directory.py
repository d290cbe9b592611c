"""Directories of one user alone: made for nobody else, and never in another user's."""

import os
from collections.abc import Generator
from pathlib import Path

import pytest

from auth_agent.host.private_directory import ForeignDirectoryError, make_directory

NOBODY = 65534


@pytest.fixture(params=[0o000, 0o022, 0o777])
def umask(request: pytest.FixtureRequest) -> Generator[int, None, None]:
    before = os.umask(request.param)
    yield request.param
    os.umask(before)


@pytest.fixture
def foreign(tmp_path: Path) -> Path:
    """A directory of another user, which root may write to."""
    if os.geteuid() != 0:
        pytest.skip("only root can give a directory to another user")
    directory = tmp_path / "foreign"
    directory.mkdir()
    os.chown(directory, NOBODY, NOBODY)
    return directory


@pytest.mark.usefixtures("umask")
def test_all_new_directories_are_private_whatever_the_umask_is(tmp_path: Path) -> None:
    made = [tmp_path / "a", tmp_path / "a/b", tmp_path / "a/b/c"]
    make_directory(made[-1])
    make_directory(made[-1])
    assert [directory.stat().st_mode & 0o777 for directory in made] == [0o700] * 3


def test_a_directory_that_exists_keeps_its_mode(tmp_path: Path) -> None:
    tmp_path.chmod(0o755)
    make_directory(tmp_path / "new")
    assert tmp_path.stat().st_mode & 0o777 == 0o755


@pytest.mark.parametrize("below", ["", "a", "a/b"])
def test_nothing_is_made_in_another_users_directory(below: str, foreign: Path) -> None:
    with pytest.raises(ForeignDirectoryError) as raised:
        make_directory(foreign / below)
    assert str(NOBODY) in str(raised.value.strerror)
    assert str(foreign) in str(raised.value.strerror)
    assert list(foreign.iterdir()) == []


def test_nor_where_a_link_leads_to_one(tmp_path: Path, foreign: Path) -> None:
    (tmp_path / "link").symlink_to(foreign)
    with pytest.raises(ForeignDirectoryError):
        make_directory(tmp_path / "link" / "a")
    assert list(foreign.iterdir()) == []


def test_a_directory_for_everybody_may_be_anothers(foreign: Path) -> None:
    foreign.chmod(0o1777)
    make_directory(foreign / "a")
    assert (foreign / "a").stat().st_uid == os.geteuid()


def test_a_directory_of_root_is_used_where_the_kernel_allows_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if os.geteuid() != 0:
        pytest.skip("only root has a directory of root that it may write to")
    monkeypatch.setattr(os, "geteuid", lambda: NOBODY)
    make_directory(tmp_path / "a")
    assert (tmp_path / "a").is_dir()


@pytest.mark.parametrize("path", ["file", "file/below", "dangling", "dangling/below"])
def test_what_is_not_a_directory_is_an_error(path: str, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    (tmp_path / "dangling").symlink_to("nowhere")
    with pytest.raises(OSError, match=r"Not a directory|No such file"):
        make_directory(tmp_path / path)
