"""The asynchronous client, beside the blocking one: the same questions, the same names."""

import asyncio
import inspect
from collections.abc import AsyncIterator, Callable, Mapping
from typing import Any

import anyio
import pytest

from auth_agent_client import Agent, Login
from auth_agent_client.aio import AsyncAgent, AsyncLogin, AsyncWatch, _Turns  # pyright: ignore[reportPrivateUsage] -- how it is fair
from tests.client.test_imports import foreign_packages

ANSWER: dict[str, object] = {
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
    """A class's methods that are not its own affair."""
    return {name: value for name, value in vars(kind).items() if callable(value) and not name.startswith("_")}


# What they give belongs to a client, and is another one's.
GIVING = {"login", "watch"}
ASKING = sorted(set(public(Agent)) - {"call", "close", "wait_for_end"} - GIVING)


def parameters(method: Callable[..., Any]) -> list[inspect.Parameter]:
    return [*inspect.signature(method).parameters.values()]


def test_both_clients_have_the_same_methods() -> None:
    assert set(public(AsyncAgent)) == set(public(Agent))


@pytest.mark.parametrize("name", sorted(set(public(Agent)) - GIVING))
def test_methods_take_the_same_parameters_and_give_the_same(name: str) -> None:
    check_that_they_are_the_same(public(Agent)[name], public(AsyncAgent)[name])


def check_that_they_are_the_same(blocking: Callable[..., Any], asynchronous: Callable[..., Any]) -> None:
    assert parameters(asynchronous) == parameters(blocking)
    assert inspect.iscoroutinefunction(asynchronous)
    assert inspect.signature(asynchronous).return_annotation == inspect.signature(blocking).return_annotation
    assert asynchronous.__doc__ == blocking.__doc__


def test_a_login_takes_the_same_parameters() -> None:
    assert parameters(AsyncAgent.login) == parameters(Agent.login)
    assert inspect.iscoroutinefunction(AsyncAgent.login)
    assert AsyncAgent.login.__doc__ == Agent.login.__doc__


def test_a_login_has_the_same_methods() -> None:
    assert set(public(AsyncLogin)) == set(public(Login)) != set()
    for name, blocking in public(Login).items():
        check_that_they_are_the_same(blocking, public(AsyncLogin)[name])


def test_watch_takes_the_same_parameters_and_is_iterated_over() -> None:
    assert parameters(AsyncAgent.watch) == parameters(Agent.watch)
    assert issubclass(AsyncWatch, AsyncIterator)


def test_both_are_made_with_the_same() -> None:
    assert inspect.signature(AsyncAgent) == inspect.signature(Agent)


class Recorded(Agent):
    """Notes what would be asked."""

    def __init__(self) -> None:
        super().__init__("/nonexistent/agent.sock")
        self.asked: list[tuple[str, Mapping[str, object]]] = []

    def call(self, method: str, parameters: Mapping[str, object]) -> dict[str, object]:
        self.asked.append((method, parameters))
        return ANSWER


class AsyncRecorded(AsyncAgent):
    """Notes what would be asked."""

    def __init__(self) -> None:
        super().__init__("/nonexistent/agent.sock")
        self.asked: list[tuple[str, Mapping[str, object]]] = []

    async def call(self, method: str, parameters: Mapping[str, object]) -> dict[str, object]:
        self.asked.append((method, parameters))
        return ANSWER


@pytest.mark.anyio
@pytest.mark.parametrize("name", ASKING)
async def test_both_ask_the_same(name: str) -> None:
    blocking, asynchronous = Recorded(), AsyncRecorded()
    # Each parameter its own name, to see where it goes.
    given: dict[str, object] = {one.name: one.name for one in parameters(public(Agent)[name])[1:]}
    if "changes" in given:
        given["changes"] = {"changes": "changes"}
    answers = getattr(blocking, name)(**given), await getattr(asynchronous, name)(**given)
    assert asynchronous.asked == blocking.asked
    assert blocking.asked != []
    assert repr(answers[0]) == repr(answers[1])


def test_it_alone_needs_anyio() -> None:
    assert "anyio" in foreign_packages("from auth_agent_client.aio import AsyncAgent")
    assert "anyio" not in foreign_packages("from auth_agent_client import *")


# ---- turns


@pytest.mark.anyio
async def test_turns_are_taken_in_the_order_of_coming() -> None:
    turns = _Turns(1)
    taken: list[int] = []

    async def take(number: int) -> None:
        await turns.take(float("inf"))
        taken.append(number)

    await turns.take(float("inf"))
    async with anyio.create_task_group() as tasks:
        for number in range(5):
            tasks.start_soon(take, number)
            await anyio.wait_all_tasks_blocked()
        for number in range(5):
            assert taken == [*range(number)]
            turns.give_back()
            await anyio.wait_all_tasks_blocked()
    assert taken == [*range(5)]


def test_a_turn_that_comes_to_one_who_is_cancelled_in_that_moment_is_not_lost() -> None:
    async def give_to_one_who_leaves() -> None:
        turns = _Turns(1)
        await turns.take(float("inf"))
        leaving = asyncio.create_task(turns.take(float("inf")))
        await anyio.wait_all_tasks_blocked()
        turns.give_back()
        leaving.cancel()  # asyncio's own, which takes away what has come already: anyio's scopes and trio don't
        with pytest.raises(asyncio.CancelledError):
            await leaving
        await turns.take(0.0)

    asyncio.run(give_to_one_who_leaves())


@pytest.mark.anyio
async def test_who_gave_up_has_no_turn() -> None:
    turns = _Turns(1)
    await turns.take(float("inf"))
    with pytest.raises(TimeoutError):
        await turns.take(0.0)
    turns.give_back()
    await turns.take(0.0)  # it is free, and not the one's who left
