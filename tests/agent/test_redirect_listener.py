"""The redirect listener, over real sockets: responses, refused requests, and many connections at once."""

import errno
import logging
import re
import socket
import threading
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import ExitStack, asynccontextmanager
from pathlib import Path
from typing import NamedTuple

import anyio
import anyio.abc
import pytest

from auth_agent.host import tcp_table
from auth_agent.loopback import connection, listener as listening, start_page
from auth_agent.loopback.http_request import MAX_REQUEST
from auth_agent.loopback.listener import MAX_ANSWERS, MAX_CONNECTIONS, PortsTakenError, RedirectListener
from auth_agent.loopback.page import CONTENT_SECURITY_POLICY, Page, another_user, used_already

pytestmark = pytest.mark.anyio

QUERY = "code=hunter2&state=s%20s"
PATIENCE = 60.0


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


class Login:
    """The receiver of redirects: it records the queries, and responds unless it is held."""

    def __init__(self) -> None:
        self.queries: list[str] = []
        self.finished: list[str] = []
        self.may_respond = anyio.Event()
        self.may_respond.set()
        self._stirred = anyio.Event()

    def hold(self) -> None:
        self.may_respond = anyio.Event()

    async def respond(self, query: str) -> Page:
        self.queries.append(query)
        self._stirred.set()
        await self.may_respond.wait()
        if "defect" in query:
            raise RuntimeError(f"canary {query}")
        self.finished.append(query)
        return Page(200, f"the page for {len(query)} characters".encode())

    async def wait_for_queries(self, times: int = 1) -> None:
        with anyio.fail_after(PATIENCE):
            while len(self.queries) < times:
                self._stirred = anyio.Event()
                await self._stirred.wait()


class Response(NamedTuple):
    """A response, from a connection that was then closed."""

    status: int
    headers: dict[str, str]
    body: bytes


@pytest.fixture
async def login() -> Login:
    return Login()


@asynccontextmanager
async def serving(
    respond: Callable[[str], Awaitable[Page]], *ports: int, host: str = "127.0.0.1", path: str = "/callback"
) -> AsyncGenerator[tuple[RedirectListener, anyio.abc.TaskGroup], None]:
    listener = RedirectListener(ports or (0,), host, path)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(listener.serve, respond)
        try:
            yield listener, tasks
        finally:
            await listener.aclose()


@pytest.fixture
async def listener(login: Login) -> AsyncGenerator[RedirectListener]:
    async with serving(login.respond) as (listener, _):
        yield listener
        login.may_respond.set()


async def wait_until(condition: Callable[[], bool]) -> None:
    with anyio.fail_after(PATIENCE):
        while not condition():  # noqa: ASYNC110 -- the other end of a socket has no event here
            await anyio.sleep(0.01)


async def connect(listener: RedirectListener) -> anyio.abc.SocketStream:
    return await anyio.connect_tcp("127.0.0.1", listener.port)


async def read_all(stream: anyio.abc.SocketStream) -> bytes:
    """Return all data until the end of the stream."""
    received = b""
    with anyio.fail_after(PATIENCE):
        try:
            while True:
                received += await stream.receive()
        except anyio.EndOfStream:
            return received


async def read(stream: anyio.abc.SocketStream) -> Response:
    head, _, body = (await read_all(stream)).partition(b"\r\n\r\n")
    status, *lines = head.decode().split("\r\n")
    return Response(int(status.split(" ")[1]), dict(line.split(": ", 1) for line in lines), body)


def request(
    listener: RedirectListener, target: str = f"/callback?{QUERY}", method: str = "GET", host: str | None = None
) -> bytes:
    return f"{method} {target} HTTP/1.1\r\nHost: {host or f'127.0.0.1:{listener.port}'}\r\n\r\n".encode()


async def send_request(listener: RedirectListener, data: bytes) -> Response:
    async with await connect(listener) as stream:
        await stream.send(data)
        return await read(stream)


# ---- responses


async def test_the_query_of_a_redirect_is_passed_on_unchanged(listener: RedirectListener, login: Login) -> None:
    assert str(listener.redirect_uri) == f"http://127.0.0.1:{listener.port}/callback"
    response = await send_request(listener, request(listener))
    assert (response.status, response.body) == (200, b"the page for 24 characters")
    assert login.queries == [QUERY]


async def test_the_headers_forbid_scripts_and_caching(listener: RedirectListener) -> None:
    assert (await send_request(listener, request(listener))).headers == {
        "Content-Type": "text/html; charset=utf-8",
        "Content-Length": "26",
        "Cache-Control": "no-store",
        "Referrer-Policy": "no-referrer",
        "X-Content-Type-Options": "nosniff",
        "Content-Security-Policy": CONTENT_SECURITY_POLICY,
        "Connection": "close",
    }


@pytest.mark.parametrize(("target", "query"), [("/callback", ""), ("/callback?", ""), ("/callback??a=/b?", "?a=/b?")])
async def test_any_query_is_passed_on(listener: RedirectListener, login: Login, target: str, query: str) -> None:
    assert (await send_request(listener, request(listener, target))).status == 200
    assert login.queries == [query]


async def test_a_request_may_arrive_byte_by_byte(listener: RedirectListener, login: Login) -> None:
    async with await connect(listener) as stream:
        for byte in request(listener):
            await stream.send(bytes([byte]))
        assert (await read(stream)).status == 200
    assert login.queries == [QUERY]


async def test_a_second_request_on_a_connection_is_ignored(listener: RedirectListener, login: Login) -> None:
    assert (await send_request(listener, request(listener) * 2)).status == 200
    assert login.queries == [QUERY]


async def test_several_redirects_are_answered_concurrently(listener: RedirectListener, login: Login) -> None:
    login.hold()
    async with await connect(listener) as first, await connect(listener) as second:
        for stream in (first, second):
            await stream.send(request(listener))
        await login.wait_for_queries(2)
        assert (await send_request(listener, request(listener, "/favicon.ico"))).status == 404
        login.may_respond.set()
        assert [(await read(stream)).status for stream in (first, second)] == [200, 200]


async def test_a_large_page_is_sent_completely() -> None:
    async def respond(_: str) -> Page:
        return Page(200, b"x" * 10_000_000)

    async with serving(respond) as (listener, _):
        assert len((await send_request(listener, request(listener))).body) == 10_000_000


# ---- other redirect URIs


async def ask_at(address: str, listener: RedirectListener, target: str, host: str | None = None) -> Response:
    async with await anyio.connect_tcp(address, listener.port) as stream:
        await stream.send(request(listener, target, host=host or f"localhost:{listener.port}"))
        return await read(stream)


def find_none(_: object) -> object:
    return {}


@pytest.mark.parametrize("address", ["127.0.0.1", "::1"])
async def test_localhost_is_served_at_both_of_its_addresses(
    login: Login, monkeypatch: pytest.MonkeyPatch, address: str
) -> None:
    async with serving(login.respond, host="localhost", path="") as (listener, _):
        assert str(listener.redirect_uri) == f"http://localhost:{listener.port}"
        assert listener.knows_peers
        start = listener.start_at(PROVIDER)
        assert start is not None
        origin, slash, path = start.partition("/login/")
        assert origin == f"http://localhost:{listener.port}"
        assert (await ask_at(address, listener, f"{slash}{path}")).status == 303
        assert (await ask_at(address, listener, f"/?{QUERY}")).status == 200
        assert (await ask_at(address, listener, "/favicon.ico")).status == 404
        assert (await ask_at(address, listener, f"/callback?{QUERY}")).status == 404
        for host in (f"127.0.0.1:{listener.port}", f"[::1]:{listener.port}", "localhost", "evil.example"):
            assert (await ask_at(address, listener, f"/?{QUERY}", host)).status == 421
        monkeypatch.setattr(listening, "read_other_ends", find_none)
        assert (await ask_at(address, listener, f"/?{QUERY}")).status == 403
    assert login.queries == [QUERY]


async def test_a_path_that_looks_like_the_start_page_is_the_redirects(login: Login) -> None:
    async with serving(login.respond, path="/login/callback") as (listener, _):
        assert (await send_request(listener, request(listener, path_of(listener)))).status == 303
        assert (await send_request(listener, request(listener, f"/login/callback?{QUERY}"))).status == 200
        assert (await send_request(listener, request(listener))).status == 404
    assert login.queries == [QUERY]


async def test_closing_frees_the_port_of_both_addresses(login: Login) -> None:
    async with serving(login.respond, host="localhost") as (listener, _):
        await listener.aclose()
        await RedirectListener([listener.port], "localhost").aclose()


# ---- refused requests


def refusals(port: int) -> dict[str, tuple[int, bytes]]:
    def encode(line: str, *headers: str) -> bytes:
        return "\r\n".join([line, *headers, "", ""]).encode("latin-1")

    good, host = "GET /callback?code=hunter2 HTTP/1.1", f"Host: 127.0.0.1:{port}"
    return {
        "another host": (421, encode(good, "Host: evil.example")),
        "another host, this port": (421, encode(good, f"Host: evil.example:{port}")),
        "localhost": (421, encode(good, f"Host: localhost:{port}")),
        "no port": (421, encode(good, "Host: 127.0.0.1")),
        "another port": (421, encode(good, f"Host: 127.0.0.1:{port}0")),
        "a name with that prefix": (421, encode(good, f"{host}.evil.example")),
        "a user": (421, encode(good, f"Host: x@127.0.0.1:{port}")),
        "two hosts": (400, encode(good, host, host)),
        "a good host and another": (400, encode(good, host, "Host: evil.example")),
        "no host": (400, encode(good)),
        "no host in HTTP/1.0": (421, encode("GET /callback HTTP/1.0")),
        "an empty host": (421, encode(good, "Host:")),
        "a complete URL": (400, encode(f"GET http://127.0.0.1:{port}/callback?code=hunter2 HTTP/1.1", host)),
        "a complete URL elsewhere": (400, encode("GET http://evil.example/callback HTTP/1.1", host)),
        "a star": (400, encode("GET * HTTP/1.1", host)),
        "a path without its slash": (400, encode("GET callback HTTP/1.1", host)),
        "POST": (405, encode("POST /callback?code=hunter2 HTTP/1.1", host)),
        "POST with a body": (405, encode("POST /callback HTTP/1.1", host, "Content-Length: 5") + b"code="),
        "PUT": (405, encode("PUT /callback HTTP/1.1", host)),
        "OPTIONS": (405, encode("OPTIONS /callback HTTP/1.1", host, "Access-Control-Request-Private-Network: true")),
        "get": (405, encode("get /callback HTTP/1.1", host)),
        "CONNECT": (405, encode(f"CONNECT 127.0.0.1:{port} HTTP/1.1", host)),
        "favicon": (404, encode("GET /favicon.ico HTTP/1.1", host)),
        "root": (404, encode("GET / HTTP/1.1", host)),
        "below": (404, encode("GET /callback/?code=hunter2 HTTP/1.1", host)),
        "capitals": (404, encode("GET /Callback?code=hunter2 HTTP/1.1", host)),
        "two slashes": (404, encode("GET //callback?code=hunter2 HTTP/1.1", host)),
        "dots": (404, encode("GET /x/../callback?code=hunter2 HTTP/1.1", host)),
        "an escape": (404, encode("GET /%63allback?code=hunter2 HTTP/1.1", host)),
        "a parameter": (404, encode("GET /callback;x?code=hunter2 HTTP/1.1", host)),
        "a body": (400, encode(good, host, "Content-Length: 5") + b"hello"),
        "a body to come": (400, encode(good, host, "Content-Length: 5")),
        "chunks": (400, encode(good, host, "Transfer-Encoding: chunked")),
        "an invalid length": (400, encode(good, host, "Content-Length: x")),
        "a header's space": (400, encode(good, host, "X : y")),
        "no version": (400, encode("GET /callback?code=hunter2", host)),
        "HTTP/2": (421, b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"),
        "TLS": (400, b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(200)),
        "a byte beyond ASCII": (400, encode("GET /callback?code=hunter2\xe9 HTTP/1.1", host)),
        "garbage": (400, b"hunter2\r\n\r\n"),
    }


@pytest.mark.parametrize("kind", refusals(0))
async def test_any_other_request_is_refused_and_disturbs_no_redirect(
    listener: RedirectListener, login: Login, caplog: pytest.LogCaptureFixture, kind: str
) -> None:
    caplog.set_level(logging.DEBUG, "auth_agent")
    login.hold()
    async with await connect(listener) as waiting:
        await waiting.send(request(listener, "/callback?first"))
        await login.wait_for_queries()
        status, data = refusals(listener.port)[kind]
        response = await send_request(listener, data)
        assert response.status == status
        assert response.headers["Content-Security-Policy"] == CONTENT_SECURITY_POLICY
        assert response.body.startswith(b"<!DOCTYPE html>")
        assert b"hunter2" not in response.body
        login.may_respond.set()
        assert (await read(waiting)).status == 200
    assert login.queries == ["first"]
    assert "hunter2" not in caplog.text


async def test_a_head_request_is_refused_without_a_body(listener: RedirectListener, login: Login) -> None:
    response = await send_request(listener, request(listener, method="HEAD"))
    assert (response.status, response.body, response.headers["Allow"]) == (405, b"", "GET")
    assert login.queries == []


def large(listener: RedirectListener, size: int) -> bytes:
    """Return a request of that size, with a long cookie."""
    small = request(listener)
    return small[:-2] + b"Cookie: " + b"c" * (size - len(small) - len(b"Cookie: \r\n")) + b"\r\n\r\n"


async def test_a_request_with_many_cookies_is_accepted(listener: RedirectListener) -> None:
    assert (await send_request(listener, large(listener, MAX_REQUEST - 1))).status == 200


@pytest.mark.parametrize("size", [MAX_REQUEST + 1, MAX_REQUEST + 20_000, 10 * MAX_REQUEST])
async def test_a_request_that_is_too_large_gets_431(listener: RedirectListener, login: Login, size: int) -> None:
    assert (await send_request(listener, large(listener, size))).status == 431
    assert login.queries == []


async def test_an_endless_line_gets_431(listener: RedirectListener) -> None:
    assert (await send_request(listener, b"GET /" + b"a" * MAX_REQUEST)).status == 431


async def test_many_small_headers_get_431(listener: RedirectListener) -> None:
    headers = b"".join(b"X-%d: y\r\n" % number for number in range(20_000))
    assert (await send_request(listener, request(listener)[:-2] + headers + b"\r\n")).status == 431


@pytest.mark.parametrize("data", [b"", b"G", b"GET /callback?code=hunter2 HTTP/1.1\r\nHost: 127"])
async def test_an_incomplete_request_times_out(
    listener: RedirectListener, login: Login, monkeypatch: pytest.MonkeyPatch, data: bytes
) -> None:
    monkeypatch.setattr(connection, "REQUEST_WITHIN", 1.0)
    async with await connect(listener) as stream:
        if data:
            await stream.send(data)
            assert (await read(stream)).status == 408
        else:
            assert await read_all(stream) == b""  # as by a browser that opened a connection in advance
    assert login.queries == []


@pytest.mark.parametrize("data", [b"", b"GET /callback?code=hunter2 HTTP/1.1\r\nHost: 127"])
async def test_clients_that_leave_an_incomplete_request_occupy_no_connection(
    listener: RedirectListener, login: Login, data: bytes
) -> None:
    for _ in range(2 * MAX_CONNECTIONS):
        async with await connect(listener) as stream:
            if data:
                await stream.send(data)
    assert (await send_request(listener, request(listener))).status == 200
    assert login.queries == [QUERY]


# ---- where the login begins

PROVIDER = "https://acme.example/authorize?client_id=c&state=s%2Bt"


def path_of(listener: RedirectListener) -> str:
    """Return the path of the start page of a login at `PROVIDER`."""
    url = listener.start_at(PROVIDER)
    assert url is not None
    return url.removeprefix(f"http://127.0.0.1:{listener.port}")


async def test_the_start_url_redirects_to_the_provider_without_a_trace(listener: RedirectListener) -> None:
    path = path_of(listener)
    assert re.fullmatch(r"/login/[\w-]{22}", path)
    assert path_of(listener) != path
    response = await send_request(listener, request(listener, path_of(listener)))
    assert (response.status, response.headers["Location"]) == (303, PROVIDER)
    assert (response.headers["Cache-Control"], response.headers["Referrer-Policy"]) == ("no-store", "no-referrer")
    assert PROVIDER.encode() not in response.body


async def test_the_start_url_is_valid_for_a_few_seconds_after_its_first_use(
    listener: RedirectListener, login: Login, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(start_page, "_VALID_FOR", PATIENCE)
    path = path_of(listener)
    for _ in range(2):  # by a browser that requests it twice
        assert (await send_request(listener, request(listener, path))).status == 303
    monkeypatch.setattr(start_page, "_VALID_FOR", 0.0)
    path = path_of(listener)
    response = await send_request(listener, request(listener, path))
    assert (response.status, response.body) == (410, used_already().body)
    assert "Location" not in response.headers
    assert (await send_request(listener, request(listener))).status == 200
    assert login.queries == [QUERY]


@pytest.mark.parametrize("path", ["/login/", "/login", "/login/guessed", "/login/\xe9", "{}x", "{}/", "/x{}"])
async def test_a_guessed_start_url_leads_nowhere(listener: RedirectListener, path: str) -> None:
    good = path_of(listener)
    data = f"GET {path.format(good)} HTTP/1.1\r\nHost: 127.0.0.1:{listener.port}\r\n\r\n"
    response = await send_request(listener, data.encode("latin-1"))
    assert response.status in (400, 404)
    assert "Location" not in response.headers
    assert (await send_request(listener, request(listener, good))).status == 303  # it was not used


async def test_a_start_url_is_refused_for_another_host_another_method_and_with_a_body(
    listener: RedirectListener,
) -> None:
    path = path_of(listener)
    for data, status in (
        (request(listener, path, host="evil.example"), 421),
        (request(listener, path, host=f"localhost:{listener.port}"), 421),
        (request(listener, path, "HEAD"), 405),
        (request(listener, path, "POST"), 405),
        (request(listener, path)[:-2] + b"Content-Length: 5\r\n\r\n", 400),
    ):
        response = await send_request(listener, data)
        assert (response.status, response.headers.get("Location")) == (status, None)


async def test_without_a_login_no_start_url_is_served(listener: RedirectListener) -> None:
    assert (await send_request(listener, request(listener, "/login/x"))).status == 404


# ---- other users; tests/integration/test_another_user.py has real ones


async def test_a_connection_that_the_kernel_does_not_know_is_refused(
    login: Login, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(listening, "read_other_ends", find_none)
    async with serving(login.respond) as (listener, _):
        response = await send_request(listener, request(listener))
        assert (response.status, response.body) == (403, another_user().body)
        assert (await send_request(listener, request(listener))).status == 403
        response = await send_request(listener, request(listener, path_of(listener)))
        assert (response.status, response.body) == (403, another_user(at_start=True).body)
        assert "Location" not in response.headers
        assert (await send_request(listener, request(listener, "/"))).status == 404
    assert login.queries == []
    assert caplog.text.count("redirect refused") == 1


@pytest.mark.parametrize(
    "error", [OSError(errno.EMFILE, "Too many open files"), RuntimeError("can't start new thread")]
)
async def test_if_the_kernels_table_can_no_longer_be_read_nobody_is_accepted(
    error: Exception, login: Login, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(_: object) -> object:
        raise error

    async with serving(login.respond) as (listener, _):
        with monkeypatch.context() as patch:
            patch.setattr(listening, "read_other_ends", fail)
            assert (await send_request(listener, request(listener))).status == 403
        assert login.queries == []
        assert (await send_request(listener, request(listener))).status == 200
    assert str(error) in caplog.text


async def test_where_the_kernel_has_no_table_everybody_is_accepted(
    login: Login, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(tcp_table, "_TABLE", tmp_path / "none")
    async with serving(login.respond) as (listener, _):
        assert listener.start_at(PROVIDER) is None  # who would be served there?
        assert (await send_request(listener, request(listener))).status == 200


async def test_closing_while_the_table_is_read_frees_the_port_and_the_connections(
    login: Login, monkeypatch: pytest.MonkeyPatch
) -> None:
    reads, may_end = threading.Event(), threading.Event()

    def wait(_: object) -> object:
        reads.set()
        may_end.wait(PATIENCE)
        return {}

    monkeypatch.setattr(listening, "read_other_ends", wait)
    try:
        async with serving(login.respond) as (listener, _), await connect(listener) as stream:
            await wait_until(reads.is_set)
            await listener.aclose()
            assert await read_all(stream) == b""
            assert is_free(listener.port)
    finally:
        may_end.set()


# ---- many connections


async def test_of_many_silent_connections_the_oldest_is_closed(listener: RedirectListener, login: Login) -> None:
    streams = [await connect(listener) for _ in range(3 * MAX_CONNECTIONS)]
    await streams[-1].send(request(listener))
    assert (await read(streams[-1])).status == 200
    assert await read_all(streams[0]) == b""
    assert login.queries == [QUERY]
    for stream in streams:
        await stream.aclose()


async def test_many_connections_do_not_close_one_that_waits_for_a_response(
    listener: RedirectListener, login: Login
) -> None:
    login.hold()
    async with await connect(listener) as waiting:
        await waiting.send(request(listener))
        await login.wait_for_queries()
        for _ in range(3):
            streams = [await connect(listener) for _ in range(MAX_CONNECTIONS)]
            assert (await send_request(listener, request(listener, "/"))).status == 404
            for stream in streams:
                await stream.aclose()
        login.may_respond.set()
        assert (await read(waiting)).status == 200


async def test_if_all_connections_wait_for_a_response_a_new_one_is_closed(
    listener: RedirectListener, login: Login
) -> None:
    login.hold()
    streams = [await connect(listener) for _ in range(MAX_CONNECTIONS)]
    for stream in streams:
        await stream.send(request(listener))
    await login.wait_for_queries(MAX_CONNECTIONS)
    async with await connect(listener) as late:
        assert await read_all(late) == b""
    login.may_respond.set()
    assert [(await read(stream)).status for stream in streams] == [200] * MAX_CONNECTIONS
    for stream in streams:
        await stream.aclose()


async def test_clients_that_leave_repeatedly_get_503_only_while_the_answers_are_pending(
    listener: RedirectListener, login: Login
) -> None:
    login.hold()
    for number in range(1, MAX_ANSWERS + 1):
        async with await connect(listener) as stream:
            await stream.send(request(listener))
            await login.wait_for_queries(number)
    assert (await send_request(listener, request(listener))).status == 503
    assert len(login.queries) == MAX_ANSWERS
    login.may_respond.set()
    await wait_until(lambda: len(login.finished) == MAX_ANSWERS)
    assert (await send_request(listener, request(listener))).status == 200


async def test_a_lack_of_descriptors_does_not_end_the_listener(
    listener: RedirectListener, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    error_codes = [errno.EMFILE, errno.ECONNABORTED, errno.EMFILE]
    accept = socket.socket.accept

    def accept_or_fail(self: socket.socket) -> tuple[socket.socket, object]:
        if error_codes:
            code = error_codes.pop()
            raise OSError(code, "too many")
        return accept(self)

    monkeypatch.setattr(socket.socket, "accept", accept_or_fail)
    assert (await send_request(listener, request(listener))).status == 200
    assert error_codes == []
    assert "redirect accept error=too many" in caplog.text


# ---- browsers that leave, and defects


async def test_a_browser_that_disconnects_does_not_cancel_the_answer(listener: RedirectListener, login: Login) -> None:
    login.hold()
    async with await connect(listener) as stream:
        await stream.send(request(listener))
        await login.wait_for_queries()
    async with await connect(listener) as again:
        await again.send(request(listener))
        await login.wait_for_queries(2)
        assert login.finished == []
        login.may_respond.set()
        assert (await read(again)).status == 200
    assert login.finished == [QUERY, QUERY]


async def test_a_reset_connection_does_not_cancel_the_answer(listener: RedirectListener, login: Login) -> None:
    login.hold()
    with socket.create_connection(("127.0.0.1", listener.port)) as connected:
        connected.sendall(request(listener))
        await login.wait_for_queries()
        connected.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")  # a reset
    login.may_respond.set()
    assert (await send_request(listener, request(listener))).status == 200
    assert login.finished == [QUERY, QUERY]


async def test_a_defect_is_reported_without_the_query(
    listener: RedirectListener, login: Login, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    response = await send_request(listener, request(listener, "/callback?code=hunter2&defect"))
    assert response.status == 500
    assert b"hunter2" not in response.body
    assert "defect in=redirect error=RuntimeError@test_redirect_listener.py:" in caplog.text
    assert "hunter2" not in caplog.text
    assert "canary" not in caplog.text
    assert (await send_request(listener, request(listener))).status == 200
    assert login.queries == ["code=hunter2&defect", QUERY]


async def test_the_log_contains_no_query(listener: RedirectListener, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    await send_request(listener, request(listener))
    await send_request(listener, request(listener, "/?code=hunter2"))
    assert "redirect answered status=200" in caplog.text
    assert "hunter2" not in caplog.text


# ---- ports


async def test_a_busy_port_is_skipped(login: Login) -> None:
    with socket.create_server(("127.0.0.1", 0)) as busy:
        taken = busy.getsockname()[1]
        async with serving(login.respond, taken, 0) as (listener, _):
            assert listener.port != taken
            assert (await send_request(listener, request(listener))).status == 200


async def test_the_first_free_port_is_used(login: Login) -> None:
    async with serving(login.respond) as (listener, _):
        free = listener.port
    async with serving(login.respond, free, 0) as (listener, _):
        assert listener.port == free


@pytest.mark.parametrize("address", ["127.0.0.1", "0.0.0.0"])  # on Linux; elsewhere the more specific address is free
def test_if_all_ports_are_taken_the_error_names_them(address: str) -> None:
    with ExitStack() as stack:
        servers = [stack.enter_context(socket.create_server((address, 0))) for _ in range(3)]
        ports = [server.getsockname()[1] for server in servers]
        with pytest.raises(PortsTakenError) as caught:
            RedirectListener(ports)
    tried = ", ".join(f"{port} (Address already in use)" for port in ports)
    assert str(caught.value).endswith(f": tried {tried}")


async def test_nobody_else_can_bind_the_listeners_port(login: Login) -> None:
    async with serving(login.respond) as (listener, _):
        with pytest.raises(PortsTakenError):
            RedirectListener([listener.port])
        for option in (socket.SO_REUSEADDR, socket.SO_REUSEPORT):
            with socket.socket() as other:
                other.setsockopt(socket.SOL_SOCKET, option, 1)
                with pytest.raises(OSError, match="in use"):
                    other.bind(("127.0.0.1", listener.port))


async def test_the_listener_is_bound_to_one_loopback_address(listener: RedirectListener) -> None:
    with socket.socket() as elsewhere:
        elsewhere.settimeout(PATIENCE)
        with pytest.raises(ConnectionRefusedError):
            elsewhere.connect(("127.0.0.2", listener.port))


# ---- the end


async def test_the_port_can_be_reused_at_once(login: Login) -> None:
    port = 0
    for _ in range(3):
        async with serving(login.respond, port) as (listener, _):
            assert port in {0, listener.port}
            port = listener.port
            # The listener closes first, so the TIME_WAIT is on its side.
            assert (await send_request(listener, request(listener))).status == 200
            await listener.aclose()
            again = RedirectListener([port])
            await again.aclose()


async def test_closing_does_not_wait_for_silent_connections(login: Login, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(listening, "CLOSE_WITHIN", 10 * PATIENCE)
    async with serving(login.respond) as (listener, _):
        async with await connect(listener) as silent, await connect(listener) as half:
            await half.send(b"GET /callback?code=hunter2 HTTP/1.1\r\nHost")
            assert (await send_request(listener, request(listener))).status == 200
            with anyio.fail_after(PATIENCE):
                await listener.aclose()
            assert await read_all(silent) == b""
        with pytest.raises(OSError, match=r"connection attempts failed|refused"):
            await connect(listener)


async def test_closing_waits_for_a_pending_page(login: Login) -> None:
    login.hold()
    async with serving(login.respond) as (listener, tasks), await connect(listener) as stream:
        await stream.send(request(listener))
        await login.wait_for_queries()
        closed = anyio.Event()

        async def close() -> None:
            await listener.aclose()
            closed.set()

        tasks.start_soon(close)
        await wait_until(lambda: is_free(listener.port))  # before the page is ready
        assert not closed.is_set()
        login.may_respond.set()
        assert (await read(stream)).body == b"the page for 24 characters"
        await stream.aclose()
        with anyio.fail_after(PATIENCE):
            await closed.wait()


def is_free(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
        return True


async def test_closing_waits_only_briefly_for_a_page(login: Login, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(listening, "CLOSE_WITHIN", 0.2)
    login.hold()
    async with serving(login.respond) as (listener, _), await connect(listener) as stream:
        await stream.send(request(listener))
        await login.wait_for_queries()
        await listener.aclose()
        assert await read_all(stream) == b""
    assert login.finished == []


async def test_closing_twice_and_serving_when_closed_do_nothing(login: Login) -> None:
    listener = RedirectListener([0])
    await listener.aclose()
    await listener.aclose()
    assert is_free(listener.port)
    with anyio.fail_after(PATIENCE):
        await listener.serve(login.respond)
    async with serving(login.respond) as (listener, _):
        assert (await send_request(listener, request(listener))).status == 200
        await listener.aclose()
        await listener.aclose()


async def test_cancelling_frees_the_port(login: Login) -> None:
    login.hold()
    listener = RedirectListener([0])
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(listener.serve, login.respond)
        async with await connect(listener) as stream:
            await stream.send(request(listener))
            await login.wait_for_queries()
            tasks.cancel_scope.cancel()
    assert is_free(listener.port)
    await listener.aclose()


async def test_closing_in_a_cancelled_scope_frees_the_port(login: Login) -> None:
    async with serving(login.respond) as (listener, _):
        assert (await send_request(listener, request(listener))).status == 200
        with anyio.CancelScope() as scope:
            scope.cancel()
            await listener.aclose()
        assert is_free(listener.port)


async def test_a_connection_from_before_serving_is_served(login: Login) -> None:
    listener = RedirectListener([0])
    async with await connect(listener) as stream:
        await stream.send(request(listener))
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(listener.serve, login.respond)
            assert (await read(stream)).status == 200
            await listener.aclose()
