"""The refresher in a fake world, whose clock jumps from event to event."""

import itertools
import logging
from dataclasses import replace

import anyio
import pytest
import trio.testing

from auth_agent.host.clock import Moment
from auth_agent.oauth.outcome import (
    Busy,
    DoubtfulRefusal,
    Failure,
    InteractionRequired,
    InvalidGrant,
    Lost,
    Misconfigured,
    Refusal,
    Transient,
    Unsent,
    Unusable,
)
from auth_agent.secret import Secret
from auth_agent.sessions.decision import Demand
from auth_agent.sessions.rate_limit import BURST, INTERVAL, PROGRAM_BURST, Asker
from auth_agent.sessions.refresher import Refresher
from auth_agent.sessions.saver import Saver
from auth_agent.sessions.session import Session
from auth_agent.sessions.state import MAIN, Active
from auth_agent.sessions.table import Table
from auth_agent.storage.store import StoreError
from auth_agent_client import errors
from tests.agent.heart import all_of, running
from tests.agent.world import ALICE, ISSUER, FakeProvider, FakeStore, account, config, token_response

pytestmark = pytest.mark.anyio


@pytest.fixture
def anyio_backend() -> tuple[str, dict[str, object]]:
    return "trio", {"clock": trio.testing.MockClock(autojump_threshold=0)}


async def test_a_day_of_tokens_is_refreshed_ahead_of_time_and_each_refresh_token_used_once() -> None:
    async with running() as world:
        for _ in range(24 * 60):
            await anyio.sleep(60)
            assert world.session.remaining(world.clock.now()) > 600  # no client has to wait
        presented = world.provider.presented
        assert 28 <= len(presented) <= 40
        assert len(set(presented)) == len(presented)


async def test_short_tokens_leave_half_of_their_life_between_refreshes() -> None:
    async with running(FakeProvider(lifetime=5)) as world:
        await anyio.sleep(600)
        at = world.provider.at
        gaps = [later - earlier for earlier, later in itertools.pairwise(at)]
        assert len(gaps) > 150
        assert min(gaps) >= 2.5


async def test_the_time_of_discovery_is_not_taken_from_the_tokens_lifetime() -> None:
    async with running(FakeProvider(lifetime=60, preparation=20)) as world:
        assert world.session.remaining(world.clock.now()) == 59


async def test_a_pass_of_the_timer_looks_only_at_the_sessions_that_need_it(monkeypatch: pytest.MonkeyPatch) -> None:
    looked_at: list[str] = []
    look = Table.look

    def noted(table: Table, session: Session, now: Moment) -> None:
        looked_at.append(session.account.name)
        look(table, session, now)

    monkeypatch.setattr(Table, "look", noted)
    others = [account(f"other-{number}") for number in range(50)]
    async with running(FakeProvider(lifetime=600), account(), *others) as world:
        await anyio.sleep(1)
        looked_at.clear()
        await anyio.sleep(3600)
        assert len(world.provider.presented) > 6
        assert set(looked_at) == {"work"}
        world.table.publish(others[0].name)
        await anyio.sleep(3600)
        assert looked_at.count(others[0].name) == 1
        # Once each clock has another offset, or a configuration was read, everything may be due.
        for event in ("set clock", "reload"):
            looked_at.clear()
            if event == "reload":
                world.refresher.reschedule()
            else:
                world.clock.wall += 1
            await anyio.sleep(31)
            assert set(looked_at) == {"work", *(other.name for other in others)}


async def test_a_session_that_is_changed_by_anything_else_is_looked_at_within_a_tick() -> None:
    async with running() as world:
        state = world.session.state
        assert isinstance(state, Active)
        token = replace(state.tokens[MAIN], lifetime=1.0)
        world.session.state = replace(state, tokens={MAIN: token})
        world.table.publish("work")
        before = len(world.provider.presented)
        await anyio.sleep(31)
        assert len(world.provider.presented) == before + 1


async def test_many_clients_share_one_refresh() -> None:
    async with running(FakeProvider(delay=2)) as world:
        await anyio.sleep(100)
        ends = await all_of(*[lambda: world.token(world.session.demand_newer()) for _ in range(50)])
        assert ends == ["at-3"] * 50
        assert world.provider.presented == ["rt-1", "rt-2"]
        assert world.provider.most_in_flight == 1


async def test_timers_and_clients_share_the_refresh_in_flight() -> None:
    async with running(FakeProvider(lifetime=100, delay=3)) as world:
        await anyio.sleep(59)  # the timer's refresh is in flight
        await all_of(*[lambda: world.token(Demand(min_ttl=90)) for _ in range(10)])
        assert world.provider.presented == ["rt-1", "rt-2"]


async def test_a_client_that_gives_up_waiting_does_not_end_the_refresh() -> None:
    async with running(FakeProvider()) as world:
        world.provider.delay = 20
        assert await all_of(lambda: world.token(world.session.demand_newer(), timeout=1)) == ["timeout"]
        await anyio.sleep(20)
        assert await world.token() == "at-3"


async def test_a_client_that_leaves_does_not_end_the_refresh() -> None:
    async with running(FakeProvider()) as world:
        world.provider.delay = 20
        with anyio.move_on_after(1):
            await world.token(world.session.demand_newer())
        await anyio.sleep(20)
        assert world.provider.presented == ["rt-1", "rt-2"]
        assert await world.token() == "at-3"


async def test_a_lost_response_is_retried_twice_with_the_same_refresh_token() -> None:
    async with running(FakeProvider(lifetime=100)) as world:
        world.provider.script = [Lost("no reply"), Lost("no reply")]
        await anyio.sleep(70)
        assert world.provider.presented == ["rt-1", "rt-2", "rt-2", "rt-2"]
        assert world.provider.at[1] == world.provider.at[3]  # at once
        assert world.session.reason is None


async def test_a_response_lost_three_times_waits_for_the_backoff() -> None:
    async with running(FakeProvider(lifetime=100)) as world:
        world.provider.script = [Lost("no reply")] * 3
        await anyio.sleep(58)
        assert world.provider.presented == ["rt-1", "rt-2", "rt-2", "rt-2"]
        await anyio.sleep(20)
        assert world.provider.presented[4:] == ["rt-2"]
        assert world.provider.at[4] > world.provider.at[3]


async def test_a_failure_before_sending_is_left_to_the_backoff() -> None:
    async with running(FakeProvider(lifetime=100)) as world:
        world.provider.script = [Unsent("no route")]
        await anyio.sleep(58)
        assert world.provider.presented == ["rt-1", "rt-2"]


async def test_a_refused_refresh_changes_nothing() -> None:
    """A client can't bypass the provider's Retry-After, or its request for interaction."""
    async with running(FakeProvider(lifetime=60)) as world:
        for failure in (Busy("HTTP 429", 600), InteractionRequired("mfa_required")):
            world.provider.script = [failure] * 1000
            before = len(world.provider.presented)
            for _ in range(100):
                await all_of(lambda: world.refresher.refresh(world.session, Asker(), 15), world.token)
            assert len(world.provider.presented) - before <= 6
            await anyio.sleep(60)


@pytest.mark.parametrize(
    "failure",
    [
        Busy("HTTP 500"),
        Lost("HTTP 502"),
        DoubtfulRefusal("HTTP 403"),
        Transient("none"),
        InvalidGrant("invalid_grant"),
    ],
)
async def test_a_new_refresh_token_beside_a_failure_is_saved_and_presented_next(failure: Failure) -> None:
    store = FakeStore()
    async with running(FakeProvider(lifetime=100), store=store) as world:
        world.provider.script = [replace(failure, refresh_token=Secret("rt-new"))]
        world.provider.live = "rt-new"
        stored: list[object] = []
        world.provider.on_refresh = lambda: stored.append(store.refresh_token())
        await anyio.sleep(70)
        assert world.provider.presented == ["rt-1", "rt-2", "rt-new"]
        assert stored == ["rt-2", "rt-new"]
        assert await world.token() == "at-3"
        assert world.session.reason is None


async def test_a_person_may_try_the_new_refresh_token_beside_a_demand_for_interaction() -> None:
    async with running() as world:
        world.provider.script = [InteractionRequired("mfa_required", refresh_token=Secret("rt-new"))]
        world.provider.live = "rt-new"
        assert await all_of(lambda: world.token(world.session.demand_newer())) == ["login_required"]
        await world.refresher.refresh(world.session, Asker(), 15)
        assert world.provider.presented == ["rt-1", "rt-2", "rt-new"]


async def test_a_new_refresh_token_beside_a_failure_for_another_api_is_presented_next() -> None:
    async with running() as world:
        world.provider.script = [Refusal("invalid_target", refresh_token=Secret("rt-new"))]
        world.provider.live = "rt-new"
        key = world.session.token_key("https://other.example", None)
        assert await all_of(lambda: world.token(Demand(key))) == ["denied"]
        assert await world.token(world.session.demand_newer()) == "at-3"
        assert world.provider.presented == ["rt-1", "rt-2", "rt-new"]


async def test_a_new_refresh_token_beside_a_failure_is_revoked_after_a_logout() -> None:
    async with running() as world:
        world.provider.delay = 5
        world.provider.script = [Busy("HTTP 500", refresh_token=Secret("rt-new"))]
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(lambda: all_of(lambda: world.token(world.session.demand_newer())))
            await anyio.sleep(1)
            await world.logins.log_out(world.session, revoke=True)
        assert world.provider.revoked == ["rt-new"]


async def test_a_new_refresh_token_beside_a_failed_import_is_revoked_if_that_ends_no_session() -> None:
    async with running(logged_in=False) as world:
        world.provider.script = [Busy("HTTP 500", refresh_token=Secret("rt-new"))]
        assert await all_of(world.log_in) == ["unavailable"]
        assert (world.provider.presented, world.provider.revoked) == (["rt-1"], ["rt-new"])


async def test_a_provider_slower_than_its_tokens_lifetime_is_left_to_the_backoff() -> None:
    async with running(FakeProvider(lifetime=5)) as world:
        world.provider.delay = 6
        before = len(world.provider.presented)
        await anyio.sleep(600)
        assert len(world.provider.presented) - before < 50
        assert await all_of(world.token) == ["unavailable"]
        world.provider.delay = 0
        await anyio.sleep(31)
        assert await world.token()


@pytest.mark.parametrize("lifetime", [1, 2, 3])
async def test_tokens_of_seconds_cause_no_storm(lifetime: float) -> None:
    async with running(FakeProvider(lifetime=lifetime)) as world:
        await anyio.sleep(600)
        assert len(world.provider.presented) <= 600 / 0.5 + 1


async def test_a_wall_clock_set_back_causes_one_refresh_within_a_tick() -> None:
    async with running() as world:
        await anyio.sleep(100)
        world.clock.wall -= 7200
        await anyio.sleep(30)
        assert world.session.remaining(world.clock.now()) > 0
        world.clock.wall += 7200
        await anyio.sleep(30)
        assert world.session.remaining(world.clock.now()) > 0
        assert len(world.provider.presented) == 3


async def test_an_outage_is_invisible_while_the_token_is_valid() -> None:
    async with running(FakeProvider(lifetime=300)) as world:
        world.provider.script = [Busy("HTTP 500")] * 1000
        served = 0
        while world.session.remaining(world.clock.now()) > 1:
            assert await world.token() == "at-2"
            served += 1
            await anyio.sleep(1)
        assert served > 250
        await anyio.sleep(1.5)
        with pytest.raises(errors.Unavailable) as raised:
            await world.token()
        assert raised.value.retry_after is not None
        assert 0 <= raised.value.retry_after <= 2


async def test_after_an_outage_a_client_that_retries_is_served_within_three_seconds() -> None:
    async with running(FakeProvider(lifetime=60)) as world:
        world.provider.script = [Busy("HTTP 500")] * 10_000
        await anyio.sleep(600)
        world.provider.script.clear()
        start = anyio.current_time()
        while await all_of(world.token) == ["unavailable"]:  # noqa: ASYNC110 -- a client that keeps asking
            await anyio.sleep(0.1)
        assert anyio.current_time() - start <= 3


async def test_after_an_outage_without_clients_the_session_is_back_within_the_cap() -> None:
    async with running(FakeProvider(lifetime=60)) as world:
        world.provider.script = [Busy("HTTP 500")] * 10_000
        await anyio.sleep(600)
        world.provider.script.clear()
        await anyio.sleep(30)
        assert world.session.remaining(world.clock.now()) > 0


async def test_the_provider_is_not_hammered_in_an_outage() -> None:
    async with running(FakeProvider(lifetime=60)) as world:
        await anyio.sleep(30)
        world.provider.script = [Busy("HTTP 500")] * 10_000
        before = len(world.provider.presented)
        await anyio.sleep(3600)
        assert len(world.provider.presented) - before < 3600 / 10

        async def insist() -> None:
            with anyio.move_on_after(120):
                while True:
                    await all_of(world.token)
                    await anyio.sleep(0.1)

        before = len(world.provider.presented)
        await all_of(*[insist] * 5)
        assert len(world.provider.presented) - before <= 120 / 2 + 1


async def test_refreshes_that_clients_cause_are_charged_to_session_and_program() -> None:
    async with running() as world:
        asker = Asker("a program")

        async def force() -> object:
            return await world.refresher.token(world.session, world.session.demand_newer(), asker, 15)

        for _ in range(BURST):
            await force()
        assert asker.rate_limit.wait(world.clock.now().boot) == 0
        assert await all_of(force, lambda: world.refresher.refresh(world.session, asker, 15)) == ["unavailable"] * 2
        await anyio.sleep(INTERVAL)
        for _ in range(PROGRAM_BURST):
            asker.rate_limit.spend(world.clock.now().boot)
        assert await all_of(force) == ["unavailable"]  # its session's limit would allow it
        await world.refresher.refresh(world.session, Asker("another program"), 15)
        assert len(world.provider.presented) == 1 + BURST + 1


async def test_retry_after_is_obeyed_by_timers_and_clients_and_not_by_a_person() -> None:
    async with running(FakeProvider(lifetime=60)) as world:
        world.provider.script = [Busy("HTTP 429", 300)]
        await anyio.sleep(100)
        assert await all_of(world.token) == ["unavailable"]
        assert len(world.provider.presented) == 2
        token = await world.refresher.refresh(world.session, Asker(), 15)
        assert token.value == Secret("at-3")


async def test_a_resume_from_suspend_forgets_failures() -> None:
    async with running(FakeProvider(lifetime=3600)) as world:
        await anyio.sleep(10)
        world.clock.suspended += 3600
        assert world.session.token(Demand().key, None, world.clock.now()) is None
        await anyio.sleep(30)
        assert world.provider.presented == ["rt-1", "rt-2"]
        assert world.session.remaining(world.clock.now()) > 0


async def test_after_a_resume_a_client_does_not_wait_for_the_tick() -> None:
    async with running(FakeProvider(lifetime=3600)) as world:
        await anyio.sleep(1)
        world.clock.suspended += 3600
        before = anyio.current_time()
        assert await world.token() == "at-3"
        assert anyio.current_time() == before


async def test_a_backoff_ends_with_a_suspend() -> None:
    async with running(FakeProvider(lifetime=7200)) as world:
        world.provider.script = [Busy("HTTP 503", 600)]
        await all_of(lambda: world.token(world.session.demand_newer()))
        world.clock.suspended += 60
        await anyio.sleep(31)
        assert len(world.provider.presented) == 2  # one new attempt: the token is valid, and due by its age
        assert world.session.reason is None


async def test_a_network_that_changes_again_and_again_does_not_shorten_retry_after() -> None:
    async with running(FakeProvider(lifetime=7200)) as world:
        world.provider.script = [Busy("HTTP 503", 600)]
        await all_of(lambda: world.token(world.session.demand_newer()))
        for _ in range(9):
            await anyio.sleep(60)
            world.refresher.note_new_network()
        assert len(world.provider.presented) == 2
        await anyio.sleep(61)
        assert len(world.provider.presented) == 3


async def test_only_the_provider_can_end_a_session() -> None:
    async with running(FakeProvider(lifetime=100)) as world:
        world.provider.script = [InvalidGrant("invalid_grant")]
        await anyio.sleep(3600)
        assert world.provider.presented == ["rt-1", "rt-2"]  # no further attempt
        assert await all_of(world.token) == ["login_required"]


async def test_a_person_can_retry_what_needed_interaction() -> None:
    async with running(FakeProvider(lifetime=100)) as world:
        world.provider.script = [InteractionRequired("mfa_required")]
        await anyio.sleep(100)
        assert await all_of(world.token) == ["login_required"]
        token = await world.refresher.refresh(world.session, Asker(), 15)
        assert token.value == Secret("at-3")


async def test_a_misconfigured_account_is_retried_slowly_and_keeps_its_session() -> None:
    async with running(FakeProvider(lifetime=100)) as world:
        world.provider.script = [Misconfigured("invalid_client")] * 10_000
        await anyio.sleep(3600)
        assert 10 <= len(world.provider.presented) <= 50
        assert await all_of(world.token) == ["misconfigured"]
        world.provider.script.clear()
        await anyio.sleep(300)
        assert (await world.token()).startswith("at-")


async def test_a_refresh_that_failed_with_an_old_configuration_is_retried() -> None:
    wrong = account(proxy="http://wrong.example:3128")
    async with running(FakeProvider(), wrong) as world:
        world.provider.delay = 5
        world.provider.script = [Misconfigured("invalid_client")]
        ends: list[object] = []

        async def wait() -> None:
            ends.extend(await all_of(lambda: world.token(world.session.demand_newer())))

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(wait)
            await anyio.sleep(1)
            world.table.configure(config())
        assert ends == ["at-3"]
        assert world.session.reason is None


async def test_a_defect_in_a_provider_only_affects_its_account(caplog: pytest.LogCaptureFixture) -> None:
    def fail() -> None:
        raise RuntimeError("canary-secret")

    async with running(FakeProvider(lifetime=100)) as world:
        world.provider.on_refresh = fail
        with caplog.at_level(logging.ERROR):
            await anyio.sleep(58)
        world.provider.on_refresh = None
        world.provider.live = "rt-2"
        await anyio.sleep(30)
        assert await world.token() == "at-3"
    assert "RuntimeError@" in caplog.text
    assert "canary" not in caplog.text


# ---- the ends of sessions


async def test_a_logout_is_immediate_and_revokes_the_token() -> None:
    async with running() as world:
        assert await world.logins.log_out(world.session, revoke=True)
        assert world.provider.revoked == ["rt-2"]
        assert await all_of(world.token) == ["login_required"]


async def test_a_logout_during_a_refresh_revokes_the_newest_token() -> None:
    async with running() as world:
        world.provider.delay = 5
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(lambda: all_of(lambda: world.token(world.session.demand_newer())))
            await anyio.sleep(1)
            assert await world.logins.log_out(world.session, revoke=True)
        assert world.provider.revoked == ["rt-3"]
        assert world.session.credentials is None


async def test_a_client_that_waits_for_a_refresh_fails_at_once_on_logout() -> None:
    async with running() as world:
        world.provider.delay = 25
        start = anyio.current_time()
        ends: list[object] = []

        async def wait() -> None:
            ends.extend(await all_of(lambda: world.token(world.session.demand_newer(), timeout=60)))
            ends.append(anyio.current_time() - start)

        async def log_out() -> None:
            await world.logins.log_out(world.session, revoke=True)

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(wait)
            await anyio.sleep(1)
            tasks.start_soon(log_out)
        assert ends == ["login_required", 1.0]


async def test_a_logout_that_keeps_the_providers_session_keeps_it_also_during_a_refresh() -> None:
    async with running() as world:
        world.provider.delay = 5
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(lambda: all_of(lambda: world.token(world.session.demand_newer())))
            await anyio.sleep(1)
            assert not await world.logins.log_out(world.session, revoke=False)
        await anyio.sleep(10)
        assert world.provider.revoked == []


async def test_a_lost_response_is_not_retried_once_the_account_has_changed() -> None:
    async with running(FakeProvider(lifetime=100)) as world:
        world.provider.script = [Lost("no reply"), Lost("no reply")]
        world.provider.delay = 5
        await anyio.sleep(58)
        assert world.provider.presented == ["rt-1", "rt-2"]
        world.table.configure(config(account(client_id="another")))
        await anyio.sleep(100)
        assert world.provider.presented == ["rt-1", "rt-2"]


async def test_a_logout_waits_ten_seconds_for_a_refresh_and_then_revokes_what_it_has() -> None:
    async with running() as world:
        world.provider.delay = 60
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(lambda: all_of(lambda: world.token(world.session.demand_newer(), timeout=1)))
            await anyio.sleep(1)
            before = anyio.current_time()
            assert await world.logins.log_out(world.session, revoke=True)
            assert anyio.current_time() - before == pytest.approx(10)
        await anyio.sleep(60)
        assert world.session.credentials is None


async def test_a_logout_without_revocation_sends_nothing() -> None:
    async with running() as world:
        assert not await world.logins.log_out(world.session, revoke=False)
        assert world.provider.revoked == []


async def test_the_tokens_of_a_changed_account_are_not_even_sent_to_be_revoked() -> None:
    async with running() as world:
        world.table.configure(config(account(issuer="https://other.example/")))
        assert not await world.logins.log_out(world.session, revoke=True)
        assert world.provider.revoked == []


async def test_a_stopping_agent_lets_a_refresh_finish_and_starts_no_other() -> None:
    async with running(FakeProvider(lifetime=100)) as world:
        world.provider.delay = 5
        await anyio.sleep(58)
        before = anyio.current_time()
        await world.background.drain()
        assert 2 < anyio.current_time() - before <= 5
        assert world.session.refreshes == 1
        assert await all_of(lambda: world.token(world.session.demand_newer())) == ["unavailable"]


async def test_a_stopping_agent_waits_ten_seconds_at_most() -> None:
    async with running(FakeProvider(lifetime=100)) as world:
        world.provider.delay = 1000
        await anyio.sleep(58)
        before = anyio.current_time()
        await world.background.drain()
        assert anyio.current_time() - before == pytest.approx(10)


# ---- imports


async def test_an_import_is_checked_by_a_refresh() -> None:
    async with running(logged_in=False) as world:
        record = await world.log_in()
        assert (record["state"], record["subject"], record["name"]) == ("ready", ALICE, "Alice")
        assert world.provider.presented == ["rt-1"]


@pytest.mark.parametrize(
    ("outcome", "code"),
    [
        (InvalidGrant("invalid_grant"), "login_required"),
        (Unsent("no route"), "unavailable"),
        (Misconfigured("invalid_client"), "misconfigured"),
    ],
)
async def test_a_failed_import_leaves_the_old_session(outcome: InvalidGrant, code: str) -> None:
    async with running() as world:
        world.provider.script = [outcome]
        assert await all_of(lambda: world.log_in("rt-other")) == [code]
        assert await world.token() == "at-2"
        assert world.session.epoch == 1


async def test_another_users_import_needs_switch_user() -> None:
    async with running() as world:
        theirs = token_response("at-bob", refresh_token="rt-bob-2", subject="auth0|bob")
        world.provider.script = [theirs]
        assert await all_of(lambda: world.log_in("rt-bob")) == ["denied"]
        assert world.provider.revoked == ["rt-bob-2"]
        assert await world.token() == "at-2"
        world.provider.script = [theirs]
        record = await world.log_in("rt-bob-1", switch_user=True)
        assert record["subject"] == "auth0|bob"
        assert world.provider.revoked == ["rt-bob-2", "rt-2"]


async def test_a_refresh_token_known_to_be_replaced_is_never_sent() -> None:
    async with running() as world:
        assert await all_of(lambda: world.log_in("rt-1")) == ["invalid_request"]
        assert world.provider.presented == ["rt-1"]


async def test_a_refresh_token_that_a_session_holds_is_not_sent_by_an_import() -> None:
    async with running() as world:
        assert await all_of(lambda: world.log_in("rt-2")) == ["invalid_request"]
        assert world.provider.presented == ["rt-1"]


async def test_a_refresh_token_is_in_one_request_at_a_time() -> None:
    async with running(FakeProvider(delay=5), logged_in=False) as world:
        ends = await all_of(lambda: world.log_in("rt-1"), lambda: world.log_in("rt-1"))
        assert ends[0] == "invalid_request"
        assert world.provider.presented == ["rt-1"]

        async def log_out() -> None:
            await world.logins.log_out(world.session, revoke=False)

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(lambda: all_of(lambda: world.token(world.session.demand_newer())))
            await anyio.sleep(1)
            tasks.start_soon(log_out)
            await anyio.sleep(1)
            assert await all_of(lambda: world.log_in("rt-2")) == ["invalid_request"]
        assert world.provider.most_in_flight == 1


async def test_a_removed_account_still_holds_its_refresh_token() -> None:
    async with running() as world:
        world.table.configure(config(account("other")))
        other = world.table.session("other")
        ends = await all_of(lambda: world.logins.import_refresh_token(other, Secret("rt-2"), switch_user=False))
        assert ends == ["invalid_request"]


async def test_an_import_that_finishes_after_a_logout_is_discarded() -> None:
    async with running(FakeProvider(delay=5), logged_in=False) as world:
        ends: list[object] = []

        async def log_in() -> None:
            ends.extend(await all_of(world.log_in))

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(log_in)
            await anyio.sleep(1)
            await world.logins.log_out(world.session, revoke=True)
        assert ends == ["denied"]
        assert world.provider.revoked == ["rt-2"]
        assert await all_of(world.token) == ["login_required"]


async def test_an_import_that_finishes_after_its_account_was_removed_is_revoked() -> None:
    store = FakeStore()
    async with running(FakeProvider(delay=5), logged_in=False, store=store) as world:
        ends: list[object] = []

        async def log_in() -> None:
            ends.extend(await all_of(world.log_in))

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(log_in)
            await anyio.sleep(1)
            world.table.configure(config(account("other")))
        assert (ends, world.provider.revoked, store.entries) == (["denied"], ["rt-2"], {})


async def test_an_import_without_an_id_token_does_not_say_that_it_is_another_users() -> None:
    async with running() as world:
        world.provider.script = [token_response("at-9", refresh_token="rt-9", subject=None)]
        world.provider.profile_script = [Refusal("no UserInfo endpoint")]
        with pytest.raises(errors.Denied, match="ID token"):
            await world.log_in("rt-8")


async def test_after_the_end_of_a_session_another_user_still_needs_switch_user() -> None:
    async with running(FakeProvider(lifetime=100)) as world:
        world.provider.script = [
            InvalidGrant("invalid_grant"),
            token_response("at-bob", refresh_token="rt-bob", subject="auth0|bob"),
        ]
        await anyio.sleep(100)
        assert await all_of(lambda: world.log_in("rt-8")) == ["denied"]


@pytest.mark.parametrize("subject", [ALICE, "auth0|bob"])
async def test_a_refresh_that_finishes_after_another_users_import_is_revoked(
    subject: str,
) -> None:
    async with running() as world:
        world.provider.delay = 5
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(lambda: all_of(lambda: world.token(world.session.demand_newer())))
            await anyio.sleep(1)
            world.provider.script = [token_response("at-9", refresh_token="rt-9", subject=subject)]
            world.provider.delay = 0
            await world.log_in("rt-8", switch_user=True)
            world.provider.script = [token_response("at-late", refresh_token="rt-late")]
        await anyio.sleep(10)
        assert world.provider.script == []
        assert world.provider.revoked == ([] if subject == ALICE else ["rt-2", "rt-late"])
        assert world.session.credentials is not None
        assert world.session.credentials.refresh_token == Secret("rt-9")


async def test_watchers_are_notified_of_an_end_before_what_was_granted_is_revoked() -> None:
    async with running() as world:
        world.provider.script = [token_response("at-bob", refresh_token="rt-bob", subject="auth0|bob")]
        world.provider.revocation_delay = 5
        states = States(world.table)
        assert await all_of(lambda: world.token(world.session.demand_newer())) == ["login_required"]
        assert states.seen[-1] == "login_required"
        assert world.provider.revoked == []
        await anyio.sleep(6)
        assert world.provider.revoked == ["rt-bob"]


class States:
    """The states of the account `work` that its watchers have seen."""

    def __init__(self, table: Table) -> None:
        self.seen: list[object] = []
        self._table = table
        table.watch(self)

    def changed(self, account: str) -> None:
        record = self._table.record(account)
        assert record is not None
        self.seen.append(record["state"])


# ---- what is blamed


@pytest.mark.parametrize(
    ("failure", "word"),
    [
        (Unsent("no route"), "unreachable"),
        (Lost("no reply"), "unreachable"),
        (Busy("server_error"), "busy"),
        (DoubtfulRefusal("HTTP 403"), "refused"),
        (InvalidGrant("invalid_grant", refresh_token=Secret("rt-new")), "refused"),
        (Misconfigured("invalid_client"), "misconfigured"),
        (Unusable("its access token is too long"), "invalid_response"),
    ],
)
async def test_a_failure_is_blamed_on_what_failed(failure: Failure, word: str) -> None:
    async with running(FakeProvider(lifetime=100)) as world:
        world.provider.script = [failure] * 100
        await anyio.sleep(65)
        assert world.session.failure == word


async def test_a_store_that_cannot_confirm_the_end_of_a_session_is_blamed_for_that() -> None:
    store = FakeStore()
    async with running(FakeProvider(lifetime=100), store=store) as world:
        store.failing["read"] = StoreError("the keyring hangs")
        world.provider.script = [InvalidGrant("invalid_grant")] * 100
        await anyio.sleep(70)
        assert (world.session.failure, world.session.refreshable) == ("store_failed", True)


# ---- defects

REFRESH_STEPS = [
    (Saver, "record_sent"),
    (Saver, "save"),
    (Session, "finish"),
    (Session, "settle"),
    (Refresher, "_report"),
]


# The same issuer, in a form that selects the other fake provider.
HOME = ISSUER.rstrip("/")


def provider_elsewhere() -> FakeProvider:
    """Return a provider whose tokens are not the other one's."""
    return FakeProvider(lifetime=100, live="rt-home", _serial=itertools.count(1000))


@pytest.mark.parametrize(("part", "step"), REFRESH_STEPS, ids=[step for _, step in REFRESH_STEPS])
async def test_a_defect_in_one_sessions_refresh_only_delays_that_session(
    part: type, step: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    works, store = getattr(part, step), FakeStore()
    provider, other = FakeProvider(lifetime=100), provider_elsewhere()
    async with running(provider, account(), account("home", issuer=HOME), store=store) as world:
        world.by_issuer[HOME] = other
        await world.log_in("rt-home", name="home")
        failing = iter([True])

        def fail_once(self: object, *args: object) -> object:
            if world.session in (self, *args) and next(failing, False):
                raise RuntimeError("canary")
            return works(self, *args)

        monkeypatch.setattr(part, step, fail_once)
        await anyio.sleep(300)
        assert len(set(provider.presented)) == len(provider.presented) >= 6  # none was sent twice
        assert len(set(other.presented)) == len(other.presented) >= 6
        assert (world.session.reason, store.refresh_token()) == (None, provider.live)
        assert await world.token() == f"at-{provider.live.removeprefix('rt-')}"
    assert caplog.text.count("defect account=work in=refresh error=RuntimeError@") == 1
    assert "canary" not in caplog.text


async def test_a_refresh_that_a_defect_interrupted_says_so_until_it_succeeds(monkeypatch: pytest.MonkeyPatch) -> None:
    async with running(FakeProvider(lifetime=100)) as world:

        async def fail(*_: object) -> None:
            raise RuntimeError

        with monkeypatch.context() as patch:
            patch.setattr(Saver, "record_sent", fail)
            await anyio.sleep(100)
            assert world.session.failure == "defect"
            assert await all_of(world.token) == ["unavailable"]
            assert world.provider.presented == ["rt-1"]
        await anyio.sleep(60)
        assert world.session.failure is None


async def test_a_defect_in_a_sessions_schedule_does_not_end_the_timer(monkeypatch: pytest.MonkeyPatch) -> None:
    other = provider_elsewhere()
    async with running(FakeProvider(), account(), account("home", issuer=HOME)) as world:
        world.by_issuer[HOME] = other
        await world.log_in("rt-home", name="home")
        works = Session.next_due

        def fail(self: Session, now: Moment) -> object:
            if self is world.session:
                raise RuntimeError
            return works(self, now)

        monkeypatch.setattr(Session, "next_due", fail)
        await anyio.sleep(4000)
        assert len(other.presented) >= 5
        assert world.provider.presented == ["rt-1"]
        monkeypatch.undo()
        await anyio.sleep(31)  # it is looked at each tick
        assert world.provider.presented == ["rt-1", "rt-2"]


# ---- watching


async def test_watchers_are_notified_of_every_change_and_of_an_expiry() -> None:
    states: list[tuple[object, object]] = []

    class Watcher:
        def __init__(self, table: Table) -> None:
            self.table = table

        def changed(self, account: str) -> None:
            record = self.table.record(account)
            assert record is not None
            states.append((record["state"], record["renewal"]))

    async with running(FakeProvider(lifetime=100)) as world:
        world.table.watch(Watcher(world.table))
        world.provider.script = [Busy("HTTP 500", 200)]
        await anyio.sleep(150)
        world.table.configure(config(account("other")))
    assert states == [
        ("ready", "running"),
        ("ready", "retrying"),
        ("expired", "retrying"),
        ("logged_out", "none"),  # the other account, added
        ("login_required", "none"),  # this one, removed
    ]
