"""A result that several tasks wait for and another one provides."""

from typing import Generic, TypeVar

import anyio

_Result = TypeVar("_Result")


class Promise(Generic[_Result]):
    """A result or an error that is set once; any number of tasks may wait for it.

    Only the first call of `resolve` or `fail` has an effect, so a caller may give up on the work without knowing
    whether it has ended.
    """

    __slots__ = ("_error", "_event", "_result")

    def __init__(self) -> None:
        self._event = anyio.Event()
        self._result: _Result | None = None
        self._error: Exception | None = None

    @property
    def is_done(self) -> bool:
        """Whether a result or an error has been set."""
        return self._event.is_set()

    def resolve(self, result: _Result) -> None:
        """Set the result, which `wait` returns in all tasks."""
        if not self.is_done:
            self._result = result
            self._event.set()

    def fail(self, error: Exception) -> None:
        """Set the error, which `wait` raises in all tasks."""
        if not self.is_done:
            self._error = error
            self._event.set()

    async def wait(self) -> _Result:
        """Wait for the result and return it. Cancelling one wait doesn't affect the others.

        Raises:
            Exception: the one that `fail` set.

        """
        await self._event.wait()
        if self._error is not None:
            raise self._error.with_traceback(None)  # all waits raise the same object: without the others' tracebacks
        return self._result  # type: ignore[return-value]  # pyright: ignore[reportReturnType] -- set by `resolve`; None may be a result
