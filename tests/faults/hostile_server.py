"""A provider that only means harm: what no certified one can be made to do, over a socket, byte by byte."""

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
# No answer is longer: a test that goes wrong must come to an end.
_ENDLESS = 256 * 1024 * 1024

Answer = Callable[[socket.socket], None]


@dataclass(frozen=True)
class Asked:
    """A request that came."""

    path: str
    body: str = field(repr=False)


def plain(body: bytes | Mapping[str, object], status: int = 200, *headers: str) -> Answer:
    """An answer as HTTP has it; a mapping is sent as JSON."""
    content = body if isinstance(body, bytes) else json.dumps(dict(body)).encode()
    head = [f"HTTP/1.1 {status} Whatever", *headers, f"content-length: {len(content)}", "", ""]
    return raw("\r\n".join(head).encode() + content)


def raw(data: bytes) -> Answer:
    """These bytes, and then the end."""
    return lambda connection: connection.sendall(data)


def endless(begin: bytes, again: bytes, pause: float = 0) -> Answer:
    """These bytes, and then others for ever; so many seconds between them."""

    def answer(connection: socket.socket) -> None:
        connection.sendall(begin)
        for _ in range(_ENDLESS // max(1, len(again))):
            connection.sendall(again)
            time.sleep(pause)

    return answer


def in_turn(*answers: Answer) -> Answer:
    """One after the other; the last one stays."""
    left = list(answers)

    def answer(connection: socket.socket) -> None:
        now = left.pop(0) if len(left) > 1 else left[0]
        now(connection)

    return answer


def silence(connection: socket.socket) -> None:
    """Nothing, for as long as somebody waits for it."""
    with suppress(OSError):
        connection.recv(1)


CHUNKED = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n"
SIZED = b"HTTP/1.1 200 OK\r\ncontent-length: 99999999999\r\n\r\n"


class HostileServer(AbstractContextManager["HostileServer"]):
    """Many providers in one: below each first part of a path there is another one, which answers as a test says.

    The metadata of a `provider` is what it should be, unless `fields` says otherwise; None leaves a field out.
    """

    def __init__(self) -> None:
        self.asked: list[Asked] = []
        self._answers: dict[str, Answer] = {}
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
        for one in (self._listener, *self._connections):
            with suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)
            one.close()
        for thread in self._threads:
            thread.join(PATIENCE)

    def issuer(self, name: str) -> str:
        """What the provider of that name is called."""
        return f"{self.origin}/{name}"

    def provider(self, name: str, answers: Mapping[str, Answer] | None = None, **fields: Any) -> str:
        """A provider of that name, which answers so by the path below it; its issuer."""
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
        self.answer(name, METADATA, plain({field: value for field, value in metadata.items() if value is not None}))
        for path, answer in (answers or {}).items():
            self.answer(name, path, answer)
        return issuer

    def answer(self, name: str, path: str, answer: Answer) -> None:
        """Answer so from now on, at that path of that provider."""
        self._answers[f"/{name}{path}"] = answer

    def requests(self, name: str) -> list[str]:
        """What that provider was asked for but its metadata: the paths below it."""
        below = [one.path.removeprefix(f"/{name}") for one in self.asked if one.path.startswith(f"/{name}/")]
        return [path for path in below if path != METADATA]

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
            self.asked.append(Asked(path, body.decode("latin-1")))
            self._answers.get(path, plain(b"", 404))(connection)


def _until_blank_line(connection: socket.socket) -> bytes:
    read = b""
    while b"\r\n\r\n" not in read:
        read += _more(connection)
    return read


def _more(connection: socket.socket) -> bytes:
    more = connection.recv(65_536)
    if not more:
        raise ValueError("half a request")
    return more
