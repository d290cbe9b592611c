"""The health of a store: what is wrong with it, when it is tried again, and whether a person may be asked. Pure.

It is told the time, in seconds of a clock that never goes back; the caller acts on what it says.
"""

from typing import Final

from auth_agent.storage.store import StoreError, StoreHangs, StoreLocked, StoreMissing

# Pauses between attempts, in seconds: doubled up to the second of them.
_FAILING_PAUSE: Final = (0.5, 15.0)
_PAUSES: Final = {StoreLocked.state: (0.5, 5.0), StoreMissing.state: (5.0, 300.0)}
# A client that waits brings the next attempt forward to one in so many seconds.
HASTE: Final = 1.0
# A person who did not answer the store's dialog isn't shown another one that soon.
_ASK_AGAIN: Final = 300.0


class StoreHealth:
    """Whether a store works, by the ends of the calls that were made."""

    def __init__(self) -> None:
        self.problem: StoreError | None = None
        # Both mean something only while there is a problem.
        self._failed_at = 0.0
        self._retry_at = 0.0
        self._pause = 0.0
        self._asked_at: float | None = None
        self._is_wanted = False

    @property
    def needs_a_person(self) -> bool:
        """Whether the store stays as it is until a person does something."""
        return isinstance(self.problem, StoreLocked | StoreMissing)

    def fail(self, error: StoreError, now: float) -> bool:
        """A call has failed. Return whether that is news."""
        known, self.problem = self.problem, error
        first, longest = _PAUSES.get(error.state, _FAILING_PAUSE)
        self._pause = min(longest, self._pause * 2 or first)
        self._failed_at = now
        self._retry_at = now + self._pause
        return known is None or str(known) != str(error)

    def recover(self) -> bool:
        """A call has succeeded. Return whether that is news."""
        self._pause = 0.0
        if self.problem is None:
            return False
        self.problem = None
        self._asked_at = None
        self._is_wanted = False
        return True

    # ---- the next attempt

    def pause(self, now: float) -> float:
        """Return how many seconds to wait before the next call; none if the store works."""
        return 0.0 if self.problem is None else max(0.0, self._retry_at - now)

    def hasten(self) -> None:
        """Bring the next attempt forward, since somebody waits for it."""
        self._retry_at = min(self._retry_at, self._failed_at + HASTE)

    def retry(self, now: float) -> None:
        """Make the next attempt now."""
        self._retry_at = min(self._retry_at, now)

    def is_worth_a_wait(self, now: float) -> bool:
        """Whether the store may take what is to be saved: it works, or it is tried anew, and answers soon."""
        return self.problem is None or (not isinstance(self.problem, StoreHangs) and self.pause(now) == 0)

    # ---- the person

    def want(self) -> None:
        """A client wants what can't be read yet."""
        self._is_wanted = True

    def may_ask(self, now: float) -> bool:
        """Whether the person may be asked to unlock the store. A yes counts as having asked."""
        if not isinstance(self.problem, StoreLocked):
            return False
        # Whoever wanted it an hour ago need not be there any more to answer.
        wanted, self._is_wanted = self._is_wanted, False
        if not wanted or (self._asked_at is not None and now - self._asked_at < _ASK_AGAIN):
            return False
        self._asked_at = now
        return True
