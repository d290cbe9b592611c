"""`auth-agent account`: show and change the accounts of the configuration."""

import json
import shutil
import sys
from collections.abc import Mapping
from contextlib import suppress

import click

from auth_agent import remedies
from auth_agent.cli.account_details import account_json, details_json, details_lines
from auth_agent.cli.account_options import account_options, unknown_account, write_accounts
from auth_agent.cli.command_error import CommandError
from auth_agent.cli.command_group import CommandGroup
from auth_agent.cli.exits import print_error
from auth_agent.cli.json_text import json_text
from auth_agent.cli.move import announced_move
from auth_agent.cli.patient_agent import PatientAgent
from auth_agent.cli.running import record_of
from auth_agent.cli.screen import print_lines, print_message, print_remedies, shown_path
from auth_agent.cli.terminal import terminal_of
from auth_agent.config import Account, Config, config_path, load
from auth_agent.config_file import put_accounts, remove_account, rename_account
from auth_agent.printable import printable
from auth_agent_client import Agent, Logout, Record
from auth_agent_client.errors import AgentError, AgentNotRunning, InvalidRequest
from auth_agent_client.messages import LOGGED_OUT, is_account_name

# A shorter prefix would not distinguish one client id from another.
_LEAST_SHOWN = 12


@click.group(cls=CommandGroup)
def account() -> None:
    """Show, add, rename and remove accounts, and choose the default one."""


@account.command(name="list")
@click.option("--json", "as_json", is_flag=True, help="Print every key as JSON.")
def list_accounts(*, as_json: bool) -> None:
    """Show the configured accounts and, while an agent runs, their state.

    Example: auth-agent account list
    """
    config = load(config_path())
    states = _states()
    if as_json:
        listed = [account_json(one, config, (states or {}).get(name)) for name, one in config.accounts.items()]
        click.echo(json.dumps(listed, indent=2))
    elif config.accounts:
        _print_table([_row(one, states, is_default=one is config.default) for one in config.accounts.values()], states)
    else:
        print_message(f"There is no account in {shown_path(config.path)} yet; to add one and log in:")
        print_message("  auth-agent login NAME --issuer https://acme.eu.auth0.com/ --client-id ID")


@account.command()
@click.argument("name", metavar="[ACCOUNT]", required=False)
@click.option("--json", "as_json", is_flag=True, help="Print it as JSON.")
def show(name: str | None, *, as_json: bool) -> None:
    """Show all keys of an account, its session, and the hosts and accounts that refer to it.

    Example: auth-agent account show work
    """
    config = load(config_path())
    shown = _chosen(config, name)
    record, running = _record(shown.name)
    terminal = terminal_of(sys.stdout)
    if as_json:
        click.echo(json_text(details_json(shown, config, record), terminal))
    else:
        print_lines(details_lines(shown, config, record, running=running, terminal=terminal), terminal)


@account.command()
@click.argument("name", metavar="ACCOUNT")
def default(name: str) -> None:
    """Choose the account that commands and programs use if they name none.

    Example: auth-agent account default work
    """
    config = load(config_path())
    _chosen(config, name)
    written = put_accounts(config.path, {name: {"default": True}})
    _reload()
    print_message(f"{name} is the default account{'' if written.changed else ' already'}")


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
    write_accounts(config, {name: keys})
    _reload()
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
    naming = [f'[hosts."{rule.key}"]' for rule in config.hosts_of(name)]
    naming += [f'[files."{file.key}"]' for file in config.files_of(name)]
    if naming:
        tables = printable(", ".join(dict.fromkeys(naming)), 1000)
        raise CommandError(f"{name} is still named in {shown_path(config.path)} by {tables}", remedies.take_from())
    with PatientAgent() as agent:
        if _has_session(agent, name):
            if not logout:
                raise CommandError(f"{name} has a session", remedies.log_out_and_remove(name))
            print_message(f"Logged out of {name}{_not_revoked(agent.logout(name))}")
        remove_account(config.path, name)
        agent.reload()
    print_message(f"Removed the account {name} from {shown_path(config.path)}")
    _say_default(config, load(config.path))


@account.command()
@click.argument("old", metavar="ACCOUNT")
@click.argument("new", metavar="NAME")
def rename(old: str, new: str) -> None:
    """Rename an account, also where hosts and other accounts name it. Its session moves along.

    Programs that name the account must use the new name.

    Example: auth-agent account rename work acme
    """
    config = load(config_path())
    _chosen(config, old)
    if new in config.accounts:
        raise CommandError(f"the account {new} exists already", remedies.another_name())
    if not is_account_name(new):
        raise click.UsageError(f"{printable(new)!r} can't be an account's name: 1 to 64 of A-Z a-z 0-9 . _ -")
    with PatientAgent() as agent:
        try:
            features = agent.hello("rename").features
        except AgentNotRunning:
            with announced_move(old, new):
                rename_account(config.path, old, new)
        else:
            if "rename" not in features:
                raise CommandError("the running agent is an older version, which renames nothing", remedies.restart())
            agent.call("rename", {"account": old, "name": new})
            rename_account(config.path, old, new)
            agent.reload()
    print_message(f"Renamed the account {old} to {new} in {shown_path(config.path)}")


def _chosen(config: Config, name: str | None) -> Account:
    """Return the account of that name, or the default account."""
    if name is not None and name not in config.accounts:
        raise unknown_account(config, name)
    if name is not None:
        return config.accounts[name]
    if not config.accounts:
        raise CommandError(f"there is no account in {shown_path(config.path)} yet", remedies.begin())
    if config.default is None:
        raise InvalidRequest(config.which_account, remedy=(remedies.choose_default(config.first),))
    return config.default


def _reload() -> None:
    """Make the agent read the configuration, if one runs; another one reads it when it starts."""
    with suppress(AgentNotRunning), Agent() as agent:
        agent.reload()


def _has_session(agent: Agent, name: str) -> bool:
    """Return whether the account has a session, or may have one that can't be read now."""
    try:
        record = record_of(agent, name)
    except AgentNotRunning as error:
        raise AgentNotRunning(
            f"only the agent knows whether {name} is logged in: {error.message}", remedy=error.remedy
        ) from error
    return record is not None and record.state != LOGGED_OUT


def _say_default(before: Config, after: Config) -> None:
    """Print which account is the default now, if that has changed."""
    if before.default is None or not after.accounts:
        return
    if after.default is None:
        print_message("No account is the default now")
        print_remedies([remedies.choose_default(after.first)])
    elif after.default.name != before.default.name:
        print_message(f"{after.default.name} is the default account now")


def _not_revoked(logout: Logout) -> str:
    """Return that the refresh token was not revoked, and why; "" if it was."""
    if logout.revoked:
        return ""
    if logout.reason is not None:
        return f"; {printable(logout.reason, 1000)}, so it was not revoked at the provider"
    return "; its refresh token could not be revoked at the provider"


def _record(name: str) -> tuple[Record | None, bool]:
    """Return the record of an account, None if the agent has none, and whether an agent answers."""
    try:
        with PatientAgent() as agent:
            return record_of(agent, name), True
    except AgentNotRunning:
        return None, False
    except AgentError as error:
        print_error(printable(error.message, 1000), error.remedy)
        return None, False


def _states() -> Mapping[str, str] | None:
    """Return the state of each account by its name; None if no agent answers."""
    try:
        with PatientAgent() as agent:
            return {record.account: record.state for record in agent.status().accounts}
    except AgentNotRunning:
        return None
    except AgentError as error:
        print_error(printable(error.message, 1000), error.remedy)
        return None


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
