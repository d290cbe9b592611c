"""A result that several tasks wait for."""

import anyio
import pytest

from auth_agent.promise import Promise

pytestmark = pytest.mark.anyio


async def test_all_waiting_tasks_get_the_result() -> None:
    promise = Promise[str]()
    results: list[str] = []

    async def wait() -> None:
        results.append(await promise.wait())

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(wait)
        tasks.start_soon(wait)
        await anyio.wait_all_tasks_blocked()
        promise.resolve("result")
    assert results == ["result", "result"]


async def test_a_late_wait_returns_the_result_at_once() -> None:
    promise = Promise[str]()
    promise.resolve("result")
    assert promise.is_done
    assert await promise.wait() == "result"


async def test_none_can_be_the_result() -> None:
    promise = Promise[str | None]()
    promise.resolve(None)
    assert promise.is_done
    assert await promise.wait() is None


async def test_an_error_is_raised_in_all_waiting_tasks() -> None:
    promise = Promise[str]()
    promise.fail(LookupError("nothing there"))
    for _ in range(2):
        with pytest.raises(LookupError, match="nothing there"):
            await promise.wait()


async def test_an_error_has_no_traceback_of_another_wait() -> None:
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


@pytest.mark.parametrize("second", ["resolve", "fail"])
async def test_only_the_first_result_counts(second: str) -> None:
    promise = Promise[str]()
    promise.resolve("first")
    if second == "resolve":
        promise.resolve("second")
    else:
        promise.fail(LookupError("too late"))
    assert await promise.wait() == "first"


async def test_cancelling_one_wait_does_not_cancel_another() -> None:
    promise = Promise[str]()
    results: list[str] = []

    async def wait() -> None:
        results.append(await promise.wait())

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(wait)
        with anyio.move_on_after(0):
            await promise.wait()
        promise.resolve("result")
    assert results == ["result"]
