"""`auth-agent run`: run the agent in the foreground."""

import os
from pathlib import Path

import anyio
import click

from auth_agent.config import config_path
from auth_agent.defect import places
from auth_agent.errors import StartupError
from auth_agent.host.hardening import protect_memory, raise_file_limit
from auth_agent.host.restart import restart
from auth_agent.logs import log_to_stderr
from auth_agent.storage.stores import DEFAULT, NAMES
from auth_agent_client.paths import socket_path


@click.command()
@click.option(
    "--store",
    type=click.Choice(NAMES),
    default=DEFAULT,
    show_default=True,
    help="Where sessions are kept: in the system keyring, or in memory until the agent ends.",
)
def run(store: str) -> None:
    """Run the agent in the foreground until it is stopped, and log to standard error.

    Example: auth-agent run &
    """
    from auth_agent import daemon  # noqa: PLC0415 -- half of the agent's start-up time, which `auth-agent --help` doesn't need

    os.umask(0o077)
    protect_memory()
    raise_file_limit()
    log_to_stderr()
    try:
        restarts = anyio.run(daemon.serve, config_path(), Path(socket_path()), store)
    except StartupError:
        raise
    except Exception as error:  # noqa: BLE001 -- the last boundary: Python's traceback could show secrets
        raise click.ClickException(f"a defect ended the agent: {places(error)}") from None
    if restarts:
        restart()
