"""The click commands: their names, options and output. The agent does the work."""

import json
import os
import signal
import sys
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import ClassVar

import click

from auth_agent import remedies
from auth_agent.cli import exits, light
from auth_agent.cli.agent_process import AgentProcess, agent_process
from auth_agent.cli.check import check_accounts
from auth_agent.cli.client_secret import client_secret_options
from auth_agent.cli.clients import client_lines, status_with_clients
from auth_agent.cli.command_error import CommandError
from auth_agent.cli.command_group import CommandGroup
from auth_agent.cli.patient_agent import PatientAgent
from auth_agent.cli.screen import print_click_error, print_error_message, print_lines, print_message, print_remedies
from auth_agent.cli.stake import accounts_at_stake
from auth_agent.cli.status import Reboot, change, overview, status_lines
from auth_agent.cli.suggestions import instead_of_option
from auth_agent.cli.terminal import terminal_of
from auth_agent.errors import StartupError
from auth_agent.printable import printable
from auth_agent.service.manager import ServiceError
from auth_agent.service.managers import platform_manager
from auth_agent.service.program import default_socket
from auth_agent_client import Agent, Hello, Record, RestartRefusal, Status, __version__
from auth_agent_client.errors import AgentError, AgentNotRunning, Misconfigured
from auth_agent_client.paths import socket_path
from auth_agent_client.remedy import Remedy

# Seconds. The new agent then has to start, maybe on a busy machine.
_RESTART_PATIENCE = 30.0
_RESTART_PAUSE = 0.05  # s, between two checks whether the new agent answers


def main(arguments: Sequence[str]) -> int:
    """Run the command that the arguments name, and return its exit code."""
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)  # ignored, as some parents leave it, each child seems to succeed
    try:
        result: object = cli.main(args=list(arguments), prog_name="auth-agent", standalone_mode=False)
    except click.UsageError as error:
        _corrected(error).show()
        return error.exit_code
    except CommandError as error:
        print_error_message(error.message, error.remedy)
        return error.code
    except click.ClickException as error:
        print_click_error(error)
        return error.exit_code
    except click.Abort:
        return exits.INTERRUPTED
    except AgentError as error:
        print_error_message(error.message, _remedies_of(error))
        return exits.exit_code(error)
    except StartupError as error:
        print_error_message(str(error), error.remedy)
        return exits.ERROR
    return result if isinstance(result, int) else exits.OK


def _remedies_of(error: AgentError) -> tuple[Remedy, ...]:
    """Return what helps; no agent should be started where one runs whose socket went away."""
    if not isinstance(error, AgentNotRunning):
        return error.remedy
    from auth_agent.storage.lock import lost_agent, unreachable  # noqa: PLC0415 -- not needed if all is well
    from auth_agent.storage.state_directory import state_path  # noqa: PLC0415 -- as above

    with suppress(AgentError):  # the environment has no usable state directory
        pid = lost_agent(state_path(), Path(socket_path()))
        return error.remedy if pid is None else unreachable(pid)
    return error.remedy


def _corrected(error: click.UsageError) -> click.UsageError:
    """Return the error; for an option that doesn't exist, with the one that other tools call so."""
    if not isinstance(error, click.NoSuchOption) or error.ctx is None:
        return error
    instead = instead_of_option(error.option_name, error.ctx.info_name or "")
    return click.UsageError(f"No such option '{error.option_name}'. {instead}", error.ctx) if instead else error


_LAZY = {
    "account": "auth_agent.cli.account:account",
    "config": "auth_agent.cli.config:config",
    "doctor": "auth_agent.cli.doctor:doctor",
    "id-token": "auth_agent.cli.user:id_token",
    "lock": "auth_agent.cli.lock:lock",
    "login": "auth_agent.cli.login:login",
    "logout": "auth_agent.cli.logout:logout",
    "mcp": "auth_agent.cli.mcp:mcp",
    "metadata": "auth_agent.cli.metadata:metadata",
    "profile": "auth_agent.cli.user:profile",
    "run": "auth_agent.cli.run:run",
    "service": "auth_agent.cli.service:service",
    "setup": "auth_agent.cli.setup:setup",
    "start": "auth_agent.cli.start:start",
    "store": "auth_agent.cli.store:store",
    "unlock": "auth_agent.cli.lock:unlock",
    "user": "auth_agent.cli.user:user",
}


class _Commands(CommandGroup):
    """The commands of this file, of `_LAZY`, and the light commands, which are listed for `--help`."""

    lazy = _LAZY
    sections: ClassVar[Mapping[str, tuple[str, ...]]] = {
        "Sessions": ("login", "logout", "import", "refresh", "status", "watch"),
        "What programs get": (
            *("token", "header", "exec", "mcp", "kubectl", "aws", "setup"),
            *("id-token", "profile", "user", "metadata"),
        ),
        "The agent": ("start", "stop", "restart", "run", "service", "doctor"),
        "Where sessions are": ("lock", "unlock", "store"),
        "Configuration": ("account", "config", "reload", "completion"),
    }

    def list_commands(self, ctx: click.Context) -> list[str]:
        return sorted([*super().list_commands(ctx), *light.COMMANDS])

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        return _light(cmd_name) if cmd_name in light.COMMANDS else super().get_command(ctx, cmd_name)


def _light(name: str) -> click.Command:
    """Return a click command for a light command: for the list, and for `auth-agent -- token`."""
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


@click.group(cls=_Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.option("--socket", metavar="PATH", expose_value=False, help="The agent's socket; default: AUTH_AGENT_SOCK.")
@click.option("--config", metavar="PATH", expose_value=False, help="The configuration; default: AUTH_AGENT_CONFIG.")
@click.option("-v", "--verbose", is_flag=True, expose_value=False, help="Print more; an agent logs more.")
@click.option("-q", "--quiet", is_flag=True, expose_value=False, help="Print only results and errors.")
@click.version_option(__version__, "-V", "--version", prog_name="auth-agent")
def cli() -> None:
    """Hold logins for every program of a user, as ssh-agent holds keys.

    The options below may also stand after the command.
    """


@cli.command(name="import")
@click.argument("account", required=False)
@click.option("--switch-user", is_flag=True, help="Accept the refresh token of another user than before.")
@client_secret_options
def import_(account: str | None, *, switch_user: bool, client_secret: str | None) -> None:
    """Import a session from its refresh token, read from standard input.

    The account must exist (`auth-agent account add`), and the agent must run.

    The agent refreshes once to check the token. From then on only the agent may use it: if the provider rotates
    refresh tokens, any other use ends the session.

    Example: auth-agent import work < refresh-token
    """
    if sys.stdin.isatty():
        try:
            refresh_token: str = click.prompt("Refresh token", hide_input=True, err=True)
        except click.Abort:
            print_message("Cancelled; nothing has changed.")
            raise
    else:
        refresh_token = sys.stdin.read()
    refresh_token = refresh_token.strip()
    if not refresh_token:
        raise click.UsageError("No refresh token on standard input.")
    with PatientAgent() as agent:
        record = agent.import_refresh_token(
            refresh_token, account, switch_user=switch_user, client_secret=client_secret
        )
    terminal = terminal_of(sys.stderr)
    print_lines(status_lines([record], time.time(), terminal), terminal, err=True)


@cli.command()
@click.argument("account", required=False)
def refresh(account: str | None) -> None:
    """Refresh the access token now, even after failed attempts.

    Example: auth-agent refresh work
    """
    with PatientAgent() as agent:
        token = agent.refresh(account)
    end = token.expires_at
    left = "has no known end" if end is None else f"is good for {end - time.time():.0f} s"
    print_message(f"{token.account}: the new token {left}")


@cli.command()
@click.argument("account", required=False)
@click.option("--json", "as_json", is_flag=True, help="Print the agent's response as JSON.")
@click.option(
    "--check", is_flag=True, help="Print only problems; the exit code says whether each account has a valid token."
)
@click.option(
    "--min-ttl",
    type=click.FloatRange(min=0),
    metavar="SECONDS",
    help="With --check: the token must be valid for this long.",
)
@click.option("--clients", is_flag=True, help="Show which programs took tokens, how often, and when last.")
def status(account: str | None, *, as_json: bool, check: bool, min_ttl: float | None, clients: bool) -> int:
    """Show the agent and its sessions: who is logged in where, what is wrong, and what helps.

    With --check the exit code is 0 if the account, or each account, has a valid token, 4 if a login is required, 6 if
    the session is locked, and 5 if there is no token for another reason.

    Example: auth-agent status

    Example: auth-agent status work --check --min-ttl 60 || auth-agent login work

    Example: auth-agent status work --clients
    """
    if check and clients:
        raise click.UsageError("--check can't be combined with --clients.")
    if check and as_json:
        raise click.UsageError("--check can't be combined with --json.")
    if min_ttl is not None and not check:
        raise click.UsageError("--min-ttl needs --check.")
    with Agent() as agent:
        if check:
            return check_accounts(agent, account, min_ttl or 0.0)
        result = status_with_clients(agent, account) if clients else agent.status(account)
    terminal = terminal_of(sys.stdout)
    if as_json:
        click.echo(json.dumps(result, indent=2))
    elif clients:
        print_lines(client_lines(result, account, time.time(), terminal), terminal)
    else:
        home = os.environ.get("HOME", "")
        print_lines(overview(result, time.time(), __version__, terminal, home, _reboot(result)), terminal)
    return exits.OK


def _reboot(result: Status) -> Reboot | None:
    """Return whether something starts this agent after a reboot; None if it is not the one at the usual socket."""
    try:
        if result.agent.socket != default_socket():
            return None
        manager = platform_manager()
    except Misconfigured:  # there is no usual socket, such as without a home directory
        return None
    if manager.is_enabled():
        return Reboot(starts=True)
    return Reboot(starts=False, remedy=(remedies.install_service() if manager.seems_to_run() else remedies.start(),))


@cli.command()
def reload() -> None:
    """Make the agent read its configuration again.

    Example: auth-agent reload
    """
    with Agent() as agent:
        changes = agent.reload()
    named = {"added": changes.added, "changed": changes.changed, "removed": changes.removed}
    parts = [f"{change}: {printable(', '.join(names), 1000)}" for change, names in named.items() if names]
    print_message("; ".join(parts) or "no account changed")


@cli.command()
@click.argument("accounts", nargs=-1, metavar="[ACCOUNT]...")
@click.option("--json", "as_json", is_flag=True, help="Print each record as JSON, one a line.")
def watch(accounts: tuple[str, ...], *, as_json: bool) -> None:
    """Show each change of a session until Ctrl-C, also across restarts of the agent.

    Example: auth-agent watch work
    """
    shown: dict[str, str] = {}
    with Agent() as agent:
        for name in accounts or (None,):
            agent.status(name)  # fail now for a mistyped name, which would never change
        for record in agent.watch(accounts or None, on_gap=_print_gap):
            _show_change(record, shown, as_json=as_json)


def _print_gap(gone: bool) -> None:
    exits.print_error("the agent is gone; waiting for it to come back" if gone else "the agent is back")


def _show_change(record: Record, shown: dict[str, str], *, as_json: bool) -> None:
    """Print a record if it differs from the last one of its account."""
    now = time.time()
    # The revision alone is not a change.
    content = json.dumps({name: value for name, value in record.items() if name != "revision"}, sort_keys=True)
    if shown.get(record.account) != content:
        shown[record.account] = content
        if as_json:
            click.echo(json.dumps(record))
        else:
            terminal = terminal_of(sys.stdout)  # each time: the window's size may change
            head = terminal.styled(time.strftime("%H:%M:%S", time.localtime(now)), "label")
            print_lines(change(record, now, terminal, f"{head}  "), terminal)
        sys.stdout.flush()


@cli.command()
def stop() -> None:
    """Stop the agent after refreshes in flight have finished.

    Sessions that are only in its memory are lost, and named. As a service, the agent is stopped by its service manager,
    and the next program that connects starts it again.

    Example: auth-agent stop
    """
    _check_service_runs()
    with Agent() as agent:
        lost = accounts_at_stake(agent.status())
        with agent_process(agent) as process:
            process.stop()
            service = process.service
    if service is not None and service.deactivation:
        print_message("stopped; the next program that connects starts the agent again")
        print_remedies([remedies.deactivate(service.deactivation)])
    else:
        print_message("stopped")
    if lost:
        names = printable(", ".join(lost), 1000)
        print_message(f"lost, because they were only in memory: the sessions of {names}", "warning")


def _check_service_runs() -> None:
    """Raise a `CommandError` if the agent's service doesn't run: to ask the agent whether it runs would start it."""
    manager = platform_manager()
    if socket_path() != default_socket() or not manager.has_files() or not manager.seems_to_run():
        return
    with suppress(ServiceError):
        service = manager.waiting_service()
        if service is not None:
            raise CommandError(
                "the agent does not run; the next program that connects starts it",
                remedies.deactivate(service.deactivation),
                code=exits.NOT_RUNNING,
            )


@cli.command()
@click.option("--force", is_flag=True, help="Restart even if sessions are lost that are only in memory.")
def restart(*, force: bool) -> None:
    """Restart the agent in place, with the version that is installed now.

    Refreshes in flight finish first. The new agent keeps the process id, arguments, environment and log, also as a
    service or in a terminal.

    Example: auth-agent restart
    """
    with Agent() as agent:
        before = agent.hello("restart")
        status = agent.status()
        lost = [] if force else accounts_at_stake(status)
        if lost:
            raise CommandError(
                f"the agent would lose the sessions of {printable(', '.join(lost), 200)}: they are only in memory",
                remedies.restart_by_force(),
            )
        with agent_process(agent) as process:
            process.restart()
            after = _successor(agent, before, status.agent.restart_refused, process)
    print_message(f"restarted: process {after.pid}, version {printable(after.version)}")


def _successor(agent: Agent, before: Hello, earlier_refusal: RestartRefusal | None, process: AgentProcess) -> Hello:
    """Wait until another agent answers than the one before, and return its `hello`."""
    deadline = time.monotonic() + _RESTART_PATIENCE
    while time.monotonic() < deadline:
        if process.ends_within(_RESTART_PAUSE):
            raise click.ClickException(
                f"the agent, process {process.pid}, ended instead of restarting; its log says why"
            )
        try:
            after = agent.hello("restart")
            if after.agent_id != before.agent_id:
                return after
            refusal = agent.status().agent.restart_refused
        except AgentError as error:
            if not error.retryable:  # for a moment no agent may listen
                raise
        else:
            if refusal is not None and refusal != earlier_refusal:
                raise CommandError(f"the agent did not restart: {printable(refusal.reason, 500)}", *refusal.remedy)
    raise click.ClickException(f"the agent, process {process.pid}, did not come back within {_RESTART_PATIENCE:.0f} s")
