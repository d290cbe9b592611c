"""A store that hangs: `--wrap-store tests.bench.hanging_store:hanging` of tests' launcher.

While the file exists that the environment variable names, a write does not end, until the time that a store's call may
take is over.
"""

import os
from pathlib import Path
from typing import Final

import anyio

from auth_agent.secret import Secret
from auth_agent.storage.memory import MemoryStore
from auth_agent.storage.store import Store, StoreHangs

FILE: Final = "HANGING_STORE_FILE"
WRAP: Final = f"{__name__}:hanging"
_TIMEOUT: Final = 10.0  # s
_POLL: Final = 0.1  # s


class _HangingStore(MemoryStore):
    async def write(self, account: str, entry: Secret) -> None:
        deadline = anyio.current_time() + _TIMEOUT
        while _hangs():
            if anyio.current_time() > deadline:
                raise StoreHangs("the store does not respond")
            await anyio.sleep(_POLL)
        await super().write(account, entry)


def _hangs() -> bool:
    return Path(os.environ[FILE]).exists()


def hanging(_: Store) -> Store:
    """Return the store that hangs in place of the memory's."""
    return _HangingStore()
