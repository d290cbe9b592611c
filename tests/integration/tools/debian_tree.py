"""A tree of a newer Debian, with this checkout and its virtual environment in it, to run that release's tools."""

import os
import shutil
import subprocess
from functools import cache
from pathlib import Path
from typing import Final

import pytest

ROOT: Final = Path(__file__).parents[3]
RELEASE: Final = "trixie"
_SCRIPTS: Final = "/checkout/.venv/bin"


@cache
def _made() -> Path:
    subprocess.run([ROOT / ".ci" / "tree", RELEASE], check=True)
    return ROOT / ".debian" / RELEASE


def in_tree(*command: str) -> list[str]:
    """Return the command that runs this one in the tree, with this machine's /tmp; make the tree first."""
    if os.getuid() != 0:
        pytest.skip("only root can make a Debian tree")
    if shutil.which("debootstrap") is None:
        pytest.skip("this needs debootstrap: apt-get install debootstrap")
    path = f"PATH={_SCRIPTS}:/usr/sbin:/usr/bin:/sbin:/bin"
    return [str(ROOT / ".ci" / "inside"), str(_made()), "env", path, *command]
