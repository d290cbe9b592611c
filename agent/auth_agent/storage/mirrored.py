"""Two stores as one, while sessions move from the first to the second: what is written is in both."""

from auth_agent.secret import Secret
from auth_agent.storage.store import Store


class MirroredStore:
    """Writes to both stores, the first one first; reads from the first."""

    sealed = None

    def __init__(self, first: Store, second: Store) -> None:
        self.first = first
        self.second = second
        self.name = first.name
        self.backend = first.backend
        # That of the second: what is in the first may be in memory only.
        self.persistent = second.persistent
        self.max_length = min(first.max_length, second.max_length)
        self.expensive_writes = first.expensive_writes or second.expensive_writes

    async def read(self, account: str) -> Secret | None:
        """Return the first store's entry. Raises what that raises."""
        return await self.first.read(account)

    async def write(self, account: str, entry: Secret) -> None:
        """Write the entry to both. Raises a `StoreError`: at least one of them lacks it."""
        await self.first.write(account, entry)
        await self.second.write(account, entry)

    async def delete(self, account: str) -> None:
        """Delete the entry in both. Raises a `StoreError`: at least one of them may have it."""
        await self.first.delete(account)
        await self.second.delete(account)

    async def unlock(self) -> None:
        """Ask the user to unlock the stores that can ask. Raises a `StoreError`: one is still locked."""
        await self.first.unlock()
        await self.second.unlock()

    async def release(self) -> None:
        """Free memory of both."""
        await self.first.release()
        await self.second.release()
