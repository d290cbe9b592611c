"""One call of a method: checked before it is sent, with a deadline, and repeatable or not."""

import time
from collections.abc import Mapping

from .errors import Timeout
from .messages import check

# Seconds. The agent responds within the request's `timeout`; this much later it is considered hung.
_GRACE = 5.0
# Seconds, eleven days: poll(2) takes at most 2^31 ms.
LONGEST = 1_000_000.0


class Call:
    """A method and its parameters; parameters that are None are left out.

    `deadline` is on the monotonic clock. It counts from the creation: waiting for a connection is part of the wait.
    """

    __slots__ = ("_longest", "deadline", "method", "parameters", "repeatable")

    def __init__(self, method: str, parameters: Mapping[str, object]) -> None:
        """Check the method and its parameters.

        Raises:
            UnknownMethod, InvalidRequest: no agent would accept the call.

        """
        self.method = method
        self.parameters = {name: value for name, value in parameters.items() if value is not None}
        spec = check(method, self.parameters)
        self.repeatable = spec.repeatable
        self._longest = spec.longest
        if spec.timeout is not None:
            timeout = self.parameters.get("timeout", spec.timeout)
            self._longest = min(
                LONGEST, _GRACE + (float(timeout) if isinstance(timeout, (int, float)) else spec.timeout)
            )
        self.deadline = time.monotonic() + self._longest

    def timeout_error(self) -> Timeout:
        """Return the error for a deadline that has passed."""
        return Timeout(f"the agent did not respond to {self.method} within {self._longest:g} s")
