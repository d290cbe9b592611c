"""The order of requests, and who waits, watches and stays connected when there is no room for all."""

import asyncio
import contextlib
import errno
import os
import socket
import time
from collections.abc import AsyncGenerator, Callable, Generator
from pathlib import Path
from typing import Any, cast

import anyio
import anyio.lowlevel
import msgpack
import pytest

from auth_agent.ipc.connection import Caller, Later, Result, Waiting
from auth_agent.ipc.listener import Listener
from auth_agent.ipc.replies import Repeatable
from auth_agent.ipc.server import MAX_WAITING, MAX_WATCHING, Server
from auth_agent.sessions.background import Background
from auth_agent.sessions.rate_limit import Asker
from auth_agent_client import errors
from auth_agent_client.wire import Connection, Request

pytestmark = pytest.mark.anyio

MANY = 20
# The response to the request of id 1 whose result is true.
TRUE = b"\x94\x01\x01\xc0\xc3"
REQUESTS = 40
# Bytes that nobody holds for one client.
ENDLESS = 4 << 20


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


class SlowHandler:
    """Records its requests, and takes a millisecond for each, as a round does; `wait` has to wait."""

    def __init__(self) -> None:
        self.answered: list[str] = []

    def answer(self, caller: Caller, request: Request) -> Result | Later:
        assert caller.peer.uid == os.getuid()
        self.answered.append(request.method)
        time.sleep(0.001)
        return self._wait if request.method == "wait" else True

    async def _wait(self) -> Result:
        await anyio.sleep(0.001)
        return True

    def repeat(self, caller: Caller, data: bytes) -> bytes | None:
        pass

    def keep(self, request: Request, response: bytes, basis: Repeatable) -> None:
        raise AssertionError(request, response, basis)

    def record(self, account: str) -> dict[str, object] | None:
        raise AssertionError(account)

    def leave(self, caller: Caller) -> None:
        pass


@contextlib.contextmanager
def connected(path: Path) -> Generator[socket.socket]:
    with socket.socket(socket.AF_UNIX) as client:
        client.connect(os.fspath(path))
        client.setblocking(False)
        yield client


def requests(method: str, count: int) -> bytes:
    wire = Connection()
    return b"".join(wire.request(method, {})[1] for _ in range(count))


async def read_responses(client: socket.socket, count: int = 1) -> None:
    """Read that many responses."""
    size = 0
    while size < 5 * count:  # [1, id, nil, true]
        await anyio.wait_readable(client)
        size += len(client.recv(65536))


@pytest.mark.parametrize("method", ["respond", "wait"])
async def test_a_client_with_one_request_does_not_wait_for_clients_with_many(
    method: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)  # pytest makes it 0700; its path is too long for a socket's
    path, handler = Path("agent.sock"), SlowHandler()
    with contextlib.ExitStack() as stack:
        listener = stack.enter_context(Listener(path))
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(Server(listener.socket, handler, tasks).run)
            busy_clients = [stack.enter_context(connected(path)) for _ in range(MANY)]
            other_client = stack.enter_context(connected(path))
            other_client.send(requests("single", 1))
            await read_responses(other_client)
            for client in busy_clients:
                client.send(requests(method, REQUESTS))
            while len(handler.answered) < 2 * MANY:  # each of them got its first response
                await anyio.lowlevel.checkpoint()
            count = len(handler.answered)
            other_client.send(requests("single", 1))
            await read_responses(other_client)
            meanwhile = handler.answered[count : len(handler.answered) - handler.answered[::-1].index("single")]
            assert len(meanwhile) <= MANY // 2, meanwhile
            for client in busy_clients:
                await read_responses(client, REQUESTS)
            assert handler.answered.count(method) == MANY * REQUESTS  # no request was lost
            tasks.cancel_scope.cancel()


# ---- the first message


class PlainHandler(SlowHandler):
    """Answers at once."""

    def answer(self, caller: Caller, request: Request) -> Result | Later:  # noqa: ARG002 -- a handler's
        self.answered.append(request.method)
        return True


@contextlib.asynccontextmanager
async def serving(handler: SlowHandler) -> AsyncGenerator[Path]:
    """Serve in the current directory; yield the socket's path."""
    path = Path("agent.sock")
    with Listener(path) as listener:
        async with anyio.create_task_group() as tasks:
            server = Server(listener.socket, handler, tasks)
            tasks.start_soon(server.run)
            yield path
            await server.close()
            tasks.cancel_scope.cancel()


@pytest.mark.parametrize("pieces", [1, 2, 5])
@pytest.mark.parametrize("is_late", [False, True])
async def test_a_first_message_is_answered_whenever_and_however_it_comes(
    pieces: int, is_late: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    handler, message = PlainHandler(), requests("only", 1)
    size = -(-len(message) // pieces)
    async with serving(handler) as path:
        with connected(path) as client:
            if is_late:
                await let_it_rest()
            for start in range(0, len(message), size):
                client.send(message[start : start + size])
                if start:
                    await let_it_rest()
            await read_responses(client)
    assert handler.answered == ["only"]


async def test_a_client_that_sends_and_leaves_before_it_is_accepted_is_served(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    handler = PlainHandler()
    async with serving(handler) as path:
        for _ in range(3):
            with connected(path) as client:
                client.send(requests("only", 2))
        with connected(path) as client:
            client.send(requests("another's", 1))
            await read_responses(client)
    assert handler.answered.count("only") >= 3
    assert handler.answered[-1] == "another's"


async def test_clients_that_stay_silent_or_send_half_a_message_are_closed_and_others_stay(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("auth_agent.ipc.server.FIRST_MESSAGE", 1.0)
    async with serving(PlainHandler()) as path:
        with contextlib.ExitStack() as stack:
            speaking = stack.enter_context(connected(path))
            await let_it_rest()  # it is silent, too, at first
            speaking.send(requests("whole", 1))
            await read_responses(speaking)
            silent = [stack.enter_context(connected(path)) for _ in range(500)]
            for client in silent[::2]:
                client.send(requests("half", 1)[:-1])
            for client in silent:
                assert b"no complete message came" in await read_to_end(client)
            speaking.send(requests("whole", 1))
            speaking.shutdown(socket.SHUT_WR)
            assert await read_to_end(speaking) == TRUE


async def let_it_rest() -> None:
    """Let the server do all that is due."""
    for _ in range(20):
        await anyio.lowlevel.checkpoint()


async def until_full(handler: SlowHandler, more: Callable[[], object] = lambda: None) -> int:
    """Wait, doing `more` each time, until no more is answered, since nobody reads; return how many requests were."""
    before = -1
    while len(handler.answered) > before:
        before = len(handler.answered)
        more()
        await let_it_rest()
    return before


async def read_to_end(client: socket.socket) -> bytes:
    """Return all that a client gets until its connection ends."""
    data = b""
    with anyio.fail_after(60):
        while True:
            await anyio.wait_readable(client)
            more = client.recv(65536)
            if not more:
                return data
            data += more


# ---- accepting


async def test_a_lack_of_descriptors_is_logged_once_and_ends_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.chdir(tmp_path)
    error_codes = [errno.EMFILE, errno.ECONNABORTED, errno.ENFILE]
    accept = socket.socket.accept

    def accept_or_fail(self: socket.socket) -> tuple[socket.socket, object]:
        if error_codes:
            raise OSError(error_codes.pop(), "too many")
        return accept(self)

    async with serving(PlainHandler()) as path:
        monkeypatch.setattr(socket.socket, "accept", accept_or_fail)
        with connected(path) as client:
            client.send(requests("only", 1))
            await read_responses(client)
    assert error_codes == []
    assert caplog.text.count("accept error=too many") == 1


async def test_a_socket_that_can_not_accept_ends_the_server() -> None:
    unused: Any = None
    connected_socket, peer = socket.socketpair()
    with connected_socket, peer:
        connected_socket.setblocking(False)
        peer.send(b"data")
        with anyio.fail_after(60), pytest.raises(OSError, match="Invalid argument"):
            await Server(connected_socket, PlainHandler(), unused).run()


async def test_a_server_accepts_from_the_socket_that_took_the_place_of_another(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    handler = PlainHandler()
    with Listener(Path("agent.sock")) as listener:
        async with anyio.create_task_group() as tasks:
            server = Server(listener.socket, handler, tasks)
            tasks.start_soon(server.run)
            with connected(listener.path) as before:
                before.send(requests("before", 1))
                await read_responses(before)
                listener.path.unlink()
                assert listener.look()
                server.listen_on(listener.socket)
                with connected(listener.path) as after:
                    after.send(requests("after", 1))
                    await read_responses(after)
                before.send(requests("still there", 1))
                await read_responses(before)
            tasks.cancel_scope.cancel()
    assert handler.answered == ["before", "after", "still there"]


# ---- the same request again


class RepeatingHandler(SlowHandler):
    """Has each answer at hand: the request's own bytes, which takes a millisecond."""

    def repeat(self, caller: Caller, data: bytes) -> bytes | None:
        del caller
        self.answered.append("repeat")
        time.sleep(0.001)
        return data * 1000


async def test_a_request_whose_answer_is_at_hand_has_its_turn_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    handler, message = RepeatingHandler(), requests("same", 1)
    async with serving(handler) as path:
        with contextlib.ExitStack() as stack:
            clients = [stack.enter_context(connected(path)) for _ in range(MANY)]
            await let_it_rest()  # they are too many to be answered at once
            for client in clients:
                client.send(message)
            for client in clients[::2]:
                client.shutdown(socket.SHUT_WR)  # it still reads
            clients[1].close()
            for number, client in enumerate(clients):
                if number % 2 == 0:
                    assert await read_to_end(client) == message * 1000
                elif number > 1:
                    await read_bytes(client, len(message) * 1000)
            assert MANY - 1 <= len(handler.answered) <= MANY


async def test_requests_that_come_while_one_waits_for_its_turn_follow_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    handler = SlowHandler()
    async with serving(handler) as path:
        with contextlib.ExitStack() as stack:
            clients = [stack.enter_context(connected(path)) for _ in range(MANY)]
            await let_it_rest()
            first, second = requests("first", 1), requests("first", 2)[len(requests("first", 1)) :]
            for client in clients:
                client.send(first)
            while not handler.answered:  # then all were read, and most wait
                await anyio.lowlevel.checkpoint()
            for client in clients:
                client.send(second)
            with anyio.fail_after(10):
                for client in clients:
                    await read_responses(client, 2)
    assert len(handler.answered) == 2 * MANY


async def test_a_client_whose_answers_are_at_hand_is_not_silent(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("auth_agent.ipc.server.FIRST_MESSAGE", 0.2)
    message = requests("same", 1)
    async with serving(RepeatingHandler()) as path:
        with connected(path) as speaking, connected(path) as silent:
            speaking.send(message)
            await read_bytes(speaking, len(message) * 1000)
            assert b"no complete message came" in await read_to_end(silent)
            speaking.send(message)
            await read_bytes(speaking, len(message) * 1000)


async def test_a_client_that_sends_for_ever_and_does_not_read_is_not_read_for_ever(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    handler, message = LongHandler(), requests("long", 1000)
    async with serving(handler) as path:
        with connected(path) as client:
            client.send(message)
            await until_full(handler)
            sent, before = 0, -1
            while sent > before:
                before = sent
                with contextlib.suppress(BlockingIOError):
                    while sent < ENDLESS:
                        sent += client.send(message)
                await let_it_rest()
            assert sent < ENDLESS


class LeavingHandler(SlowHandler):
    """Has clients wait for ever, and counts those that left."""

    def __init__(self) -> None:
        super().__init__()
        self.left = 0

    async def _wait(self) -> Result:
        return await never()

    def leave(self, caller: Caller) -> None:
        assert caller.peer.pid == os.getpid()
        self.left += 1


@pytest.mark.parametrize("method", [None, "respond", "wait"])
async def test_a_client_that_leaves_is_forgotten_whatever_it_waits_for(
    method: str | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    handler = LeavingHandler()
    async with serving(handler) as path:
        with connected(path) as client:
            if method is not None:
                client.send(requests(method, 1))
            await let_it_rest()
            assert handler.answered == ([] if method is None else [method])
            assert handler.left == 0
        with anyio.fail_after(10):
            while handler.left == 0:
                await anyio.lowlevel.checkpoint()
    assert handler.left == 1


class DefectiveHandler(PlainHandler):
    """Fails to look for an answer at hand, and to return the record of one account; all clients watch."""

    def __init__(self) -> None:
        super().__init__()
        self.clients: list[Caller] = []

    def answer(self, caller: Caller, request: Request) -> Result | Later:
        caller.watch(None)
        self.clients.append(caller)
        return super().answer(caller, request)

    def repeat(self, caller: Caller, data: bytes) -> bytes | None:
        raise ZeroDivisionError(caller, data)

    def record(self, account: str) -> dict[str, object] | None:
        return {"account": account, "left": 1 // len(account)}


async def test_a_defect_in_what_is_at_hand_costs_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    async with serving(DefectiveHandler()) as path:
        with connected(path) as client:
            client.send(requests("watch", 1))
            await read_responses(client)


async def test_a_client_that_can_not_be_notified_loses_its_connection_and_others_are_notified(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    handler = DefectiveHandler()
    defects: list[object] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: defects.append(context["exception"]))
    async with serving(handler) as path:
        with connected(path) as one, connected(path) as other:
            for client in (one, other):
                client.send(requests("watch", 1))
                await read_responses(client)
            handler.clients[0].changed("")
            handler.clients[1].changed("work")
            assert await read_to_end(one) == b""
            assert b"work" in await read_some(other)
            handler.clients[1].changed("home")
            assert b"home" in await read_some(other)
    asyncio.get_running_loop().set_exception_handler(None)
    assert [type(defect) for defect in defects] == [ZeroDivisionError]


async def read_some(client: socket.socket) -> bytes:
    """Return what a client gets next."""
    with anyio.fail_after(10):
        await anyio.wait_readable(client)
    return client.recv(65536)


async def test_a_client_that_does_not_read_its_answers_gets_no_more_of_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    handler, message = RepeatingHandler(), requests("same", 1)
    async with serving(handler) as path:
        with connected(path) as client:
            count = await until_full(handler, lambda: client.send(message))
            await read_bytes(client, (count + 1) * len(message) * 1000)
            assert handler.answered == ["repeat"] * (count + 1)


class LongHandler(SlowHandler):
    """Has a long answer to each request."""

    def answer(self, caller: Caller, request: Request) -> Result | Later:  # noqa: ARG002 -- a handler's
        self.answered.append(request.method)
        return {"long": "x" * 1000}


async def test_a_client_that_sends_no_more_gets_all_answers_though_it_reads_late(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    handler, count = LongHandler(), 2000
    async with serving(handler) as path:
        with connected(path) as client:
            client.send(requests("long", count))
            assert await until_full(handler) < count
            client.shutdown(socket.SHUT_WR)
            await let_it_rest()
            unpacker = msgpack.Unpacker()
            unpacker.feed(await read_to_end(client))
            assert len(list(unpacker)) == count


class WatchedHandler(LongHandler):
    """Lets one client watch."""

    watching: Caller

    def answer(self, caller: Caller, request: Request) -> Result | Later:
        if request.method == "watch":
            self.watching = caller
            caller.watch(None)
        return super().answer(caller, request)

    def record(self, account: str) -> dict[str, object] | None:
        return {"account": account}


async def test_a_client_that_did_not_read_is_notified_when_it_reads(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    handler = WatchedHandler()
    async with serving(handler) as path:
        with connected(path) as client:
            client.send(requests("watch", 1))
            await read_some(client)
            client.send(requests("long", 1000))
            await until_full(handler)
            handler.watching.changed("work")
            await let_it_rest()
            unpacker, messages = msgpack.Unpacker(), list[object]()
            while [2, "changed", [{"account": "work"}]] not in messages:
                unpacker.feed(await read_some(client))
                messages = list(unpacker)


async def read_bytes(client: socket.socket, size: int) -> None:
    """Read that many bytes."""
    with anyio.fail_after(60):
        while size > 0:
            await anyio.wait_readable(client)
            data = client.recv(65536)
            assert data
            size -= len(data)
    assert size == 0


# ---- waiting


async def never() -> Result:
    await anyio.sleep_forever()
    return True


def waiting(program: str, method: str = "token", later: Later = never, *, is_at_terminal: bool = False) -> Waiting:
    return Waiting(Asker(program, is_at_terminal), method, later)


def full_server(weight: int = MAX_WAITING // 8) -> tuple[Server, list[Waiting]]:
    """Return a server in which one program has all waiting requests that there may be."""
    unused: Any = None
    server, waits = Server(unused, unused, unused), list[Waiting]()
    while len(waits) < MAX_WAITING // weight:
        waits.append(waiting("greedy"))
        server.begin_waiting(waits[-1], weight)
    return server, waits


async def test_no_more_requests_wait_than_there_is_memory_for() -> None:
    server, waits = full_server()
    with pytest.raises(errors.Unavailable):
        server.begin_waiting(waiting("greedy"), 1)
    server.end_waiting(waits[0])
    server.begin_waiting(waiting("greedy"), 1)
    assert not any(each.gave_way for each in waits)


async def test_a_request_of_another_program_waits_and_the_newest_of_the_largest_does_not() -> None:
    server, waits = full_server()
    server.begin_waiting(waiting("modest"), MAX_WAITING // 8)
    assert [each.gave_way for each in waits] == [False] * 7 + [True]


@pytest.mark.parametrize("urgent", [{"method": "login"}, {"method": "logout"}, {"is_at_terminal": True}])
async def test_a_person_and_a_login_and_a_logout_wait_also_in_a_greedy_program(urgent: dict[str, Any]) -> None:
    server, waits = full_server()
    server.begin_waiting(waiting("greedy", **urgent), 1)
    assert sum(each.gave_way for each in waits) == 1


async def test_work_that_goes_on_without_its_client_does_not_give_way() -> None:
    unused: Any = None
    server = Server(unused, unused, unused)
    detached = waiting("greedy", later=Background(unused).detached("greedy", never))
    server.begin_waiting(detached, MAX_WAITING)
    with pytest.raises(errors.Unavailable):
        server.begin_waiting(waiting("modest"), 1)
    assert not detached.gave_way


async def test_one_program_after_the_other_has_its_turn() -> None:
    unused: Any = None
    server, turns = Server(unused, unused, unused), list[str]()

    async def take_turn(program: str) -> None:
        await server.wait_for_turn(waiting(program))
        turns.append(program)

    async with anyio.create_task_group() as tasks:
        for program in ["greedy"] * 50 + ["modest"]:
            tasks.start_soon(take_turn, program)
    assert turns.index("modest") <= 1
    assert turns.count("greedy") == 50


class LastingHandler(SlowHandler):
    """Does work that goes on when its client leaves."""

    def __init__(self, background: Background) -> None:
        super().__init__()
        self.work = background.detached("a program", self._work)
        self.may_end = anyio.Event()

    def answer(self, caller: Caller, request: Request) -> Result | Later:
        super().answer(caller, request)
        return self.work

    async def _work(self) -> Result:
        await self.may_end.wait()
        return True


async def test_a_request_counts_until_its_work_is_over_also_when_its_client_has_left(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    unused: Any = None
    background = Background(unused)
    handler = LastingHandler(background)
    with Listener(Path("agent.sock")) as listener:
        async with anyio.create_task_group() as tasks:
            background.run_in(tasks)
            server = Server(listener.socket, handler, tasks)
            tasks.start_soon(server.run)
            with connected(Path("agent.sock")) as client:
                client.send(requests("wait", 1))
                while background.is_idle:
                    await anyio.lowlevel.checkpoint()
            for _ in range(100):
                await anyio.lowlevel.checkpoint()
            most = waiting("another program")
            with pytest.raises(errors.Unavailable):
                server.begin_waiting(most, MAX_WAITING)
            handler.may_end.set()
            await handler.work.wait_until_over()
            for _ in range(10):
                await anyio.lowlevel.checkpoint()
            server.begin_waiting(most, MAX_WAITING)
            tasks.cancel_scope.cancel()


# ---- watching


class Watcher:
    """A connection that watches."""

    def __init__(self, program: str, *, is_at_terminal: bool = False) -> None:
        self.asker = Asker(program, is_at_terminal)
        self.code: str | None = None

    def hang_up(self, reason: str, code: str) -> None:
        assert reason
        self.code = code


def watch(server: Server, program: str, **more: bool) -> Watcher:
    watcher: Any = Watcher(program, **more)
    server.begin_watching(watcher)
    return cast("Watcher", watcher)


async def test_another_program_and_a_person_may_watch_when_a_program_has_all_watches() -> None:
    unused: Any = None
    server = Server(unused, unused, unused)
    greedy = [watch(server, "greedy") for _ in range(MAX_WATCHING)]
    with pytest.raises(errors.Unavailable):
        watch(server, "greedy")
    assert not any(each.code for each in greedy)
    modest = watch(server, "modest")
    person = watch(server, "greedy", is_at_terminal=True)
    assert [each.code for each in greedy[-3:]] == [None, "unavailable", "unavailable"]
    assert (modest.code, person.code) == (None, None)


async def test_a_client_that_watches_again_has_one_watch() -> None:
    unused: Any = None
    server = Server(unused, unused, unused)
    watcher: Any = Watcher("greedy")
    for _ in range(MAX_WATCHING + 1):
        server.begin_watching(watcher)
