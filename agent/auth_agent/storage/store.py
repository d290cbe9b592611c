"""The interface of a store: one text an account, what the store is able to do, and the ways in which it can fail."""

from typing import Protocol

from auth_agent.secret import Secret
from auth_agent_client.remedy import Remedy


class StoreError(Exception):
    """The store did not do what was asked, and may do it later.

    Args:
        reason: what is wrong, printable.
        remedy: what a person can do about it.

    """

    state = "failing"

    def __init__(self, reason: str, *remedy: Remedy) -> None:
        super().__init__(reason)
        self.reason = reason
        self.remedy = remedy


class StoreHangs(StoreError):
    """It gave no answer in time."""


class StoreLocked(StoreError):
    """It is there, and a person has to unlock it."""

    state = "locked"


class StoreMissing(StoreError):
    """It isn't there, and never held anything."""

    state = "missing"


class Store(Protocol):
    """Keeps one text an account. Each call comes back within the store's own time limit.

    Calls may come from several tasks; those about one account come one after the other. A call that is cancelled
    may have been done or not.

    Whoever uses a store asks for its abilities, never for its name or class: those are for people.
    """

    name: str
    # Whether the next agent finds what this one kept. Such a store is locked, and has notes beside it.
    persistent: bool
    # The longest text that it keeps, in characters; an entry that is longer does without what the provider gives again.
    max_length: int
    # Whether a write is so unwelcome that only a new refresh token is worth one.
    expensive_writes: bool

    @property
    def backend(self) -> str | None:
        """Which kind of it is in use; None where there is one kind, or it isn't known yet."""
        ...

    async def read(self, account: str) -> Secret | None:
        """The account's text; None when there is none.

        Raises:
            StoreError: it can't be told.

        """
        ...

    async def write(self, account: str, text: Secret) -> None:
        """Keep that text; the one before stays until this one is kept.

        Raises:
            StoreError: it is not known to be kept.

        """
        ...

    async def delete(self, account: str) -> None:
        """Keep nothing of the account, whether there was something or not.

        Raises:
            StoreError: something may still be there.

        """
        ...

    async def unlock(self) -> None:
        """Unlock the store by asking the person, where the store has a way to do that; otherwise do nothing.

        Raises:
            StoreError: it is as locked as before.

        """
        ...

    async def release(self) -> None:
        """Nothing is wanted for a while: let go of what costs memory."""
        ...
