"""The results of clients, counted; their processes send it as JSON."""

import json
from dataclasses import asdict, dataclass, field
from typing import Self


@dataclass(frozen=True, slots=True)
class Failure:
    """A failed call: the protocol's code, or `exception`; its start and end in Unix time."""

    code: str
    method: str
    account: str
    message: str
    began: float
    ended: float

    def __str__(self) -> str:
        call = f"`{self.method}` of {self.account} at {self.began:.3f}"
        return f"{self.code} to {call}, after {self.ended - self.began:.3f} s: {self.message}"


@dataclass(slots=True)
class Tally:
    """The calls of one client, or of all.

    `calls` counts the calls by method. `checked` counts the tokens that were checked at the provider at once, `ran_out`
    those that had expired by then, but may have been valid when the agent sent them. `broken` describes each token that
    the agent should not have sent. `slowest` is in seconds.
    """

    calls: dict[str, int] = field(default_factory=dict[str, int])
    handed_out: int = 0
    checked: int = 0
    ran_out: int = 0
    slowest: float = 0.0
    failures: list[Failure] = field(default_factory=list[Failure])
    broken: list[str] = field(default_factory=list[str])

    def ask(self, method: str, times: int = 1) -> None:
        """Count that many calls."""
        self.calls[method] = self.calls.get(method, 0) + times

    def add(self, other: "Tally") -> None:
        """Add another tally."""
        for method, times in other.calls.items():
            self.ask(method, times)
        self.handed_out += other.handed_out
        self.checked += other.checked
        self.ran_out += other.ran_out
        self.slowest = max(self.slowest, other.slowest)
        self.failures += other.failures
        self.broken += other.broken

    def to_json(self) -> str:
        """Return it as one line."""
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, line: str) -> Self:
        """Return what `to_json` wrote."""
        fields = json.loads(line)
        failures = [Failure(**failure) for failure in fields["failures"]]
        return cls(**fields | {"failures": failures})
