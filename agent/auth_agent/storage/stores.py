"""All stores by name, and how to open each."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final, NamedTuple

from auth_agent.errors import StartupError
from auth_agent.host.machine import machine_digest
from auth_agent.storage.journal import Journal
from auth_agent.storage.keyring import KeyringStore
from auth_agent.storage.lock import StoreLock, keyring_locks, sealed_file_locks
from auth_agent.storage.memory import MemoryStore
from auth_agent.storage.sealed_file import SealedFileStore
from auth_agent.storage.state_directory import prepare
from auth_agent.storage.store import Store


class OpenStore(NamedTuple):
    """An open store, its journal, and the locks that exclude other agents.

    `machine`: the digest by which entries of other machines are told apart; "" if none can be there, or it is unknown.
    """

    store: Store
    journal: Journal
    locks: tuple[StoreLock, ...]
    machine: str = ""


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
    locks = tuple(StoreLock(path, socket_path) for path in kind.locks(state_path))
    return OpenStore(kind.open(state_path), Journal(notes), locks, machine_digest())
