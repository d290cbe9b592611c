"""`auth-agent start`: start the agent in the background."""

import os
import shlex
from pathlib import Path

import click

from auth_agent import remedies
from auth_agent.cli.command_error import CommandError
from auth_agent.cli.running import ensure_running, print_started
from auth_agent.cli.screen import print_message, print_remedies
from auth_agent.printable import printable
from auth_agent.storage.stores import NAMES, is_persistent
from auth_agent_client import Agent
from auth_agent_client.paths import socket_path


@click.command()
@click.option("--store", type=click.Choice(NAMES), help="Where sessions are kept; by default as `auth-agent run` does.")
@click.option("--shell", is_flag=True, help="Print shell commands that set AUTH_AGENT_SOCK, for eval.")
def start(store: str | None, *, shell: bool) -> None:
    """Start the agent in the background, unless it runs already.

    Example: auth-agent start

    Example: eval "$(auth-agent start --shell)"
    """
    started = ensure_running(store)
    if started is not None:
        print_started(started)
        _say_locked()
    else:
        _say_running(store)
    if shell:
        click.echo(setting("AUTH_AGENT_SOCK", socket_path(), os.environ.get("SHELL", "")))


def setting(name: str, value: str, shell: str) -> str:
    """Return the line that sets an environment variable in a shell; `shell` is its path, by default a POSIX shell."""
    match Path(shell).name:
        case "fish":
            # In single quotes fish knows two escapes.
            escaped = value.replace("\\", "\\\\").replace("'", "\\'")
            return f"set -gx {name} '{escaped}';"
        case "csh" | "tcsh":
            return f"setenv {name} {shlex.quote(value)};"
        case _:
            return f"{name}={shlex.quote(value)}; export {name};"


def _say_locked() -> None:
    """Say how to unlock a store that takes a passphrase."""
    with Agent() as agent:
        store = agent.status().agent.store
    if store.takes_passphrase and store.state == "locked":
        print_remedies(store.remedy)


def _say_running(store: str | None) -> None:
    """Print that the agent runs. Raises a `CommandError` if it has another store than the one that was asked for."""
    with Agent() as agent:
        about = agent.status().agent
    name = about.store.name
    if store is not None and name != store:
        further = (remedies.move_to(store),) if is_persistent(store) else ()
        raise CommandError(
            f"the agent is already running, with the store {printable(name)}", *further, remedies.stop_first(further)
        )
    print_message(f"The agent is already running (process {about.pid}).")
