"""The system keyring as a store: every call in the worker, every call within a time limit."""

import json
import logging
import sys
from pathlib import Path
from typing import Final

from auth_agent import remedies
from auth_agent.json_object import JsonObjectError, parse_object
from auth_agent.printable import printable
from auth_agent.secret import Secret
from auth_agent.storage.state_directory import read_note, write_note
from auth_agent.storage.store import StoreError, StoreHangs, StoreLocked, StoreMissing
from auth_agent.worker.process import Worker, WorkerError, WorkerTimeout
from auth_agent.worker.vocabulary import KEYRING, LOCKED, MACOS, MISSING, SECRET_SERVICE
from auth_agent_client.remedy import Remedy

SERVICE: Final = "auth-agent"

# Seconds. The Secret Service answers in 20 ms, starts of worker and service included in one second; macOS may show a
# dialog for any call.
_LIMIT: Final = 5.0
_MACOS_LIMIT: Final = 60.0
# For how long a person is asked.
_ASK_LIMIT: Final = 60.0

_UNLOCK: Final = {SECRET_SERVICE: remedies.unlock_keyring, MACOS: remedies.unlock_keychain}
_log = logging.getLogger(__name__)


class KeyringStore:
    """One entry an account in the system keyring: service `auth-agent`, and the account's name.

    The backend is a class named here, never the keyring library's choice. Once it holds something its name is noted:
    from then on its absence is a failure that may pass, not an empty store.
    """

    name = "keyring"
    persistent = True
    # Keyrings are made for passwords; some hold a few kilobytes only.
    max_length = 12 * 1024

    def __init__(self, directory: Path, backend: str | None = None, *, slots: int | None = None) -> None:
        """Use that backend.

        Args:
            directory: the state directory, for the note of the backend, and the worker's lock.
            backend: the class, as `module.Class`; by default the one noted, or else the platform's.
            slots: how many entries an account has, written in turn; two, where a backend replaces an entry by deleting
                it first and a crash between would lose it (macOS).

        Raises:
            OSError: the note can't be read.

        """
        self._note = directory / "keyring.json"
        self._noted: str | None = _noted(self._note)
        self.backend = backend or self._noted or _platforms()
        self._is_written = self._noted == self.backend
        # keyring replaces an item of the keychain by another, for which a person has to say 'Always Allow' anew.
        self.expensive_writes = self.backend == MACOS
        self._slots = slots or (2 if self.backend == MACOS else 1)
        self._limit = _MACOS_LIMIT if self.backend == MACOS else _LIMIT
        self._worker = Worker(KEYRING, directory / "worker.lock")
        # While a person is asked, the keyring may be unlocked otherwise: the other one goes on looking.
        self._asker = Worker(KEYRING, directory / "asker.lock")
        # The number of the newest entry, by account: the next one goes over the one before it.
        self._newest: dict[str, int] = {}

    # ---- what a store does

    async def read(self, account: str) -> Secret | None:
        """The account's text; None when there is none.

        Raises:
            StoreError: it can't be told.

        """
        found: list[tuple[int, str]] = []
        for slot in range(self._slots):
            text = (await self._call("read", username=self._username(account, slot))).get("result")
            if isinstance(text, str):
                found.append((_number(text), text))
        if not found:
            return None
        self._remember()
        number, text = max(found)
        self._newest[account] = number
        return Secret(text)

    async def write(self, account: str, text: Secret) -> None:
        """Keep that text.

        Raises:
            StoreError: it is not known to be kept.

        """
        if self._noted != self.backend or not self._knows_the_newest(account):
            await self.read(account)  # whether there is a keyring at all, and what must not be written over
        number = self._newest.get(account, 0) + 1
        password = text.reveal() if self._slots == 1 else _with_number(text.reveal(), number)
        self._remember()  # before: an entry that nobody remembers would be taken for none
        await self._call("write", username=self._username(account, number % self._slots), password=password)
        self._newest[account] = number

    async def delete(self, account: str) -> None:
        """Keep nothing of the account.

        Raises:
            StoreError: something may still be there.

        """
        if not self._knows_the_newest(account):
            await self.read(account)
        newest = self._newest.get(account, 0)
        # The newest last: until then it is what is read.
        for slot in sorted(range(self._slots), key=lambda slot: slot == newest % self._slots):
            await self._call("delete", username=self._username(account, slot))

    async def unlock(self) -> None:
        """Unlock the keyring by its own dialog.

        Raises:
            StoreError: it is as locked as before.

        """
        try:
            answer = await self._asker.call("ask", _ASK_LIMIT, backend=self.backend)
        except WorkerError as error:
            raise StoreLocked("the keyring is locked, and nobody answered its dialog", *self._unlock) from error
        finally:
            await self._asker.kill()  # and its dialog with it, where nobody has to answer it any more
        if answer.get("failure") is not None:
            raise StoreLocked(printable(answer.get("text")), *self._unlock)

    async def release(self) -> None:
        """Let the worker process end."""
        await self._worker.release()

    # ---- how

    async def _call(self, call: str, **arguments: str) -> dict[str, object]:
        try:
            answer = await self._worker.call(call, self._limit, backend=self.backend, service=SERVICE, **arguments)
        except WorkerTimeout as error:
            raise StoreHangs(f"the keyring hangs: {error}") from error
        except WorkerError as error:
            raise StoreError(str(error)) from error
        failure, reason = answer.get("failure"), printable(answer.get("text"))
        if failure == LOCKED:
            raise StoreLocked(reason, *self._unlock)
        if failure == MISSING and self._noted is None:
            raise StoreMissing(reason, remedies.start_keyring())
        if failure == MISSING:
            raise StoreError(
                f"{reason}; it holds the sessions, and is waited for",
                remedies.start_keyring(),
                remedies.run_in_memory(),
            )
        if failure is not None:
            raise StoreError(reason)
        return answer

    @property
    def _unlock(self) -> tuple[Remedy, ...]:
        return _UNLOCK.get(self.backend, remedies.unlock_store)()

    def _knows_the_newest(self, account: str) -> bool:
        return self._slots == 1 or account in self._newest

    def _username(self, account: str, slot: int) -> str:
        # No account's name has a slash.
        return f"{account}/{slot}" if slot else account

    def _remember(self) -> None:
        self._noted = self.backend
        if not self._is_written:
            try:
                write_note(self._note, json.dumps({"version": 1, "backend": self.backend}))
                self._is_written = True
            except OSError as error:  # no reason to keep nothing
                _log.warning("keyring note=%s error=%r", self._note, error.strerror)


def _platforms() -> str:
    return MACOS if sys.platform == "darwin" else SECRET_SERVICE


def _noted(path: Path) -> str | None:
    """Which keyring holds sessions; None where none ever did. A note that can't be understood tells that one does."""
    text = read_note(path)
    if text is None:
        return None
    backend = _member(text, "backend")
    return backend if isinstance(backend, str) and backend in (SECRET_SERVICE, MACOS) else _platforms()


def _with_number(text: str, number: int) -> str:
    """The entry, a JSON map, with the number that tells it from the one before."""
    return json.dumps({**parse_object(text), "number": number})


def _number(text: str) -> int:
    number = _member(text, "number")
    return number if type(number) is int else 0


def _member(text: str, name: str) -> object:
    try:
        return parse_object(text).get(name)
    except JsonObjectError:
        return None
