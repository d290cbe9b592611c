"""Erases the secrets of sessions whose ceiling is reached, from memory and store.

Theory of operation. The session is blocked as soon as the wall clock says that its ceiling is reached. A wrong clock
must not end it for good, so its secrets are erased only if its provider's clock agrees: the `Date` of the provider's
last response, and what the clock since boot, which nobody sets, has counted since then. After a restart there may have
been no response; then the provider's metadata is requested, which needs no secret. The erased refresh token is not
revoked: that might end other sessions, and the provider has ended this one.
"""

import logging
import math
from collections.abc import Callable
from typing import Final

from auth_agent.config import Account
from auth_agent.defect import place
from auth_agent.oauth.provider import Provider
from auth_agent.sessions.background import Background
from auth_agent.sessions.saver import Saver
from auth_agent.sessions.session import Session
from auth_agent.sessions.session_end import seconds_until
from auth_agent.sessions.table import Table

_log = logging.getLogger(__name__)

# Seconds between two requests for a provider's metadata.
_INTERVAL: Final = 300.0


class Eraser:
    """Erases the secrets of sessions of a table that are over."""

    def __init__(
        self, table: Table, saver: Saver, background: Background, provider_for: Callable[[Account], Provider]
    ) -> None:
        self._table = table
        self._saver = saver
        self._background = background
        self._provider_for = provider_for
        # When each issuer's metadata was requested last, in seconds since boot.
        self._requested: dict[str, float] = {}

    def look(self, session: Session) -> float:
        """Erase the secrets of a session whose ceiling is reached, if its provider's clock agrees.

        Return the seconds until it will agree; infinity if that is done, or not known.
        """
        account, now = session.account, self._table.clock.now()
        if not session.is_of_account or not session.has_erasable:
            return math.inf
        try:
            time = self._provider_for(account).time(now)
        except Exception as error:  # noqa: BLE001 -- a defect with one provider must not end all sessions
            _log.error("defect account=%s in=eraser error=%s", account.name, place(error))
            return math.inf
        if time is None:
            self._request_time(account, now.boot)
            return math.inf
        wait = seconds_until(session.ceiling, time)
        if wait > 0:
            return wait
        session.end_at_ceiling()
        self._saver.save_soon(session)
        self._table.publish(account.name)
        _log.info("ended account=%s reason=session_expired", account.name)
        return math.inf

    def _request_time(self, account: Account, boot: float) -> None:
        last = self._requested.get(account.issuer)
        if last is None or boot - last >= _INTERVAL:
            self._requested[account.issuer] = boot

            async def discover() -> None:
                await self._provider_for(account).discover()

            self._background.begin_optional(discover)
