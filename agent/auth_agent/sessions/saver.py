"""Keeps sessions in the store: reads them at the start, saves them, buries them, and goes on until it is done.

One task does all that concerns the store, one call after the other: what has to be saved, and in turns with that it
reads, first what a client waits for. Nobody else ever waits for the store longer than he said.

This is the queue. What an entry and its note mean after a crash is in recovery.py; when a failing store is tried again,
and when a person is asked to unlock it, in storage/health.py.
"""

import logging
import secrets
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import Final

import anyio
from anyio.abc import TaskGroup

from auth_agent.defect import place
from auth_agent.host.clock import Clock
from auth_agent.promise import Promise
from auth_agent.secret import Secret
from auth_agent.sessions.entry import EntryError, StoredSession, dump, load
from auth_agent.sessions.fingerprints import Fingerprints
from auth_agent.sessions.record import state_name
from auth_agent.sessions.recovery import alive, recover, unreadable
from auth_agent.sessions.session import Session
from auth_agent.sessions.state import LoginRequired
from auth_agent.sessions.table import Table
from auth_agent.storage.health import HASTE, StoreHealth
from auth_agent.storage.journal import Journal
from auth_agent.storage.store import Store, StoreError, StoreMissing
from auth_agent_client.remedy import remedies_to_wire

_log = logging.getLogger(__name__)

# Seconds that a client waits for its session to be read, and for a refreshed one to be saved.
READ_PATIENCE: Final = 5.0
SAVE_PATIENCE: Final = 1.0
# After so long without work the store may let go of what it holds.
_RELEASE_AFTER: Final = 30.0

UNREAD: Final = "the agent has just started, and not read it from the store yet"


# A session whose entry is to be written (True), or read.
_Work = tuple[Session, bool]


@dataclass(slots=True)
class _PendingWrite:
    """What is to be done about one account's entry, and who waits for it.

    `wanted`: what the store should have, while it may have something else; None: nothing. `version` tells a change of
    it that came while it was being written. `sent`: the refresh tokens that were out by then; those that go out while
    it is being written are not answered by it.
    """

    wanted: StoredSession | None = None
    dirty: bool = False
    version: int = 0
    sent: tuple[str, ...] = ()
    settled: anyio.Event = field(default_factory=anyio.Event)
    # The fingerprint of the refresh token that the store was last known to have.
    has: str | None = None
    # Who waits to know what the store has.
    readings: list[Promise[StoredSession | None]] = field(default_factory=list[Promise[StoredSession | None]])
    # What the store was last known to have, as far as it matters where writes are expensive.
    write_key: object = None


class Saver:
    """Keeps a table's sessions in a store."""

    def __init__(
        self,
        table: Table,
        store: Store,
        journal: Journal,
        on_restored: Callable[[Session], None] = lambda _: None,
    ) -> None:
        """Keep them there.

        Args:
            table: the sessions; those that are locked are read.
            store: where they are kept.
            journal: what is noted beside it.
            on_restored: called when a session was read, and may be due to be refreshed.

        """
        self.fingerprints = Fingerprints()
        self.on_restored = on_restored
        self._table = table
        self._store = store
        self._journal = journal
        self._clock: Clock = table.clock
        self._boot_id = self._clock.boot_id()
        self._pending_writes: dict[Session, _PendingWrite] = {}
        # Locked sessions, in the order in which they are to be read; a dict, for its order.
        self._unread: dict[Session, None] = {}
        self._wake = anyio.Event()
        self._health = StoreHealth()
        # When what has failed, and not succeeded since, was tried last; and whether the last of all was a write.
        self._failed: dict[_Work, float] = {}
        self._wrote = False
        self._unsorted = False
        self._tasks: TaskGroup | None = None
        self._asking = anyio.CancelScope()

    def about(self) -> dict[str, object]:
        """The store, and what it lacks, for `status`."""
        problem = self._health.problem
        return {
            "name": self._store.name,
            "persistent": self._store.persistent,
            "backend": self._store.backend,
            "state": "ready" if problem is None else problem.state,
            "problem": None if problem is None else problem.reason,
            "remedy": remedies_to_wire(() if problem is None else problem.remedy),
            "unread": len(self._unread),
            "unsaved": sum(desk.dirty for desk in self._pending_writes.values()),
        }

    # ---- reading

    def read_all(self) -> None:
        """Put the locked sessions on the list: they are read as soon as it goes, the most urgent first."""
        self._unread.update(dict.fromkeys(self._table.locked()))
        self._unsorted = True
        problem = self._health.problem
        if isinstance(problem, StoreMissing):
            self._do_without()
        elif problem is not None:
            self._lock_all(problem)
        self._wake.set()

    async def wait_until_loaded(self, session: Session, patience: float = READ_PATIENCE) -> None:
        """Wait until a locked session has been read, for so many seconds at most; it is read next.

        While the store is known to fail, nobody waits for it.
        """
        if session in self._unread:
            self._health.want()
            self._hasten()
            if self._health.problem is None:
                with suppress(StoreError):  # the session says it
                    await self._read(session, patience)

    async def reload(self, session: Session) -> StoredSession | None:
        """What the store has of a session now.

        Raises:
            StoreError: it can't be told.

        """
        try:
            return await self._read(session, READ_PATIENCE + SAVE_PATIENCE)
        except StoreMissing:
            return None

    async def _read(self, session: Session, patience: float) -> StoredSession | None:
        reading = Promise[StoredSession | None]()
        readings = self._pending_write(session).readings
        readings.append(reading)
        self._hasten()
        try:
            with anyio.move_on_after(patience):
                return await reading.wait()
        finally:
            if reading in readings:
                readings.remove(reading)
        raise StoreError("the store takes too long")

    async def check(self) -> None:
        """Whether the next agent could read the sessions that this one has.

        Raises:
            StoreError: it couldn't; the text says why.

        """
        session = next((one for one in self._table.sessions.values() if one.credentials is not None), None)
        if session is not None:
            await self.reload(session)

    # ---- saving

    async def save(self, session: Session, stored: StoredSession, patience: float = SAVE_PATIENCE) -> None:
        """Have that in the store, however long it takes; wait for it so many seconds at most.

        While the store is known to fail, nobody waits for it.
        """
        await self._settle(session, self._want(session, stored).settled, patience)

    def saved_event(self, session: Session) -> anyio.Event:
        """Set when the store has what it should have of a session, and nothing from before; or where there is none."""
        if not isinstance(self._health.problem, StoreMissing):
            return self._pending_write(session).settled
        nothing_to_wait_for = anyio.Event()
        nothing_to_wait_for.set()
        return nothing_to_wait_for

    def save_soon(self, session: Session) -> None:
        """Have the session as it is now in the store, as soon as it goes."""
        self._want(session, session.snapshot())

    async def mark_deleted(self, session: Session) -> None:
        """Have nothing in the store, for as long as it takes; what it has is dead when this comes back."""
        self._unread.pop(session, None)
        # First: what was still to be saved must not be, as if it had come after this logout.
        settled = self._want(session, None).settled
        await self._journal.mark_deleted(session.account.name, secrets.token_hex(8))
        await self._settle(session, settled, SAVE_PATIENCE)

    async def record_sent(self, session: Session, refresh_token: Secret) -> None:
        """A refresh token is about to be presented: noted, lest the agent die before its successor is saved."""
        has = self._pending_write(session).has
        await self._journal.record_sent(session.account.name, refresh_token.fingerprint(), session.used_at, has)

    async def _settle(self, session: Session, settled: anyio.Event, patience: float) -> None:
        if self._health.is_worth_a_wait(anyio.current_time()):
            with anyio.move_on_after(patience):
                await settled.wait()
        if not settled.is_set():
            self._mark(session, saved=False)

    def _want(self, session: Session, stored: StoredSession | None) -> _PendingWrite:
        desk = self._pending_write(session)
        desk.wanted, desk.dirty = stored, True
        desk.sent = tuple(self._journal.note(session.account.name).sent)
        desk.version += 1
        desk.settled = anyio.Event() if desk.settled.is_set() else desk.settled
        self._hasten()
        if type(self._health.problem) is StoreError and (session, True) not in self._failed:
            self._health.retry(anyio.current_time())  # it was another entry's failure, perhaps
        return desk

    def _pending_write(self, session: Session) -> _PendingWrite:
        return self._pending_writes.setdefault(session, _PendingWrite())

    def _mark(self, session: Session, *, saved: bool) -> None:
        if session.set_saved(saved=saved):
            self._table.publish(session.account.name)

    # ---- the one task

    async def run(self) -> None:
        """Do what is to be done, until cancelled."""
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
        """Wait until all is saved that has to be, for so many seconds at most.

        Where a person would have to help, only for a moment.
        """
        with anyio.move_on_after(min(patience, SAVE_PATIENCE) if self._health.needs_a_person else patience):
            while dirty := next((desk for desk in self._pending_writes.values() if desk.dirty), None):
                self._hasten()
                with anyio.move_on_after(HASTE):  # then once more: there is no later
                    await dirty.settled.wait()
        lost = [session.account.name for session, desk in self._pending_writes.items() if desk.dirty]
        if lost:
            _log.warning("unsaved accounts=%s", ",".join(lost))

    async def _sort(self) -> None:
        """Put those first whose refresh was interrupted, which has to be repeated soon, and then what was used last."""
        if self._unsorted:
            self._unsorted = False
            await self._journal.read(session.account.name for session in self._unread)
            for session in self._unread:
                session.used_at = session.used_at or self._journal.note(session.account.name).used_at
            self._unread = dict.fromkeys(sorted(self._unread, key=self._urgency))

    def _urgency(self, session: Session) -> tuple[bool, float]:
        return not self._journal.note(session.account.name).sent, -session.used_at

    def _next(self) -> _Work | None:
        """What to do next: save, and in turns with that read, first what somebody waits for."""
        dirty = [(session, True) for session, desk in self._pending_writes.items() if desk.dirty]
        awaited = [(session, False) for session, desk in self._pending_writes.items() if desk.readings]
        reads = [*awaited, *((session, False) for session in self._unread)]
        # In turns: saves without end must keep nobody waiting, nor a refresh that was interrupted past its overlap.
        works = [*reads[:1], *dirty, *reads] if self._wrote else [*dirty, *reads]
        # What has failed is tried again when all else was: one entry that can't be had keeps no other from its turn.
        return min(works, key=lambda work: self._failed.get(work, 0), default=None)

    async def _do(self, work: _Work) -> None:
        session, self._wrote = work
        try:
            await (self._write(session, self._pending_write(session)) if self._wrote else self._fetch(session))
        except StoreError as error:
            self._failed[work] = anyio.current_time()
            self._fail(error)
        except Exception as error:  # noqa: BLE001 -- an entry that nobody foresaw must not end the keeping of all others
            _log.error("defect in=saver error=%s", place(error))
            self._failed[work] = anyio.current_time()
            self._fail(StoreError("a defect of the agent; its log says more"))
        else:
            self._failed.pop(work, None)
            self._recover()

    async def _release(self) -> None:
        with anyio.move_on_after(_RELEASE_AFTER):
            await self._wake.wait()
            return
        try:
            await self._store.release()
        except Exception as error:  # noqa: BLE001 -- as in `_do`
            _log.error("defect in=release error=%s", place(error))
        await self._wake.wait()

    # ---- writing

    async def _write(self, session: Session, desk: _PendingWrite) -> None:
        # To the back: should it fail, it isn't in the way of the others.
        self._pending_writes[session] = self._pending_writes.pop(session)
        version, sent, name = desk.version, desk.sent, session.account.name
        tombstone = self._journal.note(name).tombstone
        try:
            if desk.wanted is None:
                await self._store.delete(name)
                fingerprint, desk.write_key = None, None
            else:
                kept = replace(desk.wanted, after=tombstone)
                fingerprint = kept.fingerprint
                if not self._store.expensive_writes or desk.write_key != _write_key(kept):
                    await self._store.write(name, dump(name, kept, self._boot_id, self._store.max_length))
                desk.write_key = _write_key(kept)
        except StoreError as error:
            if (
                isinstance(error, StoreMissing) and desk.wanted is None
            ):  # what never held anything has nothing to delete
                self._settled(session, desk, version)
            else:
                self._mark(session, saved=False)
            raise
        desk.has = fingerprint
        await self._journal.saved(name, fingerprint, tombstone, sent)
        self._settled(session, desk, version)

    def _settled(self, session: Session, desk: _PendingWrite, version: int) -> None:
        """The store has what it should have, unless that has changed meanwhile."""
        if desk.version == version:
            desk.dirty = False
            desk.settled.set()
            self._mark(session, saved=True)

    # ---- reading

    async def _fetch(self, session: Session) -> None:
        name = session.account.name
        # To the back, as above.
        if session in self._unread:
            self._unread[session] = self._unread.pop(session)
        kept = self._interpret(session, await self._store.read(name))
        if session in self._unread:
            del self._unread[session]
            self._restore(session, kept)
        desk = self._pending_write(session)
        readings, desk.readings = desk.readings, []
        for reading in readings:
            reading.resolve(kept)

    def _interpret(self, session: Session, text: Secret | None) -> StoredSession | None:
        """What an entry says; None where there is none, or a dead one."""
        if text is None:
            return None
        name = session.account.name
        try:
            kept = load(text, name, self._boot_id, self._clock.now())
        except EntryError as error:
            _log.error("store account=%s error=%r", name, str(error))
            kept = unreadable(session.account, str(error))
        return alive(kept, self._journal.note(name))

    def _restore(self, session: Session, stored: StoredSession | None) -> None:
        name, desk = session.account.name, self._pending_write(session)
        recovery = recover(stored, self._journal.note(name), self.fingerprints, self._clock.now())
        for fingerprint in recovery.replaced:
            self.fingerprints.record_replaced(fingerprint)
        desk.has, desk.write_key = (None, None) if stored is None else (stored.fingerprint, _write_key(stored))
        session.restore(recovery.stored)
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
        for desk in self._pending_writes.values():
            readings, desk.readings = desk.readings, []
            for reading in readings:
                reading.fail(error)
        if isinstance(error, StoreMissing):
            self._do_without()
        self._lock_all(error)
        if self._tasks is not None and self._health.may_ask(now):
            self._tasks.start_soon(self._ask)

    def _do_without(self) -> None:
        """There is no such store, and there never was: the sessions begin empty, and live in memory until there is."""
        unread, self._unread = self._unread, {}
        for session in unread:
            self._restore(session, None)

    def _lock_all(self, error: StoreError) -> None:
        """Say why the sessions that are not read yet can't be."""
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
        for session in self._unread:
            if session.lock(UNREAD):
                self._table.publish(session.account.name)

    def _hasten(self) -> None:
        """Somebody waits: bring the next attempt forward."""
        self._health.hasten()
        self._wake.set()


def _write_key(stored: StoredSession) -> object:
    """What is worth a write where writes are expensive."""
    reason = stored.state.reason if isinstance(stored.state, LoginRequired) else None
    return stored.fingerprint, reason, stored.epoch, stored.after
