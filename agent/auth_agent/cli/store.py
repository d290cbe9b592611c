"""`auth-agent store`: where sessions are kept."""

from typing import Final

import click

from auth_agent import remedies
from auth_agent.cli.command_error import CommandError
from auth_agent.cli.command_group import CommandGroup
from auth_agent.cli.lock import (
    BY_DESCRIPTOR,
    ask_for_passphrase,
    choose_passphrase,
    names_of,
    passphrase_descriptor,
    print_weakness,
    read_passphrase,
    warn_of_short,
)
from auth_agent.cli.screen import print_message
from auth_agent.cli.secret_input import prompt
from auth_agent.cli.status import store_name
from auth_agent.storage.stores import NAMES, is_persistent
from auth_agent_client import Agent, InvalidRequest, StoreMove

PERSISTENT: Final = tuple(filter(is_persistent, NAMES))
_BY_NEW_DESCRIPTOR: Final = "--new-passphrase-fd"


@click.group(cls=CommandGroup)
def store() -> None:
    """Decide where sessions are stored, and which are used."""


@store.command()
@click.argument("target", metavar="STORE", type=click.Choice(PERSISTENT))
@passphrase_descriptor
def move(target: str, descriptor: int | None) -> None:
    """Move all sessions to another store, without a login.

    STORE is `keyring`, the system keyring, or `file`, a file sealed by a passphrase. The agent serves meanwhile, and
    the next agent uses that store, too. A crash at any moment loses nothing.

    Example: auth-agent store move file

    Example: auth-agent store move keyring
    """
    with Agent() as agent:
        if agent.status().agent.store.name == target:
            print_message("The sessions are there already.")
            return
        if descriptor is not None:
            moved = agent.move_store(target, read_passphrase(descriptor))
        else:
            moved = _move(agent, target)
        status = agent.status().agent.store
    name = store_name(status)
    print_message(f"Moved to {name}: {names_of(moved.accounts) or 'no session yet'}")
    if status.takes_passphrase:
        print_message("It is locked after each start of the agent: unlock it with auth-agent unlock.")
    if moved.deleted:
        names = names_of(moved.deleted)
        print_message(f"Old sessions there of accounts that are logged out were deleted: {names}", "warning")
    if moved.left:
        print_message(f"Still in the old store, too, which could not be changed: {names_of(moved.left)}", "warning")


def _move(agent: Agent, target: str) -> StoreMove:
    """Move the sessions; ask for a passphrase if the store needs one."""
    try:
        return agent.move_store(target)
    except InvalidRequest as error:
        if error.parameter != "passphrase":
            raise
        is_new = error.details.get("new") is True
    if is_new:
        return agent.move_store(target, choose_passphrase())
    return ask_for_passphrase(lambda passphrase: agent.move_store(target, passphrase))


@store.command()
@passphrase_descriptor
@click.option(
    _BY_NEW_DESCRIPTOR,
    "new_descriptor",
    type=click.IntRange(min=0),
    metavar="FD",
    help="Read the new passphrase likewise.",
)
def passphrase(descriptor: int | None, new_descriptor: int | None) -> None:
    """Change the passphrase of the sealed file. Copies of the file keep the old one.

    Example: auth-agent store passphrase

    Example: auth-agent store passphrase --passphrase-fd 3 --new-passphrase-fd 4 3< old 4< new
    """
    with Agent() as agent:
        status = agent.status().agent
        if not status.store.takes_passphrase:
            raise CommandError("the store has no passphrase of auth-agent's", remedies.see_status())
        if status.locked or status.store.state == "locked":
            raise CommandError("the store is locked", remedies.unlock())
        old = prompt("Passphrase", BY_DESCRIPTOR) if descriptor is None else read_passphrase(descriptor)
        new = (
            prompt("New passphrase", _BY_NEW_DESCRIPTOR, twice=True)
            if new_descriptor is None
            else read_passphrase(new_descriptor)
        )
        print_weakness(agent.change_passphrase(old, new))
        warn_of_short(new)
    print_message("The passphrase is changed.")


@store.command()
def adopt() -> None:
    """Use stored sessions that are old copies, or that another machine stored.

    If the provider has replaced a session's refresh token since the copy was made, using the copy ends that session. Do
    this only if no other machine uses these sessions, and if this copy is the newest one that you have.

    Example: auth-agent store adopt
    """
    with Agent() as agent:
        adopted = agent.adopt()
    print_message(f"Adopted: {names_of(adopted)}" if adopted else "There is no old copy, and none of another machine.")
