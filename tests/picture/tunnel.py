"""A proxy on loopback (RFC 9110, section 9.3.6: CONNECT) that maps public host names to local ports."""

import socket
import socketserver
import threading
from collections.abc import Generator, Mapping
from contextlib import contextmanager

_MOST = 65_536


class _Handler(socketserver.StreamRequestHandler):
    def handle(self) -> None:
        """Accept CONNECT, and forward bytes both ways until either side ends."""
        host = self.rfile.readline().split()[1].partition(b":")[0].decode()
        while self.rfile.readline().strip():
            pass
        assert isinstance(self.server, _Server)
        with socket.create_connection(("127.0.0.1", self.server.ports[host])) as target:
            self.wfile.write(b"HTTP/1.1 200 OK\r\n\r\n")
            back = threading.Thread(target=_forward, args=(target, self.connection))
            back.start()
            _forward(self.connection, target)
            back.join()


class _Server(socketserver.ThreadingTCPServer):
    daemon_threads = True
    ports: Mapping[str, int]


def _forward(source: socket.socket, target: socket.socket) -> None:
    try:
        while data := source.recv(_MOST):
            target.sendall(data)
        target.shutdown(socket.SHUT_WR)
    except OSError:
        return  # one side has disconnected


@contextmanager
def tunnel(ports: Mapping[str, int]) -> Generator[str, None, None]:
    """Run a proxy that maps each host to its port, including hosts that are added later; yield its URL."""
    with _Server(("127.0.0.1", 0), _Handler) as server:
        server.ports = ports
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_address[1]}"
        finally:
            server.shutdown()
            thread.join()
