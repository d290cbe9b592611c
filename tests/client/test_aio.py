"""The asynchronous client has the methods, parameters and requests of the blocking one."""

import asyncio
import inspect
from collections.abc import AsyncIterator, Callable, Mapping
from typing import Any

import anyio
import pytest

from auth_agent_client import Agent, Login
from auth_agent_client.aio import AsyncAgent, AsyncLogin, AsyncWatch, _Turns  # pyright: ignore[reportPrivateUsage] -- to test its fairness
from auth_agent_client.waiting import Late
from tests.client.test_imports import foreign_packages

RESULT: dict[str, object] = {
    "account": "work",
    "access_token": "secret",
    "token_type": "bearer",
    "expires_at": 4e9,
    "valid": True,
    "revoked": True,
    "end_session_url": "https://id.example/logout",
    "id_token": "secret",
    "claims": {"sub": "auth0|alice"},
    "fetched_at": 4e9,
    "stale": True,
    "user": {"user_id": "auth0|alice"},
    "user_metadata": {"country": "Canada"},
}


def public(kind: type) -> dict[str, Callable[..., Any]]:
    """Return the public methods of a class."""
    return {name: value for name, value in vars(kind).items() if callable(value) and not name.startswith("_")}


# Their results belong to a client, so each client has its own classes.
WITH_OWN_CLASSES = {"login", "watch"}
WITH_SAME_CLASSES = sorted(set(public(Agent)) - {"call", "close", "wait_for_end"} - WITH_OWN_CLASSES)


def parameters(method: Callable[..., Any]) -> list[inspect.Parameter]:
    return [*inspect.signature(method).parameters.values()]


def test_both_clients_have_the_same_methods() -> None:
    assert set(public(AsyncAgent)) == set(public(Agent))


@pytest.mark.parametrize("name", sorted(set(public(Agent)) - WITH_OWN_CLASSES))
def test_methods_have_the_same_parameters_and_results(name: str) -> None:
    assert_same(public(Agent)[name], public(AsyncAgent)[name])


def assert_same(blocking: Callable[..., Any], asynchronous: Callable[..., Any]) -> None:
    assert parameters(asynchronous) == parameters(blocking)
    assert inspect.iscoroutinefunction(asynchronous)
    assert inspect.signature(asynchronous).return_annotation == inspect.signature(blocking).return_annotation
    assert asynchronous.__doc__ == blocking.__doc__


def test_login_has_the_same_parameters() -> None:
    assert parameters(AsyncAgent.login) == parameters(Agent.login)
    assert inspect.iscoroutinefunction(AsyncAgent.login)
    assert AsyncAgent.login.__doc__ == Agent.login.__doc__


def test_a_login_has_the_same_methods() -> None:
    assert set(public(AsyncLogin)) == set(public(Login)) != set()
    for name, blocking in public(Login).items():
        assert_same(blocking, public(AsyncLogin)[name])


def test_watch_has_the_same_parameters_and_is_an_async_iterator() -> None:
    assert parameters(AsyncAgent.watch) == parameters(Agent.watch)
    assert issubclass(AsyncWatch, AsyncIterator)


def test_both_clients_have_the_same_constructor_but_for_copies() -> None:
    blocking = [parameter for parameter in parameters(Agent) if parameter.name != "watch"]
    assert parameters(AsyncAgent) == blocking


class RecordingAgent(Agent):
    """Records its calls."""

    def __init__(self) -> None:
        super().__init__("/nonexistent/agent.sock")
        self.calls: list[tuple[str, Mapping[str, object]]] = []

    def call(self, method: str, parameters: Mapping[str, object]) -> dict[str, object]:
        self.calls.append((method, parameters))
        return RESULT


class AsyncRecordingAgent(AsyncAgent):
    """Records its calls."""

    def __init__(self) -> None:
        super().__init__("/nonexistent/agent.sock")
        self.calls: list[tuple[str, Mapping[str, object]]] = []

    async def call(self, method: str, parameters: Mapping[str, object]) -> dict[str, object]:
        self.calls.append((method, parameters))
        return RESULT


@pytest.mark.anyio
@pytest.mark.parametrize("name", WITH_SAME_CLASSES)
async def test_both_clients_send_the_same_requests(name: str) -> None:
    blocking, asynchronous = RecordingAgent(), AsyncRecordingAgent()
    # The value of each parameter is its name, which shows where it goes.
    args: dict[str, object] = {parameter.name: parameter.name for parameter in parameters(public(Agent)[name])[1:]}
    if "changes" in args:
        args["changes"] = {"changes": "changes"}
    results = getattr(blocking, name)(**args), await getattr(asynchronous, name)(**args)
    assert asynchronous.calls == blocking.calls
    assert blocking.calls != []
    assert repr(results[0]) == repr(results[1])


def test_only_the_asynchronous_client_needs_anyio() -> None:
    assert "anyio" in foreign_packages("from auth_agent_client.aio import AsyncAgent")
    assert "anyio" not in foreign_packages("from auth_agent_client import *")


# ---- turns


@pytest.mark.anyio
async def test_turns_are_taken_in_order() -> None:
    turns = _Turns(1)
    order: list[int] = []

    async def take(number: int) -> None:
        await turns.take(float("inf"))
        order.append(number)

    await turns.take(float("inf"))
    async with anyio.create_task_group() as tasks:
        for number in range(5):
            tasks.start_soon(take, number)
            await anyio.wait_all_tasks_blocked()
        for number in range(5):
            assert order == [*range(number)]
            turns.give_back()
            await anyio.wait_all_tasks_blocked()
    assert order == [*range(5)]


def test_a_turn_given_to_a_task_that_is_just_cancelled_is_not_lost() -> None:
    async def give_to_cancelled_task() -> None:
        turns = _Turns(1)
        await turns.take(float("inf"))
        cancelled = asyncio.create_task(turns.take(float("inf")))
        await anyio.wait_all_tasks_blocked()
        turns.give_back()
        cancelled.cancel()  # unlike anyio's scopes and trio, it discards a result that has arrived
        with pytest.raises(asyncio.CancelledError):
            await cancelled
        await turns.take(0.0)

    asyncio.run(give_to_cancelled_task())


@pytest.mark.anyio
async def test_a_task_that_gave_up_gets_no_turn() -> None:
    turns = _Turns(1)
    await turns.take(float("inf"))
    with pytest.raises(Late):
        await turns.take(0.0)
    turns.give_back()
    await turns.take(0.0)  # it is free, and does not belong to the task that gave up
