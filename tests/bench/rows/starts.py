"""The agent's start until its first answer, beside a bare interpreter that imports what the agent imports."""

import contextlib
import time
from collections.abc import Generator
from typing import Final

from auth_agent_client import Agent
from tests.bench.accounts import configuration, names
from tests.bench.agents import IMPORTS, agent, imports, place
from tests.bench.comparison import CPU, WALL, Comparison, Figures, Measure, Row, at_most
from tests.bench.processes import cpu_time
from tests.bench.servers import AGENT, Place
from tests.bench.stage import Stage
from tests.bench.started import Started


@contextlib.contextmanager
def _agent(stage: Stage) -> Generator[Measure]:
    """Start agents with one account and the memory store, each until it has answered `status`."""
    where = place(stage, "start", configuration(names(1)))
    yield lambda _: _time_agent(where)


@contextlib.contextmanager
def _imports(stage: Stage) -> Generator[Measure]:
    """Start bare interpreters, each until it has imported what the agent imports."""
    where = place(stage, "imports", configuration(names(1)))
    yield lambda _: _time_imports(where)


def _time_agent(where: Place) -> Figures:
    with agent(where) as started, Agent(where.socket) as client:
        client.status()
        return _figures(started)


def _time_imports(where: Place) -> Figures:
    with imports(where) as started:
        return _figures(started)


def _figures(started: Started) -> Figures:
    """Return the processor time and the wall time since the start, in ms."""
    wall, cpu = time.perf_counter() - started.at, cpu_time([started.pid])
    return {WALL: 1e3 * wall} | ({} if cpu is None else {CPU: cpu / 1e6})


STARTS: Final = Comparison(
    {AGENT: _agent, IMPORTS: _imports},
    [
        Row(
            "agent start to first answer, processor time",
            CPU,
            "ms",
            AGENT,
            {IMPORTS: at_most(1.2)},
            processor_time=True,
        ),
        Row("agent start to first answer, from start", WALL, "ms", AGENT, {IMPORTS: at_most(1.2)}),
    ],
    rounds=7,
)
