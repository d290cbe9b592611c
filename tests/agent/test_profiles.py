"""The users' profiles in a fake world whose clock jumps: how often providers are asked, and what is told otherwise."""

from dataclasses import replace

import anyio
import pytest
import trio.testing

from auth_agent.grant_type import CLIENT_CREDENTIALS
from auth_agent.oauth.outcome import Busy, Failure, Refusal, Rejected, Unsent, Unusable
from auth_agent.sessions.profile import Profile, ProfileResult, by_id_token, said_of_the_user
from auth_agent.sessions.state import Credentials
from auth_agent_client import errors
from tests.agent.heart import World, all_of, running
from tests.agent.world import ALICE, CLIENT, ISSUER, NOON, FakeProvider, account, jwt, reply

pytestmark = pytest.mark.anyio


@pytest.fixture
def anyio_backend() -> tuple[str, dict[str, object]]:
    return "trio", {"clock": trio.testing.MockClock(autojump_threshold=0)}


async def profile(world: World, max_age: float = 300, timeout: float = 15) -> ProfileResult:
    return await world.profiles.get(world.session, max_age, timeout)


async def shown(world: World, max_age: float = 300) -> object:
    """Which answer of the provider a client is told, and whether that is stale."""
    told = await profile(world, max_age)
    return told.claims.get("n"), told.stale


def login(**claims: object) -> Credentials:
    return Credentials(ISSUER, CLIENT, None, ALICE, "Alice", None, jwt(**claims))


# ---- how often


async def test_two_hundred_who_ask_at_once_make_one_request() -> None:
    async with running(FakeProvider(delay=2)) as world:
        ends = await all_of(*[lambda: shown(world) for _ in range(200)])
        assert ends == [(1, False)] * 200
        assert world.provider.profiles == ["at-2"]


async def test_what_is_not_older_than_asked_for_is_at_hand() -> None:
    async with running() as world:
        await profile(world)
        await anyio.sleep(300)
        assert world.profiles.at_hand(world.session, 300) is not None
        await anyio.sleep(1)
        assert world.profiles.at_hand(world.session, 300) is None
        assert await shown(world) == (2, False)


async def test_however_fresh_a_client_wants_it_the_provider_is_asked_once_a_minute() -> None:
    async with running() as world:
        for _ in range(600):
            await shown(world, max_age=0)
            await anyio.sleep(1)
        assert 9 <= len(world.provider.profiles) <= 10


async def test_failures_count_like_answers() -> None:
    async with running() as world:
        world.provider.profile_script = [Unsent("no route")] * 100
        for _ in range(600):
            await shown(world)
            await anyio.sleep(1)
        assert 9 <= len(world.provider.profiles) <= 10


async def test_a_provider_that_wants_patience_gets_it() -> None:
    async with running() as world:
        world.provider.profile_script = [Busy("HTTP 429", 500)]
        for _ in range(499):
            assert (await profile(world)).stale
            await anyio.sleep(1)
        assert len(world.provider.profiles) == 1
        await anyio.sleep(2)
        assert await shown(world) == (2, False)


async def test_another_id_token_that_says_the_same_is_no_news() -> None:
    async with running() as world:
        await profile(world)
        await anyio.sleep(120)
        await world.token(world.session.force())
        assert await shown(world) == (1, False)


async def test_an_id_token_that_says_something_else_has_it_asked_for_anew() -> None:
    async with running() as world:
        await profile(world)
        await anyio.sleep(120)
        claims = {"iss": ISSUER, "aud": CLIENT, "sub": ALICE, "name": "Alice Smith"}
        world.provider.script = [reply("at-9", refresh_token=None, id_token=jwt(**claims))]
        await world.token(world.session.force())
        assert await shown(world) == (2, False)


async def test_a_client_that_leaves_does_not_end_the_request() -> None:
    async with running() as world:
        world.provider.delay = 10
        with pytest.raises(errors.Timeout):
            await profile(world, timeout=1)
        await anyio.sleep(10)
        assert world.profiles.at_hand(world.session, 300) is not None


# ---- what is told where nobody can be asked


@pytest.mark.parametrize(
    "failure", [Unsent("no route"), Busy("HTTP 503"), Refusal("HTTP 403"), Unusable("no JSON"), Rejected("HTTP 401")]
)
async def test_without_an_answer_the_id_token_tells(failure: Failure) -> None:
    async with running() as world:
        world.provider.profile_script = [failure]
        told = await profile(world)
        assert told == ProfileResult({"sub": ALICE, "name": "Alice"}, NOON, stale=True)


async def test_what_was_answered_before_is_better_than_the_id_token() -> None:
    async with running() as world:
        await profile(world)
        await anyio.sleep(400)
        world.provider.profile_script = [Unsent("no route")]
        told = await profile(world)
        assert (told.claims["n"], told.fetched_at, told.stale) == (1, NOON, True)


@pytest.mark.parametrize(
    ("scope", "helps"),
    [
        ("openid profile", "auth-agent login work"),
        ("profile email", "auth-agent login work --scope 'openid profile email'"),
    ],
)
async def test_without_an_id_token_the_failure_is_told_with_what_to_do(scope: str, helps: str) -> None:
    async with running(FakeProvider(subject=None), account(scope=scope)) as world:
        world.provider.profile_script = [Unsent("no route"), Refusal("HTTP 403")]
        with pytest.raises(errors.Unavailable, match="work: no route; try again in 60 s") as raised:
            await profile(world)
        assert raised.value.retry_after == 60
        await anyio.sleep(60)
        with pytest.raises(errors.Denied, match="there is no ID token") as denied:
            await profile(world)
        assert [remedy.line for remedy in denied.value.remedy] == [helps]


async def test_another_users_answer_is_never_used() -> None:
    async with running() as world:
        world.provider.profile_script = [{"sub": "auth0|mallory", "name": "Mallory"}]
        with pytest.raises(errors.ProviderError, match="another user"):
            await profile(world)
        assert world.session.profile is None


async def test_an_outage_of_the_token_endpoint_costs_no_request_for_a_profile() -> None:
    async with running(FakeProvider(lifetime=100)) as world:
        world.provider.script = [Unsent("no route")] * 100
        await anyio.sleep(120)
        assert (await profile(world)).stale
        assert world.provider.profiles == []


# ---- an access token that is rejected


async def test_a_token_that_is_rejected_is_refreshed_once() -> None:
    async with running() as world:
        await anyio.sleep(400)
        world.provider.profile_script = [Rejected("HTTP 401")]
        assert await shown(world) == (2, False)
        assert world.provider.profiles == ["at-2", "at-3"]


async def test_a_provider_that_takes_no_token_of_this_login_is_sent_no_more_refreshes() -> None:
    async with running(FakeProvider(lifetime=86_400)) as world:
        world.provider.profile_script = [Rejected("HTTP 401")] * 100
        for _ in range(60):
            await anyio.sleep(300)
            assert (await profile(world)).stale
        assert len(world.provider.presented) <= 3


async def test_a_token_as_good_as_new_is_not_refreshed_for_a_rejection() -> None:
    async with running() as world:
        world.provider.profile_script = [Rejected("HTTP 401")]
        assert (await profile(world)).stale
        assert world.provider.presented == ["rt-1"]


# ---- whose it is, and how long


async def test_a_logout_drops_it_and_a_login_asks_anew() -> None:
    async with running() as world:
        await profile(world)
        await world.logins.log_out(world.session, revoke=False)
        assert world.session.profile is None
        with pytest.raises(errors.LoginRequired):
            await profile(world)
        world.provider.live = "rt-b"
        await world.log_in("rt-b")
        assert await shown(world) == (2, False)  # though the other login's was asked for a moment ago


async def test_an_answer_that_comes_after_the_logout_is_nobodys() -> None:
    async with running() as world:
        world.provider.delay = 5
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(all_of, lambda: profile(world))
            await anyio.sleep(1)
            await world.logins.log_out(world.session, revoke=False)
        await anyio.sleep(10)
        assert world.session.profile is None


async def test_a_client_of_its_own_has_nobody_to_tell_of() -> None:
    async with running(None, account(grant_type=CLIENT_CREDENTIALS), logged_in=False) as world:
        with pytest.raises(errors.Unsupported, match="nobody is logged in there"):
            await profile(world)


# ---- the rules, by themselves


@pytest.mark.parametrize(
    ("age", "max_age", "fresh"),
    [
        (0, 0, True),
        (60, 0, True),
        (61, 0, False),
        (300, 300, True),
        (301, 300, False),
        (-60, 300, True),
        (-61, 300, False),
    ],
)
def test_what_is_fresh(age: float, max_age: float, fresh: bool) -> None:
    assert Profile({}, NOON - age, "said").is_fresh("said", max_age, NOON) is fresh
    assert not Profile({}, NOON - age, "said").is_fresh("something else", max_age, NOON)


def test_what_an_id_token_says_of_the_user_is_what_it_does_not_say_of_itself() -> None:
    one = login(sub=ALICE, name="Alice", iat=NOON, exp=NOON + 10, nonce="n", at_hash="x", sid="s")
    told = by_id_token(one)
    assert told == ProfileResult({"sub": ALICE, "name": "Alice"}, NOON, stale=True)
    assert said_of_the_user(one) == said_of_the_user(login(name="Alice", sub=ALICE, iat=NOON + 5, exp=NOON + 15))
    assert said_of_the_user(one) != said_of_the_user(login(sub=ALICE, name="Bob"))


def test_an_id_token_that_is_none_or_that_no_message_can_carry_says_nothing() -> None:
    for wrong in (replace(login(), id_token=None), login(sub=ALICE, n=1 << 70), login(sub="\ud800")):
        assert by_id_token(wrong) is None
        assert said_of_the_user(wrong) == ""


def test_no_profile_is_shown_by_accident() -> None:
    told = repr((Profile({"email": "canary"}, NOON, "said"), ProfileResult({"email": "canary"}, NOON, stale=False)))
    assert "canary" not in told
