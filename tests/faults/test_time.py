"""Suspended machines, clocks that are set or were wrong all along, reboots: a real agent on clocks that a test moves.

What a provider says of a token is what counts, so an hour that passes for the agent passes for the provider as well.
"""

import sys
import time
from collections.abc import Callable, Generator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from email.utils import formatdate
from itertools import count
from pathlib import Path
from typing import Any

import pytest

from auth_agent_client import Agent, Unavailable
from tests.faults import shifted_clock
from tests.faults.shifted_clock import ShiftedClock
from tests.integration import test_login
from tests.integration.agent_process import AgentProcess, until
from tests.integration.conftest import account, log_in, record
from tests.integration.keyring_session import KeyringSession
from tests.op.provider import OpenIDProvider

LIFETIME = 3600
HOUR = 3600.0
# What the agent promises after a resume or a clock that was set, when nobody asks; and slack for a busy machine.
TICK = 30.0
SLACK = 20.0
CROWD = 50

Shift = Callable[[ShiftedClock, OpenIDProvider], None]
Quiet = tuple[AgentProcess, OpenIDProvider]


def suspend(clock: ShiftedClock, provider: OpenIDProvider) -> None:
    """An hour passes for everybody, and the machine sleeps."""
    clock.suspend(HOUR)
    provider.set_clock(HOUR)


def set_forward(clock: ShiftedClock, provider: OpenIDProvider) -> None:  # noqa: ARG001 -- a provider's clock is its own
    clock.set_wall(2 * HOUR)


def set_back(clock: ShiftedClock, provider: OpenIDProvider) -> None:  # noqa: ARG001 -- as above
    clock.set_wall(-2 * HOUR)


SHIFTS: dict[str, Shift] = {"an hour of suspend": suspend, "two hours forward": set_forward, "two back": set_back}


@pytest.fixture
def start_provider() -> Generator[Callable[..., OpenIDProvider], None, None]:
    """Starts providers that end with the test; its keywords are those of `OpenIDProvider`."""
    with ExitStack() as stack:

        def start(**how: Any) -> OpenIDProvider:
            return stack.enter_context(OpenIDProvider(**how))

        yield start


@pytest.fixture
def start_agent(tmp_path: Path) -> Generator[Callable[..., tuple[AgentProcess, ShiftedClock]], None, None]:
    """Starts agents of any accounts on clocks of their own; its keywords are those of `AgentProcess`."""
    numbers = count()
    with ExitStack() as stack:

        def start(accounts: dict[str, dict[str, object]], **how: Any) -> tuple[AgentProcess, ShiftedClock]:
            file = tmp_path / f"clock-{next(numbers)}"
            clock = ShiftedClock.make(file)
            command = (sys.executable, "-W", "error", shifted_clock.__file__, str(file))
            return stack.enter_context(AgentProcess(accounts, command=command, **how)), clock

        yield start


@pytest.fixture(scope="module")
def quiet() -> Generator[Quiet, None, None]:
    """An agent on the machine's clock, logged in at a provider whose tokens last."""
    with (
        OpenIDProvider(access_token_lifetime=24 * LIFETIME) as provider,
        AgentProcess({"work": account(provider)}) as agent,
    ):
        log_all_in(agent, provider, ["work"])
        yield agent, provider


def log_all_in(agent: AgentProcess, provider: OpenIDProvider, names: list[str]) -> dict[str, str]:
    """Log each in, and forget that; the access tokens."""
    for name in names:
        with agent.client() as client:  # each its own: what one connection may import is limited
            log_in(client, provider, name)
    provider.reset()
    with agent.client() as client:
        return {name: client.token(name).access_token for name in names}


def refreshes(provider: OpenIDProvider) -> list[float]:
    """When each refresh came to the provider, in Unix time."""
    return [request.at for request in provider.requests(provider.token_path, "refresh_token")]


def assert_each_was_refreshed_once(
    client: Agent, provider: OpenIDProvider, clock: ShiftedClock, before: dict[str, str]
) -> None:
    """And that the provider takes what is served now, and that nothing more is going to come of it."""
    after = {name: client.token(name).access_token for name in before}
    assert [name for name in before if after[name] == before[name]] == []
    refused = [name for name, token in after.items() if provider.userinfo(token).status_code != 200]
    assert refused == []
    now = clock.now().wall
    for name in before:
        at = record(client, name)["refresh_at"]
        assert isinstance(at, float)
        assert LIFETIME / 2 < at - now < LIFETIME, name
    assert [row.presented for row in provider.ledger().values()] == [1] * len(before)


@pytest.mark.slow
def test_without_anybody_asking_fifty_sessions_are_refreshed_within_a_tick_and_each_once(
    start_agent: Callable[..., tuple[AgentProcess, ShiftedClock]], start_provider: Callable[..., OpenIDProvider]
) -> None:
    """The three shifts at once, each in an agent of its own: they have to wait for a tick."""
    sizes: dict[Shift, int] = {suspend: CROWD, set_forward: 3, set_back: 3}
    worlds: list[tuple[Shift, AgentProcess, ShiftedClock, OpenIDProvider, dict[str, str]]] = []
    for shift, size in sizes.items():
        provider = start_provider(access_token_lifetime=LIFETIME)
        names = [f"number-{number}" for number in range(size)]
        agent, clock = start_agent({name: account(provider) for name in names})
        worlds.append((shift, agent, clock, provider, log_all_in(agent, provider, names)))
    shifted_at = time.time()
    for shift, _, clock, provider, _ in worlds:
        shift(clock, provider)
    for _, agent, clock, provider, before in worlds:
        left = shifted_at + TICK + SLACK - time.time()
        until(lambda: len(refreshes(provider)) >= len(before), timeout=left, every=0.25)  # noqa: B023 -- called at once
        with agent.client() as client:
            assert_each_was_refreshed_once(client, provider, clock, before)
    assert any("resumed suspended_for=3600s" in line for line in worlds[0][1].logged("resumed"))


@pytest.mark.parametrize("shift", SHIFTS.values(), ids=SHIFTS)
def test_whoever_asks_is_served_a_good_token_at_once_by_one_refresh(
    shift: Shift,
    start_agent: Callable[..., tuple[AgentProcess, ShiftedClock]],
    start_provider: Callable[..., OpenIDProvider],
) -> None:
    provider = start_provider(access_token_lifetime=LIFETIME)
    agent, clock = start_agent({"work": account(provider)})
    before = log_all_in(agent, provider, ["work"])
    shift(clock, provider)
    shifted_at = time.time()
    with ThreadPoolExecutor(8) as clients:
        served = set(clients.map(ask, [agent] * 8))
    assert len(served) == 1
    assert refreshes(provider)[0] - shifted_at < TICK / 3  # and not at the tick
    with agent.client() as client:
        assert_each_was_refreshed_once(client, provider, clock, before)


def ask(agent: AgentProcess, name: str = "work") -> str:
    with agent.client() as client:
        return client.token(name).access_token


def test_with_a_clock_59_s_off_no_token_is_refused_over_two_lifetimes(
    start_provider: Callable[..., OpenIDProvider],
) -> None:
    """By a login at the provider, whose ID token says when it was made; and by the refreshes that follow."""
    providers = {
        name: start_provider(access_token_lifetime=4, clock_offset=off)
        for name, off in (("ahead", 59), ("behind", -59))
    }
    accounts = {name: account(provider, **test_login.ANY) for name, provider in providers.items()}
    with AgentProcess(accounts) as agent, agent.client() as client:
        for name, provider in providers.items():
            test_login.log_in(client, provider, name=name)
        while not all(len(refreshes(provider)) >= 3 for provider in providers.values()):
            for name, provider in providers.items():
                assert provider.userinfo(client.token(name).access_token).status_code == 200, name
        for name, provider in providers.items():
            assert record(client, name)["reason"] is None
            assert [row.presented for row in provider.ledger().values() if row.presented > 1] == []


@pytest.mark.parametrize("offset", [59, -59, 2 * HOUR, -2 * HOUR])
def test_a_date_to_retry_after_is_meant_by_the_clock_of_the_provider(offset: float, quiet: Quiet) -> None:
    """A clock that is wrong must neither hammer a busy provider nor leave it alone for ten minutes."""
    agent, provider = quiet
    provider.set_clock(offset)
    date = formatdate(time.time() + offset + 90, usegmt=True)
    provider.fault("status", status=503, headers={"retry-after": date}, grant_type="refresh_token")
    with agent.client() as client, pytest.raises(Unavailable) as refused:
        client.refresh("work")
    assert refused.value.retry_after == pytest.approx(90, abs=SLACK)


RESTARTS: dict[str, tuple[Callable[[ShiftedClock], None], float, bool]] = {
    # What happens while the agent is stopped, how much later it is for the provider, whether the token is served then.
    "nothing": (lambda _: None, 0, True),
    "the clock is set two hours forward": (lambda clock: clock.set_wall(2 * HOUR), 0, False),
    "it is set back again": (lambda clock: clock.set_wall(-2 * HOUR), 0, False),
    "it is set right by half a minute": (lambda clock: clock.set_wall(-30), 0, True),
    "an hour's sleep": (lambda clock: clock.suspend(HOUR), HOUR, False),
    "an hour's sleep that the wall clock was set back by": (
        lambda clock: clock.shift(wall=0, boot=HOUR),
        HOUR,
        False,
    ),
    "a reboot": (lambda clock: clock.reboot("the second", 60), 60, True),
    "a reboot an hour later": (lambda clock: clock.reboot("the third", HOUR), HOUR, False),
    "a reboot with the clock two hours back": (lambda clock: clock.reboot("the fourth", -2 * HOUR), 60, False),
}


def test_a_token_from_the_store_is_served_where_all_clocks_agree_that_it_is_good(
    start_agent: Callable[..., tuple[AgentProcess, ShiftedClock]], start_provider: Callable[..., OpenIDProvider]
) -> None:
    """One restart after another, each with something else between the end and the start."""
    provider = start_provider(access_token_lifetime=LIFETIME)
    with KeyringSession() as keyring:
        environment = keyring.environment
        agent, clock = start_agent({"work": account(provider)}, environment=environment, store="keyring")
        log_all_in(agent, provider, ["work"])
        later = 0.0
        for what, (happens, passed, kept) in RESTARTS.items():
            with agent.client() as client:
                before = client.refresh("work").access_token
                until(lambda: record(client)["saved"] is True)
            agent.terminate()
            happens(clock)
            later += passed
            provider.set_clock(later)
            provider.reset()
            agent.start()
            after = ask(agent)
            assert (after == before) is kept, what
            assert [row.presented for row in provider.ledger().values()] == ([] if kept else [1]), what
            assert provider.userinfo(after).status_code == 200, what
