"""The README's programs: they are typed as they say."""

import re
import subprocess
import sys
import textwrap
from pathlib import Path

ROOT = Path(__file__).parents[1]
PROGRAM = re.compile(r"^```python\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def programs() -> list[str]:
    """What the README has of Python; what awaits, in a function that may."""
    found: list[str] = PROGRAM.findall((ROOT / "README.md").read_text())
    return [f"async def main() -> None:\n{textwrap.indent(one, '    ')}" if "await " in one else one for one in found]


def test_its_programs_are_typed_as_they_say(tmp_path: Path) -> None:
    assert len(programs()) >= 4
    program = tmp_path / "program.py"
    program.write_text("\n".join(programs()))
    # What it imports of this project is looked at silently: that is checked by itself.
    options = (
        "--strict",
        "--follow-imports=silent",
        "--config-file=",
        f"--cache-dir={ROOT / '.mypy_cache' / 'readme'}",
    )
    command = [sys.executable, "-m", "mypy", *options, str(program)]
    done = subprocess.run(command, cwd=ROOT / "client", capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, ""), done.stdout
