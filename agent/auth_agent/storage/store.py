"""The interface of a store: one entry per account, what the store is capable of, and how it can fail."""

from typing import NamedTuple, Protocol

from auth_agent.secret import Secret
from auth_agent_client.remedy import Remedy


class StoreError(Exception):
    """A call of the store failed; a later one may succeed.

    Args:
        reason: what is wrong, as a printable string.
        remedy: what a person can do about it.

    """

    state = "failing"

    def __init__(self, reason: str, *remedy: Remedy) -> None:
        super().__init__(reason)
        self.reason = reason
        self.remedy = remedy


class StoreHangs(StoreError):
    """The store did not respond in time."""


class StoreLocked(StoreError):
    """A person has to unlock the store."""

    state = "locked"


class StoreMissing(StoreError):
    """There is no such store on this machine, and it never held an entry."""

    state = "missing"


class WrongPassphrase(StoreError):
    """The store was not unlocked: another passphrase unlocks it."""

    state = "locked"


class UnusableEntry(Exception):
    """The store works, but this account's entry must not or can't be used: a person has to decide.

    Args:
        reason: what is wrong with the entry, as a printable string.
        remedy: what helps besides a login.

    """

    def __init__(self, reason: str, *remedy: Remedy) -> None:
        super().__init__(reason)
        self.reason = reason
        self.remedy = remedy


class Unlocked(NamedTuple):
    """A store was unlocked by a passphrase.

    `created`: there was none before. `memory`: how many MiB each guess of the passphrase takes; `weak`: whether that is
    less than it should be, because there was too little memory.
    """

    created: bool
    memory: int
    weak: bool


class Sealed(Protocol):
    """A store that a passphrase unlocks. It is locked when it is opened; until it is unlocked, each call says so."""

    @property
    def is_new(self) -> bool:
        """Whether there is nothing yet, and the first passphrase makes the store."""
        ...

    @property
    def locked(self) -> StoreLocked | None:
        """Why it is locked, and what helps; None if it is unlocked."""
        ...

    async def unlock_by(self, passphrase: Secret) -> Unlocked:
        """Unlock it; the first time, make it.

        Raises:
            WrongPassphrase: another passphrase unlocks it.
            StoreError: it is still locked.

        """
        ...

    async def change_passphrase(self, passphrase: Secret, new: Secret) -> Unlocked:
        """Have another passphrase unlock it.

        Raises:
            WrongPassphrase: `passphrase` does not unlock it.
            StoreError: it is locked, or has the old passphrase still.

        """
        ...

    def lock(self) -> None:
        """Forget what unlocked it."""
        ...

    async def adopt(self) -> list[str]:
        """Take old copies, which are an `UnusableEntry`, as the newest entries; return their accounts.

        Raises:
            StoreError: some may not have been taken.

        """
        ...


class Store(Protocol):
    """Keeps one entry, a string, per account. Each call returns within the store's own timeout.

    Several tasks may call at once; calls for one account come one after the other. A cancelled call may or may not have
    taken effect.

    Callers decide by the attributes below, never by the store's name or class.
    """

    name: str
    # Whether entries outlive the agent. Such a store has locks, and a journal beside it.
    persistent: bool
    # The longest entry, in characters; longer ones are stored without what the provider can send again.
    max_length: int
    # Whether writes disturb the user, so that only a new refresh token is written.
    expensive_writes: bool

    @property
    def sealed(self) -> Sealed | None:
        """What a passphrase does to the store; None if it has none of auth-agent's."""
        ...

    @property
    def backend(self) -> str | None:
        """The backend in use; None if there is only one kind, or it isn't known yet."""
        ...

    async def read(self, account: str) -> list[Secret]:
        """Return the account's entries: one, or none, or several if other programs can put copies into the store.

        Raises:
            StoreError: the store could not be read.
            UnusableEntry: it was read, and has an entry that can't be used.

        """
        ...

    async def write(self, account: str, entry: Secret) -> None:
        """Write the account's entry in place of all that it has; the old one stays until the new one is stored.

        Raises:
            StoreError: the entry may not have been written.

        """
        ...

    async def delete(self, account: str) -> bool:
        """Delete the account's entries; return whether there was one.

        Raises:
            StoreError: the entry may still be there.

        """
        ...

    async def unlock(self) -> None:
        """Ask the user to unlock the store, if the store can ask; otherwise do nothing.

        Raises:
            StoreError: it is still locked.

        """
        ...

    async def release(self) -> None:
        """Free memory: no call is expected for a while."""
        ...
