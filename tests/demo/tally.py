"""What has happened so far, and whether all of it was good."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from tests.demo.request import Request


@dataclass(slots=True)
class Tally:
    """The requests of one program; times are in seconds."""

    requests: int = 0
    failures: int = 0
    refusals: int = 0
    slowest_agent: float = 0.0
    slowest_provider: float = 0.0
    tokens: set[float] = field(default_factory=set[float])
    last_failure: str = ""

    def add(self, request: Request) -> None:
        """Count it."""
        self.requests += 1
        self.refusals += request.refused
        if request.failure is not None:
            self.failures += 1
            self.last_failure = request.failure
        self.slowest_agent = max(self.slowest_agent, request.agent)
        self.slowest_provider = max(self.slowest_provider, request.provider)
        if request.token is not None:
            self.tokens.add(request.token)


@dataclass(frozen=True, slots=True)
class Outcome:
    """The whole demo.

    Args:
        seconds: for how long the programs ran.
        tallies: their requests, by their names.
        refreshes: how often the provider granted new tokens for a refresh token.
        rotations: how many refresh tokens were used up by that.
        reused: how many refresh tokens came to the provider more than once.
        ended: what the programs said that ended by themselves.

    """

    seconds: float
    tallies: Mapping[str, Tally]
    refreshes: int = 0
    rotations: int = 0
    reused: int = 0
    ended: Sequence[str] = ()

    @property
    def total(self) -> Tally:
        """The requests of all programs."""
        total = Tally()
        for one in self.tallies.values():
            total.requests += one.requests
            total.failures += one.failures
            total.refusals += one.refusals
            total.slowest_agent = max(total.slowest_agent, one.slowest_agent)
            total.slowest_provider = max(total.slowest_provider, one.slowest_provider)
            total.tokens |= one.tokens
            total.last_failure = one.last_failure or total.last_failure
        return total

    def problems(self) -> list[str]:
        """What went wrong; nothing when all was good."""
        total = self.total
        found = list(self.ended)
        idle = [name for name, tally in self.tallies.items() if not tally.requests]
        if not total.requests:
            found.append("nothing happened: no program made a request")
        elif idle:
            found.append(f"no request came from {', '.join(idle)}")
        if total.failures:
            found.append(f"{count(total.failures, 'request')} failed; the last one: {total.last_failure}")
        if total.refusals:
            found.append(f"the provider refused {count(total.refusals, 'token')} (401)")
        if self.reused:
            found.append(f"{count(self.reused, 'refresh token')} came to the provider more than once")
        return found

    def lines(self) -> list[str]:
        """The summary, readable at 80 columns."""
        total = self.total
        agent, provider = milliseconds(total.slowest_agent), milliseconds(total.slowest_provider)
        return [
            f"In {self.seconds:.0f} s, with one login:",
            f"  requests        {total.requests} by {count(len(self.tallies), 'program')}",
            f"  failed          {total.failures}, and {total.refusals} refused (401)",
            f"  refreshes       {self.refreshes}, each of them once for all programs",
            f"  rotated         {count(self.rotations, 'refresh token')}, {self.reused or 'none'} used twice",
            f"  tokens used     {len(total.tokens)}",
            f"  slowest answer  {agent} from the agent, and {provider} from the provider",
        ]


def count(number: int, what: str, plural: str = "s") -> str:
    """So many of it, in words; `plural` is what a noun has at its end for more than one."""
    return f"{number} {what}{'' if number == 1 else plural}"


def milliseconds(seconds: float) -> str:
    """A time as a person reads it."""
    return f"{seconds * 1000:.1f} ms"
