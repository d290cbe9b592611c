"""Which program a process is, as Linux tells: for a person to recognize it by.

Nothing of it is proof, since a process may call itself anything. Its arguments and environment are not read: they may
hold secrets, and who reads them waits for the process's memory, which the process can make last as long as it likes.
"""

import os
import re
from pathlib import Path, PurePosixPath
from typing import Final, NamedTuple

from auth_agent.printable import printable

_LONGEST_NAME: Final = 64
_LONGEST_PATH: Final = 200
_LONGEST_UNIT: Final = 100
_MOST_READ: Final = 16_384  # bytes; a page of cgroups is long
_UNIT: Final = re.compile(r"[^/]+\.(?:service|scope)(?=/|$)")
# What tells one run of an application from the next: a number, a hash or a UUID at the end of a unit's name. See
# https://systemd.io/DESKTOP_ENVIRONMENTS/ for those of desktops; systemd-run's, containers' and logins' are alike.
_RUN: Final = r"[ru]?(?:[0-9]+|[0-9a-f]{8,}(?:-[0-9a-f]{4,})*)"
_ONE_OF_MANY: Final = re.compile(rf"(?<=-){_RUN}(?=\.scope$)|(?<=@){_RUN}(?=\.service$)|(?<=^run-){_RUN}(?=\.service$)")
_DELETED: Final = " (deleted)"
# proc(5): the 4th and the 22nd field; the third is the first after the name.
_PARENT: Final = 4 - 3
_START_TIME: Final = 22 - 3


class Program(NamedTuple):
    """A program: what two processes have in common that a person would call the same. All of it is printable.

    `executable` is a path, of an interpreter where it runs a script. `unit` is the systemd unit, a `*` in place of
    what differs from run to run.
    """

    name: str
    executable: str | None
    unit: str | None


def read_program(pid: int) -> Program:
    """Return what the process of that pid is.

    Raises:
        OSError: the process does not exist, or the system does not have `/proc`.

    """
    comm, cgroup = _read(pid, "comm"), _read(pid, "cgroup")
    try:
        executable = os.fspath(Path(f"/proc/{pid}/exe").readlink())
    except PermissionError:  # it has memory that nobody else may read
        executable = None
    return program(comm, executable, cgroup)


def read_start_time(pid: int) -> str:
    """Return when that process started, in a form that can be compared.

    Raises:
        OSError: the process does not exist, or the system does not have `/proc`.

    """
    return start_time(_read(pid, "stat"))


def read_unit(pid: int) -> str | None:
    """Return the name of the systemd unit that the process belongs to, None if it has none.

    Raises:
        OSError: the process does not exist, or the system does not have `/proc`.

    """
    units = _units(_read(pid, "cgroup"))
    return units[-1] if units else None


def read_parent(pid: int) -> int:
    """Return the process's parent, 0 if that is out of sight.

    Raises:
        OSError: the process does not exist, or the system does not have `/proc`.

    """
    return int(_fields(_read(pid, "stat"))[_PARENT])


def program(comm: str, executable: str | None, cgroup: str) -> Program:
    """Return the program that `/proc/PID/comm`, `exe` and `cgroup` describe.

    `comm` is a script's name where the script itself was started, and an executable's else, cut at 15 bytes.
    """
    path = None if executable is None else executable.removesuffix(_DELETED)
    comm = comm.rstrip("\n")
    file = "" if path is None else PurePosixPath(path).name
    name = file if file.startswith(comm) else comm
    return Program(
        printable(name, _LONGEST_NAME).strip() or "?",
        None if path is None else printable(path, _LONGEST_PATH),
        unit(cgroup),
    )


def unit(cgroup: str) -> str | None:
    """Return the systemd unit that a process with that `/proc/PID/cgroup` belongs to; None where it has none."""
    units = _units(cgroup)
    return printable(_ONE_OF_MANY.sub("*", units[-1]), _LONGEST_UNIT) if units else None


def start_time(stat: str) -> str:
    """Return the start time in a `/proc/PID/stat`, in ticks since boot; "" where it has none."""
    fields = _fields(stat)
    return fields[_START_TIME] if len(fields) > _START_TIME else ""


def _units(cgroup: str) -> list[str]:
    """Return the units that the process is in, from the outermost to its own."""
    for line in cgroup.splitlines():
        _, _, rest = line.partition(":")
        controllers, _, path = rest.partition(":")
        if controllers in ("", "name=systemd"):  # of version 2, and of version 1
            units: list[str] = _UNIT.findall(path)
            if units:
                return units
    return []


def _fields(stat: str) -> list[str]:
    """Return the fields of a `/proc/PID/stat` from the third on."""
    return stat.rpartition(")")[2].split()  # a name may hold blanks and parentheses


def _read(pid: int, name: str) -> str:
    descriptor = os.open(f"/proc/{pid}/{name}", os.O_RDONLY)
    try:
        return os.read(descriptor, _MOST_READ).decode("utf-8", "replace")
    finally:
        os.close(descriptor)
