"""The options that define an account, for the commands that write one to the configuration."""

import difflib
from collections.abc import Callable, Mapping
from functools import wraps
from pathlib import Path
from typing import Any, Final

import click

from auth_agent import remedies
from auth_agent.cli.command_error import CommandError
from auth_agent.cli.screen import print_message, shown_path
from auth_agent.config import (
    ACCOUNT_KEYS,
    DEFAULT_REDIRECT_HOST,
    DEFAULT_REDIRECT_PATH,
    DEFAULT_REDIRECT_PORTS,
    REDIRECT_HOSTS,
    SIDE_REQUESTS,
    TOKEN_ENDPOINT_AUTH_METHODS,
    Config,
)
from auth_agent.config_file import Written, put_accounts
from auth_agent.grant_type import AUTHORIZATION_CODE, GRANT_TYPES
from auth_agent.printable import printable
from auth_agent.signing_algorithms import SIGNING_ALGORITHMS
from auth_agent.urls import InvalidURLError, check_issuer

_MAX_PORT: Final = 65_535
# Those that are not named as their key: they may be repeated.
_OPTION_OF: Final = {
    "redirect_ports": "--redirect-port",
    "token_parameters": "--token-parameter",
    "token_headers": "--token-header",
    "require_claims": "--require-claim",
}
# These identify an account: a session belongs to one issuer and one client.
IDENTITY: Final = ("issuer", "client_id")
_MAY_BE_EMPTY: Final = ("redirect_path",)


def _file(_: click.Context, __: click.Parameter, argument: str | None) -> str | None:
    """Return an absolute path: in the file, a relative one would be beside the file."""
    return str(Path(argument).expanduser().absolute()) if argument else argument


def pairs(_: click.Context, __: click.Parameter, arguments: tuple[str, ...]) -> dict[str, str]:
    pairs: dict[str, str] = {}
    for argument in arguments:
        name, equals, value = argument.partition("=")
        if not name or not equals:
            raise click.BadParameter("must be NAME=VALUE")
        pairs[name] = value
    return pairs


def _issuer(_: click.Context, __: click.Parameter, url: str | None) -> str | None:
    try:
        check_issuer(url or "https://id.example")
    except InvalidURLError as error:
        raise click.BadParameter(str(error)) from error
    return url


def _proxy(_: click.Context, __: click.Parameter, url: str | None) -> str | None:
    if url and "@" in url:
        raise click.BadParameter(
            "other users can read a password on a command line; write this proxy to the file in an editor"
        )
    return url


_OPTIONS: Final = (
    click.option(
        "--issuer",
        metavar="URL",
        callback=_issuer,
        help="The provider's issuer URL, such as https://acme.eu.auth0.com/.",
    ),
    click.option("--client-id", metavar="ID", help="The client ID that the provider issued."),
    click.option(
        "--audience", metavar="TEXT", help="The API that access tokens are for, if the provider needs to know."
    ),
    click.option(
        "--scope",
        metavar="TEXT",
        help=f"The scopes to request, separated by spaces ({AUTHORIZATION_CODE.default_scope}).",
    ),
    click.option(
        "--redirect-port",
        "redirect_ports",
        metavar="PORT",
        type=click.IntRange(0, _MAX_PORT),
        multiple=True,
        help="A port of the redirect URL on this machine, 0 for any; may be repeated "
        f"({', '.join(map(str, DEFAULT_REDIRECT_PORTS))}).",
    ),
    click.option(
        "--redirect-host",
        type=click.Choice(REDIRECT_HOSTS),
        help=f"The host of the redirect URL, as the provider has it registered ({DEFAULT_REDIRECT_HOST}).",
    ),
    click.option(
        "--redirect-path",
        metavar="PATH",
        help=f'The path of the redirect URL, "" if it has none ({DEFAULT_REDIRECT_PATH}).',
    ),
    click.option(
        "--ca-file", metavar="FILE", callback=_file, help="More certificates to trust for this provider, in PEM."
    ),
    click.option("--client-certificate", metavar="FILE", callback=_file, help="The client's certificate, in PEM."),
    click.option("--client-key", metavar="FILE", callback=_file, help="The key of the client's certificate, in PEM."),
    click.option("--proxy", metavar="URL", callback=_proxy, help="The proxy for requests to the provider."),
    click.option(
        "--authorize",
        metavar="NAME=VALUE",
        multiple=True,
        callback=pairs,
        help="An extra authorization parameter, beside those of the account; NAME= leaves it out; may be repeated.",
    ),
    click.option(
        "--token-parameter",
        "token_parameters",
        metavar="NAME=VALUE",
        multiple=True,
        callback=pairs,
        help="An extra parameter of token requests, beside those of the account; may be repeated.",
    ),
    click.option(
        "--token-header",
        "token_headers",
        metavar="NAME=VALUE",
        multiple=True,
        callback=pairs,
        help="An extra header of token requests, beside those of the account; may be repeated.",
    ),
    click.option(
        "--grant", type=click.Choice(tuple(GRANT_TYPES)), help="The grant type: a person logs in, or the client itself."
    ),
    click.option(
        "--token-endpoint-auth-method",
        type=click.Choice(TOKEN_ENDPOINT_AUTH_METHODS),
        help="How the client authenticates (chosen from the provider's metadata).",
    ),
    click.option(
        "--management-account",
        metavar="ACCOUNT",
        help="The account whose tokens are for the provider's Management API, if this account's are not.",
    ),
    click.option(
        "--management-audience", metavar="URL", help="The Management API's audience, if the issuer is a custom domain."
    ),
    *(
        click.option(f"--{option}", metavar="URL", help=f"{text}, if the provider's metadata does not name it.")
        for option, text in (
            ("authorization-endpoint", "Where a person logs in"),
            ("token-endpoint", "Where tokens come from"),
            ("device-authorization-endpoint", "Where a login on another device begins"),
            ("revocation-endpoint", "Where tokens are revoked"),
            ("userinfo-endpoint", "Where a token is exchanged for claims about its user"),
            ("jwks-uri", "The keys that sign ID tokens"),
        )
    ),
    click.option(
        "--id-token-signed-response-alg",
        type=click.Choice(SIGNING_ALGORITHMS),
        help="The algorithm that signs ID tokens, as registered for the client (one of the provider's keys).",
    ),
    click.option(
        "--require-claim",
        "require_claims",
        metavar="NAME=VALUE",
        multiple=True,
        callback=pairs,
        help="A claim that each ID token must have, beside those of the account; may be repeated.",
    ),
    click.option(
        "--token-type",
        metavar="WORD",
        help="The provider's own word for its access tokens, if APIs take them by that instead of Bearer.",
    ),
    click.option(
        "--side-requests",
        type=click.Choice(SIDE_REQUESTS),
        help="Whether the refresh token may get tokens for other scopes or APIs (where it costs nothing).",
    ),
    click.option(
        "--refresh-ends-access-token/--no-refresh-ends-access-token",
        default=None,
        help="Whether a refresh ends the access token from before (where that is known or proven).",
    ),
    click.option(
        "--default/--no-default",
        default=None,
        help="Use this account when a command names none; one account can be the default.",
    ),
)


def account_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add the options to a command, which receives their values as `keys`, by the configuration's names.

    An empty string removes the key: its value is then None. Only a path may be empty.
    """

    @wraps(command)
    def gather(**arguments: object) -> object:
        values = {name: arguments.pop(name) for name in ACCOUNT_KEYS}
        keys = {
            name: value if name in _MAY_BE_EMPTY else value or None
            for name, value in values.items()
            if value is not None and value not in ((), {})
        }
        keys |= {name: value for name, value in values.items() if value is False}
        return command(keys=keys, **arguments)

    for option in reversed(_OPTIONS):
        gather = option(gather)
    return gather


def write_accounts(config: Config, changes: Mapping[str, Mapping[str, object]]) -> Written:
    """Write keys of accounts to the configuration, and print what changed.

    Raises:
        UsageError: a new account lacks its issuer or client_id.
        ConfigError: a value is not valid, or the file can't be written; the file is unchanged.

    """
    for name, keys in changes.items():
        missing = [f"--{key.replace('_', '-')}" for key in IDENTITY if not keys.get(key)]
        if name not in config.accounts and missing:
            raise click.UsageError(
                f"There is no account {printable(name)} yet. A new account needs {' and '.join(missing)}."
            )
    written = put_accounts(config.path, changes)
    where = shown_path(config.path)
    for name in changes:
        if name in written.added:
            print_message(f"Added the account {name} to {where}")
        elif written.keys[name]:
            print_message(f"Changed {', '.join(written.keys[name])} of {name} in {where}")
    if written.default is not None:
        print_message(f"{written.default} stays the default account: it has default = true now")
    return written


def options_of(keys: Mapping[str, object]) -> tuple[str, ...]:
    """Return the options that gave those keys of an account."""
    options: list[str] = []
    for key, value in keys.items():
        name = _OPTION_OF.get(key, f"--{key.replace('_', '-')}")
        if isinstance(value, bool):
            options.append(name if value else f"--no-{name.removeprefix('--')}")
        elif isinstance(value, Mapping):
            options.extend(word for item in value.items() for word in (name, "=".join(map(str, item))))  # pyright: ignore[reportUnknownVariableType, reportUnknownArgumentType] -- the parameters for `authorize`
        elif isinstance(value, tuple):
            options.extend(word for port in value for word in (name, str(port)))  # pyright: ignore[reportUnknownVariableType, reportUnknownArgumentType] -- `redirect_ports`
        else:
            options.extend((name, "" if value is None else str(value)))
    return tuple(options)


def unknown_account(config: Config, name: str) -> click.ClickException:
    """Return the error for an account that is not in the configuration."""
    near = difflib.get_close_matches(name, config.accounts, n=1)
    where = f"there is no account {printable(name)} in {shown_path(config.path)}"
    return CommandError(f"{where}; did you mean {near[0]}?") if near else CommandError(where, remedies.begin())
