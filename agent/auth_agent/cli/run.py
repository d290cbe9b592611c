"""`auth-agent run`: run the agent in the foreground, or for as long as a command runs."""

import logging
import os
import shutil
import signal
import tempfile
import threading
from contextlib import suppress
from pathlib import Path
from typing import NoReturn

import click

from auth_agent.cli import exits
from auth_agent.cli.command_error import CommandError
from auth_agent.config import config_path
from auth_agent.defect import places
from auth_agent.errors import StartupError
from auth_agent.host.execution import become
from auth_agent.host.hardening import protect_memory
from auth_agent.host.limits import low_limits, raise_limits, start_thread
from auth_agent.host.private_directory import nearest_directory
from auth_agent.host.process import Process
from auth_agent.host.restart import restart
from auth_agent.host.signals import reset_signals
from auth_agent.logs import log_to_stderr
from auth_agent.storage.state_directory import log_path
from auth_agent.storage.stores import NAMES
from auth_agent_client.errors import Misconfigured
from auth_agent_client.paths import SUN_PATH, runtime_directory, socket_path

_log = logging.getLogger(__name__)


@click.command(context_settings={"allow_interspersed_args": False})
@click.option(
    "--store",
    type=click.Choice(NAMES),
    help="Where sessions are kept: in the system keyring, in a file sealed by a passphrase, or in memory only.",
)
@click.option("--for-command", "parent", type=int, metavar="PID", hidden=True)
@click.argument("command", nargs=-1, type=click.UNPROCESSED)
def run(store: str | None, parent: int | None, command: tuple[str, ...]) -> None:
    """Run the agent in the foreground until it is stopped, and log to standard error.

    The keyring or the file, once used, is remembered for agents without --store; the first one uses the keyring.

    With a COMMAND, run the command, and an agent of its own beside it that ends when the command ends. The command
    finds the agent by AUTH_AGENT_SOCK. The agent prints only problems. The exit code is the command's.

    Example: auth-agent run &

    Example: auth-agent run --store memory -- make deploy
    """
    if command:
        _execute_beside_agent(command, store)
    path = Path(socket_path())
    restarts = False
    try:
        if parent is not None:
            _stop_at_end_of(parent)
        restarts = _serve(path, store, is_for_command=parent is not None)
    finally:
        if parent is not None and not restarts:
            shutil.rmtree(path.parent, ignore_errors=True)
    if restarts:
        restart()


def _serve(path: Path, store: str | None, *, is_for_command: bool) -> bool:
    """Run the agent until it is stopped; return whether it is to be started again.

    One for a command shares the command's standard error, and the next agent does not take over its store.
    """
    from auth_agent import daemon  # noqa: PLC0415 -- half of the agent's start-up time, which `auth-agent --help` doesn't need

    os.umask(0o077)
    reset_signals()
    protect_memory()
    raise_limits()
    log_to_stderr(logging.WARNING if is_for_command else logging.INFO, log_path())
    for text in low_limits():
        _log.warning("limit problem=%r", text)
    runtime_directory()  # the agent looks at it again later: if it can't be used, it must not start
    try:
        return daemon.serve(config_path(), path, store, remember=not is_for_command)
    except (StartupError, Misconfigured):
        raise
    except Exception as error:  # noqa: BLE001 -- the last boundary: Python's traceback could show secrets
        raise click.ClickException(f"a defect ended the agent: {places(error)}") from None


def _execute_beside_agent(command: tuple[str, ...], store: str | None) -> NoReturn:
    """Start an agent, and become the command, as ssh-agent does: its signals, terminal and exit code need no help."""
    from auth_agent.cli.running import start_for_command  # noqa: PLC0415 -- the agent itself doesn't need it

    socket = _private_socket()
    if not start_for_command(socket, store):
        raise click.exceptions.Exit(exits.ERROR)
    failure = become(command, {**os.environ, "AUTH_AGENT_SOCK": socket})
    raise CommandError(failure.message, code=failure.code)


def _private_socket() -> str:
    """Make a directory for a socket, and return the socket's path; in the runtime directory if its path is short."""
    runtime = runtime_directory()
    if runtime is not None:
        place = f"{runtime}/auth-agent-XXXXXXXX/agent.sock"
        with suppress(OSError):  # as where it is another user's
            nearest_directory(Path(runtime))
            if os.access(runtime, os.W_OK) and len(os.fsencode(place)) < SUN_PATH:
                return f"{tempfile.mkdtemp(prefix='auth-agent-', dir=runtime)}/agent.sock"
    return f"{tempfile.mkdtemp(prefix='auth-agent-')}/agent.sock"


def _stop_at_end_of(parent: int) -> None:
    """Have a thread send this process SIGTERM when its parent ends, or if it has ended already."""
    signal.signal(signal.SIGTERM, _exit)  # until the agent handles it

    def wait() -> None:
        try:
            with Process(parent) as command:
                if os.getppid() == parent:  # it has not ended before that
                    command.ends_within(None)
        except OSError:
            pass  # it has ended
        os.kill(os.getpid(), signal.SIGTERM)

    start_thread(threading.Thread(target=wait, name="command", daemon=True))


def _exit(*_: object) -> NoReturn:
    raise SystemExit
