"""Which processes are one program, as the system tells: what its share of the agent is counted by.

Not the process alone, since a loop of short-lived commands would be a new program each time. A process at the
foreground of a terminal belongs to the person there, apart from what else runs in the same unit or session. Otherwise
a program is a systemd unit, such as an application, a service or a login (https://systemd.io/DESKTOP_ENVIRONMENTS/),
and where there is none, a session (setsid(2)).
"""

import os
import re
import sys
from typing import Final, NamedTuple

_UNIT: Final = re.compile(r"[^/]+\.(?:service|scope)")
# Everything of a user is below it, and the units of the user's own manager.
_USER_MANAGER: Final = re.compile(r"user@[0-9]+\.service")
_MOST_READ: Final = 16_384  # bytes
# proc(5): the numbers of fields in `stat`; the third is the first after the name.
_GROUP, _SESSION, _TERMINAL, _FOREGROUND, _START = (number - 3 for number in (5, 6, 7, 8, 22))
_TICKS: Final = os.sysconf("SC_CLK_TCK")  # a second, of its times


class ProgramID(NamedTuple):
    """A program. `kind` is one of "terminal", "unit", "session", "elsewhere", "ended" and "young"."""

    kind: str
    name: str = ""


class Origin(NamedTuple):
    """The program of a process, and since when there is one, in seconds since boot; None if that is not known."""

    program: ProgramID
    since: float | None = None

    @property
    def is_at_terminal(self) -> bool:
        """Whether a person waits for it at a terminal."""
        return self.program.kind == "terminal"


# Processes in other PID namespaces, such as containers; and those that ended, or can't be read.
ELSEWHERE: Final = Origin(ProgramID("elsewhere"))
ENDED: Final = Origin(ProgramID("ended"))


def read_origin(pid: int) -> Origin:
    """Return the program of the process with that pid.

    Raises:
        OSError: the process does not exist.

    """
    if sys.platform != "linux":
        return Origin(ProgramID("session", str(os.getsid(pid))))
    stat = _read(pid, "stat")
    try:
        leader = _read(_Process(stat).session, "stat")
    except OSError:  # it has ended, or is in another PID namespace
        leader = None
    return origin(stat, leader, _read(pid, "cgroup"))


class _Process:
    """What a `/proc/PID/stat` says. Raises an `OSError` if that is too short, as of a process that is ending."""

    def __init__(self, stat: str) -> None:
        fields = stat.rpartition(")")[2].split()  # a name may hold blanks and parentheses
        if len(fields) <= _START:
            raise ProcessLookupError("the system tells nothing about the process")
        self.session = int(fields[_SESSION])
        self.is_in_foreground = fields[_TERMINAL] != "0" and fields[_GROUP] == fields[_FOREGROUND]
        self.since = int(fields[_START]) / _TICKS


def origin(stat: str, leader: str | None, cgroup: str) -> Origin:
    """Return the program of the process with this `/proc/PID/stat` and `cgroup`; `leader` is the stat of its leader.

    A session may outlive its leader, and the age of a unit can't be read: then the age is that of the process.

    Raises:
        OSError: these are not complete.

    """
    process = _Process(stat)
    began = None if leader is None else _Process(leader).since
    session, since = f"{process.session} {began}", process.since if began is None else began
    if process.is_in_foreground:
        return Origin(ProgramID("terminal", session), since)
    unit = unit_path(cgroup)
    if unit is not None:
        return Origin(ProgramID("unit", unit), process.since)
    # It is 0 if it began in another PID namespace: all that `docker exec` starts is one program.
    return Origin(ProgramID("session", session), since)


def unit_path(cgroup: str) -> str | None:
    """Return the path of the unit in a `/proc/PID/cgroup`; None if there is none.

    The path ends with the unit, since a program can make cgroups below its own.
    """
    for line in cgroup.splitlines():
        _, _, rest = line.partition(":")
        controllers, _, path = rest.partition(":")
        if controllers in ("", "name=systemd"):  # of version 2, and of version 1
            parts = path.split("/")
            for end, part in enumerate(parts, 1):
                if _UNIT.fullmatch(part) and not _USER_MANAGER.fullmatch(part):
                    return "/".join(parts[:end])
    return None


def _read(pid: int, name: str) -> str:
    descriptor = os.open(f"/proc/{pid}/{name}", os.O_RDONLY)
    try:
        return os.read(descriptor, _MOST_READ).decode("utf-8", "replace")
    finally:
        os.close(descriptor)
