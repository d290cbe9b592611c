"""A hostile provider, over a socket: faults that a certified provider can't simulate, byte by byte."""

import json
import socket
import time
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, suppress
from dataclasses import dataclass, field
from functools import partial
from threading import Event, Thread
from types import TracebackType
from typing import Any, Self

from tests.integration.agent_process import PATIENCE

METADATA = "/.well-known/openid-configuration"
# The longest response: a test that fails must end.
_ENDLESS = 256 * 1024 * 1024

Responder = Callable[[socket.socket], None]


@dataclass(frozen=True)
class ReceivedRequest:
    """A received request."""

    path: str
    body: str = field(repr=False)


def plain(body: bytes | Mapping[str, object], status: int = 200, *headers: str) -> Responder:
    """Return a valid HTTP response; a mapping is sent as JSON."""
    content = body if isinstance(body, bytes) else json.dumps(dict(body)).encode()
    head = [f"HTTP/1.1 {status} Whatever", *headers, f"content-length: {len(content)}", "", ""]
    return raw("\r\n".join(head).encode() + content)


def raw(data: bytes) -> Responder:
    """Return a response of these bytes, and then the end of the stream."""
    return lambda connection: connection.sendall(data)


def endless(begin: bytes, again: bytes, pause: float = 0) -> Responder:
    """Return a response of these bytes, and then endlessly of others, with that pause in seconds."""

    def respond(connection: socket.socket) -> None:
        connection.sendall(begin)
        for _ in range(_ENDLESS // max(1, len(again))):
            connection.sendall(again)
            time.sleep(pause)

    return respond


def in_turn(*responders: Responder) -> Responder:
    """Return the responses one after the other; the last one is repeated."""
    remaining = list(responders)

    def respond(connection: socket.socket) -> None:
        responder = remaining.pop(0) if len(remaining) > 1 else remaining[0]
        responder(connection)

    return respond


def silence(connection: socket.socket) -> None:
    """Send nothing until the client disconnects."""
    with suppress(OSError):
        connection.recv(1)


CHUNKED = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n"
SIZED = b"HTTP/1.1 200 OK\r\ncontent-length: 99999999999\r\n\r\n"


class HostileServer(AbstractContextManager["HostileServer"]):
    """Many providers in one server: the first segment of the path names the provider, whose responses a test sets.

    The metadata of a `provider` are valid except for `fields`; None leaves a field out.
    """

    def __init__(self) -> None:
        self.received: list[ReceivedRequest] = []
        self._responders: dict[str, Responder] = {}
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=64)
        self._ended = Event()
        self._connections: list[socket.socket] = []
        self._threads: list[Thread] = []
        self.origin = f"http://127.0.0.1:{self._listener.getsockname()[1]}"

    def __enter__(self) -> Self:
        self._start(self._accept)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._ended.set()
        for opened in (self._listener, *self._connections):
            with suppress(OSError):
                opened.shutdown(socket.SHUT_RDWR)
            opened.close()
        for thread in self._threads:
            thread.join(PATIENCE)

    def issuer(self, name: str) -> str:
        """Return the issuer of the provider of that name."""
        return f"{self.origin}/{name}"

    def provider(self, name: str, responses: Mapping[str, Responder] | None = None, **fields: Any) -> str:
        """Add a provider of that name, with responses by path; return its issuer."""
        issuer = self.issuer(name)
        metadata = {
            "issuer": issuer,
            "token_endpoint": f"{issuer}/token",
            "authorization_endpoint": f"{issuer}/authorize",
            "device_authorization_endpoint": f"{issuer}/device",
            "revocation_endpoint": f"{issuer}/revoke",
            "jwks_uri": f"{issuer}/jwks",
            "token_endpoint_auth_methods_supported": ["none"],
            **fields,
        }
        self.set_response(
            name, METADATA, plain({field: value for field, value in metadata.items() if value is not None})
        )
        for path, response in (responses or {}).items():
            self.set_response(name, path, response)
        return issuer

    def set_response(self, name: str, path: str, response: Responder) -> None:
        """Set the response at that path of that provider."""
        self._responders[f"/{name}{path}"] = response

    def requests(self, name: str) -> list[str]:
        """Return the paths of all requests to that provider except for its metadata, wherever it may be."""
        below = [
            request.path.removeprefix(f"/{name}") for request in self.received if request.path.startswith(f"/{name}/")
        ]
        return [path for path in below if not path.startswith("/.well-known/")]

    def _accept(self) -> None:
        while not self._ended.is_set():
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            self._connections.append(connection)
            self._start(partial(self._serve, connection))

    def _start(self, work: Callable[[], None]) -> None:
        thread = Thread(target=work, daemon=True)
        self._threads.append(thread)
        thread.start()

    def _serve(self, connection: socket.socket) -> None:
        with connection, suppress(OSError, ValueError):
            head, _, body = _until_blank_line(connection).partition(b"\r\n\r\n")
            request, *headers = head.decode("latin-1").split("\r\n")
            lengths = [line.partition(":")[2] for line in headers if line.lower().startswith("content-length:")]
            while len(body) < int((lengths or ["0"])[0]):
                body += _more(connection)
            path = request.split(" ")[1].partition("?")[0]
            self.received.append(ReceivedRequest(path, body.decode("latin-1")))
            self._responders.get(path, plain(b"", 404))(connection)


def _until_blank_line(connection: socket.socket) -> bytes:
    read = b""
    while b"\r\n\r\n" not in read:
        read += _more(connection)
    return read


def _more(connection: socket.socket) -> bytes:
    data = connection.recv(65_536)
    if not data:
        raise ValueError("the request is incomplete")
    return data
