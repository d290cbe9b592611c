"""`auth-agent metadata`: what is kept with the user at the provider, shown and changed."""

import sys
from collections.abc import Mapping
from typing import Final

import click

from auth_agent.cli.assignments import AssignmentError, assignments, is_assignment
from auth_agent.cli.json_text import json_text
from auth_agent.cli.running import record_of
from auth_agent.cli.terminal import terminal
from auth_agent.printable import printable
from auth_agent_client import Agent
from auth_agent_client.messages import is_account_name

_ABSENT: Final = object()


@click.group()
def metadata() -> None:
    """Show and change what is kept with the user at the provider.

    That is Auth0's user_metadata. It needs an access token for the provider's Management API; where there is none, the
    error says how to get one.
    """


@metadata.command()
@click.argument("names", nargs=-1, metavar="[ACCOUNT] [KEY]")
@click.option("--json", "as_json", is_flag=True, help="Print a text as JSON too, in quotes.")
def get(names: tuple[str, ...], *, as_json: bool) -> None:
    """Print the user's metadata as JSON; of one KEY its value, a text as it is.

    One name alone is an account, if there is one of that name; else it is a key of the default account.

    Example: auth-agent metadata get work country
    """
    if len(names) > 2:  # noqa: PLR2004 -- an account and a key
        raise click.UsageError(f"Got unexpected extra argument ({printable(names[2])})")
    with Agent() as agent:
        account, key = _meant(agent, names)
        found = agent.user_metadata(account)
    value = found if key is None else found.get(key, _ABSENT)
    if value is _ABSENT:
        raise click.ClickException(_no_such_key(found, account, key or ""))
    _print(value, as_json=as_json)


@metadata.command(name="set")
@click.argument("words", nargs=-1, metavar="[ACCOUNT] [KEY=TEXT | KEY:=JSON]...")
@click.option("--unset", "deleted", metavar="KEY", multiple=True, help="Delete a key; may be repeated.")
@click.option("--clear", is_flag=True, help="Delete all other keys too.")
def set_(words: tuple[str, ...], *, deleted: tuple[str, ...], clear: bool) -> None:
    """Change the user's metadata, and print it as it is then.

    KEY=TEXT sets a text; KEY:=JSON sets a number, true, false, a list or a map, which replaces one that was there.
    Keys that aren't named stay. A key that is set to null is deleted.

    Example: auth-agent metadata set work country=Canada active:=true

    Example: auth-agent metadata set work address:='{"city": "Oslo"}'

    Example: auth-agent metadata set work --unset country
    """
    account = words[0] if words and not is_assignment(words[0]) else None
    changes = _changes(words if account is None else words[1:], deleted, clear=clear)
    if not changes and not clear:
        raise click.UsageError("There is nothing to change: write KEY=TEXT, KEY:=JSON, --unset KEY or --clear.")
    with Agent() as agent:
        _print(agent.update_user_metadata(account, changes, clear=clear), as_json=True)


def _changes(words: tuple[str, ...], deleted: tuple[str, ...], *, clear: bool) -> dict[str, object]:
    """The new values by key, None for what is deleted. Raises a `UsageError` for a mistake."""
    if deleted and clear:
        raise click.UsageError("--clear deletes all that isn't set: there is nothing left to --unset.")
    try:
        changes = assignments(words)
    except AssignmentError as error:
        raise click.UsageError(f"{error}.") from error
    for key in deleted:
        if not key:
            raise click.UsageError("--unset needs a key.")
        if key in changes:
            done = "unset twice" if changes[key] is None else "both set and unset"
            raise click.UsageError(f"{printable(key)} is {done}.")
        changes[key] = None
    return changes


def _meant(agent: Agent, names: tuple[str, ...]) -> tuple[str | None, str | None]:
    """The account and the key that are meant by at most two names."""
    if len(names) != 1:
        return (names[0], names[1]) if names else (None, None)
    is_account = is_account_name(names[0]) and record_of(agent, names[0]) is not None
    return (names[0], None) if is_account else (None, names[0])


def _no_such_key(found: Mapping[str, object], account: str | None, key: str) -> str:
    neither = "" if account is not None else ", and no account of that name"
    there = f"; there are: {printable(', '.join(sorted(found)), 500)}" if found else "; there is none at all"
    return f"the user's metadata has no key {printable(key)}{neither}{there}"


def _print(value: object, *, as_json: bool) -> None:
    look = terminal(sys.stdout)
    if isinstance(value, str) and not as_json:
        # As it is for a program; a terminal shows it, and does not obey it.
        lines = [printable(line, len(line)) for line in value.split("\n")] if sys.stdout.isatty() else [value]
        click.echo(look.shown("\n".join(lines)), color=True)  # or click would take out what looks like a colour
    else:
        click.echo(json_text(value, look))
