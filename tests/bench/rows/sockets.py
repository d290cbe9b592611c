"""A token on the socket: what the agent costs beyond the socket itself, and beyond another agent.

Where a wall time or a rate has a bar, the processor time has the same one, so that the short form can judge it.
"""

import contextlib
from collections.abc import Callable, Generator
from typing import Final, Literal

from tests.bench.comparison import CPU, P50, P99, RATE, Comparison, Measure, Row, Side, at_least, at_most
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


OPEN_CONNECTION: Final = Comparison(
    _driven([AGENT, PROTOCOL, C_ECHO], "open", 1),
    [
        Row(
            "token on an open connection, one client, p50",
            P50,
            "µs",
            AGENT,
            {PROTOCOL: at_most(1.25), C_ECHO: None},
            tail=P99,
        ),
        Row(
            "token on an open connection, one client, server's processor time",
            CPU,
            "µs",
            AGENT,
            {PROTOCOL: at_most(1.25), C_ECHO: None},
            processor_time=True,
        ),
    ],
)

OPEN_CONNECTIONS: Final = Comparison(
    _driven([AGENT, PROTOCOL, C_ECHO], "open", _MANY),
    [
        Row(
            f"token on {_MANY} open connections, server's processor time",
            CPU,
            "µs",
            AGENT,
            {PROTOCOL: at_most(1.5), C_ECHO: None},
            processor_time=True,
        ),
        Row(
            f"token on {_MANY} open connections, requests a second",
            RATE,
            "/s",
            AGENT,
            {PROTOCOL: at_least(0.7), C_ECHO: None},
        ),
        Row(f"token on {_MANY} open connections, p50", P50, "µs", AGENT, {PROTOCOL: None, C_ECHO: None}, tail=P99),
    ],
)

CONNECTING: Final = Comparison(
    _driven([AGENT, OIDC, PROTOCOL, C_ECHO], "connect", 1),
    [
        Row(
            "connect, token, close, one client, p50",
            P50,
            "µs",
            AGENT,
            {OIDC: at_most(1.25), PROTOCOL: None, C_ECHO: None},
            tail=P99,
        ),
        Row(
            "connect, token, close, one client, server's processor time",
            CPU,
            "µs",
            AGENT,
            {OIDC: at_most(1.25), PROTOCOL: None, C_ECHO: None},
            processor_time=True,
        ),
    ],
)

CONNECTING_PROCESSES: Final = Comparison(
    _driven([AGENT, OIDC, PROTOCOL, C_ECHO], "connect", _PROCESSES),
    [
        Row(
            f"connect, token, close, {_PROCESSES} client processes, requests a second",
            RATE,
            "/s",
            AGENT,
            {OIDC: at_least(1.0), PROTOCOL: None, C_ECHO: None},
        ),
        Row(
            f"connect, token, close, {_PROCESSES} client processes, server's processor time",
            CPU,
            "µs",
            AGENT,
            {OIDC: at_most(1.0), PROTOCOL: None, C_ECHO: None},
            processor_time=True,
        ),
        Row(
            f"connect, token, close, {_PROCESSES} client processes, p50",
            P50,
            "µs",
            AGENT,
            {OIDC: None, PROTOCOL: None, C_ECHO: None},
            tail=P99,
        ),
    ],
)

SOCKETS: Final = [OPEN_CONNECTION, OPEN_CONNECTIONS, CONNECTING, CONNECTING_PROCESSES]
