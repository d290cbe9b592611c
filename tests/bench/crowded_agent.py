"""An agent with many accounts at quick providers, each a process of its own."""

import contextlib
import http.client
import json
import os
import socket
import sys
import time
from collections.abc import Callable, Generator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from auth_agent_client import Agent
from tests.bench.comparison import WrongResponse
from tests.bench.cores import Cores
from tests.bench.processes import running
from tests.bench.quick_provider import Counts
from tests.bench.servers import listens
from tests.bench.stage import AGENT_COMMAND, account_settings
from tests.free_ports import free_ports

# Imports at a time: as many as the agent sends to one provider.
_AT_ONCE: Final = 16
_PATIENCE: Final = 30.0  # s
_POLL: Final = 0.01  # s


@dataclass(frozen=True, slots=True)
class ProviderProcess:
    """A running `quick_provider`."""

    port: int
    pid: int

    @property
    def issuer(self) -> str:
        """Its issuer."""
        return f"http://127.0.0.1:{self.port}"

    def control(self, **settings: float) -> Counts:
        """Change its settings; return what it has counted."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=_PATIENCE)
        query = "&".join(f"{name}={value}" for name, value in settings.items())
        with contextlib.closing(connection):
            connection.request("GET", f"/control?{query}")
            return Counts(**json.loads(connection.getresponse().read()))


@contextlib.contextmanager
def quick_provider(log: Path, environment: Mapping[str, str], core: int | None) -> Generator[ProviderProcess]:
    """Run a quick provider during the block."""
    (port,) = free_ports(1)

    def is_ready() -> bool:
        with socket.socket() as connection:
            return connection.connect_ex(("127.0.0.1", port)) == 0

    command = [sys.executable, "-m", "tests.bench.quick_provider", str(port)]
    with running(command, log, environment, is_ready, core) as pid:
        yield ProviderProcess(port, pid)


@dataclass(frozen=True, slots=True)
class CrowdedAgent:
    """A running agent, and the provider of each of its accounts, by the account's name."""

    path: str
    pid: int
    homes: Mapping[str, ProviderProcess]

    def log_in(self, accounts: Sequence[str] | None = None) -> float:
        """Have a new session in each of these accounts, or in all; return how many seconds it took."""
        start = time.monotonic()
        with ThreadPoolExecutor(_AT_ONCE) as pool:
            for _ in pool.map(self._log_in_some, _dealt(list(accounts or self.homes), _AT_ONCE)):
                pass
        return time.monotonic() - start

    def _log_in_some(self, accounts: Sequence[str]) -> None:
        with Agent(self.path) as agent:
            for account in accounts:
                agent.import_refresh_token(f"{account}.login.{os.urandom(8).hex()}", account)


@contextlib.contextmanager
def crowded_agent(
    directory: Path,
    environment: Mapping[str, str],
    cores: Cores,
    homes: Mapping[str, ProviderProcess],
    wrap_store: str | None = None,
) -> Generator[CrowdedAgent]:
    """Run an agent with these accounts during the block, without sessions; `wrap_store` is as for tests' launcher."""
    directory.mkdir(exist_ok=True)
    path = os.fspath(directory / "agent" / "agent.sock")
    config = directory / "config.toml"
    config.write_text("".join(account_settings(name, home.issuer) for name, home in homes.items()), encoding="utf-8")
    environment = {**environment, "AUTH_AGENT_SOCK": path, "AUTH_AGENT_CONFIG": os.fspath(config)}
    launcher = [sys.executable, "-m", "tests.faults.launcher", "--wrap-store", wrap_store or ""]
    command = [*(launcher if wrap_store else [AGENT_COMMAND]), "run", "--store", "memory"]
    with running(command, directory / "agent.log", environment, listens(path), cores.server) as pid:
        yield CrowdedAgent(path, pid, homes)


def until(condition: Callable[[], bool], what: str) -> None:
    """Wait until the condition holds.

    Raises:
        WrongResponse: it takes too long.

    """
    deadline = time.monotonic() + _PATIENCE
    while not condition():
        if time.monotonic() > deadline:
            raise WrongResponse(f"{what}: not within {_PATIENCE:g} s")
        time.sleep(_POLL)


def _dealt(accounts: Sequence[str], hands: int) -> list[Sequence[str]]:
    return [accounts[number::hands] for number in range(hands)]
