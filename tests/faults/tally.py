"""What clients saw, counted; it travels from their processes as JSON."""

import json
from dataclasses import asdict, dataclass, field
from typing import Self


@dataclass(frozen=True, slots=True)
class Failure:
    """An answer that was none: the protocol's code, or `exception`; from when to when it was asked, in Unix time."""

    code: str
    method: str
    account: str
    message: str
    began: float
    ended: float

    def __str__(self) -> str:
        asked = f"`{self.method}` of {self.account} at {self.began:.3f}"
        return f"{self.code} to {asked}, after {self.ended - self.began:.3f} s: {self.message}"


@dataclass(slots=True)
class Tally:
    """The requests of one client, or of all.

    `checked` counts the tokens that were shown to the provider at once, `ran_out` those of them that it held for
    expired, rightly, when they came there, yet may have been good when the agent handed them out. `broken` tells of
    each token that the agent should not have handed out. `slowest` is in seconds.
    """

    asked: dict[str, int] = field(default_factory=dict[str, int])
    handed_out: int = 0
    checked: int = 0
    ran_out: int = 0
    slowest: float = 0.0
    failures: list[Failure] = field(default_factory=list[Failure])
    broken: list[str] = field(default_factory=list[str])

    def ask(self, method: str, times: int = 1) -> None:
        """Count so many questions more."""
        self.asked[method] = self.asked.get(method, 0) + times

    def add(self, other: "Tally") -> None:
        """Count another one's in."""
        for method, times in other.asked.items():
            self.ask(method, times)
        self.handed_out += other.handed_out
        self.checked += other.checked
        self.ran_out += other.ran_out
        self.slowest = max(self.slowest, other.slowest)
        self.failures += other.failures
        self.broken += other.broken

    def to_json(self) -> str:
        """As one line."""
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, line: str) -> Self:
        """What `to_json` wrote."""
        told = json.loads(line)
        failures = [Failure(**one) for one in told["failures"]]
        return cls(**told | {"failures": failures})
