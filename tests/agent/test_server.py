"""The order of requests: a client with one request does not wait for those with many."""

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
