"""`auth-agent account`: which accounts the configuration has, and changes to that."""

import json
import shutil
import sys
from collections.abc import Mapping
from typing import Any

import click

from auth_agent import remedies
from auth_agent.cli.account_options import account_options, unknown, write
from auth_agent.cli.exits import complain
from auth_agent.cli.running import record_of
from auth_agent.cli.screen import say, say_remedies, shown_path
from auth_agent.cli.trouble import Trouble
from auth_agent.config import Account, config_path, load
from auth_agent.config_file import remove_account
from auth_agent.printable import printable
from auth_agent_client import Agent, Logout
from auth_agent_client.errors import AgentError, AgentNotRunning
from auth_agent_client.messages import LOGGED_OUT

# Less of a client's id would tell none from another.
_LEAST_SHOWN = 12


@click.group()
def account() -> None:
    """Show, add and remove accounts."""


@account.command(name="list")
@click.option("--json", "as_json", is_flag=True, help="Print all that is configured.")
def list_accounts(*, as_json: bool) -> None:
    """Show the accounts of the configuration and, while an agent runs, their state.

    Example: auth-agent account list
    """
    config = load(config_path())
    states = _states()
    if as_json:
        click.echo(json.dumps([_told(one, states) for one in config.accounts.values()], indent=2))
    elif config.accounts:
        _show([_row(one, states, is_default=one is config.default) for one in config.accounts.values()], states)
    else:
        say(f"There is no account in {shown_path(config.path)} yet; to add one and log in:")
        say("  auth-agent login NAME --issuer https://acme.eu.auth0.com/ --client-id ID")


@account.command()
@click.argument("name")
@account_options
def add(name: str, *, keys: Mapping[str, object]) -> None:
    """Add an account to the configuration; `auth-agent login` does so too, and logs in.

    Example: auth-agent account add work --issuer https://id.example --client-id ID
    """
    config = load(config_path())
    if name in config.accounts:
        raise Trouble(f"there is an account {name} already", remedies.change_account())
    write(config, name, keys)
    try:
        with Agent() as agent:
            agent.reload()
    except AgentNotRunning:
        pass  # it will read it when it starts
    say_remedies([remedies.log_in(name)])


@account.command()
@click.argument("name", metavar="ACCOUNT")
@click.option("--logout", is_flag=True, help="Log out first, where there is a session.")
def remove(name: str, *, logout: bool) -> None:
    """Remove an account from the configuration.

    Example: auth-agent account remove work --logout
    """
    config = load(config_path())
    if name not in config.accounts:
        raise unknown(config, name)
    if config.hosts_of(name):
        hosts = printable(", ".join(f'[hosts."{rule.key}"]' for rule in config.hosts_of(name)), 1000)
        raise Trouble(f"{name} is still named in {shown_path(config.path)} by {hosts}", remedies.take_from_hosts())
    with Agent() as agent:
        try:
            record = record_of(agent, name)
        except AgentNotRunning as error:
            raise AgentNotRunning(
                f"whether {name} is logged in only the agent knows, and {error.message}", remedy=error.remedy
            ) from error
        if record is not None and record.state != LOGGED_OUT:
            if not logout:
                raise Trouble(f"{name} has a session", remedies.log_out_and_remove(name))
            say(f"Logged out of {name}{_untold(agent.logout(name))}")
        remove_account(config.path, name)
        agent.reload()
    say(f"Removed the account {name} from {shown_path(config.path)}")


def _untold(done: Logout) -> str:
    """That the provider was not told, and why."""
    if done.revoked:
        return ""
    if done.reason is not None:
        return f"; {printable(done.reason, 1000)}, so it was not revoked at the provider"
    return "; its provider could not be told"


def _states() -> Mapping[str, str] | None:
    """The state of each account by its name, as the agent tells it; None: there is none to tell."""
    try:
        with Agent() as agent:
            return {record.account: record.state for record in agent.status().accounts}
    except AgentNotRunning:
        return None
    except AgentError as error:
        complain(printable(error.message, 1000), error.remedy)
        return None


def _told(one: Account, states: Mapping[str, str] | None) -> dict[str, Any]:
    """An account for a program; not its proxy, whose address may hold a password."""
    keys = ("name", "issuer", "client_id", "default", "audience", "scope", "redirect_ports")
    return {
        **{key: getattr(one, key) for key in keys},
        "grant": one.grant_type.name,
        "token_endpoint_auth_method": one.token_endpoint_auth_method,
        "management_account": one.management_account,
        "management_audience": one.management_audience,
        "authorize": dict(one.authorize),
        "state": None if states is None else states.get(one.name),
    }


def _row(one: Account, states: Mapping[str, str] | None, *, is_default: bool) -> tuple[str, ...]:
    state = [] if states is None else [printable(states.get(one.name)).replace("_", " ") or "-"]
    return (f"{one.name} (default)" if is_default else one.name, *state, one.issuer, one.client_id)


def _show(rows: list[tuple[str, ...]], states: object) -> None:
    table = [("ACCOUNT", *([] if states is None else ["STATE"]), "ISSUER", "CLIENT ID"), *rows]
    widths = [max(len(row[column]) for row in table) for column in range(len(table[0]) - 1)]
    room = shutil.get_terminal_size().columns - sum(widths) - 2 * len(widths) if sys.stdout.isatty() else sys.maxsize
    for row in table:
        cells = [cell.ljust(width) for cell, width in zip(row, widths, strict=False)]
        click.echo("  ".join([*cells, printable(row[-1], max(_LEAST_SHOWN, room))]))
