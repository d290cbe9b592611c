"""`auth-agent login`: add an account if needed, start the agent if needed, and log in."""

import signal
import sys
import time
from collections.abc import Callable, Generator, Mapping
from contextlib import contextmanager, suppress
from functools import partial
from typing import Final

import click

from auth_agent import remedies
from auth_agent.cli import exits
from auth_agent.cli.account_options import IDENTITY, account_options, options_of, unknown_account, write_accounts
from auth_agent.cli.browser import is_elsewhere, open_url
from auth_agent.cli.client_secret import ask, client_secret_options
from auth_agent.cli.command_error import CommandError
from auth_agent.cli.once_options import once_options, options_of_once
from auth_agent.cli.patient_agent import PatientAgent
from auth_agent.cli.running import ensure_running, print_started, record_of
from auth_agent.cli.screen import print_message, print_remedies, print_url, shown_path
from auth_agent.cli.secret_input import can_ask
from auth_agent.cli.status import status_lines
from auth_agent.cli.terminal import terminal_of
from auth_agent.cli.waiting import wait
from auth_agent.config import Account, Config, config_path, load
from auth_agent.config_file import Written, remove_account, restore
from auth_agent.errors import StartupError
from auth_agent.printable import printable
from auth_agent.urls import is_same_issuer
from auth_agent_client import Agent, Login, Record
from auth_agent_client.errors import AgentError, Denied, InvalidRequest
from auth_agent_client.messages import EXPIRED, ID_TOKEN, LOGGED_OUT, READY, REFRESH_TOKEN, SUBJECT

_SIGNALS: Final = (signal.SIGTERM, signal.SIGHUP)
# What a login says of each word in a record's `missing`.
_MISSING: Final = {
    ID_TOKEN: "The provider sent no ID token, so `auth-agent id-token` has none.",
    SUBJECT: "It doesn't tell who has logged in, so another login needs --switch-user while this session lasts.",
    REFRESH_TOKEN: "The provider sent no refresh token. If it has the scope offline_access without saying so, log in "
    'with that by --scope "openid profile email offline_access".',
}
_MAX_URL: Final = 8192  # characters of a URL


@click.command()
@click.argument("name", metavar="[ACCOUNT]", required=False)
@account_options
@click.option(
    "--flow",
    type=click.Choice(["browser", "device"]),
    default="browser",
    show_default=True,
    help="Log in with a browser on this machine, or with a code on any other device.",
)
@click.option(
    "--no-browser",
    is_flag=True,
    help="Open no browser: print the URL, and read the URL that the browser ended on.",
)
@click.option("--switch-user", is_flag=True, help="Accept another user than before.")
@click.option(
    "--management-for",
    "managed",
    metavar="ACCOUNT",
    help="Use this login for the Management API of ACCOUNT: it becomes its --management-account.",
)
@once_options
@client_secret_options
def login(
    name: str | None,
    *,
    keys: Mapping[str, object],
    once: Mapping[str, str],
    client_secret: str | None,
    flow: str,
    no_browser: bool,
    switch_user: bool,
    managed: str | None,
) -> int:
    """Log in to an account, or add one and log in.

    Options that define the account are first written to the configuration. If the login fails, the configuration is
    as before, and an existing session stays as it is. If no agent runs, one is started in the background. What --once,
    --organization and --invitation give is for this login alone, and is written nowhere.

    Example: auth-agent login work --issuer https://id.example --client-id ID

    Auth0's Management API, which has the user's data, needs a separate login with --management-for.

    Example: auth-agent login work.users --issuer https://acme.eu.auth0.com/ --client-id ID
    --audience https://acme.eu.auth0.com/api/v2/ --management-for work
    --scope "openid offline_access read:current_user update:current_user_metadata"
    """
    config = load(config_path())
    chosen = _account_name(config, name, keys)
    _check_managed(config, chosen, managed)
    started = ensure_running()
    if started is not None:
        print_started(started)
    # Another attempt needs them again, since nothing of a login that failed stays.
    management = ("--management-for", managed) if managed is not None else ()
    options = (*options_of(keys), *management, *options_of_once(once))
    with PatientAgent() as agent:
        written: Written | None = None
        try:
            written = _write_keys(agent, config, chosen, keys, managed)
            agent.reload()
            account = load(config.path).accounts[chosen]
            _check_agent(agent, chosen, config)
            begin = partial(agent.login, chosen, flow=flow, switch_user=switch_user, parameters=once or None)
            with _interruptible(), _begin(begin, client_secret) as pending:
                _show_instructions(account, pending, open_browser=not no_browser)
                record = wait(pending, account.host)
        except (KeyboardInterrupt, click.Abort):  # the latter at a prompt
            is_changed = written is not None and written.changed
            print_message("Cancelled." if is_changed else "Cancelled; nothing has changed.")
            _undo(agent, config, written)
            if is_changed:
                print_remedies([remedies.log_in_with(chosen, options, remedies.log_in(chosen))])
            return exits.INTERRUPTED
        except (AgentError, StartupError, click.ClickException) as error:
            if not _is_replaced(error):
                _undo(agent, config, written)
            if isinstance(error, AgentError):
                error.remedy = tuple(remedies.log_in_with(chosen, options, one) for one in error.remedy)
            raise
    _show_result(account, record)
    return exits.OK


def _account_name(config: Config, name: str | None, keys: Mapping[str, object]) -> str:
    """Return the name of the account to log in to."""
    if name is None:
        if keys or not config.accounts:
            raise click.UsageError("Name the account: auth-agent login NAME --issuer URL --client-id ID")
        if config.default is None:
            raise InvalidRequest(config.which_account, remedy=(remedies.choose_default(config.first),))
        return config.default.name
    if name not in config.accounts and not keys:
        raise unknown_account(config, name)
    return name


def _check_managed(config: Config, name: str, managed: str | None) -> None:
    """Raise an error if --management-for doesn't name another configured account."""
    if managed is not None and managed not in config.accounts:
        raise unknown_account(config, managed)
    if managed == name:
        raise click.UsageError("--management-for must name another account.")


def _check_agent(agent: Agent, name: str, config: Config) -> None:
    """Raise an error if the agent is an older version, or reads another configuration."""
    if "login" not in agent.hello("login").features:
        raise CommandError("the running agent is an older version, which has no login", remedies.restart())
    if record_of(agent, name) is None:
        path = printable(agent.status().agent.config, _MAX_URL)
        raise CommandError(
            f"the agent reads the configuration {path}, not {config.path}",
            remedies.same_configuration(),
        )


def _write_keys(
    agent: Agent, config: Config, name: str, keys: Mapping[str, object], managed: str | None
) -> Written | None:
    """Write the keys of an account to the configuration, unless it has a session of another client.

    The account also becomes the management account of `managed`. None: there is nothing to write.
    """
    known = config.accounts.get(name)
    differing = [] if known is None else [key for key in IDENTITY if _differs(key, keys.get(key), getattr(known, key))]
    if differing and _state(agent, name) not in (None, LOGGED_OUT):
        raise CommandError(
            f"{name} has a session with another {' and '.join(differing)}",
            remedies.log_out(name),
            remedies.another_name(),
        )
    changes = {name: keys} if keys else {}
    if managed is not None:
        changes[managed] = {"management_account": name}
    return write_accounts(config, changes) if changes else None


def _differs(key: str, new: object, old: str) -> bool:
    """Whether that key of an account has a new value; another spelling of an issuer is none."""
    return new is not None and new != old and not (key == "issuer" and is_same_issuer(new, old))


def _state(agent: Agent, name: str) -> str | None:
    """Return the state of the account's session; None if the agent doesn't know the account."""
    record = record_of(agent, name)
    return None if record is None else record.state


def _is_replaced(error: Exception) -> bool:
    """Whether a newer login or a logout took the place of this login: then the account is another command's."""
    return isinstance(error, Denied) and error.failure == "cancelled"


def _undo(agent: Agent, config: Config, written: Written | None) -> None:
    """Undo what was written for a login that failed: it leaves no account behind, and the default account stays."""
    if written is None or not written.changed:
        return
    where = shown_path(config.path)
    with suppress(AgentError):  # an agent that is gone has no session of it
        for name in written.added:
            if _state(agent, name) in (READY, EXPIRED):  # from before, or another command has logged in meanwhile
                print_message(f"The account {name} stays in {where}: it has a session")
                return
    restored = restore(config.path, written)
    for name in written.keys:
        if name in written.added and (restored or remove_account(config.path, name)):
            print_message(f"Removed the account {name} from {where} again")
        elif restored and name != written.default:
            print_message(f"Restored {name} in {where}")
    if not restored:
        print_message(f"{where} has changed meanwhile; its other changes stay")
    with suppress(AgentError):  # an agent that is gone will read it when it starts
        agent.reload()


# ---- the login


def _begin(call: Callable[..., Login], secret: str | None) -> Login:
    """Begin the login; prompt for the client secret if it is needed and there is a terminal."""
    try:
        return call(client_secret=secret)
    except InvalidRequest as error:
        if error.parameter != "client_secret" or secret is not None or not can_ask():
            raise
    print_message("This client needs a client secret. The agent stores it with the session.")
    return call(client_secret=ask())


def _show_instructions(account: Account, pending: Login, *, open_browser: bool) -> None:
    """Show the person where to log in."""
    host = account.host
    if pending.user_code is not None:
        _show_code(pending)
    elif pending.authorization_url is not None:
        url = printable(pending.authorization_url, _MAX_URL)
        if open_browser and open_url(_argument(pending, url)):
            print_message(f"Your browser should show the login of {host} now. If not, open this URL:")
        else:
            print_message(f"To log in at {host}, open this URL in a browser:")
            open_browser = False
        print_message()
        print_url(url)
        print_message()
        if not open_browser:
            print_message(
                "If that browser is on another machine, it ends on a page that can't be loaded, with a URL that begins "
                f"with http://{account.redirect_host}: paste that URL here and press Enter. It isn't shown as you "
                "paste it."
            )
            print_message()
    else:
        print_message(f"Requesting a token from {host} with the client credentials …")


def _argument(pending: Login, url: str) -> str:
    """Return the URL for the browser's program; `url` is the whole one."""
    # A browser elsewhere may not reach start_url. Other users who read the whole one are refused at the login's end.
    return url if is_elsewhere() else printable(pending.start_url, _MAX_URL) or url


def _show_code(pending: Login) -> None:
    code, url = printable(pending.user_code), printable(pending.verification_uri, _MAX_URL)
    complete_url = printable(pending.verification_uri_complete, _MAX_URL)
    print_message("On any device, open")
    print_message()
    print_message(f"    {url}", "strong", whole=True)
    print_message()
    print_message("and enter the code")
    print_message()
    # The provider chose the code: only a single word is shown in bold, like a command.
    print_message(f"    {code}", "strong" if code.replace("-", "").isalnum() else "", whole=True)
    print_message()
    if complete_url:
        print_message("or open both at once:")
        print_message()
        print_message(f"    {complete_url}", whole=True)
        print_message()


def _show_result(account: Account, record: Record) -> None:
    user = printable(record.name) or printable(record.subject)
    print_message(f"Logged in to {account.name}{f' as {user}' if user else ''}.", "good")
    for word in record.missing:
        if word in _MISSING and (word != REFRESH_TOKEN or not account.names_scope):
            print_message(_MISSING[word])
    print_message()
    terminal = terminal_of(sys.stderr)
    for line in status_lines([record], time.time(), terminal):
        print_message(line, whole=True)


@contextmanager
def _interruptible() -> Generator[None, None, None]:
    """Make SIGTERM and SIGHUP cancel the login as Ctrl-C does, which also restores the terminal."""

    def interrupt(_: int, __: object) -> None:
        raise KeyboardInterrupt

    before = {number: signal.signal(number, interrupt) for number in _SIGNALS}
    try:
        yield
    finally:
        for one, handler in before.items():
            signal.signal(one, handler)
