"""Reading many sockets by one callback of the event loop."""

import asyncio
import socket
from collections.abc import AsyncGenerator, Callable

import anyio
import anyio.lowlevel
import pytest

from auth_agent.ipc.readers import Readers, readers_in

pytestmark = pytest.mark.anyio


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


class Reader:
    """A socket that is read, and the other end."""

    def __init__(self, readers: Readers) -> None:
        self.own, self.peer = socket.socketpair()
        self.own.setblocking(False)
        self.data = b""
        self.after: Callable[[], object] = lambda: None
        readers.add_reader(self.own.fileno(), self.read)

    def read(self) -> None:
        self.data += self.own.recv(1)
        self.after()


@pytest.fixture
async def pair_of_readers() -> AsyncGenerator[tuple[Readers, Reader, Reader]]:
    readers = readers_in(asyncio.get_running_loop())
    one, other = Reader(readers), Reader(readers)
    with one.own, one.peer, other.own, other.peer:
        yield readers, one, other


async def until(condition: Callable[[], bool]) -> None:
    """Let the loop go on until the condition holds."""
    with anyio.fail_after(60):
        while not condition():
            await anyio.lowlevel.checkpoint()


async def test_each_is_called_as_often_as_there_is_something(
    pair_of_readers: tuple[Readers, Reader, Reader],
) -> None:
    _, one, other = pair_of_readers
    one.peer.send(b"abc")
    await until(lambda: one.data == b"abc")
    assert other.data == b""
    other.peer.send(b"d")
    await until(lambda: other.data == b"d")


async def test_one_that_another_has_removed_is_not_called(
    pair_of_readers: tuple[Readers, Reader, Reader],
) -> None:
    readers, one, other = pair_of_readers
    one.after = lambda: readers.remove_reader(other.own.fileno())
    other.after = lambda: readers.remove_reader(one.own.fileno())
    one.peer.send(b"a")
    other.peer.send(b"b")
    await until(lambda: one.data + other.data != b"")
    for _ in range(10):
        await anyio.lowlevel.checkpoint()
    assert one.data + other.data in (b"a", b"b")


async def test_a_defect_of_one_is_reported_and_the_others_are_read(
    pair_of_readers: tuple[Readers, Reader, Reader],
) -> None:
    def fail() -> None:
        raise ZeroDivisionError

    _, one, other = pair_of_readers
    defects: list[object] = []
    loop = asyncio.get_running_loop()
    loop.set_exception_handler(lambda _, context: defects.append(context["exception"]))
    one.after = other.after = fail
    one.peer.send(b"a")
    other.peer.send(b"b")
    await until(lambda: one.data + other.data in (b"ab", b"ba"))
    await until(lambda: len(defects) == 2)
    loop.set_exception_handler(None)
    assert {type(defect) for defect in defects} == {ZeroDivisionError}


async def test_hundreds_that_are_ready_at_once_are_all_read() -> None:
    readers = readers_in(asyncio.get_running_loop())
    many = [Reader(readers) for _ in range(400)]
    for each in many:
        each.peer.send(b"x")
    await until(lambda: all(each.data == b"x" for each in many))
    for each in many:
        readers.remove_reader(each.own.fileno())
        each.own.close()
        each.peer.close()
