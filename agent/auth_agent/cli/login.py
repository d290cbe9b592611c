"""`auth-agent login`: from nothing to a session, and what a person sees of it."""

import signal
import sys
import time
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Final
from urllib.parse import urlsplit

import click

from auth_agent import remedies
from auth_agent.cli import exits
from auth_agent.cli.account_options import IDENTITY, account_options, unknown, write
from auth_agent.cli.browser import open_address
from auth_agent.cli.client_secret import ask, can_ask, client_secret_options
from auth_agent.cli.running import ensure_running, record_of
from auth_agent.cli.screen import say, say_address, say_remedies, shown_path
from auth_agent.cli.status import status_lines
from auth_agent.cli.terminal import terminal
from auth_agent.cli.trouble import Trouble
from auth_agent.cli.waiting import wait
from auth_agent.config import Account, Config, config_path, load
from auth_agent.config_file import Written, restore
from auth_agent.errors import StartupError
from auth_agent.printable import printable
from auth_agent_client import Agent, Login, Record
from auth_agent_client.errors import AgentError, InvalidRequest
from auth_agent_client.messages import LOGGED_OUT
from auth_agent_client.remedy import Remedy

_ENDS: Final = (signal.SIGTERM, signal.SIGHUP)
_LONGEST: Final = 8192  # characters of an address


@click.command()
@click.argument("name", metavar="[ACCOUNT]", required=False)
@account_options
@click.option(
    "--flow",
    type=click.Choice(["browser", "device"]),
    default="browser",
    show_default=True,
    help="Where to log in: in a browser of this machine, or on any other device, by a code.",
)
@click.option(
    "--no-browser",
    is_flag=True,
    help="Open no browser: print the address, and take the one that the browser ended on.",
)
@click.option("--switch-user", is_flag=True, help="It may be another user than before.")
@click.option(
    "--management-for",
    "managed",
    metavar="ACCOUNT",
    help="The account whose user's data this login is for: it becomes that one's --management-account.",
)
@client_secret_options
def login(
    name: str | None,
    *,
    keys: Mapping[str, object],
    client_secret: str | None,
    flow: str,
    no_browser: bool,
    switch_user: bool,
    managed: str | None,
) -> int:
    """Log in to an account, or add one and log in.

    With options that say what the account is, it is first added to the configuration, or changed there. Whatever
    fails, the session that there was stays. Where no agent runs, one is started in the background.

    Example: auth-agent login work --issuer https://id.example --client-id ID

    Auth0's Management API, which has the user's data, wants a login of its own: --management-for says whose.

    Example: auth-agent login work.users --issuer https://acme.eu.auth0.com/ --client-id ID
    --audience https://acme.eu.auth0.com/api/v2/ --management-for work
    --scope "openid offline_access read:current_user update:current_user_metadata"
    """
    config = load(config_path())
    chosen = _chosen(config, name, keys)
    _check_managed(config, chosen, managed)
    ensure_running()
    with Agent() as agent:
        written: list[tuple[str, Written]] = []
        try:
            if keys:
                written.append((chosen, _write(agent, config, chosen, keys)))
            if managed is not None:
                written.append((managed, write(load(config.path), managed, {"management_account": chosen})))
            agent.reload()
            account = load(config.path).accounts[chosen]
            _refuse_other_agents(agent, chosen, config)
            begin = partial(agent.login, chosen, flow=flow, switch_user=switch_user)
            with _interruptible(), _begun(begin, client_secret) as begun:
                _show(account, begun, opens=not no_browser)
                record = wait(begun)
        except KeyboardInterrupt:
            say("Cancelled." if written else "Cancelled; nothing has changed.")
            _take_back(agent, config, written)
            if any(one.added for _, one in written):
                say_remedies([_for_managed(remedies.log_in(chosen), managed)])
            return exits.INTERRUPTED
        except (AgentError, StartupError, click.ClickException) as error:
            _take_back(agent, config, written)
            if isinstance(error, AgentError):
                error.remedy = tuple(_for_managed(one, managed) for one in error.remedy)
            raise
    _tell(account, record)
    return exits.OK


def _chosen(config: Config, name: str | None, keys: Mapping[str, object]) -> str:
    """The name of the account that is meant."""
    if name is None:
        if keys or config.default is None:
            raise click.UsageError("Name the account: auth-agent login NAME --issuer URL --client-id ID")
        return config.default.name
    if name not in config.accounts and not keys:
        raise unknown(config, name)
    return name


def _check_managed(config: Config, name: str, managed: str | None) -> None:
    """Tell of an account that this one can't have the user's data of."""
    if managed is not None and managed not in config.accounts:
        raise unknown(config, managed)
    if managed == name:
        raise click.UsageError("--management-for names another account: its own tokens an account uses anyway.")


def _refuse_other_agents(agent: Agent, name: str, config: Config) -> None:
    """Tell of an agent that can't do it: one of before an upgrade, or one that reads another configuration."""
    if "login" not in agent.hello("login").features:
        raise Trouble("the agent that runs is an older one, which has no login", remedies.restart())
    if record_of(agent, name) is None:
        path = printable(agent.status().agent.config, _LONGEST)
        raise Trouble(
            f"the agent reads another configuration, {path}, and not {config.path}",
            remedies.same_configuration(),
        )


def _write(agent: Agent, config: Config, name: str, keys: Mapping[str, object]) -> Written:
    """Write what the account is into the configuration."""
    known = config.accounts.get(name)
    others = [key for key in IDENTITY if known is not None and keys.get(key) not in (None, getattr(known, key))]
    if others:
        record = record_of(agent, name)
        if record is not None and record.state != LOGGED_OUT:
            raise Trouble(
                f"{name} has a session with another {' and '.join(others)}",
                remedies.log_out(name),
                remedies.another_name(),
            )
    return write(config, name, keys)


def _for_managed(remedy: Remedy, managed: str | None) -> Remedy:
    """What helps, where the account whose user's data it is for doesn't name this one any more."""
    return remedy if managed is None else remedies.log_in_for(managed, remedy)


def _take_back(agent: Agent, config: Config, written: Sequence[tuple[str, Written]]) -> None:
    """After a login that came to nothing: accounts are as they were before, the last that was changed first.

    A new one stays, so that nothing of it is to be said again.
    """
    where = shown_path(config.path)
    for name, one in reversed(written):
        if one.added:
            say(f"The account {name} stays in {where}")
        elif not restore(config.path, one):
            say(f"{where} was changed meanwhile, and stays as it is")
            break
        elif one.changed:
            say(f"{name} is as it was before in {where}")
    if any(one.changed for _, one in written):
        agent.reload()


# ---- the login


def _begun(begin: Callable[..., Login], secret: str | None) -> Login:
    """Begin, and ask for the client's secret where one is needed and there is somebody to ask."""
    try:
        return begin(client_secret=secret)
    except InvalidRequest as error:
        if error.parameter != "client_secret" or secret is not None or not can_ask():
            raise
    say("This client authenticates with a secret, which the agent keeps with the session.")
    return begin(client_secret=ask())


def _show(account: Account, begun: Login, *, opens: bool) -> None:
    """Tell the person what to do, if anything."""
    host = urlsplit(account.issuer).netloc
    if begun.user_code is not None:
        _show_code(begun)
    elif begun.authorization_url is not None:
        address = printable(begun.authorization_url, _LONGEST)
        if opens and open_address(address):
            say(f"Your browser should show the login of {host} now. If not, open this address:")
        else:
            say(f"To log in at {host}, open this address in a browser:")
            opens = False
        say()
        say_address(address)
        say()
        if not opens:
            say(
                "If that browser is on another machine, it ends at a page that can't be shown, whose address begins "
                "with http://127.0.0.1: paste that address here, and press Enter. What you paste isn't shown."
            )
            say()
    else:
        say(f"Asking {host} for a token of the client's own …")


def _show_code(begun: Login) -> None:
    code, address = printable(begun.user_code), printable(begun.verification_uri, _LONGEST)
    whole = printable(begun.verification_uri_complete, _LONGEST)
    say("On any device, open")
    say()
    say(f"    {address}", "strong", whole=True)
    say()
    say("and enter the code")
    say()
    # The provider wrote it: what is no single word looks like no command either.
    say(f"    {code}", "strong" if code.replace("-", "").isalnum() else "", whole=True)
    say()
    if whole:
        say("or open both at once:")
        say()
        say(f"    {whole}", whole=True)
        say()


def _tell(account: Account, record: Record) -> None:
    who = printable(record.name) or printable(record.subject)
    say(f"Logged in to {account.name}{f' as {who}' if who else ''}.", "good")
    say()
    look = terminal(sys.stderr)
    for line in status_lines([record], time.time(), look):
        say(line, whole=True)


@contextmanager
def _interruptible() -> Generator[None, None, None]:
    """Let a signal that ends the command end the login as Ctrl-C does, which also puts the terminal right."""

    def interrupt(_: int, __: object) -> None:
        raise KeyboardInterrupt

    before = {one: signal.signal(one, interrupt) for one in _ENDS}
    try:
        yield
    finally:
        for one, handler in before.items():
            signal.signal(one, handler)
