"""The store that keeps nothing beyond the agent's life."""

from auth_agent.secret import Secret


class MemoryStore:
    """Keeps texts as long as the agent lives."""

    name = "memory"
    persistent = False
    # Twice a provider's longest response: what an entry does without is in the session all the same.
    max_length = 1 << 20
    expensive_writes = False
    backend = None

    def __init__(self) -> None:
        self._texts: dict[str, Secret] = {}

    async def read(self, account: str) -> Secret | None:
        """The account's text; None when there is none."""
        return self._texts.get(account)

    async def write(self, account: str, text: Secret) -> None:
        """Keep that text."""
        self._texts[account] = text

    async def delete(self, account: str) -> None:
        """Keep nothing of the account."""
        self._texts.pop(account, None)

    async def unlock(self) -> None:
        """It is never locked."""

    async def release(self) -> None:
        """It costs nothing."""
