"""A sealed file with a thousand accounts: what it adds to the start, to the memory, and to an agent at rest."""

import contextlib
import time
from collections.abc import Generator
from typing import Final

from auth_agent.sessions.refresher import TICK
from auth_agent_client import Agent
from tests.bench.accounts import names
from tests.bench.agents import agent, await_all, await_rest, await_token, sealed_place
from tests.bench.comparison import CPU, Comparison, Figures, Measure, Row, WrongResponse, at_most
from tests.bench.processes import cpu_time, memory
from tests.bench.servers import AGENT, Place
from tests.bench.stage import Stage

ACCOUNTS: Final = 1_000
FIRST: Final = "first token"
ALL: Final = "all tokens"
EACH: Final = "an account"

_ONE: Final = 1


@contextlib.contextmanager
def _starts(stage: Stage) -> Generator[Measure]:
    """Start an agent with one account, and one with a thousand more."""
    few, many = sealed_place(stage, _ONE), sealed_place(stage, _ONE + ACCOUNTS)

    def measure(_: float) -> Figures:
        one, thousand = _start(few, _ONE), _start(many, _ONE + ACCOUNTS)
        more = {figure: thousand[figure] - one[figure] for figure in one}
        return {**more, EACH: more[EACH] / ACCOUNTS}

    yield measure


def _start(where: Place, accounts: int) -> Figures:
    """Return the seconds from the start to the first token, and until all are served, and the RSS then in KiB."""
    with agent(where, "file") as started, Agent(where.socket) as client:
        account = names(accounts)[accounts // 2]
        await_token(client, account)
        first = time.perf_counter() - started.at
        await_all(client, account)
        return {FIRST: first, ALL: time.perf_counter() - started.at, EACH: memory(started.pid).rss}


@contextlib.contextmanager
def _rest(stage: Stage) -> Generator[Measure]:
    """Run an agent with a thousand accounts, once it has read them and its worker has ended."""
    where = sealed_place(stage, _ONE + ACCOUNTS)
    with agent(where, "file") as started:
        with Agent(where.socket) as client:
            await_all(client, names(_ONE)[0])
        await_rest(started.pid)
        yield lambda seconds: _share(started.pid, seconds)


def _share(pid: int, seconds: float) -> Figures:
    """Return which share of a core the process takes, in percent; nothing where the system doesn't tell."""
    start, before = time.monotonic(), cpu_time([pid])
    time.sleep(seconds)
    after, elapsed = cpu_time([pid]), time.monotonic() - start
    if before is None or after is None:
        return {}
    if after == before and elapsed > TICK:
        raise WrongResponse("the agent's timer did not run")
    return {CPU: (after - before) / elapsed / 1e7}


SEALED: Final = [
    Comparison(
        {AGENT: _starts},
        [
            Row(
                f"start to first token, {ACCOUNTS:,} accounts more in a sealed file", FIRST, "s", AGENT, bar=at_most(1)
            ),
            Row(f"start to all tokens, {ACCOUNTS:,} accounts more in a sealed file", ALL, "s", AGENT),
            Row(f"memory an account more, of {ACCOUNTS:,}", EACH, "KiB", AGENT, bar=at_most(8)),
        ],
        rounds=3,
        warms_up=False,
    ),
    # Two looks of the timer at all sessions, should it look at them.
    Comparison(
        {AGENT: _rest},
        [Row(f"processor time at rest, {ACCOUNTS:,} accounts", CPU, "% of a core", AGENT, bar=at_most(0.02))],
        seconds=61,
        rounds=1,
        warms_up=False,
    ),
]
