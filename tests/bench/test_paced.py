"""Load at a fixed pace counts what a stall delays, who waited for the network, and errors."""

import socket
import threading
import time
from collections.abc import Callable, Generator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Final, cast

import pytest

from auth_agent_client import errors
from auth_agent_client.wire import Connection, Request
from tests.bench.comparison import WrongResponse
from tests.bench.paced import Answers, Pace, percentile
from tests.bench.quick_provider import QuickProvider, access_token, issued_at

_ACCOUNTS: Final = ("one", "two")
_STALL: Final = 0.2  # s
# What answers the request of that number: a token, an error, or nothing more.
Reply = Callable[[int], str | errors.AgentError | None]


def token() -> str:
    return access_token({"issued": time.monotonic()})


@contextmanager
def agent(path: Path, reply: Reply) -> Generator[str]:
    """Serve one client."""
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(path))
        listening.listen()
        thread = threading.Thread(target=serve, args=(listening, reply))
        thread.start()
        yield str(path)
        thread.join()


def serve(listening: socket.socket, reply: Reply) -> None:
    connection, _ = listening.accept()
    wire = Connection()
    with connection:
        for number in range(1000):
            wire.receive_data(connection.recv(4096))
            request = wire.next_message()
            if not isinstance(request, Request):
                return
            result = reply(number)
            if result is None:
                return
            if isinstance(result, errors.AgentError):
                response = wire.respond_with_error(request, result)
            else:
                response = wire.respond(request, {"access_token": result})
            connection.sendall(response[:100])
            connection.sendall(response[100:])


def drive(path: Path, reply: Reply, rate: float, count: int) -> Answers:
    with agent(path / "sock", reply) as socket_path, closing(Pace(socket_path, _ACCOUNTS, 1)) as pace:
        return pace.drive(rate, count / rate)


def test_each_request_has_an_answer(tmp_path: Path) -> None:
    old = token()
    answers = drive(tmp_path, lambda _: old, 1000, 20)
    assert (len(answers.latencies), answers.waited, sum(answers.errors.values())) == (20, 0, 0)


def test_a_stall_counts_for_each_request_that_it_delays(tmp_path: Path) -> None:
    old = token()

    def reply(number: int) -> str:
        if number == 0:
            time.sleep(_STALL)
        return old

    answers = drive(tmp_path, reply, 1 / (_STALL / 20), 20)  # all are due before it is over
    assert sum(latency > _STALL / 4 for latency in answers.latencies) >= 10
    assert percentile(answers.latencies, 50) > _STALL / 4


def test_a_token_that_is_newer_than_the_request_was_waited_for(tmp_path: Path) -> None:
    answers = drive(tmp_path, lambda number: token() if number % 2 else access_token({"issued": 0.0}), 1000, 20)
    assert answers.waited == 10


def test_errors_are_counted_by_their_codes(tmp_path: Path) -> None:
    answers = drive(tmp_path, lambda number: errors.Unavailable("no") if number < 3 else token(), 1000, 5)
    assert answers.errors == {"unavailable": 3}
    assert len(answers.latencies) == 5


def test_an_agent_that_ends_is_wrong(tmp_path: Path) -> None:
    with pytest.raises(WrongResponse, match="closed"):
        drive(tmp_path, lambda number: token() if number < 2 else None, 1000, 5)


@pytest.mark.parametrize(("percent", "expected"), [(50, 3.0), (99, 5.0), (0, 1.0), (100, 5.0)])
def test_percentiles(percent: float, expected: float) -> None:
    assert percentile([5.0, 1.0, 4.0, 2.0, 3.0], percent) == expected


def test_the_quick_provider_takes_each_refresh_token_once() -> None:
    provider = QuickProvider("http://127.0.0.1:1")
    status, response = provider.respond("/token", b"refresh_token=alice.login.x")
    assert status == 200
    response = cast(dict[str, str], response)
    assert issued_at(response["access_token"]) <= time.monotonic()
    again = f"refresh_token={response['refresh_token']}".encode()
    assert [provider.respond("/token", again)[0] for _ in range(2)] == [200, 400]
    assert provider.counts.refusals == 1
