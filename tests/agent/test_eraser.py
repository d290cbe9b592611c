"""A session whose ceiling is reached: blocked by the wall clock, and erased once the provider's clock agrees."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import anyio
import pytest
import trio.testing

from auth_agent.host.clock import Moment
from auth_agent.oauth.discovery import Metadata
from auth_agent.oauth.outcome import Failure, TokenResponse
from auth_agent.secret import Secret
from auth_agent.sessions.decision import Demand
from auth_agent.sessions.identity import usable_id_token
from auth_agent.sessions.rate_limit import Asker
from auth_agent.sessions.session import Session
from auth_agent.sessions.session_end import LEEWAY
from auth_agent.sessions.state import MAIN, Active, Credentials, LoginRequired
from auth_agent.sessions.table import Table
from auth_agent_client import errors
from tests.agent.heart import World, running
from tests.agent.test_saver import Disk, Machine
from tests.agent.world import ALICE, CLIENT, ISSUER, NOON, FakeProvider, FakeStore, jwt, token_response

pytestmark = pytest.mark.anyio

AHEAD = 7200.0


@pytest.fixture
def anyio_backend() -> tuple[str, dict[str, object]]:
    return "trio", {"clock": trio.testing.MockClock(autojump_threshold=0)}


@dataclass
class Altered(FakeProvider):
    """A provider whose responses say more about their tokens' ends."""

    members: Callable[[], dict[str, float]] = dict[str, float]

    def _grant(self, *, new: bool, audience: str | None = None, scope: str = "") -> TokenResponse:
        members: dict[str, Any] = dict(self.members())
        return replace(super()._grant(new=new, audience=audience, scope=scope), **members)


def claiming(
    session_expiry: object, access_token: str = "at-2", refresh_token: str = "rt-2", at: float = NOON
) -> TokenResponse:
    """Return a token response whose ID token has that claim."""
    claims = {"iss": ISSUER, "aud": CLIENT, "sub": ALICE, "iat": at, "exp": at + 3600}
    id_token = jwt(**claims, session_expiry=session_expiry)
    return replace(token_response(access_token, refresh_token=refresh_token), id_token=id_token)


def provider(session_expiry: object = NOON + AHEAD) -> FakeProvider:
    """Return one that grants a session with that claim, and whose clock is right."""
    return FakeProvider(script=[claiming(session_expiry)], dated=(NOON, 5_000.0), live="rt-2")


def has_ended(world: World) -> bool:
    return isinstance(world.session.state, LoginRequired)


async def refusal(world: World) -> tuple[str, object, object]:
    with pytest.raises(errors.LoginRequired) as refused:
        await world.token()
    return refused.value.code, refused.value.reason, refused.value.failure


async def test_nothing_is_served_or_sent_from_thirty_seconds_before_the_ceiling() -> None:
    async with running(provider()) as world:
        await anyio.sleep(AHEAD - LEEWAY - 1)
        assert await world.token()
        sent = len(world.provider.presented)
        await anyio.sleep(1)
        record = world.table.record("work") or {}
        assert (record["state"], record["reason"], record["failure"]) == ("login_required", *["session_expired"] * 2)
        assert (record["renewal"], record["refresh_at"]) == ("none", None)
        now = world.clock.now()
        assert world.session.token(MAIN, None, now) is None
        for what in (
            world.refresher.refresh(world.session, Asker(), 15),
            world.token(Demand(MAIN, min_ttl=1)),
            world.token(world.session.demand_newer()),
            world.profiles.get(world.session, 300, 15),
            world.users.user(world.session, [], Asker()),
        ):
            with pytest.raises(errors.LoginRequired):
                await what
        with pytest.raises(errors.LoginRequired):
            usable_id_token(world.session, None, now)
        await anyio.sleep(86_400)
        assert (len(world.provider.presented), world.provider.revoked) == (sent, [])


async def test_the_secrets_are_erased_from_memory_and_store_and_not_revoked() -> None:
    store = FakeStore()
    async with running(provider(), store=store) as world:
        await anyio.sleep(AHEAD - LEEWAY + 1)
        state = world.session.state
        assert isinstance(state, LoginRequired)
        assert (state.credentials.refresh_token, state.credentials.id_token) == (None, None)
        assert state.credentials.subject == ALICE
        await anyio.sleep(5)
        entry = store.entry()
        assert (entry["login"]["refresh_token"], entry["login"]["id_token"], entry["token"]) == (None, None, None)
        assert entry["ended"]["failure"] == "session_expired"
        assert world.provider.revoked == []


async def test_a_session_whose_secrets_are_erased_is_not_looked_at_again(monkeypatch: pytest.MonkeyPatch) -> None:
    async with running(provider()) as world:
        await anyio.sleep(AHEAD + 60)  # that its end is saved is a change of its record, which is looked at
        assert has_ended(world)
        looked_at: list[Session] = []

        def note(_: Table, session: Session, __: Moment) -> None:
            looked_at.append(session)

        monkeypatch.setattr(Table, "look", note)
        await anyio.sleep(86_400)
        assert looked_at == []


async def test_watchers_are_told_by_the_timer() -> None:
    told: list[str] = []

    class Watcher:
        def changed(self, account: str) -> None:
            told.append(str((world.table.record(account) or {}).get("state")))

    async with running(provider()) as world:
        world.table.watch(Watcher())
        await anyio.sleep(AHEAD - LEEWAY - 10)
        told.clear()
        await anyio.sleep(11)
        assert "login_required" in told


async def test_a_wall_clock_set_forward_erases_nothing_and_the_session_comes_back_with_the_clock() -> None:
    async with running(provider()) as world:
        before = await world.token()
        world.clock.wall += AHEAD
        assert await refusal(world) == ("login_required", "session_expired", "session_expired")
        await anyio.sleep(600)
        assert isinstance(world.session.state, Active)
        assert (world.table.record("work") or {})["state"] == "login_required"
        world.clock.wall -= AHEAD
        await anyio.sleep(31)
        assert await world.token() == before
        assert (world.table.record("work") or {})["state"] == "ready"


async def test_a_session_is_erased_although_the_wall_clock_was_set_back_for_a_while() -> None:
    async with running(provider()) as world:
        world.clock.wall -= AHEAD
        await anyio.sleep(AHEAD)
        assert not has_ended(world)
        world.clock.wall += AHEAD
        await anyio.sleep(31)
        assert has_ended(world)


async def test_without_a_date_of_the_provider_its_metadata_is_requested_and_nothing_is_erased() -> None:
    asked: list[float] = []

    class Counting(FakeProvider):
        async def discover(self) -> Metadata | Failure:
            asked.append(anyio.current_time())
            return await super().discover()

    async with running(Counting(script=[claiming(NOON + AHEAD)], live="rt-2")) as world:
        await anyio.sleep(AHEAD - LEEWAY - 1)
        asked.clear()
        await anyio.sleep(3600)
        assert 10 <= len(asked) <= 13  # once in five minutes
        assert not has_ended(world)
        world.provider.dated = (NOON + AHEAD, world.clock.now().boot)
        await anyio.sleep(31)
        assert has_ended(world)


async def test_the_ceiling_holds_after_a_restart_and_the_session_comes_back_if_the_clock_does(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(anyio.to_thread, "run_sync", Disk().run_sync)
    machine = Machine(tmp_path)
    machine.provider = provider()
    await machine.store_session()
    machine.provider.dated = None
    machine.clock.wall += AHEAD
    async with machine.agent() as heart:
        assert await heart.token() == "login_required"
        assert heart.session.failure == "session_expired"
        await anyio.sleep(60)
        assert (machine.provider.presented, machine.store.refresh_token()) == ([], "rt-2")
    machine.clock.wall -= AHEAD
    async with machine.agent() as heart:
        assert await heart.token() == "at-2"
        machine.provider.dated = (NOON + AHEAD, machine.clock.now().boot)
        machine.clock.wall += AHEAD
        await anyio.sleep(60)
        assert machine.store.refresh_token() is None


async def test_a_later_id_token_lowers_the_ceiling_and_never_raises_it() -> None:
    script = [
        claiming(NOON + AHEAD),
        claiming(NOON + 2 * AHEAD, "at-3", "rt-3"),
        token_response("at-4", refresh_token="rt-4"),
    ]
    async with running(FakeProvider(script=[*script, claiming(NOON + 3600, "at-5", "rt-5")])) as world:
        assert world.session.ceiling == NOON + AHEAD
        for ceiling in (AHEAD, AHEAD, 3600):
            await world.refresher.refresh(world.session, Asker(), 15)
            assert world.session.ceiling == NOON + ceiling


async def test_a_ceiling_that_a_refresh_lowers_into_the_past_ends_the_session_at_once() -> None:
    async with running(FakeProvider(script=[claiming(NOON + AHEAD), claiming(NOON + 10)])) as world:
        with pytest.raises(errors.LoginRequired):
            await world.refresher.refresh(world.session, Asker(), 15)


@pytest.mark.parametrize("claim", [NOON - 3600, NOON, NOON + LEEWAY - 0.5])
async def test_a_login_whose_ceiling_is_reached_is_refused_and_the_session_before_stays(claim: float) -> None:
    async with running() as world:
        before = await world.token()
        world.provider.script = [claiming(claim)]
        with pytest.raises(errors.LoginRequired) as refused:
            await world.log_in("rt-other")
        assert refused.value.failure == "session_expired"
        assert await world.token() == before


@pytest.mark.parametrize("claim", [0, -1, (NOON - 60) * 1000, str(int(NOON) - 60), True, None, [NOON]])
async def test_what_is_no_time_in_seconds_is_no_ceiling(claim: object) -> None:
    async with running(provider(claim)) as world:
        assert world.session.ceiling is None
        assert await world.token()


async def test_a_new_login_has_a_ceiling_of_its_own_and_nothing_of_the_ended_session_is_revoked() -> None:
    async with running(provider()) as world:
        await anyio.sleep(AHEAD)
        world.provider.script = [claiming(NOON + 3 * AHEAD, "at-8", "rt-8", NOON + AHEAD)]
        await world.log_in("rt-7")
        assert world.session.ceiling == NOON + 3 * AHEAD
        assert await world.token() == "at-8"
        assert world.provider.revoked == []


async def test_a_refresh_in_flight_at_the_ceiling_is_not_revoked() -> None:
    async with running(provider()) as world:
        await anyio.sleep(AHEAD - LEEWAY - 5)
        world.provider.delay = 10
        async with anyio.create_task_group() as clients:

            async def ask() -> None:
                with pytest.raises(errors.LoginRequired):
                    await world.token(world.session.demand_newer())

            clients.start_soon(ask)
        assert world.provider.revoked == []
        await anyio.sleep(31)
        assert isinstance(world.session.state, LoginRequired)
        assert world.session.state.credentials.refresh_token is None


async def test_a_logout_after_the_ceiling_sends_nothing() -> None:
    async with running(provider()) as world:
        world.clock.wall += AHEAD
        revocation = await world.logins.log_out(world.session, revoke=True)
        assert (revocation.revoked, world.provider.revoked) == (False, [])


# ---- the refresh token's end


async def test_a_refresh_token_that_ends_before_the_access_token_is_used_in_time() -> None:
    async with running(Altered(members=lambda: {"refresh_token_lifetime": 1800.0})) as world:
        await anyio.sleep(86_400)
        assert 75 <= len(world.provider.presented) <= 85  # each 1080 s
        assert (world.table.record("work") or {})["session_end_moves"] is True


async def test_an_end_that_no_refresh_moves_causes_no_loop_and_stops_no_good_token() -> None:
    async with running(
        Altered(members=lambda: {"refresh_token_lifetime": max(1.0, 1800 - anyio.current_time())})
    ) as world:
        await anyio.sleep(1790)
        assert len(world.provider.presented) <= 3
        await anyio.sleep(60)
        assert await world.token()
        record = world.table.record("work") or {}
        assert (record["state"], record["session_end_moves"]) == ("ready", False)


# ---- JWTs that say when they end


async def test_a_token_that_was_dead_at_birth_by_its_own_word_starts_no_loop() -> None:
    async with running(Altered(members=lambda: {"lifetime_by_claim": -7200.0})) as world:
        assert await world.token()
        await anyio.sleep(3600)
        assert len(world.provider.presented) <= 16  # each of its six minutes


async def test_a_rejected_token_that_says_it_has_ended_is_refreshed() -> None:
    ended = replace(token_response("stale"), lifetime_by_claim=5.0, lifetime=300.0)
    async with running(FakeProvider(script=[ended], live="rt-2")) as world:
        await anyio.sleep(2)
        now = world.clock.now()
        assert isinstance(world.session.reject(MAIN, Secret("stale"), now), errors.Denied)
        await anyio.sleep(4)
        demand = world.session.reject(MAIN, Secret("stale"), world.clock.now())
        assert isinstance(demand, Demand)
        assert await world.token(demand) != "stale"


# ---- no known end


async def test_a_token_without_a_known_end_is_served_for_any_time_until_it_is_rejected() -> None:
    async with running() as world:
        session, now = world.session, world.clock.now()
        credentials = Credentials(ISSUER, CLIENT, None, ALICE, "Alice", None, None)
        response = token_response("at-9", refresh_token=None, lifetime=None)
        session.log_in(credentials, session.access_token(response, credentials, now), now)
        await anyio.sleep(40_000)
        assert await world.token(Demand(MAIN, min_ttl=1e9)) == "at-9"
        rejected = session.reject(MAIN, Secret("at-9"), world.clock.now())
        assert isinstance(rejected, errors.LoginRequired)
        assert rejected.remedy
        assert session.end_by_rejection()
        assert await refusal(world) == ("login_required", "token_rejected", "reauthentication_required")
        assert len(world.provider.presented) == 1
