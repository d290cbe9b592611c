"""How much memory a process may still take."""

import re
from pathlib import Path
from typing import Final

_MEMINFO: Final = Path("/proc/meminfo")
# As a container sees its own limit (cgroup v2).
_CGROUP: Final = Path("/sys/fs/cgroup")
_AVAILABLE: Final = re.compile(r"^MemAvailable:\s+([0-9]+) kB$", re.MULTILINE)


def available_memory(meminfo: Path = _MEMINFO, cgroup: Path = _CGROUP) -> int | None:
    """Return how many bytes are available, by the system and by the container's limit; None if that is not known."""
    found = _AVAILABLE.search(_read(meminfo))
    limits = [] if found is None else [int(found[1]) * 1024]
    maximum, current = _read(cgroup / "memory.max").strip(), _read(cgroup / "memory.current").strip()
    if maximum.isdecimal() and current.isdecimal():
        limits.append(max(0, int(maximum) - int(current)))
    return min(limits, default=None)


def _read(path: Path) -> str:
    try:
        return path.read_text("ascii", "replace")
    except OSError:
        return ""
