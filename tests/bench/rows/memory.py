"""The agent's memory after a login, and what connections take."""

import contextlib
import resource
import socket
from collections.abc import Generator
from typing import Final

from auth_agent_client import Agent
from auth_agent_client.wire import Connection
from tests.bench.accounts import configuration, names
from tests.bench.agents import IMPORTS, imports, place
from tests.bench.comparison import Comparison, Figures, Measure, Row, WrongResponse, at_most
from tests.bench.crowded_agent import CrowdedAgent, crowded_agent, quick_provider
from tests.bench.processes import memory
from tests.bench.servers import AGENT
from tests.bench.stage import Stage

CONNECTIONS: Final = 1_000
RSS: Final = "RSS"
EACH: Final = "a connection"

_READ_SIZE: Final = 65_536
_TIMEOUT: Final = 10.0  # s


@contextlib.contextmanager
def _agent(stage: Stage) -> Generator[Measure]:
    """Start agents with the memory store, and log in to one account, which is an import."""
    directory, (account,) = stage.directory / "memory", names(1)
    with quick_provider(stage.directory / "memory.log", stage.environment, stage.cores.load) as provider:

        def measure(_: float) -> Figures:
            with crowded_agent(directory, stage.environment, stage.cores, {account: provider}) as agent:
                agent.log_in()
                return _measure(agent, account)

        yield measure


@contextlib.contextmanager
def _imports(stage: Stage) -> Generator[Measure]:
    """Start bare interpreters that import what the agent imports."""
    where = place(stage, "memory-imports", configuration(names(1)))

    def measure(_: float) -> Figures:
        with imports(where) as started:
            return {RSS: memory(started.pid).rss / 1024}

    yield measure


def _measure(agent: CrowdedAgent, account: str) -> Figures:
    """Return the agent's RSS in MiB, and what a connection adds to it in KiB."""
    with Agent(agent.path) as client:
        client.token(account)
    rss = memory(agent.pid).rss
    return {RSS: rss / 1024, EACH: (_rss_with_connections(agent, account) - rss) / CONNECTIONS}


def _rss_with_connections(agent: CrowdedAgent, account: str) -> int:
    """Return the RSS of the agent in KiB while a thousand connections are open that have sent one request each."""
    _, request = Connection().request("token", {"account": account})
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, min(hard, 2 * CONNECTIONS)), hard))
    with contextlib.ExitStack() as stack:
        for _ in range(CONNECTIONS):
            connection = stack.enter_context(socket.socket(socket.AF_UNIX))
            connection.settimeout(_TIMEOUT)
            connection.connect(agent.path)
            connection.sendall(request)
            reply = connection.recv(_READ_SIZE)
            if b"access_token" not in reply:
                raise WrongResponse(f"in place of a token the agent sent {len(reply)} bytes of something else")
        return memory(agent.pid).rss


MEMORY: Final = Comparison(
    {AGENT: _agent, IMPORTS: _imports},
    [
        Row("memory after a login (RSS, agent alone)", RSS, "MiB", AGENT, {IMPORTS: at_most(1.12)}),
        Row(f"memory a connection, of {CONNECTIONS:,}", EACH, "KiB", AGENT, bar=at_most(8)),
    ],
    rounds=3,
    warms_up=False,
)
