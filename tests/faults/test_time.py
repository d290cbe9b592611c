"""Suspended machines, clocks that are set or wrong, and reboots: a real agent on clocks that a test moves.

The provider decides whether a token is valid, so an hour that passes for the agent passes for the provider too.
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
# Seconds until a refresh after a resume or a set clock, without a client; and slack for a busy machine.
TICK = 30.0
SLACK = 20.0
CROWD = 50

Shift = Callable[[ShiftedClock, OpenIDProvider], None]
IdleAgent = tuple[AgentProcess, OpenIDProvider]


def suspend(clock: ShiftedClock, provider: OpenIDProvider) -> None:
    """Suspend the machine for an hour, which passes for the provider too."""
    clock.suspend(HOUR)
    provider.set_clock(HOUR)


def set_forward(clock: ShiftedClock, provider: OpenIDProvider) -> None:  # noqa: ARG001 -- a provider's clock is its own
    clock.set_wall(2 * HOUR)


def set_back(clock: ShiftedClock, provider: OpenIDProvider) -> None:  # noqa: ARG001 -- as above
    clock.set_wall(-2 * HOUR)


SHIFTS: dict[str, Shift] = {"an hour of suspend": suspend, "two hours forward": set_forward, "two back": set_back}


@pytest.fixture
def start_provider() -> Generator[Callable[..., OpenIDProvider], None, None]:
    """Return a function that starts providers until the end of the test; its keywords are those of `OpenIDProvider`."""
    with ExitStack() as stack:

        def start(**options: Any) -> OpenIDProvider:
            return stack.enter_context(OpenIDProvider(**options))

        yield start


@pytest.fixture
def start_agent(tmp_path: Path) -> Generator[Callable[..., tuple[AgentProcess, ShiftedClock]], None, None]:
    """Return a function that starts agents with their own clocks; its keywords are those of `AgentProcess`."""
    numbers = count()
    with ExitStack() as stack:

        def start(accounts: dict[str, dict[str, object]], **options: Any) -> tuple[AgentProcess, ShiftedClock]:
            file = tmp_path / f"clock-{next(numbers)}"
            clock = ShiftedClock.make(file)
            command = (sys.executable, "-W", "error", shifted_clock.__file__, str(file))
            return stack.enter_context(AgentProcess(accounts, command=command, **options)), clock

        yield start


@pytest.fixture(scope="module")
def idle_agent() -> Generator[IdleAgent, None, None]:
    """Start an agent on the machine's clock, logged in at a provider with long-lived tokens."""
    with (
        OpenIDProvider(access_token_lifetime=24 * LIFETIME) as provider,
        AgentProcess({"work": account(provider)}) as agent,
    ):
        log_all_in(agent, provider, ["work"])
        yield agent, provider


def log_all_in(agent: AgentProcess, provider: OpenIDProvider, names: list[str]) -> dict[str, str]:
    """Log in to each account, and reset the provider's counts; return the access tokens."""
    for name in names:
        with agent.client() as client:  # one each: imports are rate-limited by connection
            log_in(client, provider, name)
    provider.reset()
    with agent.client() as client:
        return {name: client.token(name).access_token for name in names}


def refreshes(provider: OpenIDProvider) -> list[float]:
    """Return the Unix time of each refresh at the provider."""
    return [request.at for request in provider.requests(provider.token_path, "refresh_token")]


def assert_each_was_refreshed_once(
    client: Agent, provider: OpenIDProvider, clock: ShiftedClock, before: dict[str, str]
) -> None:
    """Check also that the provider accepts the served tokens, and that no other refresh is due soon."""
    after = {name: client.token(name).access_token for name in before}
    assert [name for name in before if after[name] == before[name]] == []
    rejected = [name for name, token in after.items() if provider.userinfo(token).status_code != 200]
    assert rejected == []
    now = clock.now().wall
    for name in before:
        at = record(client, name)["refresh_at"]
        assert isinstance(at, float)
        assert LIFETIME / 2 < at - now < LIFETIME, name
    assert [row.presented for row in provider.ledger().values()] == [1] * len(before)


@pytest.mark.slow
def test_without_clients_fifty_sessions_are_refreshed_once_within_a_tick(
    start_agent: Callable[..., tuple[AgentProcess, ShiftedClock]], start_provider: Callable[..., OpenIDProvider]
) -> None:
    """The three shifts run concurrently, each in its own agent, since each takes a tick."""
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
    assert worlds[0][1].until_logged("resumed suspended_for=3600s")


@pytest.mark.parametrize("shift", SHIFTS.values(), ids=SHIFTS)
def test_clients_get_a_valid_token_at_once_by_one_refresh(
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
        tokens = set(clients.map(request_token, [agent] * 8))
    assert len(tokens) == 1
    assert refreshes(provider)[0] - shifted_at < TICK / 3  # and not at the tick
    with agent.client() as client:
        assert_each_was_refreshed_once(client, provider, clock, before)


def request_token(agent: AgentProcess, name: str = "work") -> str:
    with agent.client() as client:
        return client.token(name).access_token


def test_with_a_clock_59_s_off_no_token_is_refused_over_two_lifetimes(
    start_provider: Callable[..., OpenIDProvider],
) -> None:
    """At a login, whose ID token has its time of issue, and at the refreshes that follow."""
    providers = {
        name: start_provider(access_token_lifetime=4, clock_offset=offset)
        for name, offset in (("ahead", 59), ("behind", -59))
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
def test_a_retry_after_date_is_relative_to_the_providers_clock(offset: float, idle_agent: IdleAgent) -> None:
    """A wrong clock must neither hammer a busy provider nor wait for ten minutes."""
    agent, provider = idle_agent
    provider.set_clock(offset)
    date = formatdate(time.time() + offset + 90, usegmt=True)
    provider.fault("status", status=503, headers={"retry-after": date}, grant_type="refresh_token")
    with agent.client() as client, pytest.raises(Unavailable) as caught:
        client.refresh("work")
    assert caught.value.retry_after == pytest.approx(90, abs=SLACK)


RESTARTS: dict[str, tuple[Callable[[ShiftedClock], None], float, bool]] = {
    # The event while the agent is stopped, the provider's seconds meanwhile, and whether the token is then served.
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


def test_a_token_from_the_store_is_served_if_the_clocks_agree_that_it_is_valid(
    start_agent: Callable[..., tuple[AgentProcess, ShiftedClock]], start_provider: Callable[..., OpenIDProvider]
) -> None:
    """Restart several times, each with another event between the end and the start."""
    provider = start_provider(access_token_lifetime=LIFETIME)
    with KeyringSession() as keyring:
        environment = keyring.environment
        agent, clock = start_agent({"work": account(provider)}, environment=environment, store="keyring")
        log_all_in(agent, provider, ["work"])
        elapsed = 0.0
        for name, (event, passed, is_served) in RESTARTS.items():
            with agent.client() as client:
                before = client.refresh("work").access_token
                until(lambda: record(client)["saved"] is True)
            agent.terminate()
            event(clock)
            elapsed += passed
            provider.set_clock(elapsed)
            provider.reset()
            agent.start()
            after = request_token(agent)
            assert (after == before) is is_served, name
            assert [row.presented for row in provider.ledger().values()] == ([] if is_served else [1]), name
            assert provider.userinfo(after).status_code == 200, name
