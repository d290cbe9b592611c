"""One call of a method: checked before it is sent, with a deadline, and repeatable or not."""

import time
from collections.abc import Mapping

from .errors import Timeout
from .messages import check
from .wire import question_of

# Seconds. The agent responds within the request's `timeout`; this much later it is considered hung.
_GRACE = 5.0
# Seconds, eleven days: poll(2) takes at most 2^31 ms.
LONGEST = 1_000_000.0
# Calls that are kept. Beyond, all are forgotten: with so many, packing is not what takes time.
_MOST_CALLS = 64


class Call:
    """A method and its parameters; parameters that are None are left out.

    `deadline` is on the monotonic clock. It counts from the creation: waiting for a connection is part of the wait.
    """

    __slots__ = ("_longest", "deadline", "method", "question", "repeatable")

    method: str
    # What is sent, after the id.
    question: bytes
    repeatable: bool
    deadline: float
    _longest: float

    def __init__(self, method: str, parameters: Mapping[str, object]) -> None:
        """Check the method and its parameters.

        Raises:
            UnknownMethod, InvalidRequest: no agent would accept the call, or it is too large.

        """
        self.method = method
        given = {name: value for name, value in parameters.items() if value is not None}
        spec = check(method, given)
        self.question = question_of(method, given)
        self.repeatable = spec.repeatable
        self._longest = spec.longest
        if spec.timeout is not None:
            timeout = given.get("timeout", spec.timeout)
            self._longest = min(
                LONGEST, _GRACE + (float(timeout) if isinstance(timeout, (int, float)) else spec.timeout)
            )
        self.deadline = time.monotonic() + self._longest

    def again(self) -> "Call":
        """Return the same call with a deadline that counts from now."""
        call = Call.__new__(Call)
        call.method, call.question, call.repeatable = self.method, self.question, self.repeatable
        call._longest = self._longest  # noqa: SLF001 -- its own
        call.deadline = time.monotonic() + self._longest
        return call

    def timeout_error(self) -> Timeout:
        """Return the error for a deadline that has passed."""
        return Timeout(f"the agent did not respond to {self.method} within {self._longest:g} s")


class Calls:
    """The calls of one client. Those of `token` are checked and packed once: most programs make one again and again."""

    def __init__(self) -> None:
        self._tokens: dict[tuple[object, ...], Call] = {}

    def call(self, method: str, parameters: Mapping[str, object]) -> Call:
        """Return a new call. Raises as `Call` does."""
        if method != "token":  # the parameters of others may be secrets
            return Call(method, parameters)
        values = parameters.values()
        key = *parameters, *values, *map(type, values)  # True is equal to 1, but is not a number here
        try:
            call = self._tokens.get(key)
        except TypeError:  # a value that can't be hashed: `Call` says what is wrong with it
            call = None
        if call is not None:
            return call.again()
        call = Call(method, parameters)
        if len(self._tokens) >= _MOST_CALLS:
            self._tokens.clear()
        self._tokens[key] = call
        return call
