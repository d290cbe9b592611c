"""The results of the demo, and their problems."""

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
        """Count a request."""
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
    """The results of the demo.

    Args:
        seconds: the duration of the programs.
        tallies: their requests, by their names.
        refreshes: how often the provider issued tokens for a refresh token.
        rotations: how many refresh tokens were replaced.
        reused: how many refresh tokens were presented more than once.
        ended: why programs ended by themselves.

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
        for tally in self.tallies.values():
            total.requests += tally.requests
            total.failures += tally.failures
            total.refusals += tally.refusals
            total.slowest_agent = max(total.slowest_agent, tally.slowest_agent)
            total.slowest_provider = max(total.slowest_provider, tally.slowest_provider)
            total.tokens |= tally.tokens
            total.last_failure = tally.last_failure or total.last_failure
        return total

    def problems(self) -> list[str]:
        """Return all problems."""
        total = self.total
        problems_found = list(self.ended)
        idle = [name for name, tally in self.tallies.items() if not tally.requests]
        if not total.requests:
            problems_found.append("nothing happened: no program made a request")
        elif idle:
            problems_found.append(f"no request came from {', '.join(idle)}")
        if total.failures:
            problems_found.append(f"{count(total.failures, 'request')} failed; the last one: {total.last_failure}")
        if total.refusals:
            problems_found.append(f"the provider refused {count(total.refusals, 'token')} (401)")
        if self.reused:
            problems_found.append(f"{count(self.reused, 'refresh token')} came to the provider more than once")
        return problems_found

    def lines(self) -> list[str]:
        """Return the summary, in 80 columns."""
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


def count(number: int, noun: str, plural: str = "s") -> str:
    """Return the number with its noun; `plural` is the ending of the noun's plural."""
    return f"{number} {noun}{'' if number == 1 else plural}"


def milliseconds(seconds: float) -> str:
    """Return a time in milliseconds, as text."""
    return f"{seconds * 1000:.1f} ms"
