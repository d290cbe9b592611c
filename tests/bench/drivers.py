"""Drivers: they ask a server as fast as it answers, check each answer, and note how long it took.

The same loop drives the agent and the floor, with requests and replies of the same sizes.
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


class WrongAnswer(Exception):
    """A server answered something else than it had to."""


@dataclass(frozen=True, slots=True)
class Server:
    """A server to be driven: where it listens, what it is asked, and what it has to answer."""

    path: str
    pid: int
    request: bytes
    reply: bytes


@dataclass(frozen=True, slots=True)
class Sample:
    """What one drive came to; times are of one request, in microseconds."""

    rate: float
    median: float
    p99: float
    cpu: float | None


class Clock:
    """Notes how long each request took, and how long the server computed for all of them."""

    def __init__(self, pid: int, seconds: float) -> None:
        self._pid = pid
        self._cpu = cpu_time(pid)
        self._taken = array("q")
        self.note = self._taken.append
        self.start = time.perf_counter_ns()
        self.end = self.start + int(seconds * 1e9)

    def sample(self) -> Sample:
        """What was noted."""
        elapsed = time.perf_counter_ns() - self.start
        cpu = cpu_time(self._pid)
        taken = sorted(self._taken)
        count = len(taken)
        return Sample(
            rate=count * 1e9 / elapsed,
            median=taken[count // 2] / 1e3,
            p99=taken[count * 99 // 100] / 1e3,
            cpu=None if cpu is None or self._cpu is None else (cpu - self._cpu) / count / 1e3,
        )


def drive_one(server: Server, seconds: float) -> Sample:
    """One request after the other on one connection."""
    request, right, size = server.request, server.reply, len(server.reply)
    now = time.perf_counter_ns
    with connect(server.path) as connection:
        send, receive = connection.sendall, connection.recv
        clock = Clock(server.pid, seconds)
        note, end, before = clock.note, clock.end, clock.start
        while before < end:
            send(request)
            reply = receive(size)
            if reply != right:
                check(connection, reply, right)
            after = now()
            note(after - before)
            before = after
        return clock.sample()


class _Asked:
    """One of many connections, and when its request was sent."""

    __slots__ = ("connection", "receive", "send", "since")

    def __init__(self, connection: socket.socket) -> None:
        self.connection = connection
        self.receive = connection.recv
        self.send = connection.sendall
        self.since = 0


def drive_many(server: Server, seconds: float) -> Sample:
    """One request after the other on each of many connections, all at the same time.

    It doesn't sleep while there is nothing to read: a server that is slower than the driver would pay for waking it
    with every reply, and a faster one wouldn't.
    """
    request, right, size = server.request, server.reply, len(server.reply)
    now = time.perf_counter_ns
    with contextlib.ExitStack() as stack:
        selector = stack.enter_context(selectors.DefaultSelector())
        connections = [_Asked(stack.enter_context(connect(server.path))) for _ in range(CONNECTIONS)]
        for asked in connections:
            selector.register(asked.connection, selectors.EVENT_READ, asked)
        clock = Clock(server.pid, seconds)
        note, end = clock.note, clock.end
        for asked in connections:
            asked.since = now()
            asked.send(request)
        waiting, given_up = CONNECTIONS, end + _TIMEOUT * 10**9
        while waiting:
            answered = selector.select(0)
            if not answered:
                if now() > given_up:
                    raise WrongAnswer(f"{waiting} of {CONNECTIONS} requests were not answered within {_TIMEOUT} s")
                os.sched_yield()
            for key, _ in answered:
                asked = key.data
                reply = asked.receive(size)
                if reply != right:
                    check(asked.connection, reply, right)
                after = now()
                note(after - asked.since)
                if after < end:
                    asked.since = after
                    asked.send(request)
                else:
                    waiting -= 1
        return clock.sample()


def drive_client(server: Server, account: str, token: str, seconds: float) -> Sample:
    """One call of `Agent.token` after the other."""
    now = time.perf_counter_ns
    with Agent(server.path) as agent:
        ask: Callable[[str], Token] = agent.token
        ask(account)  # opens the connection, which the raw drivers don't count either
        clock = Clock(server.pid, seconds)
        note, end, before = clock.note, clock.end, clock.start
        while before < end:
            if ask(account).access_token != token:
                raise WrongAnswer("Agent.token returned another token than before")
            after = now()
            note(after - before)
            before = after
        return clock.sample()


def connect(path: str) -> socket.socket:
    """A connection whose calls fail after a while; by the kernel's doing, since Python's own would add a poll."""
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


def check(connection: socket.socket, reply: bytes, right: bytes) -> None:
    """Read the rest of a reply that came in pieces.

    Raises:
        WrongAnswer: it is another one.

    """
    while reply and len(reply) < len(right) and right.startswith(reply):
        try:
            more = connection.recv(len(right) - len(reply))
        except BlockingIOError:
            break
        if not more:
            break
        reply += more
    if reply != right:
        raise WrongAnswer(f"in place of {len(right)} bytes with a token came {described(reply)}")


def described(reply: bytes) -> str:
    """What a wrong reply is, in words that hold no token."""
    if not reply:
        return "the end of the connection"
    wire = Connection()
    request, _ = wire.request("token", {})
    wire.receive_data(reply)
    try:
        message = wire.next_message()
    except WireError as error:
        return f"{len(reply)} bytes: {error}"
    if isinstance(message, Response) and message.id == request and message.error is not None:
        return f"the error {message.error.code}: {message.error.message}"
    return f"{len(reply)} bytes of another message"
