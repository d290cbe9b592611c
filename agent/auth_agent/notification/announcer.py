"""Notifies a person when a session ends while the agent runs."""

import logging

import anyio

from auth_agent.notification.notices import LoginNotices
from auth_agent.notification.notifier import Notifier
from auth_agent.sessions.table import Table

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
        record = self._table.record(account) if account in self._table.sessions else None
        if record is None:
            self._notices.forget(account)
        else:
            self._notices.observe(record, anyio.current_time())
        self._wake.set()

    async def run(self) -> None:
        """Notify until cancelled."""
        for record in self._table.records():
            self._notices.observe(record, anyio.current_time())
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
