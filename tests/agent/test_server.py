"""Who is answered when: a client with one request does not wait for those with many."""

import contextlib
import os
import socket
import time
from collections.abc import Generator
from pathlib import Path

import anyio
import anyio.lowlevel
import pytest

from auth_agent.ipc.connection import Caller, Later, Result
from auth_agent.ipc.listener import Listener
from auth_agent.ipc.server import Server
from auth_agent_client.wire import Connection, Request

pytestmark = pytest.mark.anyio

MANY = 20
REQUESTS = 40


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


class SlowHandler:
    """Takes a millisecond for each answer, as a round does, and counts them; `wait` is one that has to wait."""

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


async def read(client: socket.socket, count: int = 1) -> None:
    """Read so many answers."""
    size = 0
    while size < 5 * count:  # [1, id, nil, true]
        await anyio.wait_readable(client)
        size += len(client.recv(65536))


@pytest.mark.parametrize("method", ["answer", "wait"])
async def test_who_has_one_request_does_not_wait_for_those_who_have_many(
    method: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)  # pytest makes it 0700; its path is too long for a socket's
    place, handler = Path("agent.sock"), SlowHandler()
    with contextlib.ExitStack() as stack:
        listener = stack.enter_context(Listener(place))
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(Server(listener.socket, handler, tasks).run)
            greedy = [stack.enter_context(connected(place)) for _ in range(MANY)]
            modest = stack.enter_context(connected(place))
            modest.send(requests("modest", 1))
            await read(modest)
            for client in greedy:
                client.send(requests(method, REQUESTS))
            while len(handler.answered) < 2 * MANY:  # each of them has had its first one
                await anyio.lowlevel.checkpoint()
            begun = len(handler.answered)
            modest.send(requests("modest", 1))
            await read(modest)
            meanwhile = handler.answered[begun : len(handler.answered) - handler.answered[::-1].index("modest")]
            assert len(meanwhile) <= MANY // 2, meanwhile
            for client in greedy:
                await read(client, REQUESTS)
            assert handler.answered.count(method) == MANY * REQUESTS  # and nobody was forgotten
            tasks.cancel_scope.cancel()
