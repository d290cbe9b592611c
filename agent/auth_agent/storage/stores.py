"""The stores by name: the one place that knows which there are, and what opening one takes."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final, NamedTuple

from auth_agent.errors import StartupError
from auth_agent.storage.journal import Journal
from auth_agent.storage.keyring import KeyringStore
from auth_agent.storage.lock import StoreLock, keyring_locks
from auth_agent.storage.memory import MemoryStore
from auth_agent.storage.state_directory import prepare
from auth_agent.storage.store import Store


class OpenStore(NamedTuple):
    """A store that this agent has, the journal beside it, and what keeps other agents off."""

    store: Store
    journal: Journal
    locks: tuple[StoreLock, ...]


class _Kind(NamedTuple):
    """What is known of a store before it is opened."""

    open: Callable[[Path], Store]  # by the state directory
    persistent: bool
    locks: Callable[[Path], list[Path]]  # of a persistent one, by the state directory


def _keyring(state_path: Path) -> Store:
    try:
        return KeyringStore(state_path)
    except OSError as error:
        raise StartupError(f"the note of the keyring in {state_path} can't be read: {error.strerror}") from error


def _memory(_: Path) -> Store:
    return MemoryStore()


def _no_locks(_: Path) -> list[Path]:
    return []


_KINDS: Final[Mapping[str, _Kind]] = {
    KeyringStore.name: _Kind(_keyring, KeyringStore.persistent, keyring_locks),
    MemoryStore.name: _Kind(_memory, MemoryStore.persistent, _no_locks),
}
NAMES: Final = tuple(_KINDS)
DEFAULT: Final = KeyringStore.name


def open_store(name: str, state_path: Path, socket_path: Path) -> OpenStore:
    """Open the store of that name.

    A persistent store is one agent's: it stays locked until this process ends, or becomes another agent.

    Args:
        name: one of `NAMES`.
        state_path: the state directory; a store that isn't persistent leaves it alone.
        socket_path: where this agent listens, for others that find the store locked.

    Raises:
        StartupError: another agent has the store, or the state directory can't be used.

    """
    kind = _KINDS[name]
    if not kind.persistent:
        return OpenStore(kind.open(state_path), Journal(None), ())
    notes = state_path / "sessions"
    prepare(state_path)
    prepare(notes)
    # Before it is opened: what a store reads then may be what the agent before is still writing.
    locks = tuple(StoreLock(path, socket_path) for path in kind.locks(state_path))
    return OpenStore(kind.open(state_path), Journal(notes), locks)
