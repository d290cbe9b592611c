"""Suspends, clocks that are set and reboots, in a world whose clock jumps: whatever they do, and in whichever order."""

import itertools
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NamedTuple

import anyio
import pytest
import trio
import trio.testing
from hypothesis import given, settings, strategies as st

from auth_agent.oauth.client import Client
from auth_agent.oauth.outcome import Failure, TokenResponse
from auth_agent.oauth.token_request import TokenRequest
from auth_agent.secret import Secret
from auth_agent.sessions.decision import Demand
from auth_agent.sessions.schedule import SKEW
from tests.agent.heart import running
from tests.agent.test_saver import Disk, Heart, Machine
from tests.agent.world import FakeClock, FakeProvider, account

LIFETIME = 3600.0
TICK = 30.0
CROWD = 50


class Event(NamedTuple):
    """What happens to the clocks, and by how many seconds."""

    kind: str
    seconds: float

    async def happen(self, clock: FakeClock) -> None:
        if self.kind == "pass":
            await anyio.sleep(self.seconds)
        elif self.kind == "suspend":
            clock.suspended += self.seconds
        else:
            clock.wall += self.seconds


EVENTS = st.lists(
    st.builds(Event, st.just("pass"), st.floats(0, 2000))
    | st.builds(Event, st.just("suspend"), st.floats(1, 4 * LIFETIME))
    | st.builds(Event, st.just("set"), st.floats(-4 * LIFETIME, 4 * LIFETIME)),
    max_size=12,
)


@dataclass
class HonestProvider(FakeProvider):
    """Knows when it granted what, by the one clock that nobody sets: that since boot."""

    clock: FakeClock = field(default_factory=FakeClock)
    granted: dict[str, float] = field(default_factory=dict[str, float])

    async def token(self, client: Client, request: TokenRequest) -> TokenResponse | Failure:
        outcome = await super().token(client, request)
        if isinstance(outcome, TokenResponse) and outcome.access_token is not None:
            self.granted[outcome.access_token.reveal()] = self.clock.now().boot
        return outcome

    def takes(self, token: str) -> bool:
        return self.clock.now().boot < self.granted[token] + self.lifetime


def live(main: Callable[[], Awaitable[None]]) -> None:
    """Run a life in no time."""
    trio.run(main, clock=trio.testing.MockClock(autojump_threshold=0))


@settings(deadline=None)
@given(EVENTS)
def test_whatever_clocks_do_a_client_gets_a_good_token_and_no_event_makes_more_than_one_refresh(
    events: list[Event],
) -> None:
    async def main() -> None:
        provider = HonestProvider(lifetime=LIFETIME)
        async with running(provider, logged_in=False) as world:
            provider.clock = world.clock
            await world.log_in()
            for event in events:
                await event.happen(world.clock)
                assert provider.takes(await world.token())
            assert len(provider.presented) <= 1 + len(events)
            assert len(set(provider.presented)) == len(provider.presented)

    live(main)


@settings(deadline=None)
@given(EVENTS)
def test_whatever_clocks_do_there_is_a_good_token_a_tick_later_also_if_nobody_asks(events: list[Event]) -> None:
    async def main() -> None:
        provider = HonestProvider(lifetime=LIFETIME)
        async with running(provider, logged_in=False) as world:
            provider.clock = world.clock
            await world.log_in()
            for event in events:
                await event.happen(world.clock)
                await anyio.sleep(TICK + 1)
                served = world.session.token(Demand().key, None, world.clock.now())
                assert served is not None
                assert provider.takes(served.value.reveal())
            assert len(provider.presented) <= 1 + 2 * len(events)
            assert len(set(provider.presented)) == len(provider.presented)

    live(main)


@pytest.mark.parametrize("event", [Event("suspend", LIFETIME), Event("set", 7200), Event("set", -7200)], ids=str)
def test_fifty_sessions_that_wake_together_are_refreshed_once_each_and_all_at_once(event: Event) -> None:
    """No session waits for another one's refresh: the provider gets fifty requests at a time, and no more."""

    async def main() -> None:
        accounts = [account(f"number-{number}", issuer=f"https://{number}.example/") for number in range(CROWD)]
        async with running(None, *accounts, account(), logged_in=False) as world:
            for number, one in enumerate(accounts):
                provider = FakeProvider(subject=None, live=f"rt-of-{number}", _serial=itertools.count(10 * number))
                world.by_issuer[one.issuer] = provider
                session = world.table.session(one.name)
                await world.logins.import_refresh_token(session, Secret(provider.live), switch_user=False)
            await event.happen(world.clock)
            await anyio.sleep(TICK + 1)
            woken_at = {provider.at[1] for provider in world.by_issuer.values()}
            assert len(woken_at) == 1
            await anyio.sleep(LIFETIME / 2)  # and nothing more until they are due
            presented = [provider.presented for provider in world.by_issuer.values()]
            assert presented == [[f"rt-of-{number}", f"rt-{10 * number}"] for number in range(CROWD)]

    live(main)


@pytest.mark.parametrize("hours", [1, 8])
def test_a_reply_that_a_suspend_made_old_is_kept_and_not_served(hours: int) -> None:
    """The machine slept between the request and its reply."""

    async def main() -> None:
        provider = HonestProvider(lifetime=LIFETIME)
        async with running(provider, logged_in=False) as world:
            provider.clock = world.clock
            await world.log_in()
            provider.delay = 5
            async with anyio.create_task_group() as clients:
                clients.start_soon(world.token, world.session.force())
                await anyio.sleep(2)
                world.clock.suspended += hours * LIFETIME
                provider.lifetime = LIFETIME - 3
                clients.cancel_scope.cancel()
            await anyio.sleep(TICK + 10)
            assert provider.takes(await world.token())
            assert provider.presented == ["rt-1", "rt-2", "rt-3"]

    live(main)


# Whole minutes and some seconds: the fake store takes moments of its own, in which nothing may be about to expire.
MINUTES = st.integers(0, 120)
RESTARTS = st.lists(
    st.builds(Event, st.just("suspend"), MINUTES.map(lambda minutes: 60 * minutes + 7))
    | st.builds(Event, st.just("set"), MINUTES.map(lambda minutes: 60 * minutes - 3587)),
    max_size=4,
)


@settings(deadline=None)
@given(RESTARTS, st.sampled_from([None, 10.0, 20_000.0]))
def test_over_a_restart_a_token_is_served_where_no_clock_that_counts_calls_it_old(
    events: list[Event], since_reboot: float | None
) -> None:
    """In another boot nothing but the wall clock counts."""

    async def main() -> None:
        with TemporaryDirectory() as notes, pytest.MonkeyPatch.context() as patch:
            patch.setattr(anyio.to_thread, "run_sync", Disk().run_sync)
            machine = Machine(Path(notes))
            await machine.has_a_session()
            obtained = machine.clock.now()
            for event in events:
                await event.happen(machine.clock)
            passed = machine.clock.now()
            if since_reboot is not None:
                machine.clock.boot_name = "another boot"
                machine.clock.boot += since_reboot - passed.boot
            async with machine.agent() as heart:
                served = await token(heart)
            by_wall = -SKEW <= passed.wall - obtained.wall < LIFETIME - 1
            by_boot = since_reboot is not None or passed.boot - obtained.boot < LIFETIME - 1
            assert (served == "at-2") is (by_wall and by_boot)
            assert len(machine.provider.presented) <= 1

    async def token(heart: Heart) -> str:
        return await heart.token(Demand(min_ttl=0))

    live(main)
