"""The programs that got tokens or the user's data of each account since the agent started.

In memory only, and for people: "which programs use this session?"
"""

from typing import Final

from auth_agent.host.program import Program
from auth_agent.ipc.connection import Caller

# More than a person reads. The bound keeps a program that changes its name from filling the memory or a message: 256
# rows of the longest names take 420 KB of a message's mebibyte.
MOST_ROWS: Final = 256


class _Row:
    """What one program got of one account."""

    __slots__ = ("last_at", "methods", "pid")

    def __init__(self) -> None:
        self.methods: dict[str, int] = {}
        self.last_at = 0.0
        self.pid = 0


class Usage:
    """Counts what programs get, by program and account; beyond `MOST_ROWS`, the least recently used row is dropped."""

    def __init__(self) -> None:
        # The least recently used first, not by `last_at`: a clock can be set back.
        # An unknown program is counted by its pid; pid 0 stands for all in other pid namespaces.
        self._rows: dict[tuple[Program | int, str], _Row] = {}
        # The last one: most programs ask again and again.
        self._latest: tuple[Program | int, str] | None = None
        self._row = _Row()

    def count(self, caller: Caller, method: str, account: str, at: float) -> None:
        """Count one call of that method for that account, at that Unix time."""
        key = (caller.program or caller.peer.pid, account)
        if key != self._latest:
            self._latest, self._row = key, self._move_to_end(key)
        row = self._row
        row.last_at = at
        row.pid = caller.peer.pid
        row.methods[method] = row.methods.get(method, 0) + 1

    def _move_to_end(self, key: tuple[Program | int, str]) -> _Row:
        """Make that row, which may be a new one, the most recently used; return it."""
        row = self._rows.pop(key, None)
        if row is None:
            if len(self._rows) >= MOST_ROWS:
                del self._rows[next(iter(self._rows))]
            row = _Row()
        self._rows[key] = row
        return row

    def rows(self, account: str | None = None) -> list[dict[str, object]]:
        """Return what each program got of that account, or of all, as `status` shows it, the latest first."""
        return [
            _shown(program, name, row)
            for (program, name), row in reversed(self._rows.items())
            if account in (None, name)
        ]


def _shown(program: Program | int, account: str, row: _Row) -> dict[str, object]:
    known = None if isinstance(program, int) else program
    return {
        "account": account,
        "program": None if known is None else known.name,
        "executable": None if known is None else known.executable,
        "unit": None if known is None else known.unit,
        "pid": row.pid,
        "methods": dict(row.methods),
        "last_at": row.last_at,
    }
