"""Find the running agent, or start one in the background."""

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

# Seconds. An agent listens before it uses a keyring or the network, but a busy machine imports it slowly.
_START_PATIENCE: Final = 15.0
_LAST_LINES: Final = 5


def record_of(agent: Agent, name: str) -> Record | None:
    """Return the record of an account; None if the running agent doesn't know it."""
    try:
        records = agent.status(name).accounts
    except UnknownAccount:
        return None
    return records[0] if records else None


def ensure_running() -> bool:
    """Start an agent in the background if none runs, print that, and return whether one was started.

    Raises:
        ClickException: the agent did not start; the message has the end of its log.
        StartupError: its log can't be written.

    """
    if _is_running():
        return False
    directory = state_path()
    prepare(directory)
    with _start_lock(directory):
        if _is_running():  # another command has started one meanwhile
            return False
        log = directory / "agent.log"
        pid = _start(log)
    say(f"No agent was running: started one (process {pid}). Its log is {shown_path(log)}")
    return True


def _is_running() -> bool:
    try:
        with Agent() as agent:
            agent.hello("login")
    except AgentNotRunning:
        return False
    return True


@contextmanager
def _start_lock(directory: Path) -> Generator[None, None, None]:
    """Hold a lock, so that only one command at a time starts an agent."""
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def _start(log: Path) -> int:
    """Start an agent, wait until it serves, and return its process id."""
    with suppress(FileNotFoundError):
        log.replace(log.with_name(f"{log.name}.old"))
    output = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    # The agent writes to the pipe when it serves. If it ends first, the pipe is closed.
    reading, writing = os.pipe()
    try:
        try:
            # The agent runs in /, so that it keeps no directory busy. -P: it imports no module from there.
            command = [sys.executable, "-P", "-m", "auth_agent", "run"]
            process = Detached(command, output, directory="/", environment=_environment(writing), pass_fds=(writing,))
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
            f"the agent was started but did not answer within {_START_PATIENCE:.0f} s:{_log_tail(log)}"
        )
    if not serves and not _is_running():  # a service manager may have started another one first
        raise click.ClickException(f"the agent was started but ended at once:{_log_tail(log)}")
    return process.pid


def _environment(descriptor: int) -> dict[str, str]:
    """Return the agent's environment: an absolute path of the configuration, and the descriptor of the pipe."""
    config_path = os.environ.get("AUTH_AGENT_CONFIG")
    config = {"AUTH_AGENT_CONFIG": str(Path(config_path).absolute())} if config_path else {}
    return {**os.environ, **config, readiness.VARIABLE: str(descriptor)}


def _log_tail(log: Path) -> str:
    """Return the last lines of the agent's log, and its path."""
    lines = log.read_text("utf-8", "replace").splitlines()[-_LAST_LINES:]
    return "".join(f"\n  {printable(line, 500)}" for line in [*lines, f"(its log: {shown_path(log)})"])
