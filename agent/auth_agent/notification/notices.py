"""Decides when a person is to be notified that an account needs a login: once for each session that ended.

Theory of operation. People switch off notifications that come too often. So accounts whose sessions end together, as
when a provider revokes a user, share one notification; notifications have a minimum distance; and there is none for a
session that was over when this agent read it, because the agent before has notified of it. Nor is there one for what a
person changed in the configuration.
"""

from typing import Final

from auth_agent_client.messages import EXPIRED, LOGIN_REQUIRED, READY

_COLLECT: Final = 3.0  # s
_DISTANCE: Final = 60.0  # s
# A session that a client may have been using.
_ALIVE: Final = (READY, EXPIRED)
_BY_A_PERSON: Final = "account_changed"


class LoginNotices:
    """The accounts that need a login and whose user has not been notified yet. All times are seconds of one clock."""

    def __init__(self) -> None:
        self._states: dict[str, str] = {}
        # When each account's session ended, in that order.
        self._pending: dict[str, float] = {}
        self._last = -_DISTANCE

    def observe(self, account: str, state: str, failure: str | None, now: float) -> None:
        """Take an account's state and failure, as its record has them, after each change."""
        before, self._states[account] = self._states.get(account), state
        if state != LOGIN_REQUIRED:
            self._pending.pop(account, None)
        elif before in _ALIVE and failure != _BY_A_PERSON:
            self._pending[account] = now

    def forget(self, account: str) -> None:
        """Forget an account that was removed from the configuration."""
        self._states.pop(account, None)
        self._pending.pop(account, None)

    def due_at(self) -> float | None:
        """Return when the next notification is due; None if there is nothing to notify of."""
        first = next(iter(self._pending.values()), None)
        return None if first is None else max(first + _COLLECT, self._last + _DISTANCE)

    def take(self, now: float) -> list[str]:
        """Return the accounts to notify of now, and count them as notified; empty if it is too early."""
        due_at = self.due_at()
        if due_at is None or now < due_at:
            return []
        accounts = list(self._pending)
        self._pending.clear()
        self._last = now
        return accounts
