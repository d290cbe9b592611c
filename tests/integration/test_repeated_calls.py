"""A call whose response comes at once goes a short way, with the results of the whole way."""

import contextlib
import gc
import signal
import socket
import tempfile
import threading
import time
from collections.abc import Generator, Mapping
from pathlib import Path
from types import FrameType
from typing import NamedTuple

import pytest
from hypothesis import HealthCheck, given, settings, strategies as st

from auth_agent_client import Agent, AgentError, Denied, LoginRequired, Timeout, Unavailable
from auth_agent_client.call import Call
from auth_agent_client.waiting import finish
from auth_agent_client.wire import Connection, Request
from tests.integration.agent_process import PATIENCE, AgentProcess, until
from tests.integration.conftest import log_in
from tests.integration.impostor import listening
from tests.op.provider import HELD, OpenIDProvider


class WholeWay(Agent):
    """The client without the short way."""

    def call(self, method: str, parameters: Mapping[str, object]) -> dict[str, object]:
        result: dict[str, object] = finish(self._pool.call(Call(method, parameters))).value
        return result


class Step(NamedTuple):
    """What a server does upon a request: the parts of what it sends, and whether it then hangs up."""

    answer: dict[str, object] | AgentError | bool | None
    before: bool = False
    after: bool = False
    pieces: int = 1
    pause: float = 0.0
    hangs_up: bool = False


def token(name: str, **more: object) -> dict[str, object]:
    """Return the result of `token`."""
    return {"account": "work", "access_token": name, "token_type": "Bearer", "expires_at": 4e9, "scope": None, **more}


RESULTS = [
    *[token("a")] * 3,
    *[token("b"), token("a", expires_at=None), token("a", later=["more"]), {}, True],
    *[Denied("no"), Unavailable("later"), LoginRequired("gone"), None],
]
STEPS = st.builds(
    Step,
    st.sampled_from(RESULTS),
    before=st.booleans(),
    after=st.booleans(),
    pieces=st.sampled_from([1, 1, 2, 5]),
    pause=st.sampled_from([0.0, 0.0, 0.002]),
    hangs_up=st.sampled_from([False, False, False, True]),
)


@contextlib.contextmanager
def serving(steps: list[Step]) -> Generator[Path, None, None]:
    """Run a server that makes these steps, then says no."""
    left = iter(steps)

    def respond(connection: socket.socket) -> None:
        wire = Connection()
        while data := connection.recv(65536):
            wire.receive_data(data)
            while (message := wire.next_message()) is not None:
                assert isinstance(message, Request)
                step = next(left, Step(Denied("over")))
                for piece in parts(wire, message, step):
                    connection.sendall(piece)
                    threading.Event().wait(step.pause)
                if step.hangs_up or step.answer is None:
                    return

    def serve() -> None:
        while True:
            connection, _ = server.accept()
            with connection, contextlib.suppress(OSError):
                if connection.recv(1, socket.MSG_PEEK) == b"":
                    continue
                if is_over.is_set():
                    return
                respond(connection)

    is_over = threading.Event()
    with tempfile.TemporaryDirectory(prefix="auth-agent-") as directory:
        path = Path(directory, "agent.sock")
        with listening(path) as server:
            thread = threading.Thread(target=serve)
            thread.start()
            yield path
            is_over.set()
            with socket.socket(socket.AF_UNIX) as last:
                last.connect(str(path))
                last.sendall(b"\xc0")
                thread.join()


def parts(wire: Connection, request: Request, step: Step) -> list[bytes]:
    """Return the pieces of what is sent."""
    data = b""
    if isinstance(step.answer, AgentError):
        data = wire.respond_with_error(request, step.answer)
    elif step.answer is not None:
        data = wire.respond(request, step.answer)
    change = wire.notify("changed", {"account": "work"})
    data = (change if step.before else b"") + data + (change if step.after else b"")
    size = max(1, -(-len(data) // step.pieces))
    return [data[at : at + size] for at in range(0, len(data), size)]


def outcomes(kind: type[Agent], steps: list[Step]) -> list[object]:
    """Return what the client's calls come to: tokens, errors."""
    results: list[object] = []
    with serving(steps) as path, kind(str(path)) as agent:
        for _ in range(len(steps)):
            try:
                one = agent.token("work")
            except AgentError as error:
                results.append((error.code, error.message, error.details))
            else:
                results.append([getattr(one, name) for name in type(one).__slots__])
    return results


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(STEPS, max_size=8))
def test_the_short_way_has_the_results_of_the_whole_way(steps: list[Step]) -> None:
    assert outcomes(Agent, steps) == outcomes(WholeWay, steps)


# ---- what the response is not


@pytest.fixture
def logged_in(agent: AgentProcess, client: Agent, provider: OpenIDProvider) -> AgentProcess:
    """An agent with a session."""
    log_in(client, provider)
    return agent


def test_a_refresh_by_another_program_is_in_the_next_response(logged_in: AgentProcess, client: Agent) -> None:
    before = [client.token("work").access_token for _ in range(3)]
    with Agent(str(logged_in.socket)) as other:
        after = other.refresh("work").access_token
    assert [client.token("work").access_token for _ in range(3)] == [after] * 3
    assert before == [before[0]] * 3
    assert after != before[0]


def test_each_call_returns_a_token_of_its_own(logged_in: AgentProcess, client: Agent) -> None:
    tokens = [client.token("work") for _ in range(3)]
    expected = tokens[0].access_token
    for one in tokens:
        one.access_token = "changed"
    assert client.token("work").access_token == expected
    assert logged_in.process.poll() is None


def test_a_response_that_nobody_waits_for_any_more_is_not_the_next_ones(tmp_path: Path) -> None:
    """It comes while a handler of a signal raises: the connection can't be used any more."""
    tmp_path.chmod(0o700)
    path, asked, go_on = tmp_path / "agent.sock", threading.Event(), threading.Event()

    def respond(connection: socket.socket, names: list[str]) -> None:
        wire = Connection()
        with connection, contextlib.suppress(OSError):
            for name in names:
                while not isinstance(request := wire.next_message(), Request):
                    wire.receive_data(connection.recv(1000))
                if name == "late":
                    asked.set()
                    go_on.wait()
                connection.sendall(wire.respond(request, token(name)))

    def serve() -> None:
        for names in (["a", "a", "late"], ["b"]):
            respond(server.accept()[0], names)

    before = signal.signal(signal.SIGUSR1, signal.default_int_handler)
    try:
        with listening(path) as server, Agent(str(path)) as client:
            serving = threading.Thread(target=serve)
            serving.start()
            assert [client.token("work").access_token for _ in range(2)] == ["a", "a"]
            interrupting = threading.Thread(target=interrupt_once, args=(asked, threading.get_ident()))
            interrupting.start()
            with pytest.raises(KeyboardInterrupt):
                client.token("work")
            go_on.set()
            assert client.token("work").access_token == "b"
            serving.join()
            interrupting.join()
    finally:
        signal.signal(signal.SIGUSR1, before)


def interrupt_once(asked: threading.Event, thread: int) -> None:
    """Interrupt that thread."""
    asked.wait()
    signal.pthread_kill(thread, signal.SIGUSR1)


@pytest.mark.parametrize("interval", [0.0, 0.05, 0.015], ids=["undisturbed", "with signals", "with more signals"])
def test_a_call_that_is_made_again_times_out(interval: float, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tmp_path.chmod(0o700)
    begun = time.monotonic()

    def give_up(_signum: int, _frame: FrameType | None) -> None:
        assert time.monotonic() - begun < PATIENCE

    before = signal.signal(signal.SIGALRM, give_up)
    signal.setitimer(signal.ITIMER_REAL, interval, interval)
    path, is_over = tmp_path / "agent.sock", threading.Event()

    def serve() -> None:
        connection, _ = server.accept()
        wire = Connection()
        with connection:
            while not isinstance(request := wire.next_message(), Request):
                wire.receive_data(connection.recv(1000))
            connection.sendall(wire.respond(request, token("a")))
            is_over.wait()

    with listening(path) as server, Agent(str(path)) as client:
        serving = threading.Thread(target=serve)
        serving.start()
        client.token("work")
        monkeypatch.setattr("auth_agent_client.call._GRACE", 1.5)
        try:
            with pytest.raises(Timeout, match=r"within 2 s"):
                client.token("work", timeout=0.5)
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0)
            signal.signal(signal.SIGALRM, before)
            is_over.set()
        serving.join()


# ---- what is kept in memory


def connections() -> list[Connection]:
    """Return the connections of this process."""
    return [one for one in gc.get_objects() if isinstance(one, Connection)]


def remembered() -> list[object]:
    """Return the responses that they remember."""
    return [kept for one in connections() if (kept := vars(one)["_remembered"]) is not None]


@pytest.mark.parametrize("end", ["logout", "lock", "close", "error", "another method"])
def test_a_token_is_forgotten(end: str, logged_in: AgentProcess, client: Agent, provider: OpenIDProvider) -> None:
    gc.collect()
    # One that did not come at once is not remembered, as on a busy machine.
    until(lambda: client.token("work").account and len(remembered()) == 1)
    match end:
        case "logout":
            provider.fault("delay", ms=HELD, grant_type="refresh_token")
            slow = threading.Thread(target=lambda: client.token("work", force=True, timeout=PATIENCE))
            client.close()
            slow.start()
            until(lambda: provider.happened().get("delay"))
            until(lambda: client.token("work").account and len(remembered()) == 1)
            provider.release()
            slow.join()  # its connection is the next one's, so that of the logout
            assert len(remembered()) == 1
            client.logout("work")
        case "lock":
            client.lock("passphrase")
        case "close":
            client.close()
        case "error":
            with Agent(str(logged_in.socket)) as other:
                other.logout("work")
            with pytest.raises(LoginRequired):
                client.token("work")
        case _:
            client.hello()
    gc.collect()
    assert remembered() == []
