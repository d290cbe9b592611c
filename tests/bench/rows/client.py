"""The client library: what `Agent.token` costs a program beyond the socket."""

import contextlib
import socket
import struct
import time
import timeit
from array import array
from collections.abc import Callable, Generator
from statistics import median
from typing import Final

from auth_agent_client import Agent
from tests.bench.comparison import CPU, P50, P99, Comparison, Figures, Measure, Row, WrongResponse, at_most
from tests.bench.stage import ACCOUNT, Stage

CLIENT: Final = "Agent.token()"
SOCKET: Final = "a bare Python socket"

_TIMEOUT: Final = 5  # s


def timed(call: Callable[[], object], seconds: float) -> Figures:
    """Call repeatedly; return what a call takes, and this thread's processor time for it, both in microseconds."""
    durations = array("q")
    now, record = time.perf_counter_ns, durations.append
    cpu, before = time.thread_time_ns(), now()
    end = before + int(seconds * 1e9)
    while before < end:
        call()
        after = now()
        record(after - before)
        before = after
    cpu = time.thread_time_ns() - cpu
    ordered, count = sorted(durations), len(durations)
    return {P50: ordered[count // 2] / 1e3, P99: ordered[count * 99 // 100] / 1e3, CPU: cpu / count / 1e3}


@contextlib.contextmanager
def _client(stage: Stage) -> Generator[Measure]:
    with Agent(stage.agent.path) as agent:
        expected = agent.token(ACCOUNT).access_token

        def call() -> None:
            if agent.token(ACCOUNT).access_token != expected:
                raise WrongResponse("Agent.token returned another token than before")

        yield lambda seconds: timed(call, seconds)


@contextlib.contextmanager
def _socket(stage: Stage) -> Generator[Measure]:
    """The same request and the same reply; time-outs are the kernel's, since Python's own would add a poll."""
    request, reply = stage.agent.request.read_bytes(), stage.agent.reply.read_bytes()
    limit = struct.pack("ll", _TIMEOUT, 0)
    with socket.socket(socket.AF_UNIX) as connection:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, limit)
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, limit)
        connection.connect(stage.agent.path)
        send, receive, size = connection.send, connection.recv, len(reply)

        def call() -> None:
            send(request)
            if receive(size) != reply:
                raise WrongResponse("the agent sent another reply than before")

        yield lambda seconds: timed(call, seconds)


TOKEN: Final = Comparison(
    {CLIENT: _client, SOCKET: _socket},
    [
        Row(f"{CLIENT} on an open connection, p50", P50, "µs", CLIENT, {SOCKET: at_most(1.3)}, tail=P99),
        Row(
            f"{CLIENT} on an open connection, client's processor time",
            CPU,
            "µs",
            CLIENT,
            {SOCKET: None},
        ),
    ],
)

COPIES: Final = "Agent(watch=True).token()"
METHOD: Final = "an empty method"
METHOD_OF_TOKEN: Final = "an empty token()"

_CALLS: Final = 2000


class _Empty:
    """Methods that do nothing."""

    def method(self) -> None:
        """Do nothing."""

    def token(
        self,
        account: str | None = None,
        *,
        url: str | None = None,
        directory: str | None = None,
        audience: str | None = None,
        scope: str | None = None,
        only: bool | None = None,
        min_ttl: float | None = None,
        force: bool | None = None,
        timeout: float | None = None,
    ) -> None:
        """Do nothing, with the parameters of `Agent.token`."""


def _repeated(call: Callable[..., object], *arguments: str) -> Measure:
    """Return what measures a call that is too short for a clock: many at once, by the processor's time."""
    statement = f"call({', '.join(map(repr, arguments))})"
    timer = timeit.Timer(statement, timer=time.thread_time, globals={"call": call})

    def measure(seconds: float) -> Figures:
        times: list[float] = []
        end = time.perf_counter() + seconds
        while not times or time.perf_counter() < end:
            times.append(timer.timeit(_CALLS) / _CALLS * 1e6)
        return {CPU: median(times)}

    return measure


@contextlib.contextmanager
def _copies(stage: Stage) -> Generator[Measure]:
    with Agent(stage.agent.path, watch=True) as agent:
        token = agent.token(ACCOUNT).access_token
        if any(agent.token(ACCOUNT).access_token != token for _ in range(_CALLS)):
            raise WrongResponse("Agent.token returned another token than before")
        yield _repeated(agent.token, ACCOUNT)


@contextlib.contextmanager
def _method(_: Stage) -> Generator[Measure]:
    yield _repeated(_Empty().method)


@contextlib.contextmanager
def _method_of_token(_: Stage) -> Generator[Measure]:
    yield _repeated(_Empty().token, ACCOUNT)


COPY: Final = Comparison(
    {COPIES: _copies, METHOD: _method, METHOD_OF_TOKEN: _method_of_token},
    [
        Row(
            f"{COPIES}, client's processor time",
            CPU,
            "µs",
            COPIES,
            # A method without parameters does not do what any call of `token` has to.
            {METHOD_OF_TOKEN: at_most(15), METHOD: None},
        ),
    ],
)

CLIENT_LIBRARY: Final = [TOKEN, COPY]
