"""Keeps sessions in the store: reads them at the start, saves and deletes them, and retries until that succeeds.

Theory of operation. A store may hang, be locked, or lose power during a write. So one task makes all calls of the
store, one after the other; everybody else waits for it with a timeout. It alternates between saves and reads, starting
with what a client waits for. A session has one pending write, always for its newest state: when saves overlap, an older
state is never written last.

This module is the queue. recovery.py decides what an entry and its note mean after a crash; storage/health.py decides
when a failing store is retried, and when the user is asked to unlock it.
"""

import logging
import secrets
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from itertools import chain
from typing import Final

import anyio
from anyio.abc import TaskGroup

from auth_agent.defect import place
from auth_agent.host.clock import Clock
from auth_agent.promise import Promise
from auth_agent.secret import Secret
from auth_agent.sessions.doubts import Doubts
from auth_agent.sessions.entry import EntryError, StoredSession, dump, load
from auth_agent.sessions.fingerprints import Fingerprints
from auth_agent.sessions.record import state_name
from auth_agent.sessions.recovery import (
    ELSEWHERE,
    by_machine,
    current,
    doubt,
    is_elsewhere,
    is_unreadable,
    recover,
    unreadable,
)
from auth_agent.sessions.session import Session
from auth_agent.sessions.state import Active, Locked, LoggedOut, LoginRequired, State
from auth_agent.sessions.table import Table
from auth_agent.storage.health import HASTE, StoreHealth
from auth_agent.storage.journal import Journal
from auth_agent.storage.store import Store, StoreError, StoreMissing, Unlocked, UnusableEntry
from auth_agent_client.remedy import remedies_to_wire

_log = logging.getLogger(__name__)

# Seconds that a client waits for its session to be read, and for a refreshed session to be saved.
READ_PATIENCE: Final = 5.0
SAVE_PATIENCE: Final = 1.0
# Seconds between two looks whether what a locked agent waits for can still come.
_LOOK_AGAIN: Final = 5.0
# Seconds without work after which the store is released.
_RELEASE_AFTER: Final = 30.0

UNREAD: Final = "the agent has just started, and not read it from the store yet"


# A session, and whether its entry is to be written (True) or read.
_Work = tuple[Session, bool]


@dataclass(slots=True)
class _PendingWrite:
    """What to write to one account's entry, and who waits for it.

    `wanted`: what the store should have, while the session is in `Saver._dirty`; None: no entry. `version` changes with
    `wanted`, to detect a change during a write. `sent`: the refresh tokens sent before `wanted` was set; later ones
    stay noted.
    """

    wanted: StoredSession | None = None
    version: int = 0
    sent: tuple[str, ...] = ()
    # The fingerprint of the refresh token that the store was last known to have.
    has: str | None = None
    # Those who wait for the entry to be read.
    readings: list[Promise[StoredSession | None]] = field(default_factory=list[Promise[StoredSession | None]])
    # `_write_key` of what the store was last known to have.
    write_key: object = None
    # Whether a person has said that the entry is to be used, whichever machine wrote it.
    adopts: bool = False
    # Whether the store should have an entry and has none; and whether it should have had one before a logout.
    lost: bool = False
    held: bool = False


class Saver:
    """Keeps a table's sessions in a store."""

    def __init__(
        self,
        table: Table,
        store: Store,
        journal: Journal,
        on_restored: Callable[[Session], None] = lambda _: None,
        machine: str = "",
    ) -> None:
        """Keep them there.

        Args:
            table: the sessions; those that are locked are read.
            store: where they are stored.
            journal: what is noted beside it.
            on_restored: called when a session was read, and may be due to be refreshed.
            machine: this machine's digest; "" if it has none, or shares no entries.

        """
        self.fingerprints = Fingerprints()
        self.on_restored = on_restored
        self._table = table
        self._store = store
        self._journal = journal
        self._machine = machine
        self._clock: Clock = table.clock
        self._boot_id = self._clock.boot_id()
        self._pending_writes: dict[Session, _PendingWrite] = {}
        # Those to be written, in that order, and what is set when each is in the store; only these have an event, which
        # takes 0.8 KB.
        self._dirty: dict[Session, anyio.Event] = {}
        # Those whose reading somebody waits for; a dict, for its order.
        self._awaited: dict[Session, None] = {}
        # The names before of renamed accounts, by session; the entry of that name goes once the new one is written.
        self._moved_from: dict[Session, str] = {}
        # Locked sessions, in the order in which they are to be read; a dict, for its order.
        self._unread: dict[Session, None] = {}
        self._wake = anyio.Event()
        self._health = StoreHealth()
        self._doubts = Doubts()
        # When each work that still fails was last tried; and whether the last work was a write.
        self._failed: dict[_Work, float] = {}
        self._wrote = False
        self._unsorted = False
        table.on_renamed = self.move
        self._tasks: TaskGroup | None = None
        self._asking = anyio.CancelScope()
        # Whether no session is read, because the agent is locked.
        self.is_paused = False

    def about(self) -> dict[str, object]:
        """Return the state of the store for `status`."""
        problem, sealed = self._health.problem, self._store.sealed
        return {
            "name": self._store.name,
            "persistent": self._store.persistent,
            "takes_passphrase": sealed is not None,
            "new": sealed is not None and sealed.is_new,
            "backend": self._store.backend,
            "state": "ready" if problem is None else problem.state,
            "problem": None if problem is None else problem.reason,
            "remedy": remedies_to_wire(() if problem is None else problem.remedy),
            "unread": sum(session not in self._doubts for session in self._unread),
            "unsaved": len(self._dirty),
        }

    # ---- reading

    def read_all(self) -> None:
        """Queue the locked sessions: they are read as soon as possible, the most urgent first; not while paused."""
        if self.is_paused:
            return
        self._unread.update(dict.fromkeys(self._table.locked()))
        self._doubts.clear()
        self._unsorted = True
        sealed = self._store.sealed
        if sealed is not None and sealed.locked is not None and self._health.problem is None:
            self._fail(sealed.locked)  # also without a session to read
        problem = self._health.problem
        if isinstance(problem, StoreMissing):
            self._do_without()
        elif problem is not None:
            self._lock_all(problem)
        self._wake.set()

    async def wait_until_loaded(self, session: Session, patience: float = READ_PATIENCE) -> None:
        """Read a locked session next, and wait at most `patience` seconds for that; not while the store fails."""
        if session in self._unread:
            self._health.want()
            self._hasten()
            if self._health.problem is None and not self._doubts.was_just_read(session, anyio.current_time()):
                with suppress(StoreError):  # the session says it
                    await self._read(session, patience)

    async def reload(self, session: Session) -> StoredSession | None:
        """Return what the store has of a session now.

        Raises:
            StoreError: the store could not be read.

        """
        try:
            return await self._read(session, READ_PATIENCE + SAVE_PATIENCE)
        except StoreMissing:
            return None

    async def _read(self, session: Session, patience: float) -> StoredSession | None:
        reading = Promise[StoredSession | None]()
        readings = self._pending_write(session).readings
        readings.append(reading)
        self._awaited[session] = None
        self._hasten()
        try:
            with anyio.move_on_after(patience):
                return await reading.wait()
        finally:
            if reading in readings:
                readings.remove(reading)
            if not self._pending_write(session).readings:
                self._awaited.pop(session, None)
        raise StoreError("the store takes too long")

    async def check(self) -> None:
        """Check that the next agent could read this one's sessions; if the keyring is another one now, it gets them.

        Raises:
            StoreError: it could not.

        """
        session = next(filter(_is_kept, self._table.sessions.values()), None)
        stored = None if session is None else await self.reload(session)
        if stored is not None and isinstance(stored.state, LoginRequired) and is_unreadable(stored.state):
            raise StoreError(stored.state.reason, *stored.state.remedy)
        if session is not None and self.keeps and not (_is_same(stored, session) or await self.find_all()):
            with anyio.move_on_after(READ_PATIENCE):
                await self.wait_until_saved()

    # ---- a store that a passphrase unlocks

    @property
    def takes_passphrase(self) -> bool:
        """Whether a passphrase unlocks the store."""
        return self._store.sealed is not None

    async def unlock(self, passphrase: Secret) -> Unlocked:
        """Unlock a store that takes a passphrase, and read what is in it.

        Raises:
            WrongPassphrase: another passphrase unlocks it.
            StoreError: it is still locked.

        """
        sealed = self._store.sealed
        if sealed is None:
            raise StoreError("the store has no passphrase")
        unlocked = await sealed.unlock_by(passphrase)
        self._recover()
        self._wake.set()
        return unlocked

    async def change_passphrase(self, passphrase: Secret, new: Secret) -> Unlocked:
        """Change the passphrase of a store that takes one.

        Raises:
            WrongPassphrase: `passphrase` does not unlock the store.
            StoreError: it has the old passphrase still.

        """
        sealed = self._store.sealed
        if sealed is None:
            raise StoreError("the store has no passphrase")
        return await sealed.change_passphrase(passphrase, new)

    async def adopt(self) -> list[str]:
        """Use entries that were not used because they are old copies or another machine's; return their accounts.

        Raises:
            StoreError: some may not be used.

        """
        sealed = self._store.sealed
        copies = set[str]() if sealed is None else set(await sealed.adopt())
        for session in tuple(self._unread):  # only their entries say whose they are
            await self._read(session, READ_PATIENCE)
        sessions = [session for session in self._table.sessions.values() if self._is_adoptable(session, copies)]
        for session in sessions:
            session.put_away(UNREAD)
            self._pending_write(session).adopts = True
            self._table.publish(session.account.name)
        self.read_all()
        for session in sessions:
            await self._read(session, READ_PATIENCE)
            if session in self._dirty:
                await self._settle(session, self._dirty[session], SAVE_PATIENCE)
        unusable = {session.account.name for session in sessions if is_unreadable(session.state)}
        return sorted(copies.union(session.account.name for session in sessions) - unusable)

    def _is_adoptable(self, session: Session, copies: set[str]) -> bool:
        is_copy = session.account.name in copies or self._journal.note(session.account.name).moved_from in copies
        return is_elsewhere(session.state) or (is_copy and is_unreadable(session.state))

    # ---- a locked agent

    @property
    def keeps(self) -> bool:
        """Whether the store has what this agent lacks: it is persistent, and there is one."""
        return self._store.persistent and not isinstance(self._health.problem, StoreMissing)

    @property
    def is_idle(self) -> bool:
        """Whether the store has everything that it can have."""
        return not self.keeps or not self._dirty

    async def wait_until_saved(self) -> None:
        """Wait until the store has everything that it can have."""
        while not self.is_idle:
            settled = next(iter(self._dirty.values()))
            with anyio.move_on_after(_LOOK_AGAIN):  # the store may turn out to be missing
                await settled.wait()

    async def find_all(self) -> bool:
        """Look whether the store has every session; write again what it lacks, and return False then.

        Raises:
            StoreError: the store could not be read.

        """
        lacking = [session for _, session in self._table.all() if not await self._is_found(session)]
        for session in lacking:
            _log.warning("store account=%s problem='its entry is gone, or another one'", session.account.name)
            pending_write = self._pending_write(session)
            sent, pending_write.write_key = pending_write.sent if session in self._dirty else (), None
            self._want(session, self._newest(session)).sent = sent  # it answers nothing that was sent
        return not lacking

    async def _is_found(self, session: Session) -> bool:
        return not _is_kept(session) or _is_same(await self.reload(session), session)

    def entries(self, max_length: int, journal: Journal, machine: str) -> dict[str, tuple[Session, Secret | None]]:
        """Return all sessions and their entries for another store, by account; None for those that are logged out.

        Without those of removed accounts that are not known.

        Args:
            max_length: how long an entry may be, in characters.
            journal: what is noted beside that store.
            machine: the digest with which its entries are marked.

        """
        return {
            name: (session, self._entry(name, session, max_length, journal, machine))
            for name, session in self._table.all()
            if _is_known(session) or not session.removed
        }

    def _entry(self, name: str, session: Session, max_length: int, journal: Journal, machine: str) -> Secret | None:
        if isinstance(session.state, Locked | LoggedOut):
            return None
        stored = replace(session.snapshot(), after=journal.note(name).tombstone, machine=machine)
        return dump(name, stored, self._boot_id, max_length)

    async def put_away(self, lock: Locked) -> None:
        """Forget all sessions, and what unlocked the store; `lock` says why they are locked."""
        keeps, self._unread = self.keeps, {}
        for name, session in self._table.all():
            if not keeps:
                with suppress(StoreError):
                    await self._store.delete(name)
            session.put_away(lock.reason, lock.remedy)
        for pending_write in self._pending_writes.values():
            pending_write.wanted, pending_write.adopts = None, False
        for session in tuple(self._dirty):
            self._clean(session)
        sealed = self._store.sealed
        if sealed is not None:
            sealed.lock()
        for name in self._table.sessions:
            self._table.publish(name)
        with suppress(StoreError):
            await self._store.release()

    def bring_back(self, entries: Mapping[str, tuple[Session, Secret]]) -> None:
        """Restore sessions from the results of `entries`, and read all others from the store."""
        for name, (session, entry) in entries.items():
            if session.is_locked:  # else it was not put away yet
                now = self._clock.now()
                session.restore(load(entry, name, self._boot_id, now), now)
                self.save_soon(session)
                self._table.publish(session.account.name)
                self.on_restored(session)
        self.read_all()

    # ---- a move to another store

    def unusable(self) -> list[str]:
        """Return the accounts of the configuration whose sessions are not known: they were not read, or can't be."""
        return [name for name, session in self._table.sessions.items() if not _is_known(session)]

    async def look_at_notes(self) -> None:
        """Write again the notes beside the store that are not on the disk."""
        await self._journal.look()

    def use(self, store: Store, journal: Journal, machine: str) -> None:
        """Use another store from now on, which has every session as it is.

        Args:
            store: the store.
            journal: what is noted beside it.
            machine: the digest with which entries in it are marked.

        """
        self._store, self._journal, self._machine = store, journal, machine
        self._health, self._failed = StoreHealth(), {}
        self._table.unread = UNREAD
        for _, session in self._table.all():
            pending_write = self._pending_write(session)
            pending_write.wanted = None
            self._moved_from.pop(session, None)
            stored = None if isinstance(session.state, LoggedOut) else session.snapshot()
            pending_write.has = None if stored is None else stored.fingerprint
            pending_write.write_key = None if stored is None else _write_key(stored)
            self._clean(session)
            self._mark(session, saved=True)
        self._wake.set()

    async def release(self) -> None:
        """Free what the store takes, such as a process."""
        await self._store.release()

    # ---- saving

    async def save(self, session: Session, stored: StoredSession, patience: float = SAVE_PATIENCE) -> None:
        """Save a session, retrying as needed; wait at most `patience` seconds, and not while the store fails."""
        self._want(session, stored)
        await self._settle(session, self._dirty[session], patience)

    def saved_event(self, session: Session) -> anyio.Event:
        """Return the event that is set when the session's newest state is in the store, or there is no store."""
        settled = self._dirty.get(session)
        if settled is not None and not isinstance(self._health.problem, StoreMissing):
            return settled
        nothing_to_wait_for = anyio.Event()
        nothing_to_wait_for.set()
        return nothing_to_wait_for

    def save_soon(self, session: Session) -> None:
        """Save the session's present state, without waiting."""
        self._want(session, session.snapshot())
        self._mark(session, saved=False)

    async def mark_deleted(self, session: Session) -> None:
        """Delete the session's entry, retrying until that succeeds; on return it is marked as dead in the journal."""
        # Before the tombstone: a pending save must not be written as if it came after this logout.
        pending_write = self._want(session, None)
        settled, name = self._dirty[session], session.account.name
        pending_write.held = pending_write.held or self._journal.is_held(name)
        moved_from = self._journal.note(name).moved_from
        self._moved_from.pop(session, None)
        if moved_from is not None:
            self._moved_from[session] = moved_from
        if moved_from is not None and moved_from not in self._table.sessions:
            await self._journal.mark_deleted(moved_from, secrets.token_hex(8))
        await self._journal.mark_deleted(name, secrets.token_hex(8), lost=pending_write.lost)
        await self._settle(session, settled, SAVE_PATIENCE)

    async def announce_move(self, session: Session, new: str) -> bool:
        """Note that a session's account may be renamed; return False if that can't be noted now.

        That is so while an earlier move of it, or from that name, isn't over, or an earlier session of that name is
        still to be deleted.
        """
        old = session.account.name
        is_written = any(other.account.name == new for other in self._dirty)
        if is_written or self._is_moving(new) or self._journal.note(old).moved_from is not None:
            return False
        return await self._journal.announce_move(new, old, secrets.token_hex(8))

    def move(self, session: Session, old: str) -> None:
        """Keep a session under its account's new name; then delete its entry under the old one."""
        if not session.is_locked:  # otherwise `_fetch` reads the old entry
            self._journal.adopt(session.account.name)
            self._begin_move(session, old)

    def _begin_move(self, session: Session, old: str) -> None:
        if is_unreadable(session.state):
            return  # the entry may be a newer version's: it stays where it is
        pending_write = self._pending_write(session)
        self._moved_from[session], pending_write.write_key = old, None
        self._want(session, self._newest(session))
        if session.is_refreshing:
            pending_write.sent = ()  # its response will be saved, too

    def _newest(self, session: Session) -> StoredSession | None:
        """Return what the store is to have: a result that is being saved may be newer than the session's state."""
        if session in self._dirty:
            return self._pending_write(session).wanted
        return None if isinstance(session.state, LoggedOut) else session.snapshot()

    def _is_moving(self, name: str) -> bool:
        """Return whether the entry under that name still belongs to an account that was renamed."""
        return name in self._moved_from.values()

    async def record_sent(self, session: Session, refresh_token: Secret) -> None:
        """Note that a refresh token is about to be sent, in case the agent dies before its successor is saved."""
        has = self._pending_write(session).has
        await self._journal.record_sent(session.account.name, refresh_token.fingerprint(), session.used_at, has)

    async def _settle(self, session: Session, settled: anyio.Event, patience: float) -> None:
        if self._health.is_worth_a_wait(anyio.current_time()):
            with anyio.move_on_after(patience):
                await settled.wait()
        if not settled.is_set():
            self._mark(session, saved=False)

    def _want(self, session: Session, stored: StoredSession | None) -> _PendingWrite:
        pending_write = self._pending_write(session)
        self._unread.pop(session, None)
        self._doubts.forget(session)
        pending_write.wanted, pending_write.adopts = stored, False
        if session not in self._dirty:
            self._dirty[session] = anyio.Event()
        pending_write.sent = tuple(self._journal.note(session.account.name).sent)
        pending_write.version += 1
        self._hasten()
        if type(self._health.problem) is StoreError and (session, True) not in self._failed:
            self._health.retry(anyio.current_time())  # the failure may have been another entry's
        return pending_write

    def _pending_write(self, session: Session) -> _PendingWrite:
        pending_write = self._pending_writes.get(session)
        if pending_write is None:
            pending_write = self._pending_writes[session] = _PendingWrite()
        return pending_write

    def _mark(self, session: Session, *, saved: bool) -> None:
        if session.set_saved(saved=saved):
            self._table.publish(session.account.name)

    # ---- the one task

    async def run(self) -> None:
        """Read and write entries until cancelled."""
        async with anyio.create_task_group() as self._tasks:
            while True:
                self._wake = anyio.Event()
                await self._sort()
                pause = self._health.pause(anyio.current_time())
                work = self._next() if pause == 0 else None
                if work is not None:
                    await self._do(work)
                elif pause > 0:
                    with anyio.move_on_after(pause):
                        await self._wake.wait()
                else:
                    await self._release()

    async def drain(self, patience: float) -> None:
        """Wait until everything is saved, at most `patience` seconds; at most a second if that needs a person."""
        with anyio.move_on_after(min(patience, SAVE_PATIENCE) if self._health.needs_a_person else patience):
            while self._dirty:
                settled = next(iter(self._dirty.values()))
                self._hasten()
                with anyio.move_on_after(HASTE):  # then try again: the agent is ending
                    await settled.wait()
        if self._dirty:
            _log.warning("unsaved accounts=%s", ",".join(session.account.name for session in self._dirty))

    async def _sort(self) -> None:
        """Sort the queue: first interrupted refreshes, which must be repeated soon, then the most recently used."""
        if self._unsorted:
            self._unsorted = False
            await self._journal.read(session.account.name for session in self._unread)
            for session in self._unread:
                session.used_at = session.used_at or self._journal.note(session.account.name).used_at
            self._unread = dict.fromkeys(sorted(self._unread, key=self._urgency))

    def _urgency(self, session: Session) -> tuple[bool, float]:
        return not self._journal.note(session.account.name).sent, -session.used_at

    def _next(self) -> _Work | None:
        """Return what to do next: saves and reads alternate; reads that somebody waits for come first."""
        # Alternate: endless saves must not delay clients, nor an interrupted refresh beyond the provider's overlap.
        works = chain(self._reads(), self._writes()) if self._wrote else chain(self._writes(), self._reads())
        # Failed work is retried after all other work: one bad entry must not block the others.
        new = next((work for work in works if work not in self._failed), None)
        return new or min(chain(self._writes(), self._reads()), key=self._failed.__getitem__, default=None)

    def _writes(self) -> Iterator[_Work]:
        return ((session, True) for session in self._dirty)

    def _reads(self) -> Iterator[_Work]:
        now = anyio.current_time()
        unread = () if self.is_paused else (one for one in self._unread if self._doubts.is_due(one, now))
        return ((session, False) for session in chain(self._awaited, unread))

    async def _do(self, work: _Work) -> None:
        session, self._wrote = work
        store = self._store
        try:
            await (self._write(session, self._pending_write(session)) if self._wrote else self._fetch(session))
        except StoreError as error:
            if self._store is store:  # else sessions have moved meanwhile
                self._failed[work] = anyio.current_time()
                self._fail(error)
        except Exception as error:  # noqa: BLE001 -- a defect with one entry must not stop the saving of all others
            _log.error("defect in=saver error=%s", place(error))
            self._failed[work] = anyio.current_time()
            self._fail(StoreError("a defect of the agent; its log says more"))
        else:
            self._failed.pop(work, None)
            self._recover()

    async def _release(self) -> None:
        unread = () if self.is_paused else self._unread
        pause = self._doubts.pause(unread, anyio.current_time())
        with anyio.move_on_after(min(_RELEASE_AFTER, pause)):
            await self._wake.wait()
            return
        if pause <= _RELEASE_AFTER:
            return
        try:
            await self._store.release()
        except Exception as error:  # noqa: BLE001 -- as in `_do`
            _log.error("defect in=release error=%s", place(error))
        with anyio.move_on_after(pause - _RELEASE_AFTER):
            await self._wake.wait()

    # ---- writing

    async def _write(self, session: Session, pending_write: _PendingWrite) -> None:
        # Move it to the back: if it fails, it does not block the others.
        self._dirty[session] = self._dirty.pop(session)
        version, sent, name = pending_write.version, pending_write.sent, session.account.name
        store, wanted, before = self._store, pending_write.wanted, self._journal.note(name).tombstone
        tombstone = await self._tombstone(name, pending_write, before)
        lost = pending_write.lost
        try:
            if wanted is None:
                found = await store.delete(name)
                lost = lost or (pending_write.held and not found)
                fingerprint, write_key = None, None
            else:
                stored = replace(wanted, after=tombstone, machine=self._machine)
                fingerprint = stored.fingerprint
                write_key = _write_key(stored)
                if not store.expensive_writes or pending_write.write_key != write_key:
                    await store.write(name, dump(name, stored, self._boot_id, store.max_length))
        except StoreError as error:
            if isinstance(error, StoreMissing) and wanted is None:  # there is nothing to delete
                self._settled(session, pending_write, version)
            elif self._store is store:  # else another store has it, to which the sessions have moved
                self._mark(session, saved=False)
            raise
        pending_write.has, pending_write.write_key = fingerprint, write_key
        if lost:
            await self._journal.lose(name, before, tombstone)
        held = None if self._journal.note(name).tombstone not in (before, tombstone) else wanted is not None
        await self._journal.saved(name, fingerprint, tombstone, sent, held=held)
        pending_write.lost = pending_write.held = False
        if session.account.name != name:
            return  # the account was renamed meanwhile, and its entry is written again
        # A login that replaced a session whose entry was gone ends its move, too.
        moved_from = self._moved_from.get(session) or self._journal.note(name).moved_from
        if moved_from is not None:
            await self._end_move(session, name, moved_from)
        self._settled(session, pending_write, version)

    async def _tombstone(self, name: str, pending_write: _PendingWrite, before: str | None) -> str | None:
        """Return what the next entry is to name as its `after`: what was not found must not come back as the session.

        `before`: the tombstone now.
        """
        if not pending_write.lost or pending_write.wanted is None:
            return before
        new = secrets.token_hex(8)
        if before is None:
            return new
        # An entry that names another tombstone than the note on disk would be dead, should the agent be killed.
        if not await self._journal.lose(name, before, new):
            return before
        pending_write.lost = False
        return new

    async def _end_move(self, session: Session, name: str, old: str) -> None:
        """Delete the entry under the account's old name, unless an account has that name again."""
        if old not in self._table.sessions:
            await self._journal.mark_deleted(old, secrets.token_hex(8))
            await self._store.delete(old)
        await self._journal.end_move(name)
        self._moved_from.pop(session, None)

    def _settled(self, session: Session, pending_write: _PendingWrite, version: int) -> None:
        """Mark the write as done, unless the wanted state has changed since."""
        if pending_write.version == version:
            self._clean(session)
            self._mark(session, saved=True)

    def _clean(self, session: Session) -> None:
        """Write nothing of the session: the store has what it should have."""
        settled = self._dirty.pop(session, None)
        if settled is not None:
            settled.set()

    # ---- reading

    async def _fetch(self, session: Session) -> None:
        name, pending_write = session.account.name, self._pending_write(session)
        machine = "" if (adopts := pending_write.adopts) else self._machine
        # Move it to the back, as above.
        if session in self._unread:
            self._unread[session] = self._unread.pop(session)
        stored = await self._stored(session, name, machine)
        moved_from = self._journal.note(name).moved_from if session in self._unread else None
        if moved_from is not None and moved_from in self._table.sessions:  # it was not renamed after all
            await self._journal.end_move(name)
            moved_from = None
        elif moved_from is not None and stored is None:
            stored = await self._stored(session, moved_from, machine)
        if session.account.name != name or pending_write.adopts != adopts:
            return  # it was renamed or adopted meanwhile, and is read again
        if session in self._unread and not self._is_doubtful(session, name, stored):
            stored = await self._take(session, stored, moved_from)
        for reading in self._take_readings(session):
            reading.resolve(stored)

    def _take_readings(self, session: Session) -> list[Promise[StoredSession | None]]:
        """Return those who wait for a session's entry, who wait no more."""
        self._awaited.pop(session, None)
        pending_write = self._pending_write(session)
        readings, pending_write.readings = pending_write.readings, []
        return readings

    async def _take(
        self, session: Session, stored: StoredSession | None, moved_from: str | None
    ) -> StoredSession | None:
        """Restore a session from what was read, and return that; `moved_from`: the account's name before, if any."""
        name = session.account.name
        del self._unread[session]
        if self._is_moving(name):  # the entry is that of another account, which had this name before
            await self._journal.mark_deleted(name, secrets.token_hex(8))
            stored = None
        if moved_from is not None:
            self._journal.adopt(name)
        self._restore(session, stored)
        self._end_adoption(session, self._pending_write(session))
        if moved_from is not None:
            self._begin_move(session, moved_from)
        elif session.credentials is not None and not is_unreadable(session.state):
            await self._journal.hold(name)
        return stored

    def _is_doubtful(self, session: Session, name: str, stored: StoredSession | None) -> bool:
        """Return whether what was read is no verdict about the session, which is read again then."""
        is_held = self._store.persistent and self._journal.is_held(name) and not self._is_moving(name)
        lock = doubt(stored, name, self._doubts.readings(session), is_held=is_held)
        self._pending_write(session).lost = lock is not None and lock.is_replaceable
        if lock is None:
            self._doubts.forget(session)
            return False
        for fingerprint in self._journal.note(name).replaced:  # a login may come first, by an import
            self.fingerprints.record_replaced(name, fingerprint)
        self._doubts.add(session, anyio.current_time())
        if session.doubt(lock):
            _log.warning("store account=%s problem=%r", name, lock.reason)
            self._table.publish(name)
        return True

    async def _stored(self, session: Session, name: str, machine: str) -> StoredSession | None:
        """Return the session in the entry under that name; None if there is none, or a dead one.

        `machine`: the digest of the machine that must have written it; "" if any may.

        Raises:
            StoreError: the store could not be read.

        """
        try:
            copies = [self._loaded(entry, session, name, machine) for entry in await self._store.read(name)]
        except UnusableEntry as error:
            _log.error("store account=%s error=%r", name, str(error))
            copies = [unreadable(session.account, str(error), error.remedy)]
        if len(copies) > 1:
            _log.warning("store account=%s entries=%d problem='the store should have one'", name, len(copies))
        return current(copies, self._journal.note(name), self.fingerprints)

    def _loaded(self, entry: Secret, session: Session, name: str, machine: str) -> StoredSession:
        try:
            stored = by_machine(load(entry, name, self._boot_id, self._clock.now()), machine, session.account)
        except EntryError as error:
            _log.error("store account=%s error=%r", name, str(error))
            return unreadable(session.account, str(error))
        if is_elsewhere(stored.state):
            _log.warning("store account=%s problem=%r", name, ELSEWHERE)
        return stored

    def _end_adoption(self, session: Session, pending_write: _PendingWrite) -> None:
        """Save a session that was read to be adopted as this machine's."""
        adopts, pending_write.adopts = pending_write.adopts, False
        if adopts and not isinstance(session.state, LoggedOut) and not is_unreadable(session.state):
            pending_write.write_key = None
            self._want(session, session.snapshot()).sent = ()  # what was sent on this machine stays noted

    def _restore(self, session: Session, stored: StoredSession | None) -> None:
        name, pending_write = session.account.name, self._pending_write(session)
        recovery = recover(stored, self._journal.note(name), self.fingerprints, self._clock.now())
        for fingerprint in recovery.replaced:
            self.fingerprints.record_replaced(name, fingerprint)
        pending_write.has, pending_write.write_key = (
            (None, None) if stored is None else (stored.fingerprint, _write_key(stored))
        )
        session.restore(recovery.stored, self._clock.now())
        if recovery.is_deleted:
            self._want(session, None)
        _log.info("restored account=%s state=%s", name, state_name(session, self._clock.now()))
        self._table.publish(name)
        self.on_restored(session)

    # ---- failures

    def _fail(self, error: StoreError) -> None:
        now = anyio.current_time()
        if self._health.fail(error, now):
            _log.warning("store name=%s state=%s problem=%r", self._store.name, error.state, str(error))
        for session in tuple(self._awaited):
            for reading in self._take_readings(session):
                reading.fail(error)
        if isinstance(error, StoreMissing):
            self._do_without()
        self._lock_all(error)
        if self._tasks is not None and self._health.may_ask(now):
            self._tasks.start_soon(self._ask)

    def _do_without(self) -> None:
        """Start with empty sessions, kept in memory: there is no store, and never was."""
        unread, self._unread = self._unread, {}
        for session in unread:
            self._restore(session, None)

    def _lock_all(self, error: StoreError) -> None:
        """Show in unread sessions why they can't be read."""
        for session in self._unread:
            if session.lock(error.reason, error.remedy):
                self._table.publish(session.account.name)

    async def _ask(self) -> None:
        with anyio.CancelScope() as self._asking:
            try:
                await self._store.unlock()
            except StoreError as error:
                _log.info("store name=%s asked=refused problem=%r", self._store.name, str(error))
            except Exception as error:  # noqa: BLE001 -- as in `_do`
                _log.error("defect in=ask error=%s", place(error))
            else:
                self._health.retry(anyio.current_time())
                self._wake.set()

    def _recover(self) -> None:
        if not self._health.recover():
            return
        _log.info("store name=%s state=ready", self._store.name)
        self._asking.cancel()
        self._doubts.clear()
        for session in self._unread:
            if session.lock(UNREAD):
                self._table.publish(session.account.name)

    def _hasten(self) -> None:
        """Shorten the pause before the next attempt, because somebody waits."""
        self._health.hasten()
        self._wake.set()


def _is_known(session: Session) -> bool:
    return not session.is_locked and not is_unreadable(session.state)


def _is_kept(session: Session) -> bool:
    """Return whether a session has what the store may lack; else the entry that is there may be the better one."""
    state = session.state
    has_ended = isinstance(state, LoginRequired) and (is_unreadable(state) or not state.credentials.refreshable)
    return session.credentials is not None and not has_ended


def _is_same(stored: StoredSession | None, session: Session) -> bool:
    return stored is not None and stored.fingerprint == session.snapshot().fingerprint


def _write_key(stored: StoredSession) -> object:
    """Return what must change for a write, in a store whose writes are expensive."""
    reason = stored.state.reason if isinstance(stored.state, LoginRequired) else None
    return stored.fingerprint, reason, stored.epoch, stored.after, _what_was_learned(stored.state)


def _what_was_learned(state: State) -> object:
    """Return what refreshes without a new refresh token have shown, and the next agent would not know."""
    if not isinstance(state, Active | LoginRequired):
        return None
    credentials = state.credentials
    met, subject = dict(credentials.met_claims), credentials.subject
    return credentials.ceiling, credentials.ends_access_token, credentials.lost_scope, met, subject
