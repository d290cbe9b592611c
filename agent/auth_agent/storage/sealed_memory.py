"""Entries that a passphrase seals in the agent's memory, while the agent is locked."""

import json
from typing import Final

from auth_agent import remedies
from auth_agent.printable import printable
from auth_agent.secret import Secret
from auth_agent.storage.store import StoreError, Unlocked, WrongPassphrase
from auth_agent.worker.process import Worker, WorkerError
from auth_agent.worker.vocabulary import SEALING, WRONG_PASSPHRASE

# Seconds. The key derivation takes half a second, and many times that on a small machine; the rest some milliseconds.
_UNLOCK_LIMIT: Final = 60.0
_LIMIT: Final = 5.0


def read_opened(result: object) -> tuple[Secret, str, Unlocked]:
    """Return what the worker opened by a passphrase: as it takes it with each call, the header in it, and how.

    Raises:
        StoreError: the worker failed.

    """
    members: dict[str, object] = result if isinstance(result, dict) else {}  # pyright: ignore[reportUnknownVariableType] -- a JSON object
    opened, memory = members.get("opened"), members.get("memory")
    if not isinstance(opened, str) or not isinstance(memory, int):
        raise StoreError("the worker process failed")
    unlocked = Unlocked(members.get("created") is True, memory, members.get("weak") is True)
    return Secret(opened), json.loads(opened)["header"], unlocked


class SealedMemory:
    """Keeps encrypted entries; the worker encrypts and decrypts them."""

    def __init__(self) -> None:
        """Create it without a passphrase: the first one to unlock it becomes its own."""
        self._worker = Worker(SEALING)
        self._header: str | None = None
        # The header with its data keys, as the worker takes it; None while it is locked.
        self._opened: Secret | None = None
        self._records: dict[str, str] = {}

    async def unlock_by(self, passphrase: Secret) -> Unlocked:
        """Unlock it. Each guess costs a key derivation.

        Raises:
            WrongPassphrase: it has another passphrase.
            StoreError: it can't be unlocked.

        """
        if self._header is None:
            result = await self._ask("new_key", _UNLOCK_LIMIT, passphrase=passphrase.reveal())
        else:
            result = await self._ask("open_key", _UNLOCK_LIMIT, header=self._header, passphrase=passphrase.reveal())
        self._opened, self._header, unlocked = read_opened(result)
        return unlocked

    async def lock(self) -> None:
        """Forget the key, and let the worker process end."""
        self._opened = None
        await self._worker.release()

    async def write(self, account: str, entry: Secret) -> None:
        """Seal an account's entry. Raises a `StoreError` if that fails, or it is locked."""
        self._records[account] = await self._text("seal", account, entry=entry.reveal())

    async def read(self, account: str) -> Secret:
        """Return the entry of one of its `accounts`. Raises a `StoreError` if that fails, or it is locked."""
        return Secret(await self._text("unseal", account, record=self._records[account]))

    @property
    def accounts(self) -> tuple[str, ...]:
        """The accounts that have an entry."""
        return tuple(self._records)

    async def _text(self, call: str, account: str, **arguments: str) -> str:
        if self._opened is None:
            raise StoreError("the sealed entries are locked")
        result = await self._ask(call, _LIMIT, opened=self._opened.reveal(), account=account, **arguments)
        if not isinstance(result, str):
            raise StoreError("the worker process failed")
        return result

    async def _ask(self, call: str, limit: float, **arguments: str) -> object:
        try:
            response = await self._worker.call(call, limit, **arguments)
        except WorkerError as error:
            raise StoreError(str(error)) from error
        failure, reason = response.get("failure"), printable(response.get("text"))
        if failure == WRONG_PASSPHRASE:
            raise WrongPassphrase(reason, remedies.unlock())
        if failure is not None:
            raise StoreError(reason)
        return response.get("result")
