"""Moves all sessions to another store, without a login, while the agent serves.

Theory of operation. Meanwhile everything is written to both stores, the old one first, and read from the old one; so a
crash at any moment leaves the old store complete. Once both have everything, the new one is noted as the store in use,
and only then are the entries in the old one deleted: an agent that is killed before the note begins with the old store,
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
from auth_agent.sessions.saver import Saver
from auth_agent.storage.store import Store, StoreError, StoreMissing, WrongPassphrase
from auth_agent.storage.stores import NAMES, OpenStore, is_persistent
from auth_agent_client import errors

_log = logging.getLogger(__name__)

# Seconds. A keyring takes some hundredths of a second for each session.
_PATIENCE: Final = 60.0
_BUSY: Final = "the sessions are being moved to another store"
_IN_USE: Final = "the sessions are in that store already"
_NEEDS_PASSPHRASE: Final = "the sealed file needs a passphrase"  # noqa: S105 -- a sentence
_NOT_PERSISTENT: Final = f"the store must be {' or '.join(filter(is_persistent, NAMES))}"
_TOO_LATE: Final = "the other store did not take all sessions in time; they stay where they are"


class Moved(NamedTuple):
    """What a move did: the accounts whose sessions moved, and those whose entry is still in the old store, too."""

    accounts: list[str]
    left: list[str]


class StoreMove:
    """Moves the sessions that a saver keeps."""

    def __init__(
        self,
        saver: Saver,
        source: OpenStore,
        open_target: Callable[[str], OpenStore],
        remember: Callable[[str], None],
    ) -> None:
        """Create it.

        Args:
            saver: keeps the sessions.
            source: the store in use.
            open_target: opens a store by its name; raises a `StartupError`.
            remember: notes the store that the next agent uses; raises an `OSError`.

        """
        self._saver = saver
        self._source = source
        self._open_target = open_target
        self._remember = remember
        self.is_running = False

    def check(self) -> None:
        """Raise `Unavailable` while sessions are being moved."""
        if self.is_running:
            raise errors.Unavailable(_BUSY, reason=_BUSY, failure="busy", retry_after=1.0)

    async def move(self, name: str, passphrase: Secret | None) -> Moved:
        """Move all sessions to the store of that name.

        Raises:
            InvalidRequest: they are there already, or the passphrase is missing.
            Denied: it is wrong.
            Locked: a session can't be read from the old store, or the new one can't be used; nothing has changed.
            Unavailable: a move is going on.

        """
        self.check()
        if not is_persistent(name):
            raise _invalid(_NOT_PERSISTENT, "store")
        if name == self._source.store.name:
            raise _invalid(_IN_USE, "store")
        unusable = self._saver.unusable()
        if unusable:
            reason = f"these sessions can't be read from the present store: {', '.join(unusable)}"
            raise errors.Locked(reason, reason=reason, failure="store_failed", remedy=(remedies.see_status(),))
        self.is_running = True
        try:
            return await self._move(name, passphrase)
        except WrongPassphrase as error:
            raise errors.Denied(error.reason, reason=error.reason, failure="refused") from error
        except (StoreError, StartupError) as error:
            _log.warning("move store=%s problem=%r", name, str(error))
            raise errors.Locked(str(error), reason=str(error), failure="store_failed", remedy=error.remedy) from error
        finally:
            self.is_running = False

    async def _move(self, name: str, passphrase: Secret | None) -> Moved:
        source, target = self._source, self._open_target(name)
        try:
            await _unlock(target.store, passphrase)
            accounts = await self._copy(target)
            try:
                self._remember(name)
            except OSError as error:
                raise StoreError(f"the store can't be noted as the one in use: {error.strerror}") from error
        except BaseException:
            with anyio.CancelScope(shield=True):
                self._saver.end_move(source.store, source.journal, source.machine)
                await _emptied(target.store, self._saver.accounts())
                target.close()
            raise
        self._saver.end_move(target.store, target.journal, target.machine)
        self._source = target
        left = await _emptied(source.store, self._saver.accounts())
        source.close()
        _log.info("moved store=%s from=%s left=%s", name, source.store.name, ",".join(left) or "-")
        return Moved(accounts, left)

    async def _copy(self, target: OpenStore) -> list[str]:
        """Write all sessions to both stores; return their accounts."""
        accounts = self._saver.begin_move(target.store, target.journal, target.machine)
        with anyio.move_on_after(_PATIENCE):
            await self._saver.wait_until_saved()
            return accounts
        problem = self._saver.problem
        raise StoreError(_TOO_LATE if problem is None else problem.reason, *(() if problem is None else problem.remedy))


async def _unlock(store: Store, passphrase: Secret | None) -> None:
    if store.sealed is None:
        await store.unlock()
    elif passphrase is None:
        raise _invalid(_NEEDS_PASSPHRASE, "passphrase")
    else:
        await store.sealed.unlock_by(passphrase)


def _invalid(reason: str, parameter: str) -> errors.InvalidRequest:
    return errors.InvalidRequest(f"move_store: {reason}", reason=reason, parameter=parameter)


async def _emptied(store: Store, accounts: list[str]) -> list[str]:
    """Delete the entries of those accounts; return the accounts of those that could not be deleted."""
    left: list[str] = []
    for account in accounts:
        try:
            await store.delete(account)
        except StoreMissing:  # there is nothing
            continue
        except StoreError as error:
            _log.warning("move account=%s old_entry=left problem=%r", account, error.reason)
            left.append(account)
    with suppress(StoreError):
        await store.release()
    return left
