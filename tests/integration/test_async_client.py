"""The asynchronous client, under asyncio and trio: many tasks, cancelled calls, a restart, a fork."""

import contextlib
import os
import selectors
import signal
import socket
import threading
import time
from collections.abc import AsyncGenerator, Callable, Generator
from pathlib import Path
from typing import Self

import anyio
import anyio.lowlevel
import anyio.to_thread
import pytest

from auth_agent_client import (
    Agent,
    AgentNotRunning,
    ConnectionLost,
    InvalidRequest,
    LoginRequired,
    Timeout,
    Unavailable,
    UnknownAccount,
    UntrustedAgent,
)
from auth_agent_client.aio import MAX_CONNECTIONS, AsyncAgent
from auth_agent_client.wire import Connection, Request
from tests.integration.agent_process import PATIENCE, AgentProcess, until
from tests.integration.conftest import log_in
from tests.integration.impostor import another_users_agent, listening, send_bytes
from tests.op.provider import HELD, OpenIDProvider

BACKENDS = ["asyncio", "trio"]
MANY = MAX_CONNECTIONS + 50


@pytest.fixture
def logged_in(agent: AgentProcess, client: Agent, provider: OpenIDProvider) -> AgentProcess:
    """An agent with a session."""
    log_in(client, provider)
    return agent


@contextlib.asynccontextmanager
async def connect(path: str | Path) -> AsyncGenerator[AsyncAgent]:
    async with AsyncAgent(str(path)) as one:
        yield one


@pytest.fixture
def asynchronous(agent: AgentProcess) -> Generator[AsyncAgent, None, None]:
    """An asynchronous client of that agent."""
    one = AsyncAgent(str(agent.socket))
    yield one
    anyio.run(one.close)


async def eventually(condition: Callable[[], object]) -> None:
    """Wait until the condition holds, and let the other tasks run."""
    await anyio.to_thread.run_sync(until, condition)


async def check_responses(agent: AsyncAgent, number: int) -> None:
    """Make that many calls at once, and check that each gets its own response."""

    async def ask(name: str) -> None:
        with pytest.raises(UnknownAccount, match=rf"\b{name}\b"):
            await agent.token(name)

    async with anyio.create_task_group() as tasks:
        for one in range(number):
            tasks.start_soon(ask, f"nobody-{one}")


@pytest.mark.anyio
async def test_each_method_of_the_client_is_answered(logged_in: AgentProcess, asynchronous: AsyncAgent) -> None:
    token = await asynchronous.token("work", min_ttl=60)
    assert token.authorization == f"Bearer {token.access_token}"
    assert token.access_token not in repr(token)
    assert token.expires_at is not None
    assert token.expires_at > time.time()
    assert await asynchronous.has_valid("work")
    assert (await asynchronous.rejected("unknown")).access_token == token.access_token
    assert (await asynchronous.refresh()).access_token != token.access_token
    assert (await asynchronous.status("work"))["accounts"]
    assert (await asynchronous.hello("a test"))["pid"] == logged_in.process.pid
    assert await asynchronous.reload() == {"added": [], "changed": [], "removed": []}
    assert await asynchronous.logout()


@pytest.mark.anyio
async def test_errors_are_the_exceptions_of_the_protocol(agent: AgentProcess, asynchronous: AsyncAgent) -> None:
    with pytest.raises(LoginRequired) as raised:
        await asynchronous.token()
    assert raised.value.reason == "logged_out"
    with pytest.raises(UnknownAccount):
        await asynchronous.token("wrok")
    with pytest.raises(InvalidRequest) as refused_here:
        await asynchronous.token(min_ttl=float("nan"))
    assert refused_here.value.parameter == "min_ttl"
    with pytest.raises(InvalidRequest, match="UTF-8"):
        await asynchronous.token(audience="\udcff")
    assert (await asynchronous.hello())["pid"] == agent.process.pid


# ---- many calls


@pytest.mark.anyio
async def test_each_of_many_concurrent_calls_gets_its_own_response(
    logged_in: AgentProcess, asynchronous: AsyncAgent
) -> None:
    await check_responses(asynchronous, MANY)
    assert logged_in.process.poll() is None


@pytest.mark.anyio
async def test_calls_do_not_wait_for_a_slow_call(
    logged_in: AgentProcess, asynchronous: AsyncAgent, provider: OpenIDProvider
) -> None:
    provider.fault("delay", ms=HELD, grant_type="refresh_token")
    ends: list[str] = []

    async def refresh() -> None:
        await asynchronous.refresh(timeout=PATIENCE)
        ends.append("refresh")

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(refresh)
        await eventually(lambda: provider.happened().get("delay"))
        for _ in range(MANY):
            await asynchronous.token()
        ends.append("tokens")
        provider.release()
    assert ends == ["tokens", "refresh"]
    assert logged_in.process.poll() is None


class Slow:
    """An agent that counts connections, and responds to `hello` once it may."""

    def __init__(self, server: socket.socket) -> None:
        self.accepted = 0
        self.may_respond = threading.Event()
        self._selector = selectors.DefaultSelector()
        self._selector.register(server, selectors.EVENT_READ)
        self._server = server
        self._wake, self._woken = socket.socketpair()
        self._selector.register(self._woken, selectors.EVENT_READ)
        self._stack = contextlib.ExitStack()
        self._wires: dict[socket.socket, Connection] = {}
        self._requests: list[tuple[socket.socket, Request]] = []
        self._thread = threading.Thread(target=self._serve)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._wake.close()
        self._thread.join()
        self._stack.close()
        self._woken.close()
        self._selector.close()

    def respond(self) -> None:
        """Respond from now on."""
        self.may_respond.set()
        self._wake.send(b"x")

    def _serve(self) -> None:
        while True:
            for key, _ in self._selector.select():
                if key.fileobj is self._woken:
                    if not self._woken.recv(1):
                        return
                elif key.fileobj is self._server:
                    connection = self._stack.enter_context(self._server.accept()[0])
                    self.accepted += 1
                    self._wires[connection] = Connection()
                    self._selector.register(connection, selectors.EVENT_READ)
                else:
                    assert isinstance(key.fileobj, socket.socket)
                    self._read(key.fileobj)
            if self.may_respond.is_set():
                while self._requests:
                    connection, request = self._requests.pop()
                    connection.sendall(self._wires[connection].respond(request, request.parameters))

    def _read(self, connection: socket.socket) -> None:
        data = connection.recv(65536)
        if not data:
            self._selector.unregister(connection)
            return
        wire = self._wires[connection]
        wire.receive_data(data)
        while isinstance(message := wire.next_message(), Request):
            self._requests.append((connection, message))


@pytest.mark.anyio
async def test_the_client_limits_its_connections_to_what_an_agent_accepts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    responses: dict[str, object] = {}

    async def ask(agent: AsyncAgent, name: str) -> None:
        responses[name] = (await agent.hello(name))["client"]

    with listening(Path("slow.sock")) as server, Slow(server) as slow:
        async with connect("slow.sock") as agent, anyio.create_task_group() as tasks:
            for one in range(MANY):
                tasks.start_soon(ask, agent, str(one))
            await eventually(lambda: slow.accepted == MAX_CONNECTIONS)
            assert responses == {}
            slow.respond()
        assert slow.accepted == MAX_CONNECTIONS
    assert responses == {str(one): str(one) for one in range(MANY)}


@pytest.mark.anyio
async def test_the_timeout_includes_the_wait_for_a_connection(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("auth_agent_client.call._GRACE", 0.2)
    late: list[str] = []

    async def ask(agent: AsyncAgent) -> None:
        with pytest.raises(Timeout, match="token") as error:
            await agent.token(timeout=0.2)
        late.append(error.value.code)

    start = time.monotonic()
    with listening(Path("slow.sock")) as server, Slow(server):
        async with connect("slow.sock") as agent, anyio.create_task_group() as tasks:
            for _ in range(MANY):
                tasks.start_soon(ask, agent)
    assert late == ["timeout"] * MANY
    assert time.monotonic() - start < PATIENCE


# ---- cancelled calls


@pytest.mark.anyio
async def test_the_response_to_a_cancelled_call_goes_to_no_other_call(
    logged_in: AgentProcess, asynchronous: AsyncAgent, provider: OpenIDProvider
) -> None:
    before = (await asynchronous.token()).access_token
    count = provider.count(provider.token_path)
    provider.fault("delay", ms=1000, grant_type="refresh_token")
    async with anyio.create_task_group() as tasks:
        for _ in range(20):  # they share one refresh
            tasks.start_soon(asynchronous.refresh)
        await eventually(lambda: provider.count(provider.token_path) > count)
        tasks.cancel_scope.cancel()
    await check_responses(asynchronous, MANY)
    await eventually(lambda: logged_in.logged("outcome=ok refreshes=1"))  # the work went on
    assert (await asynchronous.token()).access_token != before


@pytest.mark.anyio
async def test_calls_may_be_cancelled_at_any_moment(logged_in: AgentProcess, asynchronous: AsyncAgent) -> None:
    for number in range(100):
        async with anyio.create_task_group() as tasks:
            for _ in range(5):
                tasks.start_soon(asynchronous.hello)
            for _ in range(number % 10):
                await anyio.lowlevel.checkpoint()
            tasks.cancel_scope.cancel()
        await check_responses(asynchronous, 3)
    assert logged_in.process.poll() is None


@pytest.mark.anyio
async def test_a_call_that_was_cancelled_before_is_not_sent(logged_in: AgentProcess, asynchronous: AsyncAgent) -> None:
    with anyio.CancelScope() as scope:
        scope.cancel()
        await asynchronous.logout()
    assert scope.cancelled_caught
    assert await asynchronous.has_valid()
    assert logged_in.process.poll() is None


# ---- the agent goes, and comes


@pytest.mark.anyio
@pytest.mark.parametrize("end", [AgentProcess.terminate, AgentProcess.kill], ids=["SIGTERM", "SIGKILL"])
async def test_a_client_survives_a_restart_of_the_agent(
    end: Callable[[AgentProcess], object], agent: AgentProcess, asynchronous: AsyncAgent
) -> None:
    await check_responses(asynchronous, 20)  # over connections that will all be the past's
    before = (await asynchronous.hello())["agent_id"]
    end(agent)
    agent.start()
    await check_responses(asynchronous, 20)
    assert (await asynchronous.hello())["agent_id"] != before


@pytest.mark.anyio
async def test_a_call_between_two_agents_raises_agent_not_running(
    agent: AgentProcess, asynchronous: AsyncAgent
) -> None:
    await asynchronous.hello()
    agent.terminate()
    with pytest.raises(AgentNotRunning) as caught:
        await asynchronous.hello()
    assert [remedy.line for remedy in caught.value.remedy] == ["auth-agent start"]
    assert await asynchronous.wait_for_end(0)


@pytest.mark.anyio
async def test_a_call_fails_when_the_agent_is_killed(
    logged_in: AgentProcess, asynchronous: AsyncAgent, provider: OpenIDProvider
) -> None:
    count = provider.count(provider.token_path)
    provider.fault("delay", ms=HELD, grant_type="refresh_token")

    async def refresh() -> None:
        with pytest.raises((ConnectionLost, AgentNotRunning)):
            await asynchronous.refresh()

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(refresh)
        await eventually(lambda: provider.count(provider.token_path) > count)
        os.kill(logged_in.process.pid, signal.SIGKILL)


@pytest.mark.anyio
async def test_wait_for_end_returns_when_the_agent_has_ended(agent: AgentProcess, asynchronous: AsyncAgent) -> None:
    assert not await asynchronous.wait_for_end(0.1)
    agent.process.send_signal(signal.SIGTERM)
    assert await asynchronous.wait_for_end(30)


# ---- forks


def run_in_child(work: Callable[[], None]) -> Callable[[], None]:
    """Do that in a forked child; returns a function that waits for it, and sees that it went well."""
    child = os.fork()
    if child == 0:  # no pytest in here: whatever happens, this process ends
        code = 1
        try:
            work()
            code = 0
        finally:
            os._exit(code)

    def end() -> None:
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0

    return end


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_fork_leaves_each_process_its_own_connections(
    backend: str, logged_in: AgentProcess, asynchronous: AsyncAgent
) -> None:
    def ask() -> None:
        for _ in range(20):
            anyio.run(check_responses, asynchronous, 10, backend=backend)

    ask()
    end = run_in_child(ask)
    ask()
    end()
    ask()
    assert logged_in.process.poll() is None


@pytest.mark.filterwarnings("ignore:.*multi-threaded:DeprecationWarning")  # the child needs no lock of theirs
@pytest.mark.parametrize("backend", BACKENDS)
def test_a_forked_child_does_not_wait_for_its_parents_calls(
    backend: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)

    def ask(agent: AsyncAgent) -> None:
        # In a thread: the child has the parent's loop as it was, and trio runs no second one in the same thread.
        names: list[object] = []
        thread = threading.Thread(
            target=lambda: names.append(anyio.run(agent.hello, "child", backend=backend)["client"])
        )
        thread.start()
        thread.join()
        assert names == ["child"]

    async def fork_while_all_turns_are_taken(slow: Slow, agent: AsyncAgent) -> None:
        async with anyio.create_task_group() as tasks:
            for _ in range(MANY):
                tasks.start_soon(agent.hello, "parent")
            await eventually(lambda: slow.accepted == MAX_CONNECTIONS)
            end = run_in_child(lambda: ask(agent))
            slow.respond()
            end()

    with listening(Path("slow.sock")) as server, Slow(server) as slow:
        agent = AsyncAgent("slow.sock")
        anyio.run(fork_while_all_turns_are_taken, slow, agent, backend=backend)
        anyio.run(agent.close, backend=backend)


# ---- what is no agent


@pytest.mark.anyio
async def test_a_call_to_a_hanging_agent_times_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("auth_agent_client.call._GRACE", 0.1)
    with listening(Path("hung.sock")):
        async with connect("hung.sock") as agent:
            with pytest.raises(Timeout, match="token"):
                await agent.token(timeout=0.1)


@pytest.mark.anyio
async def test_a_server_that_is_not_an_agent_is_not_trusted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with listening(Path("web.sock")) as server:
        thread = send_bytes(server, b"HTTP/1.1 400 Bad Request\r\n\r\n")
        async with connect("web.sock") as agent:
            with pytest.raises(ConnectionLost, match="another protocol"):
                await agent.token()
        thread.join()


@pytest.mark.anyio
@pytest.mark.parametrize("read_first", [True, False])
async def test_the_reason_for_a_closed_connection_is_raised_with_its_code(
    read_first: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    closing = Connection().closing("there are too many connections; try again", "unavailable")
    with listening(Path("full.sock")) as server:
        thread = send_bytes(server, closing, read_first=read_first)
        async with connect("full.sock") as agent:
            with pytest.raises(Unavailable, match="too many connections"):
                await agent.token()
        thread.join()


@pytest.mark.anyio
async def test_endless_notifications_do_not_starve_other_tasks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("auth_agent_client.call._GRACE", 0.2)
    turns = 0

    async def go_on() -> None:
        nonlocal turns
        while True:
            await anyio.lowlevel.checkpoint()
            turns += 1

    with listening(Path("chatty.sock")) as server:
        thread = send_bytes(server, Connection().notify("changed", {}) * 100, times=1_000_000)
        async with connect("chatty.sock") as agent, anyio.create_task_group() as tasks:
            tasks.start_soon(go_on)
            start = time.monotonic()
            with pytest.raises(Timeout):
                await agent.token(timeout=0.2)
            assert time.monotonic() - start < PATIENCE
            tasks.cancel_scope.cancel()
        thread.join()
    assert turns > 1


@pytest.mark.anyio
async def test_a_client_waits_for_an_agent_that_is_too_busy_to_accept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with contextlib.ExitStack() as stack:
        server = stack.enter_context(socket.socket(socket.AF_UNIX))
        server.bind("busy.sock")
        server.listen(0)
        first = stack.enter_context(socket.socket(socket.AF_UNIX))
        first.connect("busy.sock")  # fills the backlog
        async with connect("busy.sock") as agent, anyio.create_task_group() as tasks:
            tasks.start_soon(agent.hello)
            await anyio.wait_all_tasks_blocked()
            stack.push(server.accept()[0])
            connection = stack.enter_context((await anyio.to_thread.run_sync(server.accept))[0])
            wire = Connection()
            wire.receive_data(connection.recv(1000))
            request = wire.next_message()
            assert isinstance(request, Request)
            connection.sendall(wire.respond(request, {}))


@pytest.mark.anyio
async def test_a_connection_that_is_never_accepted_times_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("auth_agent_client.aio.CONNECT_TIMEOUT", 0.1)
    with socket.socket(socket.AF_UNIX) as server, socket.socket(socket.AF_UNIX) as first:
        server.bind("busy.sock")
        server.listen(0)
        first.connect("busy.sock")
        async with connect("busy.sock") as agent:
            with pytest.raises(AgentNotRunning):
                await agent.hello()


@pytest.mark.anyio
async def test_nothing_is_sent_if_other_users_can_enter_the_directory(
    agent: AgentProcess, asynchronous: AsyncAgent
) -> None:
    agent.socket.parent.chmod(0o711)
    with pytest.raises(UntrustedAgent) as caught:
        await asynchronous.hello()
    assert caught.value.remedy[0].command == ("chmod", "700", str(agent.socket.parent))


@pytest.mark.anyio
@pytest.mark.skipif(os.geteuid() != 0, reason="needs root, to be two users")
async def test_nothing_is_sent_to_another_users_agent(agent: AgentProcess, asynchronous: AsyncAgent) -> None:
    agent.terminate()
    with another_users_agent(agent.socket), pytest.raises(UntrustedAgent):
        await asynchronous.hello()
