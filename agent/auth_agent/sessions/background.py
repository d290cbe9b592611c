"""Work that goes on when the client that asked for it has gone, and that an ending agent waits for."""

import logging
from collections.abc import Awaitable, Callable, Coroutine, Generator
from contextlib import contextmanager
from typing import Any, Final, TypeVar

import anyio
from anyio.abc import TaskGroup

from auth_agent.config import Account
from auth_agent.defect import place
from auth_agent.promise import Promise
from auth_agent.sessions.advice import agent_ending, internal_error
from auth_agent.sessions.saver import Saver
from auth_agent_client import errors

_log = logging.getLogger(__name__)
_Result = TypeVar("_Result")

# Seconds that an ending agent waits for its work, and a logout for its refresh in flight.
PATIENCE: Final = 10.0
# Further seconds that it waits for the last saves.
_LAST_SAVES: Final = 2.0


class Background:
    """Runs such work until it is drained; `saver` saves its results."""

    def __init__(self, saver: Saver) -> None:
        self._saver = saver
        self._tasks: TaskGroup | None = None
        self._unfinished: set[anyio.Event] = set()
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

    async def run_detached(
        self, work: Callable[[], Awaitable[_Result]], timeout: float | None = None, late: str = ""
    ) -> _Result:
        """Do work that goes on when the client that asked for it leaves; return its result to one that stays.

        `late` says what is missing after `timeout` seconds.

        Raises:
            AgentError: the work's, or `Timeout` when it takes longer than `timeout` seconds.

        """
        promise = Promise[_Result]()

        async def run() -> None:
            try:
                promise.resolve(await work())
            except errors.AgentError as error:
                promise.fail(error)
            except Exception as error:  # noqa: BLE001 -- one client's defect must not end the agent
                # Its type and place alone: an exception's text could hold what was being worked on.
                _log.error("defect in=background error=%s", place(error))
                promise.fail(internal_error())

        self.begin(run)
        with deadline(timeout, late):
            return await promise.wait()

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
