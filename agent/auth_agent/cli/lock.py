"""`auth-agent lock` and `unlock`: the agent serves nobody in between; and the passphrase of its store."""

import time
from collections.abc import Callable, Iterable
from typing import Final, TypeVar

import click

from auth_agent import remedies
from auth_agent.cli.command_error import CommandError
from auth_agent.cli.screen import print_message
from auth_agent.cli.secret_input import can_ask, prompt, read_descriptor
from auth_agent.cli.terminal import duration
from auth_agent.printable import printable
from auth_agent_client import Agent, Denied, Lock, Unlock

_Result = TypeVar("_Result")

# As sudo and others have it.
_ATTEMPTS: Final = 3
# Characters; NIST SP 800-63B asks for 8 at least.
_SHORT: Final = 8
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
        if before.store.takes_passphrase and (asks or descriptor is not None):
            print_message("The store's own passphrase unlocks the agent; it needs no other.")
        elif descriptor is not None:
            passphrase = read_passphrase(descriptor)
        elif asks and before.locked:  # before somebody types it twice
            raise CommandError("the agent is locked", remedies.unlock())
        elif asks:
            passphrase = prompt("Passphrase", BY_DESCRIPTOR, twice=True)
        result = agent.lock(passphrase, keep_alive=keep_alive)
    if before.lock is None:
        print_message("Locked.")
    elif before.lock.keep_alive and not keep_alive:
        print_message("Locked already, and its secrets are kept in memory. To let them go, unlock it first.", "warning")
    else:
        print_message("Locked already.")
    _print_consequences(result, keep_alive=keep_alive if before.lock is None else before.lock.keep_alive)


def _print_consequences(result: Lock, *, keep_alive: bool) -> None:
    for end in result.ends:
        if end.at is not None:
            left = end.at - time.time()
            when = f"ends in {duration(left)}" if left > 0 else "has ended"
            print_message(f"{printable(end.account)}: the session {when}, locked or not.", "warning")
    if result.pending:
        print_message(f"Still in memory, until the store has it: {names_of(result.pending)}", "warning")
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
        if not status.locked and status.store.state != "locked":
            print_message("The agent is not locked.")
            return
        if descriptor is not None:
            result = agent.unlock(read_passphrase(descriptor))
        elif status.store.new:
            result = agent.unlock(choose_passphrase())
        elif status.lock is not None and not status.lock.takes_passphrase:
            result = agent.unlock()
        else:
            result = ask_for_passphrase(agent.unlock)
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


def names_of(accounts: Iterable[str]) -> str:
    """Return the accounts' names in one line."""
    return printable(", ".join(accounts), _MAX_NAMES)


def read_passphrase(descriptor: int) -> str:
    """Return the passphrase in a descriptor."""
    # A file or a pipe usually ends with a newline, which is not part of the passphrase.
    return read_descriptor(descriptor, "passphrase").removesuffix("\n").removesuffix("\r")


def choose_passphrase() -> str:
    """Let a person choose the passphrase of a new sealed file."""
    if can_ask():
        print_message("There is no sealed file yet. Choose its passphrase: nobody can open the file without it.")
    passphrase = prompt("Passphrase", BY_DESCRIPTOR, twice=True)
    warn_of_short(passphrase)
    return passphrase


def warn_of_short(passphrase: str) -> None:
    """Say so if a passphrase is soon guessed."""
    if len(passphrase) < _SHORT:
        print_message("That is short: whoever gets a copy of the file may soon guess it.", "warning")


def ask_for_passphrase(use: Callable[[str], _Result]) -> _Result:
    """Ask a person for the passphrase until it is right; return the result of `use`."""
    for _ in range(_ATTEMPTS - 1):
        try:
            return use(prompt("Passphrase", BY_DESCRIPTOR))
        except Denied as error:
            print_message(f"{error.message[:1].upper()}{error.message[1:]}. Try again.", "warning")
    return use(prompt("Passphrase", BY_DESCRIPTOR))
