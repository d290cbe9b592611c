"""Sealed files as a store: encrypted by a passphrase, for machines without a keyring.

The worker reads, writes, encrypts and decrypts; it ends when it is idle, so this process keeps the data key and passes
it on with each call. docs/store.md describes the files.
"""

import os
from contextlib import suppress
from pathlib import Path
from typing import Final

from auth_agent import remedies
from auth_agent.printable import printable
from auth_agent.secret import Secret
from auth_agent.storage.sealed_memory import read_opened
from auth_agent.storage.store import (
    StoreError,
    StoreHangs,
    StoreLocked,
    Unlocked,
    UnusableEntry,
    WrongPassphrase,
)
from auth_agent.worker.process import Worker, WorkerError, WorkerTimeout
from auth_agent.worker.vocabulary import DAMAGED, FULL, MISSING, SEALING, WRONG_PASSPHRASE

# Seconds. A call takes some milliseconds, and a second if the worker must be started.
_LIMIT: Final = 5.0
# The key derivation takes half a second, and many times that on a small machine.
_UNLOCK_LIMIT: Final = 60.0

_OLD: Final = "the store's entry is an older copy than the one that this machine wrote last"
# Characters of a message from the worker, with a path in it.
_MAX_REASON: Final = 1000


class SealedFileStore:
    """Keeps one encrypted file per account in the state directory."""

    name = "file"
    persistent = True
    # What the worker reads and writes in one message.
    max_length = 256 * 1024
    expensive_writes = False
    backend = None

    def __init__(self, directory: Path) -> None:
        """Use the files in that state directory; they may not exist yet."""
        self._state = directory
        self._path = os.fspath(directory)
        self._worker = Worker(SEALING, directory / "sealing.lock")
        # The data keys and the header, as the worker takes them; None while the store is locked.
        self._opened: Secret | None = None
        # The header once it was opened. From then on it alone decides which passphrase is right: another process may
        # have put another file into its place.
        self._header: str | None = None

    # ---- what a store does

    async def read(self, account: str) -> list[Secret]:
        """Return the account's entry, if there is one.

        Raises:
            StoreError: the store is locked, or could not be read.
            UnusableEntry: the file is damaged, or may be an old copy.

        """
        result = _map(await self._call("read", account=account))
        entry = result.get("entry")
        if result.get("old") is True:
            raise UnusableEntry(_OLD, remedies.adopt())
        return [Secret(entry)] if isinstance(entry, str) else []

    async def write(self, account: str, entry: Secret) -> None:
        """Write the account's entry.

        Raises:
            StoreError: the entry may not have been written.

        """
        await self._call("write", account=account, entry=entry.reveal())

    async def delete(self, account: str) -> bool:
        """Delete the account's entry; return True: where there is none, a copy that comes back is an old one.

        Raises:
            StoreError: the entry may still be there.

        """
        await self._call("delete", account=account)
        return True

    async def unlock(self) -> None:
        """Do nothing if it is unlocked: it can't ask.

        Raises:
            StoreLocked: it is locked.

        """
        if self.locked is not None:
            raise self.locked

    async def release(self) -> None:
        """Let the worker process end."""
        await self._worker.release()

    # ---- what a passphrase does

    @property
    def sealed(self) -> "SealedFileStore":
        """The store itself."""
        return self

    @property
    def is_new(self) -> bool:
        """Whether there are no files yet, and never were."""
        if self._header is not None or self._has("sealed/store.json") or self._has("sealed.json"):
            return False
        with suppress(OSError):
            return not any(path.suffix == ".sealed" for path in (self._state / "sealed").iterdir())
        return True

    def _has(self, name: str) -> bool:
        return os.path.lexists(self._state / name)

    @property
    def locked(self) -> StoreLocked | None:
        """Why it is locked, and what helps; None if it is unlocked."""
        if self._opened is not None:
            return None
        if self.is_new:
            return StoreLocked("the sealed file has no passphrase yet", remedies.choose_passphrase())
        if self._header is None and not self._has("sealed/store.json"):
            where = printable(os.fspath(self._state / "sealed" / "store.json"), _MAX_REASON)
            return StoreLocked(
                f"{where} is missing, without which nobody can open the sessions", remedies.restore_file()
            )
        return StoreLocked("the sealed file is locked", remedies.unlock())

    async def unlock_by(self, passphrase: Secret) -> Unlocked:
        """Open the files by their passphrase, or make them. Each guess costs a key derivation.

        Raises:
            WrongPassphrase: another passphrase opens them.
            StoreError: they can't be opened.

        """
        if self._header is None:
            response = await self._ask("unlock", _UNLOCK_LIMIT, state=self._path, passphrase=passphrase.reveal())
        else:
            response = await self._ask("open_key", _UNLOCK_LIMIT, header=self._header, passphrase=passphrase.reveal())
        return self._open(response)

    async def change_passphrase(self, passphrase: Secret, new: Secret) -> Unlocked:
        """Have another passphrase open the files.

        Raises:
            WrongPassphrase: `passphrase` does not open them.
            StoreError: they are locked, or the passphrase is the old one.

        """
        if self.locked is not None:
            raise self.locked
        await self.unlock_by(passphrase)
        return self._open(await self._call("change_passphrase", _UNLOCK_LIMIT, passphrase=new.reveal()))

    def _open(self, response: object) -> Unlocked:
        self._opened, self._header, unlocked = read_opened(response)
        return unlocked

    def lock(self) -> None:
        """Forget the data key."""
        self._opened = None

    async def adopt(self) -> list[str]:
        """Take old copies as the newest entries; return their accounts.

        Raises:
            StoreError: some may not have been taken.

        """
        result = await self._call("adopt")
        return [str(account) for account in result] if isinstance(result, list) else []  # pyright: ignore[reportUnknownVariableType, reportUnknownArgumentType] -- the worker's list of names

    # ---- how

    async def _call(self, call: str, limit: float = _LIMIT, /, **arguments: str) -> object:
        if self._opened is None:
            raise self.locked or StoreError("the sealed file was locked meanwhile")
        return await self._ask(call, limit, state=self._path, opened=self._opened.reveal(), **arguments)

    async def _ask(self, call: str, limit: float, **arguments: str) -> object:
        try:
            response = await self._worker.call(call, limit, **arguments)
        except WorkerTimeout as error:
            raise StoreHangs(f"the disk of the sealed file hangs: {error}") from error
        except WorkerError as error:
            raise StoreError(str(error)) from error
        failure, reason = response.get("failure"), printable(response.get("text"), _MAX_REASON)
        if failure == WRONG_PASSPHRASE:
            raise WrongPassphrase(reason, remedies.unlock())
        if failure == DAMAGED and call == "read":
            raise UnusableEntry(reason, remedies.restore_record())
        if failure == DAMAGED:
            raise StoreError(reason, remedies.restore_file())
        if failure == MISSING:
            raise StoreError(reason, remedies.restore_file())
        if failure == FULL:
            raise StoreError(reason, remedies.free_space())
        if failure is not None:
            raise StoreError(reason)
        return response.get("result")


def _map(value: object) -> dict[str, object]:
    return value if isinstance(value, dict) else {}  # pyright: ignore[reportUnknownVariableType] -- a JSON object
