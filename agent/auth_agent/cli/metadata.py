"""`auth-agent metadata`: show and change the user's metadata at the provider."""

import sys
from collections.abc import Mapping
from typing import Final

import click

from auth_agent.cli.assignments import AssignmentError, assignments, is_assignment
from auth_agent.cli.command_group import CommandGroup
from auth_agent.cli.json_text import json_text
from auth_agent.cli.patient_agent import PatientAgent
from auth_agent.cli.running import record_of
from auth_agent.cli.terminal import terminal_of
from auth_agent.printable import printable
from auth_agent_client import Agent
from auth_agent_client.messages import is_account_name

_ABSENT: Final = object()


@click.group(cls=CommandGroup)
def metadata() -> None:
    """Show and change the user's metadata at the provider.

    This is Auth0's user_metadata. It needs an access token for the provider's Management API; if there is none, the
    error says how to get one.
    """


@metadata.command()
@click.argument("names", nargs=-1, metavar="[ACCOUNT] [KEY]")
@click.option("--json", "as_json", is_flag=True, help="Print a string as JSON too, in quotes.")
def get(names: tuple[str, ...], *, as_json: bool) -> None:
    """Print the user's metadata as JSON, or the value of one KEY, a string without quotes.

    A single name is an account if there is one of that name, else a key of the default account.

    Example: auth-agent metadata get work country
    """
    if len(names) > 2:  # noqa: PLR2004 -- an account and a key
        raise click.UsageError(f"Got unexpected extra argument ({printable(names[2])})")
    with PatientAgent() as agent:
        account, key = _account_and_key(agent, names)
        metadata_map = agent.user_metadata(account)
    value = metadata_map if key is None else metadata_map.get(key, _ABSENT)
    if value is _ABSENT:
        raise click.ClickException(_no_such_key(metadata_map, account, key or ""))
    _print(value, as_json=as_json)


@metadata.command(name="set")
@click.argument("words", nargs=-1, metavar="[ACCOUNT] [KEY=TEXT | KEY:=JSON]...")
@click.option("--unset", "deleted", metavar="KEY", multiple=True, help="Delete a key; may be repeated.")
@click.option("--clear", is_flag=True, help="Delete all other keys.")
def set_(words: tuple[str, ...], *, deleted: tuple[str, ...], clear: bool) -> None:
    """Change the user's metadata, and print the result.

    KEY=TEXT sets a string; KEY:=JSON sets a number, true, false, a list or an object, replacing the old value. Other
    keys stay. Setting a key to null deletes it.

    Example: auth-agent metadata set work country=Canada active:=true

    Example: auth-agent metadata set work address:='{"city": "Oslo"}'

    Example: auth-agent metadata set work --unset country
    """
    account = words[0] if words and not is_assignment(words[0]) else None
    changes = _changes(words if account is None else words[1:], deleted, clear=clear)
    if not changes and not clear:
        raise click.UsageError("Nothing to change: use KEY=TEXT, KEY:=JSON, --unset KEY or --clear.")
    with PatientAgent() as agent:
        _print(agent.update_user_metadata(account, changes, clear=clear), as_json=True)


def _changes(words: tuple[str, ...], deleted: tuple[str, ...], *, clear: bool) -> dict[str, object]:
    """Return the new values by key, None for a key to delete. Raises a `UsageError` for invalid words."""
    if deleted and clear:
        raise click.UsageError("--clear can't be combined with --unset.")
    try:
        changes = assignments(words)
    except AssignmentError as error:
        raise click.UsageError(f"{error}.") from error
    for key in deleted:
        if not key:
            raise click.UsageError("--unset needs a key.")
        if key in changes:
            mistake = "unset twice" if changes[key] is None else "both set and unset"
            raise click.UsageError(f"{printable(key)} is {mistake}.")
        changes[key] = None
    return changes


def _account_and_key(agent: Agent, names: tuple[str, ...]) -> tuple[str | None, str | None]:
    """Return the account and the key from at most two names."""
    if len(names) != 1:
        return (names[0], names[1]) if names else (None, None)
    is_account = is_account_name(names[0]) and record_of(agent, names[0]) is not None
    return (names[0], None) if is_account else (None, names[0])


def _no_such_key(metadata_map: Mapping[str, object], account: str | None, key: str) -> str:
    no_account = "" if account is not None else ", and there is no account of that name"
    keys = printable(", ".join(sorted(metadata_map)), 500) or "none"
    return f"the user's metadata has no key {printable(key)}{no_account}; it has: {keys}"


def _print(value: object, *, as_json: bool) -> None:
    terminal = terminal_of(sys.stdout)
    if isinstance(value, str) and not as_json:
        # Unchanged for a program; for a terminal without control characters.
        lines = [printable(line, len(line)) for line in value.split("\n")] if sys.stdout.isatty() else [value]
        click.echo(terminal.shown("\n".join(lines)), color=True)  # or click would strip escape codes
    else:
        click.echo(json_text(value, terminal))
