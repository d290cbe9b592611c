"""`auth-agent account`: show and change the accounts of the configuration."""

import json
import shutil
import sys
from collections.abc import Mapping
from dataclasses import fields
from typing import Any

import click

from auth_agent import remedies
from auth_agent.cli.account_options import account_options, unknown_account, write_account
from auth_agent.cli.command_error import CommandError
from auth_agent.cli.exits import print_error
from auth_agent.cli.running import record_of
from auth_agent.cli.screen import print_message, print_remedies, shown_path
from auth_agent.config import Account, config_path, load
from auth_agent.config_file import remove_account
from auth_agent.printable import printable
from auth_agent_client import Agent, Logout
from auth_agent_client.errors import AgentError, AgentNotRunning
from auth_agent_client.messages import LOGGED_OUT

# A shorter prefix would not distinguish one client id from another.
_LEAST_SHOWN = 12


@click.group()
def account() -> None:
    """Show, add and remove accounts."""


@account.command(name="list")
@click.option("--json", "as_json", is_flag=True, help="Print every key as JSON.")
def list_accounts(*, as_json: bool) -> None:
    """Show the configured accounts and, while an agent runs, their state.

    Example: auth-agent account list
    """
    config = load(config_path())
    states = _states()
    if as_json:
        click.echo(json.dumps([_as_json(one, states) for one in config.accounts.values()], indent=2))
    elif config.accounts:
        _print_table([_row(one, states, is_default=one is config.default) for one in config.accounts.values()], states)
    else:
        print_message(f"There is no account in {shown_path(config.path)} yet; to add one and log in:")
        print_message("  auth-agent login NAME --issuer https://acme.eu.auth0.com/ --client-id ID")


@account.command()
@click.argument("name")
@account_options
def add(name: str, *, keys: Mapping[str, object]) -> None:
    """Add an account to the configuration. `auth-agent login` can do the same, and logs in.

    Example: auth-agent account add work --issuer https://id.example --client-id ID
    """
    config = load(config_path())
    if name in config.accounts:
        raise CommandError(f"the account {name} exists already", remedies.change_account())
    write_account(config, name, keys)
    try:
        with Agent() as agent:
            agent.reload()
    except AgentNotRunning:
        pass  # the agent reads the configuration when it starts
    print_remedies([remedies.log_in(name)])


@account.command()
@click.argument("name", metavar="ACCOUNT")
@click.option("--logout", is_flag=True, help="Log out first, if there is a session.")
def remove(name: str, *, logout: bool) -> None:
    """Remove an account from the configuration.

    Example: auth-agent account remove work --logout
    """
    config = load(config_path())
    if name not in config.accounts:
        raise unknown_account(config, name)
    if config.hosts_of(name):
        hosts = printable(", ".join(f'[hosts."{rule.key}"]' for rule in config.hosts_of(name)), 1000)
        raise CommandError(f"{name} is still named in {shown_path(config.path)} by {hosts}", remedies.take_from_hosts())
    with Agent() as agent:
        try:
            record = record_of(agent, name)
        except AgentNotRunning as error:
            raise AgentNotRunning(
                f"only the agent knows whether {name} is logged in: {error.message}", remedy=error.remedy
            ) from error
        if record is not None and record.state != LOGGED_OUT:
            if not logout:
                raise CommandError(f"{name} has a session", remedies.log_out_and_remove(name))
            print_message(f"Logged out of {name}{_not_revoked(agent.logout(name))}")
        remove_account(config.path, name)
        agent.reload()
    print_message(f"Removed the account {name} from {shown_path(config.path)}")


def _not_revoked(logout: Logout) -> str:
    """Return that the refresh token was not revoked, and why; "" if it was."""
    if logout.revoked:
        return ""
    if logout.reason is not None:
        return f"; {printable(logout.reason, 1000)}, so it was not revoked at the provider"
    return "; its refresh token could not be revoked at the provider"


def _states() -> Mapping[str, str] | None:
    """Return the state of each account by its name; None if no agent answers."""
    try:
        with Agent() as agent:
            return {record.account: record.state for record in agent.status().accounts}
    except AgentNotRunning:
        return None
    except AgentError as error:
        print_error(printable(error.message, 1000), error.remedy)
        return None


def _as_json(account: Account, states: Mapping[str, str] | None) -> dict[str, Any]:
    """Return an account as a JSON object, without its proxy, whose URL may contain a password."""
    shown = (key for key in fields(account) if key.repr)
    return {
        **{key.metadata.get("key", key.name): getattr(account, key.name) for key in shown},
        "grant": account.grant_type.name,
        "authorize": dict(account.authorize),
        "state": None if states is None else states.get(account.name),
    }


def _row(account: Account, states: Mapping[str, str] | None, *, is_default: bool) -> tuple[str, ...]:
    state = [] if states is None else [printable(states.get(account.name)).replace("_", " ") or "-"]
    return (f"{account.name} (default)" if is_default else account.name, *state, account.issuer, account.client_id)


def _print_table(rows: list[tuple[str, ...]], states: object) -> None:
    table = [("ACCOUNT", *([] if states is None else ["STATE"]), "ISSUER", "CLIENT ID"), *rows]
    widths = [max(len(row[column]) for row in table) for column in range(len(table[0]) - 1)]
    room = shutil.get_terminal_size().columns - sum(widths) - 2 * len(widths) if sys.stdout.isatty() else sys.maxsize
    for row in table:
        cells = [cell.ljust(width) for cell, width in zip(row, widths, strict=False)]
        click.echo("  ".join([*cells, printable(row[-1], max(_LEAST_SHOWN, room))]))
