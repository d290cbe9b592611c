"""A result that others wait for."""

import anyio
import pytest

from auth_agent.promise import Promise

pytestmark = pytest.mark.anyio


async def test_all_who_wait_get_the_result() -> None:
    promise = Promise[str]()
    results: list[str] = []

    async def wait() -> None:
        results.append(await promise.wait())

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(wait)
        tasks.start_soon(wait)
        await anyio.wait_all_tasks_blocked()
        promise.keep("result")
    assert results == ["result", "result"]


async def test_who_comes_late_gets_the_result_at_once() -> None:
    promise = Promise[str]()
    promise.keep("result")
    assert promise.is_over
    assert await promise.wait() == "result"


async def test_none_is_a_result_too() -> None:
    promise = Promise[str | None]()
    promise.keep(None)
    assert promise.is_over
    assert await promise.wait() is None


async def test_an_error_is_raised_in_all_who_wait() -> None:
    promise = Promise[str]()
    promise.fail(LookupError("nothing there"))
    for _ in range(2):
        with pytest.raises(LookupError, match="nothing there"):
            await promise.wait()


async def test_an_error_carries_no_trace_of_another_wait() -> None:
    promise = Promise[str]()
    error = LookupError("nothing there")
    promise.fail(error)
    depths: list[int] = []
    for _ in range(3):
        try:
            await promise.wait()
        except LookupError as raised:
            trace, depth = raised.__traceback__, 0
            while trace is not None:
                trace, depth = trace.tb_next, depth + 1
            depths.append(depth)
    assert len(set(depths)) == 1


@pytest.mark.parametrize("second", ["keep", "fail"])
async def test_only_the_first_word_counts(second: str) -> None:
    promise = Promise[str]()
    promise.keep("first")
    if second == "keep":
        promise.keep("second")
    else:
        promise.fail(LookupError("too late"))
    assert await promise.wait() == "first"


async def test_a_wait_that_is_cancelled_cancels_nobody_elses() -> None:
    promise = Promise[str]()
    results: list[str] = []

    async def wait() -> None:
        results.append(await promise.wait())

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(wait)
        with anyio.move_on_after(0):
            await promise.wait()
        promise.keep("result")
    assert results == ["result"]
