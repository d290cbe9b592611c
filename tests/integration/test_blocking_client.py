"""The blocking client, as programs use it: in threads, across a fork, across an agent's restart."""

import contextlib
import os
import select
import signal
import socket
import threading
import time
from pathlib import Path
from types import FrameType

import pytest

from auth_agent_client import Agent, AgentNotRunning, ConnectionLost, InvalidRequest, Timeout, Unavailable
from auth_agent_client.wire import Connection, Request
from tests.integration.agent_process import PATIENCE, AgentProcess, until
from tests.integration.conftest import log_in
from tests.integration.impostor import listening, send_bytes
from tests.op.provider import HELD, OpenIDProvider


@pytest.fixture
def logged_in(agent: AgentProcess, client: Agent, provider: OpenIDProvider) -> AgentProcess:
    """An agent with a session."""
    log_in(client, provider)
    return agent


def test_a_token_has_an_authorization_header_and_a_repr_without_the_secret(
    logged_in: AgentProcess, client: Agent
) -> None:
    token = client.token("work")
    assert token.authorization == f"Bearer {token.access_token}"
    assert token.access_token not in repr(token)
    assert token.expires_at is not None
    assert token.expires_at > time.time()
    assert logged_in.process.poll() is None


def test_threads_do_not_wait_for_each_other(logged_in: AgentProcess, client: Agent, provider: OpenIDProvider) -> None:
    provider.fault("delay", ms=HELD, grant_type="refresh_token")
    slow = threading.Thread(target=client.refresh, kwargs={"timeout": PATIENCE})
    slow.start()
    until(lambda: provider.happened().get("delay"))
    quick = [threading.Thread(target=lambda: [client.token() for _ in range(200)]) for _ in range(4)]
    for thread in quick:
        thread.start()
    for thread in quick:
        thread.join()
    assert slow.is_alive()
    provider.release()
    slow.join()
    assert logged_in.process.poll() is None


def test_a_fork_leaves_each_process_its_own_connection(logged_in: AgentProcess, client: Agent) -> None:
    expected = client.token().access_token
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:  # no pytest in here: whatever happens, this process ends
        wrong = 1
        try:
            wrong = sum(client.token().access_token != expected for _ in range(300))
            os.write(writing, b"done")
        finally:
            os._exit(wrong)
    assert [client.token().access_token for _ in range(300)] == [expected] * 300
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert os.read(reading, 4) == b"done"
    os.close(reading)
    os.close(writing)
    assert client.token().access_token == expected
    assert logged_in.process.poll() is None


def test_a_forked_child_opens_a_connection_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """On its parent's, each could read the response to the other one's request."""
    monkeypatch.chdir(tmp_path)
    with listening(Path("agent.sock")) as server, Agent("agent.sock") as client:
        accepted: list[socket.socket] = []
        serving = threading.Thread(target=lambda: accepted.append(respond_to_one(server)))
        serving.start()
        client.hello()
        serving.join()
        child = os.fork()
        if child == 0:
            try:
                client.hello()
            finally:
                os._exit(0)
        with accepted[0] as parents:
            assert select.select([server, parents], [], [], PATIENCE)[0] == [server]
            respond_to_one(server).close()
        os.waitpid(child, 0)


def respond_to_one(server: socket.socket) -> socket.socket:
    """Respond to the first request of the next connection; return the connection."""
    connection, _ = server.accept()
    wire = Connection()
    while not isinstance(request := wire.next_message(), Request):
        wire.receive_data(connection.recv(1000))
    connection.sendall(wire.respond(request, {"agent_id": "impostor"}))
    return connection


def test_a_client_survives_a_restart_of_the_agent(logged_in: AgentProcess, client: Agent) -> None:
    before = client.hello()["agent_id"]
    logged_in.terminate()
    logged_in.start()
    assert client.hello()["agent_id"] != before


def test_a_call_between_two_agents_raises_agent_not_running(logged_in: AgentProcess, client: Agent) -> None:
    logged_in.terminate()
    with pytest.raises(AgentNotRunning) as caught:
        client.token()
    assert [remedy.line for remedy in caught.value.remedy] == ["auth-agent start"]


def test_a_call_fails_when_the_agent_is_killed(
    logged_in: AgentProcess, client: Agent, provider: OpenIDProvider
) -> None:
    def kill() -> None:
        until(lambda: provider.happened().get("delay"))
        os.kill(logged_in.process.pid, signal.SIGKILL)

    provider.fault("delay", ms=HELD, grant_type="refresh_token")
    killing = threading.Thread(target=kill)
    killing.start()
    with pytest.raises((ConnectionLost, AgentNotRunning)):
        client.refresh()
    killing.join()


def test_wait_for_end_returns_when_the_agent_has_ended(agent: AgentProcess, client: Agent) -> None:
    assert not client.wait_for_end(0.1)
    agent.process.send_signal(signal.SIGTERM)
    assert client.wait_for_end(PATIENCE)
    agent.process.wait()
    assert client.wait_for_end(0)  # nobody is there: it has ended


def test_wait_for_end_sends_hello_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    ended: list[bool] = []
    with listening(Path("agent.sock")) as server, Agent("agent.sock") as client:
        waiting = threading.Thread(target=lambda: ended.append(client.wait_for_end(PATIENCE)))
        waiting.start()
        connection, _ = server.accept()
        with connection:  # an agent would hang up on one that never speaks, and that is not its end
            assert b"hello" in connection.recv(1000)
        waiting.join()
    assert ended == [True]


def test_invalid_parameters_are_not_sent(client: Agent) -> None:
    with pytest.raises(InvalidRequest):
        client.token(min_ttl=float("nan"))
    with pytest.raises(InvalidRequest, match="UTF-8"):
        client.token(audience="\udcff")


def test_a_call_to_a_hanging_agent_times_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with listening(Path("hung.sock")), Agent("hung.sock") as client:
        monkeypatch.setattr("auth_agent_client.call._GRACE", 0.1)
        with pytest.raises(Timeout, match="token"):
            client.token(timeout=0.1)


def test_a_server_that_is_not_an_agent_is_not_trusted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with listening(Path("web.sock")) as server, Agent("web.sock") as client:
        thread = send_bytes(server, b"HTTP/1.1 400 Bad Request\r\n\r\n")
        with pytest.raises(ConnectionLost, match="another protocol"):
            client.token()
        thread.join()


@pytest.mark.parametrize("read_first", [True, False])
def test_the_reason_for_a_closed_connection_is_raised_with_its_code(
    read_first: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    closing = Connection().closing("there are too many connections; try again", "unavailable")
    with listening(Path("full.sock")) as server, Agent("full.sock") as client:
        thread = send_bytes(server, closing, read_first=read_first)
        with pytest.raises(Unavailable, match="too many connections"):
            client.token()
        thread.join()


def test_a_call_times_out_despite_endless_notifications(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("auth_agent_client.call._GRACE", 0.2)
    with listening(Path("chatty.sock")) as server, Agent("chatty.sock") as client:
        thread = send_bytes(server, Connection().notify("changed", {}) * 100, times=1_000_000)
        start = time.monotonic()
        with pytest.raises(Timeout):
            client.token(timeout=0.2)
        assert time.monotonic() - start < PATIENCE
        thread.join()


def do_nothing(signum: int, frame: FrameType | None) -> None:
    """A handler, so that the signal interrupts what the process waits for."""


def test_a_signal_while_the_agent_is_too_busy_to_accept_is_not_taken_for_another_user(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with contextlib.ExitStack() as stack:
        server = stack.enter_context(socket.socket(socket.AF_UNIX))
        server.bind("busy.sock")
        server.listen(0)
        first = stack.enter_context(socket.socket(socket.AF_UNIX))
        first.connect("busy.sock")  # fills the backlog
        before = signal.signal(signal.SIGALRM, do_nothing)
        stack.callback(signal.signal, signal.SIGALRM, before)
        signal.setitimer(signal.ITIMER_REAL, 0.2)
        room = threading.Timer(0.6, lambda: [stack.push(server.accept()[0]) for _ in range(2)])
        room.start()
        client = stack.enter_context(Agent("busy.sock"))
        monkeypatch.setattr("auth_agent_client.call._GRACE", 0.1)
        with pytest.raises(Timeout):  # connected, and nobody responds: not "another user"
            client.token(timeout=0.1)
        room.join()


@pytest.mark.parametrize("call", ["import", "logout"])
def test_a_call_that_must_not_be_repeated_is_sent_once_to_an_agent_that_goes_away(call: str, tmp_path: Path) -> None:
    tmp_path.chmod(0o700)
    path = tmp_path / "agent.sock"
    methods: list[str] = []

    def serve(listening: socket.socket) -> None:
        """Answer a greeting, and go away at anything else."""
        for _ in range(2):
            connection, _ = listening.accept()
            wire = Connection()
            with connection:
                while data := connection.recv(65536):
                    wire.receive_data(data)
                    message = wire.next_message()
                    assert isinstance(message, Request)
                    methods.append(message.method)
                    if message.method != "hello":
                        break
                    connection.sendall(wire.respond(message, {}))

    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(path))
        listening.listen()
        server = threading.Thread(target=serve, args=(listening,), daemon=True)
        server.start()
        with Agent(str(path)) as agent:
            agent.hello()
            with pytest.raises(ConnectionLost):
                agent.import_refresh_token("rt", "work") if call == "import" else agent.logout("work")
            assert methods == ["hello", call]
            with pytest.raises(ConnectionLost):  # for the server to end
                agent.logout("work")
        server.join(PATIENCE)
