"""The commands, as click has them: what each is called, takes and says. What they do is the agent's."""

import json
import os
import select
import signal
import sys
import time
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import contextmanager

import click

from auth_agent.cli import exits, token as light_token
from auth_agent.cli.status import status_lines
from auth_agent.errors import StartupError
from auth_agent.printable import printable
from auth_agent_client import Agent, __version__
from auth_agent_client.errors import AgentError
from auth_agent_client.paths import socket_path

# The agent lets refreshes in flight finish for ten seconds, and then closes connections.
_STOP_PATIENCE = 15.0


def main(arguments: Sequence[str]) -> int:
    """Run the command that the arguments name; its exit code."""
    try:
        result: object = cli.main(args=list(arguments), prog_name="auth-agent", standalone_mode=False)
    except click.ClickException as error:
        error.show()
        return error.exit_code
    except click.Abort:
        return exits.INTERRUPTED
    except AgentError as error:
        exits.complain(printable(error.message, 1000))
        return exits.exit_code(error)
    except StartupError as error:
        exits.complain(str(error))
        return exits.ERROR
    return result if isinstance(result, int) else exits.OK


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="auth-agent")
def cli() -> None:
    """Hold logins for every program of a user, as ssh-agent holds keys."""


@cli.command()
@click.option(
    "--store",
    type=click.Choice(["keyring", "memory"]),
    default="keyring",
    show_default=True,
    help="Where sessions are kept: in the system keyring, or in memory, where they end with the agent.",
)
def run(store: str) -> None:
    """Be the agent: serve until stopped, and log to standard error.

    Example: auth-agent run &
    """
    # Here, since no other command needs what these import.
    from pathlib import Path  # noqa: PLC0415

    import anyio  # noqa: PLC0415

    from auth_agent.config import config_path  # noqa: PLC0415
    from auth_agent.daemon import serve  # noqa: PLC0415
    from auth_agent.host.hardening import protect_memory, raise_file_limit  # noqa: PLC0415
    from auth_agent.logs import log_to_stderr  # noqa: PLC0415
    from auth_agent.storage.state_directory import state_path  # noqa: PLC0415

    os.umask(0o077)
    protect_memory()
    raise_file_limit()
    log_to_stderr()
    anyio.run(serve, config_path(), Path(socket_path()), state_path() if store == "keyring" else None)


@cli.command(name="token", help=light_token.SUMMARY, add_help_option=False)
@click.argument("arguments", nargs=-1, type=click.UNPROCESSED)
def _token(arguments: tuple[str, ...]) -> int:
    # Listed here for `--help`; `auth_agent.cli.main` runs it without click.
    return light_token.main(list(arguments))


@cli.command(name="import")
@click.argument("account", required=False)
@click.option("--switch-user", is_flag=True, help="The refresh token may be another user's than before.")
def import_(account: str | None, *, switch_user: bool) -> None:
    """Take a session over by its refresh token from stdin.

    The token is used once to prove it. From then on it is the agent's alone: where the provider rotates refresh
    tokens, whoever else uses it ends the session.

    Example: auth-agent import work < refresh-token
    """
    if sys.stdin.isatty():
        refresh_token: str = click.prompt("Refresh token", hide_input=True, err=True)
    else:
        refresh_token = sys.stdin.read()
    refresh_token = refresh_token.strip()
    if not refresh_token:
        raise click.UsageError("There is no refresh token on standard input.")
    with Agent() as agent:
        record = agent.import_refresh_token(refresh_token, account, switch_user=switch_user)
    click.echo("\n".join(status_lines([record], time.time())), err=True)


@cli.command()
@click.argument("account", required=False)
def refresh(account: str | None) -> None:
    """Refresh a session's access token now, and forget past failures.

    Example: auth-agent refresh work
    """
    with Agent() as agent:
        token = agent.refresh(account)
    click.echo(f"{token.account}: the new token is good for {token.expires_at - time.time():.0f} s", err=True)


@cli.command()
@click.argument("account", required=False)
@click.option("--json", "as_json", is_flag=True, help="Print what the agent answered.")
def status(account: str | None, *, as_json: bool) -> None:
    """Show the agent and its sessions.

    Example: auth-agent status
    """
    with Agent() as agent:
        found = agent.status(account)
    if as_json:
        click.echo(json.dumps(found, indent=2))
        return
    about, records = found.get("agent"), found.get("accounts")
    if isinstance(about, Mapping):
        click.echo("agent {pid}, version {version}, store: {store}, socket: {socket}".format_map(about))  # pyright: ignore[reportUnknownArgumentType] -- any map from the agent
    if isinstance(records, list):
        for line in status_lines(records, time.time()):  # pyright: ignore[reportUnknownArgumentType] -- as above
            click.echo(line)


@cli.command()
@click.argument("account", required=False)
def logout(account: str | None) -> None:
    """Forget a session, and revoke its refresh token at the provider.

    Example: auth-agent logout work
    """
    with Agent() as agent:
        revoked = agent.logout(account)
    said = "revoked at the provider" if revoked else "not revoked at the provider: it did not take it back"
    click.echo(f"logged out; the refresh token was {said}", err=True)


@cli.command()
def stop() -> None:
    """Stop the agent; refreshes in flight are finished first.

    Example: auth-agent stop
    """
    with Agent() as agent:
        pid = agent.hello("stop").get("pid")
        if not isinstance(pid, int) or pid <= 1:
            raise click.ClickException("the agent doesn't say which process it is")
        # Until the connection ends the agent is not done, and until the process does it holds the socket's lock.
        with _waiting_for(pid) as ended:
            os.kill(pid, signal.SIGTERM)
            begun = time.monotonic()
            done = agent.wait_for_end(_STOP_PATIENCE) and ended(_STOP_PATIENCE - (time.monotonic() - begun))
        if not done:
            raise click.ClickException(f"the agent, process {pid}, has not ended within {_STOP_PATIENCE:.0f} s")
    click.echo("stopped", err=True)


@contextmanager
def _waiting_for(pid: int) -> Generator[Callable[[float], bool], None, None]:
    """Gives a function that waits so many seconds for the end of a process, and says whether it came."""
    if sys.platform == "linux":
        descriptor = os.pidfd_open(pid)
        try:
            yield lambda seconds: bool(select.select([descriptor], [], [], max(0.0, seconds))[0])
        finally:
            os.close(descriptor)
    else:
        queue = select.kqueue()
        exits = select.kevent(pid, select.KQ_FILTER_PROC, select.KQ_EV_ADD, fflags=select.KQ_NOTE_EXIT)
        try:
            queue.control([exits], 0)
            yield lambda seconds: bool(queue.control([], 1, max(0.0, seconds)))
        finally:
            queue.close()
