"""Notifies a person that accounts need a login: by a notification of the desktop, or by a command of the user's own."""

import logging
from collections.abc import Mapping, Sequence
from typing import Final, Protocol

from auth_agent import remedies
from auth_agent.host.user_command import run_command
from auth_agent.printable import printable
from auth_agent.worker.process import Worker, WorkerError
from auth_agent.worker.vocabulary import NOTIFICATIONS
from auth_agent_client.remedy import remedies_from_wire

_log = logging.getLogger(__name__)

_NOTIFICATION_LIMIT: Final = 5.0  # s; a notification service answers in milliseconds
# More lines than that are not shown by most desktops.
_MOST_LINES: Final = 5


class Notifier(Protocol):
    """Notifies a person that accounts need a login."""

    async def notify(self, records: Sequence[Mapping[str, object]], command: Sequence[str]) -> None:
        """Notify of these accounts, by their records, once; a failure is logged.

        Args:
            records: the accounts' records, as `watch` returns them.
            command: the user's own command; empty: the desktop's notification.

        """
        ...


class DesktopNotifier:
    """Uses the desktop's notification service (the worker does, which has its library), or the user's command.

    The worker ends after each notification: they are rare.
    """

    def __init__(self) -> None:
        self._worker = Worker(NOTIFICATIONS)

    async def notify(self, records: Sequence[Mapping[str, object]], command: Sequence[str]) -> None:
        """Notify of these accounts once; a failure is logged."""
        accounts = ",".join(str(record.get("account")) for record in records)
        try:
            if command:
                await run_command(command, {"event": "login_required", "accounts": list(records)})
            else:
                await self._show(records)
        except (OSError, WorkerError) as error:
            _log.warning("notification accounts=%s error=%r", accounts, printable(str(error)))
        else:
            _log.info("notification accounts=%s", accounts)

    async def _show(self, records: Sequence[Mapping[str, object]]) -> None:
        summary, body = wording(records)
        try:
            response = await self._worker.call("notify", _NOTIFICATION_LIMIT, summary=summary, body=body)
        finally:
            await self._worker.release()
        if response.get("failure") is not None:
            raise OSError(printable(response.get("text")))


def wording(records: Sequence[Mapping[str, object]]) -> tuple[str, str]:
    """Return the summary and the body of a notification: nothing that a provider wrote."""
    names = [str(record.get("account")) for record in records]
    summary = f"Log in to {names[0]} again" if len(names) == 1 else f"Log in to {len(names)} accounts again"
    commands = [
        next((remedy.line for remedy in remedies_from_wire(record.get("remedy")) if remedy.command), name)
        for record, name in zip(records, names, strict=True)
    ]
    more = len(commands) - _MOST_LINES
    lines = [*commands[:_MOST_LINES], *([f"and {more} more: {remedies.see_status().line}"] if more > 0 else [])]
    return summary, "\n".join(lines)
