"""Work that goes on when the client that asked for it has gone, and that an ending agent waits for."""

import logging
from collections import Counter
from collections.abc import Awaitable, Callable, Coroutine, Generator, Hashable
from contextlib import contextmanager
from typing import Any, Final, Generic, TypeVar

import anyio
from anyio.abc import TaskGroup

from auth_agent.config import Account
from auth_agent.defect import place
from auth_agent.promise import Promise
from auth_agent.sessions.advice import agent_ending, busy, internal_error
from auth_agent.sessions.saver import Saver
from auth_agent_client import errors

_log = logging.getLogger(__name__)
_Result = TypeVar("_Result")

# Seconds that an ending agent waits for its work, and a logout for its refresh in flight.
PATIENCE: Final = 10.0
# Further seconds that it waits for the last saves.
_LAST_SAVES: Final = 2.0
# Pieces of detached work of one owner at a time.
_MOST_OWNED: Final = 2


class Background:
    """Runs such work until it is drained; `saver` saves its results."""

    def __init__(self, saver: Saver) -> None:
        self._saver = saver
        self._tasks: TaskGroup | None = None
        self._unfinished: set[anyio.Event] = set()
        self._owned = Counter[Hashable]()
        self._is_stopping = False

    def run_in(self, tasks: TaskGroup) -> None:
        """Run all later work in that task group."""
        self._tasks = tasks

    @property
    def accepts_work(self) -> bool:
        """Whether work may begin: not before `run_in`, and not once the agent is ending."""
        return self._tasks is not None and not self._is_stopping

    def begin(self, work: Callable[[], Awaitable[None]], name: str | None = None) -> anyio.Event:
        """Begin work that must not raise; return an event that is set at its end. `name` is the name of its task.

        Raises:
            Unavailable: the agent is ending.

        """
        if self._tasks is None or self._is_stopping:
            raise agent_ending()
        done = anyio.Event()

        async def run() -> None:
            try:
                await _contain(work)
            finally:
                self._unfinished.discard(done)
                done.set()

        self._unfinished.add(done)
        self._tasks.start_soon(run, name=name)
        return done

    def begin_optional(self, work: Callable[[], Coroutine[Any, Any, None]]) -> None:
        """Begin work that must not raise, and that an ending agent does not wait for."""
        if self._tasks is not None:
            self._tasks.start_soon(_contain, work)

    def detached(
        self, owner: Hashable, work: Callable[[], Awaitable[_Result]], timeout: float | None = None, late: str = ""
    ) -> "Detached[_Result]":
        """Return work that goes on when the client that asked for it leaves, for one call.

        `owner` has two of them at a time: one that runs, and one that may wait for it. `late` says what is missing
        after `timeout` seconds.
        """
        return Detached(self, owner, work, timeout, late)

    def begin_owned(self, owner: Hashable, work: Callable[[], Awaitable[None]]) -> anyio.Event:
        """Begin work of that owner. Raises `Unavailable` if the owner has too much, or the agent is ending."""
        if self._owned[owner] >= _MOST_OWNED:
            raise busy(f"{_MOST_OWNED} such requests of this program are in progress; try again when one is done")

        async def run() -> None:
            try:
                await work()
            finally:
                self._owned[owner] -= 1
                if not self._owned[owner]:
                    del self._owned[owner]

        done = self.begin(run)
        self._owned[owner] += 1
        return done

    @property
    def is_idle(self) -> bool:
        """Whether no work is unfinished."""
        return not self._unfinished

    async def wait_until_idle(self) -> None:
        """Wait until no work is unfinished."""
        while self._unfinished:
            await next(iter(self._unfinished)).wait()

    async def drain(self) -> None:
        """Accept no more work; wait for the present work, at most ten seconds, and for saves."""
        self._is_stopping = True
        patience = anyio.move_on_after(PATIENCE)
        async with anyio.create_task_group() as saving:
            saving.start_soon(self._saver.drain, PATIENCE)
            with patience:
                for done in tuple(self._unfinished):
                    await done.wait()
        if patience.cancelled_caught:
            _log.warning("stopping unfinished=%d", len(self._unfinished))
        await self._saver.drain(_LAST_SAVES)


async def _contain(work: Callable[[], Awaitable[None]]) -> None:
    try:
        await work()
    except Exception as error:  # noqa: BLE001 -- a defect in one session's work must not end the agent
        # Its type and place alone: an exception's text could hold what was being worked on.
        _log.error("defect in=background error=%s", place(error))


class Detached(Generic[_Result]):
    """Work that goes on when the client that asked for it leaves; see `Background.detached`."""

    def __init__(
        self,
        background: Background,
        owner: Hashable,
        work: Callable[[], Awaitable[_Result]],
        timeout: float | None,
        late: str,
    ) -> None:
        self._background = background
        self._owner = owner
        self._work = work
        self._timeout = timeout
        self._late = late
        self._promise = Promise[_Result]()
        self._done: anyio.Event | None = None

    async def __call__(self) -> _Result:
        """Begin the work; return its result to a client that stays.

        Raises:
            AgentError: the work's, `Unavailable` if its owner has too much, or `Timeout`.

        """
        self._done = self._background.begin_owned(self._owner, self._run)
        with deadline(self._timeout, self._late):
            return await self._promise.wait()

    async def wait_until_over(self) -> None:
        """Wait until the work is done, if it was begun."""
        if self._done is not None:
            await self._done.wait()

    async def _run(self) -> None:
        try:
            self._promise.resolve(await self._work())
        except errors.AgentError as error:
            self._promise.fail(error)
        except Exception as error:  # noqa: BLE001 -- one client's defect must not end the agent
            # Its type and place alone: an exception's text could hold what was being worked on.
            _log.error("defect in=background error=%s", place(error))
            self._promise.fail(internal_error())


@contextmanager
def deadline(timeout: float | None, late: str) -> Generator[None, None, None]:
    """Raise `Timeout` after so many seconds; the work that is waited for goes on.

    `late` says what is missing then, as `no_answer` does.
    """
    try:
        with anyio.fail_after(timeout):
            yield
    except TimeoutError as error:
        raise errors.Timeout(f"{late} within {timeout:g} s; the work goes on") from error


def no_answer(account: Account) -> str:
    """Return what is missing while the account's provider is waited for."""
    return f"{account.name}: no answer from {account.host}"
