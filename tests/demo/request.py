"""The result of a request of the demo's programs, as a line of JSON."""

import json
from dataclasses import asdict, dataclass


@dataclass(frozen=True, slots=True)
class Request:
    """One request to the provider, with a token from the agent.

    `agent` and `provider` are their response times in seconds; `token` is the Unix time at which the token expires,
    which identifies it; `refused` is whether the provider responded with 401; `failure` is why there was no successful
    response in the end.
    """

    agent: float
    provider: float = 0.0
    token: float | None = None
    refused: bool = False
    failure: str | None = None

    def line(self) -> str:
        """Return it as a line for standard output."""
        return json.dumps(asdict(self)) + "\n"

    @classmethod
    def from_line(cls, line: str) -> "Request":
        """Return what `line` has written."""
        return cls(**json.loads(line))
