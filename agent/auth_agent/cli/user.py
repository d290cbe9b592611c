"""What the provider says of the user: `auth-agent profile`, `auth-agent user` and `auth-agent id-token`."""

import sys
import time

import click

from auth_agent.cli.claims import profile_lines, user_lines
from auth_agent.cli.json_text import json_text
from auth_agent.cli.patient_agent import PatientAgent
from auth_agent.cli.screen import print_lines, print_message
from auth_agent.cli.terminal import duration, terminal_of
from auth_agent.printable import printable


@click.command()
@click.argument("account", required=False)
@click.option(
    "--max-age",
    type=click.FloatRange(min=0),
    metavar="SECONDS",
    help="The maximum age of the profile (300); at least 60.",
)
@click.option("--json", "as_json", is_flag=True, help="Print the claims as JSON.")
def profile(account: str | None, *, max_age: float | None, as_json: bool) -> None:
    """Show who is logged in: the claims of the user from the provider.

    The agent caches the profile. If the provider can't be reached, the last known profile is shown.

    Example: auth-agent profile work

    Example: auth-agent profile work --json | jq -r .email
    """
    with PatientAgent() as agent:
        result = agent.profile(account, max_age=max_age)
    terminal, now = terminal_of(sys.stdout), time.time()
    if as_json:
        click.echo(json_text(result.claims, terminal))
        if result.stale:
            ago = duration(now - result.fetched_at)
            print_message(f"auth-agent: the provider gave no newer profile; this one is from {ago} ago", "warning")
    else:
        print_lines(profile_lines(result, now, terminal), terminal)


@click.command()
@click.argument("account", required=False)
@click.option("--field", "fields", metavar="NAME", multiple=True, help="Show only this field; may be repeated.")
@click.option("--json", "as_json", is_flag=True, help="Print the user as JSON.")
def user(account: str | None, *, fields: tuple[str, ...], as_json: bool) -> None:
    """Show the user from the provider's Management API, which Auth0 has.

    It needs an access token for that API; if there is none, the error says how to get one.

    Example: auth-agent user work --field email --field last_login
    """
    with PatientAgent() as agent:
        result = agent.user(account, fields=fields)
    terminal = terminal_of(sys.stdout)
    if as_json:
        click.echo(json_text(result, terminal))
    elif result:
        print_lines(user_lines(result, terminal), terminal)
    elif fields:
        raise click.ClickException(f"the provider has none of these fields of the user: {printable(', '.join(fields))}")
    else:
        print_message("The provider has no data of this user.")


@click.command(name="id-token")
@click.argument("account", required=False)
@click.option(
    "--min-ttl", type=click.FloatRange(min=0), metavar="SECONDS", help="How long the token must remain valid."
)
@click.option("--json", "as_json", is_flag=True, help="Print the token and its properties as JSON.")
def id_token(account: str | None, *, min_ttl: float | None, as_json: bool) -> None:
    """Print the ID token: who logged in, signed by the provider.

    It is not an access token: for an API, use `auth-agent token`.

    Example: auth-agent id-token work --min-ttl 60
    """
    with PatientAgent() as agent:
        token = agent.id_token(account, min_ttl=min_ttl)
    if as_json:
        result = {"account": token.account, "id_token": token.id_token, "expires_at": token.expires_at}
        click.echo(json_text(result, terminal_of(sys.stdout)))
    else:
        click.echo(token.id_token)
