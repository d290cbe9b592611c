"""Clients as they may be: a bad one hurts only itself."""

import contextlib
import os
import resource
import socket
import subprocess
import time
from collections.abc import Generator
from pathlib import Path
from typing import Any, Self

import msgpack
import pytest

from auth_agent_client import Agent, Denied, Timeout, Unavailable
from auth_agent_client.messages import METHODS
from auth_agent_client.wire import Connection, Message, Notification, Response
from tests.integration.agent_process import PATIENCE, AgentProcess
from tests.integration.conftest import account, log_in
from tests.integration.impostor import UNPRIVILEGED, another_users_agent
from tests.op.provider import HELD, OpenIDProvider

FIRST_MESSAGE = 10.0
SLACK = 5.0


class RawClient:
    """A connection for any bytes, whose messages can be read one by one."""

    def __init__(self, agent: AgentProcess) -> None:
        self.socket = socket.socket(socket.AF_UNIX)
        self.socket.connect(str(agent.socket))  # blocking: it waits for room in the backlog
        self.socket.settimeout(20)
        self.wire = Connection()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.socket.close()

    def ask(self, method: str, **parameters: object) -> None:
        self.socket.sendall(self.wire.request(method, parameters)[1])

    def read(self) -> Message | None:
        """Return the next message, or None if the agent has disconnected."""
        while (message := self.wire.next_message()) is None:
            try:
                data = self.socket.recv(65536)
            except ConnectionResetError:  # what was sent was not read to its end
                return None
            if not data:
                return None
            self.wire.receive_data(data)
        return message

    def call(self, method: str, **parameters: object) -> Response:
        self.ask(method, **parameters)
        response = self.read()
        assert isinstance(response, Response)
        return response

    def result(self, method: str, **parameters: object) -> dict[str, Any]:
        response = self.call(method, **parameters)
        assert response.error is None
        fields: Any = response.result
        assert isinstance(fields, dict)
        return fields  # pyright: ignore[reportUnknownVariableType] -- any map from the wire


@pytest.fixture
def raw(agent: AgentProcess) -> Generator[RawClient, None, None]:
    """A raw connection to the agent."""
    with RawClient(agent) as one:
        yield one


@pytest.fixture
def logged_in(agent: AgentProcess, client: Agent, provider: OpenIDProvider) -> AgentProcess:
    """An agent with a session."""
    log_in(client, provider)
    return agent


def assert_is_served(client: Agent, requests: int = 100) -> None:
    """Check that each request of a well-behaved client gets its response before its timeout."""
    for _ in range(requests):
        assert client.token(timeout=PATIENCE).access_token


# ---- what the protocol promises


@pytest.mark.parametrize(
    "method",
    [
        "hello",
        "token",
        "id_token",
        "rejected",
        "has_valid",
        "profile",
        "refresh",
        "status",
        "reload",
        "watch",
        "logout",
    ],
)
def test_results_have_the_fields_that_the_method_table_names(
    method: str, logged_in: AgentProcess, raw: RawClient
) -> None:
    parameters = {"access_token": "unknown"} if method == "rejected" else {}
    more = {"end_session_url"} if method == "logout" else set[str]()
    assert set(raw.result(method, **parameters)) == {*(METHODS[method].result or ()), *more}
    assert logged_in.process.poll() is None


def test_responses_come_in_any_order(logged_in: AgentProcess, provider: OpenIDProvider, raw: RawClient) -> None:
    provider.fault("delay", ms=HELD, grant_type="refresh_token")
    raw.ask("refresh")
    raw.ask("token")
    first = raw.read()
    provider.release()
    second = raw.read()
    assert isinstance(first, Response)
    assert isinstance(second, Response)
    assert [first.id, second.id] == [2, 1]
    assert logged_in.process.poll() is None


def test_the_error_for_an_unknown_parameter_names_it(raw: RawClient) -> None:
    error = raw.call("token", audiense="x").error
    assert error is not None
    assert (error.code, error.details["parameter"]) == ("invalid_request", "audiense")


def test_the_agent_has_exactly_the_methods_of_the_method_table(raw: RawClient) -> None:
    error = raw.call("no_such_method").error
    assert error is not None
    assert error.code == "unknown_method"
    assert raw.result("hello")["features"] == sorted(METHODS)


def test_a_timeout_ends_the_wait_and_not_the_refresh(
    logged_in: AgentProcess, client: Agent, provider: OpenIDProvider
) -> None:
    provider.fault("delay", ms=HELD, grant_type="refresh_token")
    with pytest.raises(Timeout):
        client.token(force=True, timeout=0.2)
    provider.release()
    logged_in.until_logged("outcome=ok refreshes=1")


def test_forced_refreshes_are_rate_limited(logged_in: AgentProcess, client: Agent, provider: OpenIDProvider) -> None:
    waits: list[float | None] = []
    with logged_in.client() as stormy:
        for _ in range(20):
            try:
                stormy.token(force=True)
            except Unavailable as error:
                waits.append(error.retry_after)
    assert len(waits) == 15
    assert all(wait is not None and 0 < wait <= 10 for wait in waits)
    assert len(provider.requests(provider.token_path, "refresh_token")) == 1 + 5
    with logged_in.client() as another, pytest.raises(Unavailable):
        another.token(force=True)  # the session's own limit: another connection is no way around it
    assert client.token().access_token


def test_a_rejected_token_that_is_new_is_not_refreshed(
    logged_in: AgentProcess, client: Agent, provider: OpenIDProvider
) -> None:
    with pytest.raises(Denied, match="another reason"):
        client.rejected(client.token().access_token)
    assert client.rejected("unknown").access_token == client.token().access_token
    assert len(provider.requests(provider.token_path, "refresh_token")) == 1
    assert logged_in.process.poll() is None


def test_a_watcher_is_notified_in_order_and_never_gets_a_token(
    logged_in: AgentProcess, client: Agent, provider: OpenIDProvider, raw: RawClient
) -> None:
    snapshot = raw.result("watch")
    assert [record["state"] for record in snapshot["accounts"]] == ["ready"]
    token = client.refresh().access_token
    client.logout()
    records: list[dict[str, object]] = []
    while not records or records[-1]["state"] != "logged_out":
        message = raw.read()
        assert isinstance(message, Notification)
        assert message.method == "changed"
        record: Any = message.values[0]
        records.append(record)
    revisions = [int(str(record["revision"])) for record in records]
    assert revisions == sorted(revisions)
    assert "running" in [record["renewal"] for record in records]
    assert token not in repr(records)
    assert provider.count(provider.paths["revocation"]) == 1
    assert logged_in.process.poll() is None


# ---- hostile clients


@pytest.mark.parametrize(
    "garbage",
    [
        b"GET / HTTP/1.1\r\n\r\n",
        b"\xc1",
        b"\x00" * 100,
        b"\xff" * 1000,
        b"\x91" * 2000,
        msgpack.packb([0, 1, "token", [{"account": "work"}], "more"]),
        msgpack.packb([0, -1, "token", []]),
        msgpack.packb([0, 1, "token", [{1: 2}]], strict_types=True),
        msgpack.packb({"method": "token"}),
        b"\xdb\xff\xff\xff\xff" + b"x" * (1 << 21),
    ],
    ids=["HTTP", "reserved", "zeros", "ones", "deep", "too long", "bad id", "bad key", "a map", "huge"],
)
def test_a_client_of_another_protocol_gets_an_error_and_is_disconnected(
    garbage: bytes, lasting_agent: AgentProcess
) -> None:
    with RawClient(lasting_agent) as raw, lasting_agent.client() as client:
        # The agent hangs up while the huge one is still being sent.
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            raw.socket.sendall(garbage)
        message = raw.read()
        assert isinstance(message, Notification)
        assert message.method == "closing"
        assert raw.read() is None
        assert client.token().access_token
        assert lasting_agent.process.poll() is None


def test_the_id_of_an_open_request_can_not_be_used_again(
    logged_in: AgentProcess, provider: OpenIDProvider, raw: RawClient
) -> None:
    provider.fault("delay", ms=1000, grant_type="refresh_token")
    raw.socket.sendall(msgpack.packb([0, 7, "refresh", []]) * 2)
    message = raw.read()
    assert isinstance(message, Notification)
    assert "7" in repr(message.values)
    assert logged_in.process.poll() is None


def test_half_a_message_does_not_delay_other_clients(logged_in: AgentProcess, client: Agent, raw: RawClient) -> None:
    _, request = raw.wire.request("token", {})
    raw.socket.sendall(request[:7])
    assert_is_served(client)
    raw.socket.sendall(request[7:])
    response = raw.read()
    assert isinstance(response, Response)
    assert response.error is None
    assert logged_in.process.poll() is None


def test_a_client_that_never_reads_costs_little_memory_and_does_not_delay_others(
    logged_in: AgentProcess, client: Agent, raw: RawClient
) -> None:
    raw.socket.setblocking(False)
    request = msgpack.packb([0, 1, "status", []])
    sent = 0
    with contextlib.suppress(BlockingIOError):
        while sent < 200 << 20:
            sent += raw.socket.send(request * 1000)
    assert sent < 8 << 20  # the agent has stopped reading
    assert_is_served(client)
    assert resident(logged_in) < 120 << 20


def test_a_client_that_shuts_down_its_sending_side_is_answered(
    logged_in: AgentProcess, provider: OpenIDProvider, raw: RawClient
) -> None:
    provider.fault("delay", ms=500, grant_type="refresh_token")
    raw.ask("refresh")
    raw.ask("hello")
    raw.socket.shutdown(socket.SHUT_WR)
    responses = [raw.read(), raw.read()]
    assert [response.error for response in responses if isinstance(response, Response)] == [None, None]
    assert raw.read() is None
    assert logged_in.process.poll() is None


def test_an_account_that_is_watched_a_thousand_times_is_sent_once(raw: RawClient) -> None:
    assert len(raw.result("watch", accounts=["work"] * 1000)["accounts"]) == 1
    error = raw.call("watch", accounts=["work"] * 1001).error
    assert error is not None
    assert error.details["parameter"] == "accounts"


def test_the_agent_serves_on_if_nobody_reads_its_log(provider: OpenIDProvider) -> None:
    with AgentProcess({"work": account(provider)}, log_is_read=False) as agent, agent.client() as client:
        log_in(client, provider)
        for _ in range(1500):
            with RawClient(agent) as garbage:
                garbage.socket.sendall(b"\xc1")
                assert isinstance(garbage.read(), Notification)
        assert client.token().access_token
        assert agent.terminate() == 0


def test_hundreds_of_requests_at_once_wait_their_turn(
    logged_in: AgentProcess, client: Agent, provider: OpenIDProvider, raw: RawClient
) -> None:
    provider.fault("delay", ms=500, grant_type="refresh_token")
    for _ in range(300):
        raw.ask("token", force=True)
    assert_is_served(client)
    responses = [raw.read() for _ in range(300)]
    assert all(isinstance(response, Response) for response in responses)
    assert len(provider.requests(provider.token_path, "refresh_token")) <= 1 + 5
    assert logged_in.process.poll() is None


def resident(agent: AgentProcess) -> int:
    """Return the agent's resident memory in bytes."""
    statm = Path(f"/proc/{agent.process.pid}/statm")
    if statm.exists():
        return int(statm.read_text().split()[1]) * resource.getpagesize()
    command = ["ps", "-o", "rss=", "-p", str(agent.process.pid)]
    return int(subprocess.run(command, capture_output=True, text=True, check=True).stdout) << 10


@contextlib.contextmanager
def descriptors(number: int) -> Generator[None, None, None]:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(number, hard), hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def test_a_thousand_silent_connections_do_not_delay_others_and_are_closed(
    logged_in: AgentProcess, client: Agent
) -> None:
    with descriptors(4096), contextlib.ExitStack() as stack:
        start = time.monotonic()
        silent = [stack.enter_context(RawClient(logged_in)) for _ in range(1000)]
        assert_is_served(client)
        assert resident(logged_in) < 120 << 20
        for one in silent:
            message = one.read()
            assert isinstance(message, Notification)
            assert message.method == "closing"
            assert one.read() is None
        assert time.monotonic() - start > FIRST_MESSAGE - 1
    assert client.token().access_token


def test_at_the_limit_silent_connections_are_closed_before_idle_ones(logged_in: AgentProcess) -> None:
    with descriptors(4096), contextlib.ExitStack() as stack:
        watching = stack.enter_context(RawClient(logged_in))
        assert watching.call("watch").error is None
        many = [stack.enter_context(RawClient(logged_in)) for _ in range(1250)]
        newcomer = stack.enter_context(RawClient(logged_in))
        assert newcomer.call("token").error is None
        message = many[0].read()
        assert isinstance(message, Notification)
        assert many[0].read() is None
        alive = many[300:]
        for one in alive:
            assert one.call("hello").error is None
        for _ in range(400):
            assert stack.enter_context(RawClient(logged_in)).call("token").error is None
        assert watching.call("hello").error is None


def test_with_few_descriptors_there_are_few_connections_and_refreshes_go_on(provider: OpenIDProvider) -> None:
    few = 64

    def limit() -> None:
        resource.setrlimit(resource.RLIMIT_NOFILE, (few, few))

    with AgentProcess({"work": account(provider)}, preexec=limit) as agent, agent.client() as client:
        log_in(client, provider)
        with contextlib.ExitStack() as stack:
            for _ in range(few * 2):
                idle = stack.enter_context(RawClient(agent))
                assert idle.call("hello").error is None
            assert client.token().access_token
            assert provider.userinfo(client.refresh().access_token).status_code == 200


@pytest.mark.skipif(not hasattr(resource, "prlimit") or os.geteuid() != 0, reason="needs Linux and root, for prlimit")
def test_without_descriptors_the_agent_waits_and_serves_on(
    logged_in: AgentProcess, client: Agent, provider: OpenIDProvider
) -> None:
    pid = logged_in.process.pid
    _, hard = resource.prlimit(pid, resource.RLIMIT_NOFILE)
    client.token()
    resource.prlimit(pid, resource.RLIMIT_NOFILE, (len(os.listdir(f"/proc/{pid}/fd")), hard))  # noqa: PTH208 -- names
    with contextlib.ExitStack() as stack:
        for _ in range(20):
            stack.enter_context(RawClient(logged_in))
        logged_in.until_logged("accept error")
        assert_is_served(client)
    resource.prlimit(pid, resource.RLIMIT_NOFILE, (hard, hard))
    with logged_in.client() as another:
        assert another.token().access_token
    assert provider.userinfo(client.refresh().access_token).status_code == 200


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root, to be two users")
def test_another_user_is_disconnected_even_if_the_file_modes_allow_access(logged_in: AgentProcess) -> None:
    logged_in.home.chmod(0o755)
    logged_in.socket.parent.chmod(0o755)
    logged_in.socket.chmod(0o666)
    script = (
        "import socket, sys; s = socket.socket(socket.AF_UNIX); s.connect(sys.argv[1])\n"
        "try: s.sendall(b'\\x94\\x00\\x01\\xa5token\\x90'); print(s.recv(100))\n"
        "except OSError as error: print(b'', error)"
    )
    result = subprocess.run(
        ["/usr/bin/python3", "-c", script, str(logged_in.socket)],
        user=UNPRIVILEGED,
        capture_output=True,
        text=True,
        check=True,
    )
    assert result.stdout.startswith("b''")
    logged_in.until_logged(f"refused uid={UNPRIVILEGED}")


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root, to be two users")
def test_a_client_sends_nothing_to_another_users_agent(agent: AgentProcess) -> None:
    agent.terminate()
    with another_users_agent(agent.socket):
        result = agent.run("token")
    assert result.returncode == 1
    assert f" {UNPRIVILEGED}, " in result.stderr


def test_a_client_sends_nothing_if_other_users_can_enter_the_directory(agent: AgentProcess) -> None:
    agent.socket.parent.chmod(0o755)
    result = agent.run("token")
    assert result.returncode == 1
    message, remedy = result.stderr.splitlines()[:2]
    assert str(agent.socket.parent) in message
    assert remedy.endswith(f": chmod 700 {agent.socket.parent}")
    agent.socket.parent.chmod(0o700)
    assert agent.run("status").returncode == 0
