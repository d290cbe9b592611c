"""`python -m tests.fuzz.worker`: sends that many messages of a seed to an agent, and judges the responses.

It reads its parameters from standard input as JSON, and writes its tally. It is a separate process, since making the
messages takes longer than answering them, and must not disturb the measurement.
"""

import contextlib
import json
import select
import socket
import sys
from collections import Counter
from dataclasses import dataclass, field
from typing import Any, Final

import msgpack

from auth_agent_client.errors import BY_CODE
from tests.fuzz.mutation import Known, Mutator, Sample

_READ: Final = 1 << 16
# Seconds until a response: requests wait for a fifth of a second at most, except those without a time-out (15 s), and
# imports and logouts (the provider's 30 s).
_PATIENCE: Final = 60.0
_SHOWN: Final = 4096  # bytes of a failing stream


class Misbehavior(Exception):
    """The agent misbehaved."""


@dataclass
class Tally:
    """The messages sent, and the responses."""

    messages: int = 0
    connections: int = 0
    bytes: int = 0
    kinds: Counter[str] = field(default_factory=Counter[str])
    # Results, errors by their codes, and notifications that a connection is closed.
    replies: Counter[str] = field(default_factory=Counter[str])
    # Requests without a response, since a later message ended the connection.
    unanswered: int = 0


class Worker:
    """Sends streams of messages, one connection each."""

    def __init__(self, path: str, mutator: Mutator) -> None:
        self.tally = Tally()
        self._path = path
        self._mutator = mutator

    def send(self, messages: int) -> None:
        """Send at least that many messages. Raises `Misbehavior`."""
        while self.tally.messages < messages:
            stream = self._mutator.stream()
            try:
                self._judge(stream, self._exchange(b"".join(sample.data for sample in stream)))
            except Misbehavior as error:
                raise Misbehavior(f"{error}\nthe stream, {len(stream)} messages:\n{_hex(stream)}") from error
            self.tally.connections += 1
            self.tally.messages += len(stream)
            self.tally.kinds.update(sample.kind for sample in stream)

    def _exchange(self, data: bytes) -> bytes:
        """Send the data on a new connection, shut down the sending side, and read to the end."""
        self.tally.bytes += len(data)
        received: list[bytes] = []
        with socket.socket(socket.AF_UNIX) as connection:
            connection.connect(self._path)
            connection.setblocking(False)
            unsent = memoryview(data)
            while True:
                readable, writable, _ = select.select([connection], [connection] if unsent else [], [], _PATIENCE)
                if not readable and not writable:
                    raise Misbehavior(f"the agent sent nothing for {_PATIENCE:g} s")
                if writable:
                    try:
                        unsent = unsent[connection.send(unsent) :]
                    except (
                        BrokenPipeError,
                        ConnectionResetError,
                    ):  # the agent has disconnected; its last messages can still be read
                        unsent = memoryview(b"")
                    if not unsent:
                        with contextlib.suppress(OSError):
                            connection.shutdown(socket.SHUT_WR)
                if readable:
                    try:
                        data = connection.recv(_READ)
                    except ConnectionResetError:
                        data = b""
                    if not data:
                        return b"".join(received)
                    received.append(data)

    def _judge(self, stream: list[Sample], data: bytes) -> None:
        expected = Counter(sample.id for sample in stream if sample.id is not None)
        closed = False
        unpacker = msgpack.Unpacker()
        unpacker.feed(data)
        for message in unpacker:
            if message[0] == 1:
                _, id_, error, result = message
                if expected[id_] <= 0 and not stream[-1].last:
                    raise Misbehavior(f"a response without a request: {message!r}")
                expected[id_] -= 1
                self.tally.replies[_outcome(error, result)] += 1
            elif message[0] == 2 and message[1] == "closing":
                closed = True
                self.tally.replies["closing"] += 1
            elif message[0] != 2 or message[1] != "changed":
                raise Misbehavior(f"neither a response nor a notification: {message!r}")
        unanswered = sum(count for count in expected.values() if count > 0)
        if unanswered and not stream[-1].last:
            raise Misbehavior(f"{unanswered} requests were not answered{', and the connection closed' * closed}")
        self.tally.unanswered += unanswered


def _outcome(error: object, result: object) -> str:
    if error is None:
        return "result"
    fields: Any = error
    if not isinstance(error, dict) or not {"code", "message", "retryable"} <= set(fields):
        raise Misbehavior(f"not an error of the protocol: {error!r}")
    code: str = fields["code"]
    if result is not None or code == "internal" or code not in BY_CODE:
        raise Misbehavior(f"the agent answered {error!r} and {result!r}")
    return code


def _hex(stream: list[Sample]) -> str:
    data = b"".join(said.data for said in stream)
    return data.hex() if len(data) <= _SHOWN else f"{data[-_SHOWN:].hex()} (the last {_SHOWN} of {len(data)} bytes)"


def main() -> int:
    """Do as standard input says; the exit code, 1 when the agent did what it must not."""
    order = json.load(sys.stdin)
    worker = Worker(order["path"], Mutator(order["seed"], Known(**order["known"])))
    try:
        worker.send(order["messages"])
    except (Misbehavior, OSError) as error:
        sys.stderr.write(f"seed {order['seed']}, after {worker.tally.messages} messages: {error}\n")
        return 1
    finally:
        json.dump(vars(worker.tally), sys.stdout)
    return 0


if __name__ == "__main__":
    sys.exit(main())
