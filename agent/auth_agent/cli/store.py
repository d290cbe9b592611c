"""`auth-agent store`: where sessions are kept."""

import click

from auth_agent.cli.command_group import CommandGroup
from auth_agent.cli.screen import print_message
from auth_agent.printable import printable
from auth_agent_client import Agent


@click.group(cls=CommandGroup)
def store() -> None:
    """Decide about the sessions that are stored."""


@store.command()
def adopt() -> None:
    """Use stored sessions that are old copies, or that another machine stored.

    If the provider has replaced a session's refresh token since the copy was made, using the copy ends that session. Do
    this only if no other machine uses these sessions, and if this copy is the newest one that you have.

    Example: auth-agent store adopt
    """
    with Agent() as agent:
        adopted = agent.adopt()
    names = printable(", ".join(adopted), 1000)
    print_message(f"Adopted: {names}" if adopted else "There is no old copy, and none of another machine.")
