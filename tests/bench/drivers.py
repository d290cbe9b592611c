"""Drivers: they send requests to a server as fast as it responds, and check and time each response.

The same loop drives the agent and the floor, with requests and responses of the same sizes.
"""

import contextlib
import os
import selectors
import socket
import struct
import time
from array import array
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from auth_agent_client import Agent, Token
from auth_agent_client.wire import Connection, Response, WireError
from tests.bench.processes import cpu_time

CONNECTIONS: Final = 64
_TIMEOUT: Final = 5  # s


class WrongResponse(Exception):
    """A server sent a wrong response."""


@dataclass(frozen=True, slots=True)
class Server:
    """A server to be driven: its socket, the request, and the expected response."""

    path: str
    pid: int
    request: bytes
    response: bytes


@dataclass(frozen=True, slots=True)
class Sample:
    """The result of one drive; times are of one request, in microseconds."""

    rate: float
    median: float
    p99: float
    cpu: float | None


class Clock:
    """Records the duration of each request, and the server's CPU time for all of them."""

    def __init__(self, pid: int, seconds: float) -> None:
        self._pid = pid
        self._cpu = cpu_time(pid)
        self._durations = array("q")
        self.record = self._durations.append
        self.start = time.perf_counter_ns()
        self.end = self.start + int(seconds * 1e9)

    def sample(self) -> Sample:
        """Return the result."""
        elapsed = time.perf_counter_ns() - self.start
        cpu = cpu_time(self._pid)
        durations = sorted(self._durations)
        count = len(durations)
        return Sample(
            rate=count * 1e9 / elapsed,
            median=durations[count // 2] / 1e3,
            p99=durations[count * 99 // 100] / 1e3,
            cpu=None if cpu is None or self._cpu is None else (cpu - self._cpu) / count / 1e3,
        )


def drive_one(server: Server, seconds: float) -> Sample:
    """Send one request after the other on one connection."""
    request, expected, size = server.request, server.response, len(server.response)
    now = time.perf_counter_ns
    with connect(server.path) as connection:
        send, receive = connection.sendall, connection.recv
        clock = Clock(server.pid, seconds)
        record, end, before = clock.record, clock.end, clock.start
        while before < end:
            send(request)
            response = receive(size)
            if response != expected:
                check(connection, response, expected)
            after = now()
            record(after - before)
            before = after
        return clock.sample()


class _OpenRequest:
    """One of many connections, and the time of its request."""

    __slots__ = ("connection", "receive", "send", "since")

    def __init__(self, connection: socket.socket) -> None:
        self.connection = connection
        self.receive = connection.recv
        self.send = connection.sendall
        self.since = 0


def drive_many(server: Server, seconds: float) -> Sample:
    """Send one request after the other on each of many concurrent connections.

    It doesn't sleep while there is nothing to read: a server that is slower than the driver would have to wake it with
    every response, and a faster one wouldn't.
    """
    request, expected, size = server.request, server.response, len(server.response)
    now = time.perf_counter_ns
    with contextlib.ExitStack() as stack:
        selector = stack.enter_context(selectors.DefaultSelector())
        connections = [_OpenRequest(stack.enter_context(connect(server.path))) for _ in range(CONNECTIONS)]
        for open_request in connections:
            selector.register(open_request.connection, selectors.EVENT_READ, open_request)
        clock = Clock(server.pid, seconds)
        record, end = clock.record, clock.end
        for open_request in connections:
            open_request.since = now()
            open_request.send(request)
        waiting, deadline = CONNECTIONS, end + _TIMEOUT * 10**9
        while waiting:
            ready = selector.select(0)
            if not ready:
                if now() > deadline:
                    raise WrongResponse(f"{waiting} of {CONNECTIONS} requests were not answered within {_TIMEOUT} s")
                os.sched_yield()
            for key, _ in ready:
                open_request = key.data
                response = open_request.receive(size)
                if response != expected:
                    check(open_request.connection, response, expected)
                after = now()
                record(after - open_request.since)
                if after < end:
                    open_request.since = after
                    open_request.send(request)
                else:
                    waiting -= 1
        return clock.sample()


def drive_client(server: Server, account: str, token: str, seconds: float) -> Sample:
    """Call `Agent.token` repeatedly."""
    now = time.perf_counter_ns
    with Agent(server.path) as agent:
        get_token: Callable[[str], Token] = agent.token
        get_token(account)  # opens the connection, which the raw drivers don't count either
        clock = Clock(server.pid, seconds)
        record, end, before = clock.record, clock.end, clock.start
        while before < end:
            if get_token(account).access_token != token:
                raise WrongResponse("Agent.token returned another token than before")
            after = now()
            record(after - before)
            before = after
        return clock.sample()


def connect(path: str) -> socket.socket:
    """Return a connection with time-outs of the kernel, since Python's own would add a poll."""
    connection = socket.socket(socket.AF_UNIX)
    try:
        limit = struct.pack("ll", _TIMEOUT, 0)
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, limit)
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, limit)
        connection.connect(path)
    except BaseException:
        connection.close()
        raise
    return connection


def check(connection: socket.socket, response: bytes, expected: bytes) -> None:
    """Read the rest of a response that arrived in pieces.

    Raises:
        WrongResponse: it is wrong.

    """
    while response and len(response) < len(expected) and expected.startswith(response):
        try:
            more = connection.recv(len(expected) - len(response))
        except BlockingIOError:
            break
        if not more:
            break
        response += more
    if response != expected:
        raise WrongResponse(f"in place of {len(expected)} bytes with a token came {describe(response)}")


def describe(response: bytes) -> str:
    """Describe a wrong response, without a token."""
    if not response:
        return "the end of the connection"
    wire = Connection()
    request, _ = wire.request("token", {})
    wire.receive_data(response)
    try:
        message = wire.next_message()
    except WireError as error:
        return f"{len(response)} bytes: {error}"
    if isinstance(message, Response) and message.id == request and message.error is not None:
        return f"the error {message.error.code}: {message.error.message}"
    return f"{len(response)} bytes of another message"
