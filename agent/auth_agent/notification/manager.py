"""Notifies the service manager of what the agent does: its status for people, and that it is alive (sd_notify(3))."""

import os
import time
from collections.abc import Mapping
from typing import Final

from auth_agent.host.systemd import notify, status, watchdog_interval
from auth_agent.sessions.record import state_name
from auth_agent.sessions.refresher import Refresher
from auth_agent.sessions.table import Table
from auth_agent_client.messages import LOGIN_REQUIRED

# Looks in one interval of the watchdog: one that comes late must not count as a hang.
_LOOKS: Final = 3
_MOST_NAMES: Final = 3
# A status looks at all sessions. With more than so many, this many seconds for each are between two statuses.
_FEW: Final = 100
_PAUSE: Final = 0.01

ALIVE: Final = "WATCHDOG=1"


class ManagerNotifier:
    """Tells the manager, each time the refresher has looked, that the agent is alive, and its status if that changed.

    Only a look counts: it needs the event loop and the sessions, and never waits for a provider or a keyring.
    """

    def __init__(self, table: Table, environ: Mapping[str, str] = os.environ) -> None:
        """Read from the environment whether a manager wants to know, and how often."""
        self._table = table
        self._is_wanted = bool(environ.get("NOTIFY_SOCKET"))
        self._interval = watchdog_interval(environ, os.getpid()) if self._is_wanted else None
        self._status = ""
        # Whether a record has changed since, or the agent's lock, and when to look next, in seconds of the monotonic
        # clock.
        self._is_stale = True
        self._lock = table.lock
        self._next_at = 0.0

    def watch(self, refresher: Refresher) -> None:
        """Notify the manager after each look of the refresher, which has to look often enough."""
        if self._is_wanted:
            refresher.on_look = self._looked
            self._table.watch(self)
        if self._interval is not None:
            refresher.longest_pause = min(refresher.longest_pause, self._interval / _LOOKS)

    def changed(self, account: str) -> None:  # noqa: ARG002 -- the status has all
        """Have the status made anew at the next look."""
        self._is_stale = True

    def _looked(self) -> None:
        if self._interval is not None:
            notify(ALIVE)
        now, lock = time.monotonic(), self._table.lock
        # A lock changes no record if there are no accounts, and its status looks at none.
        if lock is self._lock and (not self._is_stale or now < self._next_at):
            return
        self._lock = lock
        count = len(self._table.sessions)
        self._is_stale, self._next_at = False, now + (0 if count <= _FEW else _PAUSE * count)
        text = self._status_now()
        if text != self._status:
            self._status = text
            notify(status(text))

    def _status_now(self) -> str:
        if self._table.lock is not None:
            return "locked"
        now = self._table.clock.now()
        sessions = self._table.sessions
        due = [moment for session in sessions.values() if (moment := session.refresh_due(now)) is not None]
        next_refresh = min((max(moment.wall, now.wall) for moment in due), default=None)
        return status_text({name: state_name(session, now) for name, session in sessions.items()}, next_refresh)


def status_text(states: Mapping[str, str], next_refresh: float | None) -> str:
    """Return the status for a person, in one line: accounts, logins needed, and the next refresh.

    Args:
        states: the state of each account's session, as the protocol names it.
        next_refresh: when the next refresh is due, as Unix time in seconds; None: there is none.

    """
    needed = [name for name, state in states.items() if state == LOGIN_REQUIRED]
    names = ", ".join([*needed[:_MOST_NAMES], *([f"{len(needed) - _MOST_NAMES} more"] if needed[_MOST_NAMES:] else [])])
    # A time, not a duration: the text stays true until it changes.
    at = "" if next_refresh is None else f"next refresh at {time.strftime('%H:%M:%S', time.localtime(next_refresh))}"
    accounts = f"{len(states)} account" + ("" if len(states) == 1 else "s")
    return "; ".join(filter(None, [accounts, names and f"login needed: {names}", at]))
