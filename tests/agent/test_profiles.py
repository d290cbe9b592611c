"""Users' profiles, with a fake provider and clock: how often they are requested, and the fallbacks."""

from dataclasses import replace

import anyio
import pytest
import trio.testing

from auth_agent.grant_type import CLIENT_CREDENTIALS
from auth_agent.oauth.outcome import Busy, Failure, Refusal, Rejected, Unsent, Unusable
from auth_agent.sessions.profile import Profile, ProfileResult, digest_of_user, result_from_id_token
from auth_agent.sessions.state import Active, Credentials
from auth_agent_client import errors
from tests.agent.heart import World, all_of, running
from tests.agent.world import ALICE, CLIENT, ISSUER, NOON, FakeProvider, account, jwt, token_response

pytestmark = pytest.mark.anyio


@pytest.fixture
def anyio_backend() -> tuple[str, dict[str, object]]:
    return "trio", {"clock": trio.testing.MockClock(autojump_threshold=0)}


async def profile(world: World, max_age: float = 300, timeout: float = 15) -> ProfileResult:
    return await world.profiles.get(world.session, max_age, timeout)


async def response_number(world: World, max_age: float = 300) -> object:
    """Return the number of the provider's response that a client gets, and whether it is stale."""
    result = await profile(world, max_age)
    return result.claims.get("n"), result.stale


def credentials(**claims: object) -> Credentials:
    return Credentials(ISSUER, CLIENT, None, ALICE, "Alice", None, jwt(**claims))


# ---- how often


async def test_two_hundred_simultaneous_clients_share_one_request() -> None:
    async with running(FakeProvider(delay=2)) as world:
        results = await all_of(*[lambda: response_number(world) for _ in range(200)])
        assert results == [(1, False)] * 200
        assert world.provider.profiles == ["at-2"]


async def test_a_profile_is_cached_for_max_age() -> None:
    async with running() as world:
        await profile(world)
        await anyio.sleep(300)
        assert world.profiles.cached(world.session, 300) is not None
        await anyio.sleep(1)
        assert world.profiles.cached(world.session, 300) is None
        assert await response_number(world) == (2, False)


async def test_the_provider_is_requested_once_a_minute_whatever_max_age() -> None:
    async with running() as world:
        for _ in range(600):
            await response_number(world, max_age=0)
            await anyio.sleep(1)
        assert 9 <= len(world.provider.profiles) <= 10


async def test_failures_are_limited_to_one_request_a_minute_too() -> None:
    async with running() as world:
        world.provider.profile_script = [Unsent("no route")] * 100
        for _ in range(600):
            await response_number(world)
            await anyio.sleep(1)
        assert 9 <= len(world.provider.profiles) <= 10


async def test_retry_after_of_the_provider_is_obeyed() -> None:
    async with running() as world:
        world.provider.profile_script = [Busy("HTTP 429", 500)]
        for _ in range(499):
            assert (await profile(world)).stale
            await anyio.sleep(1)
        assert len(world.provider.profiles) == 1
        await anyio.sleep(2)
        assert await response_number(world) == (2, False)


async def test_a_new_id_token_with_the_same_claims_causes_no_request() -> None:
    async with running() as world:
        await profile(world)
        await anyio.sleep(120)
        await world.token(world.session.demand_newer())
        assert await response_number(world) == (1, False)


async def test_a_new_id_token_with_other_claims_causes_a_request() -> None:
    async with running() as world:
        await profile(world)
        await anyio.sleep(120)
        claims = {"iss": ISSUER, "aud": CLIENT, "sub": ALICE, "name": "Alice Smith"}
        world.provider.script = [token_response("at-9", refresh_token=None, id_token=jwt(**claims))]
        await world.token(world.session.demand_newer())
        assert await response_number(world) == (2, False)


async def test_a_client_that_gives_up_does_not_cancel_the_request() -> None:
    async with running() as world:
        world.provider.delay = 10
        assert (await profile(world, timeout=1)).stale
        await anyio.sleep(10)
        assert world.profiles.cached(world.session, 300) is not None


async def test_a_provider_that_hangs_is_one_that_cannot_be_reached() -> None:
    async with running() as world:
        known = await profile(world)
        await anyio.sleep(61)
        world.provider.delay = 40
        begun = anyio.current_time()
        assert await profile(world, max_age=60) == replace(known, stale=True)
        assert anyio.current_time() - begun == 5
        assert await profile(world, max_age=60) == replace(known, stale=True)
        assert anyio.current_time() - begun == 5  # that request had its time
        await anyio.sleep(40)
        assert await response_number(world) == (2, False)


async def test_without_any_claims_a_provider_that_hangs_is_a_timeout() -> None:
    async with running() as world:
        assert isinstance(world.session.state, Active)
        world.session.state = replace(
            world.session.state, credentials=replace(world.session.state.credentials, id_token=None)
        )
        world.provider.delay = 40
        with pytest.raises(errors.Timeout, match=r"no answer from acme\.example within 15 s"):
            await profile(world)


# ---- fallbacks


@pytest.mark.parametrize(
    "failure", [Unsent("no route"), Busy("HTTP 503"), Refusal("HTTP 403"), Unusable("no JSON"), Rejected("HTTP 401")]
)
async def test_after_a_failure_the_fallback_is_the_id_token(failure: Failure) -> None:
    async with running() as world:
        world.provider.profile_script = [failure]
        result = await profile(world)
        assert result == ProfileResult({"sub": ALICE, "name": "Alice"}, NOON, stale=True)


async def test_an_older_profile_is_preferred_to_the_id_token() -> None:
    async with running() as world:
        await profile(world)
        await anyio.sleep(400)
        world.provider.profile_script = [Unsent("no route")]
        result = await profile(world)
        assert (result.claims["n"], result.fetched_at, result.stale) == (1, NOON, True)


@pytest.mark.parametrize(
    ("scope", "command"),
    [
        ("openid profile", "auth-agent login work"),
        ("profile email", "auth-agent login work --scope 'openid profile email' --switch-user"),
    ],
)
async def test_without_a_fallback_the_failure_is_an_error_with_a_remedy(scope: str, command: str) -> None:
    async with running(FakeProvider(subject=None), account(scope=scope)) as world:
        world.provider.profile_script = [Unsent("no route"), Refusal("HTTP 403")]
        with pytest.raises(errors.Unavailable) as raised:
            await profile(world)
        assert (raised.value.reason, raised.value.failure) == ("no route", "unreachable")
        assert raised.value.retry_after == 60
        await anyio.sleep(60)
        with pytest.raises(errors.Denied) as denied:
            await profile(world)
        assert denied.value.failure == "refused"
        assert [remedy.line for remedy in denied.value.remedy] == [command]


async def test_another_users_claims_are_never_used() -> None:
    """Some providers have another `sub` for the same user there: the ID token's claims are good."""
    async with running() as world:
        world.provider.profile_script = [{"sub": "auth0|mallory", "name": "Mallory"}]
        result = await profile(world)
        assert (result.claims["name"], result.stale) == ("Alice", True)
        assert world.session.profile is None


async def test_without_a_token_no_userinfo_request_is_sent() -> None:
    async with running(FakeProvider(lifetime=100)) as world:
        world.provider.script = [Unsent("no route")] * 100
        await anyio.sleep(120)
        assert (await profile(world)).stale
        assert world.provider.profiles == []


# ---- an access token that is rejected


async def test_a_rejected_token_is_refreshed_once() -> None:
    async with running() as world:
        await anyio.sleep(400)
        world.provider.profile_script = [Rejected("HTTP 401")]
        assert await response_number(world) == (2, False)
        assert world.provider.profiles == ["at-2", "at-3"]


async def test_a_provider_that_rejects_every_token_causes_few_refreshes() -> None:
    async with running(FakeProvider(lifetime=86_400)) as world:
        world.provider.profile_script = [Rejected("HTTP 401")] * 100
        for _ in range(60):
            await anyio.sleep(300)
            assert (await profile(world)).stale
        assert len(world.provider.presented) <= 3


async def test_a_new_token_that_is_rejected_is_not_refreshed() -> None:
    async with running() as world:
        world.provider.profile_script = [Rejected("HTTP 401")]
        assert (await profile(world)).stale
        assert world.provider.presented == ["rt-1"]


# ---- logout


async def test_a_logout_deletes_the_profile_and_a_login_fetches_a_new_one() -> None:
    async with running() as world:
        await profile(world)
        await world.logins.log_out(world.session, revoke=False)
        assert world.session.profile is None
        with pytest.raises(errors.LoginRequired):
            await profile(world)
        world.provider.live = "rt-b"
        await world.log_in("rt-b")
        assert await response_number(world) == (2, False)  # although the other login's was fetched a moment ago


async def test_a_response_after_the_logout_is_discarded() -> None:
    async with running() as world:
        world.provider.delay = 5
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(all_of, lambda: profile(world))
            await anyio.sleep(1)
            await world.logins.log_out(world.session, revoke=False)
        await anyio.sleep(10)
        assert world.session.profile is None


async def test_a_client_account_has_no_profile() -> None:
    async with running(None, account(grant_type=CLIENT_CREDENTIALS), logged_in=False) as world:
        with pytest.raises(errors.Unsupported):
            await profile(world)


# ---- pure functions


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
def test_a_profile_is_fresh_for_max_age_but_a_minute_at_least(age: float, max_age: float, fresh: bool) -> None:
    assert Profile({}, NOON - age, "digest").is_fresh("digest", max_age, NOON) is fresh
    assert not Profile({}, NOON - age, "digest").is_fresh("another digest", max_age, NOON)


def test_only_the_claims_about_the_user_are_taken_from_an_id_token() -> None:
    first = credentials(sub=ALICE, name="Alice", iat=NOON, exp=NOON + 10, nonce="n", at_hash="x", sid="s")
    result = result_from_id_token(first)
    assert result == ProfileResult({"sub": ALICE, "name": "Alice"}, NOON, stale=True)
    assert digest_of_user(first) == digest_of_user(credentials(name="Alice", sub=ALICE, iat=NOON + 5, exp=NOON + 15))
    assert digest_of_user(first) != digest_of_user(credentials(sub=ALICE, name="Bob"))


def test_a_missing_or_unusable_id_token_has_no_claims() -> None:
    for wrong in (replace(credentials(), id_token=None), credentials(sub=ALICE, n=1 << 70), credentials(sub="\ud800")):
        assert result_from_id_token(wrong) is None
        assert digest_of_user(wrong) == ""


def test_the_repr_of_a_profile_contains_no_claims() -> None:
    claims = {"email": "canary"}
    output = repr((Profile(claims, NOON, "digest"), ProfileResult(claims, NOON, stale=False)))
    assert "canary" not in output
