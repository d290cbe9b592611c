"""What a program of the demo says of each of its requests: a line of JSON."""

import json
from dataclasses import asdict, dataclass


@dataclass(frozen=True, slots=True)
class Request:
    """One request to the provider, with a token from the agent.

    `agent` and `provider` are how long each took to answer, in seconds, the slower answer where one was asked twice;
    `token` is the Unix time at which the token expires, by which tokens are told apart; `refused` is whether the
    provider answered with 401; `failure` is why the program did without an answer in the end.
    """

    agent: float
    provider: float = 0.0
    token: float | None = None
    refused: bool = False
    failure: str | None = None

    def line(self) -> str:
        """For standard output."""
        return json.dumps(asdict(self)) + "\n"

    @classmethod
    def from_line(cls, line: str) -> "Request":
        """What `line` has written."""
        return cls(**json.loads(line))
