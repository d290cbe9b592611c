"""A refresh: the agent's processor time, beside a bare POST with httpx to the same provider."""

import contextlib
import subprocess
import sys
import time
from collections.abc import Generator
from contextlib import AbstractContextManager
from typing import Final

from auth_agent_client import Agent
from tests.bench.accounts import names
from tests.bench.bare_post import KEPT, OWN
from tests.bench.comparison import CPU, Comparison, Figures, Measure, Row, WrongResponse, at_most
from tests.bench.cores import pinned
from tests.bench.crowded_agent import CrowdedAgent, ProviderProcess, crowded_agent, quick_provider
from tests.bench.processes import cpu_time
from tests.bench.servers import AGENT
from tests.bench.stage import Stage

POST: Final = "httpx, a connection each"
KEPT_POST: Final = "httpx, one connection"
# One program may import so many at once.
SESSIONS: Final = 50

# Of the access tokens: each is refreshed after about three.
_LIFETIME: Final = 5  # s
_POSTS: Final = 200
_POLL: Final = 0.1  # s


@contextlib.contextmanager
def _provider(stage: Stage, name: str) -> Generator[ProviderProcess]:
    """Run a provider of tokens that are soon over."""
    with quick_provider(stage.directory / f"{name}.log", stage.environment, stage.cores.load) as provider:
        provider.control(lifetime=_LIFETIME)
        yield provider


@contextlib.contextmanager
def _agent(stage: Stage) -> Generator[Measure]:
    """Run an agent with the memory store, whose sessions need a refresh again and again, and no client."""
    with _provider(stage, "refreshes") as provider:
        homes = dict.fromkeys(names(SESSIONS), provider)
        with crowded_agent(stage.directory / "refreshes", stage.environment, stage.cores, homes) as agent:
            agent.log_in()
            time.sleep(_LIFETIME)  # until refreshes come all the time
            yield lambda seconds: _refresh(agent, provider, seconds)


def _refresh(agent: CrowdedAgent, provider: ProviderProcess, seconds: float) -> Figures:
    """Return the processor time of a refresh in µs."""
    first, before = provider.control().token_requests, cpu_time([agent.pid])
    deadline = time.monotonic() + 4 * _LIFETIME
    time.sleep(seconds)
    # They come in waves, since the sessions have been logged in together.
    while provider.control().token_requests - first < SESSIONS and time.monotonic() < deadline:
        time.sleep(_POLL)
    after, counts = cpu_time([agent.pid]), provider.control()
    with Agent(agent.path) as client:
        failed = [record.account for record in client.status().accounts if record.failure is not None]
    count = counts.token_requests - first
    if count < SESSIONS or counts.refusals or failed:
        raise WrongResponse(f"there were {count} refreshes; these sessions failed: {', '.join(failed) or 'none'}")
    return {} if before is None or after is None else {CPU: (after - before) / count / 1e3}


def _post(stage: Stage) -> AbstractContextManager[Measure]:
    # As the agent does: a provider may close a kept connection just as a refresh token is sent on it.
    return _posts(stage, OWN)


def _kept_post(stage: Stage) -> AbstractContextManager[Measure]:
    return _posts(stage, KEPT)


@contextlib.contextmanager
def _posts(stage: Stage, connections: str) -> Generator[Measure]:
    """Send the same form, and read the response."""
    with _provider(stage, f"posts-{connections}") as provider:
        command = [sys.executable, "-m", "tests.bench.bare_post", f"{provider.issuer}/token", str(_POSTS), connections]

        def measure(_: float) -> Figures:
            with pinned(stage.cores.server):  # the agent's core: on the provider's own, a response comes cheaper
                return {CPU: float(subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout)}

        yield measure


REFRESHES: Final = Comparison(
    {AGENT: _agent, POST: _post, KEPT_POST: _kept_post},
    [
        Row(
            "a refresh, agent's processor time",
            CPU,
            "µs",
            AGENT,
            {POST: at_most(2), KEPT_POST: None},
            processor_time=True,
        )
    ],
    seconds=2,
    rounds=5,
    warms_up=False,
)
