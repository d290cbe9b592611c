"""Load at a fixed pace: clients that ask for tokens at times that do not depend on the answers (an open loop).

A latency counts from when the request was due, so a stall of the server counts for every request that it delays, not
for one. Whether a request waited for the network is known from the token: the provider answered with it after the
request had been sent (`quick_provider.issued_at`; processes of one machine share the monotonic clock).
"""

import gc
import random
import select
import socket
import time
from collections import Counter, deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Final, cast

from auth_agent_client.wire import Connection, Response
from tests.bench.comparison import WrongResponse
from tests.bench.quick_provider import issued_at

_READ_SIZE: Final = 65_536
# Seconds after the last request until which its answer must have come: longer than the agent waits for a provider.
_PATIENCE: Final = 40.0


@dataclass(slots=True)
class Answers:
    """What came of all requests. Times are in seconds.

    Args:
        latencies: From when each was due to its answer.
        lateness: From when each was due until it was sent, if its client was idle: how exact the driver is.
        waited: How many waited for the network.
        errors: How many were answered with each error.

    """

    latencies: list[float] = field(default_factory=list[float])
    lateness: list[float] = field(default_factory=list[float])
    waited: int = 0
    errors: Counter[str] = field(default_factory=Counter[str])


def percentile(times: Sequence[float], percent: float) -> float:
    """Return the time that this percentage of them does not exceed."""
    return sorted(times)[min(len(times) - 1, int(len(times) * percent / 100))]


class _Client:
    """One connection, with one request open at most; further ones that are due queue up."""

    __slots__ = ("account", "due", "queue", "received", "sent", "socket")

    def __init__(self, path: str) -> None:
        self.socket = socket.socket(socket.AF_UNIX)
        self.socket.connect(path)
        self.queue = deque[tuple[float, int]]()
        self.received = b""
        self.due = self.sent = 0.0
        self.account: int | None = None

    def fileno(self) -> int:
        return self.socket.fileno()


class Pace:
    """Clients of an agent that ask for the tokens of accounts."""

    def __init__(self, path: str, accounts: Sequence[str], clients: int) -> None:
        self._requests = [Connection().request("token", {"account": account})[1] for account in accounts]
        self._known = [b""] * len(accounts)  # the last answer for each account
        self._clients = [_Client(path) for _ in range(clients)]

    def close(self) -> None:
        """Disconnect all clients."""
        for client in self._clients:
            client.socket.close()

    def drive(self, rate: float, seconds: float, seed: int = 0) -> Answers:
        """Send `rate` requests a second, by one client after the other, each for a random account.

        Raises:
            WrongResponse: an answer is missing, or is none.

        """
        gc.collect()
        gc.disable()
        try:
            return self._drive(rate, int(rate * seconds), random.Random(seed))
        finally:
            gc.enable()

    def _drive(self, rate: float, count: int, chance: random.Random) -> Answers:
        answers, clients, number = Answers(), self._clients, 0
        start = time.monotonic()
        deadline = start + count / rate + _PATIENCE
        while len(answers.latencies) < count:
            now = time.monotonic()
            if now > deadline:
                raise WrongResponse(f"{count - len(answers.latencies)} of {count} requests were not answered")
            while number < count and start + number / rate <= now:
                client = clients[number % len(clients)]
                client.queue.append((start + number / rate, chance.randrange(len(self._requests))))
                if client.account is None:
                    answers.lateness.append(now - client.queue[0][0])
                    self._send(client)
                number += 1
            pause = start + number / rate - time.monotonic() if number < count else 1.0
            for client in select.select(clients, (), (), max(0.0, pause))[0]:
                self._receive(client, answers)
        return answers

    def _send(self, client: _Client) -> None:
        client.due, client.account = client.queue.popleft()
        client.sent = time.monotonic()
        client.socket.sendall(self._requests[client.account])

    def _receive(self, client: _Client, answers: Answers) -> None:
        data = client.socket.recv(_READ_SIZE)
        now, account = time.monotonic(), client.account
        if not data or account is None:
            raise WrongResponse("the agent closed a connection, or answered what nobody asked")
        client.received += data
        if client.received != self._known[account]:
            wire = Connection()
            wire.request("token", {})
            wire.receive_data(client.received)
            response = wire.next_message()
            if response is None:
                return
            if not isinstance(response, Response):
                raise WrongResponse("the agent sent another message than a response")
            if response.error is not None:
                answers.errors[response.error.code] += 1
            else:
                self._known[account] = client.received
                result = cast(dict[str, Any], response.result)
                answers.waited += issued_at(result["access_token"]) > client.sent
        client.received, client.account = b"", None
        answers.latencies.append(now - client.due)
        if client.queue:
            self._send(client)
