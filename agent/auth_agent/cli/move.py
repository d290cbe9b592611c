"""Let the next agent move a session to its account's new name, if none runs that could do it now."""

import secrets
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

import anyio

from auth_agent import remedies
from auth_agent.cli.command_error import CommandError
from auth_agent.storage.state_directory import state_path
from auth_agent.storage.stores import open_store, store_in_use
from auth_agent_client.paths import socket_path


@contextmanager
def announced_move(old: str, new: str) -> Generator[None, None, None]:
    """Note the move, and let no agent start until the block, which changes the configuration, is over.

    Raises:
        CommandError: it can't be noted, or an earlier move of that session isn't over.
        StartupError: an agent that listens elsewhere uses the store, or it is not known which store is in use.

    """
    state_directory = state_path()
    opened = open_store(store_in_use(state_directory), state_directory, Path(socket_path()))
    try:
        if opened.journal.note(old).moved_from is not None:
            raise CommandError(f"{old} was renamed before, and no agent has run since", remedies.start_agent())
        if not anyio.run(opened.journal.announce_move, new, old, secrets.token_hex(8)):
            raise CommandError(f"the note of its new name can't be written in {state_path()}")
        yield
    finally:
        for lock in opened.locks:
            lock.close()
