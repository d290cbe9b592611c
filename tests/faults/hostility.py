"""Hostile clients, each with one trick, in processes of their own: `hostile(NAME, agent)`, or from a shell with -m.

What a trick finds out, that it was refused say, it asserts by itself.
"""

import contextlib
import itertools
import resource
import select
import socket
import subprocess
import sys
from collections.abc import Callable, Generator, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Self

import msgpack

from auth_agent_client.wire import Connection, Message, Notification, Response

ROOT: Final = Path(__file__).parents[2]
GUARDED: Final = "work"  # a well-behaved client's account
VICTIM: Final = "victim"

_MEBIBYTE: Final = 1 << 20
_DESCRIPTORS: Final = 4096
_PATIENCE: Final = 30.0  # s
# A request whose one parameter is still to come.
_BEGIN: Final = b"\x94\x00\x01\xa5hello\x91\x81\xa6client"


class Assault:
    """What a trick has: the agent's place, and how long it is to go on."""

    def __init__(self, path: str) -> None:
        self.path = path

    def begin(self) -> None:
        """Everything is in place: from here on somebody else measures."""
        sys.stdout.write("begun\n")
        sys.stdout.flush()

    def goes_on(self, pause: float = 0.0) -> bool:
        """Whether to go on, after a pause; whoever started it ends it by closing its standard input."""
        readable, _, _ = select.select([sys.stdin], [], [], pause)
        return not readable

    def connect(self) -> "Raw":
        """A connection on which anything can be said."""
        return Raw(self.path)


class Raw:
    """A connection on which anything can be said, and read message by message."""

    def __init__(self, path: str) -> None:
        self.socket = socket.socket(socket.AF_UNIX)
        self.socket.connect(path)  # blocking: it waits for room in the backlog
        self.socket.settimeout(_PATIENCE)
        self.wire = Connection()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.socket.close()

    def say(self, data: bytes) -> None:
        """Say it, as far as the agent listens."""
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            self.socket.sendall(data)

    def ask(self, method: str, **parameters: object) -> None:
        """Make a request."""
        self.say(self.wire.request(method, parameters)[1])

    def read(self) -> Message | None:
        """The next message; None when the agent has hung up."""
        while (message := self.wire.next_message()) is None:
            try:
                data = self.socket.recv(65536)
            except ConnectionResetError:  # what was sent was not read to its end
                return None
            if not data:
                return None
            self.wire.receive_data(data)
        return message

    def result(self, method: str, **parameters: object) -> dict[str, Any]:
        """Make a request that succeeds."""
        self.ask(method, **parameters)
        answer = self.read()
        while isinstance(answer, Notification):
            answer = self.read()
        assert isinstance(answer, Response)
        assert answer.error is None, answer.error
        found: dict[str, Any] = answer.result  # type: ignore[assignment]  # pyright: ignore[reportAssignmentType] -- every method's but a few
        return found

    def codes(self, count: int) -> list[str]:
        """What so many requests came to."""
        answers = [self.read() for _ in range(count)]
        assert all(isinstance(answer, Response) for answer in answers), answers
        return [answer.error.code if answer.error else "result" for answer in answers if isinstance(answer, Response)]

    def is_told_and_hung_up_on(self) -> bool:
        """Whether the agent says why it closes the connection, and does."""
        told = self.read()
        return isinstance(told, Notification) and told.method == "closing" and self.read() is None


# ---- tricks


def _refused(assault: Assault, pieces: Iterator[bytes]) -> None:
    """Say each on a connection of its own; it must be told and hung up on."""
    assault.begin()
    while assault.goes_on():
        with assault.connect() as raw:
            raw.say(next(pieces))
            assert raw.is_told_and_hung_up_on()


def garbage(assault: Assault) -> None:
    """Other protocols, other messages."""
    pieces = (
        b"GET / HTTP/1.1\r\n\r\n",
        b"\xc1",
        bytes(100_000),
        b"\xff" * 100_000,
        msgpack.packb({"method": "token"}),
        msgpack.packb([0, -1, "token", []]),
        msgpack.packb([1, 1, None, "an answer"]),
        msgpack.packb([0, 1, "token", [{1: 2}]], strict_types=True),
    )
    _refused(assault, itertools.cycle(pieces))


def huge_lengths(assault: Assault) -> None:
    """Four gibibytes announced, of each kind, and as much sent of them as is taken; also exactly a mebibyte."""
    announcements = (b"\xc6\xff\xff\xff\xff", b"\xdb\xff\xff\xff\xff", b"\xc9\xff\xff\xff\xf0\x05")
    lists = (b"\xdd\xff\xff\xff\xff", b"\xdf\xff\xff\xff\xff")
    whole = b"\x92\xc6" + (1_000_000).to_bytes(4, "big") + bytes(1_000_000) + b"\xc1"
    pieces = [_BEGIN + announced + bytes(_MEBIBYTE) for announced in announcements]
    pieces += [_BEGIN + announced + b"\x90" * _MEBIBYTE for announced in lists]
    _refused(assault, itertools.cycle((*pieces, _BEGIN + whole)))


def deep_nesting(assault: Assault) -> None:
    """Deeper than is allowed, and deeper than any stack."""
    levels = (33, 100, 500, 1000, 5000, 200_000)
    pieces = [_BEGIN + b"\x91" * deep + b"\xc0" for deep in levels]
    pieces += [_BEGIN + b"\x81\xa1m" * deep + b"\xc0" for deep in levels]
    _refused(assault, itertools.cycle(pieces))


def half_messages(assault: Assault) -> None:
    """Five hundred connections that said half a request each, some after a whole one, and leave it at that."""
    with contextlib.ExitStack() as stack:
        many = [stack.enter_context(assault.connect()) for _ in range(500)]
        for number, raw in enumerate(many):
            if number % 2:
                raw.ask("hello")
            raw.say(_BEGIN[: 2 + number % (len(_BEGIN) - 2)])
        assault.begin()
        while assault.goes_on(0.1):
            pass


def heavy_halves(assault: Assault) -> None:
    """As much as may be sent that is not whole, on as many connections as it takes to be too much of all together."""
    half = _BEGIN + b"\xc6" + (1_040_000).to_bytes(4, "big") + bytes(1_000_000)
    with contextlib.ExitStack() as stack:
        many: list[Raw] = []
        for _ in range(100):
            raw = stack.enter_context(assault.connect())
            raw.result("hello")
            raw.say(half)
            many.append(raw)
        assault.begin()
        ended = 0
        while assault.goes_on(0.01):
            gone, _, _ = select.select([raw.socket for raw in many], [], [], 0)
            for number, raw in enumerate(many):
                if raw.socket in gone:
                    ended += 1
                    raw.socket.close()
                    many[number] = stack.enter_context(assault.connect())
                    many[number].say(half)
        assert ended > 0


def slow_writers(assault: Assault) -> None:
    """A hundred clients that say a byte at a time, without an end."""
    with contextlib.ExitStack() as stack:
        many = [stack.enter_context(assault.connect()) for _ in range(100)]
        assault.begin()
        while True:
            requests = [raw.wire.request("token", {"account": GUARDED})[1] for raw in many]
            for column in zip(*requests, strict=True):
                if not assault.goes_on(0.02):
                    return
                for raw, byte in zip(many, column, strict=True):
                    raw.socket.send(bytes([byte]))
            assert [raw.codes(1) for raw in many] == [["result"]] * len(many)


def deaf_readers(assault: Assault) -> None:
    """Fifty clients that ask for all there is, and never read; half of them are told of changes, too."""
    with contextlib.ExitStack() as stack:
        many = [stack.enter_context(assault.connect()) for _ in range(50)]
        ids = itertools.count(1)
        for raw in many:
            raw.socket.setblocking(False)
            raw.say(msgpack.packb([0, 0, "watch", []]))
        assault.begin()
        while assault.goes_on(0.001):
            for raw in many:
                request = b"".join(msgpack.packb([0, next(ids) % (1 << 32), "status", []]) for _ in range(100))
                with contextlib.suppress(BlockingIOError):
                    raw.socket.send(request)


def silent_connections(assault: Assault) -> None:
    """A thousand, as many as there may be without anybody having to make room."""
    with contextlib.ExitStack() as stack:
        for _ in range(1000):
            stack.enter_context(assault.connect())
        assault.begin()
        while assault.goes_on(0.1):
            pass


def crowd(assault: Assault) -> None:
    """Connections without an end, each of which takes another one's place."""
    with contextlib.ExitStack() as stack:
        many = [stack.enter_context(assault.connect()) for _ in range(1300)]
        assault.begin()
        while assault.goes_on():
            for number in range(50):
                many[number].socket.close()
            many = [*many[50:], *[stack.enter_context(assault.connect()) for _ in range(50)]]


def comers_and_goers(assault: Assault) -> None:
    """Connections that ask for much and are gone before the answer."""
    requests = b"".join(msgpack.packb([0, id_, method, []]) for id_, method in enumerate(("status", "reload") * 15))
    requests += msgpack.packb([0, 1000, "logout", [{"account": VICTIM}]])
    assault.begin()
    while assault.goes_on():
        for _ in range(20):
            with assault.connect() as raw:
                raw.say(requests)


def force_and_rejected(assault: Assault) -> None:
    """Twenty clients that want nothing but refreshes."""
    with contextlib.ExitStack() as stack:
        many = [stack.enter_context(assault.connect()) for _ in range(20)]
        token = many[0].result("token", account=GUARDED)["access_token"]
        assault.begin()
        while assault.goes_on():
            for raw in many:
                for method in ("token", "rejected", "refresh") * 10:
                    more: dict[str, object] = {"force": True} if method == "token" else {}
                    more |= {"access_token": token} if method == "rejected" else {}
                    raw.ask(method, account=GUARDED, timeout=5, **more)
            for raw in many:
                assert set(raw.codes(30)) <= {"result", "unavailable", "denied"}


def reloads(assault: Assault) -> None:
    """Ten clients that have the configuration read again and again."""
    with contextlib.ExitStack() as stack:
        many = [stack.enter_context(assault.connect()) for _ in range(10)]
        assault.begin()
        while assault.goes_on():
            for raw in many:
                for _ in range(30):
                    raw.ask("reload")
            for raw in many:
                assert raw.codes(30) == ["result"] * 30


def watchers(assault: Assault) -> None:
    """Five hundred clients that are told of each change, and one that makes them: each demand moves the refresh."""
    with contextlib.ExitStack() as stack:
        for _ in range(500):
            stack.enter_context(assault.connect()).result("watch")
        busy = stack.enter_context(assault.connect())
        assault.begin()
        for seconds in itertools.count(150):
            if not assault.goes_on(0.002):
                return
            busy.result("token", account=GUARDED, min_ttl=min(seconds, 1300))
            if seconds > 1300:
                busy.ask("logout", account=VICTIM)
                busy.codes(1)


def waiters(assault: Assault) -> None:
    """As many requests that wait as there may be, and more: for a login that nobody finishes."""
    with contextlib.ExitStack() as stack:
        first = stack.enter_context(assault.connect())
        login = first.result("login", account=VICTIM, flow="browser")["login_id"]
        for _ in range(70):
            raw = stack.enter_context(assault.connect())
            for _ in range(64):
                raw.ask("login_result", login_id=login, timeout=600)
        assault.begin()
        while assault.goes_on(0.1):
            pass


@dataclass(frozen=True, slots=True)
class Hostility:
    """One trick, and by how many bytes the agent may grow meanwhile."""

    act: Callable[[Assault], None]
    growth: int = 16 * _MEBIBYTE


HOSTILITIES: Final = {
    "garbage": Hostility(garbage),
    "huge lengths": Hostility(huge_lengths),
    "deep nesting": Hostility(deep_nesting),
    "half messages": Hostility(half_messages, 48 * _MEBIBYTE),
    # Each byte is held twice, by the connection and by who finds its message's end, and 64 MiB may be held.
    "heavy halves": Hostility(heavy_halves, 160 * _MEBIBYTE),
    "slow writers": Hostility(slow_writers),
    "deaf readers": Hostility(deaf_readers, 32 * _MEBIBYTE),
    "a thousand silent connections": Hostility(silent_connections, 48 * _MEBIBYTE),
    "a crowd": Hostility(crowd, 64 * _MEBIBYTE),
    "comers and goers": Hostility(comers_and_goers, 48 * _MEBIBYTE),
    "force and rejected": Hostility(force_and_rejected),
    "reloads": Hostility(reloads),
    "watchers": Hostility(watchers, 32 * _MEBIBYTE),
    "waiters": Hostility(waiters, 64 * _MEBIBYTE),
}


@contextlib.contextmanager
def hostile(name: str, path: Path) -> Generator[None, None, None]:
    """A hostile client for as long as the block takes; it fails where the agent did not answer as it should."""
    command = [sys.executable, "-W", "error::DeprecationWarning", "-m", "tests.faults.hostility", name, str(path)]
    with subprocess.Popen(
        command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline() == "begun\n", process.communicate()[1]
            yield
            _, complaint = process.communicate(timeout=_PATIENCE)
        finally:
            process.kill()
        assert process.returncode == 0, complaint


def main() -> None:
    """Be the hostile client that the arguments name."""
    _, name, path = sys.argv
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(_DESCRIPTORS, hard), hard))
    HOSTILITIES[name].act(Assault(path))


if __name__ == "__main__":
    main()
