"""The demo's provider, and its agent in a private directory."""

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
from tests.bench.processes import running
from tests.op.provider import OpenIDProvider

ACCOUNT: Final = "demo"
CLIENT_ID: Final = "native-app"
LIFETIME: Final = 10  # s, of an access token
# `-P`: without the current directory in the path.
AUTH_AGENT: Final = (sys.executable, "-P", "-m", "auth_agent")


@dataclass(frozen=True, slots=True)
class Stage:
    """The provider, the environment with its agent, and a temporary directory."""

    provider: OpenIDProvider
    environment: Mapping[str, str]
    directory: Path

    @property
    def socket(self) -> str:
        """The agent's socket."""
        return self.environment["AUTH_AGENT_SOCK"]

    @property
    def config(self) -> Path:
        """The agent's configuration file."""
        return Path(self.environment["AUTH_AGENT_CONFIG"])

    @property
    def userinfo(self) -> str:
        """The provider's UserInfo endpoint."""
        return self.provider.url + self.provider.paths["userinfo"]

    def client(self) -> Agent:
        """Return a client of the agent."""
        return Agent(self.socket)


@contextlib.contextmanager
def provider_started() -> Generator[OpenIDProvider]:
    """Run a provider whose access tokens live for 10 s, and whose refresh tokens can be used once."""
    with OpenIDProvider(flavor="auth0", access_token_lifetime=LIFETIME, rotate=True, overlap=0) as provider:
        yield provider


@contextlib.contextmanager
def agent_started(provider: OpenIDProvider) -> Generator[Stage]:
    """Run an agent without accounts."""
    with tempfile.TemporaryDirectory(prefix="auth-agent-demo-") as path:
        directory = Path(path)
        inherited = {name: value for name, value in os.environ.items() if not name.startswith("AUTH_AGENT_")}
        # For the commands of `auth-agent`, whose output a person sees.
        environment = inherited | {
            "AUTH_AGENT_SOCK": str(directory / "run" / "agent.sock"),
            "AUTH_AGENT_CONFIG": str(directory / "config.toml"),
        }
        # For the agent only, since a browser needs the user's home directory.
        home = {"HOME": path, "XDG_STATE_HOME": f"{path}/state", "XDG_CONFIG_HOME": f"{path}/config"}
        command = [*AUTH_AGENT, "run", "--store", "memory"]
        stage = Stage(provider, environment, directory)
        with running(command, directory / "agent.log", environment | home, _listens(stage.socket)):
            yield stage


def _listens(path: str) -> Callable[[], bool]:
    def listens() -> bool:
        with socket.socket(socket.AF_UNIX) as connection:
            return connection.connect_ex(path) == 0

    return listens
