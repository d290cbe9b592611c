"""`Agent(watch=True)`: tokens from the client's own copies, and what empties them."""

import contextlib
import os
import signal
import socket
import threading
import time
from collections.abc import Callable, Generator
from pathlib import Path

import pytest

from auth_agent_client import Agent, AgentError, AgentNotRunning, InvalidRequest, Locked, LoginRequired, Timeout, Token
from auth_agent_client.copies import Copies
from auth_agent_client.errors import Unavailable
from auth_agent_client.link import Link
from auth_agent_client.values import mapping, mappings
from auth_agent_client.wire import Connection, Message, Request
from tests.integration.agent_process import PATIENCE, AgentProcess, until
from tests.integration.conftest import log_in
from tests.integration.impostor import listening
from tests.op.provider import OpenIDProvider

LIFE = "auth_agent_client.copies._LIFE"
PAUSE = "auth_agent_client.copies._PAUSE"
HOSTS = '[hosts]\n"https://api.example" = {account = "work"}\n'


@pytest.fixture
def other(client: Agent, provider: OpenIDProvider) -> Agent:
    """Another client of an agent with a session."""
    log_in(client, provider)
    return client


@pytest.fixture
def watching(agent: AgentProcess) -> Generator[Agent, None, None]:
    """A client that watches that agent."""
    with Agent(str(agent.socket), watch=True) as watching:
        yield watching


@pytest.fixture
def lasting(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let copies live until something empties them."""
    monkeypatch.setattr(LIFE, 3600.0)


def asked(other: Agent) -> int:
    """Return how often programs like this one have asked for a token."""
    methods = [mapping(row.get("methods")).get("token") for row in mappings(other.status(clients=True)["clients"])]
    return sum(count for count in methods if isinstance(count, int))


def fill(watching: Agent, other: Agent, **parameters: object) -> None:
    """Call until the client returns its copy."""

    def is_copied() -> bool:
        before = asked(other)
        with contextlib.suppress(Timeout):  # a busy machine, where a test lets the client wait for half a second
            watching.token(**parameters)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType] -- as given
            return asked(other) == before
        return False

    until(is_copied)


def test_a_token_comes_from_a_copy_and_the_agent_is_asked_once_a_second(other: Agent, watching: Agent) -> None:
    fill(watching, other)
    expected, before, begun = other.token(), asked(other), time.monotonic()
    tokens = [watching.token() for _ in range(2000)]
    assert asked(other) - before <= 3 * (time.monotonic() - begun) + 3
    assert {one.access_token for one in tokens} == {expected.access_token}
    until(lambda: watching.token().account and asked(other) > before)


@pytest.mark.usefixtures("lasting")
def test_a_caller_cannot_change_the_copy(other: Agent, watching: Agent) -> None:
    fill(watching, other)
    first = watching.token()
    expected, first.access_token = first.access_token, "changed"
    assert watching.token().access_token == expected


@pytest.mark.usefixtures("lasting")
def test_each_request_has_its_own_copy(other: Agent, watching: Agent) -> None:
    fill(watching, other)
    before = asked(other)
    watching.token("work", min_ttl=1)
    watching.token(min_ttl=7)
    watching.token(timeout=9)
    assert asked(other) == before + 3


@pytest.mark.usefixtures("lasting")
def test_what_the_agent_refuses_is_refused_beside_copies(other: Agent, watching: Agent) -> None:
    fill(watching, other)
    with pytest.raises(InvalidRequest):
        watching.token(["work"])  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType] -- a value that can't be hashed
    with pytest.raises(InvalidRequest):
        watching.token(min_ttl="60")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]


def is_refused(watching: Agent, error: type[AgentError]) -> Callable[[], bool]:
    def refused() -> bool:
        try:
            watching.token()
        except error:
            return True
        return False

    return refused


@pytest.mark.usefixtures("lasting")
@pytest.mark.parametrize("change", ["logout", "lock", "kill", "stop", "reload", "account removed"])
def test_a_change_empties_the_copies(change: str, agent: AgentProcess, other: Agent, watching: Agent) -> None:
    fill(watching, other)
    text = agent.config.read_text()
    match change:
        case "logout":
            other.logout("work")
            expected: type[AgentError] = LoginRequired
        case "lock":
            other.lock("passphrase")
            expected = Locked
        case "kill":
            agent.process.send_signal(signal.SIGKILL)
            expected = AgentNotRunning
        case "stop":
            agent.process.send_signal(signal.SIGTERM)
            expected = AgentNotRunning
        case "reload":  # there is no default any more
            agent.config.write_text(f"{text}\n{text.replace('accounts.work', 'accounts.home')}")
            other.reload()
            expected = InvalidRequest
        case _:
            agent.config.write_text(text.replace("accounts.work", "accounts.home"))
            other.reload()
            expected = LoginRequired
    until(is_refused(watching, expected))


@pytest.mark.usefixtures("lasting")
def test_a_refresh_empties_the_copies(other: Agent, watching: Agent) -> None:
    fill(watching, other)
    newer = other.refresh().access_token
    until(lambda: watching.token().access_token == newer)


@pytest.mark.usefixtures("lasting")
def test_a_reload_of_the_hosts_empties_the_copies(agent: AgentProcess, other: Agent, watching: Agent) -> None:
    text = agent.config.read_text()
    agent.config.write_text(text + HOSTS)
    other.reload()
    url = "https://api.example/v1"
    fill(watching, other, url=url)
    agent.config.write_text(text)
    other.reload()

    def is_denied() -> bool:
        with contextlib.suppress(AgentError):
            watching.token(url=url)
            return False
        return True

    until(is_denied)


@pytest.mark.usefixtures("lasting")
@pytest.mark.parametrize("call", ["refresh", "rejected", "force"])
def test_another_method_of_the_client_empties_the_copies(call: str, other: Agent, watching: Agent) -> None:
    fill(watching, other)
    before = watching.token().access_token
    if call == "rejected":
        with contextlib.suppress(AgentError):  # the token is young
            watching.rejected(before)
    else:
        assert (watching.refresh() if call == "refresh" else watching.token(force=True)).access_token != before
    count = asked(other)
    watching.token()
    assert asked(other) == count + 1


@pytest.mark.usefixtures("lasting")
def test_copies_are_kept_again_after_a_restart(
    agent: AgentProcess, other: Agent, watching: Agent, provider: OpenIDProvider, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(PAUSE, 0.01)
    fill(watching, other)
    agent.terminate()
    agent.start()
    log_in(other, provider)
    fill(watching, other)


def test_an_agent_that_hangs_is_noticed(
    agent: AgentProcess, other: Agent, watching: Agent, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("auth_agent_client.call._GRACE", 0.5)
    fill(watching, other, timeout=0.5)
    agent.process.send_signal(signal.SIGSTOP)
    try:
        stopped = last = time.monotonic()
        with contextlib.suppress(Timeout):
            while last - stopped < PATIENCE:
                begun = time.monotonic()
                watching.token(timeout=0.5)
                last = begun
        assert last - stopped < 5.0  # a copy is good for one second; the rest is a busy machine's
    finally:
        agent.process.send_signal(signal.SIGCONT)
    fill(watching, other, timeout=0.5)


@pytest.mark.usefixtures("lasting")
def test_a_forked_child_asks_anew_and_leaves_the_parent_its_copies(other: Agent, watching: Agent) -> None:
    fill(watching, other)
    before = asked(other)
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:  # no pytest in here: whatever happens, this process ends
        try:
            watching.token()
            watching.token()
            watching.token()
            os.write(writing, b"done")
        finally:
            os._exit(0)
    os.waitpid(child, 0)
    assert os.read(reading, 4) == b"done"
    os.close(reading)
    os.close(writing)
    assert asked(other) > before
    before = asked(other)
    watching.token()
    assert asked(other) == before
    newer = other.refresh().access_token  # the child has not read the parent's notifications
    until(lambda: watching.token().access_token == newer)


@pytest.mark.usefixtures("lasting")
def test_a_clock_that_was_set_back_makes_no_copy_good(
    other: Agent, watching: Agent, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill(watching, other)
    before = asked(other)
    monkeypatch.setattr("auth_agent_client.copies.time", lambda: time.time() - 60)
    watching.token()
    assert asked(other) == before + 1


@pytest.mark.usefixtures("lasting")
def test_threads_share_copies(other: Agent, watching: Agent) -> None:
    fill(watching, other)
    tokens, errors = {other.token().access_token}, list[BaseException]()
    is_over = threading.Event()
    seen: set[str] = set()

    def take() -> None:
        try:
            while not is_over.is_set():
                seen.add(watching.token().access_token)
        except BaseException as error:  # noqa: BLE001 -- shown by the test
            errors.append(error)

    threads = [threading.Thread(target=take) for _ in range(4)]
    for thread in threads:
        thread.start()
    for _ in range(5):
        tokens.add(other.refresh().access_token)
        newest = other.token().access_token
        until(lambda newest=newest: newest in seen)  # type: ignore[misc]
    is_over.set()
    for thread in threads:
        thread.join()
    assert errors == []
    assert seen <= tokens


def test_close_closes_the_connection_that_watches(agent: AgentProcess, other: Agent) -> None:
    client = Agent(str(agent.socket), watch=True)
    descriptors = len([*Path("/proc/self/fd").iterdir()])
    fill(client, other)
    client.close()
    assert len([*Path("/proc/self/fd").iterdir()]) <= descriptors


# ---- agents that behave oddly


class Scripted:
    """A server that answers `token` by a function, and `watch` with a snapshot, or an error."""

    def __init__(
        self, path: Path, token: Callable[["Scripted"], dict[str, object]], refusal: AgentError | None
    ) -> None:
        self.path = path
        self.watches = 0
        self.before_watch: Callable[[], object] = lambda: None
        self._token = token
        self._refusal = refusal
        self._watching: list[tuple[socket.socket, Connection]] = []
        self.threads: list[threading.Thread] = []

    def notify(self) -> None:
        """Notify those who watch."""
        for connection, wire in self._watching:
            connection.sendall(wire.notify("changed", {"account": "work"}))

    def serve(self, server: socket.socket) -> None:
        """Accept connections until the server is shut down."""
        with contextlib.suppress(OSError):
            while True:
                connection, _ = server.accept()
                self.threads.append(threading.Thread(target=self._respond, args=(connection,), daemon=True))
                self.threads[-1].start()

    def _respond(self, connection: socket.socket) -> None:
        wire = Connection()
        with connection, contextlib.suppress(OSError):  # the client may have given up
            while data := connection.recv(65536):
                wire.receive_data(data)
                while isinstance(request := wire.next_message(), Request):
                    if request.method == "token":
                        connection.sendall(wire.respond(request, self._token(self)))
                        continue
                    self.watches += 1
                    if self._refusal is not None:
                        connection.sendall(wire.respond_with_error(request, self._refusal))
                        continue
                    self.before_watch()
                    self._watching.append((connection, wire))  # before the client goes on, and `notify` is called
                    connection.sendall(wire.respond(request, {"agent_id": "x", "accounts": []}))


@contextlib.contextmanager
def scripted(
    directory: Path, token: Callable[[Scripted], dict[str, object]], refusal: AgentError | None = None
) -> Generator[tuple[Scripted, Agent], None, None]:
    directory.chmod(0o700)
    path = directory / "agent.sock"
    with listening(path) as server:
        script = Scripted(path, token, refusal)
        serving = threading.Thread(target=script.serve, args=(server,))
        serving.start()
        try:
            with Agent(str(path), watch=True) as client:
                yield script, client
        finally:
            server.shutdown(socket.SHUT_RDWR)
            serving.join()


def result(name: str, expires_at: float | None) -> dict[str, object]:
    return {"account": "work", "access_token": name, "token_type": "Bearer", "expires_at": expires_at, "scope": None}


@pytest.mark.usefixtures("lasting")
@pytest.mark.parametrize("min_ttl", [None, 100.0])
def test_a_copy_is_not_returned_beyond_the_tokens_end(tmp_path: Path, min_ttl: float | None) -> None:
    asked: list[float] = []

    def token(_: Scripted) -> dict[str, object]:
        asked.append(time.time())
        generation = len(asked) // 5
        return result(f"{generation}", ends.setdefault(generation, time.time() + 0.3 + (min_ttl or 0.0)))

    ends: dict[int, float] = {}
    with scripted(tmp_path, token) as (_, client):
        count = 0
        while len(ends) < 3 or count < 20:
            before, begun = len(asked), time.time()
            one = client.token("work", min_ttl=min_ttl)
            if len(asked) == before:
                count += 1
                assert one.expires_at is not None
                assert one.expires_at - (min_ttl or 0.0) > begun
            time.sleep(0.001)


@pytest.mark.usefixtures("lasting")
def test_a_token_for_one_use_is_not_returned_twice(tmp_path: Path) -> None:
    names = iter(range(1000))
    with scripted(tmp_path, lambda _: result(str(next(names)), None)) as (_, client):
        tokens = [client.token("work").access_token for _ in range(50)]
    assert len({*tokens}) == 50


@pytest.mark.usefixtures("lasting")
def test_an_agent_that_refuses_to_be_watched_is_asked_each_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(PAUSE, 3600.0)
    count = 0

    def token(_: Scripted) -> dict[str, object]:
        nonlocal count
        count += 1
        return result("a", None)

    with scripted(tmp_path, token, Unavailable("there are too many clients that watch")) as (script, client):
        for _ in range(20):
            client.token("work")
    assert (count, script.watches) == (20, 1)


@pytest.mark.usefixtures("lasting")
def test_a_token_that_was_on_its_way_when_something_changed_is_not_kept(tmp_path: Path) -> None:
    """Two threads wait for it, and a third one has read the notification before it comes."""
    names = iter(["a", "a", "a", "old", "old", *["new"] * 9])
    both, was_read = threading.Barrier(2), threading.Event()

    def token(script: Scripted) -> dict[str, object]:
        name = next(names)
        if name == "old":
            if both.wait() == 0:
                script.notify()
            was_read.wait()
        return result(name, None)

    with scripted(tmp_path, token) as (_, client):
        for _ in range(3):
            assert client.token("work").access_token == "a"
        assert client.token("work").access_token == "a"  # a copy
        late: list[str] = []
        slow = [
            threading.Thread(target=lambda: late.append(client.token("work", min_ttl=1.0).access_token))
            for _ in range(2)
        ]
        for thread in slow:
            thread.start()
        until(lambda: client.token("work").access_token == "new")
        was_read.set()
        for thread in slow:
            thread.join()
        assert late == ["old", "old"]
        assert client.token("work", min_ttl=1.0).access_token == "new"


@pytest.mark.usefixtures("lasting")
def test_what_arrives_while_a_thread_reads_is_read_by_no_other(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two threads were told the old token, so that it would be a good copy, and only the reader sees the change."""
    names = iter(["a", "a", "a", "old", "old", *["new"] * 9])
    reads, go_on, both = threading.Event(), threading.Event(), threading.Barrier(2)
    has_read, is_over = threading.Event(), threading.Event()
    discard, get = Link.discard, Copies.get

    def read_late(link: Link) -> None:
        reads.set()
        go_on.wait()
        discard(link)
        has_read.set()
        is_over.wait()

    def get_together(copies: Copies, key: tuple[object, ...]) -> Token | None:
        copy = get(copies, key)
        if reads.is_set() and not go_on.is_set():
            both.wait(PATIENCE)
        return copy

    with scripted(tmp_path, lambda _: result(next(names), None)) as (script, client):
        for _ in range(4):
            assert client.token("work").access_token == "a"
        monkeypatch.setattr(Link, "discard", read_late)
        monkeypatch.setattr(Copies, "get", get_together)
        script.notify()
        late: list[str] = []
        threads = [threading.Thread(target=lambda: late.append(client.token("work").access_token)) for _ in range(3)]
        threads[0].start()
        reads.wait()
        for thread in threads[1:]:
            thread.start()
        for thread in threads[1:]:
            thread.join()
        script.notify()
        go_on.set()
        has_read.wait()
        between = client.token("work").access_token
        is_over.set()
        threads[0].join()
        assert (late, between) == (["old", "old", "new"], "new")
        assert client.token("work").access_token == "new"


@pytest.mark.usefixtures("lasting")
def test_what_arrives_before_the_answer_to_another_watch_empties_the_copies(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("auth_agent_client.copies._PATIENCE", PATIENCE)
    name, account, was_read, go_on = "a", "work", threading.Event(), threading.Event()
    check_message = Link._check  # noqa: SLF001  # pyright: ignore[reportPrivateUsage] -- to know when it was read

    def check(link: Link, message: Message) -> None:
        check_message(link, message)
        was_read.set()

    monkeypatch.setattr(Link, "_check", check)

    def change_and_wait() -> None:
        script.notify()
        go_on.wait()

    with scripted(tmp_path, lambda _: {**result(name, None), "account": account}) as (script, client):
        for _ in range(4):
            assert client.token("work").access_token == "a"
        name = "new"
        script.before_watch = change_and_wait
        account = "home"
        other = threading.Thread(target=client.token, args=("home",))
        other.start()
        was_read.wait()
        meanwhile = client.token("work").access_token
        go_on.set()
        other.join()
        assert meanwhile == "new"


@pytest.mark.usefixtures("lasting")
def test_an_agent_that_does_not_answer_a_watch_delays_a_token_by_a_second_at_most(tmp_path: Path) -> None:
    is_over = threading.Event()
    with scripted(tmp_path, lambda _: result("a", None)) as (script, client):
        script.before_watch = is_over.wait
        begun = time.monotonic()
        try:
            assert client.token("work").access_token == "a"
        finally:
            is_over.set()
        assert time.monotonic() - begun < 5.0  # the rest is a busy machine's; any other method may take ten seconds


@pytest.mark.usefixtures("lasting")
def test_a_program_that_asks_for_a_new_url_each_time_has_a_bounded_number_of_copies(tmp_path: Path) -> None:
    with scripted(tmp_path, lambda _: result("a", None)) as (_, client):
        for number in range(1000):
            client.token(url=f"https://api.example/{number}")
        assert 0 < len(vars(client)["_copies"].kept) <= 256
