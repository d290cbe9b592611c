"""`python -m tests.fuzz.worker`: says so many messages of a seed to an agent, and judges what comes back.

It reads from standard input what to do, as JSON, and writes what came of it: a process of its own, since making the
messages takes longer than answering them, and so as not to disturb whoever measures.
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
from tests.fuzz.mutation import Known, Mutator, Said

_READ: Final = 1 << 16
# For how long an agent may be silent that owes an answer: its requests wait for a fifth of a second at most, but for
# those that left their timeout out (15 s), and imports and logouts (the provider's 30 s).
_PATIENCE: Final = 60.0
_SHOWN: Final = 4096  # bytes of a failing stream


class Found(Exception):
    """The agent did what it must not."""


@dataclass
class Tally:
    """What was said, and what came back."""

    messages: int = 0
    connections: int = 0
    bytes: int = 0
    kinds: Counter[str] = field(default_factory=Counter[str])
    # Results, errors by their codes, and notifications that a connection is closed.
    replies: Counter[str] = field(default_factory=Counter[str])
    # Requests that the agent owed no answer any more, since what followed ended the connection.
    unanswered: int = 0


class Worker:
    """Says streams of messages, one connection each."""

    def __init__(self, path: str, mutator: Mutator) -> None:
        self.tally = Tally()
        self._path = path
        self._mutator = mutator

    def say(self, messages: int) -> None:
        """Say at least so many messages. Raises `Found`."""
        while self.tally.messages < messages:
            stream = self._mutator.stream()
            try:
                self._judge(stream, self._exchange(b"".join(said.data for said in stream)))
            except Found as error:
                raise Found(f"{error}\nthe stream, {len(stream)} messages:\n{_hex(stream)}") from error
            self.tally.connections += 1
            self.tally.messages += len(stream)
            self.tally.kinds.update(said.kind for said in stream)

    def _exchange(self, data: bytes) -> bytes:
        """Say all of it on a new connection, say that this was all, and read to the end."""
        self.tally.bytes += len(data)
        heard: list[bytes] = []
        with socket.socket(socket.AF_UNIX) as connection:
            connection.connect(self._path)
            connection.setblocking(False)
            left = memoryview(data)
            while True:
                readable, writable, _ = select.select([connection], [connection] if left else [], [], _PATIENCE)
                if not readable and not writable:
                    raise Found(f"the agent said nothing for {_PATIENCE:g} s")
                if writable:
                    try:
                        left = left[connection.send(left) :]
                    except (BrokenPipeError, ConnectionResetError):  # hung up on: what it said is still to be read
                        left = memoryview(b"")
                    if not left:
                        with contextlib.suppress(OSError):
                            connection.shutdown(socket.SHUT_WR)
                if readable:
                    try:
                        part = connection.recv(_READ)
                    except ConnectionResetError:
                        part = b""
                    if not part:
                        return b"".join(heard)
                    heard.append(part)

    def _judge(self, stream: list[Said], heard: bytes) -> None:
        owed = Counter(said.id for said in stream if said.id is not None)
        closed = False
        unpacker = msgpack.Unpacker()
        unpacker.feed(heard)
        for message in unpacker:
            if message[0] == 1:
                _, id_, error, result = message
                if owed[id_] <= 0 and not stream[-1].last:
                    raise Found(f"an answer to what wasn't asked: {message!r}")
                owed[id_] -= 1
                self.tally.replies[_outcome(error, result)] += 1
            elif message[0] == 2 and message[1] == "closing":
                closed = True
                self.tally.replies["closing"] += 1
            elif message[0] != 2 or message[1] != "changed":
                raise Found(f"neither an answer nor a notification: {message!r}")
        unanswered = sum(count for count in owed.values() if count > 0)
        if unanswered and not stream[-1].last:
            raise Found(f"{unanswered} requests were not answered{', and the connection closed' * closed}")
        self.tally.unanswered += unanswered


def _outcome(error: object, result: object) -> str:
    if error is None:
        return "result"
    fields: Any = error
    if not isinstance(error, dict) or not {"code", "message", "retryable"} <= set(fields):
        raise Found(f"no error as the protocol has it: {error!r}")
    code: str = fields["code"]
    if result is not None or code == "internal" or code not in BY_CODE:
        raise Found(f"the agent answered {error!r} and {result!r}")
    return code


def _hex(stream: list[Said]) -> str:
    data = b"".join(said.data for said in stream)
    return data.hex() if len(data) <= _SHOWN else f"{data[-_SHOWN:].hex()} (the last {_SHOWN} of {len(data)} bytes)"


def main() -> int:
    """Do as standard input says; the exit code, 1 when the agent did what it must not."""
    order = json.load(sys.stdin)
    worker = Worker(order["path"], Mutator(order["seed"], Known(**order["known"])))
    try:
        worker.say(order["messages"])
    except (Found, OSError) as error:
        sys.stderr.write(f"seed {order['seed']}, after {worker.tally.messages} messages: {error}\n")
        return 1
    finally:
        json.dump(vars(worker.tally), sys.stdout)
    return 0


if __name__ == "__main__":
    sys.exit(main())
