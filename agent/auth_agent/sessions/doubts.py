"""When sessions are read again whose entry was not found, or was garbage. Pure.

The caller passes the time, in seconds of a monotonic clock.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from auth_agent.sessions.session import Session
from auth_agent.storage.health import HASTE

# The first and the longest pause between two readings, in seconds; each pause is twice the one before.
_FIRST: Final = 0.5
_LONGEST: Final = 60.0


@dataclass(slots=True)
class _Doubt:
    readings: int
    read_at: float
    pause: float


class Doubts:
    """Sessions of which the store gave a doubtful reading."""

    def __init__(self) -> None:
        self._doubts: dict[Session, _Doubt] = {}

    def __contains__(self, session: Session) -> bool:
        return session in self._doubts

    def add(self, session: Session, now: float) -> None:
        """Record a doubtful reading."""
        before = self._doubts.get(session)
        readings, pause = (0, _FIRST / 2) if before is None else (before.readings, before.pause)
        self._doubts[session] = _Doubt(readings + 1, now, min(_LONGEST, 2 * pause))

    def readings(self, session: Session) -> int:
        """Return how many doubtful readings there were in a row."""
        doubt = self._doubts.get(session)
        return 0 if doubt is None else doubt.readings

    def forget(self, session: Session) -> None:
        """Record that there is no doubt about a session."""
        self._doubts.pop(session, None)

    def clear(self) -> None:
        """Have all of them read again now."""
        self._doubts.clear()

    def is_due(self, session: Session, now: float) -> bool:
        """Return whether a session is to be read now."""
        doubt = self._doubts.get(session)
        return doubt is None or now >= doubt.read_at + doubt.pause

    def was_just_read(self, session: Session, now: float) -> bool:
        """Return whether a reading for a client would come too soon after the last one."""
        doubt = self._doubts.get(session)
        return doubt is not None and now < doubt.read_at + HASTE

    def pause(self, sessions: Iterable[Session], now: float) -> float:
        """Return in how many seconds one of those sessions is to be read again; infinity if there is no doubt."""
        doubts = [self._doubts[session] for session in sessions if session in self._doubts]
        return min((doubt.read_at + doubt.pause - now for doubt in doubts), default=float("inf"))
