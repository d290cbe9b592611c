"""Suspends, clocks that are set and reboots, in any order, with fake clocks."""

import itertools
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NamedTuple

import anyio
import pytest
import trio
import trio.testing
from hypothesis import example, given, strategies as st

from auth_agent.oauth.client import Client
from auth_agent.oauth.outcome import Failure, TokenResponse
from auth_agent.oauth.token_request import TokenRequest
from auth_agent.secret import Secret
from auth_agent.sessions.decision import Demand
from auth_agent.sessions.record import state_name
from auth_agent.sessions.schedule import SKEW
from auth_agent.sessions.session_end import LEEWAY, is_reached
from auth_agent.sessions.state import Active, LoginRequired
from tests.agent.heart import running
from tests.agent.test_saver import Disk, Heart, Machine
from tests.agent.world import NOON, FakeClock, FakeProvider, account

LIFETIME = 3600.0
TICK = 30.0
CROWD = 50


class Event(NamedTuple):
    """An event that affects the clocks, by a number of seconds."""

    kind: str
    seconds: float

    async def apply(self, clock: FakeClock) -> None:
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
    """Records when it issued each token, by the clock since boot, which nobody sets."""

    clock: FakeClock = field(default_factory=FakeClock)
    granted: dict[str, float] = field(default_factory=dict[str, float])

    async def token(self, client: Client, request: TokenRequest) -> TokenResponse | Failure:
        outcome = await super().token(client, request)
        if isinstance(outcome, TokenResponse) and outcome.access_token is not None:
            self.granted[outcome.access_token.reveal()] = self.clock.now().boot
        return outcome

    def accepts(self, token: str) -> bool:
        return self.clock.now().boot < self.granted[token] + self.lifetime


def run_test(main: Callable[[], Awaitable[None]]) -> None:
    """Run a test with a clock that jumps instead of waiting."""
    trio.run(main, clock=trio.testing.MockClock(autojump_threshold=0))


@given(EVENTS)
def test_a_client_gets_a_valid_token_after_any_clock_change_with_one_refresh(
    events: list[Event],
) -> None:
    async def main() -> None:
        provider = HonestProvider(lifetime=LIFETIME)
        async with running(provider, logged_in=False) as world:
            provider.clock = world.clock
            await world.log_in()
            for event in events:
                await event.apply(world.clock)
                assert provider.accepts(await world.token())
            assert len(provider.presented) <= 1 + len(events)
            assert len(set(provider.presented)) == len(provider.presented)

    run_test(main)


@given(EVENTS, st.floats(LEEWAY + 60, 8 * LIFETIME))
def test_a_ceiling_is_obeyed_by_the_wall_clock_and_is_final_only_by_the_providers(
    events: list[Event], ahead: float
) -> None:
    """The provider's clock goes as the clock since boot does: that one is right."""

    async def main() -> None:
        provider = FakeProvider(lifetime=LIFETIME, dated=(NOON, 5_000.0))
        async with running(provider) as world:
            state, ceiling = world.session.state, NOON + ahead
            assert isinstance(state, Active)
            world.session.state = replace(state, credentials=replace(state.credentials, ceiling=ceiling))
            world.refresher.reschedule(world.session)
            for event in events:
                await event.apply(world.clock)
                await anyio.sleep(TICK + 1)
                now = world.clock.now()
                is_over, is_really_over = is_reached(ceiling, now.wall), is_reached(ceiling, provider.time(now) or 0.0)
                has_ended = isinstance(world.session.state, LoginRequired)
                assert has_ended or not (is_over and is_really_over)
                assert is_really_over or not has_ended
                served = world.session.token(Demand().key, None, now)
                assert (served is None) == (is_over or has_ended)
                if has_ended:
                    break
            assert provider.revoked == []

    run_test(main)


@given(EVENTS)
def test_a_tick_after_any_clock_change_there_is_a_valid_token(events: list[Event]) -> None:
    async def main() -> None:
        provider = HonestProvider(lifetime=LIFETIME)
        async with running(provider, logged_in=False) as world:
            provider.clock = world.clock
            await world.log_in()
            for event in events:
                await event.apply(world.clock)
                await anyio.sleep(TICK + 1)
                served = world.session.token(Demand().key, None, world.clock.now())
                assert served is not None
                assert provider.accepts(served.value.reveal())
            assert len(provider.presented) <= 1 + 2 * len(events)
            assert len(set(provider.presented)) == len(provider.presented)

    run_test(main)


@given(EVENTS, st.booleans(), st.floats(LEEWAY + 60, 8 * LIFETIME) | st.none())
@example([Event("set", -2000), Event("pass", 1900)], False, None)
def test_watchers_know_the_state_a_tick_after_any_change_that_time_makes(
    events: list[Event], is_refreshable: bool, ahead: float | None
) -> None:
    """Nobody looks at the session but the timer, which must know when each change is to be expected."""
    states: list[str] = []

    async def main() -> None:
        async with running(FakeProvider(lifetime=LIFETIME)) as world:

            class Watcher:
                def changed(self, account: str) -> None:
                    states.append(state_name(world.table.sessions[account], world.clock.now()))

            state = world.session.state
            assert isinstance(state, Active)
            token = state.credentials.refresh_token if is_refreshable else None
            ceiling = None if ahead is None else NOON + ahead
            credentials = replace(state.credentials, refresh_token=token, ceiling=ceiling)
            world.session.state = replace(state, credentials=credentials)
            world.table.watch(Watcher())
            world.table.publish("work")
            world.refresher.reschedule(world.session)
            for event in events:
                await event.apply(world.clock)
                await anyio.sleep(TICK + 1)
                await anyio.wait_all_tasks_blocked()  # what is due at this moment, too
                assert states[-1] == state_name(world.session, world.clock.now())

    run_test(main)


@pytest.mark.parametrize("event", [Event("suspend", LIFETIME), Event("set", 7200), Event("set", -7200)], ids=str)
def test_fifty_sessions_are_refreshed_simultaneously_and_once_each(event: Event) -> None:
    """No session waits for another one's refresh: there are fifty requests at the same time, and no more."""

    async def main() -> None:
        accounts = [account(f"number-{number}", issuer=f"https://{number}.example/") for number in range(CROWD)]
        async with running(None, *accounts, account(), logged_in=False) as world:
            for number, account_ in enumerate(accounts):
                provider = FakeProvider(subject=None, live=f"rt-of-{number}", _serial=itertools.count(10 * number))
                world.by_issuer[account_.issuer] = provider
                session = world.table.session(account_.name)
                await world.logins.import_refresh_token(session, Secret(provider.live), switch_user=False)
            await event.apply(world.clock)
            await anyio.sleep(TICK + 1)
            woken_at = {provider.at[1] for provider in world.by_issuer.values()}
            assert len(woken_at) == 1
            await anyio.sleep(LIFETIME / 2)  # and no other refresh until one is due
            presented = [provider.presented for provider in world.by_issuer.values()]
            assert presented == [[f"rt-of-{number}", f"rt-{10 * number}"] for number in range(CROWD)]

    run_test(main)


@pytest.mark.parametrize("hours", [1, 8])
def test_a_token_that_expired_during_a_suspend_is_not_served(hours: int) -> None:
    """The machine was suspended between the request and its response."""

    async def main() -> None:
        provider = HonestProvider(lifetime=LIFETIME)
        async with running(provider, logged_in=False) as world:
            provider.clock = world.clock
            await world.log_in()
            provider.delay = 5
            async with anyio.create_task_group() as clients:
                clients.start_soon(world.token, world.session.demand_newer())
                await anyio.sleep(2)
                world.clock.suspended += hours * LIFETIME
                provider.lifetime = LIFETIME - 3
                clients.cancel_scope.cancel()
            await anyio.sleep(TICK + 10)
            assert provider.accepts(await world.token())
            assert provider.presented == ["rt-1", "rt-2", "rt-3"]

    run_test(main)


# Minutes and some seconds: the fake store also takes time, during which no token must expire.
MINUTES = st.integers(0, 120)
RESTARTS = st.lists(
    st.builds(Event, st.just("suspend"), MINUTES.map(lambda minutes: 60 * minutes + 7))
    | st.builds(Event, st.just("set"), MINUTES.map(lambda minutes: 60 * minutes - 3587)),
    max_size=4,
)


@given(RESTARTS, st.sampled_from([None, 10.0, 20_000.0]))
def test_after_a_restart_a_token_is_served_unless_a_clock_shows_its_end(
    events: list[Event], since_reboot: float | None
) -> None:
    """After a reboot only the wall clock counts."""

    async def main() -> None:
        with TemporaryDirectory() as notes, pytest.MonkeyPatch.context() as patch:
            patch.setattr(anyio.to_thread, "run_sync", Disk().run_sync)
            machine = Machine(Path(notes))
            await machine.store_session()
            obtained = machine.clock.now()
            for event in events:
                await event.apply(machine.clock)
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

    run_test(main)
