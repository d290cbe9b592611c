"""The commands, as click has them: what each is called, takes and says. What they do is the agent's."""

import json
import os
import select
import signal
import sys
import time
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from importlib import import_module

import click

from auth_agent import remedies
from auth_agent.cli import exits, light
from auth_agent.cli.check import check_accounts
from auth_agent.cli.client_secret import client_secret_options
from auth_agent.cli.clients import client_lines, status_with_clients
from auth_agent.cli.screen import say, say_error, show
from auth_agent.cli.stake import accounts_at_stake
from auth_agent.cli.status import change, overview, status_lines
from auth_agent.cli.terminal import terminal
from auth_agent.cli.trouble import Trouble
from auth_agent.errors import StartupError
from auth_agent.printable import printable
from auth_agent_client import Agent, Hello, Record, RestartRefusal, __version__
from auth_agent_client.errors import AgentError

# The agent lets refreshes in flight finish for ten seconds, and then closes connections.
_STOP_PATIENCE = 15.0
# And then begins anew, on a machine that may be busy.
_RESTART_PATIENCE = 30.0
_RESTART_PAUSE = 0.05  # s, between two looks whether the new agent is there


def main(arguments: Sequence[str]) -> int:
    """Run the command that the arguments name; its exit code."""
    try:
        result: object = cli.main(args=list(arguments), prog_name="auth-agent", standalone_mode=False)
    except click.UsageError as error:
        error.show()
        return error.exit_code
    except Trouble as error:
        say_error(error.message, error.remedy)
        return error.exit_code
    except click.ClickException as error:
        say(f"auth-agent: {error.format_message()}")
        return error.exit_code
    except click.Abort:
        return exits.INTERRUPTED
    except AgentError as error:
        say_error(error.message, error.remedy)
        return exits.exit_code(error)
    except StartupError as error:
        say_error(str(error), error.remedy)
        return exits.ERROR
    return result if isinstance(result, int) else exits.OK


# Commands that are imported when they are asked for: others do without.
_LAZY = {
    "account": "auth_agent.cli.account:account",
    "id-token": "auth_agent.cli.user:id_token",
    "login": "auth_agent.cli.login:login",
    "logout": "auth_agent.cli.logout:logout",
    "metadata": "auth_agent.cli.metadata:metadata",
    "profile": "auth_agent.cli.user:profile",
    "run": "auth_agent.cli.run:run",
    "user": "auth_agent.cli.user:user",
}


class _LazyGroup(click.Group):
    """The commands: those of this file, those of _LAZY, and the light ones, which are listed here for `--help`."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return sorted([*super().list_commands(ctx), *_LAZY, *light.COMMANDS])

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name in light.COMMANDS:
            return _light(cmd_name)
        if cmd_name in _LAZY:
            module, _, attribute = _LAZY[cmd_name].partition(":")
            command: click.Command = getattr(import_module(module), attribute)
            return command
        return super().get_command(ctx, cmd_name)


def _light(name: str) -> click.Command:
    """A light command as click lists it; `auth_agent.cli.main` runs it, but for `auth-agent -- token`."""
    module = light.module(name)

    def run(arguments: tuple[str, ...]) -> int:
        code: int = module.main(list(arguments))
        return code

    return click.Command(
        name,
        help=module.COMMAND.summary,
        callback=run,
        params=[click.Argument(["arguments"], nargs=-1, type=click.UNPROCESSED)],
        context_settings={"ignore_unknown_options": True},
        add_help_option=False,
    )


@click.group(cls=_LazyGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="auth-agent")
def cli() -> None:
    """Hold logins for every program of a user, as ssh-agent holds keys."""


@cli.command(name="import")
@click.argument("account", required=False)
@click.option("--switch-user", is_flag=True, help="The refresh token may be another user's than before.")
@client_secret_options
def import_(account: str | None, *, switch_user: bool, client_secret: str | None) -> None:
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
        record = agent.import_refresh_token(
            refresh_token, account, switch_user=switch_user, client_secret=client_secret
        )
    look = terminal(sys.stderr)
    show(status_lines([record], time.time(), look), look, err=True)


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
@click.option("--check", is_flag=True, help="Print nothing; the exit code tells whether all of it has a valid token.")
@click.option("--min-ttl", type=click.FloatRange(min=0), metavar="SECONDS", help="With --check: valid for so long.")
@click.option("--clients", is_flag=True, help="Show which programs took tokens, how often, and when they did last.")
def status(account: str | None, *, as_json: bool, check: bool, min_ttl: float | None, clients: bool) -> int:
    """Show the agent and its sessions: who is logged in where, what is wrong, and what helps.

    With --check the exit code is 0 where the account, or each account, has a valid token; 4 where a login is
    required, 6 where the session is locked, 5 where there is no token for another reason.

    Example: auth-agent status

    Example: auth-agent status work --check --min-ttl 60 || auth-agent login work

    Example: auth-agent status work --clients
    """
    if check and clients:
        raise click.UsageError("--check prints nothing, so there are no clients to show.")
    if check and as_json:
        raise click.UsageError("--check prints nothing, so there is nothing for --json to print.")
    if min_ttl is not None and not check:
        raise click.UsageError("--min-ttl goes with --check.")
    with Agent() as agent:
        if check:
            return check_accounts(agent, account, min_ttl or 0.0)
        found = status_with_clients(agent, account) if clients else agent.status(account)
    look = terminal(sys.stdout)
    if as_json:
        click.echo(json.dumps(found, indent=2))
    elif clients:
        show(client_lines(found, account, time.time(), look), look)
    else:
        show(overview(found, time.time(), __version__, look, os.environ.get("HOME", "")), look)
    return exits.OK


@cli.command()
def reload() -> None:
    """Have the agent read its configuration again.

    Example: auth-agent reload
    """
    with Agent() as agent:
        changes = agent.reload()
    named = {"added": changes.added, "changed": changes.changed, "removed": changes.removed}
    said = [f"{what}: {printable(', '.join(names), 1000)}" for what, names in named.items() if names]
    click.echo("; ".join(said) or "no account changed", err=True)


@cli.command()
@click.argument("accounts", nargs=-1, metavar="[ACCOUNT]...")
@click.option("--json", "as_json", is_flag=True, help="Print each record as the agent told it, one a line.")
def watch(accounts: tuple[str, ...], *, as_json: bool) -> None:
    """Show what the sessions are doing, as it happens, until Ctrl-C; also across restarts of the agent.

    Example: auth-agent watch work
    """
    shown: dict[str, str] = {}
    with Agent() as agent:
        for name in accounts or (None,):
            agent.status(name)  # a name that is mistyped would never change
        for record in agent.watch(accounts or None, on_gap=_tell_gap):
            _show_change(record, shown, as_json=as_json)


def _tell_gap(gone: bool) -> None:
    exits.complain("the agent has gone; waiting for it to come back" if gone else "the agent is back")


def _show_change(record: Record, shown: dict[str, str], *, as_json: bool) -> None:
    """Print a record, if what it says of its account differs from what was said last."""
    now = time.time()
    # What is counted down is no news: only when it ends is.
    said = json.dumps({name: value for name, value in record.items() if name != "revision"}, sort_keys=True)
    if shown.get(record.account) != said:
        shown[record.account] = said
        if as_json:
            click.echo(json.dumps(record))
        else:
            look = terminal(sys.stdout)  # each time: a window may change its size
            head = look.styled(time.strftime("%H:%M:%S", time.localtime(now)), "label")
            show(change(record, now, look, f"{head}  "), look)
        sys.stdout.flush()


@cli.command()
def stop() -> None:
    """Stop the agent; refreshes in flight are finished first.

    Example: auth-agent stop
    """
    with Agent() as agent:
        pid = _process(agent.hello("stop"))
        # Not the end of a connection: until the process ends it holds the socket's lock. Nor is anything asked
        # meanwhile: a service manager would start the agent again for the question.
        with _waiting_for(pid) as ended:
            os.kill(pid, signal.SIGTERM)
            done = ended(_STOP_PATIENCE)
        if not done:
            raise click.ClickException(f"the agent, process {pid}, has not ended within {_STOP_PATIENCE:.0f} s")
    click.echo("stopped", err=True)


@cli.command()
@click.option("--force", is_flag=True, help="Even if sessions are lost, since they are kept in memory only.")
def restart(*, force: bool) -> None:
    """Restart the agent in its place, with the version that is installed by now.

    Refreshes in flight are finished first. The new agent has the process id, arguments, environment and log of the
    old one, also as a service or in a terminal.

    Example: auth-agent restart
    """
    with Agent() as agent:
        before = agent.hello("restart")
        pid = _process(before)
        status = agent.status()
        lost = [] if force else accounts_at_stake(status)
        if lost:
            raise Trouble(
                f"the agent would forget {printable(', '.join(lost), 200)}: kept in memory only, or not saved yet",
                remedies.restart_by_force(),
            )
        with _waiting_for(pid) as ended:
            os.kill(pid, signal.SIGUSR1)
            after = _successor(agent, before, status.agent.restart_refused, ended)
    click.echo(f"restarted: process {after.pid}, version {printable(after.version)}", err=True)


def _process(about: Hello) -> int:
    """The agent's process, as its `hello` tells it."""
    if about.pid is None or about.pid <= 1:
        raise click.ClickException("the agent is the first process of a container: end it from there")
    return about.pid


def _successor(agent: Agent, before: Hello, refused: RestartRefusal | None, ended: Callable[[float], bool]) -> Hello:
    """What the new agent says of itself, once it answers in place of the one from before."""
    deadline = time.monotonic() + _RESTART_PATIENCE
    while time.monotonic() < deadline:
        if ended(_RESTART_PAUSE):
            raise click.ClickException(f"the agent, process {before.pid}, has ended instead; its log says why")
        try:
            after = agent.hello("restart")
            if after.agent_id != before.agent_id:
                return after
            refusal = agent.status().agent.restart_refused
        except AgentError as error:
            if not error.retryable:  # between the two agents there may be none
                raise
        else:
            if refusal is not None and refusal != refused:
                raise Trouble(f"the agent goes on as it is: {printable(refusal.reason, 500)}", *refusal.remedy)
    raise click.ClickException(f"the agent, process {before.pid}, is not back within {_RESTART_PATIENCE:.0f} s")


@contextmanager
def _waiting_for(pid: int) -> Generator[Callable[[float], bool], None, None]:
    """Gives a function that waits so many seconds for the end of a process, and says whether it came."""
    try:
        os.kill(pid, 0)
    except OSError as error:
        raise click.ClickException(
            f"the agent says that it is process {pid}, which isn't here: {error.strerror}"
        ) from error
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
