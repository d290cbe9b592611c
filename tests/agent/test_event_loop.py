"""The look-up of names in the agent's event loop, with real threads, where the resolver hangs for some names."""

import socket
import threading
from collections.abc import Generator
from typing import Any

import anyio
import pytest

from auth_agent.host.event_loop import EventLoop
from tests.agent.threads import without_threads

pytestmark = pytest.mark.anyio
ADDRESS = [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("192.0.2.1", 443))]


@pytest.fixture
def anyio_backend() -> tuple[str, dict[str, Any]]:
    return "asyncio", {"loop_factory": EventLoop}


class Names:
    """A resolver of the system that knows no name below `.invalid`, and hangs for those below `.hangs`."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.released = threading.Event()

    def getaddrinfo(self, host: bytes | str, *_: object) -> list[Any]:
        name = host if isinstance(host, str) else host.decode()
        self.asked.append(name)
        if name.endswith(".hangs"):
            self.released.wait()
        if name.endswith(".invalid"):
            raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")
        return ADDRESS


@pytest.fixture
def names(monkeypatch: pytest.MonkeyPatch) -> Generator[Names, None, None]:
    result = Names()
    monkeypatch.setattr(socket, "getaddrinfo", result.getaddrinfo)
    yield result
    result.released.set()


async def look_up(name: str) -> list[Any]:
    """Look a name up as a connection does (`anyio.connect_tcp`)."""
    return await anyio.getaddrinfo(name, 443, type=socket.SOCK_STREAM)


async def test_a_name_is_looked_up_each_time(names: Names) -> None:
    assert await look_up("id.example") == ADDRESS
    assert await look_up("id.example") == ADDRESS
    assert names.asked == ["id.example", "id.example"]


async def test_all_who_ask_at_once_share_a_look_up(names: Names) -> None:
    results: list[list[Any]] = []

    async def ask() -> None:
        results.append(await look_up("id.hangs"))

    async with anyio.create_task_group() as tasks:
        for _ in range(50):
            tasks.start_soon(ask)
        await anyio.wait_all_tasks_blocked()
        names.released.set()
    assert results == [ADDRESS] * 50
    assert names.asked == ["id.hangs"]


@pytest.mark.usefixtures("names")
async def test_names_that_hang_delay_no_other() -> None:
    async with anyio.create_task_group() as tasks:
        for n in range(100):
            tasks.start_soon(look_up, f"{n}.hangs")
        await anyio.wait_all_tasks_blocked()
        assert await look_up("id.example") == ADDRESS
        tasks.cancel_scope.cancel()


async def test_one_who_leaves_takes_nobodys_look_up_along(names: Names) -> None:
    results: list[list[Any]] = []

    async def ask() -> None:
        results.append(await look_up("id.hangs"))

    async with anyio.create_task_group() as tasks:
        first = anyio.CancelScope()

        async def leave() -> None:
            with first:
                await look_up("id.hangs")

        tasks.start_soon(leave)
        await anyio.wait_all_tasks_blocked()
        tasks.start_soon(ask)
        await anyio.wait_all_tasks_blocked()
        first.cancel()
        await anyio.wait_all_tasks_blocked()
        names.released.set()
    assert results == [ADDRESS]
    assert names.asked == ["id.hangs"]


@pytest.mark.usefixtures("names")
async def test_a_name_without_an_address_is_an_error() -> None:
    for _ in range(2):
        with pytest.raises(socket.gaierror, match="not known"):
            await look_up("id.invalid")


async def test_a_thread_that_can_not_start_is_an_error_of_that_look_up() -> None:
    with without_threads(), pytest.raises(OSError, match="thread"):
        await look_up("localhost")
    assert await look_up("localhost")


@pytest.mark.usefixtures("names")
def test_a_name_that_hangs_does_not_delay_the_end() -> None:
    async def main() -> None:
        with anyio.move_on_after(0):
            await look_up("id.hangs")

    anyio.run(main, backend_options={"loop_factory": EventLoop})
