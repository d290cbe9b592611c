"""The programs that ask for something, and how often each may cause requests. Pure; the caller provides the time."""

from typing import Final

from auth_agent.host.program_id import Origin, ProgramID
from auth_agent.sessions.rate_limit import Asker

# Seconds. Younger programs have one share together: otherwise each turn of a loop that starts sessions would be a
# program of its own.
_YOUNG: Final = 10.0
# Units and sessions whose age is known. Beyond, one is forgotten that had no request for an hour, else the youngest.
_MOST_KNOWN: Final = 256
_IDLE: Final = 3600.0  # s


class Programs:
    """What is known of programs. Times are in seconds since boot."""

    def __init__(self) -> None:
        # Since when a program is known whose processes may be younger than it is, and when it last had a request.
        self._known: dict[ProgramID, tuple[float, float]] = {}
        # Those that have not been idle for long enough to be as new.
        self._askers: dict[ProgramID, Asker] = {}

    def asker(self, origin: Origin, now: float) -> Asker:
        """Return the program, or what is shared by the young ones, as the limits know it."""
        program = self._program(origin, now)
        asker = self._askers.get(program)
        if asker is None:
            self._askers = {who: one for who, one in self._askers.items() if not one.rate_limit.is_whole(now)}
            asker = self._askers[program] = Asker(program, origin.is_at_terminal)
        return asker

    def _program(self, origin: Origin, now: float) -> ProgramID:
        program, since = origin
        if since is None:
            return program
        known = self._known.get(program)
        if known is not None:
            since = min(since, known[0])
        if known is not None or now - since < _YOUNG:
            self._known[program] = since, now
            self._forget(now)
        if now - since >= _YOUNG:
            return program
        return ProgramID("young", "at a terminal" if origin.is_at_terminal else "")

    def _forget(self, now: float) -> None:
        if len(self._known) > _MOST_KNOWN:
            del self._known[
                max(self._known, key=lambda each: (now - self._known[each][1] > _IDLE, self._known[each][0]))
            ]
