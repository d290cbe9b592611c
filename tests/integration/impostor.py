"""Servers in place of an agent: they hang, send nonsense, disconnect, or belong to another user."""

import contextlib
import socket
import subprocess
import sys
import threading
from collections.abc import Generator, Sequence
from pathlib import Path

from auth_agent_client.errors import AgentError
from auth_agent_client.wire import Connection, Request

UNPRIVILEGED = 65534  # nobody

# A record, records, or any bytes.
Sendable = dict[str, object] | list[dict[str, object]] | bytes


def listening(path: Path) -> socket.socket:
    """Return a server for which the kernel accepts connections, and that sends nothing."""
    server = socket.socket(socket.AF_UNIX)
    server.bind(str(path))
    server.listen()
    return server


def send_bytes(server: socket.socket, data: bytes, *, times: int = 1, read_first: bool = True) -> threading.Thread:
    """Start a server that sends the data to the first client, `times` times."""

    def serve() -> None:
        connection, _ = server.accept()
        with connection, contextlib.suppress(OSError):
            if read_first:
                connection.recv(1000)
            for _ in range(times):
                connection.sendall(data)

    thread = threading.Thread(target=serve)
    thread.start()
    return thread


@contextlib.contextmanager
def serve_watches(server: socket.socket, *lives: Sequence[Sendable] | None) -> Generator[None, None, None]:
    """Run a server for a watch: in each life it responds with a snapshot, sends the changes, and disconnects.

    None is a life in which it sends nothing at all.
    """

    def live(connection: socket.socket, messages: Sequence[Sendable]) -> None:
        wire = Connection()
        while not isinstance(request := wire.next_message(), Request):
            wire.receive_data(connection.recv(1000))
        response = wire.respond(request, {"agent_id": "impostor", "accounts": messages[0]})
        for one in messages:
            change = response if one is messages[0] else wire.notify("changed", one)
            connection.sendall(one if isinstance(one, bytes) else change)

    def serve() -> None:
        for messages in lives:
            connection, _ = server.accept()
            with connection:
                if messages is not None:
                    live(connection, messages)

    thread = threading.Thread(target=serve)
    thread.start()
    yield
    thread.join()


@contextlib.contextmanager
def scripted(server: socket.socket, *responses: object) -> Generator[list[Request], None, None]:
    """Run a server that sends these responses and errors to the requests of one connection; yield the requests.

    If a response is an event, it disconnects when that is set.
    """
    requests: list[Request] = []

    def serve() -> None:
        connection, _ = server.accept()
        wire = Connection()
        with connection, contextlib.suppress(BrokenPipeError, ConnectionResetError):  # some leave early
            for response in responses:
                while not isinstance(request := wire.next_message(), Request):
                    wire.receive_data(connection.recv(1000))
                requests.append(request)
                if isinstance(response, threading.Event):
                    response.wait()
                    return
                if isinstance(response, AgentError):
                    connection.sendall(wire.respond_with_error(request, response))
                else:
                    connection.sendall(wire.respond(request, response))

    thread = threading.Thread(target=serve)
    thread.start()
    yield requests
    thread.join()


@contextlib.contextmanager
def another_users_agent(path: Path) -> Generator[None, None, None]:
    """Listen there as another user, who must receive nothing. Only root can be two users."""
    # Bound as root, because of the directory. The kernel reports the user that a server had when it began to listen.
    script = (
        "import os, socket, sys; s = socket.socket(socket.AF_UNIX); s.settimeout(30); s.bind(sys.argv[1])\n"
        f"os.setuid({UNPRIVILEGED}); s.listen()\n"
        "print('listening', flush=True); c, _ = s.accept(); print(c.recv(100))"
    )
    with subprocess.Popen([sys.executable, "-c", script, str(path)], stdout=subprocess.PIPE, text=True) as thief:
        assert thief.stdout is not None
        assert thief.stdout.readline() == "listening\n"
        yield
        assert thief.stdout.readline() == "b''\n"
