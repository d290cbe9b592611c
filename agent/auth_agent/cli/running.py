"""Find the running agent, or start one in the background."""

import fcntl
import os
import select
import stat
import sys
from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final, NamedTuple

import click

from auth_agent import remedies
from auth_agent.cli.command_error import CommandError
from auth_agent.cli.detached import Detached
from auth_agent.cli.screen import print_message, shown_path
from auth_agent.config_path import config_path
from auth_agent.host import readiness
from auth_agent.host.environment import background_environment
from auth_agent.host.log_file import MAX_SIZE, old_log
from auth_agent.printable import printable
from auth_agent.service.manager import ServiceError
from auth_agent.service.managers import platform_manager
from auth_agent.service.program import default_socket
from auth_agent.storage.state_directory import log_path, prepare, state_path
from auth_agent_client import Agent, Record
from auth_agent_client.errors import AgentNotRunning, UnknownAccount
from auth_agent_client.paths import socket_path

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


class Started(NamedTuple):
    """An agent that was started in the background: its process id, and its log."""

    pid: int
    log: Path


def ensure_running(store: str | None = None) -> Started | None:
    """Start an agent in the background if none runs; return None if one runs already.

    Args:
        store: the store of an agent that is started; None: the agent's own choice.

    Raises:
        ClickException: the agent did not start; the message has the end of its log.
        StartupError: its log can't be written.

    """
    if _is_running() or (store is None and _start_service()):
        return None
    directory = state_path()
    prepare(directory)
    with _start_lock(directory):
        if _is_running():  # another command has started one meanwhile
            return None
        log = log_path()
        return Started(_start(log, [] if store is None else ["--store", store]), log)


def _start_service() -> bool:
    """Start the agent by its service, if that is installed and listens where this command looks; return whether."""
    manager = platform_manager()
    if not manager.has_files() or not manager.seems_to_run() or socket_path() != default_socket():
        return False
    try:
        manager.enable()
    except ServiceError as error:
        print_message(f"The service can't be started: {error}")
        return False
    return _is_running()


def print_started(started: Started) -> None:
    """Print that no agent was running, and that one was started."""
    print_message(f"No agent was running: started one (process {started.pid}). Its log is {shown_path(started.log)}")


def start_for_command(socket: str, store: str | None) -> bool:
    """Start an agent that ends with this process, or with the program that this process executes.

    It shares this process's standard error, and logs only problems to it.

    Args:
        socket: where it listens, in a directory of its own, which it removes at its end.
        store: its store; None: the agent's own choice.

    Returns:
        Whether it serves; if not, it has printed why.

    """
    arguments = ["--for-command", str(os.getpid()), *([] if store is None else ["--store", store])]
    process, serves = _spawn(arguments, sys.stderr.fileno(), {"AUTH_AGENT_SOCK": socket})
    if serves is None:
        process.terminate()
        raise click.ClickException(f"the agent was started but did not answer within {_START_PATIENCE:.0f} s")
    return serves


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
        with suppress(OSError):  # a file system without locks: the agents' own lock lets one of them start
            fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def _start(log: Path, arguments: Sequence[str]) -> int:
    """Start an agent, wait until it serves, and return its process id."""
    try:
        with suppress(FileNotFoundError):
            # Otherwise it is continued: it may be the log of an agent that runs, because of which this one can't start.
            status = log.lstat()
            if not stat.S_ISREG(status.st_mode) or status.st_size >= MAX_SIZE:
                log.replace(old_log(log))
        output = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        begin = os.fstat(output).st_size
    except OSError as error:
        raise CommandError(f"{log} can't be written: {error.strerror}", *remedies.for_file(error, log)) from error
    try:
        process, serves = _spawn(arguments, output, {})
    finally:
        os.close(output)
    if serves is None:
        process.terminate()
        raise click.ClickException(
            f"the agent was started but did not answer within {_START_PATIENCE:.0f} s:{_log_tail(log, begin)}"
        )
    if not serves and not _is_running():  # a service manager may have started another one first
        raise click.ClickException(f"the agent was started but ended at once:{_log_tail(log, begin)}")
    return process.pid


def _spawn(arguments: Sequence[str], output: int, environment: Mapping[str, str]) -> tuple[Detached, bool | None]:
    """Start an agent that writes to `output`; return its process, and whether it serves (None: it takes too long)."""
    # The agent writes to the pipe when it serves. If it ends first, the pipe is closed.
    reading, writing = os.pipe()
    try:
        try:
            # The agent runs in /, so that it keeps no directory busy. -P: it imports no module from there.
            command = [sys.executable, "-P", "-m", "auth_agent", "run", *arguments]
            own = {**_environment(writing), **environment}
            process = Detached(command, output, directory="/", environment=own, pass_fds=(writing,))
        finally:
            os.close(writing)
        ready, _, _ = select.select([reading], [], [], _START_PATIENCE)
        return process, bool(os.read(reading, 1)) if ready else None
    finally:
        os.close(reading)


def _environment(descriptor: int) -> dict[str, str]:
    """Return the agent's environment: an absolute path of the configuration, and the descriptor of the pipe."""
    config = {"AUTH_AGENT_CONFIG": os.fspath(config_path())} if os.environ.get("AUTH_AGENT_CONFIG") else {}
    return {**background_environment(), **config, readiness.VARIABLE: str(descriptor)}


def _log_tail(log: Path, begin: int) -> str:
    """Return the last lines of the agent's log, of those from that byte on, and its path."""
    lines = log.read_bytes()[begin:].decode("utf-8", "replace").splitlines()[-_LAST_LINES:]
    return "".join(f"\n  {printable(line, 500)}" for line in [*lines, f"(its log: {shown_path(log)})"])
