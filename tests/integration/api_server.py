"""An API on this machine that takes tokens, rejects some, and redirects: `with ApiServer() as api: ...`."""

import sys
import threading
from collections.abc import Callable
from contextlib import AbstractContextManager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import NamedTuple, Self
from urllib.parse import parse_qs, urlsplit

INVALID_TOKEN = 'Bearer realm="api", error="invalid_token"'


class Seen(NamedTuple):
    """A request that arrived; `token` is None without an Authorization header."""

    method: str
    path: str
    token: str | None
    body: bytes


class ApiServer(AbstractContextManager["ApiServer"]):
    """A server at any port of 127.0.0.1, which is `localhost` too.

    `/redirect?to=URL&status=302` redirects whoever asks. Any other path answers 200, or, while `rejects` says so of the
    token, `status` with `challenge`. `requests` has what arrived since the last `clear`.
    """

    def __init__(self) -> None:
        self._server = _Server(("127.0.0.1", 0), _Handler, self)
        self.port: int = self._server.server_address[1]
        self.origin = f"http://127.0.0.1:{self.port}"
        self.clear()

    def clear(self) -> None:
        """Forget what arrived, and take every token."""
        self.requests: list[Seen] = []
        self.rejects: Callable[[str | None], bool] = lambda _: False
        self.status, self.challenge = 401, INVALID_TOKEN

    def tokens(self) -> list[str | None]:
        """Return the tokens that arrived, in order."""
        return [one.token for one in self.requests]

    def __enter__(self) -> Self:
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.shutdown()
        self._server.server_close()


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128

    def __init__(self, address: tuple[str, int], handler: type[BaseHTTPRequestHandler], api: ApiServer) -> None:
        super().__init__(address, handler)
        self.api = api

    def handle_error(self, request: object, client_address: object) -> None:
        """Say nothing of a client that left early, as one with an unread response does."""
        if not isinstance(sys.exception(), ConnectionError):
            super().handle_error(request, client_address)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType] -- as the base class calls it


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def _answer(self) -> None:
        assert isinstance(self.server, _Server)
        api = self.server.api
        authorization = self.headers["Authorization"]
        token = None if authorization is None else authorization.removeprefix("Bearer ")
        api.requests.append(Seen(self.command, self.path, token, self._body()))
        url = urlsplit(self.path)
        if url.path == "/redirect":
            query = parse_qs(url.query)
            self._respond(int(query.get("status", ["302"])[0]), Location=query["to"][0])
        elif api.rejects(token):
            self._respond(api.status, **({"WWW-Authenticate": api.challenge} if api.challenge else {}))
        else:
            self._respond(200)

    def do_GET(self) -> None:
        self._answer()

    def do_POST(self) -> None:
        self._answer()

    def _body(self) -> bytes:
        if self.headers["Transfer-Encoding"] != "chunked":
            return self.rfile.read(int(self.headers["Content-Length"] or 0))
        body = b""
        while size := int(self.rfile.readline(), 16):
            body += self.rfile.read(size)
            self.rfile.readline()
        self.rfile.readline()
        return body

    def _respond(self, status: int, **headers: str) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", "2")
        self.end_headers()
        self.wfile.write(b"ok")

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 -- the base class's name
        """Say nothing."""
