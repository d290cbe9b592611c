"""A proxy on loopback (RFC 9110, section 9.3.6: CONNECT) that leads from the world's names to this machine's ports."""

import socket
import socketserver
import threading
from collections.abc import Generator, Mapping
from contextlib import contextmanager

_MOST = 65_536


class _Handler(socketserver.StreamRequestHandler):
    def handle(self) -> None:
        """Answer CONNECT, and carry bytes both ways until either side ends."""
        host = self.rfile.readline().split()[1].partition(b":")[0].decode()
        while self.rfile.readline().strip():
            pass
        assert isinstance(self.server, _Server)
        with socket.create_connection(("127.0.0.1", self.server.ports[host])) as there:
            self.wfile.write(b"HTTP/1.1 200 OK\r\n\r\n")
            back = threading.Thread(target=_carry, args=(there, self.connection))
            back.start()
            _carry(self.connection, there)
            back.join()


class _Server(socketserver.ThreadingTCPServer):
    daemon_threads = True
    ports: Mapping[str, int]


def _carry(source: socket.socket, target: socket.socket) -> None:
    try:
        while data := source.recv(_MOST):
            target.sendall(data)
        target.shutdown(socket.SHUT_WR)
    except OSError:
        return  # one of them has gone


@contextmanager
def tunnel(ports: Mapping[str, int]) -> Generator[str, None, None]:
    """The address of a proxy that leads from each host to its port, also of hosts that are added later."""
    with _Server(("127.0.0.1", 0), _Handler) as server:
        server.ports = ports
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_address[1]}"
        finally:
            server.shutdown()
            thread.join()
