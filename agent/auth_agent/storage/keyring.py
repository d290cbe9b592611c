"""The system keyring as a store. Each call runs in the worker process, with a timeout."""

import json
import logging
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final

from auth_agent import remedies
from auth_agent.json_object import JsonObjectError, parse_object
from auth_agent.printable import printable
from auth_agent.secret import Secret
from auth_agent.storage.state_directory import read_note, write_note
from auth_agent.storage.store import StoreError, StoreHangs, StoreLocked, StoreMissing
from auth_agent.worker.process import Worker, WorkerError, WorkerTimeout
from auth_agent.worker.vocabulary import (
    KEEPASSXC,
    KEYRING,
    KSECRETD,
    KWALLETD5,
    KWALLETD6,
    LOCKED,
    MACOS,
    MISSING,
    NO_BUS,
    SECRET_SERVICE,
)
from auth_agent_client.remedy import Remedy

SERVICE: Final = "auth-agent"

# Seconds. The Secret Service answers in 20 ms, or in 1 s if worker and service must be started; macOS may show a dialog
# for any call.
_LIMIT: Final = 5.0
_MACOS_LIMIT: Final = 60.0
# Seconds that the dialog waits for the user.
_ASK_LIMIT: Final = 60.0

# What helps, by the failure of a call for which there is no keyring.
_START: Final[Mapping[object, tuple[Remedy, ...]]] = {
    MISSING: (remedies.start_keyring(), remedies.move_to_file()),
    NO_BUS: (remedies.move_to_file(), remedies.run_with_keyring()),
}
# The same if the keyring holds the sessions: a move would have to read them.
_WAIT_FOR: Final[Mapping[object, tuple[Remedy, ...]]] = {
    MISSING: (remedies.start_keyring(),),
    NO_BUS: (remedies.run_with_keyring(),),
}
# What unlocks the Secret Service, and gives it a default keyring, by its program.
_UNLOCK: Final[Mapping[str, Callable[[], tuple[Remedy, ...]]]] = {
    KEEPASSXC: remedies.unlock_keepassxc,
    **dict.fromkeys((KWALLETD5, KWALLETD6, KSECRETD), remedies.unlock_kwallet),
}
_SET_UP: Final[Mapping[str, Callable[[], tuple[Remedy, ...]]]] = {
    KEEPASSXC: remedies.expose_keepassxc,
    **dict.fromkeys((KWALLETD5, KWALLETD6, KSECRETD), remedies.create_kwallet),
}
_log = logging.getLogger(__name__)


class KeyringStore:
    """Keeps one entry per account in the system keyring, with the service `auth-agent` and the account's name.

    The backend is a class named here, never the keyring library's choice. Once it holds an entry, its name is written
    to a note: from then on, a missing keyring is a temporary failure, not an empty store.
    """

    name = "keyring"
    persistent = True
    # Keyrings are made for passwords; some hold only a few kilobytes.
    max_length = 12 * 1024
    sealed = None

    def __init__(self, directory: Path, backend: str | None = None, *, slots: int | None = None) -> None:
        """Use that backend.

        Args:
            directory: the state directory, for the note of the backend, and the worker's lock.
            backend: the class, as `module.Class`; by default the one in the note, or else the platform's.
            slots: how many entries an account has, written alternately. Two where the backend deletes an entry before
                it writes the new one (macOS): a crash in between would lose a single entry.

        Raises:
            OSError: the note can't be read.

        """
        self._note = directory / "keyring.json"
        self._noted_backend: str | None = _read_noted_backend(self._note)
        self.backend = backend or self._noted_backend or _platform_backend()
        self._is_written = self._noted_backend == self.backend
        # keyring replaces an item of the keychain, and the user must click 'Always Allow' for the new one.
        self.expensive_writes = self.backend == MACOS
        self._slots = slots or (2 if self.backend == MACOS else 1)
        self._limit = _MACOS_LIMIT if self.backend == MACOS else _LIMIT
        self._worker = Worker(KEYRING, directory / "worker.lock")
        # A second process: the first one notices if the keyring is unlocked elsewhere while the dialog is open.
        self._asker = Worker(KEYRING, directory / "asker.lock")
        # The number of the newest entry, by account: the next write replaces the older one.
        self._newest: dict[str, int] = {}

    # ---- what a store does

    async def read(self, account: str) -> list[Secret]:
        """Return the account's entries; of several slots, the newest one.

        Raises:
            StoreError: the keyring could not be read.

        """
        entries: list[str] = []
        for slot in range(self._slots):
            response = await self._call("entries", username=self._username(account, slot))
            entries += _strings(response.get("result"))
        if not entries:
            return []
        self._remember()
        if self._slots == 1:
            return [Secret(entry) for entry in entries]
        self._newest[account], entry = max((_number(entry), entry) for entry in entries)
        return [Secret(entry)]

    async def write(self, account: str, entry: Secret) -> None:
        """Write the account's entry.

        Raises:
            StoreError: the entry may not have been written.

        """
        if self._noted_backend != self.backend or not self._knows_newest(account):
            await self.read(account)  # checks that the keyring exists, and finds the newest slot, which must stay
        number = self._newest.get(account, 0) + 1
        password = entry.reveal() if self._slots == 1 else _with_number(entry.reveal(), number)
        self._remember()  # before the write: without the note, a keyring that is missing later would count as empty
        await self._call("write", username=self._username(account, number % self._slots), password=password)
        self._newest[account] = number

    async def delete(self, account: str) -> bool:
        """Delete the account's entries; return whether there was one.

        Raises:
            StoreError: one may still be there.

        """
        if not self._knows_newest(account):
            await self.read(account)
        newest, found = self._newest.get(account, 0), False
        # The newest last: otherwise a crash would leave an older entry to be read.
        for slot in sorted(range(self._slots), key=lambda slot: slot == newest % self._slots):
            response = await self._call("delete", username=self._username(account, slot))
            found = found or response.get("result") is True
        return found

    async def unlock(self) -> None:
        """Ask the user to unlock the keyring, with its own dialog.

        Raises:
            StoreLocked: it is still locked.

        """
        try:
            response = await self._asker.call("ask", _ASK_LIMIT, backend=self.backend)
        except WorkerError as error:
            reason = "the keyring is locked, and nobody answered its dialog"
            raise StoreLocked(reason, *self._unlock()) from error
        finally:
            await self._asker.kill()  # and its dialog with it
        if response.get("failure") is not None:
            raise StoreLocked(printable(response.get("text")), *self._unlock(_program(response)))

    async def release(self) -> None:
        """Let the worker process end."""
        await self._worker.release()

    # ---- how

    async def _call(self, call: str, **arguments: str) -> dict[str, object]:
        try:
            response = await self._worker.call(call, self._limit, backend=self.backend, service=SERVICE, **arguments)
        except WorkerTimeout as error:
            raise StoreHangs(f"the keyring hangs: {error}") from error
        except WorkerError as error:
            raise StoreError(str(error)) from error
        failure, reason = response.get("failure"), printable(response.get("text"))
        if failure == LOCKED:
            raise StoreLocked(reason, *self._unlock(_program(response)))
        if failure in _START and self._noted_backend is None:
            raise StoreMissing(reason, *_set_up(response), *_START[failure])
        if failure in _START:
            raise StoreError(
                f"{reason}; it holds the sessions, and the agent waits for it",
                *(_set_up(response) or _WAIT_FOR[failure]),
                remedies.run_in_memory(),
            )
        if failure is not None:
            raise StoreError(reason)
        return response

    def _unlock(self, program: str = "") -> tuple[Remedy, ...]:
        if self.backend == SECRET_SERVICE:
            return _UNLOCK.get(program, remedies.unlock_keyring)()
        return remedies.unlock_keychain() if self.backend == MACOS else remedies.unlock_store()

    def _knows_newest(self, account: str) -> bool:
        return self._slots == 1 or account in self._newest

    def _username(self, account: str, slot: int) -> str:
        # No account's name has a slash.
        return f"{account}/{slot}" if slot else account

    def _remember(self) -> None:
        self._noted_backend = self.backend
        try:
            if not self._is_written or not self._note.exists():
                write_note(self._note, json.dumps({"version": 1, "backend": self.backend}))
                self._is_written = True
        except OSError as error:  # no reason not to store the entry
            _log.warning("keyring note=%s error=%r", self._note, error.strerror)


def _program(response: Mapping[str, object]) -> str:
    return str(response.get("program") or "")


def _set_up(response: Mapping[str, object]) -> tuple[Remedy, ...]:
    """Return what helps if the service that is there has no default keyring; nothing if that is not known."""
    set_up = _SET_UP.get(_program(response))
    return () if set_up is None else set_up()


def _platform_backend() -> str:
    return MACOS if sys.platform == "darwin" else SECRET_SERVICE


def _read_noted_backend(path: Path) -> str | None:
    """Return the backend that holds sessions, or None if none ever did; for an invalid note, the platform's."""
    entry = read_note(path)
    if entry is None:
        return None
    backend = _member(entry, "backend")
    return backend if isinstance(backend, str) and backend in (SECRET_SERVICE, MACOS) else _platform_backend()


def _with_number(entry: str, number: int) -> str:
    """Return the entry, a JSON object, with its number added."""
    return json.dumps({**parse_object(entry), "number": number})


def _strings(value: object) -> list[str]:
    return [item for item in value if isinstance(item, str)] if isinstance(value, list) else []  # pyright: ignore[reportUnknownVariableType] -- JSON's


def _number(entry: str) -> int:
    number = _member(entry, "number")
    return number if type(number) is int else 0


def _member(entry: str, name: str) -> object:
    try:
        return parse_object(entry).get(name)
    except JsonObjectError:
        return None
