"""Agents of a row's own, with accounts in memory or in a sealed file; and what they import, without an agent."""

import contextlib
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

from auth_agent.host.readiness import VARIABLE
from auth_agent_client import Agent, Locked, Unavailable
from tests.bench.accounts import PASSPHRASE, access_token, configuration, names, seal
from tests.bench.comparison import WrongResponse
from tests.bench.processes import children
from tests.bench.servers import Place
from tests.bench.stage import AGENT_COMMAND, Stage
from tests.bench.started import Started, started

_PATIENCE: Final = 60.0  # s
_POLL: Final = 0.01  # s

# The name of a side: a bare interpreter with the agent's own modules, and the packages that they need.
IMPORTS: Final = "its imports"

_IMPORTS: Final = f"""\
import os, signal
from auth_agent import daemon
from auth_agent.cli import commands, main, run
from auth_agent.host.late_imports import import_all
import_all()
os.write(int(os.environ["{VARIABLE}"]), b"\\n")
signal.pause()
"""


def place(stage: Stage, name: str, config: str) -> Place:
    """Make the directory of an agent's configuration, socket and state."""
    directory = stage.directory / name
    directory.mkdir(mode=0o700)
    (directory / "config.toml").write_text(config, encoding="utf-8")
    return _place(stage, directory)


def sealed_place(stage: Stage, accounts: int) -> Place:
    """Return a place with so many accounts, whose sessions are in a sealed file that is unlocked at the start."""
    directory = stage.directory / f"sealed-{accounts}"
    if not directory.exists():
        place(stage, directory.name, configuration(names(accounts)))
        seal(directory / ".local" / "state" / "auth-agent", names(accounts))
        (directory / "auth-agent-passphrase").write_text(PASSPHRASE)
    return _place(stage, directory)


def _place(stage: Stage, directory: Path) -> Place:
    inherited = {name: value for name, value in stage.environment.items() if not name.startswith("XDG_")}
    own = {
        "HOME": directory,
        "XDG_RUNTIME_DIR": directory,
        "AUTH_AGENT_SOCK": directory / "agent.sock",
        "AUTH_AGENT_CONFIG": directory / "config.toml",
        "CREDENTIALS_DIRECTORY": directory,  # where a service's passphrase is
    }
    return Place(directory, inherited | {name: os.fspath(path) for name, path in own.items()}, stage.cores.server)


def agent(where: Place, store: str = "memory") -> contextlib.AbstractContextManager[Started]:
    """Run an agent during the block, once it listens."""
    command = [AGENT_COMMAND, "run", "--store", store]
    return started(command, where.directory / "log", where.environment, where.core)


def imports(where: Place) -> contextlib.AbstractContextManager[Started]:
    """Run a bare interpreter during the block, once it has imported what the agent imports."""
    return started([sys.executable, "-c", _IMPORTS], where.directory / "log", where.environment, where.core)


def await_token(client: Agent, account: str) -> None:
    """Wait until the agent serves the token of an account that `seal` stored.

    Raises:
        WrongResponse: it serves another token, or none within a minute.

    """

    def is_served() -> bool:
        try:
            token = client.token(account).access_token
        except (Locked, Unavailable):
            return False
        if token != access_token(account):
            raise WrongResponse(f"the agent has another token of {account} than the store")
        return True

    _wait(is_served, f"no token of {account} was served")


def await_all(client: Agent, account: str) -> None:
    """Wait until the agent has read all sessions, of which that is one. Raises WrongResponse if it takes a minute."""

    def are_read() -> bool:
        # Of one account: the records of a thousand would take the agent time and memory.
        status = client.status(account)
        return status.agent.store.unread == 0 and status.accounts[0].state == "ready"

    _wait(are_read, "not all sessions were read")


def await_rest(pid: int) -> None:
    """Wait until the agent has ended its worker, as it does when it is idle. Raises WrongResponse as above."""
    _wait(lambda: not children(pid), "the agent's worker did not end")


def _wait(condition: Callable[[], bool], failure: str) -> None:
    deadline = time.monotonic() + _PATIENCE
    while not condition():
        if time.monotonic() > deadline:
            raise WrongResponse(f"{failure} within {_PATIENCE:g} s")
        time.sleep(_POLL)
