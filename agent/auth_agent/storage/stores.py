"""All stores by name, how to open each, and which one is in use."""

import logging
from collections.abc import Callable, Mapping
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Final, NamedTuple

from auth_agent import remedies
from auth_agent.errors import StartupError
from auth_agent.host.machine import machine_digest
from auth_agent.printable import printable
from auth_agent.storage.journal import Journal
from auth_agent.storage.keyring import KeyringStore
from auth_agent.storage.lock import StoreLock, keyring_locks, sealed_file_locks
from auth_agent.storage.memory import MemoryStore
from auth_agent.storage.sealed_file import SealedFileStore
from auth_agent.storage.state_directory import prepare
from auth_agent.storage.store import Store
from auth_agent.storage.store_note import StoreNote

_log = logging.getLogger(__name__)


class OpenStore(NamedTuple):
    """An open store, its journal, and the locks that exclude other agents.

    `machine`: the digest by which entries of other machines are told apart; "" if none can be there, or it is unknown.
    """

    store: Store
    journal: Journal
    locks: tuple[StoreLock, ...]
    machine: str = ""

    def close(self) -> None:
        """Release the locks while this process goes on: the store is not used any more."""
        for lock in self.locks:
            lock.close()


class _Kind(NamedTuple):
    """How to open a kind of store."""

    open: Callable[[Path], Store]  # takes the state directory
    persistent: bool
    locks: Callable[[Path], list[Path]]  # of a persistent store; takes the state directory


def _keyring(state_path: Path) -> Store:
    try:
        return KeyringStore(state_path)
    except OSError as error:
        raise StartupError(f"the note of the keyring in {state_path} can't be read: {error.strerror}") from error


def _memory(_: Path) -> Store:
    return MemoryStore()


def _sealed_file(state_path: Path) -> Store:
    return SealedFileStore(state_path)


def _no_locks(_: Path) -> list[Path]:
    return []


_KINDS: Final[Mapping[str, _Kind]] = {
    KeyringStore.name: _Kind(_keyring, KeyringStore.persistent, keyring_locks),
    SealedFileStore.name: _Kind(_sealed_file, SealedFileStore.persistent, sealed_file_locks),
    MemoryStore.name: _Kind(_memory, MemoryStore.persistent, _no_locks),
}
NAMES: Final = tuple(_KINDS)
# The store of an agent that is not told which one, while no store is remembered.
DEFAULT: Final = KeyringStore.name


def open_store(name: str, state_path: Path, socket_path: Path) -> OpenStore:
    """Open the store of that name.

    A persistent store stays locked until this process ends or executes a new agent.

    Args:
        name: one of `NAMES`.
        state_path: the state directory; only a persistent store uses it.
        socket_path: where this agent listens; the lock shows it to other agents.

    Raises:
        StartupError: another agent uses the store, or the state directory can't be used.

    """
    kind = _KINDS[name]
    if not kind.persistent:
        return OpenStore(kind.open(state_path), Journal(None), ())
    notes = state_path / "sessions"
    prepare(state_path)
    prepare(notes)
    # Lock before opening: an agent that is ending may still be writing what a store reads when it is opened.
    with ExitStack() as opening:
        locks = tuple(opening.enter_context(closing(StoreLock(path, socket_path))) for path in kind.locks(state_path))
        opened = OpenStore(kind.open(state_path), Journal(notes), locks, machine_digest())
        opening.pop_all()
    return opened


def is_persistent(name: str) -> bool:
    """Return whether that store outlives the agent; False for a name that this version does not know."""
    kind = _KINDS.get(name)
    return kind is not None and kind.persistent


def store_in_use(state_path: Path) -> str:
    """Return the name of the store that an agent without `--store` uses.

    Raises:
        StartupError: the state directory can't be used, or it has a note of the store that can't be used. In another
            store there may be no sessions.

    """
    prepare(state_path)
    return _noted_store(state_path) or DEFAULT


def _noted_store(state_path: Path) -> str | None:
    """Return the name in the note, if there is one; raise a `StartupError` if it can't be used."""
    note = StoreNote(state_path)
    try:
        name = note.read()
    except OSError as error:
        raise _unknown_store(f"{note.path} can't be read: {error.strerror}") from error
    except ValueError as error:
        raise _unknown_store(f"{note.path} {error}") from error
    if name is not None and not is_persistent(name):
        raise _unknown_store(f"{note.path} names {printable(name)!r}, which is not a persistent store of this version")
    return name


def remember_store(name: str, state_path: Path, socket_path: Path) -> None:
    """Have the next agent use that store, which this agent has opened; log a warning if that fails.

    Only a persistent store is remembered, and only if no other agent uses the store from before: the restart of that
    agent would begin with other sessions.

    Args:
        name: one of `NAMES`.
        state_path: the state directory.
        socket_path: where this agent listens.

    """
    if not is_persistent(name):
        return
    note = StoreNote(state_path)
    try:
        noted = _noted_store(state_path)
        before = noted or DEFAULT
    except StartupError:  # a person named the store, as the error asks for
        noted, before = None, name
    if noted == name:
        return
    if before != name and _is_in_use(before, state_path, socket_path):
        _log.warning("store name=%s not_remembered='another agent uses %s'", name, before)
        return
    try:
        note.write(name)
    except OSError as error:  # no reason not to serve
        _log.warning("store name=%s note=%s error=%r", name, note.path, error.strerror)
        return
    if before != name:
        _log.warning("store name=%s before=%s", name, before)


def check_note_is_free(state_path: Path, socket_path: Path, own: str, name: str) -> None:
    """Check that no other agent of this state directory counts on the note of the store in use.

    Args:
        state_path: the state directory.
        socket_path: where this agent listens.
        own: the store that this agent has.
        name: the store that is to be noted.

    Raises:
        StartupError: another agent uses the noted store, and would begin with this agent's at its restart.

    """
    prepare(state_path)
    noted = _noted_store(state_path) or DEFAULT
    if noted not in (own, name) and _is_in_use(noted, state_path, socket_path):
        raise StartupError(f"another agent uses the store {noted}, and would not find it again", remedies.see_status())


def _unknown_store(reason: str) -> StartupError:
    return StartupError(
        f"it is not known which store holds the sessions: {reason}",
        *(remedies.start_with_store(name) for name in NAMES if is_persistent(name)),
    )


def _is_in_use(name: str, state_path: Path, socket_path: Path) -> bool:
    """Return whether another agent of this state directory has that store."""
    with ExitStack() as held:
        for path in _KINDS[name].locks(state_path):
            if path.is_relative_to(state_path):
                try:
                    held.enter_context(closing(StoreLock(path, socket_path)))
                except StartupError:
                    return True
    return False
