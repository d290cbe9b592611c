"""For how long one answer about a token stays the right one, by both clocks. Pure."""

from typing import NamedTuple

from auth_agent.host.clock import Moment


class Term(NamedTuple):
    """From one time of the wall clock, which may be set back, and until either clock reaches `end`; in seconds."""

    begin: float
    end: Moment

    def not_after(self, wall: float) -> "Term":
        """Return the part of it before that Unix time."""
        return Term(self.begin, Moment(min(self.end.wall, wall), self.end.boot))

    def has(self, now: Moment) -> bool:
        """Return whether that moment is in it."""
        end = self.end
        return self.begin <= now.wall < end.wall and now.boot < end.boot
