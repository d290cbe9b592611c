"""Who is logged in, as the provider tells it: `auth-agent profile`, `auth-agent user` and `auth-agent id-token`."""

import sys
import time

import click

from auth_agent.cli.claims import profile_lines, user_lines
from auth_agent.cli.json_text import json_text
from auth_agent.cli.screen import say, show
from auth_agent.cli.terminal import duration, terminal
from auth_agent_client import Agent


@click.command()
@click.argument("account", required=False)
@click.option(
    "--max-age",
    type=click.FloatRange(min=0),
    metavar="SECONDS",
    help="How long ago the provider may have been asked (300); less than 60 is 60.",
)
@click.option("--json", "as_json", is_flag=True, help="Print the claims as they are, and nothing else.")
def profile(account: str | None, *, max_age: float | None, as_json: bool) -> None:
    """Show who is logged in, as the provider tells it.

    The agent keeps it for a while. Where the provider can't be reached, it is shown as it was known last.

    Example: auth-agent profile work

    Example: auth-agent profile work --json | jq -r .email
    """
    with Agent() as agent:
        found = agent.profile(account, max_age=max_age)
    look, now = terminal(sys.stdout), time.time()
    if as_json:
        click.echo(json_text(found.claims, look))
        if found.stale:
            ago = duration(now - found.fetched_at)
            say(f"auth-agent: the provider could not be asked again; this is from {ago} ago", "warning")
    else:
        show(profile_lines(found, now, look), look)


@click.command()
@click.argument("account", required=False)
@click.option("--field", "fields", metavar="NAME", multiple=True, help="A field that is wanted; may be repeated (all).")
@click.option("--json", "as_json", is_flag=True, help="Print it as it is.")
def user(account: str | None, *, fields: tuple[str, ...], as_json: bool) -> None:
    """Show the user as the provider's Management API has it.

    That is Auth0's. It needs an access token for that API; where there is none, the error says how to get one.

    Example: auth-agent user work --field email --field last_login
    """
    with Agent() as agent:
        found = agent.user(account, fields=fields)
    look = terminal(sys.stdout)
    if as_json:
        click.echo(json_text(found, look))
    elif found:
        show(user_lines(found, look), look)
    else:
        say("The provider has none of these fields." if fields else "The provider tells nothing of this user.")


@click.command(name="id-token")
@click.argument("account", required=False)
@click.option("--min-ttl", type=click.FloatRange(min=0), metavar="SECONDS", help="For how long it must be valid still.")
@click.option("--json", "as_json", is_flag=True, help="Print all that is known of the token.")
def id_token(account: str | None, *, min_ttl: float | None, as_json: bool) -> None:
    """Print the ID token: who logged in, signed by the provider.

    It is no access token: an API wants the one of `auth-agent token`.

    Example: auth-agent id-token work --min-ttl 60
    """
    with Agent() as agent:
        token = agent.id_token(account, min_ttl=min_ttl)
    if as_json:
        told = {"account": token.account, "id_token": token.id_token, "expires_at": token.expires_at}
        click.echo(json_text(told, terminal(sys.stdout)))
    else:
        click.echo(token.id_token)
