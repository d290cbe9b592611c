"""Programs that take what all need, each in one way: `greedy(NAME, agent, ACCOUNT)`, or from a shell with -m.

What the agent answers doesn't matter to them. Others judge, by what they get beside one.
"""

import contextlib
import itertools
import os
import select
import signal
import socket
import sys
import threading
from collections.abc import Callable, Generator, Sequence
from pathlib import Path
from typing import Any, Final

import msgpack

from auth_agent_client.wire import Connection
from tests.faults.hostility import Attack, allow_descriptors, attacking

# Bytes by which the agent may grow beside any of them, and beside all.
GROWTH: Final = 128 << 20
# An account that nobody else uses: the greedy program's own.
PREY: Final = "prey"
# What an account needs, to be used by all of them.
MANAGEMENT: Final = "openid offline_access read:current_user update:current_user_metadata"
# Longer than an account's own audience, and not refused.
_LARGE: Final = "https://api.example/" + "x" * 1900
# Rounds: more than any limit allows to one program.
_BEFORE: Final = 12
_SOON: Final = 0.02  # s, between two rounds: one core is enough for a greedy program


def _repeat(attack: Attack, act: Callable[[], object]) -> None:
    """Act until the attack ends, and before it begins often enough to have used up what it may have."""
    for _ in range(_BEFORE):
        act()
    attack.begin()
    while attack.continues(_SOON):
        act()


def _call(attack: Attack, *calls: tuple[str, dict[str, Any]]) -> None:
    """Make the calls on a new connection, one after the other."""
    with contextlib.suppress(OSError), attack.connect() as raw:
        for method, parameters in calls:
            raw.send_request(method, **parameters)
            if raw.read() is None:
                return


class _Insatiable:
    """A client that has so many requests open at any time, all the same; it connects again when it is disconnected."""

    def __init__(self, path: str, requests: int, method: str, parameters: dict[str, Any]) -> None:
        self._path = path
        self._requests = requests
        self._method = method
        self._parameters = parameters
        self._connect()

    def _connect(self) -> None:
        self.socket = socket.socket(socket.AF_UNIX)
        self.socket.connect(self._path)
        self.socket.setblocking(False)
        self._wire = Connection()
        self._ask(self._requests)

    def _ask(self, count: int) -> None:
        data = b"".join(self._wire.request(self._method, self._parameters)[1] for _ in range(count))
        with contextlib.suppress(OSError):
            self.socket.send(data)

    def read(self) -> None:
        """Read what the agent sent, and ask again."""
        try:
            data = self.socket.recv(65536)
        except OSError:
            data = b""
        if not data:
            self.socket.close()
            self._connect()
            return
        self._wire.receive_data(data)
        answered = 0
        while self._wire.next_message() is not None:
            answered += 1
        self._ask(answered)


def _keep_asking(attack: Attack, connections: int, requests: int, method: str, **parameters: object) -> None:
    """Have that many requests open on each of so many connections."""
    clients = [_Insatiable(attack.path, requests, method, parameters) for _ in range(connections)]
    attack.begin()
    while attack.continues(_SOON):
        poll = select.poll()
        by_number = {client.socket.fileno(): client for client in clients}
        for number in by_number:
            poll.register(number, select.POLLIN)
        for number, _ in poll.poll(0):
            by_number[number].read()
    for client in clients:
        client.socket.close()


@contextlib.contextmanager
def _login_of_its_own(attack: Attack) -> Generator[str]:
    """Have a login that nobody finishes."""
    with attack.connect() as raw:
        yield str(raw.result("login", account=PREY, flow="browser")["login_id"])


# ---- one way each


def connections(attack: Attack, _: str) -> None:
    """All connections, none of them idle."""
    with _login_of_its_own(attack) as login:
        _keep_asking(attack, 1300, 1, "login_result", login_id=login, timeout=600)


def waits(attack: Attack, _: str) -> None:
    """All requests that may wait."""
    with _login_of_its_own(attack) as login:
        _keep_asking(attack, 80, 64, "login_result", login_id=login, timeout=600)


def large_waits(attack: Attack, account: str) -> None:
    """Large requests that wait for a refresh."""
    _keep_asking(attack, 40, 60, "token", account=account, audience=_LARGE, timeout=600)


def refreshes(attack: Attack, account: str) -> None:
    """Refreshes, by every method, each time on a new connection."""

    def act() -> None:
        for method, more in (("token", {"force": True}), ("refresh", {}), ("id_token", {"min_ttl": 3500})):
            _call(attack, (method, {"account": account, "timeout": 5, **more}))

    _repeat(attack, act)


def logins(attack: Attack, account: str) -> None:
    """Logins and imports, on new connections."""
    login = "login", {"account": account, "flow": "browser"}
    _repeat(attack, lambda: _call(attack, login, login, ("import", {"account": account, "refresh_token": "nobody's"})))


def ports(attack: Attack, _: str) -> None:
    """A login of every account that it has, so that all ports are taken."""
    with contextlib.ExitStack() as stack:
        for number in range(2):
            raw = stack.enter_context(attack.connect())
            raw.result("login", account=f"{PREY}-{number}", flow="browser")
        attack.begin()
        while attack.continues(0.1):
            pass


def calls(attack: Attack, account: str) -> None:
    """Calls of Auth0's Management API."""
    update = "update_user_metadata", {"account": account, "user_metadata": {"color": "red"}}
    _repeat(
        attack,
        lambda: _call(attack, ("user", {"account": account}), ("user_metadata", {"account": account}), update),
    )


def watches(attack: Attack, account: str) -> None:
    """All watches, and changes to be told of."""
    with contextlib.ExitStack() as stack:
        for _ in range(300):
            stack.enter_context(attack.connect()).send_request("watch")
        busy = stack.enter_context(attack.connect())
        attack.begin()
        for seconds in itertools.count(150):
            if not attack.continues(_SOON):
                return
            busy.send_request("token", account=account, min_ttl=min(seconds, 1300))
            busy.read()


def leaving(attack: Attack, account: str) -> None:
    """Work that goes on when the client has left."""
    calls: list[tuple[str, dict[str, Any]]] = [
        ("import", {"account": account, "refresh_token": "x" * 2000}),
        ("refresh", {"account": account}),
        ("logout", {"account": PREY}),
        ("update_user_metadata", {"account": account, "user_metadata": {"color": "x" * 2000}}),
    ]

    def act() -> None:
        with contextlib.suppress(OSError), attack.connect() as raw:
            for method, parameters in calls:
                raw.send_request(method, **parameters)

    _repeat(attack, act)


def fork_loop(attack: Attack, account: str) -> None:
    """A loop of commands, each in a session of its own."""
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # nobody waits for them
    force = "token", {"account": account, "force": True, "timeout": 5}
    login = "login", {"account": account, "flow": "browser"}

    def act() -> None:
        if os.fork() == 0:
            os.setsid()
            _call(attack, force, login)
            os._exit(0)

    _repeat(attack, act)


def half_messages(attack: Attack, _: str) -> None:
    """All bytes of incomplete messages."""
    half = msgpack.packb([0, 1, "hello", [{"client": "x" * 900_000}]])[:-1]

    def connect() -> socket.socket:
        connection = socket.socket(socket.AF_UNIX)
        connection.connect(attack.path)
        with contextlib.suppress(OSError):
            connection.sendall(half)
        return connection

    held = [connect() for _ in range(120)]
    attack.begin()
    while attack.continues(_SOON):
        for connection in select.select(held, [], [], 0)[0]:
            connection.close()
            held[held.index(connection)] = connect()


GREEDS: Final[dict[str, Callable[[Attack, str], None]]] = {
    "connections": connections,
    "waits": waits,
    "large waits": large_waits,
    "refreshes": refreshes,
    "logins": logins,
    "ports": ports,
    "calls": calls,
    "watches": watches,
    "leaving": leaving,
    "fork loop": fork_loop,
}


class _Part(Attack):
    """An attack among others of one program."""

    def __init__(self, path: str, is_over: threading.Event) -> None:
        super().__init__(path)
        self._is_over = is_over

    def begin(self) -> None:
        """Report nothing: the others have not begun yet."""

    def continues(self, pause: float = 0.0) -> bool:
        """Pause, and return whether to continue."""
        return not self._is_over.wait(pause)


def worst(attack: Attack, account: str) -> None:
    """Take in every way at once; but fork, which a program with threads must not."""
    is_over = threading.Event()
    parts = [greed for greed in GREEDS.values() if greed is not fork_loop]
    threads = [threading.Thread(target=greed, args=(_Part(attack.path, is_over), account)) for greed in parts]
    for thread in threads:
        thread.start()
    attack.begin()
    while attack.continues(0.1):
        pass
    is_over.set()
    for thread in threads:
        thread.join()


@contextlib.contextmanager
def greedy(name: str, path: Path, account: str, launcher: Sequence[str] = ()) -> Generator[None]:
    """Run a greedy program during the block."""
    with attacking("tests.faults.greed", name, str(path), account, launcher=launcher):
        yield


def main() -> None:
    """Run what the arguments name."""
    _, name, path, account = sys.argv
    allow_descriptors()
    (GREEDS | {"half messages": half_messages, "worst": worst})[name](Attack(path), account)


if __name__ == "__main__":
    main()
