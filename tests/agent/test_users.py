"""Users and their metadata in a fake world: which account's tokens, lost responses, and errors."""

import anyio
import pytest
import trio.testing

from auth_agent.config import Account
from auth_agent.grant_type import CLIENT_CREDENTIALS
from auth_agent.oauth.auth0 import READ, UPDATE, InsufficientScope
from auth_agent.oauth.discovery import Metadata
from auth_agent.oauth.outcome import Busy, Failure, Lost, Misconfigured, Refusal, Rejected, Unsent, Unusable
from auth_agent.sessions.identity import usable_id_token
from auth_agent.sessions.rate_limit import CALL_INTERVAL, CALLS, Asker
from auth_agent_client import errors
from tests.agent.heart import World, all_of, running
from tests.agent.world import ISSUER, METADATA, FakeProvider, account

pytestmark = pytest.mark.anyio

API = f"{ISSUER}api/v2/"
ALICE_THERE = f"{API}users/auth0%7Calice"
AUTH0 = Metadata(ISSUER, f"{ISSUER}oauth/token", authorization_endpoint=f"{ISSUER}authorize")
COMMAND = (
    f"auth-agent login work.users --issuer {ISSUER} --client-id native-app --audience {API} "
    "--scope 'openid offline_access read:current_user update:current_user_metadata' --management-for work"
)


@pytest.fixture
def anyio_backend() -> tuple[str, dict[str, object]]:
    return "trio", {"clock": trio.testing.MockClock(autojump_threshold=0)}


def auth0(**attributes: object) -> FakeProvider:
    """Return a provider that behaves as Auth0, with a user who has metadata."""
    provider = FakeProvider(metadata=AUTH0)
    provider.user_metadata = {"country": "Norway", "active": True}
    for name, value in attributes.items():
        setattr(provider, name, value)
    return provider


OWN = account(audience=API)
# An account for another API, and the one whose tokens are for the Management API.
WORK, USERS = account(audience="https://api.example", management_account="users"), account("users", audience=API)


async def update(world: World, clear: bool = False, **changes: object) -> dict[str, object]:
    return await world.users.update_metadata(world.session, changes, Asker(), clear=clear)


def methods(world: World) -> list[str]:
    return [method for _, method, _ in world.provider.user_requests]


# ---- reading


async def test_all_calls_for_an_ended_session_fail_with_the_failure_of_its_record() -> None:
    async with running(auth0()) as world:
        world.provider.subject = "auth0|bob"
        with pytest.raises(errors.LoginRequired) as by_token:
            await world.token(world.session.demand_newer())
        with pytest.raises(errors.LoginRequired) as by_user:
            await world.users.user(world.session, (), Asker())
        with pytest.raises(errors.LoginRequired) as by_profile:
            world.profiles.cached(world.session, 300)
        with pytest.raises(errors.LoginRequired) as by_id_token:
            usable_id_token(world.session, None, world.clock.now())
        failures = [caught.value.failure for caught in (by_token, by_user, by_profile, by_id_token)]
        assert failures == [world.session.failure] * 4 == ["wrong_user"] * 4


async def test_a_user_is_read_with_the_accounts_own_token() -> None:
    async with running(auth0(), OWN) as world:
        user = await world.users.user(world.session, (), Asker())
        assert user == {"user_id": "auth0|alice", "user_metadata": {"country": "Norway", "active": True}}
        assert world.provider.user_requests == [("at-2", "GET", ALICE_THERE)]


async def test_a_program_calls_one_after_the_other_and_another_program_beside_it() -> None:
    async with running(auth0(delay=1), OWN) as world:
        await world.token()
        greedy, modest = Asker("greedy"), Asker("modest")
        ends: list[str] = []

        async def read(asker: Asker, name: str) -> None:
            await world.users.user(world.session, (), asker)
            ends.append(name)

        async with anyio.create_task_group() as tasks:
            for _ in range(5):
                tasks.start_soon(read, greedy, "greedy")
            await anyio.wait_all_tasks_blocked()
            tasks.start_soon(read, modest, "modest")
        assert ends.index("modest") <= 1, ends


async def test_calls_are_rate_limited_and_another_programs_is_sent() -> None:
    async with running(auth0(), OWN) as world:
        greedy = Asker("greedy")
        for _ in range(CALLS):
            await world.users.user(world.session, (), greedy)
        with pytest.raises(errors.Unavailable):
            await world.users.metadata(world.session, greedy)
        with pytest.raises(errors.Unavailable):
            await world.users.update_metadata(world.session, {"color": "red"}, greedy, clear=False)
        assert len(world.provider.user_requests) == CALLS
        await world.users.user(world.session, (), Asker("modest"))
        await anyio.sleep(CALL_INTERVAL)
        await world.users.user(world.session, (), greedy)


async def test_only_the_requested_fields_are_read() -> None:
    async with running(auth0(), OWN) as world:
        await world.users.user(world.session, ["email", "user_metadata"], Asker())
        assert world.provider.user_requests[0][2] == f"{ALICE_THERE}?fields=email%2Cuser_metadata&include_fields=true"


async def test_a_user_without_metadata_has_none() -> None:
    async with running(auth0(user_metadata={}), OWN) as world:
        assert await world.users.metadata(world.session, Asker()) == {}


async def test_at_a_custom_domain_the_audience_is_the_tenants_and_the_url_the_issuers() -> None:
    tenant = "https://tenant.eu.auth0.example/api/v2/"
    async with running(auth0(), account(audience=tenant, management_audience=tenant)) as world:
        await world.users.user(world.session, (), Asker())
        assert world.provider.user_requests[0][2] == ALICE_THERE


# ---- by another account's tokens


async def test_the_tokens_of_the_management_account_are_used() -> None:
    async with running(auth0(), WORK, USERS) as world:
        world.provider.live = "rt-u"
        await world.log_in("rt-u", name="users")
        await world.users.user(world.session, (), Asker())
        assert world.provider.user_requests == [("at-3", "GET", ALICE_THERE)]


async def test_the_management_account_must_be_logged_in_as_the_same_user() -> None:
    async with running(auth0(), WORK, USERS) as world:
        with pytest.raises(errors.LoginRequired) as required:
            await world.users.user(world.session, (), Asker())
        assert [remedy.line for remedy in required.value.remedy] == ["auth-agent login users"]
        world.provider.live, world.provider.subject = "rt-u", "auth0|bob"
        await world.log_in("rt-u", name="users")
        with pytest.raises(errors.Denied) as denied:
            await world.users.user(world.session, (), Asker())
        assert denied.value.failure == "wrong_user"
        assert [remedy.line for remedy in denied.value.remedy] == ["auth-agent login users --switch-user"]
        assert world.provider.user_requests == []


@pytest.mark.parametrize(
    ("accounts", "command"),
    [
        ([account()], COMMAND),
        ([account(audience="https://api.example")], COMMAND),
        ([account(management_account="users")], COMMAND.replace("work.users", "users")),
        ([account(management_account="users"), account("users")], COMMAND.replace("work.users", "users")),
    ],
    ids=["no audience", "another audience", "no such account", "one that is for something else"],
)
async def test_without_a_token_for_the_api_the_remedy_is_the_command_that_gets_one(
    accounts: list[Account], command: str
) -> None:
    async with running(auth0(), *accounts) as world:
        with pytest.raises(errors.Misconfigured) as raised:
            await world.users.user(world.session, (), Asker())
        assert [remedy.line for remedy in raised.value.remedy] == [command]
        assert world.provider.user_requests == []


async def test_users_of_other_providers_are_unsupported() -> None:
    async with running(FakeProvider(metadata=METADATA), OWN) as world:
        with pytest.raises(errors.Unsupported, match=ISSUER):
            await world.users.user(world.session, (), Asker())


async def test_a_client_credentials_account_has_no_user() -> None:
    async with running(auth0(), account(grant_type=CLIENT_CREDENTIALS), logged_in=False) as world:
        with pytest.raises(errors.Unsupported):
            await world.users.user(world.session, (), Asker())


async def test_a_session_without_a_subject_has_no_user() -> None:
    async with running(auth0(subject=None), OWN, logged_in=False) as world:
        with pytest.raises(errors.LoginRequired):
            await world.users.user(world.session, (), Asker())
        await world.log_in()
        with pytest.raises(errors.Denied) as caught:
            await world.users.user(world.session, (), Asker())
        assert caught.value.failure == "reauthentication_required"


# ---- changing


async def test_a_change_is_merged_at_the_first_level_and_none_removes_a_key() -> None:
    async with running(auth0(), OWN) as world:
        assert await update(world, city={"name": "Oslo"}, active=None) == {
            "country": "Norway",
            "city": {"name": "Oslo"},
        }
        assert methods(world) == ["PATCH"]


async def test_with_clear_everything_else_is_removed_in_the_same_change() -> None:
    async with running(auth0(), OWN) as world:
        assert await update(world, clear=True, city="Oslo", gone=None) == {"city": "Oslo"}
        assert methods(world) == ["GET", "PATCH"]
        assert await update(world, clear=True) == {}
        assert methods(world)[2:] == ["PATCH"]


@pytest.mark.parametrize("lost", [Lost("no reply"), Busy("HTTP 502")])
async def test_a_change_whose_response_was_lost_is_read_back_and_not_repeated(lost: Failure) -> None:
    async with running(auth0(), OWN) as world:
        world.provider.user_script = [None, lost]
        assert await update(world, country="Canada") == {"country": "Canada", "active": True}
        assert methods(world) == ["PATCH", "GET"]


async def test_a_lost_change_that_was_not_made_is_unavailable() -> None:
    async with running(auth0(), OWN) as world:
        world.provider.user_script = [Lost("no reply")]
        with pytest.raises(errors.Unavailable, match="no reply") as caught:
            await update(world, country="Canada")
        assert (caught.value.failure, caught.value.remedy) == ("unreachable", ())
        assert methods(world) == ["PATCH", "GET"]
        assert world.provider.user_metadata["country"] == "Norway"


async def test_the_error_for_a_change_of_unknown_outcome_says_how_to_read_the_metadata() -> None:
    async with running(auth0(), OWN) as world:
        world.provider.user_script = [None, Lost("no reply"), Unsent("no route")]
        with pytest.raises(errors.Unavailable) as raised:
            await update(world, country="Canada")
        assert [remedy.line for remedy in raised.value.remedy] == ["auth-agent metadata get work"]


async def test_a_change_that_was_not_sent_is_not_read_back() -> None:
    async with running(auth0(), OWN) as world:
        world.provider.user_script = [Unsent("no route")]
        with pytest.raises(errors.Unavailable, match="no route"):
            await update(world, country="Canada")
        assert methods(world) == ["PATCH"]


async def test_changes_of_one_user_are_made_one_after_the_other() -> None:
    async with running(auth0(delay=1), OWN) as world:
        world.provider.user_script = [None, None, None, Lost("no reply")]
        ends = await all_of(lambda: update(world, n=1), lambda: update(world, n=2))
        # Each gets the metadata as they were right after its own change.
        assert [{"country": "Norway", "active": True, "n": number} in ends for number in (1, 2)] == [True, True]
        assert methods(world) == ["PATCH", "PATCH", "GET"]


# ---- errors


@pytest.mark.parametrize(
    ("failure", "code", "message", "expected"),
    [
        (
            InsufficientScope("no"),
            "denied",
            "work: no; the access token of work lacks the scope read:current_user",
            f"auth-agent login work --scope 'openid offline_access {READ} {UPDATE} profile email'",
        ),
        (Refusal("not for this API"), "denied", "work: not for this API", "auth-agent login work"),
        (Rejected("HTTP 401"), "denied", "work: HTTP 401", "auth-agent login work"),
        (Unusable("inexistent_user"), "provider_error", "work: inexistent_user", ""),
        (Busy("HTTP 500"), "unavailable", "work: HTTP 500", 2.0),
        (Busy("HTTP 429", 30), "unavailable", "work: HTTP 429", 30.0),
        (Lost("no reply"), "unavailable", "work: no reply", 2.0),
        (Misconfigured("no address"), "misconfigured", "work: no address", "auth-agent reload"),
    ],
)
async def test_each_failure_has_its_code_and_remedy(
    failure: Failure, code: str, message: str, expected: str | float
) -> None:
    async with running(auth0(), OWN) as world:
        world.provider.user_script = [failure]
        with pytest.raises(errors.AgentError) as raised:
            await world.users.user(world.session, (), Asker())
        assert (raised.value.code, raised.value.message) == (code, message)
        if isinstance(expected, str):
            assert [remedy.line for remedy in raised.value.remedy] == [expected]
        else:
            assert raised.value.details["retry_after"] == expected


async def test_no_request_is_sent_before_retry_after_has_passed() -> None:
    async with running(auth0(), OWN) as world:
        world.provider.user_script = [Busy("HTTP 429", 30)]
        for _ in range(10):
            with pytest.raises(errors.Unavailable):
                await world.users.user(world.session, (), Asker())
            await anyio.sleep(2)
        assert len(world.provider.user_requests) == 1
        await anyio.sleep(11)
        await world.users.user(world.session, (), Asker())


async def test_a_token_that_is_rejected_is_refreshed_once_and_used() -> None:
    async with running(auth0(), OWN) as world:
        await anyio.sleep(400)
        world.provider.user_script = [Rejected("HTTP 401"), None]
        await world.users.user(world.session, (), Asker())
        assert [token for token, _, _ in world.provider.user_requests] == ["at-2", "at-3"]


async def test_metadata_of_a_provider_that_cannot_be_reached_is_unavailable() -> None:
    async with running(auth0(), OWN) as world:
        world.provider.metadata = Unsent("no route")
        with pytest.raises(errors.Unavailable):
            await world.users.user(world.session, (), Asker())
        world.provider.metadata = Misconfigured("not found", keys=("issuer",))
        with pytest.raises(errors.Misconfigured):
            await world.users.user(world.session, (), Asker())


async def test_an_account_whose_audience_was_changed_needs_a_new_login() -> None:
    async with running(auth0(), account()) as world:
        world.session.configure(OWN)
        with pytest.raises(errors.Denied) as raised:
            await world.users.user(world.session, (), Asker())
        assert [remedy.line for remedy in raised.value.remedy] == ["auth-agent login work"]
