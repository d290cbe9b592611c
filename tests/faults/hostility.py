"""Hostile clients, each with one attack, in separate processes: `hostile(NAME, agent)`, or from a shell with -m.

Each attack asserts its own results, such as that it was refused.
"""

import contextlib
import itertools
import resource
import select
import socket
import subprocess
import sys
from collections.abc import Callable, Generator, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Self

import msgpack

from auth_agent.ipc.server import MAX_WATCHING
from auth_agent_client.wire import Connection, Message, Notification, Response

ROOT: Final = Path(__file__).parents[2]
GUARDED: Final = "work"  # the account of a well-behaved client
VICTIM: Final = "victim"

_MEBIBYTE: Final = 1 << 20
_DESCRIPTORS: Final = 4096
_PATIENCE: Final = 60.0  # s
# A request without the value of its only parameter.
_BEGIN: Final = b"\x94\x00\x01\xa5hello\x91\x81\xa6client"


class Attack:
    """The context of an attack: the agent's socket, and whether to continue."""

    def __init__(self, path: str) -> None:
        self.path = path

    def begin(self) -> None:
        """Report that the attack is prepared, and the measurement can start."""
        sys.stdout.write("begun\n")
        sys.stdout.flush()

    def continues(self, pause: float = 0.0) -> bool:
        """Pause, and return whether to continue; the parent ends the attack by closing standard input."""
        readable, _, _ = select.select([sys.stdin], [], [], pause)
        return not readable

    def connect(self) -> "Raw":
        """Return a connection on which any data can be sent."""
        return Raw(self.path)


class Raw:
    """A connection on which any data can be sent, and messages are received."""

    def __init__(self, path: str) -> None:
        self.socket = socket.socket(socket.AF_UNIX)
        self.socket.connect(path)  # blocking: it waits for room in the backlog
        self.socket.settimeout(_PATIENCE)
        self.wire = Connection()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.socket.close()

    def send(self, data: bytes) -> None:
        """Send the data, unless the agent has disconnected."""
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            self.socket.sendall(data)

    def send_request(self, method: str, **parameters: object) -> None:
        """Send a request."""
        self.send(self.wire.request(method, parameters)[1])

    def read(self) -> Message | None:
        """Return the next message; None if the agent has disconnected."""
        while (message := self.wire.next_message()) is None:
            try:
                data = self.socket.recv(65536)
            except ConnectionResetError:  # the agent has not read all data
                return None
            if not data:
                return None
            self.wire.receive_data(data)
        return message

    def result(self, method: str, **parameters: object) -> dict[str, Any]:
        """Send a request that succeeds, and return its result."""
        self.send_request(method, **parameters)
        response = self.read()
        while isinstance(response, Notification):
            response = self.read()
        assert isinstance(response, Response)
        assert response.error is None, response.error
        result_map: dict[str, Any] = response.result  # type: ignore[assignment]  # pyright: ignore[reportAssignmentType] -- of nearly every method
        return result_map

    def codes(self, count: int) -> list[str]:
        """Return the error codes of that many responses, or "result"."""
        responses = [self.read() for _ in range(count)]
        assert all(isinstance(response, Response) for response in responses), responses
        return [
            response.error.code if response.error else "result"
            for response in responses
            if isinstance(response, Response)
        ]

    def is_closed_with_reason(self) -> bool:
        """Return whether the agent sends `closing`, and closes the connection."""
        message = self.read()
        return isinstance(message, Notification) and message.method == "closing" and self.read() is None


# ---- attacks


def _send_refused_data(attack: Attack, pieces: Iterator[bytes]) -> None:
    """Send each piece on its own connection, which the agent must close with a reason."""
    attack.begin()
    while attack.continues():
        with attack.connect() as raw:
            raw.send(next(pieces))
            assert raw.is_closed_with_reason()


def garbage(attack: Attack) -> None:
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
    _send_refused_data(attack, itertools.cycle(pieces))


def huge_lengths(attack: Attack) -> None:
    """Announce four gibibytes of each type, and send a mebibyte."""
    announcements = (b"\xc6\xff\xff\xff\xff", b"\xdb\xff\xff\xff\xff", b"\xc9\xff\xff\xff\xf0\x05")
    lists = (b"\xdd\xff\xff\xff\xff", b"\xdf\xff\xff\xff\xff")
    whole = b"\x92\xc6" + (1_000_000).to_bytes(4, "big") + bytes(1_000_000) + b"\xc1"
    pieces = [_BEGIN + announced + bytes(_MEBIBYTE) for announced in announcements]
    pieces += [_BEGIN + announced + b"\x90" * _MEBIBYTE for announced in lists]
    _send_refused_data(attack, itertools.cycle((*pieces, _BEGIN + whole)))


def deep_nesting(attack: Attack) -> None:
    """Nest values deeper than allowed, and deeper than any stack."""
    levels = (33, 100, 500, 1000, 5000, 200_000)
    pieces = [_BEGIN + b"\x91" * deep + b"\xc0" for deep in levels]
    pieces += [_BEGIN + b"\x81\xa1m" * deep + b"\xc0" for deep in levels]
    _send_refused_data(attack, itertools.cycle(pieces))


def half_messages(attack: Attack) -> None:
    """Five hundred connections with an incomplete request each, some after a complete one."""
    with contextlib.ExitStack() as stack:
        many = [stack.enter_context(attack.connect()) for _ in range(500)]
        for number, raw in enumerate(many):
            if number % 2:
                raw.send_request("hello")
            raw.send(_BEGIN[: 2 + number % (len(_BEGIN) - 2)])
        attack.begin()
        while attack.continues(0.1):
            pass


def heavy_halves(attack: Attack) -> None:
    """Incomplete messages of the largest size, on more connections than the total limit allows."""
    half = _BEGIN + b"\xc6" + (1_040_000).to_bytes(4, "big") + bytes(1_000_000)
    with contextlib.ExitStack() as stack:
        many: list[Raw] = []
        for _ in range(100):
            raw = stack.enter_context(attack.connect())
            raw.result("hello")
            raw.send(half)
            many.append(raw)
        attack.begin()
        ended = 0
        while attack.continues(0.01):
            gone, _, _ = select.select([raw.socket for raw in many], [], [], 0)
            for number, raw in enumerate(many):
                if raw.socket in gone:
                    ended += 1
                    raw.socket.close()
                    many[number] = stack.enter_context(attack.connect())
                    many[number].send(half)
        assert ended > 0


def slow_writers(attack: Attack) -> None:
    """A hundred clients that send a byte at a time, endlessly."""
    with contextlib.ExitStack() as stack:
        many = [stack.enter_context(attack.connect()) for _ in range(100)]
        attack.begin()
        while True:
            requests = [raw.wire.request("token", {"account": GUARDED})[1] for raw in many]
            for column in zip(*requests, strict=True):
                if not attack.continues(0.02):
                    return
                for raw, byte in zip(many, column, strict=True):
                    raw.socket.send(bytes([byte]))
            assert [raw.codes(1) for raw in many] == [["result"]] * len(many)


def deaf_readers(attack: Attack) -> None:
    """Fifty clients that request the status and watch, and never read."""
    with contextlib.ExitStack() as stack:
        many = [stack.enter_context(attack.connect()) for _ in range(50)]
        ids = itertools.count(1)
        for raw in many:
            raw.socket.setblocking(False)
            raw.send(msgpack.packb([0, 0, "watch", []]))
        attack.begin()
        while attack.continues(0.001):
            for raw in many:
                request = b"".join(msgpack.packb([0, next(ids) % (1 << 32), "status", []]) for _ in range(100))
                with contextlib.suppress(BlockingIOError):
                    raw.socket.send(request)


def silent_connections(attack: Attack) -> None:
    """A thousand silent connections, as many as fit without closing another."""
    with contextlib.ExitStack() as stack:
        for _ in range(1000):
            stack.enter_context(attack.connect())
        attack.begin()
        while attack.continues(0.1):
            pass


def crowd(attack: Attack) -> None:
    """Endless new connections, each of which makes the agent close another."""
    with contextlib.ExitStack() as stack:
        many = [stack.enter_context(attack.connect()) for _ in range(1300)]
        attack.begin()
        while attack.continues():
            for number in range(50):
                many[number].socket.close()
            many = [*many[50:], *[stack.enter_context(attack.connect()) for _ in range(50)]]


def hit_and_run(attack: Attack) -> None:
    """Connections that send many requests and disconnect before the responses."""
    requests = b"".join(msgpack.packb([0, id_, method, []]) for id_, method in enumerate(("status", "reload") * 15))
    requests += msgpack.packb([0, 1000, "logout", [{"account": VICTIM}]])
    attack.begin()
    while attack.continues():
        for _ in range(20):
            with attack.connect() as raw:
                raw.send(requests)


def force_and_rejected(attack: Attack) -> None:
    """Twenty clients that only cause refreshes."""
    with contextlib.ExitStack() as stack:
        many = [stack.enter_context(attack.connect()) for _ in range(20)]
        token = many[0].result("token", account=GUARDED)["access_token"]
        attack.begin()
        while attack.continues():
            for raw in many:
                for method in ("token", "rejected", "refresh") * 10:
                    more: dict[str, object] = {"force": True} if method == "token" else {}
                    more |= {"access_token": token} if method == "rejected" else {}
                    raw.send_request(method, account=GUARDED, timeout=5, **more)
            for raw in many:
                assert set(raw.codes(30)) <= {"result", "unavailable", "denied"}


def reloads(attack: Attack) -> None:
    """Ten clients that reload the configuration repeatedly."""
    with contextlib.ExitStack() as stack:
        many = [stack.enter_context(attack.connect()) for _ in range(10)]
        attack.begin()
        while attack.continues():
            for raw in many:
                for _ in range(30):
                    raw.send_request("reload")
            for raw in many:
                assert raw.codes(30) == ["result"] * 30


def watchers(attack: Attack) -> None:
    """As many watchers as one program may have, and a client that causes changes: each demand moves the refresh."""
    with contextlib.ExitStack() as stack:
        for _ in range(MAX_WATCHING):
            stack.enter_context(attack.connect()).result("watch")
        busy = stack.enter_context(attack.connect())
        attack.begin()
        for seconds in itertools.count(150):
            if not attack.continues(0.002):
                return
            busy.result("token", account=GUARDED, min_ttl=min(seconds, 1300))
            if seconds > 1300:
                busy.send_request("logout", account=VICTIM)
                busy.codes(1)


def waiters(attack: Attack) -> None:
    """More waiting requests than allowed, for a login that nobody finishes."""
    with contextlib.ExitStack() as stack:
        first = stack.enter_context(attack.connect())
        login = first.result("login", account=VICTIM, flow="browser")["login_id"]
        for _ in range(70):
            raw = stack.enter_context(attack.connect())
            for _ in range(64):
                raw.send_request("login_result", login_id=login, timeout=600)
        attack.begin()
        while attack.continues(0.1):
            pass


@dataclass(frozen=True, slots=True)
class Hostility:
    """One attack, and by how many bytes the agent may grow meanwhile."""

    act: Callable[[Attack], None]
    growth: int = 16 * _MEBIBYTE


HOSTILITIES: Final = {
    "garbage": Hostility(garbage),
    "huge lengths": Hostility(huge_lengths),
    "deep nesting": Hostility(deep_nesting),
    "half messages": Hostility(half_messages, 48 * _MEBIBYTE),
    # Each byte is stored twice, by the connection and by its scanner, and 64 MiB may be stored.
    "heavy halves": Hostility(heavy_halves, 160 * _MEBIBYTE),
    "slow writers": Hostility(slow_writers),
    "deaf readers": Hostility(deaf_readers, 32 * _MEBIBYTE),
    "a thousand silent connections": Hostility(silent_connections),
    "a crowd": Hostility(crowd),
    "hit and run": Hostility(hit_and_run),
    "force and rejected": Hostility(force_and_rejected),
    "reloads": Hostility(reloads),
    "watchers": Hostility(watchers),
    "waiters": Hostility(waiters, 64 * _MEBIBYTE),
}


@contextlib.contextmanager
def hostile(name: str, path: Path) -> Generator[None, None, None]:
    """Run a hostile client during the block; fail if the agent's responses were wrong."""
    with attacking("tests.faults.hostility", name, str(path)):
        yield


@contextlib.contextmanager
def attacking(module: str, *arguments: str, launcher: Sequence[str] = ()) -> Generator[None, None, None]:
    """Run that module's attack during the block, as a program other than the caller's; fail if it fails."""
    command = [*launcher, sys.executable, "-W", "error::DeprecationWarning", "-m", module, *arguments]
    with subprocess.Popen(
        command,
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    ) as process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline() == "begun\n", process.communicate()[1]
            yield
            _, errors = process.communicate(timeout=_PATIENCE)
        finally:
            process.kill()
        assert process.returncode == 0, errors


def allow_descriptors() -> None:
    """Allow this process more connections than the agent has."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(_DESCRIPTORS, hard), hard))


def main() -> None:
    """Run the attack that the arguments name."""
    _, name, path = sys.argv
    allow_descriptors()
    HOSTILITIES[name].act(Attack(path))


if __name__ == "__main__":
    main()
