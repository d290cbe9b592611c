"""Locks the agent, unlocks it and its store, and decides about copies, as a person asks for it.

Theory of operation. From the call of `lock` on, the table says that the agent is locked, and every request for a
session is refused. The secrets go as soon as that loses nothing: logins are called off, refreshes in flight end, and
what the store lacks is written, which may take until somebody unlocks the keyring. Only then are the sessions put away;
what is in no store is sealed by the passphrase before. Unlocked, the sessions are read, as by an agent that starts.
"""

import logging
from collections.abc import Callable, Generator
from contextlib import contextmanager
from functools import partial
from typing import Final, NamedTuple, Protocol

import anyio

from auth_agent import remedies
from auth_agent.defect import place
from auth_agent.promise import Promise
from auth_agent.secret import Secret
from auth_agent.sessions.advice import agent_locked, busy, locked
from auth_agent.sessions.background import Background
from auth_agent.sessions.login import Logins
from auth_agent.sessions.refresher import Refresher
from auth_agent.sessions.saver import SAVE_PATIENCE, Saver
from auth_agent.sessions.session import Session
from auth_agent.sessions.session_end import lower_ceiling
from auth_agent.sessions.state import Locked
from auth_agent.sessions.table import Table
from auth_agent.storage.journal import Journal
from auth_agent.storage.store import StoreError, StoreLocked, Unlocked, WrongPassphrase
from auth_agent_client import errors

_log = logging.getLogger(__name__)

LOCKED: Final = Locked("the agent is locked", (remedies.unlock(),))
_STORES_OWN: Final = "the store has a passphrase of its own, which unlocks the agent, too"
_NOT_STORED: Final = "the sessions are only in memory: they can be locked only with a passphrase, or kept alive"
_NO_PASSPHRASE: Final = "the store has no passphrase of auth-agent's"  # noqa: S105 -- a sentence
_BUSY: Final = "another passphrase is being checked"
# Characters of an entry that is sealed: what the worker reads and writes in one message, as for the sealed file.
_MAX_LENGTH: Final = 256 * 1024
# How often in a row the store is looked at.
_LOOKS: Final = 3
# Seconds until the next attempt to let the secrets go, which doubles, and the most.
_RETRY_AFTER: Final = 5.0
_RETRY_AT_LAST: Final = 300.0


class SealedEntries(Protocol):
    """Entries that a passphrase seals, which is that of the first `unlock_by`."""

    async def unlock_by(self, passphrase: Secret) -> Unlocked:
        """Unlock them. Raises `WrongPassphrase`, or another `StoreError`."""
        ...

    async def lock(self) -> None:
        """Forget the key."""
        ...

    async def write(self, account: str, entry: Secret) -> None:
        """Seal an account's entry. Raises a `StoreError`."""
        ...

    async def read(self, account: str) -> Secret:
        """Return an account's entry. Raises a `StoreError`."""
        ...

    @property
    def accounts(self) -> tuple[str, ...]:
        """The accounts that have an entry."""
        ...


class Lock(NamedTuple):
    """What `lock` did.

    `pending`: the accounts whose sessions are still in memory, because the store lacks something of them. `ends`: when
    sessions end, in Unix time, of those whose end is known.
    """

    pending: list[str]
    ends: list[dict[str, object]]


class _Lock:
    """One lock of the agent, until it is unlocked. `sealed`: what its passphrase seals; None if it has none."""

    def __init__(self, sealed: SealedEntries | None, passphrase: Secret | None, *, keep_alive: bool) -> None:
        self.sealed = sealed
        # Until it is set.
        self.passphrase = passphrase
        self.keep_alive = keep_alive
        # The sessions whose entries are sealed, by the accounts' names then.
        self.sessions: dict[str, Session] = {}
        # Resolved when the passphrase is set; then, when the secrets have gone.
        self.began = Promise[None]()
        self.is_done = anyio.Event()
        self.work = anyio.CancelScope()
        # Held while the passphrase is set or checked, and while sessions are sealed.
        self.turn = anyio.Lock()


class AgentLock:
    """What locks and unlocks the agent's sessions."""

    def __init__(
        self,
        table: Table,
        saver: Saver,
        refresher: Refresher,
        logins: Logins,
        background: Background,
        new_sealed_entries: Callable[[], SealedEntries],
    ) -> None:
        self._table = table
        self._saver = saver
        self._refresher = refresher
        self._logins = logins
        self._background = background
        self._new_sealed_entries = new_sealed_entries
        self._lock: _Lock | None = None
        self._is_checking = False

    def about(self) -> dict[str, object] | None:
        """Return what `status` shows of it, None if the agent is not locked."""
        lock = self._lock
        return (
            None
            if lock is None
            else {
                "takes_passphrase": lock.sealed is not None or self._saver.takes_passphrase,
                "keep_alive": lock.keep_alive,
                "pending": self._pending(lock),
            }
        )

    def check(self, account: str) -> None:
        """Raise `Locked` for a request for that account's session while the agent is locked."""
        if self._lock is not None:
            raise _refusal(account)

    # ---- locking

    async def lock(self, passphrase: Secret | None, *, keep_alive: bool) -> Lock:
        """Lock the agent; wait a second at most for the secrets to go.

        Args:
            passphrase: what unlocks it; None: any program of the user may, or the store's own passphrase does.
            keep_alive: keep the secrets, and go on refreshing without serving.

        Raises:
            InvalidRequest: the store has a passphrase of its own.
            Unsupported: sessions are only in memory, and there is no passphrase to seal them.
            Locked: it is locked already, and can't be given another passphrase.
            Unavailable: the passphrase could not be set; the agent is not locked.

        """
        lock = self._lock
        if lock is None:
            self._check_that_it_loses_nothing(passphrase, keep_alive=keep_alive)
            lock = self._begin(passphrase, keep_alive=keep_alive)
        elif passphrase is not None:
            self._table.check_lock()
        ends = self._ends()
        await lock.began.wait()
        with anyio.move_on_after(SAVE_PATIENCE):
            await lock.is_done.wait()
        return Lock(self._pending(lock), ends)

    def _check_that_it_loses_nothing(self, passphrase: Secret | None, *, keep_alive: bool) -> None:
        if self._saver.takes_passphrase and passphrase is not None:
            raise errors.InvalidRequest(f"lock: {_STORES_OWN}", reason=_STORES_OWN, parameter="passphrase")
        if not self._saver.keeps and passphrase is None and not keep_alive:
            raise errors.Unsupported(
                _NOT_STORED, reason=_NOT_STORED, failure="unsupported", remedy=remedies.lock_memory()
            )

    def _begin(self, passphrase: Secret | None, *, keep_alive: bool) -> _Lock:
        sealed = None if passphrase is None else self._new_sealed_entries()
        lock = self._lock = _Lock(sealed, passphrase, keep_alive=keep_alive)
        self._table.set_lock(LOCKED)
        self._refresher.paused_by = None if keep_alive else _refusal
        self._saver.is_paused = not keep_alive
        self._logins.call_off_all(agent_locked(LOCKED.reason, LOCKED.remedy))
        self._refresher.reschedule()
        self._background.begin_optional(partial(self._run, lock))
        _log.info("locked passphrase=%s keep_alive=%s", passphrase is not None, keep_alive)
        return lock

    async def _run(self, lock: _Lock) -> None:
        with lock.work:
            try:
                if lock.sealed is not None and lock.passphrase is not None:
                    async with lock.turn:
                        await lock.sealed.unlock_by(lock.passphrase)
                        lock.passphrase = None
            except Exception as error:  # noqa: BLE001 -- a defect must not end the agent
                reason = _reason(error)
                self._end(lock)
                lock.began.fail(errors.Unavailable(reason, reason=reason, failure="store_failed"))
                return
            lock.began.resolve(None)
            pause = _RETRY_AFTER
            while not lock.is_done.is_set():
                try:
                    await self._finish(lock)
                except Exception as error:  # noqa: BLE001 -- as above
                    _reason(error)
                    await anyio.sleep(pause)
                    pause = min(2 * pause, _RETRY_AT_LAST)

    async def _finish(self, lock: _Lock) -> None:
        """Let the secrets go. Raises a `StoreError` if they can't be sealed, or are nowhere else."""
        if not lock.keep_alive:
            await self._settle()
        async with lock.turn:
            if not lock.keep_alive:
                await self._put_away(lock)
            if lock.sealed is not None:
                await lock.sealed.lock()
            lock.is_done.set()
        _log.info("locked secrets=%s", "kept" if lock.keep_alive else "gone")

    async def _settle(self) -> None:
        """Wait until nothing is in flight, and the store has everything.

        Raises:
            StoreError: the store can't be read, or does not keep what is written.

        """
        for _ in range(_LOOKS):
            await self._wait_until_idle()
            if not self._saver.keeps or await self._saver.find_all():
                return await self._wait_until_idle()
        raise StoreError("the store does not keep what is written to it")

    async def _wait_until_idle(self) -> None:
        while not (self._background.is_idle and self._saver.is_idle):
            await self._background.wait_until_idle()
            await self._saver.wait_until_saved()

    async def _put_away(self, lock: _Lock) -> None:
        if not self._saver.keeps:
            if lock.sealed is None:  # the keyring turned out to be missing
                raise StoreError(_NOT_STORED)
            for name, (session, entry) in self._saver.entries(_MAX_LENGTH, Journal(None), "").items():
                if entry is not None:
                    await lock.sealed.write(name, entry)
                    lock.sessions[name] = session
        with anyio.CancelScope(shield=True):
            await self._saver.put_away(LOCKED)

    # ---- unlocking

    async def unlock(self, passphrase: Secret | None) -> Unlocked:
        """Unlock the agent, or its store, where it has a passphrase; do nothing if neither is locked.

        Raises:
            InvalidRequest: the passphrase is missing.
            Denied: it is wrong.
            Unavailable: another one is being checked: each guess takes as long as a key derivation.
            Locked: the agent can't be unlocked.

        """
        lock = self._lock
        if passphrase is None and ((lock is not None and lock.sealed is not None) or self._saver.takes_passphrase):
            raise errors.InvalidRequest("unlock: a passphrase is needed", parameter="passphrase")
        with self._checking():
            unlocked = await self._unlock(lock, passphrase)
        _log.info("unlocked created=%s memory=%dMiB", unlocked.created, unlocked.memory)
        return unlocked

    async def _unlock(self, lock: _Lock | None, passphrase: Secret | None) -> Unlocked:
        if lock is None:
            return await self._check_passphrase(None, passphrase)
        async with lock.turn:
            if self._lock is not lock:  # its passphrase could not be set
                return Unlocked(created=False, memory=0, weak=False)
            try:
                unlocked = await self._check_passphrase(lock.sealed, passphrase)
                entries = await _entries(lock)
            finally:
                if lock.sealed is not None:
                    with anyio.CancelScope(shield=True):
                        await lock.sealed.lock()
            self._end(lock)
            self._saver.bring_back(entries)
        return unlocked

    async def _check_passphrase(self, sealed: SealedEntries | None, passphrase: Secret | None) -> Unlocked:
        if passphrase is None:
            return Unlocked(created=False, memory=0, weak=False)
        if sealed is not None:
            return await sealed.unlock_by(passphrase)
        if self._saver.takes_passphrase:
            return await self._saver.unlock(passphrase)
        return Unlocked(created=False, memory=0, weak=False)

    async def change_passphrase(self, passphrase: Secret, new: Secret) -> Unlocked:
        """Change the passphrase of the store.

        Raises:
            Unsupported: it has none.
            Denied: `passphrase` is not its passphrase.
            Unavailable: another one is being checked.
            Locked: the agent or the store is locked, or the store can't be used; it has the old passphrase.

        """
        self._table.check_lock()
        if not self._saver.takes_passphrase:
            raise errors.Unsupported(_NO_PASSPHRASE, reason=_NO_PASSPHRASE, failure="unsupported")
        with self._checking():
            unlocked = await self._saver.change_passphrase(passphrase, new)
        _log.info("passphrase changed memory=%dMiB", unlocked.memory)
        return unlocked

    @contextmanager
    def _checking(self) -> Generator[None, None, None]:
        """Check one passphrase at a time, and translate what the store says."""
        if self._is_checking:
            raise busy(_BUSY)
        self._is_checking = True
        try:
            yield
        except WrongPassphrase as error:
            _log.warning("unlock refused=%r", error.reason)
            raise errors.Denied(error.reason, reason=error.reason, failure="refused", remedy=error.remedy) from error
        except StoreError as error:
            raise _store_failed(error) from error
        finally:
            self._is_checking = False

    def _end(self, lock: _Lock) -> None:
        self._lock = None
        lock.work.cancel()
        self._refresher.paused_by = None
        self._saver.is_paused = False
        self._table.set_lock(None)
        self._refresher.reschedule()

    # ---- copies

    async def adopt(self) -> list[str]:
        """Use entries that are old copies or another machine's; return their accounts.

        Raises:
            Locked: the store is locked, or can't be used.

        """
        self._table.check_lock()
        try:
            adopted = await self._saver.adopt()
        except StoreError as error:
            raise _store_failed(error) from error
        _log.info("adopted accounts=%s", ",".join(adopted) or "-")
        return adopted

    # ---- what is shown

    def _pending(self, lock: _Lock) -> list[str]:
        if lock.keep_alive or lock.is_done.is_set():
            return []
        return [name for name, session in self._table.sessions.items() if session.credentials is not None]

    def _ends(self) -> list[dict[str, object]]:
        ends: list[dict[str, object]] = []
        for name, session in self._table.sessions.items():
            token, credentials = session.current(), session.credentials
            end = None if credentials is None else credentials.ends_at
            if credentials is not None and not credentials.refreshable and token is not None:
                end = lower_ceiling(end, token.expires_at)
            if end is not None:
                ends.append({"account": name, "at": end})
        return ends


def _refusal(account: str) -> errors.Locked:
    return locked(account, LOCKED)


async def _entries(lock: _Lock) -> dict[str, tuple[Session, Secret]]:
    """Return what the passphrase seals; without an entry that can't be opened, which must not keep the others away."""
    entries: dict[str, tuple[Session, Secret]] = {}
    if lock.sealed is not None:
        for name in lock.sealed.accounts:
            entry = await _opened(lock.sealed, name)
            if entry is not None:
                entries[name] = lock.sessions[name], entry
    return entries


async def _opened(sealed: SealedEntries, name: str) -> Secret | None:
    for _ in range(_LOOKS):  # a worker process that failed is another one the next time
        try:
            return await sealed.read(name)
        except StoreError as error:
            _log.error("unlock account=%s problem=%r", name, error.reason)
    return None


def _reason(error: Exception) -> str:
    """Return why a lock does not get on, and log it; of a defect only its place, since its text may hold a secret."""
    reason = error.reason if isinstance(error, StoreError) else f"a defect of the agent: {place(error)}"
    _log.error("lock problem=%r", reason)
    return reason


def _store_failed(error: StoreError) -> errors.Locked:
    _log.warning("unlock problem=%r", error.reason)
    failure = "locked" if isinstance(error, StoreLocked) else "store_failed"
    return errors.Locked(error.reason, reason=error.reason, failure=failure, remedy=error.remedy)
