"""A provider that refuses a refresh token for a while: what clients and the record are told, and how it heals."""

import anyio
import pytest
import trio.testing

from auth_agent.oauth.outcome import DoubtfulRefusal, Failure, RefusedForNow, Unsent
from auth_agent.sessions.rate_limit import Asker
from auth_agent.sessions.record import record
from auth_agent.sessions.schedule import REFUSED_INTERVAL
from auth_agent_client import errors
from tests.agent.heart import World, running
from tests.agent.world import FakeProvider

pytestmark = pytest.mark.anyio

LIFETIME = 60.0
REFUSAL = DoubtfulRefusal("invalid_request: the refresh token is invalid")


@pytest.fixture
def anyio_backend() -> tuple[str, dict[str, object]]:
    return "trio", {"clock": trio.testing.MockClock(autojump_threshold=0)}


def state(world: World) -> object:
    return record(world.session, world.clock.now())["state"]


async def refused(world: World, failure: Failure = REFUSAL) -> None:
    """Let the provider refuse each refresh, until a login is needed."""
    world.provider.script = [failure] * 1000
    with anyio.fail_after(1000):
        while state(world) != "login_required":  # noqa: ASYNC110 -- the clock jumps
            await anyio.sleep(1)


@pytest.mark.parametrize("failure", [REFUSAL, RefusedForNow("invalid_grant: AADSTS53003")])
async def test_clients_are_told_to_log_in_and_the_refresh_token_is_kept(failure: Failure) -> None:
    async with running(FakeProvider(lifetime=LIFETIME)) as world:
        await refused(world, failure)
        sent = len(world.provider.presented)
        with pytest.raises(errors.LoginRequired) as caught:
            await world.token()
        assert (caught.value.reason, caught.value.failure) == (failure.reason, "refused")
        shown = record(world.session, world.clock.now())
        assert (shown["reason"], shown["renewal"]) == (failure.reason, "retrying")
        assert world.session.credentials is not None
        assert world.session.credentials.refresh_token is not None
        assert len(world.provider.presented) == sent  # no client's request causes an attempt


async def test_it_heals_by_itself_within_a_quarter_of_an_hour() -> None:
    async with running(FakeProvider(lifetime=LIFETIME)) as world:
        await refused(world)
        sent = len(world.provider.presented)
        await anyio.sleep(4.5 * REFUSED_INTERVAL)
        assert state(world) == "login_required"
        assert 3 <= len(world.provider.presented) - sent <= 5
        world.provider.script = []
        await anyio.sleep(1.2 * REFUSED_INTERVAL)
        assert state(world) == "ready"
        assert await world.token()


async def test_it_heals_after_an_outage_in_between() -> None:
    async with running(FakeProvider(lifetime=LIFETIME)) as world:
        await refused(world)
        world.provider.script = [Unsent("no route")]
        await anyio.sleep(1.2 * REFUSED_INTERVAL)
        assert (state(world), world.session.reason) == ("login_required", REFUSAL.reason)
        await anyio.sleep(1.2 * REFUSED_INTERVAL)
        assert state(world) == "ready"


async def test_a_person_can_have_it_tried_at_once() -> None:
    async with running(FakeProvider(lifetime=LIFETIME)) as world:
        await refused(world)
        with pytest.raises(errors.LoginRequired):
            await world.refresher.refresh(world.session, Asker(), 15)
        world.provider.script = []
        await world.refresher.refresh(world.session, Asker(), 15)
        assert state(world) == "ready"


async def test_a_change_of_the_network_has_it_tried_at_once() -> None:
    async with running(FakeProvider(lifetime=LIFETIME)) as world:
        await refused(world)
        world.provider.script = []
        world.refresher.note_new_network()
        await anyio.sleep(1)
        assert state(world) == "ready"


async def test_a_token_that_is_still_valid_is_served_meanwhile() -> None:
    async with running(FakeProvider(lifetime=3600)) as world:
        world.provider.script = [RefusedForNow("invalid_grant: AADSTS53003")]
        with pytest.raises(errors.LoginRequired):
            await world.token(world.session.demand_newer())
        assert await world.token()
        assert state(world) == "ready"
        assert record(world.session, world.clock.now())["failure"] == "refused"
