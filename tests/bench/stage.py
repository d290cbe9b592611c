"""The stage: an agent with a session of the test provider, and the floor's servers, each in its own process."""

import contextlib
import os
import socket
import sys
import tempfile
from collections.abc import Callable, Generator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from auth_agent_client import Agent
from auth_agent_client.wire import Connection, Response
from tests.bench.drivers import Server, WrongResponse, connect, describe
from tests.bench.processes import running
from tests.op.provider import OpenIDProvider

ACCOUNT: Final = "work"
AGENT_COMMAND: Final = f"{sys.prefix}/bin/auth-agent"
_CLIENT_ID: Final = "native-app"
# With an audience the access token is a JWT of the usual length.
_AUDIENCE: Final = "https://api.example/"
_LIFETIME: Final = 3600  # s: no refresh is due during the benchmark
_READ_SIZE: Final = 65_536
# The least that an agent in Python imports; its output shows that the imports are complete.
_BARE: Final = "import asyncio, msgpack, signal; print('ready', flush=True); signal.pause()"


@dataclass(frozen=True, slots=True)
class Stage:
    """The processes to measure."""

    agent: Server
    protocol: Server
    streams: Server
    bare: int
    token: str
    environment: Mapping[str, str]
    directory: Path


@contextlib.contextmanager
def running_stage() -> Generator[Stage]:
    """Start all processes, and end them after the block."""
    with contextlib.ExitStack() as resources:
        directory = Path(resources.enter_context(tempfile.TemporaryDirectory(prefix="auth-agent-bench-")))
        environment = _environment(directory)
        pid, token = resources.enter_context(_agent(directory, environment))
        path = environment["AUTH_AGENT_SOCK"]
        request, response = _exchange(path, token)
        agent = Server(path, pid, request, response)

        def floor(kind: str) -> Server:
            path = os.fspath(directory / f"{kind}.sock")
            command = [sys.executable, "-m", "tests.bench.floor", kind, path, str(len(response))]
            pid = resources.enter_context(running(command, directory / f"{kind}.log", environment, _listens(path)))
            return Server(path, pid, request, bytes(len(response)))

        log = directory / "bare.log"
        bare = running([sys.executable, "-c", _BARE], log, environment, lambda: b"ready" in log.read_bytes())
        yield Stage(
            agent=agent,
            protocol=floor("protocol"),
            streams=floor("streams"),
            bare=resources.enter_context(bare),
            token=token,
            environment=environment,
            directory=directory,
        )


def _environment(directory: Path) -> dict[str, str]:
    environment = {name: value for name, value in os.environ.items() if not name.startswith("AUTH_AGENT_")}
    # An installed program has its bytecode; without it, a command would mostly compile.
    environment.pop("PYTHONDONTWRITEBYTECODE", None)
    return environment | {
        "AUTH_AGENT_SOCK": os.fspath(directory / "agent" / "agent.sock"),
        "AUTH_AGENT_CONFIG": os.fspath(directory / "config.toml"),
    }


@contextlib.contextmanager
def _agent(directory: Path, environment: Mapping[str, str]) -> Generator[tuple[int, str]]:
    """Run a real agent with one session; yield its pid and the token. The provider ends first, so as not to disturb."""
    path = environment["AUTH_AGENT_SOCK"]
    with contextlib.ExitStack() as resources:
        with OpenIDProvider(access_token_lifetime=_LIFETIME) as provider:
            Path(environment["AUTH_AGENT_CONFIG"]).write_text(_settings(provider.issuer), encoding="utf-8")
            command = [AGENT_COMMAND, "run", "--store", "memory"]
            pid = resources.enter_context(running(command, directory / "agent.log", environment, _listens(path)))
            refresh_token = provider.login(client_id=_CLIENT_ID, audience=_AUDIENCE).refresh_token
            with Agent(path) as agent:
                agent.import_refresh_token(refresh_token or "", ACCOUNT)
                token = agent.token(ACCOUNT).access_token
            response = provider.userinfo(token)
            if not response.is_success:
                raise WrongResponse(f"the provider doesn't accept the agent's token: {response.status_code}")
        yield pid, token


def _settings(issuer: str) -> str:
    return f"""\
[accounts.{ACCOUNT}]
issuer = "{issuer}"
client_id = "{_CLIENT_ID}"
audience = "{_AUDIENCE}"
"""


def _listens(path: str) -> Callable[[], bool]:
    def listens() -> bool:
        with socket.socket(socket.AF_UNIX) as connection:
            return connection.connect_ex(path) == 0

    return listens


def _exchange(path: str, token: str) -> tuple[bytes, bytes]:
    """Return a request for a token and the checked response, which is constant while the token is valid."""
    wire = Connection()
    _, request = wire.request("token", {"account": ACCOUNT})
    with connect(path) as connection:
        connection.sendall(request)
        response = connection.recv(_READ_SIZE)
    wire.receive_data(response)
    message = wire.next_message()
    if isinstance(message, Response) and message.error is None and token.encode() in response:
        return request, response
    raise WrongResponse(f"in place of a token the agent sent {describe(response)}")
