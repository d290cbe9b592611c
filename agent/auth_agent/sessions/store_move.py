"""Moves all sessions to another store, without a login, while the agent serves.

Theory of operation. Meanwhile everything goes on, and goes to the old store. Each session's entry is written to the new
store; then no refresh begins, so that no token is rotated, and what has changed since is written again, until nothing
is in flight and nothing differs. At that moment the new store is noted as the one in use, and used. Only then are the
entries in the old one deleted. An agent that is killed before the note begins with the old store, which is complete;
one that is killed after it with the new one.
"""

import logging
from collections.abc import Callable
from contextlib import suppress
from typing import Final, NamedTuple

import anyio

from auth_agent import remedies
from auth_agent.errors import StartupError
from auth_agent.secret import Secret
from auth_agent.sessions.advice import busy
from auth_agent.sessions.refresher import Refresher
from auth_agent.sessions.saver import Saver
from auth_agent.sessions.table import Table
from auth_agent.storage.journal import Journal
from auth_agent.storage.store import Store, StoreError, StoreMissing, WrongPassphrase
from auth_agent.storage.stores import NAMES, OpenStore, is_persistent
from auth_agent_client import errors

_log = logging.getLogger(__name__)

# Seconds. A keyring takes some hundredths of a second for each session.
_PATIENCE: Final = 60.0
# Seconds for deleting what is not needed any more; a store that hangs has to be cleaned by hand.
_CLEANING: Final = 20.0
_LOOK_AGAIN: Final = 0.05
_BUSY: Final = "the sessions are being moved to another store"
_IN_USE: Final = "the sessions are in that store already"
_NEEDS_PASSPHRASE: Final = "the sealed file needs a passphrase"  # noqa: S105 -- a sentence
_NOT_PERSISTENT: Final = f"the store must be {' or '.join(filter(is_persistent, NAMES))}"
_TOO_LATE: Final = "the sessions did not come to rest in time; they stay where they are"


class Moved(NamedTuple):
    """What a move did.

    `accounts`: those whose sessions moved. `left`: those whose entry in the old store could not be deleted. `deleted`:
    those that are logged out, and of which the new store had a session from an earlier use.
    """

    accounts: list[str]
    left: list[str]
    deleted: list[str]


class StoreMove:
    """Moves the sessions that a saver keeps."""

    def __init__(
        self,
        table: Table,
        saver: Saver,
        refresher: Refresher,
        source: OpenStore,
        open_target: Callable[[str, str], OpenStore],
        remember: Callable[[str], None],
    ) -> None:
        """Create it.

        Args:
            table: the sessions.
            saver: keeps them.
            refresher: is paused meanwhile.
            source: the store in use.
            open_target: opens a store by its name, for an agent that has the one of the other name; raises a
                `StartupError`.
            remember: notes the store that the next agent uses; raises an `OSError`.

        """
        self._table = table
        self._saver = saver
        self._refresher = refresher
        self._source = source
        self._open_target = open_target
        self._remember = remember
        self._is_running = False

    def check(self) -> None:
        """Raise `Unavailable` while sessions are being moved."""
        if self._is_running:
            raise busy(_BUSY)

    async def move(self, name: str, passphrase: Secret | None) -> Moved:
        """Move all sessions to the store of that name.

        Raises:
            InvalidRequest: they are there already, or the passphrase is missing.
            Denied: it is wrong.
            Locked: the agent is locked, a session can't be read from the old store, or the new one can't be used;
                nothing has changed.
            Unavailable: a move is going on.

        """
        self.check()
        self._table.check_lock()
        if not is_persistent(name):
            raise _invalid(_NOT_PERSISTENT, "store")
        if name == self._source.store.name:
            raise _invalid(_IN_USE, "store")
        self._is_running = True
        try:
            return await self._move(name, passphrase)
        except WrongPassphrase as error:
            raise errors.Denied(error.reason, reason=error.reason, failure="refused") from error
        except (StoreError, StartupError) as error:
            _log.warning("move store=%s problem=%r", name, str(error))
            raise errors.Locked(str(error), reason=str(error), failure="store_failed", remedy=error.remedy) from error
        finally:
            self._is_running = False

    async def _move(self, name: str, passphrase: Secret | None) -> Moved:
        self._check_that_all_are_known()
        source, target = self._source, self._open_target(name, self._source.store.name)
        copied: dict[str, Secret | None] = {}
        deleted: list[str] = []
        try:
            await _unlock(target.store, passphrase)
            # The same notes belong to all persistent stores of a state directory.
            journal = source.journal if source.store.persistent else target.journal
            with anyio.fail_after(_PATIENCE):
                await self._copy(target, journal, copied, deleted)
            # Without an await until all is switched: nothing may change in between.
            self._remember(name)
            self._saver.use(target.store, journal, target.machine)
            self._source = target._replace(journal=journal)
        except BaseException as error:
            with anyio.CancelScope(shield=True):
                await _emptied(target.store, [account for account, entry in copied.items() if entry is not None])
                _close(target)
            if isinstance(error, TimeoutError):
                self._check_that_all_are_known()
                raise StoreError(_TOO_LATE) from error
            if isinstance(error, OSError):
                raise StoreError(f"the store can't be noted as the one in use: {error.strerror}") from error
            raise
        finally:
            self._refresher.paused_by = None
            self._refresher.reschedule()
        left = await _emptied(source.store, list(copied))
        _close(source)
        _log.info("moved store=%s from=%s left=%s", name, source.store.name, ",".join(left) or "-")
        return Moved([account for account, entry in copied.items() if entry is not None], left, deleted)

    def _check_that_all_are_known(self) -> None:
        unusable = self._saver.unusable()
        if unusable:
            reason = f"these sessions can't be read from the present store: {', '.join(unusable)}"
            raise StoreError(reason, remedies.see_status())

    async def _copy(
        self, target: OpenStore, journal: Journal, copied: dict[str, Secret | None], deleted: list[str]
    ) -> None:
        """Write all sessions to the target until nothing differs; add to `copied` and `deleted` what was done.

        Raises:
            StoreError: the target can't be used.

        """
        await self._copy_once(target, journal, copied, deleted)
        self._refresher.paused_by = lambda _: busy(_BUSY)
        while True:
            await self._wait_until_quiet()
            if await self._copy_once(target, journal, copied, deleted) and self._is_quiet():
                return

    async def _copy_once(
        self, target: OpenStore, journal: Journal, copied: dict[str, Secret | None], deleted: list[str]
    ) -> bool:
        """Write what differs from `copied`; return whether nothing did."""
        store, is_same = target.store, True
        entries = self._saver.entries(store.max_length, journal, target.machine)
        for account in copied.keys() - entries.keys():  # it was renamed
            is_same = False
            await store.delete(account)
            del copied[account]
        for account, (_, entry) in entries.items():
            if account in copied and copied[account] == entry:
                continue
            is_same = False
            if entry is not None:
                await store.write(account, entry)
                await self._take_note(account, journal)
            elif account in copied or await store.read(account):
                await store.delete(account)
                deleted += [] if account in copied else [account]
            copied[account] = entry
        return is_same

    async def _take_note(self, account: str, journal: Journal) -> None:
        """Note beside a persistent store what was noted in memory about a session."""
        source = self._source.journal
        if journal is source:
            return
        tombstone = journal.note(account).tombstone
        await journal.saved(account, None, tombstone, (), held=True)
        for fingerprint in source.note(account).sent:
            await journal.record_sent(account, fingerprint, source.note(account).used_at)

    def _is_quiet(self) -> bool:
        return self._refresher.is_idle and self._saver.is_idle and not self._saver.unusable()

    async def _wait_until_quiet(self) -> None:
        while not self._is_quiet():  # noqa: ASYNC110 -- no event tells all of that
            await anyio.sleep(_LOOK_AGAIN)


async def _unlock(store: Store, passphrase: Secret | None) -> None:
    if store.sealed is None:
        await store.unlock()
    elif passphrase is None:
        raise _invalid(_NEEDS_PASSPHRASE, "passphrase", new=store.sealed.is_new)
    else:
        await store.sealed.unlock_by(passphrase)


def _close(opened: OpenStore) -> None:
    if opened.store.sealed is not None:
        opened.store.sealed.lock()
    opened.close()


def _invalid(reason: str, parameter: str, *, new: bool | None = None) -> errors.InvalidRequest:
    return errors.InvalidRequest(f"move_store: {reason}", reason=reason, parameter=parameter, new=new)


async def _emptied(store: Store, accounts: list[str]) -> list[str]:
    """Delete the entries of those accounts; return the accounts of those that could not be deleted in time."""
    left = list(accounts)
    with anyio.move_on_after(_CLEANING):
        for account in accounts:
            try:
                await store.delete(account)
            except StoreMissing:  # there is nothing
                pass
            except StoreError as error:
                _log.warning("move account=%s old_entry=left problem=%r", account, error.reason)
                continue
            left.remove(account)
    with suppress(StoreError), anyio.move_on_after(1):
        await store.release()
    return left
