"""A token on the socket: what the agent costs beyond the socket itself, and beyond another agent.

Where a wall time or a rate has a bar, the processor time has the same one, so that the short form can judge it.
"""

import contextlib
from collections.abc import Callable, Generator, Mapping
from typing import Final, Literal

from tests.bench.comparison import CPU, P50, P99, RATE, Bar, Comparison, Measure, Row, Side, at_least, at_most
from tests.bench.load import drive
from tests.bench.servers import AGENT, C_ECHO, OIDC, PROTOCOL, Server
from tests.bench.stage import Stage

_MANY: Final = 64
_PROCESSES: Final = 16

_SERVERS: Final[dict[str, Callable[[Stage], Server]]] = {
    AGENT: lambda stage: stage.agent,
    PROTOCOL: lambda stage: stage.protocol_echo,
    C_ECHO: lambda stage: stage.c_echo,
    OIDC: lambda stage: stage.oidc_agent,
}


def _driven(names: list[str], mode: Literal["open", "connect"], clients: int) -> dict[str, Side]:
    return {name: _side(_SERVERS[name], mode, clients) for name in names}


def _side(find: Callable[[Stage], Server], mode: Literal["open", "connect"], clients: int) -> Side:
    @contextlib.contextmanager
    def side(stage: Stage) -> Generator[Measure]:
        server = find(stage)
        yield lambda seconds: drive(server, mode, clients, seconds)

    return side


# ---- the rows: a figure of the agent, with bars for its ratios to others


def _latency(words: str, beside: Mapping[str, Bar | None]) -> Row:
    return Row(f"{words}, p50", P50, "µs", AGENT, beside, tail=P99)


def _rate(words: str, beside: Mapping[str, Bar | None]) -> Row:
    return Row(f"{words}, requests a second", RATE, "/s", AGENT, beside)


def _processor_time(words: str, beside: Mapping[str, Bar | None]) -> Row:
    return Row(f"{words}, server's processor time", CPU, "µs", AGENT, beside, processor_time=True)


_OPEN: Final = "token on an open connection, one client"
_ALL_OPEN: Final = f"token on {_MANY} open connections"
_CONNECT: Final = "connect, token, close, one client"
_ALL_CONNECT: Final = f"connect, token, close, {_PROCESSES} client processes"

SOCKETS: Final = [
    Comparison(
        _driven([AGENT, PROTOCOL, C_ECHO], "open", 1),
        [
            _latency(_OPEN, {PROTOCOL: at_most(1.25), C_ECHO: None}),
            _processor_time(_OPEN, {PROTOCOL: at_most(1.25), C_ECHO: None}),
        ],
    ),
    Comparison(
        _driven([AGENT, PROTOCOL, C_ECHO], "open", _MANY),
        [
            _processor_time(_ALL_OPEN, {PROTOCOL: at_most(1.5), C_ECHO: None}),
            _rate(_ALL_OPEN, {PROTOCOL: at_least(0.7), C_ECHO: None}),
            _latency(_ALL_OPEN, {PROTOCOL: None, C_ECHO: None}),
        ],
    ),
    Comparison(
        _driven([AGENT, OIDC, PROTOCOL, C_ECHO], "connect", 1),
        [
            _latency(_CONNECT, {OIDC: at_most(1.25), PROTOCOL: None, C_ECHO: None}),
            _processor_time(_CONNECT, {OIDC: at_most(1.25), PROTOCOL: None, C_ECHO: None}),
        ],
    ),
    Comparison(
        _driven([AGENT, OIDC, PROTOCOL, C_ECHO], "connect", _PROCESSES),
        [
            _rate(_ALL_CONNECT, {OIDC: at_least(1.0), PROTOCOL: None, C_ECHO: None}),
            _processor_time(_ALL_CONNECT, {OIDC: at_most(1.0), PROTOCOL: None, C_ECHO: None}),
            _latency(_ALL_CONNECT, {OIDC: None, PROTOCOL: None, C_ECHO: None}),
        ],
    ),
]
