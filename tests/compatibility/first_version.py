"""The first version, 0.1.0 as of commit 71ac6df: its code, and where what it wrote and promised is kept."""

import io
import shutil
import subprocess
import tarfile
from pathlib import Path
from typing import Final

import pytest

COMMIT: Final = "71ac6dfab96abfe6732e667fc7794659d9ce0b6c"
ROOT: Final = Path(__file__).parents[2]
DATA: Final = Path(__file__).parent / "data"
_PACKAGES: Final = ("agent/auth_agent", "client/auth_agent_client")


def missing() -> str | None:
    """Return why the code can't be had here: in a source archive, or in a clone of the newest commits only."""
    if shutil.which("git") is None:
        return "git is not installed"
    result = _git("cat-file", "-e", f"{COMMIT}^{{commit}}")
    return (
        None if result.returncode == 0 else f"this copy of the source has no commit {COMMIT[:7]}: git fetch --unshallow"
    )


def install(site: Path) -> None:
    """Put its packages there, as pip does; a test that can't have them is skipped."""
    reason = missing()
    if reason is not None:
        pytest.skip(reason)
    archive = _git("archive", "--format=tar", COMMIT, *_PACKAGES)
    archive.check_returncode()
    with tarfile.open(fileobj=io.BytesIO(archive.stdout)) as tar:
        for member in tar.getmembers():
            _, _, member.name = member.name.partition("/")  # without `agent` or `client`
            if member.name:
                tar.extract(member, site, filter="data")


def _git(*arguments: str) -> "subprocess.CompletedProcess[bytes]":
    # The checkout may be another user's, as in a container that is root's.
    command = ["git", "-C", str(ROOT), "-c", "safe.directory=*", *arguments]
    return subprocess.run(command, capture_output=True, check=False)
