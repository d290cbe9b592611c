"""The redirect's listener, over real sockets: what it answers, what it refuses, and that nobody disturbs anybody."""

import errno
import logging
import socket
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import ExitStack, asynccontextmanager
from typing import NamedTuple

import anyio
import anyio.abc
import pytest

from auth_agent.loopback import connection, listener as listening
from auth_agent.loopback.http_request import MAX_REQUEST
from auth_agent.loopback.listener import MAX_ANSWERS, MAX_CONNECTIONS, PortsTakenError, RedirectListener
from auth_agent.loopback.page import CONTENT_SECURITY_POLICY, Page

pytestmark = pytest.mark.anyio

QUERY = "code=hunter2&state=s%20s"
PATIENCE = 30.0


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


class Login:
    """Stands for what waits for the redirect: it notes the queries, and answers when it is let."""

    def __init__(self) -> None:
        self.queries: list[str] = []
        self.finished: list[str] = []
        self.may_answer = anyio.Event()
        self.may_answer.set()
        self._stirred = anyio.Event()

    def hold(self) -> None:
        self.may_answer = anyio.Event()

    async def answer(self, query: str) -> Page:
        self.queries.append(query)
        self._stirred.set()
        await self.may_answer.wait()
        if "defect" in query:
            raise RuntimeError(f"canary {query}")
        self.finished.append(query)
        return Page(200, f"the page for {len(query)} characters".encode())

    async def has_been_asked(self, times: int = 1) -> None:
        with anyio.fail_after(PATIENCE):
            while len(self.queries) < times:
                self._stirred = anyio.Event()
                await self._stirred.wait()


class Answer(NamedTuple):
    """What came back on a connection, until it was closed."""

    status: int
    headers: dict[str, str]
    body: bytes


@pytest.fixture
async def login() -> Login:
    return Login()


@asynccontextmanager
async def serving(
    answer: Callable[[str], Awaitable[Page]], *ports: int
) -> AsyncGenerator[tuple[RedirectListener, anyio.abc.TaskGroup], None]:
    one = RedirectListener(ports or (0,))
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(one.serve, answer)
        try:
            yield one, tasks
        finally:
            await one.aclose()


@pytest.fixture
async def listener(login: Login) -> AsyncGenerator[RedirectListener]:
    async with serving(login.answer) as (one, _):
        yield one
        login.may_answer.set()


async def until(condition: Callable[[], bool]) -> None:
    with anyio.fail_after(PATIENCE):
        while not condition():  # noqa: ASYNC110 -- what the other end of a socket does has no event here
            await anyio.sleep(0.01)


async def connect(listener: RedirectListener) -> anyio.abc.SocketStream:
    return await anyio.connect_tcp("127.0.0.1", listener.port)


async def read_all(stream: anyio.abc.SocketStream) -> bytes:
    """What comes until the connection is closed; also where it is broken after that."""
    received = b""
    with anyio.fail_after(PATIENCE):
        try:
            while True:
                received += await stream.receive()
        except anyio.EndOfStream:
            return received


async def read(stream: anyio.abc.SocketStream) -> Answer:
    head, _, body = (await read_all(stream)).partition(b"\r\n\r\n")
    status, *lines = head.decode().split("\r\n")
    return Answer(int(status.split(" ")[1]), dict(line.split(": ", 1) for line in lines), body)


def request(
    listener: RedirectListener, target: str = f"/callback?{QUERY}", method: str = "GET", host: str | None = None
) -> bytes:
    return f"{method} {target} HTTP/1.1\r\nHost: {host or f'127.0.0.1:{listener.port}'}\r\n\r\n".encode()


async def say(listener: RedirectListener, said: bytes) -> Answer:
    async with await connect(listener) as stream:
        await stream.send(said)
        return await read(stream)


# ---- what is answered


async def test_a_redirect_s_query_is_answered_as_it_came(listener: RedirectListener, login: Login) -> None:
    assert listener.redirect_uri == f"http://127.0.0.1:{listener.port}/callback"
    answer = await say(listener, request(listener))
    assert (answer.status, answer.body) == (200, b"the page for 24 characters")
    assert login.queries == [QUERY]


async def test_the_page_s_headers_let_it_do_nothing_and_keep_it_nowhere(listener: RedirectListener) -> None:
    assert (await say(listener, request(listener))).headers == {
        "Content-Type": "text/html; charset=utf-8",
        "Content-Length": "26",
        "Cache-Control": "no-store",
        "Referrer-Policy": "no-referrer",
        "X-Content-Type-Options": "nosniff",
        "Content-Security-Policy": CONTENT_SECURITY_POLICY,
        "Connection": "close",
    }


@pytest.mark.parametrize(("target", "query"), [("/callback", ""), ("/callback?", ""), ("/callback??a=/b?", "?a=/b?")])
async def test_whatever_the_query_is_it_is_asked_about(
    listener: RedirectListener, login: Login, target: str, query: str
) -> None:
    assert (await say(listener, request(listener, target))).status == 200
    assert login.queries == [query]


async def test_a_request_in_pieces_is_a_request(listener: RedirectListener, login: Login) -> None:
    async with await connect(listener) as stream:
        for byte in request(listener):
            await stream.send(bytes([byte]))
        assert (await read(stream)).status == 200
    assert login.queries == [QUERY]


async def test_a_second_request_on_a_connection_is_none(listener: RedirectListener, login: Login) -> None:
    assert (await say(listener, request(listener) * 2)).status == 200
    assert login.queries == [QUERY]


async def test_several_redirects_are_answered_at_once(listener: RedirectListener, login: Login) -> None:
    login.hold()
    async with await connect(listener) as first, await connect(listener) as second:
        for stream in (first, second):
            await stream.send(request(listener))
        await login.has_been_asked(2)
        assert (await say(listener, request(listener, "/favicon.ico"))).status == 404
        login.may_answer.set()
        assert [(await read(stream)).status for stream in (first, second)] == [200, 200]


async def test_a_large_page_gets_out_whole() -> None:
    async def answer(_: str) -> Page:
        return Page(200, b"x" * 10_000_000)

    async with serving(answer) as (listener, _):
        assert len((await say(listener, request(listener))).body) == 10_000_000


# ---- what is refused


def refusals(port: int) -> dict[str, tuple[int, bytes]]:
    def said(line: str, *headers: str) -> bytes:
        return "\r\n".join([line, *headers, "", ""]).encode("latin-1")

    good, host = "GET /callback?code=hunter2 HTTP/1.1", f"Host: 127.0.0.1:{port}"
    return {
        "another host": (421, said(good, "Host: evil.example")),
        "another host, this port": (421, said(good, f"Host: evil.example:{port}")),
        "localhost": (421, said(good, f"Host: localhost:{port}")),
        "no port": (421, said(good, "Host: 127.0.0.1")),
        "another port": (421, said(good, f"Host: 127.0.0.1:{port}0")),
        "a name that begins so": (421, said(good, f"{host}.evil.example")),
        "a user": (421, said(good, f"Host: x@127.0.0.1:{port}")),
        "two hosts": (400, said(good, host, host)),
        "a good host and another": (400, said(good, host, "Host: evil.example")),
        "no host": (400, said(good)),
        "no host in HTTP/1.0": (421, said("GET /callback HTTP/1.0")),
        "an empty host": (421, said(good, "Host:")),
        "a whole address": (400, said(f"GET http://127.0.0.1:{port}/callback?code=hunter2 HTTP/1.1", host)),
        "a whole address elsewhere": (400, said("GET http://evil.example/callback HTTP/1.1", host)),
        "a star": (400, said("GET * HTTP/1.1", host)),
        "a path without its slash": (400, said("GET callback HTTP/1.1", host)),
        "POST": (405, said("POST /callback?code=hunter2 HTTP/1.1", host)),
        "POST with a body": (405, said("POST /callback HTTP/1.1", host, "Content-Length: 5") + b"code="),
        "PUT": (405, said("PUT /callback HTTP/1.1", host)),
        "OPTIONS": (405, said("OPTIONS /callback HTTP/1.1", host, "Access-Control-Request-Private-Network: true")),
        "get": (405, said("get /callback HTTP/1.1", host)),
        "CONNECT": (405, said(f"CONNECT 127.0.0.1:{port} HTTP/1.1", host)),
        "favicon": (404, said("GET /favicon.ico HTTP/1.1", host)),
        "root": (404, said("GET / HTTP/1.1", host)),
        "below": (404, said("GET /callback/?code=hunter2 HTTP/1.1", host)),
        "capitals": (404, said("GET /Callback?code=hunter2 HTTP/1.1", host)),
        "two slashes": (404, said("GET //callback?code=hunter2 HTTP/1.1", host)),
        "dots": (404, said("GET /x/../callback?code=hunter2 HTTP/1.1", host)),
        "an escape": (404, said("GET /%63allback?code=hunter2 HTTP/1.1", host)),
        "a parameter": (404, said("GET /callback;x?code=hunter2 HTTP/1.1", host)),
        "a body": (400, said(good, host, "Content-Length: 5") + b"hello"),
        "a body to come": (400, said(good, host, "Content-Length: 5")),
        "chunks": (400, said(good, host, "Transfer-Encoding: chunked")),
        "a length that is none": (400, said(good, host, "Content-Length: x")),
        "a header's space": (400, said(good, host, "X : y")),
        "no version": (400, said("GET /callback?code=hunter2", host)),
        "HTTP/2": (421, b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"),
        "TLS": (400, b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(200)),
        "a byte beyond ASCII": (400, said("GET /callback?code=hunter2\xe9 HTTP/1.1", host)),
        "garbage": (400, b"hunter2\r\n\r\n"),
    }


@pytest.mark.parametrize("what", refusals(0))
async def test_what_is_no_redirect_is_refused_and_disturbs_nothing(
    listener: RedirectListener, login: Login, caplog: pytest.LogCaptureFixture, what: str
) -> None:
    caplog.set_level(logging.DEBUG, "auth_agent")
    login.hold()
    async with await connect(listener) as waiting:
        await waiting.send(request(listener, "/callback?first"))
        await login.has_been_asked()
        status, said = refusals(listener.port)[what]
        answer = await say(listener, said)
        assert answer.status == status
        assert answer.headers["Content-Security-Policy"] == CONTENT_SECURITY_POLICY
        assert answer.body.startswith(b"<!DOCTYPE html>")
        assert b"hunter2" not in answer.body
        login.may_answer.set()
        assert (await read(waiting)).status == 200
    assert login.queries == ["first"]
    assert "hunter2" not in caplog.text


async def test_a_head_is_refused_without_a_body(listener: RedirectListener, login: Login) -> None:
    answer = await say(listener, request(listener, method="HEAD"))
    assert (answer.status, answer.body, answer.headers["Allow"]) == (405, b"", "GET")
    assert login.queries == []


def large(listener: RedirectListener, size: int) -> bytes:
    """A request of that size, by its cookies."""
    whole = request(listener)
    return whole[:-2] + b"Cookie: " + b"c" * (size - len(whole) - len(b"Cookie: \r\n")) + b"\r\n\r\n"


async def test_the_cookies_of_all_that_a_host_serves_have_room(listener: RedirectListener) -> None:
    assert (await say(listener, large(listener, MAX_REQUEST - 1))).status == 200


@pytest.mark.parametrize("size", [MAX_REQUEST + 1, MAX_REQUEST + 20_000, 10 * MAX_REQUEST])
async def test_a_request_that_is_too_large_is_told_so(listener: RedirectListener, login: Login, size: int) -> None:
    assert (await say(listener, large(listener, size))).status == 431
    assert login.queries == []


async def test_a_line_without_an_end_is_too_large_some_time(listener: RedirectListener) -> None:
    assert (await say(listener, b"GET /" + b"a" * MAX_REQUEST)).status == 431


async def test_many_small_headers_are_too_large_together(listener: RedirectListener) -> None:
    headers = b"".join(b"X-%d: y\r\n" % number for number in range(20_000))
    assert (await say(listener, request(listener)[:-2] + headers + b"\r\n")).status == 431


@pytest.mark.parametrize("said", [b"", b"G", b"GET /callback?code=hunter2 HTTP/1.1\r\nHost: 127"])
async def test_half_a_request_is_waited_for_no_longer_than_its_time(
    listener: RedirectListener, login: Login, monkeypatch: pytest.MonkeyPatch, said: bytes
) -> None:
    monkeypatch.setattr(connection, "REQUEST_WITHIN", 0.2)
    async with await connect(listener) as stream:
        if said:
            await stream.send(said)
            assert (await read(stream)).status == 408
        else:
            assert await read_all(stream) == b""  # opened ahead of time, by a browser that found no use for it
    assert login.queries == []


@pytest.mark.parametrize("said", [b"", b"GET /callback?code=hunter2 HTTP/1.1\r\nHost: 127"])
async def test_who_leaves_with_half_a_request_is_let_go(listener: RedirectListener, login: Login, said: bytes) -> None:
    for _ in range(2 * MAX_CONNECTIONS):
        async with await connect(listener) as stream:
            if said:
                await stream.send(said)
    assert (await say(listener, request(listener))).status == 200
    assert login.queries == [QUERY]


# ---- many at once


async def test_of_many_silent_connections_the_oldest_makes_room(listener: RedirectListener, login: Login) -> None:
    streams = [await connect(listener) for _ in range(3 * MAX_CONNECTIONS)]
    await streams[-1].send(request(listener))
    assert (await read(streams[-1])).status == 200
    assert await read_all(streams[0]) == b""
    assert login.queries == [QUERY]
    for stream in streams:
        await stream.aclose()


async def test_a_flood_does_not_drop_who_waits_for_an_answer(listener: RedirectListener, login: Login) -> None:
    login.hold()
    async with await connect(listener) as waiting:
        await waiting.send(request(listener))
        await login.has_been_asked()
        for _ in range(3):
            streams = [await connect(listener) for _ in range(MAX_CONNECTIONS)]
            assert (await say(listener, request(listener, "/"))).status == 404
            for stream in streams:
                await stream.aclose()
        login.may_answer.set()
        assert (await read(waiting)).status == 200


async def test_where_all_wait_for_an_answer_there_is_no_room(listener: RedirectListener, login: Login) -> None:
    login.hold()
    streams = [await connect(listener) for _ in range(MAX_CONNECTIONS)]
    for stream in streams:
        await stream.send(request(listener))
    await login.has_been_asked(MAX_CONNECTIONS)
    async with await connect(listener) as late:
        assert await read_all(late) == b""
    login.may_answer.set()
    assert [(await read(stream)).status for stream in streams] == [200] * MAX_CONNECTIONS
    for stream in streams:
        await stream.aclose()


async def test_who_asks_and_leaves_over_and_over_fills_nothing(listener: RedirectListener, login: Login) -> None:
    login.hold()
    for number in range(1, MAX_ANSWERS + 1):
        async with await connect(listener) as stream:
            await stream.send(request(listener))
            await login.has_been_asked(number)
    assert (await say(listener, request(listener))).status == 503
    assert len(login.queries) == MAX_ANSWERS
    login.may_answer.set()
    await until(lambda: len(login.finished) == MAX_ANSWERS)
    assert (await say(listener, request(listener))).status == 200


async def test_no_descriptors_left_is_no_end(
    listener: RedirectListener, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    fails = [errno.EMFILE, errno.ECONNABORTED, errno.EMFILE]
    accept = socket.socket.accept

    def accept_or_fail(self: socket.socket) -> tuple[socket.socket, object]:
        if fails:
            code = fails.pop()
            raise OSError(code, "too many")
        return accept(self)

    monkeypatch.setattr(socket.socket, "accept", accept_or_fail)
    assert (await say(listener, request(listener))).status == 200
    assert fails == []
    assert "redirect accept error=too many" in caplog.text


# ---- browsers that leave, and defects


async def test_a_browser_that_leaves_does_not_end_the_answer(listener: RedirectListener, login: Login) -> None:
    login.hold()
    async with await connect(listener) as stream:
        await stream.send(request(listener))
        await login.has_been_asked()
    async with await connect(listener) as again:
        await again.send(request(listener))
        await login.has_been_asked(2)
        assert login.finished == []
        login.may_answer.set()
        assert (await read(again)).status == 200
    assert login.finished == [QUERY, QUERY]


async def test_a_browser_that_breaks_off_does_not_end_the_answer(listener: RedirectListener, login: Login) -> None:
    login.hold()
    with socket.create_connection(("127.0.0.1", listener.port)) as connected:
        connected.sendall(request(listener))
        await login.has_been_asked()
        connected.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")  # a reset
    login.may_answer.set()
    assert (await say(listener, request(listener))).status == 200
    assert login.finished == [QUERY, QUERY]


async def test_a_defect_is_told_without_the_query(
    listener: RedirectListener, login: Login, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    answer = await say(listener, request(listener, "/callback?code=hunter2&defect"))
    assert answer.status == 500
    assert b"hunter2" not in answer.body
    assert "defect in=redirect error=RuntimeError@test_redirect_listener.py:" in caplog.text
    assert "hunter2" not in caplog.text
    assert "canary" not in caplog.text
    assert (await say(listener, request(listener))).status == 200
    assert login.queries == ["code=hunter2&defect", QUERY]


async def test_the_log_never_holds_a_query(listener: RedirectListener, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    await say(listener, request(listener))
    await say(listener, request(listener, "/?code=hunter2"))
    assert "redirect answered status=200" in caplog.text
    assert "hunter2" not in caplog.text


# ---- ports


async def test_a_busy_port_is_passed_over(login: Login) -> None:
    with socket.create_server(("127.0.0.1", 0)) as busy:
        taken = busy.getsockname()[1]
        async with serving(login.answer, taken, 0) as (listener, _):
            assert listener.port != taken
            assert (await say(listener, request(listener))).status == 200


async def test_the_first_port_that_is_free_is_taken(login: Login) -> None:
    async with serving(login.answer) as (listener, _):
        free = listener.port
    async with serving(login.answer, free, 0) as (listener, _):
        assert listener.port == free


@pytest.mark.parametrize("address", ["127.0.0.1", "0.0.0.0"])  # on Linux; elsewhere the nearer address is free
def test_where_all_are_taken_the_text_says_which_and_what_to_do(address: str) -> None:
    with ExitStack() as stack:
        servers = [stack.enter_context(socket.create_server((address, 0))) for _ in range(3)]
        ports = [server.getsockname()[1] for server in servers]
        with pytest.raises(PortsTakenError) as caught:
            RedirectListener(ports)
    tried = ", ".join(f"{port} (Address already in use)" for port in ports)
    assert str(caught.value) == f"no port of 127.0.0.1 to receive the login on: tried {tried}"


async def test_our_own_port_is_taken_for_another_login_and_anybody_else(login: Login) -> None:
    async with serving(login.answer) as (listener, _):
        with pytest.raises(PortsTakenError):
            RedirectListener([listener.port])
        for option in (socket.SO_REUSEADDR, socket.SO_REUSEPORT):
            with socket.socket() as other:
                other.setsockopt(socket.SOL_SOCKET, option, 1)
                with pytest.raises(OSError, match="in use"):
                    other.bind(("127.0.0.1", listener.port))


async def test_only_this_machine_can_connect_and_no_child_inherits_it(listener: RedirectListener) -> None:
    with socket.socket() as elsewhere:
        elsewhere.settimeout(PATIENCE)
        with pytest.raises(ConnectionRefusedError):
            elsewhere.connect(("127.0.0.2", listener.port))


# ---- the end


async def test_after_a_login_the_port_is_free_for_the_next_one_at_once(login: Login) -> None:
    port = 0
    for _ in range(3):
        async with serving(login.answer, port) as (listener, _):
            assert port in {0, listener.port}
            port = listener.port
            # We close first, and so a TIME_WAIT stays behind on our side.
            assert (await say(listener, request(listener))).status == 200
            await listener.aclose()
            again = RedirectListener([port])
            await again.aclose()


async def test_an_end_comes_at_once_where_connections_are_silent(login: Login) -> None:
    async with serving(login.answer) as (listener, _):
        async with await connect(listener) as silent, await connect(listener) as half:
            await half.send(b"GET /callback?code=hunter2 HTTP/1.1\r\nHost")
            assert (await say(listener, request(listener))).status == 200
            with anyio.fail_after(listening.CLOSE_WITHIN / 2):
                await listener.aclose()
            assert await read_all(silent) == b""
        with pytest.raises(OSError, match=r"connection attempts failed|refused"):
            await connect(listener)


async def test_at_the_end_the_page_that_is_due_gets_out(login: Login) -> None:
    login.hold()
    async with serving(login.answer) as (listener, tasks), await connect(listener) as stream:
        await stream.send(request(listener))
        await login.has_been_asked()
        closed = anyio.Event()

        async def close() -> None:
            await listener.aclose()
            closed.set()

        tasks.start_soon(close)
        await until(lambda: is_free(listener.port))  # before the page is known
        assert not closed.is_set()
        login.may_answer.set()
        assert (await read(stream)).body == b"the page for 24 characters"
        await stream.aclose()
        with anyio.fail_after(PATIENCE):
            await closed.wait()


def is_free(port: int) -> bool:
    with socket.socket() as one:
        one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            one.bind(("127.0.0.1", port))
        except OSError:
            return False
        return True


async def test_at_the_end_an_answer_that_does_not_come_is_not_waited_for(
    login: Login, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(listening, "CLOSE_WITHIN", 0.2)
    login.hold()
    async with serving(login.answer) as (listener, _), await connect(listener) as stream:
        await stream.send(request(listener))
        await login.has_been_asked()
        await listener.aclose()
        assert await read_all(stream) == b""
    assert login.finished == []


async def test_closing_twice_closing_unserved_and_serving_closed_do_nothing(login: Login) -> None:
    listener = RedirectListener([0])
    await listener.aclose()
    await listener.aclose()
    assert is_free(listener.port)
    with anyio.fail_after(PATIENCE):
        await listener.serve(login.answer)
    async with serving(login.answer) as (listener, _):
        assert (await say(listener, request(listener))).status == 200
        await listener.aclose()
        await listener.aclose()


async def test_cancelled_it_ends_at_once_and_its_port_is_free(login: Login) -> None:
    login.hold()
    listener = RedirectListener([0])
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(listener.serve, login.answer)
        async with await connect(listener) as stream:
            await stream.send(request(listener))
            await login.has_been_asked()
            tasks.cancel_scope.cancel()
    assert is_free(listener.port)
    await listener.aclose()


async def test_closed_by_who_is_cancelled_the_port_is_free_all_the_same(login: Login) -> None:
    async with serving(login.answer) as (listener, _):
        assert (await say(listener, request(listener))).status == 200
        with anyio.CancelScope() as scope:
            scope.cancel()
            await listener.aclose()
        assert is_free(listener.port)


async def test_a_browser_that_comes_before_it_serves_is_served(login: Login) -> None:
    listener = RedirectListener([0])
    async with await connect(listener) as stream:
        await stream.send(request(listener))
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(listener.serve, login.answer)
            assert (await read(stream)).status == 200
            await listener.aclose()
