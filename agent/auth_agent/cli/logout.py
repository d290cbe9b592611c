"""`auth-agent logout`: a session that is forgotten here, ended at the provider, and in the browser."""

from collections.abc import Mapping
from typing import Final
from urllib.parse import urlsplit

import click

from auth_agent.cli import exits
from auth_agent.cli.browser import open_address
from auth_agent.cli.screen import say, say_address
from auth_agent.printable import printable
from auth_agent_client import Agent, Logout, Record
from auth_agent_client.errors import AgentError, InvalidRequest
from auth_agent_client.messages import LOCKED, LOGGED_OUT, NO_RENEWAL

_LONGEST: Final = 8192  # characters of an address


@click.command()
@click.argument("account", required=False)
@click.option("--all", "everywhere", is_flag=True, help="Log out of every account.")
@click.option("--keep-session", is_flag=True, help="Forget it here only: the provider is told nothing.")
@click.option("--revoke", is_flag=True, help="Revoke it although another account's session may end with it.")
@click.option("--browser", is_flag=True, help="End the login at the provider itself too, in a browser.")
def logout(account: str | None, *, everywhere: bool, keep_session: bool, revoke: bool, browser: bool) -> int:
    """Forget a session, and revoke its refresh token at the provider.

    It is forgotten in any case, also where the provider can't be reached. Where other accounts have sessions of the
    same client, and perhaps of the same user, a revocation may end those too: then it is forgotten only, unless you say
    --revoke. With --all, every session is revoked. A browser may still be logged in at the provider, and the next login
    needs no password then: --browser ends that too.

    Example: auth-agent logout work

    Example: auth-agent logout --all --browser
    """
    if everywhere and account is not None:
        raise click.UsageError("--all means every account: name none.")
    if revoke and keep_session:
        raise click.UsageError("--keep-session revokes nothing: leave --revoke out.")
    with Agent() as agent:
        records = _meant(agent, account, everywhere=everywhere)
        if not records:
            say("Nobody is logged in.")
        # Where all sessions end, none is there to be spared.
        how = {"revoke": not keep_session, "revoke_shared": not keep_session and (revoke or everywhere)}
        codes = [_log_out(agent, record, how, browser=browser, goes_on=everywhere) for record in records]
    return exits.worst(codes)


def _meant(agent: Agent, account: str | None, *, everywhere: bool) -> list[Record]:
    """The records of the accounts that are meant; of all those that have anything to forget."""
    status = agent.status(account)
    records = status.accounts
    if everywhere:
        return [record for record in records if record.state != LOGGED_OUT or not record.saved]
    if account is None:
        default = status.agent.default
        # Where there is none, the agent asks which one is meant.
        return [record for record in records if record.account == default] or [Record()]
    return records


def _log_out(agent: Agent, record: Record, how: Mapping[str, bool], *, browser: bool, goes_on: bool) -> int:
    """Log out of one account, and say what came of it; an exit code.

    Raises:
        AgentError: it can't be done, and nothing else is to be done; when it `goes_on`, that is said.

    """
    account = record.account or None
    try:
        done = _logged_out(agent, account, how)
    except AgentError as error:
        if not goes_on:
            raise
        reason = printable(error.reason or error.message, 1000)
        exits.complain(f"{printable(account)}: {reason}", error.remedy)
        return exits.exit_code(error)
    shown = printable(account)
    say(f"{shown}: {_outcome(record, done, revoke=how['revoke'])}")
    if browser:
        _end_in_browser(shown, done.end_session_url)
    return exits.OK


def _logged_out(agent: Agent, account: str | None, how: Mapping[str, bool]) -> Logout:
    try:
        return agent.logout(account, **how)
    except InvalidRequest as error:
        if error.parameter != "revoke_shared":
            raise
        return agent.logout(account, revoke=how["revoke"])  # an older agent, which spares no other session


def _outcome(record: Record, done: Logout, *, revoke: bool) -> str:
    if done.revoked:
        return "logged out; its refresh token was revoked at the provider"
    if record.state == LOGGED_OUT:
        return "it was not logged in"
    if not revoke:
        return "forgotten here; its session at the provider lives on, as its refresh token was not revoked"
    if done.reason is not None:
        reason = printable(done.reason, 1000)
        return f"forgotten here; {reason}, so it was not revoked at the provider (with --revoke it is all the same)"
    if record.renewal == NO_RENEWAL and record.state != LOCKED:
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
