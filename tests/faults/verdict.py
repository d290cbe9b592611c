"""The evidence of a storm, its problems, and its summary."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from tests.bench.processes import Memory
from tests.faults.tally import Failure, Tally
from tests.faults.weather import CALM
from tests.op.provider import Presented

# Errors that any client may get in a storm: there is no valid token, or its time-out has passed.
_CLEAN: Final = frozenset({"unavailable", "timeout"})
# Errors of one call only: `min_ttl` is too long, or the rejected token is too new.
_CLEAN_ANSWERS: Final = frozenset({("token min_ttl", "lifetime_too_short"), ("rejected", "denied")})
# Errors while one agent ends and the next one starts.
_CLEAN_AT_RESTARTS: Final = frozenset({"agent_not_running", "connection_lost"})
# Seconds. Until a new agent has read its sessions, they are locked.
_AROUND: Final = 1.0
_READING: Final = 15.0
# The protocol's longest wait is 15 s; the rest is for a busy machine.
_SLOWEST: Final = 30.0
# A stopping agent waits for ten seconds; a response in the last moment of its life may not have reached it.
_LAST_MOMENT: Final = 0.25

# KiB by which an agent may grow from when it has read its sessions to its end: the heap's fluctuation, and the buffers
# of a request for each session.
MAX_GROWTH: Final = 4 * 1024
# Descriptors of an agent besides its clients' connections and a request for each session.
_DESCRIPTORS: Final = 10
# Additional descriptors at rest, compared with those before the storm.
_LEFT_OPEN: Final = 2


@dataclass(frozen=True, slots=True)
class Restart:
    """The Unix times of the signal, the agent's end, and the next one's first response."""

    signalled: float
    ended: float
    answering: float
    code: int

    def covers(self, failure: Failure) -> bool:
        """Return whether the failure was while no agent ran, or the next one was still reading its sessions."""
        after = _READING if failure.code == "locked" else _AROUND
        return failure.ended >= self.signalled and failure.began <= self.answering + after


@dataclass(frozen=True, slots=True)
class Footprint:
    """A process's memory and descriptors; `descriptors` is None if they are not known."""

    memory: Memory
    descriptors: int | None


@dataclass(frozen=True, slots=True)
class Life:
    """An agent's footprint when it is warm, and at its end."""

    warm: Footprint
    end: Footprint

    @property
    def growth(self) -> int:
        """The KiB by which it grew."""
        return self.end.memory.rss - self.warm.memory.rss


@dataclass(slots=True)
class Evidence:
    """All results of a storm.

    Args:
        heading: its size, and the command that repeats it.
        sessions: the problem of each at the end, by account; None: no problem.
        clients: their number.
        tally: their results.
        ledgers: the providers' counts for each refresh token.
        faults: the number of affected requests, by kind.
        restarts: of the agent.
        lives: its memory in each.
        before, after: its footprint at rest, before the storm and after it.
        complaints: lines of the agent's log that report a problem.
        log: the complete log.

    """

    heading: str
    sessions: dict[str, str | None]
    clients: int
    tally: Tally
    ledgers: Mapping[str, Presented]
    faults: Mapping[str, int]
    restarts: Sequence[Restart]
    lives: Sequence[Life]
    before: Footprint
    after: Footprint
    complaints: Sequence[str] = field(default_factory=list[str])
    log: str = field(default="", repr=False)

    # ---- problems

    def problems(self) -> list[str]:
        """Return all broken promises."""
        return [
            *(f"{account} is lost: {problem}" for account, problem in self.sessions.items() if problem is not None),
            *self.tally.broken,
            *self._repeated(),
            *self._memory(),
            *self._idle(),
            *(f"an agent ended with {restart.code}" for restart in self.restarts if restart.code != 0),
            *(f"the agent's log: {line}" for line in self.complaints),
            *(f"not clean: {failure}" for failure in self.tally.failures if not self._is_clean(failure)),
        ]

    def _is_clean(self, failure: Failure) -> bool:
        if failure.code in _CLEAN or (failure.method, failure.code) in _CLEAN_ANSWERS:
            return failure.ended - failure.began <= _SLOWEST
        may_be_clean = failure.code in _CLEAN_AT_RESTARTS or failure.code == "locked"
        return may_be_clean and any(restart.covers(failure) for restart in self.restarts)

    def _repeated(self) -> list[str]:
        return [
            f"a refresh token ({fingerprint[:8]}) came again at {again:.3f}, answered at {row.answered_at:.3f}"
            for fingerprint, row in self.ledgers.items()
            for again in row.repeated_at
            if row.answered_at is not None and not self._was_cut_off(row.answered_at)
        ]

    def _was_cut_off(self, answered_at: float) -> bool:
        """Return whether a response was sent so late in an agent's life that it may not have been read."""
        return any(0 <= restart.ended - answered_at <= _LAST_MOMENT for restart in self.restarts)

    def _memory(self) -> list[str]:
        problems_found = [
            f"an agent grew by {life.growth} KiB, from {life.warm.memory.rss}"
            for life in self.lives
            if life.growth > MAX_GROWTH
        ]
        before, after = self.before.descriptors, self.after.descriptors
        if before is None or after is None:
            return problems_found
        limit = before + self.clients + len(self.sessions) + _DESCRIPTORS
        if (peak := self._peak()) > limit:
            problems_found.append(f"an agent had {peak} descriptors open, where {limit} would be enough")
        if after > before + _LEFT_OPEN:
            problems_found.append(f"the agent has {after} descriptors open at rest, {before} before the storm")
        return problems_found

    def _peak(self) -> int:
        return max(one.descriptors or 0 for life in self.lives for one in (life.warm, life.end))

    def _idle(self) -> list[str]:
        """Return problems if nothing happened: otherwise nobody would notice a storm without effect."""
        happened = {
            "handed out a token": self.tally.handed_out,
            "checked one": self.tally.checked,
            "met a fault": sum(self._faults().values()),
            "was refreshed": self._granted(),
            "was restarted": len(self.restarts),
        }
        return [f"nothing happened: nobody {event}" for event, times in happened.items() if not times]

    def _faults(self) -> dict[str, int]:
        return {kind: times for kind, times in self.faults.items() if kind != CALM}

    def _granted(self) -> int:
        return sum(row.succeeded for row in self.ledgers.values())

    # ---- the summary

    def lines(self) -> list[str]:
        """Return the summary."""
        tally, rows = self.tally, self.ledgers.values()
        alive = sum(problem is None for problem in self.sessions.values())
        again = sum(row.presented - 1 for row in rows)
        repeated = sum(len(row.repeated_at) for row in rows)
        return [
            self.heading,
            f"  sessions        {alive} of {len(self.sessions)} alive",
            f"  refreshes       {self._granted()} answered; {again} requests came again, {repeated} after an answer",
            f"  hand-outs       {tally.handed_out}, of them checked at once: {tally.checked}",
            f"                  {tally.ran_out} ran out on the way, {len(tally.broken)} should not have been",
            f"  calls           {_counts(tally.calls)}",
            f"  faults          {_counts(self._faults())}",
            f"  failures        {_counts(Counter(failure.code for failure in tally.failures))}",
            f"  slowest call    {tally.slowest:.1f} s, refusals and time limits included",
            f"  restarts        {len(self.restarts)}; {self._slowest_restart()}",
            f"  memory          {self._memory_line()}",
            f"  descriptors     {self._descriptors_line()}",
        ]

    def _slowest_restart(self) -> str:
        ending = max((one.ended - one.signalled for one in self.restarts), default=0.0)
        starting = max((one.answering - one.ended for one in self.restarts), default=0.0)
        return f"the slowest took {ending:.1f} s to end, and {starting:.1f} s to begin"

    def _memory_line(self) -> str:
        ends = [life.end.memory.rss for life in self.lives]
        growths = ", ".join(f"{life.growth / 1024:+.1f}" for life in self.lives)
        shared = self.lives[-1].end.memory.pss
        pss = "" if shared is None else f", PSS {shared / 1024:.1f} MiB"
        return f"RSS {max(ends) / 1024:.1f} MiB at most{pss}; growth of each agent once warm, MiB: {growths}"

    def _descriptors_line(self) -> str:
        if self.before.descriptors is None:
            return "not told by this system"
        return f"at rest {self.before.descriptors} before and {self.after.descriptors} after; {self._peak()} at most"


def _counts(counts: Mapping[str, int]) -> str:
    sorted_counts = sorted(counts.items(), key=lambda item: -item[1])
    return ", ".join(f"{kind} {times}" for kind, times in sorted_counts) or "none"
