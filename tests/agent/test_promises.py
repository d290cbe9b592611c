"""Where a refresh ends the access token from before: what clients were promised, and how the agent finds that out."""

from contextlib import suppress
from dataclasses import replace
from typing import Any

import anyio
import pytest
import trio.testing

from auth_agent.host.clock import Moment
from auth_agent.oauth.discovery import Metadata
from auth_agent.oauth.outcome import Busy, Failure, Lost, Rejected, Unsent
from auth_agent.secret import Secret
from auth_agent.sessions.decision import Demand, Hold, Join, Serve, Start
from auth_agent.sessions.promises import LONGEST, PATIENCE, Promises, keeps
from auth_agent.sessions.record import record
from auth_agent.sessions.session import Session
from auth_agent.sessions.state import MAIN, AccessToken, Active, Credentials, Locked, TokenKey
from auth_agent.sessions.superseded import MAX_SUPERSEDED, Superseded
from auth_agent_client import errors
from tests.agent.heart import World, running
from tests.agent.world import ALICE, CLIENT, ISSUER, FakeClock, FakeProvider, account, token_response

OTHER = TokenKey("https://other.example", "")
FEWER = TokenKey(None, "read")
NOW = Moment(1_800_000_000.0, 5_000.0)
ENDING = Metadata(ISSUER, f"{ISSUER}o/token/")


@pytest.fixture
def anyio_backend() -> tuple[str, dict[str, object]]:
    return "trio", {"clock": trio.testing.MockClock(autojump_threshold=0)}


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


def access_token(value: str = "at-1", lifetime: float | None = 1000.0, serial: int = 1) -> AccessToken:
    return AccessToken(Secret(value), "Bearer", None, None, NOW, lifetime, assumed=False, serial=serial)


def session_of(clock: FakeClock, *, ends: bool | None = True, lifetime: float | None = 1000.0) -> Session:
    """Return a session whose refresh is due 200 s before the end of its token; the account says what a refresh ends."""
    session = Session(account(refresh_ends_access_token=ends), chance=0.0)
    credentials = Credentials(ISSUER, CLIENT, None, ALICE, "Alice", Secret("rt-1"), None)
    token = session.access_token(token_response(lifetime=lifetime), credentials, clock.now())
    session.log_in(credentials, token, clock.now())
    return session


def refresh(session: Session, clock: FakeClock, key: TokenKey = MAIN, value: str = "at-2", **more: Any) -> None:
    session.start(clock.now(), key)
    response = token_response(value, lifetime=1000, **more)
    assert session.settle(session.finish(session.epoch, response, clock.now(), clock.now(), 0.0))


def due_in(session: Session, clock: FakeClock) -> float:
    due = session.next_due(clock.now())
    assert due is not None
    return clock.now().until(due[0])


# ---- promises


def test_a_refresh_waits_for_the_longest_promise() -> None:
    promises = Promises()
    assert promises.hold(NOW) == NOW
    promises.make(access_token(), 30.0, NOW)
    promises.make(access_token(), 10.0, NOW)
    assert promises.hold(NOW) == NOW.after(30)
    assert promises.hold(NOW.after(20)) == NOW.after(30)
    assert promises.hold(NOW.after(31)) == NOW.after(31)


def test_it_waits_for_the_preferred_ttl_too() -> None:
    promises = Promises()
    promises.make(access_token(lifetime=100.0), None, NOW)
    assert promises.hold(NOW) == NOW.after(20)
    assert promises.patience(NOW) == 0


def test_it_waits_a_minute_at_most() -> None:
    promises = Promises()
    promises.make(access_token(), 900.0, NOW)
    assert promises.hold(NOW) == NOW.after(LONGEST)


def test_nothing_is_promised_beyond_the_end_of_a_token() -> None:
    promises = Promises()
    promises.make(access_token(lifetime=21.0), 900.0, NOW)
    assert promises.hold(NOW) == NOW.after(20)


def test_what_a_client_needs_waits_little_for_those_that_gave_a_min_ttl() -> None:
    promises = Promises()
    promises.make(access_token(), 30.0, NOW)
    assert promises.patience(NOW) == PATIENCE
    assert promises.patience(NOW.after(28)) == 2
    assert promises.patience(NOW.after(31)) == 0


@pytest.mark.parametrize(
    ("min_ttl", "age", "due", "kept"),
    [
        (None, 800.0, 0.0, True),
        (LONGEST, 800.0, 0.0, True),
        (LONGEST + 1, 800.0, 0.0, False),
        (160.0, 800.0, 100.0, True),
        (161.0, 800.0, 100.0, False),
        (900.0, 60.0, 100.0, True),  # just refreshed
        (900.0, 61.0, 100.0, False),
        (900.0, 800.0, None, True),
    ],
)
def test_a_token_keeps_what_no_refresh_cuts_short(
    min_ttl: float | None, age: float, due: float | None, *, kept: bool
) -> None:
    now = NOW.after(age)
    assert keeps(access_token(), min_ttl, None if due is None else now.after(due), now) is kept


def test_what_is_young_is_a_share_of_a_short_lifetime() -> None:
    assert keeps(access_token(lifetime=100.0), 90.0, NOW, NOW.after(10))
    assert not keeps(access_token(lifetime=100.0), 80.0, NOW, NOW.after(11))
    assert keeps(access_token(lifetime=None), 1e9, NOW, NOW.after(1e6))


# ---- the schedule


def test_a_refresh_ahead_waits_for_what_clients_were_promised(clock: FakeClock) -> None:
    session = session_of(clock)
    clock.advance(790)
    assert due_in(session, clock) == 10
    assert session.token(MAIN, 30.0, clock.now())
    assert due_in(session, clock) == 30
    assert session.token(MAIN, None, clock.now())
    assert due_in(session, clock) == 60
    clock.advance(50)
    assert session.token(MAIN, None, clock.now())
    assert due_in(session, clock) == 20  # a minute after it was due
    assert session.refresh_due(clock.now()) == session.refresh_at()


def test_elsewhere_it_waits_for_nobody(clock: FakeClock) -> None:
    session = session_of(clock, ends=None)
    clock.advance(790)
    assert session.token(MAIN, 30.0, clock.now())
    assert due_in(session, clock) == 10


def test_a_refresh_fulfils_all_promises(clock: FakeClock) -> None:
    session = session_of(clock)
    assert session.token(MAIN, 900.0, clock.now())
    refresh(session, clock)
    clock.advance(800)
    assert due_in(session, clock) == 0


def test_a_large_min_ttl_has_nothing_refreshed_earlier_for_others(clock: FakeClock) -> None:
    session = session_of(clock)
    assert not session.record_demand(MAIN, 700.0, clock.now())
    assert due_in(session, clock) == 800


# ---- what clients get


def test_one_without_min_ttl_gets_the_token_that_others_were_promised(clock: FakeClock) -> None:
    session = session_of(clock, lifetime=100.0)
    clock.advance(65)
    assert session.token(MAIN, 30.0, clock.now())
    clock.advance(29)
    assert isinstance(session.decide(Demand(), clock.now()), Serve)
    clock.advance(2)
    assert session.decide(Demand(), clock.now()) == Start(rate_limited=False)


def test_one_that_needs_more_waits_for_those_that_gave_a_min_ttl(clock: FakeClock) -> None:
    session = session_of(clock, lifetime=100.0)
    clock.advance(65)
    assert session.token(MAIN, 30.0, clock.now())
    demand = Demand(min_ttl=50.0)
    assert session.decide(demand, clock.now()) == Hold(PATIENCE)
    assert session.decide(demand, clock.now(), held=True) == Start(rate_limited=True)
    assert session.decide(session.demand_newer(), clock.now()) == Start(rate_limited=True)
    # As for an ID token.
    assert session.decide(session.demand_newer(is_patient=True), clock.now()) == Hold(PATIENCE)


def test_while_it_waits_nobody_is_promised_more(clock: FakeClock) -> None:
    session = session_of(clock, lifetime=100.0)
    clock.advance(65)
    assert session.token(MAIN, 30.0, clock.now())
    assert session.decide(Demand(min_ttl=50.0), clock.now()) == Hold(PATIENCE)
    clock.advance(1)
    assert session.token(MAIN, PATIENCE, clock.now()) is None
    assert session.decide(Demand(min_ttl=PATIENCE), clock.now()) == Hold(PATIENCE - 1)
    assert session.token(MAIN, PATIENCE - 1, clock.now())
    assert session.token(MAIN, None, clock.now())
    clock.advance(PATIENCE - 1)
    assert session.token(MAIN, 1.0, clock.now()) is None
    clock.advance(1)
    assert session.token(MAIN, PATIENCE, clock.now())  # whoever waited has left


def test_a_long_min_ttl_is_answered_by_a_token_just_refreshed(clock: FakeClock) -> None:
    session = session_of(clock)
    clock.advance(500)
    demand = Demand(min_ttl=400.0)  # more than the 300 s until the refresh, and the minute that it may wait
    assert session.token(MAIN, 400.0, clock.now()) is None
    assert session.decide(demand, clock.now()) == Start(rate_limited=False)
    refresh(session, clock)
    assert isinstance(session.decide(demand, clock.now(), waited=True), Serve)
    assert session.token(MAIN, 900.0, clock.now())


def test_no_token_is_promised_that_a_refresh_in_flight_will_end(clock: FakeClock) -> None:
    session = session_of(clock)
    session.start(clock.now())
    assert session.token(MAIN, None, clock.now()) is None
    assert session.decide(Demand(min_ttl=10.0), clock.now()) == Join(1.0)
    clock.advance(1)
    assert isinstance(session.decide(Demand(min_ttl=10.0), clock.now()), Serve)  # the provider is slow


def test_while_refreshes_fail_the_token_is_served(clock: FakeClock) -> None:
    session = session_of(clock)
    clock.advance(500)
    session.start(clock.now())
    session.settle(session.finish(session.epoch, Unsent("no route"), clock.now(), clock.now(), 0.5))
    assert isinstance(session.decide(Demand(min_ttl=400.0), clock.now()), Serve)


# ---- other tokens of the session


def test_a_refresh_drops_the_other_tokens_and_none_follows_for_them(clock: FakeClock) -> None:
    session = session_of(clock)
    refresh(session, clock, OTHER)
    assert session.current() is None
    assert session.current(OTHER) is not None
    assert due_in(session, clock) == 800
    assert session.decide(Demand(), clock.now()) == Start(rate_limited=False)
    refresh(session, clock)
    assert session.current(OTHER) is None
    assert due_in(session, clock) == 800


def test_elsewhere_they_stay(clock: FakeClock) -> None:
    session = session_of(clock, ends=False)
    refresh(session, clock, OTHER)
    assert session.current() is not None


def test_the_record_says_when_a_refresh_that_waits_will_start(clock: FakeClock) -> None:
    session = session_of(clock)
    clock.advance(790)
    assert session.token(MAIN, 60.0, clock.now()) is not None
    assert record(session, clock.now())["refresh_at"] == clock.now().wall + 60
    clock.advance(30)
    assert record(session, clock.now())["refresh_at"] == clock.now().wall + 30


def restored(session: Session, clock: FakeClock) -> Session:
    """Return the session as the next agent has it, or this one after it was locked."""
    other = Session(session.account, chance=0.0)
    other.state = Locked("not read yet")
    other.restore(session.snapshot(), clock.now())
    return other


def test_what_was_promised_before_a_restart_is_kept_for_a_minute_at_most(clock: FakeClock) -> None:
    session = session_of(clock)
    clock.advance(790)
    assert session.token(MAIN, 60.0, clock.now()) is not None
    assert due_in(session, clock) == 60
    assert due_in(restored(session, clock), clock) == 60
    clock.advance(200)
    assert due_in(restored(session, clock), clock) <= 0  # long overdue
    session = session_of(clock, lifetime=10.0)
    clock.advance(7.5)
    assert due_in(restored(session, clock), clock) == 1.5


def test_a_client_that_needs_more_after_a_restart_waits_for_those_from_before(clock: FakeClock) -> None:
    session = session_of(clock)
    clock.advance(700)
    assert session.token(MAIN, 60.0, clock.now()) is not None
    assert restored(session, clock).decide(Demand(min_ttl=900.0), clock.now()) == Hold(PATIENCE)
    clock.advance(300)
    assert restored(session, clock).decide(Demand(min_ttl=900.0), clock.now()) == Start(rate_limited=False)


def test_where_a_refresh_ends_nothing_a_restart_holds_nothing_back(clock: FakeClock) -> None:
    session = session_of(clock, ends=False)
    clock.advance(790)
    assert due_in(restored(session, clock), clock) == 10


def test_no_promise_holds_back_the_retry_of_a_lost_response(clock: FakeClock) -> None:
    for failure, held in ((Busy("503"), 30.0), (Lost("no response"), 0.5)):
        session = session_of(clock)
        clock.advance(800)
        assert session.token(MAIN, 30.0, clock.now()) is not None
        session.start(clock.now())
        assert session.settle(session.finish(session.epoch, failure, clock.now(), clock.now(), 0.25))
        assert due_in(session, clock) == held
        clock.advance(1000)


# ---- how it is known


def test_the_provider_is_known_and_the_account_overrules_it(clock: FakeClock) -> None:
    session = session_of(clock, ends=None)
    assert record(session, clock.now())["refresh_ends_access_token"] is False
    refresh(session, clock, ends_access_token=True)
    assert record(session, clock.now())["refresh_ends_access_token"] is True
    session.configure(replace(session.account, refresh_ends_access_token=False))
    assert record(session, clock.now())["refresh_ends_access_token"] is False


def test_a_superseded_token_is_known_until_its_end_by_the_clock() -> None:
    superseded = Superseded()
    superseded.add(access_token("at-1"), NOW)
    assert superseded.has(Secret("at-1"), NOW.after(998))
    assert not superseded.has(Secret("at-1"), NOW.after(999))
    assert not superseded.has(Secret("at-2"), NOW)
    for number in range(2, MAX_SUPERSEDED + 2):
        superseded.add(access_token(f"at-{number}"), NOW)
    assert not superseded.has(Secret("at-1"), NOW)
    assert superseded.has(Secret("at-2"), NOW)


def test_a_token_is_suspect_if_a_newer_one_of_the_login_came(clock: FakeClock) -> None:
    session = session_of(clock, ends=None)
    old, new = Secret("at-1"), Secret("at-2")
    assert session.suspect(old, clock.now()) is None
    refresh(session, clock)
    assert session.suspect(new, clock.now()) is None
    newer = session.suspect(old, clock.now())
    assert newer is not None
    assert newer.value == new
    assert session.suspect(Secret("anything"), clock.now()) is None
    clock.advance(999)
    assert session.suspect(old, clock.now()) is None


def test_the_own_token_is_suspect_if_one_for_other_scopes_came_but_not_for_another_api(clock: FakeClock) -> None:
    session = session_of(clock, ends=None)
    refresh(session, clock, OTHER)
    assert session.suspect(Secret("at-1"), clock.now()) is None
    refresh(session, clock, FEWER, "at-3", scope="read")
    newer = session.suspect(Secret("at-1"), clock.now())
    assert newer is not None
    assert newer.value == Secret("at-3")


# ---- the proof


async def rejected(provider: FakeProvider, *results: dict[str, object] | Failure, **more: Any) -> World:
    """Have a superseded token rejected; UserInfo answers so, first about that token. Return what is left."""
    provider.profile_script[:] = results
    async with running(provider, account(**more)) as world:
        await world.token(world.session.demand_newer())
        for _ in range(3):
            world.prover.look(world.session, Secret("at-2"))
            await anyio.wait_all_tasks_blocked()
            await anyio.sleep(1)
    return world


@pytest.mark.anyio
async def test_the_old_token_refused_and_the_new_one_taken_is_proof() -> None:
    provider = FakeProvider()
    world = await rejected(provider, Rejected("401"), {"sub": ALICE})
    assert world.session.ends_access_tokens
    assert provider.profiles == ["at-2", "at-3"]
    state = world.session.state
    assert isinstance(state, Active)
    assert state.tokens[MAIN].value == Secret("at-3")


@pytest.mark.anyio
@pytest.mark.parametrize(
    "results",
    [
        ({"sub": ALICE},),
        (Unsent("no route"),),
        (Rejected("401"), Rejected("401")),
        (Rejected("401"), Busy("503")),
    ],
)
async def test_nothing_else_is_and_it_is_not_asked_again(results: tuple[dict[str, object] | Failure, ...]) -> None:
    provider = FakeProvider()
    world = await rejected(provider, *results)
    assert not world.session.ends_access_tokens
    assert len(provider.profiles) == len(results)


@pytest.mark.anyio
@pytest.mark.parametrize("results", [(Unsent("no route"),), (Rejected("401"), Busy("503"))])
async def test_what_an_outage_interrupted_is_tried_again_later(results: tuple[Failure, ...]) -> None:
    provider = FakeProvider(profile_script=list(results))
    async with running(provider) as world:
        await world.token(world.session.demand_newer())
        world.prover.look(world.session, Secret("at-2"))
        await anyio.sleep(61)
        provider.profile_script[:] = [Rejected("401"), {"sub": ALICE}]
        world.prover.look(world.session, Secret("at-2"))
        await anyio.sleep(1)
        assert world.session.ends_access_tokens


@pytest.mark.anyio
async def test_without_metadata_it_is_tried_again_later() -> None:
    provider = FakeProvider(profile_script=[Rejected("401"), {"sub": ALICE}])
    async with running(provider) as world:
        await world.token(world.session.demand_newer())
        known, provider.metadata = provider.metadata, Unsent("no route")
        world.prover.look(world.session, Secret("at-2"))
        await anyio.sleep(61)
        provider.metadata = known
        world.prover.look(world.session, Secret("at-2"))
        await anyio.sleep(1)
        assert world.session.ends_access_tokens


@pytest.mark.anyio
async def test_what_is_told_is_not_asked_again() -> None:
    provider = FakeProvider(profile_script=[{"sub": ALICE}])
    async with running(provider) as world:
        await world.token(world.session.demand_newer())
        for _ in range(3):
            world.prover.look(world.session, Secret("at-2"))
            await anyio.sleep(61)
        assert len(provider.profiles) == 1


def test_a_proof_that_comes_while_a_refresh_is_saved_is_kept(clock: FakeClock) -> None:
    session = session_of(clock, ends=None)
    session.start(clock.now(), FEWER)
    response = token_response("at-2", lifetime=1000, scope="read")
    effects = session.finish(session.epoch, response, clock.now(), clock.now(), 0.0)
    assert session.prove_ending(session.epoch)
    assert session.settle(effects)
    assert session.ends_access_tokens
    assert session.current() is None
    assert session.current(FEWER) is not None


@pytest.mark.anyio
@pytest.mark.parametrize(("metadata", "says"), [(ENDING, None), (None, True), (None, False)])
async def test_where_it_is_known_nobody_is_asked(metadata: Metadata | None, says: bool | None) -> None:
    provider = FakeProvider() if metadata is None else FakeProvider(metadata=metadata)
    world = await rejected(provider, refresh_ends_access_token=says)
    assert world.session.ends_access_tokens is (says is not False)
    assert provider.profiles == []


@pytest.mark.anyio
async def test_a_token_that_ends_by_the_clock_meanwhile_proves_nothing() -> None:
    provider = FakeProvider(lifetime=10, profile_script=[Rejected("401"), {"sub": ALICE}])
    async with running(provider) as world:
        await world.token(world.session.demand_newer())
        provider.delay = 9.5
        world.prover.look(world.session, Secret("at-2"))
        await anyio.sleep(30)
        assert provider.profiles == ["at-2"]
        assert not world.session.ends_access_tokens


@pytest.mark.anyio
async def test_a_superseded_token_counts_against_nobody_and_is_answered_with_the_current_one() -> None:
    async with running(FakeProvider(), account(refresh_ends_access_token=True)) as world:
        with suppress(errors.Unavailable):  # the rate limit
            while True:
                await world.token(world.session.demand_newer())
        newest = await world.token()
        for _ in range(20):
            demand = world.session.reject(MAIN, Secret("at-2"), world.clock.now())
            assert isinstance(demand, Demand)
            assert await world.token(demand) == newest


@pytest.mark.anyio
async def test_the_proof_is_stored_until_the_next_login() -> None:
    provider = FakeProvider(profile_script=[Rejected("401"), {"sub": ALICE}])
    async with running(provider) as world:
        await world.token(world.session.demand_newer())
        world.prover.look(world.session, Secret("at-2"))
        await anyio.sleep(1)
        await world.saver.drain(5)
        stored = await world.saver.reload(world.session)
        assert stored is not None
        assert isinstance(stored.state, Active)
        assert stored.state.credentials.ends_access_token
        provider.live = "rt-9"
        await world.log_in("rt-9")
        assert not world.session.ends_access_tokens


@pytest.mark.anyio
async def test_a_client_that_needs_more_gets_it_after_the_others() -> None:
    async with running(FakeProvider(lifetime=100), account(refresh_ends_access_token=True)) as world:
        await anyio.sleep(48)
        begun = anyio.current_time()
        assert await world.token(Demand(min_ttl=50.0)) == "at-2"
        assert await world.token(Demand(min_ttl=90.0)) == "at-3"
        assert anyio.current_time() - begun == PATIENCE
