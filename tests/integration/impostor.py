"""What may listen in an agent's place: servers that hang, talk nonsense, hang up, or are somebody else's."""

import contextlib
import socket
import subprocess
import sys
import threading
from collections.abc import Generator
from pathlib import Path

UNPRIVILEGED = 65534  # nobody


def listening(path: Path) -> socket.socket:
    """A server that accepts what the kernel accepts for it, and says nothing."""
    server = socket.socket(socket.AF_UNIX)
    server.bind(str(path))
    server.listen()
    return server


def answering(server: socket.socket, answer: bytes, *, times: int = 1, read_first: bool = True) -> threading.Thread:
    """A server that says that, so many times, to the first who comes."""

    def serve() -> None:
        connection, _ = server.accept()
        with connection, contextlib.suppress(OSError):
            if read_first:
                connection.recv(1000)
            for _ in range(times):
                connection.sendall(answer)

    thread = threading.Thread(target=serve)
    thread.start()
    return thread


@contextlib.contextmanager
def another_users_agent(path: Path) -> Generator[None, None, None]:
    """Another user who listens there, and must hear nothing from the one who comes. Only root can be two users."""
    # Bound as root: the directory lets nobody else in. The kernel says of a server who it was when it began to listen.
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
