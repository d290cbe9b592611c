"""A proxy on loopback, by CONNECT or SOCKS 5, that leads each host to a local port and records what it was asked."""

import base64
import socket
import socketserver
import ssl
import threading
from collections.abc import Mapping
from contextlib import suppress
from ipaddress import ip_address
from types import TracebackType
from typing import Literal, Self

_MOST = 65_536


class ProxyServer:
    """The proxy. With `credentials`, a user and a password, it refuses who does not have them."""

    def __init__(
        self,
        kind: Literal["http", "socks5"],
        ports: Mapping[str, int],
        *,
        tls: ssl.SSLContext | None = None,
        credentials: tuple[str, str] | None = None,
    ) -> None:
        self.kind = kind
        self.ports = ports
        self.tls = tls
        self.credentials = credentials
        # The host and port of each connection that was asked for.
        self.asked: list[tuple[str, int]] = []
        self._server = _Server(("127.0.0.1", 0), _Handler)
        self._server.proxy = self
        self.port: int = self._server.server_address[1]

    def __enter__(self) -> Self:
        threading.Thread(target=self._server.serve_forever).start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.shutdown()
        self._server.server_close()

    def url(self, scheme: str, host: str = "127.0.0.1") -> str:
        """Return its URL, with the right credentials."""
        user = "" if self.credentials is None else f"{':'.join(self.credentials)}@"
        return f"{scheme}://{user}{host}:{self.port}"


class _Server(socketserver.ThreadingTCPServer):
    daemon_threads = True
    block_on_close = False
    proxy: ProxyServer


class _Handler(socketserver.BaseRequestHandler):
    def handle(self) -> None:
        assert isinstance(self.server, _Server)
        proxy = self.server.proxy
        with suppress(OSError, _RefusedError):  # whoever asked may leave at any time
            connection: socket.socket = self.request
            if proxy.tls is not None:
                connection = proxy.tls.wrap_socket(connection, server_side=True)
            with connection, connection.makefile("rb", buffering=0) as file:
                steps = _Connect(file, connection) if proxy.kind == "http" else _Socks(file, connection)
                host, port = steps.asked_for(proxy.credentials)
                proxy.asked.append((host, port))
                if host not in proxy.ports:
                    steps.refuse()
                with socket.create_connection(("127.0.0.1", proxy.ports[host])) as target:
                    steps.agree()
                    back = threading.Thread(target=_forward, args=(target, connection))
                    back.start()
                    _forward(connection, target)
                    back.join()


class _RefusedError(Exception):
    pass


class _Connect:
    """RFC 9110, section 9.3.6."""

    def __init__(self, file: socket.SocketIO, connection: socket.socket) -> None:
        self._file = file
        self._connection = connection

    def asked_for(self, credentials: tuple[str, str] | None) -> tuple[str, int]:
        method, target, _ = self._file.readline().decode().split()
        assert method == "CONNECT"
        headers: dict[str, str] = {}
        while line := self._file.readline().decode().strip():
            name, _, value = line.partition(":")
            headers[name.lower()] = value.strip()
        expected = None if credentials is None else f"Basic {base64.b64encode(':'.join(credentials).encode()).decode()}"
        if headers.get("proxy-authorization") != expected:
            self.refuse("407 Proxy Authentication Required")
        host, _, port = target.rpartition(":")
        return host.strip("[]"), int(port)

    def agree(self) -> None:
        self._connection.sendall(b"HTTP/1.1 200 OK\r\n\r\n")

    def refuse(self, status: str = "403 Forbidden") -> None:
        self._connection.sendall(f"HTTP/1.1 {status}\r\n\r\n".encode())
        raise _RefusedError


class _Socks:
    """RFC 1928, RFC 1929."""

    def __init__(self, file: socket.SocketIO, connection: socket.socket) -> None:
        self._file = file
        self._connection = connection

    def asked_for(self, credentials: tuple[str, str] | None) -> tuple[str, int]:
        version, count = self._read(2)
        assert version == 5
        method = 0 if credentials is None else 2
        if method not in self._read(count):
            self._connection.sendall(b"\x05\xff")
            raise _RefusedError
        self._connection.sendall(bytes((5, method)))
        if credentials is not None:
            self._read(1)
            given = tuple(self._read(self._read(1)[0]).decode() for _ in range(2))
            self._connection.sendall(bytes((1, int(given != credentials))))
            if given != credentials:
                raise _RefusedError
        _, command, _, kind = self._read(4)
        assert command == 1
        host = self._read(self._read(1)[0]).decode() if kind == 3 else str(ip_address(self._read({1: 4, 4: 16}[kind])))
        return host, int.from_bytes(self._read(2), "big")

    def agree(self) -> None:
        # In pieces, as a network may bring them.
        for byte in b"\x05\x00\x00\x01\x00\x00\x00\x00\x00\x00":
            self._connection.sendall(bytes((byte,)))

    def refuse(self) -> None:
        self._connection.sendall(b"\x05\x02\x00\x01\x00\x00\x00\x00\x00\x00")
        raise _RefusedError

    def _read(self, count: int) -> bytes:
        data = b""
        while len(data) < count:
            more = self._file.read(count - len(data))
            if not more:
                raise _RefusedError
            data += more
        return data


def _forward(source: socket.socket, target: socket.socket) -> None:
    with suppress(OSError):  # one side has disconnected
        while data := source.recv(_MOST):
            target.sendall(data)
    with suppress(OSError):
        target.shutdown(socket.SHUT_WR)
