"""Keeps sessions in the store: reads them at the start, saves them, buries them, and goes on until it is done.

One task does all that concerns the store, one call after the other: what has to be saved, and in turns with that it
reads, first what a client waits for. Nobody else ever waits for the store longer than he said.
"""

import logging
import secrets
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Final

import anyio
from anyio.abc import TaskGroup

from auth_agent.defect import place
from auth_agent.host.clock import Clock
from auth_agent.oauth.outcome import Lost
from auth_agent.secret import Secret
from auth_agent.sessions.entry import EntryError, Kept, dump, load
from auth_agent.sessions.fingerprints import Fingerprints
from auth_agent.sessions.session import Session
from auth_agent.sessions.state import Active, LoggedOut, Login, LoginRequired, Retrying, State
from auth_agent.sessions.table import Table
from auth_agent.storage.journal import Journal, Note
from auth_agent.storage.store import Store, StoreError, StoreHangs, StoreLocked, StoreMissing
from auth_agent_client.remedy import remedies_to_wire

_log = logging.getLogger(__name__)

# Seconds that a client waits for its session to be read, and for a refreshed one to be saved.
READ_PATIENCE: Final = 5.0
SAVE_PATIENCE: Final = 1.0
# Pauses between attempts, in seconds: doubled up to the second of them.
_FAILING_PAUSE: Final = (0.5, 15.0)
_PAUSES: Final = {StoreLocked.state: (0.5, 5.0), StoreMissing.state: (5.0, 300.0)}
# A client that waits brings the next attempt forward to one in so many seconds.
_HASTE: Final = 1.0
# A person who did not answer the keyring's dialog isn't shown another one that soon.
_ASK_AGAIN: Final = 300.0
# After so long without work the store may let go of what it holds.
_REST: Final = 30.0

UNREAD: Final = "the agent has just started, and not read it from the store yet"
OLD_COPY: Final = "what the store has is an old copy, whose refresh token was replaced since"
INTERRUPTED: Final = "the agent was ended in the middle of a refresh"


# A session whose entry is to be written (True), or read.
_Work = tuple[Session, bool]


class _Reading:
    """A read of an entry, for the one who waits for it."""

    def __init__(self) -> None:
        self.done = anyio.Event()
        self.found: Kept | StoreError | None = None

    def end(self, found: Kept | StoreError | None) -> None:
        self.found = found
        self.done.set()


@dataclass(slots=True)
class _Desk:
    """What is to be done about one account's entry, and who waits for it.

    `wanted`: what the store should have, while it may have something else; None: nothing. `version` tells a change of
    it that came while it was being written. `sent`: the refresh tokens that were out by then; those that go out while
    it is being written are not answered by it.
    """

    wanted: Kept | None = None
    dirty: bool = False
    version: int = 0
    sent: tuple[str, ...] = ()
    settled: anyio.Event = field(default_factory=anyio.Event)
    # The fingerprint of the refresh token that the store was last known to have.
    has: str | None = None
    # Who waits to know what the store has.
    readings: list[_Reading] = field(default_factory=list[_Reading])
    # What the store was last known to have, as far as it matters where writes are expensive.
    essence: object = None


class Keeper:
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
        self._desks: dict[Session, _Desk] = {}
        # Locked sessions, in the order in which they are to be read; a dict, for its order.
        self._unread: dict[Session, None] = {}
        self._wake = anyio.Event()
        self._problem: StoreError | None = None
        # When what has failed, and not succeeded since, was tried last; and whether the last of all was a write.
        self._failed: dict[_Work, float] = {}
        self._wrote = False
        self._unsorted = False
        self._pause = 0.0
        self._failed_at = 0.0
        self._retry_at = 0.0
        self._tasks: TaskGroup | None = None
        self._asked_at: float | None = None
        self._asking = anyio.CancelScope()
        self._wanted_by_a_client = False

    def about(self) -> dict[str, object]:
        """The store, and what it lacks, for `status`."""
        problem = self._problem
        return {
            "name": self._store.name,
            "persistent": self._store.persistent,
            "backend": self._store.backend,
            "state": "ready" if problem is None else problem.state,
            "problem": None if problem is None else problem.reason,
            "remedy": remedies_to_wire(() if problem is None else problem.remedy),
            "unread": len(self._unread),
            "unsaved": sum(desk.dirty for desk in self._desks.values()),
        }

    # ---- reading

    def read_all(self) -> None:
        """Put the locked sessions on the list: they are read as soon as it goes, the most urgent first."""
        self._unread.update(dict.fromkeys(self._table.locked()))
        self._unsorted = True
        if isinstance(self._problem, StoreMissing):
            self._do_without()
        elif self._problem is not None:
            self._lock_all(self._problem)
        self._wake.set()

    async def opened(self, session: Session, patience: float = READ_PATIENCE) -> None:
        """Wait until a locked session has been read, for so many seconds at most; it is read next.

        While the store is known to fail, nobody waits for it.
        """
        if session in self._unread:
            self._wanted_by_a_client = True
            self._hasten()
            if self._problem is None:
                await self._read(session, patience)

    async def look(self, session: Session) -> Kept | None:
        """What the store has of a session now.

        Raises:
            StoreError: it can't be told.

        """
        found = await self._read(session, READ_PATIENCE + SAVE_PATIENCE)
        if isinstance(found, StoreMissing):
            return None
        if isinstance(found, StoreError):
            raise found
        return found

    async def _read(self, session: Session, patience: float) -> Kept | StoreError | None:
        reading = _Reading()
        readings = self._desk(session).readings
        readings.append(reading)
        self._hasten()
        try:
            with anyio.move_on_after(patience):
                await reading.done.wait()
                return reading.found
        finally:
            if reading in readings:
                readings.remove(reading)
        return StoreError("the store takes too long")

    async def check(self) -> None:
        """Whether the next agent could read the sessions that this one has.

        Raises:
            StoreError: it couldn't; the text says why.

        """
        session = next((one for one in self._table.sessions.values() if one.login is not None), None)
        if session is not None:
            await self.look(session)

    # ---- saving

    async def save(self, session: Session, kept: Kept, patience: float = SAVE_PATIENCE) -> None:
        """Have that in the store, however long it takes; wait for it so many seconds at most.

        While the store is known to fail, nobody waits for it.
        """
        await self._settle(session, self._want(session, kept).settled, patience)

    def kept(self, session: Session) -> anyio.Event:
        """Set when the store has what it should have of a session, and nothing from before; or where there is none."""
        if not isinstance(self._problem, StoreMissing):
            return self._desk(session).settled
        nothing_to_wait_for = anyio.Event()
        nothing_to_wait_for.set()
        return nothing_to_wait_for

    def save_soon(self, session: Session) -> None:
        """Have the session as it is now in the store, as soon as it goes."""
        self._want(session, session.kept())

    async def bury(self, session: Session) -> None:
        """Have nothing in the store, for as long as it takes; what it has is dead when this comes back."""
        self._unread.pop(session, None)
        # First: what was still to be saved must not be, as if it had come after this logout.
        settled = self._want(session, None).settled
        await self._journal.bury(session.account.name, secrets.token_hex(8))
        await self._settle(session, settled, SAVE_PATIENCE)

    async def intend(self, session: Session, refresh_token: Secret) -> None:
        """A refresh token is about to be presented: noted, lest the agent die before its successor is saved."""
        has = self._desk(session).has
        await self._journal.sent(session.account.name, refresh_token.fingerprint(), session.used_at, has)

    async def _settle(self, session: Session, settled: anyio.Event, patience: float) -> None:
        if self._is_worth_a_wait():
            with anyio.move_on_after(patience):
                await settled.wait()
        if not settled.is_set():
            self._mark(session, saved=False)

    def _is_worth_a_wait(self) -> bool:
        """Whether the store may take what is to be saved: it did before, or it is asked anew, and answers soon."""
        return self._problem is None or (
            not isinstance(self._problem, StoreHangs) and self._retry_at <= anyio.current_time()
        )

    def _want(self, session: Session, kept: Kept | None) -> _Desk:
        desk = self._desk(session)
        desk.wanted, desk.dirty = kept, True
        desk.sent = tuple(self._journal.note(session.account.name).sent)
        desk.version += 1
        desk.settled = anyio.Event() if desk.settled.is_set() else desk.settled
        self._hasten()
        if type(self._problem) is StoreError and (session, True) not in self._failed:
            self._retry_at = min(self._retry_at, anyio.current_time())  # it was another entry's failure, perhaps
        return desk

    def _desk(self, session: Session) -> _Desk:
        return self._desks.setdefault(session, _Desk())

    def _mark(self, session: Session, *, saved: bool) -> None:
        if session.mark(saved=saved):
            self._table.publish(session.account.name)

    # ---- the one task

    async def run(self) -> None:
        """Do what is to be done, until cancelled."""
        async with anyio.create_task_group() as self._tasks:
            while True:
                self._wake = anyio.Event()
                await self._sort()
                pause = self._retry_at - anyio.current_time() if self._problem is not None else 0.0
                work = self._next() if pause <= 0 else None
                if work is not None:
                    await self._do(work)
                elif pause > 0:
                    with anyio.move_on_after(pause):
                        await self._wake.wait()
                else:
                    await self._rest()

    async def drain(self, patience: float) -> None:
        """Wait until all is saved that has to be, for so many seconds at most.

        Where a person would have to help, only for a moment.
        """
        helpless = isinstance(self._problem, StoreLocked | StoreMissing)
        with anyio.move_on_after(min(patience, SAVE_PATIENCE) if helpless else patience):
            while dirty := next((desk for desk in self._desks.values() if desk.dirty), None):
                self._hasten()
                with anyio.move_on_after(_HASTE):  # then once more: there is no later
                    await dirty.settled.wait()
        lost = [session.account.name for session, desk in self._desks.items() if desk.dirty]
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
        dirty = [(session, True) for session, desk in self._desks.items() if desk.dirty]
        awaited = [(session, False) for session, desk in self._desks.items() if desk.readings]
        reads = [*awaited, *((session, False) for session in self._unread)]
        # In turns: saves without end must keep nobody waiting, nor a refresh that was interrupted past its overlap.
        works = [*reads[:1], *dirty, *reads] if self._wrote else [*dirty, *reads]
        # What has failed is tried again when all else was: one entry that can't be had keeps no other from its turn.
        return min(works, key=lambda work: self._failed.get(work, 0), default=None)

    async def _do(self, work: _Work) -> None:
        session, self._wrote = work
        try:
            await (self._write(session, self._desk(session)) if self._wrote else self._fetch(session))
        except StoreError as error:
            self._failed[work] = anyio.current_time()
            self._fail(error)
        except Exception as error:  # noqa: BLE001 -- an entry that nobody foresaw must not end the keeping of all others
            _log.error("defect in=keeper error=%s", place(error))
            self._failed[work] = anyio.current_time()
            self._fail(StoreError("a defect of the agent; its log says more"))
        else:
            self._failed.pop(work, None)
            self._recover()

    async def _rest(self) -> None:
        with anyio.move_on_after(_REST):
            await self._wake.wait()
            return
        try:
            await self._store.rest()
        except Exception as error:  # noqa: BLE001 -- as in `_do`
            _log.error("defect in=rest error=%s", place(error))
        await self._wake.wait()

    # ---- writing

    async def _write(self, session: Session, desk: _Desk) -> None:
        # To the back: should it fail, it isn't in the way of the others.
        self._desks[session] = self._desks.pop(session)
        version, sent, name = desk.version, desk.sent, session.account.name
        tombstone = self._journal.note(name).tombstone
        try:
            if desk.wanted is None:
                await self._store.delete(name)
                fingerprint, desk.essence = None, None
            else:
                kept = replace(desk.wanted, after=tombstone)
                fingerprint = _fingerprint(kept.state)
                if not self._store.expensive_writes or desk.essence != _essence(kept):
                    await self._store.write(name, dump(name, kept, self._boot_id, self._store.max_length))
                desk.essence = _essence(kept)
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

    def _settled(self, session: Session, desk: _Desk, version: int) -> None:
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
        desk = self._desk(session)
        readings, desk.readings = desk.readings, []
        for reading in readings:
            reading.end(kept)

    def _interpret(self, session: Session, text: Secret | None) -> Kept | None:
        """What an entry says; None where there is none, or a dead one."""
        if text is None:
            return None
        name, account, now = session.account.name, session.account, self._clock.now()
        note = self._journal.note(name)
        try:
            kept = load(text, name, self._boot_id, now)
        except EntryError as error:
            _log.error("store account=%s error=%r", name, str(error))
            if note.tombstone is not None:
                return None
            nobody = Login(account.issuer, account.client_id, account.audience, None, None, None, None)
            return Kept(LoginRequired(str(error), nobody, failure="store_failed"), 0, 0, None)
        return None if note.tombstone is not None and kept.after != note.tombstone else kept

    def _restore(self, session: Session, kept: Kept | None) -> None:
        name = session.account.name
        note = self._journal.note(name)
        has = self._desk(session).has = None if kept is None else _fingerprint(kept.state)
        # What else was sent is dead, too, if the store has got something since: the agent died before it noted that.
        was_saved = has is not None and has != note.has and has not in note.sent
        for fingerprint in [*note.replaced, *note.sent] if was_saved else note.replaced:
            self.fingerprints.remember_replaced(fingerprint)
        if kept is None:
            session.restore(Kept(LoggedOut(), 0, 0, None))
            if note.tombstone is not None:
                self._want(session, None)
        else:
            self._desk(session).essence = _essence(kept)
            session.restore(replace(kept, state=self._after_the_past(kept.state, note)))
        _log.info("restored account=%s state=%s", name, type(session.state).__name__)
        self._table.publish(name)
        self.on_restored(session)

    def _after_the_past(self, state: State, note: Note) -> State:
        """The stored state, as what was noted beside the store makes it."""
        if not isinstance(state, Active) or state.login.refresh_token is None:
            return state
        fingerprint = state.login.refresh_token.fingerprint()
        if self.fingerprints.is_replaced(state.login.refresh_token):
            return LoginRequired(OLD_COPY, replace(state.login, refresh_token=None))
        if fingerprint not in note.sent:
            return state
        # The reply may have been lost with the agent: a provider with a rotation overlap answers again, if soon.
        now = self._clock.now()
        return replace(state, renewal=Retrying(Lost(INTERRUPTED), failures=1, last=now, at=now, not_before=now))

    # ---- failures

    def _fail(self, error: StoreError) -> None:
        known = self._problem
        self._problem = error
        if known is None or str(known) != str(error):
            _log.warning("store name=%s state=%s problem=%r", self._store.name, error.state, str(error))
        first, longest = _PAUSES.get(error.state, _FAILING_PAUSE)
        self._pause = min(longest, self._pause * 2 or first)
        self._failed_at = anyio.current_time()
        self._retry_at = self._failed_at + self._pause
        for desk in self._desks.values():
            readings, desk.readings = desk.readings, []
            for reading in readings:
                reading.end(error)
        if isinstance(error, StoreMissing):
            self._do_without()
        self._lock_all(error)
        if isinstance(error, StoreLocked) and self._tasks is not None and self._may_ask():
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

    def _may_ask(self) -> bool:
        now = anyio.current_time()
        # Whoever wanted it an hour ago need not be there any more to answer.
        wanted, self._wanted_by_a_client = self._wanted_by_a_client, False
        if not wanted or (self._asked_at is not None and now - self._asked_at < _ASK_AGAIN):
            return False
        self._asked_at = now
        return True

    async def _ask(self) -> None:
        with anyio.CancelScope() as self._asking:
            try:
                await self._store.unlock()
            except StoreError as error:
                _log.info("store name=%s asked=refused problem=%r", self._store.name, str(error))
            except Exception as error:  # noqa: BLE001 -- as in `_do`
                _log.error("defect in=ask error=%s", place(error))
            else:
                self._retry_at = anyio.current_time()
                self._wake.set()

    def _recover(self) -> None:
        self._pause = 0.0
        if self._problem is None:
            return
        _log.info("store name=%s state=ready", self._store.name)
        self._problem = None
        self._asked_at = None
        self._wanted_by_a_client = False
        self._asking.cancel()
        for session in self._unread:
            if session.lock(UNREAD):
                self._table.publish(session.account.name)

    def _hasten(self) -> None:
        """Somebody waits: bring the next attempt forward."""
        self._retry_at = min(self._retry_at, self._failed_at + _HASTE)
        self._wake.set()


def _fingerprint(state: State) -> str | None:
    """That of the refresh token which a session in that state has; None when it has none."""
    token = state.login.refresh_token if isinstance(state, Active | LoginRequired) else None
    return None if token is None else token.fingerprint()


def _essence(kept: Kept) -> object:
    """What is worth a write where writes are expensive."""
    reason = kept.state.reason if isinstance(kept.state, LoginRequired) else None
    return _fingerprint(kept.state), reason, kept.epoch, kept.after
