"""One call of a method, checked before anything is sent: what is asked, until when, and whether it may be repeated."""

import time
from collections.abc import Mapping

from .errors import Timeout
from .messages import check

# The agent answers by the request's `timeout`; this much later it is taken to hang.
_GRACE = 5.0
# Eleven days: more milliseconds than that, and the kernel's poll takes no more.
LONGEST = 1_000_000.0


class Question:
    """A method and its parameters, of which one that is None is left out.

    `deadline` is on the monotonic clock, and counts from here: waiting for a connection is a part of the wait.
    """

    __slots__ = ("_longest", "deadline", "method", "parameters", "repeatable")

    def __init__(self, method: str, parameters: Mapping[str, object]) -> None:
        """Ask that.

        Raises:
            UnknownMethod, InvalidRequest: no agent would take it.

        """
        self.method = method
        self.parameters = {name: value for name, value in parameters.items() if value is not None}
        spec = check(method, self.parameters)
        self.repeatable = spec.repeatable
        self._longest = spec.longest
        if spec.timeout is not None:
            asked = self.parameters.get("timeout", spec.timeout)
            self._longest = min(LONGEST, _GRACE + (float(asked) if isinstance(asked, (int, float)) else spec.timeout))
        self.deadline = time.monotonic() + self._longest

    def unanswered(self) -> Timeout:
        """The error for a deadline that has passed."""
        return Timeout(f"the agent has not answered {self.method} for {self._longest:g} s")
