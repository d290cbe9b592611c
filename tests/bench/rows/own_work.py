"""The agent's own work for a `token` request: all but the system calls, in this process."""

import contextlib
import socket
import sys
import time
from collections.abc import Generator, Sequence
from types import FrameType
from typing import Final

import anyio

from auth_agent.ipc.connection import ClientConnection
from auth_agent.ipc.peer import peer_of
from auth_agent.ipc.server import Server
from auth_agent_client.wire import Connection
from tests.bench.accounts import access_token, names
from tests.bench.comparison import CPU, Comparison, Figures, Measure, Row, WrongResponse, at_most
from tests.bench.composition import composed
from tests.bench.stage import Stage

AGENT: Final = "agent, in process"
CALLS: Final = "calls"

_HOUR: Final = 3600.0  # s
_BATCH: Final = 1_000  # requests
_FIRST: Final = 256  # ids that are shorter
_COUNTED: Final = 100  # requests whose calls are counted


@contextlib.contextmanager
def _agent(stage: Stage) -> Generator[Measure]:
    """Feed a connection with requests for a token that is valid for an hour, and drop what it writes."""
    with composed(stage.directory, 1, _HOUR) as (portal, composition):
        yield lambda seconds: portal.call(_measure, composition.server, seconds)


async def _measure(server: Server, seconds: float) -> Figures:
    """Return the processor time of a request in µs, and how many Python functions it calls."""
    (account,) = names(1)
    ours, theirs = socket.socketpair()
    with ours, _Dropping(fileno=theirs.detach()) as dropping:
        dropping.setblocking(False)
        connection = ClientConnection(dropping, peer_of(dropping), server)
        wire = Connection()
        # A client counts its requests, so no two are the same bytes. From here on, all ids are equally long.
        requests = [wire.request("token", {"account": account})[1] for _ in range(_FIRST + _BATCH)][_FIRST:]
        connection.data_received(requests[0])
        dropping.check(access_token(account))
        size = dropping.sent
        count, nanoseconds = 0, 0
        while nanoseconds < seconds * 1e9:
            nanoseconds += _time(connection, requests)
            count += _BATCH
        calls = _count_calls(connection, requests[:_COUNTED])
        dropping.check(access_token(account))
        connection.abort()
        await anyio.wait_all_tasks_blocked()
    if dropping.sent != (1 + count + _COUNTED) * size:
        raise WrongResponse(f"{1 + count + _COUNTED} replies of {size} bytes have {dropping.sent} bytes together")
    return {CPU: nanoseconds / count / 1e3, CALLS: calls}


def _time(connection: ClientConnection, requests: Sequence[bytes]) -> int:
    """Return the processor time of the requests, in ns."""
    receive = connection.data_received
    start = time.thread_time_ns()
    for request in requests:
        receive(request)
    return time.thread_time_ns() - start


def _count_calls(connection: ClientConnection, requests: Sequence[bytes]) -> float:
    """Return how many Python functions one of the requests calls."""
    calls = 0

    def count(_: FrameType, event: str, _argument: object) -> None:
        nonlocal calls
        calls += event == "call"

    sys.setprofile(count)
    for request in requests:
        connection.data_received(request)
    sys.setprofile(None)
    return calls / len(requests)


class _Dropping(socket.socket):
    """A socket that drops what is sent but for the last piece, and counts it, in as little time as it can."""

    last = b""
    sent = 0

    def check(self, token: str) -> None:
        """Raise WrongResponse if the last reply has another token."""
        if token.encode() not in self.last:
            raise WrongResponse(f"in place of a token the agent sent {len(self.last)} bytes of something else")

    def send(self, data: bytes, flags: int = 0, /) -> int:  # type: ignore[override]  # pyright: ignore[reportIncompatibleMethodOverride] -- a transport sends bytes  # noqa: ARG002 -- socket's
        self.last = data
        size = len(data)
        self.sent += size
        return size


OWN_WORK: Final = Comparison(
    {AGENT: _agent},
    [
        Row("own work for a token, in process", CPU, "µs", AGENT, bar=at_most(2.5), processor_time=True),
        Row("own work for a token, in process, Python functions called", CALLS, "calls", AGENT),
    ],
    seconds=0.2,
)
