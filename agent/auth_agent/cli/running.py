"""The agent that runs, as the commands find it; and one started in the background where none does."""

import fcntl
import os
import select
import sys
from collections.abc import Generator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

import click

from auth_agent.cli.detached import Detached
from auth_agent.cli.screen import say, shown_path
from auth_agent.host import readiness
from auth_agent.printable import printable
from auth_agent.storage.state_directory import prepare, state_path
from auth_agent_client import Agent, Record
from auth_agent_client.errors import AgentNotRunning, UnknownAccount

# An agent listens before it touches a keyring or a network; a busy machine takes its time to import it.
_START_PATIENCE: Final = 15.0
_LAST_LINES: Final = 5


def record_of(agent: Agent, name: str) -> Record | None:
    """The record of an account; None: the agent that runs doesn't know it."""
    try:
        records = agent.status(name).accounts
    except UnknownAccount:
        return None
    return records[0] if records else None


def ensure_running() -> bool:
    """Start an agent in the background where none runs, and say so; whether one was started.

    Raises:
        ClickException: it did not come to serve; the text says what it logged.
        StartupError: there is no place for its log.

    """
    if _answers():
        return False
    directory = state_path()
    prepare(directory)
    with _turn(directory):
        if _answers():  # another command had its turn before
            return False
        log = directory / "agent.log"
        pid = _start(log)
    say(f"No agent was running: started one (process {pid}), its log is {shown_path(log)}")
    return True


def _answers() -> bool:
    try:
        with Agent() as agent:
            agent.hello("login")
    except AgentNotRunning:
        return False
    return True


@contextmanager
def _turn(directory: Path) -> Generator[None, None, None]:
    """Lets one command at a time start an agent; another one may find it running then."""
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def _start(log: Path) -> int:
    """Start an agent, wait until it serves; its process."""
    with suppress(FileNotFoundError):
        log.replace(log.with_name(f"{log.name}.old"))
    output = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    # The agent writes to the pipe when it serves, and closes it when it ends.
    reading, writing = os.pipe()
    try:
        try:
            # -P: no module is found in the directory that it happens to begin in: the root, lest it keep any busy.
            command = [sys.executable, "-P", "-m", "auth_agent", "run"]
            process = Detached(command, output, directory="/", environment=_environment(writing), kept=(writing,))
        finally:
            os.close(output)
            os.close(writing)
        ready, _, _ = select.select([reading], [], [], _START_PATIENCE)
        serves = bool(ready and os.read(reading, 1))
    finally:
        os.close(reading)
    if not ready:
        process.terminate()
        raise click.ClickException(
            f"an agent was started, and has not answered within {_START_PATIENCE:.0f} s:{_said(log)}"
        )
    if not serves and not _answers():  # one that a service manager started may have been faster
        raise click.ClickException(f"an agent was started, and ended at once:{_said(log)}")
    return process.pid


def _environment(ready: int) -> dict[str, str]:
    """What the agent finds as this command did, from another directory; it tells that descriptor when it serves."""
    chosen = os.environ.get("AUTH_AGENT_CONFIG")
    config = {"AUTH_AGENT_CONFIG": str(Path(chosen).absolute())} if chosen else {}
    return {**os.environ, **config, readiness.VARIABLE: str(ready)}


def _said(log: Path) -> str:
    """The last that an agent logged, and where the rest is."""
    lines = log.read_text("utf-8", "replace").splitlines()[-_LAST_LINES:]
    return "".join(f"\n  {printable(line, 500)}" for line in [*lines, f"(its log: {shown_path(log)})"])
