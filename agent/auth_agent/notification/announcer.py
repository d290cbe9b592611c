"""Notifies a person when a session ends while the agent runs."""

import logging

import anyio

from auth_agent.notification.notices import LoginNotices
from auth_agent.notification.notifier import Notifier
from auth_agent.sessions.record import state_name
from auth_agent.sessions.session import Session
from auth_agent.sessions.table import Table
from auth_agent_client.messages import LOCKED

_log = logging.getLogger(__name__)


class LoginAnnouncer:
    """Watches a table, and lets a notifier know which accounts need a login."""

    def __init__(self, table: Table, notifier: Notifier) -> None:
        self._table = table
        self._notifier = notifier
        self._notices = LoginNotices()
        self._wake = anyio.Event()

    def changed(self, account: str) -> None:
        """Look at an account whose record changed."""
        session = self._table.sessions.get(account)
        if session is None:
            self._notices.forget(account)
        else:
            self._observe(session)
        if self._notices.due_at() is not None:
            self._wake.set()

    def _observe(self, session: Session) -> None:
        # A record has much more, and takes a tenth of a millisecond.
        state = LOCKED if self._table.lock is not None else state_name(session, self._table.clock.now())
        self._notices.observe(session.account.name, state, session.failure, anyio.current_time())

    async def run(self) -> None:
        """Notify until cancelled."""
        for session in self._table.sessions.values():
            self._observe(session)
        self._table.watch(self)
        try:
            while True:
                self._wake = anyio.Event()
                await self._wait_until_due()
                await self._notify(self._notices.take(anyio.current_time()))
        finally:
            self._table.unwatch(self)

    async def _wait_until_due(self) -> None:
        due_at = self._notices.due_at()
        if due_at is None:
            await self._wake.wait()
            return
        with anyio.move_on_after(max(0.0, due_at - anyio.current_time())):
            await self._wake.wait()

    async def _notify(self, accounts: list[str]) -> None:
        settings = self._table.config.notify
        records = self._table.records(accounts)
        if not records:
            return
        if settings.desktop or settings.command:
            await self._notifier.notify(records, settings.command)
        else:
            _log.debug("notification accounts=%s switched off", ",".join(accounts))
