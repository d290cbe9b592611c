"""Watching the agent by either client: what is yielded, what a restart does to it, and how it ends."""

import contextlib
import os
import signal
import socket
import threading
import time
from collections.abc import Callable, Generator
from pathlib import Path
from typing import Any

import anyio
import anyio.to_thread
import pytest

from auth_agent_client import (
    Agent,
    AgentNotRunning,
    ConnectionLost,
    Internal,
    InvalidRequest,
    Record,
    Unavailable,
    UntrustedAgent,
)
from auth_agent_client.aio import AsyncAgent, AsyncWatch
from auth_agent_client.waiting import Blocking, finish
from auth_agent_client.watch import Watch
from auth_agent_client.wire import Connection
from tests.integration.agent_process import AgentProcess, until
from tests.integration.conftest import account, log_in
from tests.integration.impostor import listening, serve_watches
from tests.op.provider import OpenIDProvider

Records = Generator[Record, None, None]


class Watching:
    """Watches by the blocking client, or by the asynchronous one in a loop of that kind."""

    def __init__(self, kind: str, path: str | Path) -> None:
        self.kind = kind
        self._path = str(path)

    def __call__(
        self,
        accounts: list[str] | None = None,
        *,
        reconnect: bool = True,
        on_gap: Callable[[bool], object] | None = None,
    ) -> Records:
        if self.kind == "blocking":
            return Agent(self._path).watch(accounts, reconnect=reconnect, on_gap=on_gap)
        return self._one_loop_a_record(AsyncAgent(self._path).watch(accounts, reconnect=reconnect, on_gap=on_gap))

    def _one_loop_a_record(self, watch: AsyncWatch) -> Records:

        async def following() -> Record | None:
            return await anext(watch, None)

        try:
            while (record := anyio.run(following, backend=self.kind)) is not None:
                yield record
        finally:
            anyio.run(watch.aclose, backend=self.kind)


@pytest.fixture(params=["blocking", "asyncio", "trio"])
def kind(request: pytest.FixtureRequest) -> str:
    """Which client."""
    return str(request.param)


@pytest.fixture
def agent(provider: OpenIDProvider) -> Generator[AgentProcess, None, None]:
    """An agent with two accounts at that provider, not logged in."""
    accounts = {"work": account(provider), "home": account(provider)}
    with AgentProcess(accounts) as process:
        yield process


@pytest.fixture
def watch(kind: str, agent: AgentProcess) -> Watching:
    """Watches that agent."""
    return Watching(kind, agent.socket)


@pytest.fixture
def impostor(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Generator[socket.socket, None, None]:
    """Listens at `agent.sock`, in a directory of its own."""
    monkeypatch.chdir(tmp_path)
    with listening(Path("agent.sock")) as server:
        yield server


@pytest.fixture
def watch_impostor(kind: str, impostor: socket.socket) -> Watching:
    """Watches who listens there."""
    assert impostor.fileno() != -1
    return Watching(kind, "agent.sock")


def through(records: Records, last: Callable[[Record], object]) -> list[Record]:
    """Return the records up to the first for which `last` is true."""
    result: list[Record] = []
    while not result or not last(result[-1]):
        result.append(next(records))
    return result


def states(records: list[Record]) -> list[tuple[str, str]]:
    return [(one.account, one.state) for one in records]


# ---- what is yielded


def test_watch_yields_the_records_and_then_each_change_in_order(
    watch: Watching, client: Agent, provider: OpenIDProvider
) -> None:
    log_in(client, provider, "work")
    with contextlib.closing(watch()) as records:
        assert states([next(records), next(records)]) == [("work", "ready"), ("home", "logged_out")]
        tokens = [client.refresh("work").access_token for _ in range(3)]
        changes = through(records, lambda one: one["refreshes"] == 3 and one["renewal"] == "idle")
        client.logout("work")
        changes += through(records, lambda one: one["state"] == "logged_out")
    assert {one["account"] for one in changes} == {"work"}
    revisions = [one.revision for one in changes]
    assert revisions == sorted(set(revisions))
    assert "running" in {one["renewal"] for one in changes}
    assert not [token for token in tokens if token in repr(changes)]


def test_only_the_named_accounts_are_watched(watch: Watching, client: Agent, provider: OpenIDProvider) -> None:
    with contextlib.closing(watch(["home"])) as records:
        assert states([next(records)]) == [("home", "logged_out")]
        log_in(client, provider, "work")
        log_in(client, provider, "home", user="auth0|bob")
        changes = through(records, lambda one: one["state"] == "ready")
    assert {one["account"] for one in changes} == {"home"}


def test_an_invalid_name_is_refused(watch: Watching) -> None:
    with contextlib.closing(watch(["no name"])) as records, pytest.raises(InvalidRequest):
        next(records)


def test_a_string_is_not_a_list_of_names(agent: AgentProcess) -> None:
    for one in (Agent(str(agent.socket)), AsyncAgent(str(agent.socket))):
        with pytest.raises(InvalidRequest):
            one.watch("work")


def test_a_watch_without_an_agent_fails_at_once(agent: AgentProcess, watch: Watching) -> None:
    agent.terminate()
    with contextlib.closing(watch()) as records, pytest.raises(AgentNotRunning) as caught:
        next(records)
    assert [remedy.line for remedy in caught.value.remedy] == ["auth-agent start"]


def test_a_caller_who_changes_a_record_changes_only_a_copy(watch_impostor: Watching, impostor: socket.socket) -> None:
    record: dict[str, object] = {"account": "work", "state": "ready", "revision": 1}
    lives = serve_watches(impostor, [[record]], [[record], {**record, "state": "expired"}])
    with lives, contextlib.closing(watch_impostor()) as records:
        next(records).clear()
        assert next(records)["state"] == "expired"


# ---- the agent goes, and comes


@pytest.mark.parametrize("end", [AgentProcess.terminate, AgentProcess.kill], ids=["SIGTERM", "SIGKILL"])
def test_after_a_restart_watchers_get_what_differs(
    end: Callable[[AgentProcess], object],
    agent: AgentProcess,
    watch: Watching,
    client: Agent,
    provider: OpenIDProvider,
) -> None:
    log_in(client, provider, "work")
    with contextlib.closing(watch()) as records:
        assert states([next(records), next(records)]) == [("work", "ready"), ("home", "logged_out")]
        end(agent)
        agent.start()  # its store was its memory
        assert states([next(records)]) == [("work", "logged_out")]
        log_in(client, provider, "home")
        assert {one["account"] for one in through(records, lambda one: one["state"] == "ready")} == {"home"}


def test_a_watch_waits_while_no_agent_runs(
    agent: AgentProcess, watch: Watching, client: Agent, provider: OpenIDProvider
) -> None:
    log_in(client, provider)
    with contextlib.closing(watch(["work"])) as records:
        assert next(records)["state"] == "ready"
        agent.terminate()
        back = threading.Timer(0.5, agent.start)
        back.start()
        assert next(records)["state"] == "logged_out"
        back.join()


def test_without_reconnect_a_lost_connection_ends_the_watch(agent: AgentProcess, watch: Watching) -> None:
    with contextlib.closing(watch(reconnect=False)) as records:
        assert [next(records)["account"], next(records)["account"]] == ["work", "home"]
        agent.terminate()
        with pytest.raises(ConnectionLost):
            next(records)
        assert list(records) == []


def test_a_watcher_is_notified_of_a_gap_and_its_end_before_what_changed(
    watch_impostor: Watching, impostor: socket.socket
) -> None:
    work: dict[str, object] = {"account": "work", "state": "ready"}
    changes: list[object] = []
    lives = serve_watches(impostor, [[work]], None, None, [[work], {**work, "state": "expired"}], [[work]])
    with lives, contextlib.closing(watch_impostor(on_gap=changes.append)) as records:
        for _ in range(3):
            record = next(records)
            changes.append(record.state)
    # Three disconnects in a row are one gap.
    assert changes == ["ready", True, False, "expired", True, False, "ready"]


def test_a_watch_ends_if_others_can_enter_the_agents_directory(agent: AgentProcess, watch: Watching) -> None:
    with contextlib.closing(watch(["work"])) as records:
        next(records)
        agent.socket.parent.chmod(0o755)
        agent.terminate()
        with pytest.raises(UntrustedAgent, match="chmod 700"):
            next(records)


def test_a_new_revision_alone_is_not_a_change(watch_impostor: Watching, impostor: socket.socket) -> None:
    work: dict[str, object] = {"account": "work", "state": "ready", "revision": 7}
    home: dict[str, object] = {"account": "home", "state": "ready", "revision": 3}
    gone: dict[str, object] = {**home, "state": "expired", "revision": 1}
    lives = serve_watches(
        impostor,
        [[work, home], {**work, "state": "expired"}],
        None,  # accepted, and hung up on at once
        [Connection().closing("others want to be served")],  # no response to the watch
        [[{**work, "state": "expired", "revision": 1}, gone]],
        [[work]],
        [[work, gone]],
    )
    with lives, contextlib.closing(watch_impostor()) as records:
        changes = states([next(records) for _ in range(6)])
    assert changes == [
        ("work", "ready"),
        ("home", "ready"),
        ("work", "expired"),
        ("home", "expired"),
        ("work", "ready"),
        ("home", "expired"),  # it had vanished, and came back
    ]


def test_a_watcher_that_was_disconnected_retries_but_the_first_connection_raises(
    watch_impostor: Watching, impostor: socket.socket
) -> None:
    full = Connection().closing("there are too many connections; try again", "unavailable")
    changes: dict[str, object] = {"account": "work", "revision": 1}
    lives = serve_watches(impostor, [[changes], full], [[changes], {**changes, "state": "ready"}])
    with lives, contextlib.closing(watch_impostor()) as records:
        assert [next(records), next(records)] == [changes, {**changes, "state": "ready"}]
    server = threading.Thread(target=lambda: hang_up(impostor, full))
    server.start()
    with contextlib.closing(watch_impostor()) as records, pytest.raises(Unavailable):
        next(records)
    server.join()


def hang_up(server: socket.socket, last_words: bytes) -> None:
    connection, _ = server.accept()
    with connection:
        connection.sendall(last_words)
        connection.recv(1000)


@pytest.mark.parametrize("snapshot", [["work"], [{"state": "ready"}], {"account": "work"}])
def test_an_invalid_list_of_records_is_refused(
    snapshot: Any, watch_impostor: Watching, impostor: socket.socket
) -> None:
    lives = serve_watches(impostor, [snapshot])
    with lives, contextlib.closing(watch_impostor()) as records, pytest.raises(Internal):
        next(records)


class Pausing(Blocking):
    """Notes the pauses, and doesn't make them."""

    def __init__(self) -> None:
        self.pauses: list[float] = []

    async def pause(self, seconds: float) -> None:
        self.pauses.append(seconds)


def test_an_agent_that_hangs_up_at_once_is_called_less_and_less_often(impostor: socket.socket) -> None:
    record: dict[str, object] = {"account": "work"}
    waits = Pausing()
    with serve_watches(impostor, *[None] * 7, [[record]], None, [[record], {"account": "home"}]):
        watch = Watch("agent.sock", waits, None, reconnect=True)
        assert [finish(watch.next()).value for _ in range(2)] == [record, {"account": "home"}]
        watch.close()
    assert waits.pauses == [0.1, 0.2, 0.4, 0.8, 1.6, 2.0, 2.0, 2.0, 2.0]


def test_an_agent_that_was_there_for_a_while_is_soon_called_again(
    impostor: socket.socket, monkeypatch: pytest.MonkeyPatch
) -> None:
    record: dict[str, object] = {"account": "work"}
    waits = Pausing()
    with serve_watches(impostor, None, None, [[record]], None, [[record], {"account": "home"}]):
        watch = Watch("agent.sock", waits, None, reconnect=True)
        assert finish(watch.next()).value == record
        later = time.monotonic() + 3.0
        monkeypatch.setattr("auth_agent_client.watch.time.monotonic", lambda: later)
        assert finish(watch.next()).value == {"account": "home"}
        watch.close()
    assert waits.pauses == [0.1, 0.2, 0.1, 0.2]


# ---- the end


def connections(agent: AgentProcess) -> int:
    """Return how many sockets the agent has."""
    return sum(map(is_socket, Path(f"/proc/{agent.process.pid}/fd").iterdir()))


def is_socket(descriptor: Path) -> bool:
    try:
        return str(descriptor.readlink()).startswith("socket:")
    except FileNotFoundError:  # closed meanwhile
        return False


needs_proc = pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="needs Linux, to count descriptors")


@needs_proc
def test_a_watch_closes_its_connection_after_a_break(agent: AgentProcess, client: Agent) -> None:
    client.hello()
    before = connections(agent)
    for record in client.watch():
        assert record["account"] == "work"
        assert connections(agent) == before + 1
        break
    until(lambda: connections(agent) == before)


@needs_proc
@pytest.mark.anyio
async def test_an_asynchronous_watch_closes_its_connection_after_a_break(agent: AgentProcess) -> None:
    async with AsyncAgent(str(agent.socket)) as asynchronous:
        await asynchronous.hello()
        before = connections(agent)
        async for record in asynchronous.watch():
            assert record["account"] == "work"
            assert connections(agent) == before + 1
            break
        await anyio.to_thread.run_sync(until, lambda: connections(agent) == before)


@needs_proc
@pytest.mark.anyio
async def test_a_cancelled_watch_closes_its_connection(agent: AgentProcess) -> None:
    async with AsyncAgent(str(agent.socket)) as asynchronous:
        await asynchronous.hello()
        before = connections(agent)
        watch = asynchronous.watch()

        async def follow() -> None:
            async for record in watch:
                changes[str(record["account"])] = record

        changes: dict[str, dict[str, object]] = {}
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(follow)
            await anyio.to_thread.run_sync(until, lambda: len(changes) == 2)
            await anyio.wait_all_tasks_blocked()
            with pytest.raises(RuntimeError):
                await watch.aclose()
            tasks.cancel_scope.cancel()
        await anyio.to_thread.run_sync(until, lambda: connections(agent) == before)
        assert [record async for record in watch] == []


@pytest.mark.anyio
async def test_a_watch_runs_beside_other_tasks(agent: AgentProcess, client: Agent, provider: OpenIDProvider) -> None:
    changes: list[dict[str, object]] = []

    async def follow(asynchronous: AsyncAgent) -> None:
        async for record in asynchronous.watch(["work"]):
            changes.append(record)
            if record["refreshes"] == 1:
                return

    log_in(client, provider)
    async with AsyncAgent(str(agent.socket)) as asynchronous, anyio.create_task_group() as tasks:
        tasks.start_soon(follow, asynchronous)
        await anyio.to_thread.run_sync(until, lambda: changes)
        await asynchronous.refresh("work")
    assert [changes[0]["refreshes"], changes[-1]["refreshes"]] == [0, 1]


def test_a_blocking_watch_can_be_interrupted(agent: AgentProcess, client: Agent) -> None:
    records = client.watch()
    assert [next(records)["account"], next(records)["account"]] == ["work", "home"]
    main = threading.main_thread().ident
    assert main is not None
    timer = threading.Timer(0.2, lambda: signal.pthread_kill(main, signal.SIGINT))
    timer.start()
    with pytest.raises(KeyboardInterrupt):
        next(records)
    timer.join()
    assert list(records) == []
    assert agent.process.poll() is None


# ---- forks


def test_a_forked_child_watches_with_a_connection_of_its_own(
    agent: AgentProcess, watch: Watching, client: Agent, provider: OpenIDProvider
) -> None:
    log_in(client, provider)
    gaps: list[bool] = []
    records = watch(["work"], on_gap=gaps.append)
    assert next(records)["refreshes"] == 0
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:  # no pytest in here: whatever happens, this process ends
        code = 1
        try:
            changes = through(records, lambda one: one["refreshes"] == 1 and one["renewal"] == "idle")
            os.write(writing, str(len(changes)).encode())
            code = len(gaps)  # to fork is not one
        finally:
            os._exit(code)
    # The child does not affect the parent, whose connection is still good.
    client.refresh("work")
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert int(os.read(reading, 10)) >= 1
    changes = through(records, lambda one: one["refreshes"] == 1 and one["renewal"] == "idle")
    assert "running" in {one["renewal"] for one in changes}
    records.close()
    os.close(reading)
    os.close(writing)
    assert agent.process.poll() is None


def test_without_reconnect_a_forked_child_gets_an_error(watch: Watching) -> None:
    records = watch(["work"], reconnect=False)
    next(records)
    child = os.fork()
    if child == 0:
        code = 1
        try:
            with contextlib.suppress(ConnectionLost):
                next(records)
                os._exit(2)
            code = 0
        finally:
            os._exit(code)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    records.close()
