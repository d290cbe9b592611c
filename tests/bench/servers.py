"""Servers to be driven: the agent, and its floors and peers."""

import contextlib
import json
import os
import shutil
import socket
import subprocess
import sys
from collections.abc import Callable, Generator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from auth_agent_client.wire import Connection, Response, WireError
from tests.bench.build import compiled
from tests.bench.processes import Missing, ProcessError, children, running
from tests.op.provider import CREDENTIALS, OpenIDProvider

# The servers' names in the table.
AGENT: Final = "agent"
PROTOCOL: Final = "asyncio.Protocol echo"
C_ECHO: Final = "C epoll echo"
OIDC: Final = "oidc-agent"

# The agent's messages begin with the array's length, the kind, and the id, which is one byte up to 127.
_ID_AT: Final = 2
_READ_SIZE: Final = 65_536
_TIMEOUT: Final = 5.0  # s


@dataclass(frozen=True, slots=True)
class Server:
    """A server: its socket and processes, and the files of a request and of the right reply.

    `id_at` is where both have the request's number, as one byte; 0 if the reply doesn't repeat it.
    """

    name: str
    path: str
    pids: tuple[int, ...]
    request: Path
    reply: Path
    id_at: int = 0

    @property
    def sizes(self) -> str:
        """How large a request and a reply are."""
        request, reply = (path.stat().st_size for path in (self.request, self.reply))
        return f"{self.name}: a request of {request} bytes, a reply of {reply}"


@dataclass(frozen=True, slots=True)
class Place:
    """Where servers run: a directory for their files, their environment, and their core."""

    directory: Path
    environment: Mapping[str, str]
    core: int | None

    @property
    def socket(self) -> str:
        """The path of the agent's socket."""
        return self.environment["AUTH_AGENT_SOCK"]

    def run(
        self, name: str, command: list[str], path: str, environment: Mapping[str, str] | None = None
    ) -> contextlib.AbstractContextManager[int]:
        """Run a server during the block, once it listens at `path`; the block has its pid."""
        log = self.directory / f"{name}.log"
        return running(command, log, environment or self.environment, listens(path), self.core)


def listens(path: str) -> Callable[[], bool]:
    """Return a function that tells whether a server accepts connections at that socket."""

    def is_ready() -> bool:
        with socket.socket(socket.AF_UNIX) as connection:
            return connection.connect_ex(path) == 0

    return is_ready


def agent_server(directory: Path, path: str, pid: int, account: str, token: str) -> Server:
    """Return a running agent as a server of that account's token.

    Raises:
        ProcessError: it sends something else.

    """
    wire = Connection()
    _, request = wire.request("token", {"account": account})
    reply = _exchange(path, request)
    wire.receive_data(reply)
    try:
        message = wire.next_message()
    except WireError as error:
        raise ProcessError(f"the agent sent {len(reply)} bytes: {error}") from error
    if not isinstance(message, Response) or message.error is not None or token.encode() not in reply:
        raise ProcessError(f"in place of a token the agent sent {len(reply)} bytes of another message")
    return _server(AGENT, directory / "agent", path, (pid,), request, reply, _ID_AT)


@contextlib.contextmanager
def c_echo(place: Place, agent: Server) -> Generator[Server]:
    """Run the least that any server could do, with the agent's reply."""
    path = os.fspath(place.directory / "c.sock")
    with place.run("c", [compiled("echo"), path, os.fspath(agent.reply)], path) as pid:
        yield Server(C_ECHO, path, (pid,), agent.request, agent.reply)


@contextlib.contextmanager
def protocol_echo(place: Place, agent: Server) -> Generator[Server]:
    """Run the least that a server on asyncio could do, with the agent's reply."""
    path = os.fspath(place.directory / "protocol.sock")
    command = [sys.executable, "-m", "tests.bench.protocol_echo", path, os.fspath(agent.reply)]
    with place.run("protocol", command, path) as pid:
        yield Server(PROTOCOL, path, (pid,), agent.request, agent.reply)


@contextlib.contextmanager
def oidc_agent(place: Place, provider: OpenIDProvider, ca: Path, audience: str, account: str) -> Generator[Server]:
    """Run Debian's oidc-agent with an account at that provider, and the same kind of token.

    Raises:
        Missing: it is not installed.

    """
    if shutil.which("oidc-agent") is None or shutil.which("oidc-gen") is None:
        raise Missing("oidc-agent-cli")
    home = place.directory / "oidc-agent"
    (home / ".oidc-agent").mkdir(parents=True)
    path = os.fspath(home / "sock")
    client_id = "basic-app"  # it sends an empty password for a client without one, which the provider refuses
    environment = {
        **place.environment,
        "HOME": os.fspath(home),
        "OIDC_SOCK": path,
        "OIDC_ENCRYPTION_PW": "password",
        "OIDC_REFRESH_TOKEN": provider.login(client_id=client_id, audience=audience).refresh_token or "",
    }
    command = ["oidc-agent", "--console", "--quiet", "--no-webserver", "--no-scheme", "--socket-path", path]
    with place.run("oidc-agent", command, path, environment) as pid:
        generate = ["oidc-gen", "--manual", "--flow", "refresh", "--rt-env", "--pw-env", "--cp", os.fspath(ca)]
        generate += ["--issuer", provider.issuer, "--client-id", client_id, "--aud", audience]
        generate += ["--client-secret", CREDENTIALS[client_id].secret, "--scope", "openid profile email offline_access"]
        generate += ["--redirect-uri", "http://localhost:48631", "--confirm-default", "--prompt", "none", account]
        process = subprocess.run(
            generate, env=environment, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False
        )
        if process.returncode != 0:
            raise ProcessError(f"oidc-gen ended with {process.returncode}:\n{process.stdout}{process.stderr}")
        request = json.dumps({"request": "access_token", "account": account}).encode()
        reply = _exchange(path, request)
        if json.loads(reply).get("status") != "success":
            raise ProcessError(f"in place of a token oidc-agent sent {len(reply)} bytes of something else")
        yield _server(OIDC, home, path, (pid, *children(pid)), request, reply)


def _server(
    name: str, folder: Path, path: str, pids: tuple[int, ...], request: bytes, reply: bytes, id_at: int = 0
) -> Server:
    folder.mkdir(mode=0o700, exist_ok=True)
    files = folder / "request", folder / "reply"
    for file, content in zip(files, (request, reply), strict=True):
        file.write_bytes(content)
    return Server(name, path, pids, *files, id_at)


def _exchange(path: str, request: bytes) -> bytes:
    with socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(_TIMEOUT)
        connection.connect(path)
        connection.sendall(request)
        return connection.recv(_READ_SIZE)
