"""The transport of a connection, over real sockets."""

import asyncio
import contextlib
import errno
import gc
import os
import socket
import struct
import weakref
from collections.abc import AsyncGenerator, Callable, Generator
from functools import partial

import anyio.lowlevel
import pytest

from auth_agent.ipc.readers import Readers, readers_in
from auth_agent.ipc.transport import Transport

pytestmark = pytest.mark.anyio

MAX_UNSENT = 64 * 1024
# More than the buffers of a socket pair hold.
LARGE = 4 << 20


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


class Recorder:
    """Records what a transport calls."""

    def __init__(self) -> None:
        self.data = b""
        self.calls: list[str] = []
        self.stays_open = False
        self.on_data: Callable[[], None] = lambda: None

    def data_received(self, data: bytes) -> None:
        self.data += data
        self.on_data()

    def eof_received(self) -> bool:
        self.calls.append("eof")
        return self.stays_open

    def pause_writing(self) -> None:
        self.calls.append("pause")

    def resume_writing(self) -> None:
        self.calls.append("resume")

    def connection_lost(self) -> None:
        self.calls.append("lost")


class Pair:
    """A transport, what it calls, its socket, and the peer's: non-blocking."""

    def __init__(self, own: socket.socket, peer: socket.socket, readers: Readers) -> None:
        self.own = own
        self.peer = peer
        own.setblocking(False)
        peer.setblocking(False)
        self.receiver = Recorder()
        self.transport = Transport(own, self.receiver, asyncio.get_running_loop(), readers, MAX_UNSENT)

    def has_more_than(self, size: int) -> bool:
        return len(self.receiver.data) > size

    @property
    def is_closed(self) -> bool:
        return self.own.fileno() == -1


@pytest.fixture(params=["the system's", "the loop"])
async def readers(request: pytest.FixtureRequest) -> Readers:
    """Return what reads on this system, and on one without epoll."""
    loop = asyncio.get_running_loop()
    return loop if request.param == "the loop" else readers_in(loop)


@pytest.fixture
async def pair(readers: Readers) -> AsyncGenerator[Pair]:
    """Yield a transport that has not been started."""
    own, peer = socket.socketpair()
    with own, peer:
        yield Pair(own, peer, readers)


async def until(condition: Callable[[], bool]) -> None:
    """Let the loop go on until the condition holds."""
    with anyio.fail_after(60):
        while not condition():
            await anyio.lowlevel.checkpoint()


async def read_all(peer: socket.socket, size: int) -> bytes:
    """Read that many bytes, or to the end."""
    data = b""
    with anyio.fail_after(60):
        while len(data) < size:
            await anyio.wait_readable(peer)
            more = peer.recv(1 << 20)
            if not more:
                break
            data += more
    return data


def fill(connection: socket.socket) -> None:
    """Send until the socket takes no more."""
    with contextlib.suppress(BlockingIOError):
        while True:
            connection.send(b"x")


async def quiet_rounds() -> None:
    """Let the loop do all that is due."""
    for _ in range(10):
        await anyio.lowlevel.checkpoint()


# ---- reading


async def test_what_came_before_the_start_is_read_by_it(pair: Pair) -> None:
    pair.peer.send(b"early")
    pair.transport.start()
    assert pair.receiver.data == b"early"


async def test_what_comes_after_the_start_is_read_in_order(pair: Pair) -> None:
    pair.transport.start()
    assert pair.receiver.data == b""
    for piece in (b"o", b"n", b"e"):
        before = len(pair.receiver.data)
        pair.peer.send(piece)
        await until(partial(pair.has_more_than, before))
    assert pair.receiver.data == b"one"


async def test_nothing_is_read_while_reading_is_paused(pair: Pair) -> None:
    pair.transport.start()
    pair.transport.pause_reading()
    pair.peer.send(b"later")
    await quiet_rounds()
    assert pair.receiver.data == b""
    pair.transport.resume_reading()
    await until(lambda: pair.receiver.data == b"later")


async def test_a_receiver_pauses_reading_from_within_its_first_call(pair: Pair) -> None:
    pair.receiver.on_data = pair.transport.pause_reading
    pair.peer.send(b"first")
    pair.transport.start()
    pair.peer.send(b"second")
    await quiet_rounds()
    assert pair.receiver.data == b"first"
    pair.transport.resume_reading()
    await until(lambda: pair.receiver.data == b"firstsecond")


# ---- writing


async def test_what_the_socket_does_not_take_is_sent_when_the_peer_reads(pair: Pair) -> None:
    pair.transport.start()
    data = bytes(range(256)) * (LARGE // 256)
    pair.transport.write(data)
    pair.transport.write(b"the end")
    assert pair.receiver.calls == ["pause"]
    assert await read_all(pair.peer, LARGE + 7) == data + b"the end"
    assert pair.receiver.calls == ["pause", "resume"]


async def test_what_is_written_later_follows_what_waits_though_the_socket_takes_it_now(pair: Pair) -> None:
    pair.transport.start()
    fill(pair.own)
    pair.transport.write(b"first")
    size = 0
    with contextlib.suppress(BlockingIOError):
        while True:
            size += len(pair.peer.recv(1 << 20))
    pair.transport.write(b"second")
    assert size > 0
    assert await read_all(pair.peer, 11) == b"firstsecond"


async def test_writing_is_paused_only_beyond_the_bound(pair: Pair) -> None:
    pair.transport.start()
    fill(pair.own)
    pair.transport.write(b"a" * MAX_UNSENT)
    assert pair.receiver.calls == []
    pair.transport.write(b"b")
    assert pair.receiver.calls == ["pause"]
    pair.transport.write(b"c")
    assert pair.receiver.calls == ["pause"]


async def test_a_peer_that_never_reads_can_be_left(pair: Pair) -> None:
    pair.transport.start()
    pair.transport.write(bytes(LARGE))
    await quiet_rounds()
    assert pair.receiver.calls == ["pause"]
    pair.transport.abort()
    await until(lambda: pair.is_closed)
    assert pair.receiver.calls == ["pause", "lost"]


# ---- the end


async def test_a_peer_that_closes_is_noticed(pair: Pair) -> None:
    pair.transport.start()
    pair.peer.close()
    await until(lambda: pair.is_closed)
    assert pair.receiver.calls == ["eof", "lost"]
    assert pair.transport.is_closing


async def test_a_peer_that_closed_before_the_start_is_read_to_its_end(pair: Pair) -> None:
    pair.peer.send(b"all")
    pair.peer.close()
    pair.transport.start()
    await until(lambda: pair.is_closed)
    assert pair.receiver.data == b"all"
    assert pair.receiver.calls == ["eof", "lost"]


async def test_a_peer_that_shut_down_its_side_still_gets_what_is_written(pair: Pair) -> None:
    pair.receiver.stays_open = True
    pair.transport.start()
    pair.peer.shutdown(socket.SHUT_WR)
    await until(lambda: pair.receiver.calls == ["eof"])
    await quiet_rounds()
    assert pair.receiver.calls == ["eof"]  # once, although the end stays readable
    pair.transport.write(b"answer")
    pair.transport.close()
    assert await read_all(pair.peer, 100) == b"answer"
    assert pair.receiver.calls == ["eof", "lost"]


async def test_what_is_unsent_when_a_peer_shut_down_its_side_is_sent_before_the_close(pair: Pair) -> None:
    pair.transport.start()
    pair.transport.write(bytes(LARGE))
    pair.peer.shutdown(socket.SHUT_WR)
    await until(lambda: pair.transport.is_closing)
    assert not pair.is_closed
    assert len(await read_all(pair.peer, LARGE + 1)) == LARGE
    await until(lambda: pair.is_closed)


async def test_a_close_comes_after_all_that_was_written(pair: Pair) -> None:
    pair.transport.start()
    pair.transport.write(bytes(LARGE))
    pair.transport.close()
    pair.transport.write(b"too late")
    assert len(await read_all(pair.peer, LARGE + 1)) == LARGE
    await until(lambda: pair.is_closed)
    assert pair.receiver.calls[-1] == "lost"


async def test_a_transport_that_is_closing_reads_no_more(pair: Pair) -> None:
    pair.transport.start()
    pair.transport.write(bytes(LARGE))
    pair.transport.close()
    pair.transport.resume_reading()
    pair.peer.send(b"too late")
    assert len(await read_all(pair.peer, LARGE)) == LARGE
    await until(lambda: pair.is_closed)
    assert pair.receiver.data == b""


async def test_a_close_ends_nothing_within_the_call(pair: Pair) -> None:
    pair.transport.start()
    pair.transport.close()
    pair.transport.close()
    assert pair.receiver.calls == []
    await until(lambda: pair.is_closed)
    assert pair.receiver.calls == ["lost"]


async def test_an_abort_does_not_wait_for_a_peer_that_does_not_read(pair: Pair) -> None:
    pair.transport.start()
    pair.transport.write(bytes(LARGE))
    pair.transport.close()
    await quiet_rounds()
    assert not pair.is_closed
    pair.transport.abort()
    pair.transport.abort()
    await until(lambda: pair.is_closed)
    assert pair.receiver.calls == ["pause", "lost"]


async def test_the_next_connection_with_the_same_descriptor_is_written_to(pair: Pair, readers: Readers) -> None:
    pair.transport.start()
    descriptor = pair.own.fileno()
    pair.transport.write(bytes(LARGE))
    pair.transport.abort()
    await until(lambda: pair.is_closed)
    own, peer = socket.socketpair()
    number = own.detach()
    if number != descriptor:
        os.dup2(number, descriptor)
        os.close(number)
    with peer, socket.socket(fileno=descriptor) as same:
        other = Pair(same, peer, readers)
        other.transport.start()
        other.transport.write(bytes(LARGE))
        assert len(await read_all(peer, LARGE)) == LARGE
        peer.send(b"read, too")
        await until(lambda: other.receiver.data == b"read, too")
        other.transport.abort()
        await until(lambda: other.is_closed)


async def test_a_write_to_a_peer_that_has_gone_ends_the_connection(pair: Pair) -> None:
    pair.transport.start()
    pair.transport.pause_reading()
    pair.peer.close()
    pair.transport.write(b"for nobody")  # EPIPE
    assert pair.transport.is_closing
    assert pair.receiver.calls == []
    await until(lambda: pair.is_closed)
    assert pair.receiver.calls == ["lost"]


async def test_a_peer_that_goes_while_much_is_unsent_ends_the_connection(pair: Pair) -> None:
    pair.transport.start()
    pair.transport.pause_reading()
    pair.transport.write(bytes(LARGE))
    pair.peer.close()
    await until(lambda: pair.is_closed)
    assert pair.receiver.calls == ["pause", "lost"]


async def test_a_reset_connection_ends(readers: Readers) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server, socket.create_connection(server.getsockname()) as peer:
        own, _ = server.accept()
        pair = Pair(own, peer, readers)
        pair.transport.start()
        peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        peer.close()
        await until(lambda: pair.is_closed)  # ECONNRESET
        assert pair.receiver.calls == ["lost"]


async def test_a_receiver_with_a_defect_loses_its_connection_and_the_loop_is_told(pair: Pair) -> None:
    def fail() -> None:
        raise ZeroDivisionError

    pair.transport.start()
    with defects() as found:
        pair.receiver.on_data = fail
        pair.peer.send(b"data")
        await until(lambda: pair.is_closed)
    assert [type(defect) for defect in found] == [ZeroDivisionError]
    assert pair.receiver.calls == ["lost"]


async def test_a_receiver_that_can_not_write_again_loses_its_connection_and_the_loop_is_told(
    pair: Pair, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail() -> None:
        raise ZeroDivisionError

    pair.transport.start()
    monkeypatch.setattr(pair.receiver, "resume_writing", fail)
    fill(pair.own)
    pair.transport.write(bytes(MAX_UNSENT + 1))
    with defects() as found:
        await read_all(pair.peer, LARGE)
    assert [type(defect) for defect in found] == [ZeroDivisionError]
    assert pair.is_closed
    assert pair.receiver.calls == ["pause", "lost"]


@contextlib.contextmanager
def defects() -> Generator[list[object]]:
    """Collect the exceptions that the loop is told of."""
    found: list[object] = []
    loop = asyncio.get_running_loop()
    loop.set_exception_handler(lambda _, context: found.append(context["exception"]))
    yield found
    loop.set_exception_handler(None)


def no_memory(*_: object) -> None:
    raise OSError(errno.ENOSPC, "beyond /proc/sys/fs/epoll/max_user_watches")


async def test_a_connection_that_can_not_be_watched_ends(
    pair: Pair, readers: Readers, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(readers, "add_reader", no_memory)
    pair.transport.start()
    assert pair.transport.is_closing
    await until(lambda: pair.is_closed)
    assert pair.receiver.calls == ["lost"]


async def test_a_connection_that_can_not_be_watched_again_ends(
    pair: Pair, readers: Readers, monkeypatch: pytest.MonkeyPatch
) -> None:
    pair.transport.start()
    pair.transport.pause_reading()
    monkeypatch.setattr(readers, "add_reader", no_memory)
    pair.transport.resume_reading()
    await until(lambda: pair.is_closed)
    assert pair.receiver.calls == ["lost"]


async def test_nothing_follows_a_part_of_a_message_whose_rest_can_not_be_sent(
    pair: Pair, monkeypatch: pytest.MonkeyPatch
) -> None:
    pair.transport.start()
    monkeypatch.setattr(asyncio.get_running_loop(), "add_writer", no_memory)
    pair.transport.write(b"a" * LARGE)
    pair.transport.write(b"b")
    assert set(await read_all(pair.peer, LARGE)) == {ord("a")}
    assert pair.is_closed
    assert pair.receiver.calls == ["lost"]


async def test_a_connection_that_is_over_is_freed_without_the_garbage_collector(readers: Readers) -> None:
    own, peer = socket.socketpair()
    with peer:
        pair = Pair(own, peer, readers)
        pair.receiver.on_data = pair.transport.pause_reading  # as a connection refers to its transport
        pair.transport.start()
        freed, transport = weakref.ref(pair.receiver), pair.transport
        del pair
        assert freed() is not None
        peer.close()
        gc.disable()
        try:
            await until(lambda: freed() is None)
        finally:
            gc.enable()
        assert transport.is_closing
