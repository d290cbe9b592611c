"""`auth-agent lock` and `unlock`: the agent serves nobody in between; and the passphrase of its store."""

import time
from typing import Final

import click

from auth_agent import remedies
from auth_agent.cli.command_error import CommandError
from auth_agent.cli.screen import print_message
from auth_agent.cli.secret_input import can_ask, prompt, read_descriptor
from auth_agent.cli.terminal import duration
from auth_agent.printable import printable
from auth_agent_client import Agent, AgentStatus, Denied, Lock, Unlock

# As sudo and others have it.
_ATTEMPTS: Final = 3
BY_DESCRIPTOR: Final = "--passphrase-fd"
_MAX_NAMES: Final = 1000  # characters of a list of accounts

passphrase_descriptor = click.option(
    BY_DESCRIPTOR,
    "descriptor",
    type=click.IntRange(min=0),
    metavar="FD",
    help="Read the passphrase from this file descriptor until its end.",
)


@click.command()
@click.option("--passphrase", "asks", is_flag=True, help="Ask for a passphrase that unlocks the agent.")
@passphrase_descriptor
@click.option("--keep-alive", is_flag=True, help="Keep the secrets in memory, and go on refreshing sessions.")
def lock(asks: bool, descriptor: int | None, keep_alive: bool) -> None:
    """Lock the agent: no program gets anything until it is unlocked.

    The secrets leave the agent's memory once the store has everything; unlocked, the agent reads the store again.
    Without a passphrase, any program of yours can unlock the agent, unless the store is a sealed file, which has its
    own. Sessions that are only in memory are sealed there by the passphrase.

    A locked agent refreshes nothing, and a provider may end a session that it does not see for long. With --keep-alive,
    the agent goes on refreshing, and serves nobody.

    Example: auth-agent lock

    Example: auth-agent lock --passphrase --keep-alive
    """
    if asks and descriptor is not None:
        raise click.UsageError(f"Use either --passphrase or {BY_DESCRIPTOR}, not both.")
    with Agent() as agent:
        before = agent.status().agent
        passphrase = None
        if descriptor is not None:
            passphrase = read_passphrase(descriptor)
        elif asks:
            _check_before_asking(before)
            passphrase = prompt("Passphrase", BY_DESCRIPTOR, twice=True)
        result = agent.lock(passphrase, keep_alive=keep_alive)
    if before.lock is not None:
        print_message("Locked already; nothing has changed.")
        keep_alive = before.lock.keep_alive
    else:
        print_message("Locked.")
    _print_consequences(result, keep_alive=keep_alive)


def _check_before_asking(agent: AgentStatus) -> None:
    """Refuse what the agent would refuse, before somebody types a passphrase twice."""
    if agent.store.takes_passphrase:
        raise CommandError("the store has a passphrase of its own, which unlocks the agent, too", remedies.lock())
    if agent.locked:
        raise CommandError("the agent is locked", remedies.unlock())


def _print_consequences(result: Lock, *, keep_alive: bool) -> None:
    for end in result.ends:
        if end.at is not None:
            left = end.at - time.time()
            when = f"ends in {duration(left)}" if left > 0 else "has ended"
            print_message(f"{printable(end.account)}: the session {when}, locked or not.", "warning")
    if result.pending:
        names = printable(", ".join(result.pending), _MAX_NAMES)
        print_message(f"Still in memory, until the store has it: {names}", "warning")
    if not keep_alive:
        print_message("Nothing is refreshed meanwhile; a provider may end a session that it does not see for long.")


@click.command()
@passphrase_descriptor
def unlock(descriptor: int | None) -> None:
    """Unlock the agent after `lock`, or the sealed file by its passphrase.

    The first time, this makes the sealed file: choose a passphrase then. Nobody can open the file without it.

    Example: auth-agent unlock

    Example: auth-agent unlock --passphrase-fd 3 3< passphrase
    """
    with Agent() as agent:
        status = agent.status().agent
        if not status.locked and not status.store.takes_passphrase:
            print_message("The agent is not locked.")
            return
        if descriptor is not None:
            result = agent.unlock(read_passphrase(descriptor))
        elif status.store.new:
            result = _create(agent)
        elif status.lock is not None and not status.lock.takes_passphrase:
            result = agent.unlock()
        else:
            result = _ask(agent)
    print_message("Sealed with this passphrase from now on." if result.created else "Unlocked.")
    print_weakness(result)


def print_weakness(result: Unlock) -> None:
    """Say so if a passphrase is easier to guess than it should be."""
    if result.weak:
        print_message(
            f"There was too little memory: each guess of the passphrase takes {result.memory} MiB instead of 128. "
            "Choose a longer passphrase.",
            "warning",
        )


def read_passphrase(descriptor: int) -> str:
    """Return the passphrase in a descriptor."""
    # A file or a pipe usually ends with a newline, which is not part of the passphrase.
    return read_descriptor(descriptor, "passphrase").removesuffix("\n").removesuffix("\r")


def _create(agent: Agent) -> Unlock:
    if can_ask():
        print_message("There is no sealed file yet. Choose its passphrase: nobody can open the file without it.")
    return agent.unlock(prompt("Passphrase", BY_DESCRIPTOR, twice=True))


def _ask(agent: Agent) -> Unlock:
    for _ in range(_ATTEMPTS - 1):
        try:
            return agent.unlock(prompt("Passphrase", BY_DESCRIPTOR))
        except Denied as error:
            print_message(f"{error.message[:1].upper()}{error.message[1:]}. Try again.", "warning")
    return agent.unlock(prompt("Passphrase", BY_DESCRIPTOR))
