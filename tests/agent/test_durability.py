"""What has to survive a power cut: a file's content is on the disk before it has its name, and then its name is."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from auth_agent.config_file import put_accounts
from auth_agent.host.private_directory import PrivateDirectory
from auth_agent.storage.state_directory import write_note


def write_a_note(path: Path) -> None:
    write_note(path, "content")


def write_the_configuration(path: Path) -> None:
    put_accounts(path, {"work": {"issuer": "https://id.example", "client_id": "app"}})


def write_in_private_directory(path: Path) -> None:
    with PrivateDirectory(path.parent) as private:
        private.write(path.name, b"content")


def delete_in_private_directory(path: Path) -> None:
    path.write_text("content")
    with PrivateDirectory(path.parent) as private:
        private.delete(path.name)


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    tmp_path.chmod(0o700)
    return tmp_path


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, str]]:
    """The system calls that change what is on the disk, with the name of the file; the calls are made."""
    made: list[tuple[str, str]] = []
    for name in ("fsync", "replace", "unlink"):
        call: Callable[..., Any] = getattr(os, name)

        def record(one: Any, *more: Any, name: str = name, call: Callable[..., Any] = call, **how: Any) -> Any:
            changed = more[0] if more else Path(f"/proc/self/fd/{one}").readlink() if name == "fsync" else one
            made.append((name, Path(changed).name))
            return call(one, *more, **how)

        monkeypatch.setattr(os, name, record)
    return made


@pytest.mark.parametrize("write", [write_a_note, write_in_private_directory, write_the_configuration])
def test_a_file_and_then_its_name_are_synced(
    write: Callable[[Path], None], directory: Path, calls: list[tuple[str, str]]
) -> None:
    path = directory / "file"
    write(path)
    assert path.exists()
    assert calls[0][0] == "fsync"
    assert calls[1:] == [("replace", "file"), ("fsync", directory.name)]


def test_a_deletion_is_synced(directory: Path, calls: list[tuple[str, str]]) -> None:
    delete_in_private_directory(directory / "file")
    assert not (directory / "file").exists()
    assert calls[0] == ("unlink", "file")
    assert calls[-1] == ("fsync", directory.name)
