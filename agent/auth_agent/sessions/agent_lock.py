"""Unlocks the store, and decides about copies, as a person asks for it."""

import logging
from typing import Final

from auth_agent.secret import Secret
from auth_agent.sessions.saver import Saver
from auth_agent.storage.store import StoreError, StoreLocked, Unlocked, WrongPassphrase
from auth_agent_client import errors

_log = logging.getLogger(__name__)

_UNSUPPORTED: Final = "the store has no passphrase of auth-agent's"
_BUSY: Final = "another passphrase is being checked"


class AgentLock:
    """What unlocks the agent's sessions."""

    def __init__(self, saver: Saver) -> None:
        self._saver = saver
        self._is_checking = False

    async def unlock(self, passphrase: Secret | None) -> Unlocked:
        """Unlock the store by its passphrase.

        Raises:
            Unsupported: it has none.
            InvalidRequest: the passphrase is missing.
            Denied: it is wrong.
            Unavailable: another one is being checked: each guess takes as long as a key derivation.
            Locked: the store can't be unlocked.

        """
        self._check_that_it_is_sealed()
        if passphrase is None:
            raise errors.InvalidRequest("unlock: the store needs a passphrase", parameter="passphrase")
        if self._is_checking:
            raise errors.Unavailable(_BUSY, reason=_BUSY, failure="busy", retry_after=1.0)
        self._is_checking = True
        try:
            unlocked = await self._saver.unlock(passphrase)
        except WrongPassphrase as error:
            _log.warning("unlock refused=%r", error.reason)
            raise errors.Denied(error.reason, reason=error.reason, failure="refused", remedy=error.remedy) from error
        except StoreError as error:
            raise _store_failed(error) from error
        finally:
            self._is_checking = False
        _log.info("unlocked created=%s memory=%dMiB", unlocked.created, unlocked.memory)
        return unlocked

    async def adopt(self) -> list[str]:
        """Use entries that are copies; return their accounts.

        Raises:
            Unsupported: the store knows no copies.
            Locked: it is locked, or can't be used.

        """
        self._check_that_it_is_sealed()
        try:
            adopted = await self._saver.adopt()
        except StoreError as error:
            raise _store_failed(error) from error
        _log.info("adopted accounts=%s", ",".join(adopted) or "-")
        return adopted

    def _check_that_it_is_sealed(self) -> None:
        if not self._saver.takes_passphrase:
            raise errors.Unsupported(_UNSUPPORTED, reason=_UNSUPPORTED, failure="unsupported")


def _store_failed(error: StoreError) -> errors.Locked:
    _log.warning("unlock problem=%r", error.reason)
    failure = "locked" if isinstance(error, StoreLocked) else "store_failed"
    return errors.Locked(error.reason, reason=error.reason, failure=failure, remedy=error.remedy)
