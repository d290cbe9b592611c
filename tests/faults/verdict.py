"""What a storm leaves: the evidence, what is wrong with it, and its summary for a person."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from tests.bench.processes import Memory
from tests.faults.tally import Failure, Tally
from tests.faults.weather import CALM
from tests.op.provider import Presented

# What any client may be told in a storm: no token is good enough, or the wait was longer than the client's patience.
_CLEAN: Final = frozenset({"unavailable", "timeout"})
# What it may be told to one question only: how long tokens live, and that one as good as new can't be what is wrong.
_CLEAN_ANSWERS: Final = frozenset({("token min_ttl", "lifetime_too_short"), ("rejected", "denied")})
# What it may be told while an agent ends and the next one begins.
_CLEAN_AT_RESTARTS: Final = frozenset({"agent_not_running", "connection_lost"})
# Seconds. Until a new agent has read its sessions, it says that they are locked.
_AROUND: Final = 1.0
_READING: Final = 15.0
# The protocol's longest wait is 15 s; the rest is a machine that does much else.
_SLOWEST: Final = 30.0
# An agent that ends waits for ten seconds; a reply that comes in the last moment of its life has not reached it.
_LAST_MOMENT: Final = 0.25

# How much an agent may grow, in KiB, from when it has read its sessions to its end: the heap's own fluctuation, and the
# buffers of as many requests as there are sessions.
MAX_GROWTH: Final = 4 * 1024
# How many descriptors an agent may have beside its clients' connections and a request for each session.
_DESCRIPTORS: Final = 10
# How many more, when all is quiet again, than before the storm.
_LEFT_OPEN: Final = 2


@dataclass(frozen=True, slots=True)
class Restart:
    """From the signal, by the end of one agent, until the next one answered; Unix time."""

    asked: float
    ended: float
    answering: float
    code: int

    def covers(self, failure: Failure) -> bool:
        """Whether that was seen while no agent could be asked, or was still reading its sessions."""
        after = _READING if failure.code == "locked" else _AROUND
        return failure.ended >= self.asked and failure.began <= self.answering + after


@dataclass(frozen=True, slots=True)
class Footprint:
    """What a process holds; `descriptors` is None where the system doesn't tell."""

    memory: Memory
    descriptors: int | None


@dataclass(frozen=True, slots=True)
class Life:
    """An agent's, from when it is warm to its end."""

    warm: Footprint
    end: Footprint

    @property
    def growth(self) -> int:
        """By how many KiB it grew."""
        return self.end.memory.rss - self.warm.memory.rss


@dataclass(slots=True)
class Evidence:
    """All that is known of a storm.

    Args:
        heading: what it was, and how to have it again.
        sessions: what is wrong with each at the end, by account; None: nothing.
        clients: how many there were.
        tally: what they saw.
        ledgers: of each refresh token, what the providers know.
        faults: how many requests met one, by its kind.
        restarts: of the agent.
        lives: its memory in each.
        before, after: its footprint at rest, before the storm and after it.
        complaints: the agent's own, lines of its log.
        log: all of that.

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

    # ---- what is wrong

    def problems(self) -> list[str]:
        """What went wrong; nothing, when every promise was kept."""
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
        may_be = failure.code in _CLEAN_AT_RESTARTS or failure.code == "locked"
        return may_be and any(restart.covers(failure) for restart in self.restarts)

    def _repeated(self) -> list[str]:
        return [
            f"a refresh token ({fingerprint[:8]}) came again at {again:.3f}, answered at {row.answered_at:.3f}"
            for fingerprint, row in self.ledgers.items()
            for again in row.repeated_at
            if row.answered_at is not None and not self._was_cut_off(row.answered_at)
        ]

    def _was_cut_off(self, answered: float) -> bool:
        """Whether a reply was sent so late in an agent's life that it can't have been read."""
        return any(0 <= restart.ended - answered <= _LAST_MOMENT for restart in self.restarts)

    def _memory(self) -> list[str]:
        found = [
            f"an agent grew by {life.growth} KiB, from {life.warm.memory.rss}"
            for life in self.lives
            if life.growth > MAX_GROWTH
        ]
        before, after = self.before.descriptors, self.after.descriptors
        if before is None or after is None:
            return found
        most = before + self.clients + len(self.sessions) + _DESCRIPTORS
        if (peak := self._peak()) > most:
            found.append(f"an agent had {peak} descriptors open, where {most} would be enough")
        if after > before + _LEFT_OPEN:
            found.append(f"the agent has {after} descriptors open at rest, {before} before the storm")
        return found

    def _peak(self) -> int:
        return max(one.descriptors or 0 for life in self.lives for one in (life.warm, life.end))

    def _idle(self) -> list[str]:
        """Whether anything happened at all: nobody else would notice a storm that was none."""
        happened = {
            "handed out a token": self.tally.handed_out,
            "checked one": self.tally.checked,
            "met a fault": sum(self._faults().values()),
            "was refreshed": self._granted(),
            "was restarted": len(self.restarts),
        }
        return [f"nothing happened: nobody {what}" for what, times in happened.items() if not times]

    def _faults(self) -> dict[str, int]:
        return {kind: times for kind, times in self.faults.items() if kind != CALM}

    def _granted(self) -> int:
        return sum(row.succeeded for row in self.ledgers.values())

    # ---- the summary

    def lines(self) -> list[str]:
        """The summary."""
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
            f"  questions       {_counts(tally.asked)}",
            f"  faults          {_counts(self._faults())}",
            f"  failures        {_counts(Counter(failure.code for failure in tally.failures))}",
            f"  slowest answer  {tally.slowest:.1f} s, refusals and time limits included",
            f"  restarts        {len(self.restarts)}; {self._slowest_restart()}",
            f"  memory          {self._memory_line()}",
            f"  descriptors     {self._descriptors_line()}",
        ]

    def _slowest_restart(self) -> str:
        ending = max((one.ended - one.asked for one in self.restarts), default=0.0)
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


def _counts(counted: Mapping[str, int]) -> str:
    found = sorted(counted.items(), key=lambda item: -item[1])
    return ", ".join(f"{what} {times}" for what, times in found) or "none"
