"""`auth-agent logout`: delete a session, revoke it at the provider, and log out in the browser."""

from collections.abc import Mapping
from typing import Final
from urllib.parse import urlsplit

import click

from auth_agent.cli import exits
from auth_agent.cli.browser import open_url
from auth_agent.cli.patient_agent import PatientAgent
from auth_agent.cli.screen import print_message, print_url
from auth_agent.printable import printable
from auth_agent_client import Agent, Logout, Record
from auth_agent_client.errors import AgentError, InvalidRequest
from auth_agent_client.messages import LOCKED, LOGGED_OUT, NO_RENEWAL

_MAX_URL: Final = 8192  # characters of a URL


@click.command()
@click.argument("account", required=False)
@click.option("--all", "everywhere", is_flag=True, help="Log out of every account.")
@click.option("--keep-session", is_flag=True, help="Delete the session here only, without revoking it at the provider.")
@click.option("--revoke", is_flag=True, help="Revoke even if that may end another account's session.")
@click.option("--browser", is_flag=True, help="Also log out at the provider, in a browser.")
def logout(account: str | None, *, everywhere: bool, keep_session: bool, revoke: bool, browser: bool) -> int:
    """Delete a session, and revoke its refresh token at the provider.

    The session is deleted even if the provider can't be reached. If other accounts have sessions of the same client and
    maybe the same user, a revocation could end those too: then the session is only deleted, unless you pass --revoke.
    With --all, every session is revoked. A browser may stay logged in at the provider, so that the next login needs no
    password: --browser ends that too.

    Example: auth-agent logout work

    Example: auth-agent logout --all --browser
    """
    if everywhere and account is not None:
        raise click.UsageError("--all can't be combined with an account.")
    if revoke and keep_session:
        raise click.UsageError("--keep-session can't be combined with --revoke.")
    with PatientAgent() as agent:
        records = _records_to_log_out(agent, account, everywhere=everywhere)
        if not records:
            print_message("Nobody is logged in.")
        # If all sessions end, none has to be spared.
        params = {"revoke": not keep_session, "revoke_shared": not keep_session and (revoke or everywhere)}
        codes = [_log_out(agent, record, params, browser=browser, continue_on_error=everywhere) for record in records]
    return exits.worst(codes)


def _records_to_log_out(agent: Agent, account: str | None, *, everywhere: bool) -> list[Record]:
    """Return the record of the account, or with `everywhere` of each account that has something to delete."""
    status = agent.status(account)
    records = status.accounts
    if everywhere:
        return [record for record in records if record.state != LOGGED_OUT or not record.saved]
    if account is None:
        default = status.agent.default
        # If there is no default, the agent's error asks for an account.
        return [record for record in records if record.account == default] or [Record()]
    return records


def _log_out(
    agent: Agent, record: Record, params: Mapping[str, bool], *, browser: bool, continue_on_error: bool
) -> int:
    """Log out of one account, print the result, and return an exit code.

    Raises:
        AgentError: the logout failed; with `continue_on_error` the error is printed instead.

    """
    account = record.account or None
    try:
        result = _call_logout(agent, account, params)
    except AgentError as error:
        if not continue_on_error:
            raise
        reason = printable(error.reason or error.message, 1000)
        exits.print_error(f"{printable(account)}: {reason}", error.remedy)
        return exits.exit_code(error)
    name = printable(account)
    print_message(f"{name}: {_outcome(record, result, revoke=params['revoke'])}")
    if browser:
        _end_in_browser(name, result.end_session_url)
    return exits.OK


def _call_logout(agent: Agent, account: str | None, params: Mapping[str, bool]) -> Logout:
    try:
        return agent.logout(account, **params)
    except InvalidRequest as error:
        if error.parameter != "revoke_shared":
            raise
        return agent.logout(account, revoke=params["revoke"])  # an older agent, which always revokes


def _outcome(record: Record, result: Logout, *, revoke: bool) -> str:
    if result.revoked:
        return "logged out; its refresh token was revoked at the provider"
    if record.state == LOGGED_OUT:
        return "was not logged in"
    if not revoke:
        return "deleted here; its refresh token was not revoked, so the session stays valid at the provider"
    if result.reason is not None:
        reason = printable(result.reason, 1000)
        return f"deleted here; {reason}, so it was not revoked at the provider (--revoke does so anyway)"
    if record.renewal == NO_RENEWAL and record.state != LOCKED:
        return "logged out; there was no refresh token to revoke"
    return (
        "deleted here, but its refresh token could not be revoked at the provider, where the session may stay valid "
        "until it expires"
    )


def _end_in_browser(account: str, url: str | None) -> None:
    """Open the provider's logout page in a browser."""
    if url is None:
        print_message(f"{account}: its provider has no known logout page; log out there yourself")
        return
    shown = printable(url, _MAX_URL)
    host = urlsplit(url).netloc
    if open_url(url):
        print_message(f"Your browser should show the logout of {printable(host)} now. If not, open this URL:")
    else:
        print_message(f"To log out at {printable(host)} too, open this URL in the browser:")
    print_message()
    print_url(shown)
    print_message()
