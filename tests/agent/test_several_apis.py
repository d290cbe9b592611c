"""Access tokens for several APIs in one session: for other audiences and scopes, with the same refresh token."""

import itertools

import anyio
import pytest
import trio.testing

from auth_agent.oauth.outcome import (
    Busy,
    DoubtfulRefusal,
    Failure,
    InteractionRequired,
    InvalidGrant,
    Lost,
    Misconfigured,
    Refusal,
    Unsent,
    Unusable,
)
from auth_agent.secret import Secret
from auth_agent.sessions.decision import Demand
from auth_agent.sessions.rate_limit import BURST, INTERVAL
from auth_agent.sessions.session import MAX_TOKENS
from auth_agent.sessions.state import MAIN, Active, Idle, LoginRequired, TokenKey
from auth_agent_client import errors
from tests.agent.heart import World, all_of, running
from tests.agent.world import FakeProvider, account, jwt, token_response

pytestmark = pytest.mark.anyio

OTHER = "https://other.example"
CALENDAR = TokenKey(OTHER, "")
READING = TokenKey(None, "read:things")


@pytest.fixture
def anyio_backend() -> tuple[str, dict[str, object]]:
    return "trio", {"clock": trio.testing.MockClock(autojump_threshold=0)}


def api(number: int) -> TokenKey:
    return TokenKey(f"https://{number}.example", "")


def keys(world: World) -> list[TokenKey]:
    assert isinstance(world.session.state, Active)
    return list(world.session.state.tokens)


async def outcome_of(world: World, key: TokenKey = CALENDAR, min_ttl: float | None = None) -> object:
    (result,) = await all_of(lambda: world.token(Demand(key, min_ttl)))
    return result


# ---- requests and responses


async def test_a_token_for_another_api_is_requested_once_and_then_served() -> None:
    async with running(FakeProvider(delay=1)) as world:
        results = await all_of(*[lambda: world.token(Demand(CALENDAR)) for _ in range(10)])
        assert len(set(results)) == 1
        assert world.provider.refresh_requests == [(None, ""), (OTHER, "")]
        assert await world.token(Demand(CALENDAR)) == results[0]
        assert await world.token() == "at-2"


async def test_a_token_for_fewer_scopes_is_requested_by_scope_alone() -> None:
    async with running() as world:
        await world.token(Demand(READING))
        assert world.provider.refresh_requests[1] == (None, "read:things")


async def test_the_refreshes_of_a_session_run_one_after_the_other() -> None:
    async with running(FakeProvider(delay=2)) as world:
        demands = [Demand(api(number)) for number in range(3)]
        results = await all_of(*[lambda demand=demand: world.token(demand) for demand in demands])
        assert len(set(results)) == 3
        assert world.provider.most_in_flight == 1
        assert world.provider.presented == ["rt-1", "rt-2", "rt-3", "rt-4"]
        assert await world.token() == "at-2"
        await world.token(world.session.demand_newer())
        assert world.provider.presented[-1] == "rt-5"


async def test_the_main_token_is_served_while_another_one_is_requested() -> None:
    async with running() as world:
        world.provider.delay = 10
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(world.token, Demand(CALENDAR))
            await anyio.wait_all_tasks_blocked()
            with anyio.fail_after(0):
                assert await world.token() == "at-2"


async def test_a_due_refresh_of_the_main_token_comes_first() -> None:
    async with running(FakeProvider(lifetime=100)) as world:
        world.clock.suspended = 70  # without a refresh meanwhile
        await outcome_of(world)
        assert world.provider.refresh_requests[1:] == [(None, ""), (OTHER, "")]


async def test_a_token_with_another_audience_than_requested_is_never_served() -> None:
    async with running() as world:
        world.provider.script = [token_response(jwt(aud="https://default.example").reveal(), refresh_token="rt-3")]
        world.provider.live = "rt-3"
        with pytest.raises(errors.Denied) as raised:
            await world.token(Demand(CALENDAR))
        assert raised.value.failure == "refused"
        assert OTHER in raised.value.message
        assert keys(world) == [MAIN]
        credentials = world.session.credentials
        assert credentials is not None
        assert credentials.refresh_token == Secret("rt-3")  # kept, although the access token is not used


async def test_a_token_without_the_requested_scope_is_not_served() -> None:
    async with running() as world:
        world.provider.script = [token_response("at-x", refresh_token=None, scope="openid")]
        with pytest.raises(errors.Denied) as raised:
            await world.token(Demand(READING))
        assert raised.value.failure == "refused"
        assert "read:things" in (raised.value.reason or "")
        allow, own = raised.value.remedy
        assert allow.command == ()
        assert own.command[:3] == ("auth-agent", "login", "work.api")
        assert own.command[-2:] == ("--scope", "read:things")


async def test_a_login_replaces_the_tokens_for_other_apis() -> None:
    async with running() as world:
        await world.token(Demand(CALENDAR))
        world.provider.live = "rt-new"
        await world.log_in("rt-new")
        assert keys(world) == [MAIN]


# ---- ahead of time, as long as somebody asks


async def test_a_token_in_use_is_refreshed_ahead_of_time() -> None:
    async with running(FakeProvider(lifetime=100, delay=1)) as world:
        await world.token(Demand(CALENDAR))
        for _ in range(60):
            await anyio.sleep(10)
            with anyio.fail_after(0):
                await world.token(Demand(CALENDAR))
        times = [
            at for at, (audience, _) in zip(world.provider.at, world.provider.refresh_requests, strict=True) if audience
        ]
        assert 9 <= len(times) <= 12
        assert min(later - earlier for earlier, later in itertools.pairwise(times)) > 40


async def test_a_token_that_is_not_requested_in_its_lifetime_is_dropped() -> None:
    async with running(FakeProvider(lifetime=100)) as world:
        await world.token(Demand(CALENDAR))
        await anyio.sleep(1000)
        assert [audience for audience, _ in world.provider.refresh_requests].count(OTHER) == 1
        assert keys(world) == [MAIN]


async def test_a_token_is_dropped_at_its_end_though_its_session_is_not_due_for_a_day() -> None:
    async with running(FakeProvider(lifetime=86_400)) as world:
        world.provider.script = [token_response("at-calendar", refresh_token=None, lifetime=100)]
        await world.token(Demand(CALENDAR))
        await anyio.sleep(98)
        assert keys(world) == [MAIN, CALENDAR]
        await anyio.sleep(2)
        assert keys(world) == [MAIN]


async def test_watchers_are_notified_of_a_token_that_is_dropped() -> None:
    async with running(FakeProvider(lifetime=86_400)) as world:
        world.provider.script = [token_response("at-calendar", refresh_token=None, lifetime=100)]
        await world.token(Demand(CALENDAR))
        await anyio.wait_all_tasks_blocked()
        changes = Changes()
        world.table.watch(changes)
        await anyio.sleep(98)
        assert changes.accounts == []
        await anyio.sleep(2)
        assert changes.accounts == ["work"]


class Changes:
    """The accounts whose records changed."""

    def __init__(self) -> None:
        self.accounts: list[str] = []

    def changed(self, account: str) -> None:
        self.accounts.append(account)


async def test_a_request_after_the_refresh_time_starts_the_refresh() -> None:
    async with running(FakeProvider(lifetime=100)) as world:
        first = await world.token(Demand(CALENDAR))
        await anyio.sleep(75)  # its refresh would be due
        assert await world.token(Demand(CALENDAR)) == first
        await anyio.sleep(1)
        assert await world.token(Demand(CALENDAR)) != first


async def test_a_larger_min_ttl_for_another_api_moves_only_its_own_refresh() -> None:
    async with running(FakeProvider(lifetime=1000)) as world:
        await world.token(Demand(CALENDAR))
        due = world.session.refresh_at()
        assert world.session.record_demand(CALENDAR, 300, world.clock.now())
        world.refresher.reschedule(world.session)
        assert not world.session.record_demand(CALENDAR, 300, world.clock.now())
        assert world.session.refresh_at() == due
        await anyio.sleep(680)
        assert world.provider.refresh_requests[2:] == [(OTHER, "")]


async def test_the_least_recently_requested_token_makes_room_for_a_new_one() -> None:
    async with running(FakeProvider(lifetime=86_400)) as world:
        for number in range(MAX_TOKENS + 3):
            await world.token(Demand(api(number)))
            await anyio.sleep(INTERVAL)
            await world.token(Demand(api(0)))
        assert len(keys(world)) == MAX_TOKENS + 1
        assert keys(world)[:2] == [MAIN, api(0)]
        assert api(1) not in keys(world)
        assert api(MAX_TOKENS + 2) in keys(world)


async def test_first_requests_for_unconfigured_apis_are_rate_limited() -> None:
    async with running() as world:
        results = [await outcome_of(world, api(number)) for number in range(BURST + 1)]
        assert results.count("unavailable") == 1
        assert len(world.provider.presented) == 1 + BURST
        assert await world.token() == "at-2"


async def test_the_configured_api_does_not_count_against_the_rate_limit() -> None:
    async with running(None, account(management_audience=OTHER)) as world:
        for number in range(BURST):
            await world.token(Demand(api(number)))
        await world.token(Demand(CALENDAR))
        assert len(world.provider.presented) == 2 + BURST


# ---- failures


@pytest.mark.parametrize(
    ("failure", "code"),
    [
        (Refusal("invalid_target"), "denied"),
        (InteractionRequired("mfa_required"), "denied"),
        (Misconfigured("invalid_request"), "misconfigured"),
        (Unusable("nonsense"), "provider_error"),
        (Unsent("no route"), "unavailable"),
        (Busy("HTTP 503", 30), "unavailable"),
        (DoubtfulRefusal("HTTP 403"), "unavailable"),
    ],
)
async def test_a_failure_of_one_token_does_not_affect_the_session(failure: Failure, code: str) -> None:
    async with running() as world:
        world.provider.script = [failure]
        assert await outcome_of(world) == code
        assert await world.token() == "at-2"
        assert world.session.reason is None
        assert isinstance(world.session.state, Active)
        assert world.session.state.refresh == Idle()
        assert await outcome_of(world) == code  # between two attempts there is no request
        assert len(world.provider.presented) == 2


async def test_a_refused_token_is_requested_again_after_the_backoff() -> None:
    async with running() as world:
        world.provider.script = [Refusal("invalid_target")]
        assert await outcome_of(world) == "denied"
        await anyio.sleep(10)
        assert str(await outcome_of(world)).count(".") == 2


async def test_repeated_refusals_are_retried_less_and_less_often() -> None:
    async with running() as world:
        world.provider.script = [Refusal("invalid_target")] * 1000
        for _ in range(3600):
            await outcome_of(world)
            await anyio.sleep(1)
        assert len(world.provider.presented) < 60


async def test_invalid_grant_for_another_token_is_checked_by_the_main_refresh() -> None:
    async with running() as world:
        world.provider.script = [InvalidGrant("invalid_grant")]
        assert await outcome_of(world) == "denied"
        assert world.provider.refresh_requests[1:] == [(OTHER, ""), (None, "")]
        assert world.session.reason is None
        assert await world.token() == "at-3"


async def test_a_revoked_session_ends_at_the_main_refresh_after_it() -> None:
    async with running() as world:
        world.provider.revoked.append(world.provider.live)
        assert await outcome_of(world) == "login_required"
        assert isinstance(world.session.state, LoginRequired)
        assert await outcome_of(world) == "login_required"
        assert len(world.provider.presented) == 3


async def test_another_users_token_for_an_api_quarantines_the_session() -> None:
    async with running() as world:
        world.provider.subject = "auth0|mallory"
        assert await outcome_of(world) == "login_required"
        assert isinstance(world.session.state, LoginRequired)
        assert world.session.state.quarantined
        assert world.session.failure == "wrong_user"


async def test_a_lost_response_for_an_api_is_requested_again_at_once() -> None:
    async with running() as world:
        world.provider.script = [Lost("no reply"), Lost("no reply")]
        assert str(await outcome_of(world)).count(".") == 2
        assert world.provider.presented == ["rt-1", "rt-2", "rt-2", "rt-2"]


async def test_a_success_for_an_api_ends_the_backoff_of_the_main_token() -> None:
    async with running(FakeProvider(lifetime=100)) as world:
        world.provider.script = [Unsent("no route")] * 3
        await anyio.sleep(62)
        assert world.session.reason == "no route"
        world.provider.script = []
        await outcome_of(world)
        await anyio.sleep(0.1)
        assert world.session.reason is None


async def test_a_valid_token_for_an_api_is_served_during_an_outage() -> None:
    async with running(FakeProvider(lifetime=100)) as world:
        token = await world.token(Demand(CALENDAR))
        world.provider.script = [Unsent("no route")] * 100
        await anyio.sleep(60)
        await world.token(Demand(CALENDAR))
        await anyio.sleep(30)
        with anyio.fail_after(0):
            assert await world.token(Demand(CALENDAR)) == token
        await anyio.sleep(30)
        assert await outcome_of(world) == "unavailable"


async def test_forgetting_failures_ends_the_backoff_for_an_api() -> None:
    async with running() as world:
        world.provider.script = [Busy("HTTP 429", 600)]
        assert await outcome_of(world) == "unavailable"
        assert world.session.forget_failures()
        assert not world.session.forget_failures()
        assert str(await outcome_of(world)).count(".") == 2


async def test_a_min_ttl_above_the_lifetime_is_an_error_for_an_api_too() -> None:
    async with running(FakeProvider(lifetime=100)) as world:
        await world.token(Demand(CALENDAR))
        assert await outcome_of(world, min_ttl=200) == "lifetime_too_short"


async def test_a_token_for_an_api_that_arrives_after_logout_is_revoked() -> None:
    async with running() as world:
        world.provider.delay = 3
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(all_of, lambda: world.token(Demand(CALENDAR)))
            await anyio.sleep(1)
            assert await world.logins.log_out(world.session, revoke=True)
        assert world.provider.revoked == ["rt-3"]
        assert world.session.credentials is None
