"""Rounds: all that is measured, one after the other, several times over.

The measured and its floor alternate, so that what else the machine does meets both; each ratio is of one round.
"""

import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

from auth_agent_client import AgentError
from tests.bench.commands import timed
from tests.bench.drivers import CONNECTIONS, Sample, WrongAnswer, drive_client, drive_many, drive_one
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
    """How much is measured."""

    rounds: int
    seconds: float
    pairs: int


FULL: Final = Size(rounds=9, seconds=0.45, pairs=5)
QUICK: Final = Size(rounds=3, seconds=0.15, pairs=3)


@dataclass(slots=True)
class Findings:
    """What was found: by row, a sample a round; of processes, a pair of times (`auth-agent token`, floor)."""

    requests: dict[tuple[str, str], list[Sample]]
    processes: list[list[tuple[float, float]]] = field(default_factory=list[list[tuple[float, float]]])
    memory: dict[str, Memory] = field(default_factory=dict[str, Memory])


def measure(stage: Stage, size: Size) -> Findings:
    """Measure everything."""
    drives = _drives(stage)
    findings = Findings({row: [] for row in drives})
    # Before anything else: an agent with one session that nobody has asked much.
    findings.memory["floor: Python with asyncio and msgpack"] = memory(stage.bare)
    findings.memory["agent, one session, idle"] = memory(stage.agent.pid)
    for row, drive in drives.items():
        _drive(row, drive, _WARM_UP)
    _pairs(stage, 1)
    findings.memory[f"agent, after its first {CONNECTIONS} connections"] = memory(stage.agent.pid)
    for number in range(size.rounds):
        # The other way round every second time: none always comes first.
        for row in list(drives)[:: -1 if number % 2 else 1]:
            findings.requests[row].append(_drive(row, drives[row], size.seconds))
        findings.processes.append(_pairs(stage, size.pairs))
    findings.memory["agent, at the end"] = memory(stage.agent.pid)
    return findings


def _drive(row: tuple[str, str], drive: Drive, seconds: float) -> Sample:
    try:
        return drive(seconds)
    except (AgentError, OSError, WrongAnswer) as error:
        raise WrongAnswer(f"{', '.join(row)}: {error}") from error


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
    """`auth-agent token` and the bare interpreter, in turns."""
    output, environment = stage.directory / "output", stage.environment
    right = f"{stage.token}\n".encode()
    return [
        (
            timed([AGENT_COMMAND, "token", ACCOUNT], environment, output, right),
            timed([sys.executable, "-c", "pass"], environment, output, b""),
        )
        for _ in range(count)
    ]
