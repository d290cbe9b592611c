"""`auth-agent logout`: a session that is forgotten here, ended at the provider, and in the browser."""

from collections.abc import Mapping
from typing import Any, Final
from urllib.parse import urlsplit

import click

from auth_agent.cli import exits
from auth_agent.cli.browser import open_address
from auth_agent.cli.screen import say, say_address
from auth_agent.printable import printable
from auth_agent_client import Agent, Logout
from auth_agent_client.errors import AgentError

_LONGEST: Final = 8192  # characters of an address


@click.command()
@click.argument("account", required=False)
@click.option("--all", "everywhere", is_flag=True, help="Log out of every account.")
@click.option("--keep-session", is_flag=True, help="Forget it here only: the provider is told nothing.")
@click.option("--browser", is_flag=True, help="End the login at the provider itself too, in a browser.")
def logout(account: str | None, *, everywhere: bool, keep_session: bool, browser: bool) -> int:
    """Forget a session, and revoke its refresh token at the provider.

    It is forgotten in any case, also where the provider can't be reached. A browser may still be logged in at the
    provider, and the next login needs no password then: --browser ends that too.

    Example: auth-agent logout work

    Example: auth-agent logout --all --browser
    """
    if everywhere and account is not None:
        raise click.UsageError("--all means every account: name none.")
    with Agent() as agent:
        records = _meant(agent, account, everywhere=everywhere)
        if not records:
            say("Nobody is logged in.")
        codes = [
            _log_out(agent, record, revoke=not keep_session, browser=browser, goes_on=everywhere) for record in records
        ]
    return exits.worst(codes)


def _meant(agent: Agent, account: str | None, *, everywhere: bool) -> list[Mapping[str, object]]:
    """The records of the accounts that are meant; of all those that have anything to forget."""
    told: Any = agent.status(account)
    records: list[Mapping[str, object]] = told["accounts"]
    if everywhere:
        return [one for one in records if one.get("state") != "logged_out" or one.get("saved") is False]
    if account is None:
        default = told["agent"]["default"]
        # Where there is none, the agent asks which one is meant.
        return [one for one in records if default is not None and one.get("account") == default] or [{}]
    return records


def _log_out(agent: Agent, record: Mapping[str, object], *, revoke: bool, browser: bool, goes_on: bool) -> int:
    """Log out of one account, and say what came of it; an exit code.

    Raises:
        AgentError: it can't be done, and nothing else is to be done; when it `goes_on`, that is said.

    """
    name = record.get("account")
    account = name if isinstance(name, str) else None
    try:
        done = agent.logout(account, revoke=revoke)
    except AgentError as error:
        if not goes_on:
            raise
        reason = printable(error.reason or error.message, 1000)
        exits.complain(f"{printable(account)}: {reason}", error.remedy)
        return exits.exit_code(error)
    shown = printable(account)
    say(f"{shown}: {_outcome(record, done, revoke=revoke)}")
    if browser:
        _end_in_browser(shown, done.end_session_url)
    return exits.OK


def _outcome(record: Mapping[str, object], done: Logout, *, revoke: bool) -> str:
    if done.revoked:
        return "logged out; its refresh token was revoked at the provider"
    if record.get("state") == "logged_out":
        return "it was not logged in"
    if not revoke:
        return "forgotten here; its session at the provider lives on, as its refresh token was not revoked"
    if record.get("renewal") == "none" and record.get("state") != "locked":
        return "logged out; there was no refresh token to revoke"
    return (
        "forgotten here, but its refresh token could not be revoked at the provider, where the session may live on "
        "until it expires"
    )


def _end_in_browser(account: str, address: str | None) -> None:
    """End the login that a browser has at the provider."""
    if address is None:
        say(f"{account}: its provider names no page that ends the login in a browser; log out there yourself")
        return
    shown = printable(address, _LONGEST)
    host = urlsplit(address).netloc
    if open_address(address):
        say(f"Your browser should show the logout of {printable(host)} now. If not, open this address:")
    else:
        say(f"To log out at {printable(host)} too, open this address in the browser:")
    say()
    say_address(shown)
    say()
