"""The store that keeps sessions in memory only."""

from auth_agent.secret import Secret


class MemoryStore:
    """Keeps entries until the agent ends."""

    name = "memory"
    persistent = False
    # Twice a provider's longest response.
    max_length = 1 << 20
    expensive_writes = False
    backend = None
    sealed = None

    def __init__(self) -> None:
        self._entries: dict[str, Secret] = {}

    async def read(self, account: str) -> list[Secret]:
        """Return the account's entry, if there is one."""
        entry = self._entries.get(account)
        return [] if entry is None else [entry]

    async def write(self, account: str, entry: Secret) -> None:
        """Write the account's entry."""
        self._entries[account] = entry

    async def delete(self, account: str) -> bool:
        """Delete the account's entry; return whether there was one."""
        return self._entries.pop(account, None) is not None

    async def unlock(self) -> None:
        """Do nothing: it is never locked."""

    async def release(self) -> None:
        """Do nothing: there is nothing to release."""
