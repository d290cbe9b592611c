"""The note of the files that the agent made: it must know them again after a crash, and touch no others.

Theory of operation. A file is the agent's if its content is what the agent wrote there. The note has the SHA-256 of
that for each path. A device and an inode would not do: a file system gives a removed file's inode to the next one, and
numbers its devices anew at a reboot. An extended attribute would not do: until Linux 6.6, tmpfs has none for users. The
note is in the state directory, as a file may outlast a reboot, and the runtime directory doesn't. It is written before
the file is, with the name under which that is written first.
"""

import json
import logging
import os
import re
import secrets
import threading
from collections.abc import Iterable, Mapping
from hashlib import sha256
from pathlib import Path
from typing import Final, NamedTuple

from auth_agent.host.machine import machine_digest
from auth_agent.json_object import JsonObjectError, read_object
from auth_agent.storage.state_directory import read_note, write_note

_log = logging.getLogger(__name__)

_VERSION: Final = 1
# The names under which files are written first.
TEMPORARY: Final = re.compile(r"\.auth-agent-[0-9a-f]{16}")


class Made(NamedTuple):
    """What the agent made at a path.

    `digests`: the SHA-256 of what it may hold, in hexadecimal; empty if the agent made nothing. `temporary`: the name
    in the same folder under which something may have been written; "" if there is none.
    """

    digests: frozenset[str] = frozenset()
    temporary: str = ""


class Ledger:
    """The files that the agent at one socket made, by absolute path. It is called in threads."""

    def __init__(self, state_path: Path, socket_path: Path) -> None:
        """Read the note of the agent that was at that socket before; one that can't be read has no files."""
        # Several agents may share the directory, even of several machines.
        place = f"{machine_digest()} {os.fspath(socket_path)}"
        self._path = state_path / f"files-{sha256(place.encode()).hexdigest()[:16]}.json"
        self._change = threading.Lock()
        self._made, self._inherited = _read(self._path)
        self.problem: str | None = None

    @staticmethod
    def temporary() -> str:
        """Return a new name under which a file is written first."""
        return f".auth-agent-{secrets.token_hex(8)}"

    @property
    def paths(self) -> tuple[str, ...]:
        """The paths of these files."""
        with self._change:
            return tuple(self._made)

    @property
    def inherited(self) -> dict[str, float]:
        """The files that an agent left for this one as it restarted, and until when each is good, as Unix time."""
        return {path: until for path, until in self._inherited.items() if path in self._made}

    def made(self, path: str) -> Made:
        """Return what the agent made at that path."""
        with self._change:
            return self._made.get(path, Made())

    def record(self, path: str, digests: Iterable[str] = (), temporary: str = "") -> None:
        """Note what the agent makes at that path; by default that there is nothing.

        If the note can't be written, `problem` says so, and only a crash would make a difference.
        """
        made = Made(frozenset(digests), temporary)
        with self._change:
            if made == self._made.get(path, Made()) and self.problem is None:
                return
            if made == Made():
                self._made.pop(path, None)
            else:
                self._made[path] = made
            self._write({})

    def hand_over(self, ends: Mapping[str, float]) -> None:
        """Note that the next agent, which this process becomes, is to go on with these files, good until then.

        Without any: that it has taken them over, so that after a crash they are what was left.
        """
        with self._change:
            self._write(ends)

    def _write(self, ends: Mapping[str, float]) -> None:
        try:
            write_note(self._path, _content(self._made, ends))
        except OSError as error:
            problem = f"{self._path} can't be written: {error.strerror}"
            if problem != self.problem:
                _log.warning("files note=%r", problem)
            self.problem = problem
        else:
            self.problem = None


def _content(made: Mapping[str, Made], ends: Mapping[str, float]) -> str:
    files = {path: {"digests": sorted(one.digests), "temporary": one.temporary} for path, one in made.items()}
    return json.dumps({"version": _VERSION, "files": files, "handed_over": dict(ends)})


def _read(path: Path) -> tuple[dict[str, Made], dict[str, float]]:
    """Return the files, and those that were handed over, by when they end."""
    try:
        content = read_note(path)
        note = {} if content is None else read_object(content.encode())
    except (OSError, JsonObjectError) as error:
        _log.warning("files note=%s error=%s", path, type(error).__name__)
        return {}, {}
    files, ends = _members(note.get("files")), _members(note.get("handed_over"))
    return (
        {file: _made(one) for file, one in files.items()},
        {file: float(end) for file, end in ends.items() if isinstance(end, int | float)},
    )


def _members(value: object) -> dict[str, object]:
    return value if isinstance(value, dict) else {}  # pyright: ignore[reportUnknownVariableType] -- JSON's names are strings


def _made(fields: object) -> Made:
    one = _members(fields)
    digests, temporary = one.get("digests"), one.get("temporary")
    known: list[object] = digests if isinstance(digests, list) else []  # pyright: ignore[reportUnknownVariableType] -- JSON's
    name = temporary if isinstance(temporary, str) and TEMPORARY.fullmatch(temporary) else ""
    return Made(frozenset(map(str, known)), name)
