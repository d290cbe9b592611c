"""`auth-agent unlock`: give the agent the passphrase of its store."""

from typing import Final

import click

from auth_agent import remedies
from auth_agent.cli.command_error import CommandError
from auth_agent.cli.screen import print_message
from auth_agent.cli.secret_input import can_ask, prompt, read_descriptor
from auth_agent_client import Agent, Denied, Unlock

# As sudo and others have it.
_ATTEMPTS: Final = 3
_OPTION: Final = "--passphrase-fd"


@click.command()
@click.option(
    _OPTION,
    "descriptor",
    type=click.IntRange(min=0),
    metavar="FD",
    help="Read the passphrase from this file descriptor until its end.",
)
def unlock(descriptor: int | None) -> None:
    """Unlock the sealed file by its passphrase.

    The first time, this makes the file: choose a passphrase then. Nobody can open the file without it.

    Example: auth-agent unlock

    Example: auth-agent unlock --passphrase-fd 3 3< passphrase
    """
    with Agent() as agent:
        store = agent.status().agent.store
        if not store.takes_passphrase:
            raise CommandError("the store has no passphrase of auth-agent's", remedies.see_status())
        if descriptor is not None:
            # A file or a pipe usually ends with a newline, which is not part of the passphrase.
            passphrase = read_descriptor(descriptor, "passphrase").removesuffix("\n").removesuffix("\r")
            result = agent.unlock(passphrase)
        elif store.new:
            result = _create(agent)
        else:
            result = _ask(agent)
    print_message("Sealed with this passphrase from now on." if result.created else "Unlocked.")
    if result.weak:
        print_message(
            f"There was too little memory: each guess of the passphrase takes {result.memory} MiB instead of 128. "
            "Choose a longer passphrase.",
            "warning",
        )


def _create(agent: Agent) -> Unlock:
    if can_ask():
        print_message("There is no sealed file yet. Choose its passphrase: nobody can open the file without it.")
    return agent.unlock(prompt("Passphrase", _OPTION, twice=True))


def _ask(agent: Agent) -> Unlock:
    for _ in range(_ATTEMPTS - 1):
        try:
            return agent.unlock(prompt("Passphrase", _OPTION))
        except Denied as error:
            print_message(f"{error.message[:1].upper()}{error.message[1:]}. Try again.", "warning")
    return agent.unlock(prompt("Passphrase", _OPTION))
