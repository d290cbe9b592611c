"""The options of `auth-agent login` that hold for one login, and are written nowhere."""

import sys
from collections.abc import Callable, Mapping
from functools import wraps
from typing import Any, Final
from urllib.parse import parse_qs, urlsplit

import click

from auth_agent.added_parameters import problem_of_login
from auth_agent.cli.account_options import pairs

ORGANIZATION: Final = "organization"
INVITATION: Final = "invitation"


def _once(context: click.Context, parameter: click.Parameter, arguments: tuple[str, ...]) -> dict[str, str]:
    parameters = pairs(context, parameter, arguments)
    problem = problem_of_login(parameters)
    if problem is not None:
        raise click.BadParameter(problem)
    return parameters


def _invitation(_: click.Context, __: click.Parameter, url: str | None) -> dict[str, str]:
    """Return the parameters of an invitation link (Auth0, "Invite Organization Members")."""
    if url is None:
        return {}
    link = sys.stdin.readline() if url == "-" else url
    try:
        fields = parse_qs(urlsplit(link.strip()).query)
    except ValueError:
        fields = {}
    found = {name: fields[name][0] for name in (INVITATION, ORGANIZATION) if len(fields.get(name, ())) == 1}
    if len(found) < len((INVITATION, ORGANIZATION)):
        raise click.BadParameter(f"must be an invitation's link, with {INVITATION} and {ORGANIZATION} in its query")
    return found


_OPTIONS: Final = (
    click.option(
        "--once",
        metavar="NAME=VALUE",
        multiple=True,
        callback=_once,
        help="A parameter of this login alone, such as acr_values=urn:mfa, or scope; may be repeated.",
    ),
    click.option("--organization", metavar="TEXT", help="The organization of this login, by its id or name (Auth0)."),
    click.option(
        "--invitation",
        metavar="URL",
        callback=_invitation,
        help="The link of an invitation to an organization, for this login (Auth0); - reads it from standard input.",
    ),
)


def once_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add the options to a command, which receives the parameters of this login as `once`."""

    @wraps(command)
    def gather(*, once: dict[str, str], organization: str | None, invitation: dict[str, str], **more: object) -> object:
        named = {} if organization is None else {ORGANIZATION: organization}
        if invitation and organization not in (None, invitation[ORGANIZATION]):
            raise click.UsageError("The invitation is to another organization than --organization.")
        return command(once={**once, **invitation, **named}, **more)

    for option in reversed(_OPTIONS):
        gather = option(gather)
    return gather


def options_of_once(once: Mapping[str, str]) -> tuple[str, ...]:
    """Return the options that give these parameters again; without an invitation, a secret that may be spent."""
    return tuple(word for name, value in once.items() if name != INVITATION for word in ("--once", f"{name}={value}"))
