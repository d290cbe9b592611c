"""The options that say what an account is, for the commands that write one into the configuration."""

import difflib
from collections.abc import Callable, Mapping
from functools import wraps
from typing import Any, Final

import click

from auth_agent import remedies
from auth_agent.cli.screen import say, shown_path
from auth_agent.cli.trouble import Trouble
from auth_agent.config import DEFAULT_REDIRECT_PORTS, TOKEN_ENDPOINT_AUTH_METHODS, Config
from auth_agent.config_file import Written, put_account
from auth_agent.grant_type import AUTHORIZATION_CODE, GRANT_TYPES
from auth_agent.printable import printable

_MAX_PORT: Final = 65_535
# What tells an account from another one: its sessions belong to it.
IDENTITY: Final = ("issuer", "client_id")


def _pairs(_: click.Context, __: click.Parameter, texts: tuple[str, ...]) -> dict[str, str]:
    pairs: dict[str, str] = {}
    for text in texts:
        name, equals, value = text.partition("=")
        if not name or not equals:
            raise click.BadParameter("it is a name and a value: NAME=VALUE")
        pairs[name] = value
    return pairs


def _proxy(_: click.Context, __: click.Parameter, address: str | None) -> str | None:
    if address and "@" in address:
        raise click.BadParameter(
            "a password on a command line can be read by others; write this proxy into the file in an editor"
        )
    return address


_OPTIONS: Final = (
    click.option("--issuer", metavar="URL", help="The provider's address, such as https://acme.eu.auth0.com/."),
    click.option("--client-id", metavar="ID", help="The id that the provider gave its client."),
    click.option("--audience", metavar="TEXT", help="The API that access tokens are for, where the provider asks."),
    click.option(
        "--scope",
        metavar="TEXT",
        help=f"What access tokens allow, separated by spaces ({AUTHORIZATION_CODE.default_scope}).",
    ),
    click.option(
        "--redirect-port",
        "redirect_ports",
        metavar="PORT",
        type=click.IntRange(0, _MAX_PORT),
        multiple=True,
        help="A port for the browser to come back to, 0 for any; may be repeated "
        f"({', '.join(map(str, DEFAULT_REDIRECT_PORTS))}).",
    ),
    click.option("--proxy", metavar="URL", callback=_proxy, help="The proxy on the way to the provider."),
    click.option(
        "--authorize",
        metavar="NAME=VALUE",
        multiple=True,
        callback=_pairs,
        help="A parameter more for the login page, such as prompt=login; may be repeated.",
    ),
    click.option("--grant", type=click.Choice(tuple(GRANT_TYPES)), help="Who logs in: a person, or the client itself."),
    click.option(
        "--token-endpoint-auth-method",
        type=click.Choice(TOKEN_ENDPOINT_AUTH_METHODS),
        help="How the client says who it is (as the provider's metadata has it).",
    ),
    click.option(
        "--management-account",
        metavar="ACCOUNT",
        help="The account whose tokens are for the provider's Management API, where they aren't this one's own.",
    ),
    click.option("--management-audience", metavar="URL", help="That API's audience, where a custom domain hides it."),
    click.option(
        "--default/--no-default", default=None, help="Whether it is meant where no account is named; one can be."
    ),
)
_NAMES: Final = (
    *("issuer", "client_id", "audience", "scope", "redirect_ports", "proxy", "authorize", "grant"),
    *("token_endpoint_auth_method", "management_account", "management_audience", "default"),
)


def account_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Give a command those options; it gets what was given as `keys`, by the configuration's names.

    A text that is empty takes its key out, which is None then.
    """

    @wraps(command)
    def gather(**given: object) -> object:
        told = {name: given.pop(name) for name in _NAMES}
        keys = {name: value or None for name, value in told.items() if value is not None and value not in ((), {})}
        if told["default"] is False:
            keys["default"] = False
        return command(keys=keys, **given)

    for option in reversed(_OPTIONS):
        gather = option(gather)
    return gather


def write(config: Config, name: str, keys: Mapping[str, object]) -> Written:
    """Write those keys of an account into the configuration, and say so.

    Raises:
        UsageError: a new account lacks what it needs.
        ConfigError: they are wrong, or the file can't be written; it is as it was.

    """
    missing = [f"--{key.replace('_', '-')}" for key in IDENTITY if not keys.get(key)]
    if name not in config.accounts and missing:
        raise click.UsageError(f"There is no account {printable(name)} yet; a new one needs {' and '.join(missing)}.")
    written = put_account(config.path, name, keys)
    where = shown_path(config.path)
    if written.added:
        say(f"Added the account {name} to {where}")
    elif written.changed:
        say(f"Changed {', '.join(written.keys)} of {name} in {where}")
    return written


def unknown(config: Config, name: str) -> click.ClickException:
    """The error for an account that the configuration doesn't have."""
    near = difflib.get_close_matches(name, config.accounts, n=1)
    where = f"there is no account {printable(name)} in {shown_path(config.path)}"
    return Trouble(f"{where}; did you mean {near[0]}?") if near else Trouble(where, remedies.begin())
