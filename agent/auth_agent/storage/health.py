"""The health of a store: its problem, when to retry, and whether to ask the user to unlock it. Pure.

The caller passes the time, in seconds of a monotonic clock, and acts on the result.
"""

from typing import Final

from auth_agent.storage.store import StoreError, StoreHangs, StoreLocked, StoreMissing

# The first and the longest pause between attempts, in seconds; each pause is twice the one before.
_FAILING_PAUSE: Final = (0.5, 15.0)
_PAUSES: Final = {StoreLocked.state: (0.5, 5.0), StoreMissing.state: (5.0, 300.0)}
# While a client waits, the pause is at most this many seconds.
HASTE: Final = 1.0
# Seconds before the store's dialog is shown again to a user who did not answer it.
_ASK_AGAIN: Final = 300.0


class StoreHealth:
    """Whether a store works, judged by the results of its calls."""

    def __init__(self) -> None:
        self.problem: StoreError | None = None
        # These two are valid only while there is a problem.
        self._failed_at = 0.0
        self._retry_at = 0.0
        self._pause = 0.0
        self._asked_at: float | None = None
        self._is_wanted = False

    @property
    def needs_a_person(self) -> bool:
        """Whether the store keeps failing until a person does something."""
        return isinstance(self.problem, StoreLocked | StoreMissing)

    def fail(self, error: StoreError, now: float) -> bool:
        """Record a failed call. Return whether the problem is new."""
        known, self.problem = self.problem, error
        first, longest = _PAUSES.get(error.state, _FAILING_PAUSE)
        self._pause = min(longest, self._pause * 2 or first)
        self._failed_at = now
        self._retry_at = now + self._pause
        return known is None or str(known) != str(error)

    def recover(self) -> bool:
        """Record a successful call. Return whether the store failed before."""
        self._pause = 0.0
        if self.problem is None:
            return False
        self.problem = None
        self._asked_at = None
        self._is_wanted = False
        return True

    # ---- the next attempt

    def pause(self, now: float) -> float:
        """Return how many seconds to wait before the next call; 0 if the store works."""
        return 0.0 if self.problem is None else max(0.0, self._retry_at - now)

    def hasten(self) -> None:
        """Shorten the pause, because a client waits for the next attempt."""
        self._retry_at = min(self._retry_at, self._failed_at + HASTE)

    def retry(self, now: float) -> None:
        """End the pause now."""
        self._retry_at = min(self._retry_at, now)

    def is_worth_a_wait(self, now: float) -> bool:
        """Whether a client may wait for a save: the store works, or is about to be retried and does not hang."""
        return self.problem is None or (not isinstance(self.problem, StoreHangs) and self.pause(now) == 0)

    # ---- the person

    def want(self) -> None:
        """Record that a client wants a session that can't be read yet."""
        self._is_wanted = True

    def may_ask(self, now: float) -> bool:
        """Return whether to ask the user to unlock the store; True counts as having asked."""
        if not isinstance(self.problem, StoreLocked):
            return False
        # A client that wanted it an hour ago may have left: its user may not be there to answer.
        wanted, self._is_wanted = self._is_wanted, False
        if not wanted or (self._asked_at is not None and now - self._asked_at < _ASK_AGAIN):
            return False
        self._asked_at = now
        return True
