"""Rounds: all measurements, one after the other, several times.

The agent and its floor alternate, so that other load affects both; each ratio is of one round.
"""

import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

from auth_agent_client import AgentError
from tests.bench.commands import time_command
from tests.bench.drivers import CONNECTIONS, Sample, WrongResponse, drive_client, drive_many, drive_one
from tests.bench.processes import Memory, memory
from tests.bench.stage import ACCOUNT, AGENT_COMMAND, Stage

ONE: Final = "token, one connection"
MANY: Final = f"token, {CONNECTIONS} connections"
PROTOCOL: Final = "floor: asyncio.Protocol, echo"
STREAMS: Final = "floor: anyio streams, echo"
AGENT: Final = "agent"
CLIENT: Final = "agent, by Agent.token()"

_WARM_UP: Final = 0.2  # s

Drive = Callable[[float], Sample]


@dataclass(frozen=True, slots=True)
class Size:
    """The number and length of the measurements."""

    rounds: int
    seconds: float
    pairs: int


FULL: Final = Size(rounds=9, seconds=0.45, pairs=5)
QUICK: Final = Size(rounds=3, seconds=0.15, pairs=3)


@dataclass(slots=True)
class Findings:
    """The results: for each row a sample of each round; for processes pairs of times (`auth-agent token`, floor)."""

    requests: dict[tuple[str, str], list[Sample]]
    processes: list[list[tuple[float, float]]] = field(default_factory=list[list[tuple[float, float]]])
    memory: dict[str, Memory] = field(default_factory=dict[str, Memory])


def measure(stage: Stage, size: Size) -> Findings:
    """Measure everything."""
    drives = _drives(stage)
    findings = Findings({row: [] for row in drives})
    # First, since the agent has had few requests so far.
    findings.memory["floor: Python with asyncio and msgpack"] = memory(stage.bare)
    findings.memory["agent, one session, idle"] = memory(stage.agent.pid)
    for row, drive in drives.items():
        _drive(row, drive, _WARM_UP)
    _pairs(stage, 1)
    findings.memory[f"agent, after its first {CONNECTIONS} connections"] = memory(stage.agent.pid)
    for number in range(size.rounds):
        # In the reverse order in every second round, so that none is always first.
        for row in list(drives)[:: -1 if number % 2 else 1]:
            findings.requests[row].append(_drive(row, drives[row], size.seconds))
        findings.processes.append(_pairs(stage, size.pairs))
    findings.memory["agent, at the end"] = memory(stage.agent.pid)
    return findings


def _drive(row: tuple[str, str], drive: Drive, seconds: float) -> Sample:
    try:
        return drive(seconds)
    except (AgentError, OSError, WrongResponse) as error:
        raise WrongResponse(f"{', '.join(row)}: {error}") from error


def _drives(stage: Stage) -> dict[tuple[str, str], Drive]:
    return {
        (ONE, PROTOCOL): lambda seconds: drive_one(stage.protocol, seconds),
        (ONE, STREAMS): lambda seconds: drive_one(stage.streams, seconds),
        (ONE, AGENT): lambda seconds: drive_one(stage.agent, seconds),
        (ONE, CLIENT): lambda seconds: drive_client(stage.agent, ACCOUNT, stage.token, seconds),
        (MANY, PROTOCOL): lambda seconds: drive_many(stage.protocol, seconds),
        (MANY, STREAMS): lambda seconds: drive_many(stage.streams, seconds),
        (MANY, AGENT): lambda seconds: drive_many(stage.agent, seconds),
    }


def _pairs(stage: Stage, count: int) -> list[tuple[float, float]]:
    """Time `auth-agent token` and the bare interpreter alternately."""
    output, environment = stage.directory / "output", stage.environment
    expected = f"{stage.token}\n".encode()
    return [
        (
            time_command([AGENT_COMMAND, "token", ACCOUNT], environment, output, expected),
            time_command([sys.executable, "-c", "pass"], environment, output, b""),
        )
        for _ in range(count)
    ]
