"""Work that continues after its client has left."""

import logging
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

import anyio
import anyio.lowlevel
import pytest
import trio.testing

from auth_agent.sessions.background import PATIENCE, Background
from auth_agent.sessions.saver import Saver
from auth_agent.sessions.table import Table
from auth_agent.storage.journal import Journal
from auth_agent.storage.memory import MemoryStore
from auth_agent_client import errors
from tests.agent.world import FakeClock, config

pytestmark = pytest.mark.anyio


@pytest.fixture
def anyio_backend() -> tuple[str, dict[str, object]]:
    return "trio", {"clock": trio.testing.MockClock(autojump_threshold=0)}


def idle() -> Background:
    return Background(Saver(Table(config(), FakeClock()), MemoryStore(), Journal(None)))


@asynccontextmanager
async def running() -> AsyncGenerator[Background]:
    background = idle()
    async with anyio.create_task_group() as tasks:
        background.run_in(tasks)
        yield background
        tasks.cancel_scope.cancel()


async def test_a_client_that_stays_receives_the_result_or_the_error() -> None:
    async def work() -> str:
        return "done"

    async def fail() -> str:
        raise errors.Denied("no")

    async with running() as background:
        assert await background.detached("a program", work)() == "done"
        with pytest.raises(errors.Denied, match="no"):
            await background.detached("a program", fail)()


async def test_a_defect_in_work_that_must_not_raise_ends_nothing_else(caplog: pytest.LogCaptureFixture) -> None:
    async def fail() -> None:
        await anyio.lowlevel.checkpoint()
        raise RuntimeError("canary")

    async with running() as background:
        await background.begin(fail).wait()
        background.begin_optional(fail)
        await anyio.wait_all_tasks_blocked()
        assert background.is_idle
    assert caplog.text.count("defect in=background error=RuntimeError@") == 2
    assert "canary" not in caplog.text


async def test_work_continues_when_its_client_has_left() -> None:
    go_on, done = anyio.Event(), anyio.Event()

    async def work() -> None:
        await go_on.wait()
        done.set()

    async with running() as background:
        with anyio.CancelScope() as client:
            client.cancel()
            await background.detached("a program", work)()
        with pytest.raises(errors.Timeout):
            await background.detached("a program", go_on.wait, timeout=0)()
        go_on.set()
        await done.wait()


async def test_an_owner_has_two_pieces_of_work_at_a_time_also_when_its_clients_leave() -> None:
    go_on = anyio.Event()

    async with running() as background:
        first, second, third = [background.detached("greedy", go_on.wait, timeout=0) for _ in range(3)]
        for work in (first, second):
            with pytest.raises(errors.Timeout):
                await work()
        with pytest.raises(errors.Unavailable):
            await third()
        with pytest.raises(errors.Timeout):
            await background.detached("modest", go_on.wait, timeout=0)()
        go_on.set()
        await first.wait_until_over()
        await second.wait_until_over()
        await third.wait_until_over()  # it was not begun
        await background.detached("greedy", go_on.wait)()


async def test_a_defect_ends_only_that_work_and_shows_no_message(caplog: pytest.LogCaptureFixture) -> None:
    async def work() -> None:
        raise ZeroDivisionError("s3cret")

    async with running() as background:
        with caplog.at_level(logging.ERROR), pytest.raises(errors.Internal) as caught:
            await background.detached("a program", work)()
        assert "error=ZeroDivisionError@test_background.py:" in caplog.text
        assert "s3cret" not in f"{caplog.text} {caught.value}"
        assert background.accepts_work


async def test_a_stopping_agent_starts_no_work_and_waits_for_running_work() -> None:
    go_on = anyio.Event()
    ends: list[str] = []

    async def work() -> None:
        await go_on.wait()
        ends.append("work")

    async def drain(background: Background) -> None:
        await background.drain()
        ends.append("drain")

    async with running() as background, anyio.create_task_group() as stopping:
        background.begin(work)
        stopping.start_soon(drain, background)
        await anyio.wait_all_tasks_blocked()
        with pytest.raises(errors.Unavailable):
            background.begin(work)
        go_on.set()
    assert ends == ["work", "drain"]


async def test_a_stopping_agent_does_not_wait_for_optional_work() -> None:
    async with running() as background:
        background.begin_optional(anyio.sleep_forever)
        start = anyio.current_time()
        await background.drain()
        assert anyio.current_time() == start


async def test_a_stopping_agent_waits_no_longer_than_its_patience() -> None:
    async with running() as background:
        background.begin(anyio.sleep_forever)
        start = anyio.current_time()
        await background.drain()
        assert anyio.current_time() == start + PATIENCE


async def test_work_cannot_begin_before_run_in() -> None:
    background = idle()
    assert not background.accepts_work
    with pytest.raises(errors.Unavailable):
        background.begin(anyio.sleep_forever)
