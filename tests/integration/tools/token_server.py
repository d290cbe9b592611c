"""A server over HTTP that takes the provider's access tokens alone: what registries and git servers have in common."""

import base64
import binascii
import ssl
import threading
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import TracebackType
from typing import Self

from tests.op.provider import OpenIDProvider

BASIC, BEARER = 'Basic realm="registry"', 'Bearer realm="registry"'


@dataclass(frozen=True)
class Request:
    """A request: its path has the query, and the names of its headers are written like `Content-Type`.

    `token` is that of its `Authorization`, `user` the user name of Basic, None for Bearer.
    """

    method: str
    path: str
    headers: Mapping[str, str]
    body: bytes
    token: str
    user: str | None


@dataclass(frozen=True)
class Response:
    """What is sent for a request; `challenges` are one header each."""

    body: bytes = b""
    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict[str, str])
    challenges: tuple[str, ...] = ()


NOT_FOUND = Response(status=404)


@dataclass(frozen=True)
class Seen:
    """A request that had a token, and what came of that: `user` is None for Bearer."""

    path: str
    token: str = field(repr=False)
    user: str | None
    status: int


class TokenServer(AbstractContextManager["TokenServer"]):
    """Responds with what `respond` returns where the token is good, else with its challenges."""

    # Of a response to a request without a good token.
    refusal_headers: Mapping[str, str] = {}

    def __init__(
        self,
        provider: OpenIDProvider,
        *challenges: str,
        respond: Callable[[Request], Response] | None = None,
        tls: tuple[Path, Path] | None = None,
    ) -> None:
        """Prepare one that takes tokens by the schemes of `challenges`; `tls`: files of a certificate and its key."""
        self.provider = provider
        self.challenges = challenges
        self.seen: list[Seen] = []
        self._respond = respond
        self._scheme = "http"
        self._server = _Server(self)
        self._scheme = "http" if tls is None else "https"
        if tls is not None:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(*tls)
            self._server.socket = context.wrap_socket(self._server.socket, server_side=True)
        self._thread = threading.Thread(target=self._server.serve_forever)

    @property
    def url(self) -> str:
        """Its origin."""
        return f"{self._scheme}://{self.host}"

    @property
    def host(self) -> str:
        """Its host and port."""
        return f"127.0.0.1:{self._server.server_address[1]}"

    @property
    def tokens(self) -> set[str]:
        """All tokens that it saw."""
        return {one.token for one in self.seen}

    @property
    def statuses(self) -> set[int]:
        """What came of the requests that had a token."""
        return {one.status for one in self.seen}

    @property
    def users(self) -> set[str | None]:
        """The user names that came with a token."""
        return {one.user for one in self.seen}

    def encrypt(self, context: ssl.SSLContext) -> None:
        """Serve https from now on."""
        self._scheme = "https"
        # Its thread must not wait for a client that says nothing.
        self._server.socket = context.wrap_socket(self._server.socket, server_side=True, do_handshake_on_connect=False)

    def respond(self, request: Request) -> Response:
        """Return the response to a request with a good token."""
        assert self._respond is not None
        return self._respond(request)

    def takes(self, token: str) -> bool:
        """Return whether the provider says that the token is valid."""
        return bool(token) and self.provider.userinfo(token).status_code == 200

    def answer(self, method: str, path: str, headers: Mapping[str, str], body: bytes) -> Response:
        """Return the response to any request."""
        scheme, _, credential = headers.get("Authorization", "").partition(" ")
        user, token = None, credential
        if scheme == "Basic":
            user, _, token = _decoded(credential).partition(":")
        if not token:
            return self._refusal()
        is_good = any(one.startswith(f"{scheme} ") for one in self.challenges) and self.takes(token)
        self.seen.append(Seen(path, token, user, 200 if is_good else 401))
        return self.respond(Request(method, path, headers, body, token, user)) if is_good else self._refusal()

    def _refusal(self) -> Response:
        return Response(b"no valid token", 401, self.refusal_headers, self.challenges)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()


def _decoded(credential: str) -> str:
    try:
        return base64.b64decode(credential).decode()
    except (binascii.Error, UnicodeDecodeError):
        return ""


class _Server(ThreadingHTTPServer):
    def __init__(self, owner: TokenServer) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.owner = owner


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def _answer(self) -> None:
        assert isinstance(self.server, _Server)
        names = {name.title() for name in self.headers}
        headers = {name: ", ".join(self.headers.get_all(name, ())) for name in names}
        response = self.server.owner.answer(self.command, self.path, headers, self._body())
        self.send_response(response.status)
        challenges = [("WWW-Authenticate", challenge) for challenge in response.challenges]
        for name, value in (*challenges, *response.headers.items()):
            self.send_header(name, value)
        if "Content-Length" not in response.headers:
            self.send_header("Content-Length", str(len(response.body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(response.body)

    do_GET = do_HEAD = do_POST = do_PUT = do_PATCH = do_DELETE = do_PROPFIND = _answer  # noqa: N815 -- the base class calls these

    def _body(self) -> bytes:
        if self.headers.get("Transfer-Encoding") != "chunked":
            return self.rfile.read(int(self.headers.get("Content-Length", 0)))
        body = b""
        while size := int(self.rfile.readline(), 16):
            body += self.rfile.read(size)
            self.rfile.readline()
        self.rfile.readline()
        return body

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 -- the base class's name
        """Print nothing."""
