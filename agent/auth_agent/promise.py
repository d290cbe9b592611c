"""A result that others wait for, and that somebody else brings: the one type for that, whatever the work is."""

from typing import Generic, TypeVar

import anyio

_Result = TypeVar("_Result")


class Promise(Generic[_Result]):
    """A result that comes once, or an error in its place; any number of tasks may wait for it.

    Only the first of `keep` and `fail` counts: whoever gives up on the work may say so whether or not it has ended.
    """

    __slots__ = ("_error", "_event", "_result")

    def __init__(self) -> None:
        self._event = anyio.Event()
        self._result: _Result | None = None
        self._error: Exception | None = None

    @property
    def is_over(self) -> bool:
        """Whether a result came, or an error."""
        return self._event.is_set()

    def keep(self, result: _Result) -> None:
        """Give that result to all who wait."""
        if not self.is_over:
            self._result = result
            self._event.set()

    def fail(self, error: Exception) -> None:
        """Raise that error in all who wait."""
        if not self.is_over:
            self._error = error
            self._event.set()

    async def wait(self) -> _Result:
        """Return the result, once it has come. A wait that is cancelled cancels nobody else's.

        Raises:
            Exception: the one that came in its place.

        """
        await self._event.wait()
        if self._error is not None:
            raise self._error.with_traceback(None)  # the same for everybody who waits: no trace of the others in it
        return self._result  # type: ignore[return-value]  # pyright: ignore[reportReturnType] -- set by `keep`; None may be a result
