"""Sessions against a real provider that behaves like Auth0, with both clients of the library."""

import time
from collections.abc import Awaitable, Callable, Generator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from typing import Any, TypeVar

import anyio
import pytest

from auth_agent import remedies
from auth_agent_client import (
    Agent,
    Denied,
    InvalidRequest,
    LifetimeTooShort,
    LoginRequired,
    Misconfigured,
    Profile,
    ProviderError,
    Unavailable,
    Unsupported,
)
from auth_agent_client.aio import AsyncAgent
from tests.integration.agent_process import PATIENCE, AgentProcess, until
from tests.integration.conftest import account, log_in, record
from tests.integration.keyring_session import KeyringSession
from tests.op.provider import AUTH0_USERINFO_LIMIT, HELD, MANAGEMENT_SCOPE, TOKEN_ROUTE, OpenIDProvider, fingerprint

Result = TypeVar("Result")

ALICE = "auth0|alice"
API, CALENDAR, MAIL = "https://api.acme.example", "https://calendar.example", "https://mail.example"
USERS_SCOPE = f"openid offline_access {MANAGEMENT_SCOPE}"


@contextmanager
def session(provider: OpenIDProvider, store: str = "memory", **keys: Any) -> Generator[tuple[AgentProcess, Agent]]:
    """An agent with a session of `work`, and a client of it."""
    with AgentProcess({"work": account(provider, **keys)}, store=store) as process, process.client() as client:
        params = {name: keys[name] for name in ("audience", "scope") if name in keys}
        log_in(client, provider, **params)
        yield process, client


@pytest.fixture
def client(provider: OpenIDProvider) -> Generator[Agent, None, None]:
    """A client of an agent whose session is for an API, with tokens of an hour."""
    with session(provider, audience=API) as (_, client):
        yield client


@pytest.fixture
def users(provider: OpenIDProvider) -> Generator[Agent, None, None]:
    """A client of an agent whose session is for the Management API."""
    with session(provider, audience=provider.management_audience, scope=USERS_SCOPE) as (_, client):
        yield client


def refreshes(provider: OpenIDProvider) -> list[str | None]:
    """Return the audience of each refresh request but the first, which was the import's."""
    return [request.audience for request in provider.requests(provider.token_path, "refresh_token")][1:]


def at_once(calls: Sequence[Callable[[], Result]]) -> list[Result]:
    """Run each call in a thread of its own; return their results."""
    with ThreadPoolExecutor(len(calls)) as threads:
        return [future.result() for future in [threads.submit(call) for call in calls]]


# ---- what applications do with Auth0's credentials manager, with either client


Call = Callable[[Any], Any]


def by_agent(socket: str, call: Call) -> Any:
    with Agent(socket) as agent:
        return call(agent)


def by_async_agent(socket: str, call: Callable[[Any], Awaitable[Any]]) -> Any:
    async def main() -> Any:
        async with AsyncAgent(socket) as agent:
            return await call(agent)

    return anyio.run(main)


@pytest.fixture(params=[by_agent, by_async_agent], ids=["Agent", "AsyncAgent"])
def ask(request: pytest.FixtureRequest, provider: OpenIDProvider) -> Generator[Callable[[Call], Any], None, None]:
    """Calls the agent of a session for the Management API, with one of the clients."""
    with session(provider, audience=provider.management_audience, scope=USERS_SCOPE) as (process, _):
        yield lambda call: request.param(str(process.socket), call)


def test_has_valid_considers_min_ttl(ask: Callable[[Call], Any]) -> None:
    assert ask(lambda agent: agent.has_valid("work", min_ttl=60)) is True
    assert ask(lambda agent: agent.has_valid("work", min_ttl=7200)) is False


def test_token_id_token_and_refresh(ask: Callable[[Call], Any], provider: OpenIDProvider) -> None:
    token = ask(lambda agent: agent.token("work", min_ttl=60))
    assert provider.userinfo(token.access_token).json()["sub"] == ALICE
    identity = ask(lambda agent: agent.id_token("work", min_ttl=60))
    assert identity.id_token.count(".") == 2
    assert 0 < identity.expires_at - time.time() <= 3600
    assert identity.id_token not in repr(identity)
    assert ask(lambda agent: agent.refresh("work")).access_token != token.access_token


def test_a_token_for_another_api(ask: Callable[[Call], Any]) -> None:
    token = ask(lambda agent: agent.token("work", audience=CALENDAR, scope="read:things"))
    assert (token.audience, token.scope) == (CALENDAR, "read:things")
    assert ask(lambda agent: agent.has_valid("work", audience=CALENDAR, scope="read:things")) is True


def test_the_profile_has_the_claims_of_userinfo(ask: Callable[[Call], Any], provider: OpenIDProvider) -> None:
    provider.change_user(ALICE, claims={"https://acme.example/roles": ["admin"], "given_name": "Alice"})
    profile: Profile = ask(lambda agent: agent.profile("work"))
    expected = provider.userinfo(ask(lambda agent: agent.token("work")).access_token).json()
    assert profile.claims == expected
    assert profile.sub == ALICE
    assert not profile.stale
    assert abs(profile.fetched_at - time.time()) < 60


def test_the_user_is_read_completely_or_by_fields(ask: Callable[[Call], Any], provider: OpenIDProvider) -> None:
    provider.change_user(ALICE, user_metadata={"country": "Norway"}, app_metadata={"plan": "gold"})
    complete = ask(lambda agent: agent.user("work", fields=[]))
    assert complete == provider.user(ALICE)
    assert complete["app_metadata"] == {"plan": "gold"}
    part = ask(lambda agent: agent.user("work", fields=["user_metadata", "email"]))
    assert part == {name: complete[name] for name in ("user_metadata", "email")}


def test_user_metadata_is_read_and_changed(ask: Callable[[Call], Any], provider: OpenIDProvider) -> None:
    assert ask(lambda agent: agent.user_metadata("work")) == {}
    first: Mapping[str, object] = {"country": "Canada", "active": True, "n": 1.5, "address": {"city": "Oslo"}}
    assert ask(lambda agent: agent.update_user_metadata("work", first)) == first
    after = ask(lambda agent: agent.update_user_metadata("work", {"country": None, "address": {"zip": "1"}}))
    assert after == {"active": True, "n": 1.5, "address": {"zip": "1"}}  # merged at the first level only
    assert ask(lambda agent: agent.user_metadata("work")) == after
    assert ask(lambda agent: agent.update_user_metadata("work", {"x": 1}, clear=True)) == {"x": 1}
    with pytest.raises(InvalidRequest) as raised:
        ask(lambda agent: agent.update_user_metadata("work", {}))
    assert "clear" in raised.value.message
    assert ask(lambda agent: agent.update_user_metadata("work", {}, clear=True)) == {}
    user = provider.user(ALICE)
    assert user is not None
    assert "user_metadata" not in user


def test_after_a_logout_the_provider_refuses_the_refresh_token(
    ask: Callable[[Call], Any], provider: OpenIDProvider
) -> None:
    ask(lambda agent: agent.refresh("work"))
    sent = list(provider.ledger())
    result = ask(lambda agent: agent.logout("work"))
    assert result.revoked is True
    assert result.end_session_url == provider.end_session_url(client_id="native-app")
    with pytest.raises(LoginRequired):
        ask(lambda agent: agent.token("work"))
    with pytest.raises(LoginRequired):
        ask(lambda agent: agent.profile("work"))
    assert provider.count(provider.paths["revocation"]) == 1
    assert len(sent) == 2


# ---- profiles


def test_two_hundred_requests_for_the_profile_share_one_userinfo_request(
    client: Agent, provider: OpenIDProvider
) -> None:
    provider.fault("delay", ms=300, route=provider.paths["userinfo"])
    claims = at_once([lambda: client.profile("work").claims] * 200)
    assert claims == [claims[0]] * 200
    assert provider.count(provider.paths["userinfo"]) == 1


def test_the_userinfo_limit_of_five_a_minute_is_never_exceeded(provider: OpenIDProvider) -> None:
    with OpenIDProvider(access_token_lifetime=3600, userinfo_limit=AUTH0_USERINFO_LIMIT) as limited:
        with session(limited) as (_, client):
            for _ in range(50):
                assert not client.profile("work", max_age=0).stale
        assert [request.status for request in limited.requests(limited.paths["userinfo"])] == [200]
    assert provider.count(provider.paths["userinfo"]) == 0


@pytest.mark.parametrize(
    "fault",
    [
        {"mode": "status", "status": 503, "headers": {"retry-after": "60"}},
        {"mode": "status", "status": 429},
        {"mode": "drop-before"},
        {"mode": "garbage"},
        {"mode": "half"},
        {"mode": "huge"},
        {"mode": "delay", "ms": 40_000},
    ],
    ids=lambda fault: str(fault.get("status", fault["mode"])),
)
def test_if_userinfo_fails_the_profile_comes_from_the_id_token(
    client: Agent, provider: OpenIDProvider, fault: dict[str, Any]
) -> None:
    provider.fault(route=provider.paths["userinfo"], times=None, **fault)
    profile = client.profile("work")
    assert profile.stale
    assert (profile.sub, profile.name) == (ALICE, f"Name of {ALICE}")
    assert "exp" not in profile.claims


def test_another_users_claims_are_not_returned(client: Agent, provider: OpenIDProvider) -> None:
    provider.fault("merge", route=provider.paths["userinfo"], set={"sub": "auth0|mallory"})
    profile = client.profile("work")
    assert (profile.claims["sub"], profile.stale) == ("auth0|alice", True)  # the ID token's


def test_a_profile_is_restored_after_a_restart_without_the_provider() -> None:
    with KeyringSession() as keyring, OpenIDProvider(access_token_lifetime=3600) as provider:
        accounts, environment = {"work": account(provider)}, keyring.environment
        with AgentProcess(accounts, environment=environment, store="keyring") as process:
            with process.client() as client:
                log_in(client, provider)
                before = client.profile("work")
                until(lambda: '"profile": {' in (keyring.read() or ""))
            process.kill()
            provider.fault("drop-before", route=None, times=None)
            process.start()
            with process.client() as client:
                after = client.profile("work")
                assert (after.claims, after.fetched_at, after.stale) == (before.claims, before.fetched_at, False)


# ---- several APIs


def test_ten_requests_for_a_token_for_one_api_share_one_refresh(client: Agent, provider: OpenIDProvider) -> None:
    provider.fault("delay", ms=300)
    tokens = at_once([lambda: client.token("work", audience=CALENDAR).access_token] * 10)
    assert len(set(tokens)) == 1
    assert refreshes(provider) == [CALENDAR]


def test_simultaneous_requests_for_three_apis_are_refreshed_in_sequence(
    client: Agent, provider: OpenIDProvider
) -> None:
    own = client.token("work").access_token
    audiences = [API.replace("api", name) for name in ("one", "two", "three")]
    provider.fault("delay", ms=HELD)
    with ThreadPoolExecutor() as clients:
        waiting = [clients.submit(client.token, "work", audience=one, timeout=PATIENCE) for one in audiences]
        until(lambda: provider.happened().get("delay"))
        assert {client.token("work").access_token for _ in range(10)} == {own}  # it is served meanwhile
        assert len(refreshes(provider)) == 1
        provider.release()
    assert [one.result().audience for one in waiting] == audiences
    assert sorted(map(str, refreshes(provider))) == sorted(audiences)
    requests = provider.requests(provider.token_path, "refresh_token")[1:]
    assert [request.status for request in requests] == [200, 200, 200]
    assert all(row.presented == 1 for row in provider.ledger().values())
    assert client.refresh("work").access_token != own  # the last refresh token works


def test_a_token_for_an_api_is_refreshed_while_in_use_and_then_dropped() -> None:
    with OpenIDProvider(access_token_lifetime=6) as provider, session(provider, audience=API) as (_, client):
        first = client.token("work", audience=CALENDAR).access_token
        until(lambda: client.token("work", audience=CALENDAR).access_token != first)
        before = refreshes(provider).count(CALENDAR)
        assert before >= 2
        seen = len(refreshes(provider))
        until(lambda: len(refreshes(provider)) >= seen + 4)  # the main token's
        assert refreshes(provider).count(CALENDAR) <= before + 1
        assert not client.has_valid("work", audience=CALENDAR)


def test_a_refused_api_is_denied_and_the_session_stays_ready() -> None:
    provider = OpenIDProvider(access_token_lifetime=3600, multi_resource=False)
    with provider, session(provider, audience=API) as (_, client):
        with pytest.raises(Denied, match="invalid_target") as raised:
            client.token("work", audience=CALENDAR)
        assert raised.value.failure == "refused"
        assert CALENDAR in raised.value.message
        assert record(client)["state"] == "ready"
        assert client.refresh("work").audience == API


def test_a_token_for_the_default_audience_is_not_served_for_another_api() -> None:
    provider = OpenIDProvider(access_token_lifetime=3600, multi_resource=False, other_audience="ignored")
    with provider, session(provider, audience=API) as (_, client):
        with pytest.raises(Denied) as raised:
            client.token("work", audience=CALENDAR)
        assert raised.value.failure == "refused"
        assert not client.has_valid("work", audience=CALENDAR)
        assert client.refresh("work").audience == API


def test_auth0s_403_for_an_api_ends_no_session(client: Agent, provider: OpenIDProvider) -> None:
    body = {"error": "invalid_grant", "error_description": "Unknown or invalid refresh token."}
    provider.fault("status", status=403, body=body, audience=CALENDAR)
    with pytest.raises(Denied, match="invalid_grant"):
        client.token("work", audience=CALENDAR)
    assert refreshes(provider) == [CALENDAR, None]
    assert record(client)["state"] == "ready"


def test_a_revoked_session_ends_at_a_request_for_an_api(client: Agent, provider: OpenIDProvider) -> None:
    body = {"error": "invalid_grant", "error_description": "Unknown or invalid refresh token."}
    provider.fault("status", status=403, body=body, times=2)
    with pytest.raises(LoginRequired):
        client.token("work", audience=CALENDAR)
    assert record(client)["state"] == "login_required"


def test_other_providers_get_the_api_as_a_resource() -> None:
    # Without rotation: this provider replaces a refresh token before it refuses the resource, and doesn't return it.
    provider = OpenIDProvider(access_token_lifetime=3600, flavor="plain", rotate=False)
    with (
        provider,
        AgentProcess({"work": account(provider, side_requests="allow")}) as process,
        process.client() as client,
    ):
        tokens = provider.login(resources=[API, CALENDAR])
        assert tokens.refresh_token is not None
        client.import_refresh_token(tokens.refresh_token, "work")
        assert client.token("work", audience=CALENDAR).access_token.count(".") == 2
        with pytest.raises(Denied, match="invalid_target"):
            client.token("work", audience=MAIL)
        assert client.token("work", scope="openid email").access_token == client.token("work").access_token
        fewer = client.token("work", scope="openid email", only=True)
        assert set((fewer.scope or "").split()) == {"openid", "email"}
        with pytest.raises(Denied, match="invalid_scope"):
            client.token("work", scope="openid write:everything")
    # Not more: after five first requests the rate limit applies.


def test_another_api_is_asked_for_once_the_provider_has_shown_that_it_does_not_rotate() -> None:
    provider = OpenIDProvider(access_token_lifetime=3600, flavor="plain", rotate=False)
    with provider, AgentProcess({"work": account(provider)}) as process, process.client() as client:
        tokens = provider.login(resources=[API, CALENDAR])
        assert tokens.refresh_token is not None
        client.import_refresh_token(tokens.refresh_token, "work")
        with pytest.raises(Denied) as caught:
            client.token("work", audience=CALENDAR)
        assert caught.value.remedy == (remedies.account_of_another_client("work", provider.issuer, CALENDAR, None),)
        client.refresh("work")
        client.refresh("work")
        assert client.token("work", audience=CALENDAR).access_token.count(".") == 2


def test_a_token_that_its_api_rejects_is_replaced_by_one_for_that_api(provider: OpenIDProvider) -> None:
    with OpenIDProvider(access_token_lifetime=10) as quick, session(quick, audience=API) as (_, client):
        token = client.token("work", audience=CALENDAR)
        until(lambda: (token.expires_at or 0.0) - time.time() < 7)
        other = client.rejected(token.access_token, "work", audience=CALENDAR)
        assert other.audience == CALENDAR
        assert other.access_token != token.access_token
    assert provider.count(provider.token_path) == 0


def test_a_client_credentials_account_gets_tokens_for_several_apis(provider: OpenIDProvider) -> None:
    options = {"grant": "client_credentials", "token_endpoint_auth_method": "client_secret_post"}
    keys = account(provider, "service-app", audience=API, **options)
    with AgentProcess({"work": keys}) as process, process.client() as client:
        login = client.call("login", {"account": "work", "flow": "browser", "client_secret": "service-secret"})
        client.call("login_result", {"login_id": login["login_id"]})
        assert client.token("work", audience=CALENDAR).audience == CALENDAR
        assert client.token("work").audience == API
        for call in (client.profile, client.id_token, client.user):
            with pytest.raises(Unsupported):
                call("work")


# ---- users and their metadata


def test_user_metadata_is_unsupported_at_other_providers() -> None:
    with OpenIDProvider(access_token_lifetime=3600, flavor="plain") as provider, session(provider) as (_, client):
        with pytest.raises(Unsupported) as raised:
            client.user_metadata("work")
        assert provider.issuer in raised.value.message
        assert client.profile("work").sub == ALICE


def test_without_a_management_token_the_remedy_is_a_login_for_one(client: Agent, provider: OpenIDProvider) -> None:
    with pytest.raises(Misconfigured) as raised:
        client.user_metadata("work")
    command = (
        f"auth-agent login work.users --issuer {provider.issuer} --client-id native-app "
        f"--audience {provider.management_audience} --scope '{USERS_SCOPE}' --management-for work"
    )
    assert [remedy.line for remedy in raised.value.remedy] == [command]


def test_user_metadata_works_without_a_refresh_token(provider: OpenIDProvider) -> None:
    with OpenIDProvider(access_token_lifetime=3600, management_refresh_token=False) as other:
        keys: dict[str, Any] = {"redirect_ports": [0], "audience": other.management_audience, "scope": USERS_SCOPE}
        accounts = {"work": account(other, management_account="users"), "users": account(other, **keys)}
        with AgentProcess(accounts) as process, process.client() as client:
            log_in(client, other)
            login = client.call("login", {"account": "users", "flow": "browser"})
            other.enter(str(login["authorization_url"]))
            client.call("login_result", {"login_id": login["login_id"]})
            assert client.update_user_metadata("work", {"country": "Canada"}) == {"country": "Canada"}
            assert record(client, "users")["renewal"] == "none"
    assert provider.count(provider.token_path) == 0


@pytest.mark.parametrize("mode", ["drop-after", "half"])
def test_a_change_whose_response_was_lost_is_made_once(users: Agent, provider: OpenIDProvider, mode: Any) -> None:
    provider.fault(mode, route=provider.user_path(ALICE), method="PATCH")
    assert users.update_user_metadata("work", {"country": "Canada"}) == {"country": "Canada"}
    assert [r.method for r in provider.requests(provider.user_path(ALICE))] == ["PATCH", "GET"]


def test_a_change_that_did_not_arrive_is_an_error(users: Agent, provider: OpenIDProvider) -> None:
    provider.fault("drop-before", route=provider.user_path(ALICE), method="PATCH")
    with pytest.raises(Unavailable):
        users.update_user_metadata("work", {"country": "Canada"})
    assert users.user_metadata("work") == {}


def test_rate_limited_calls_are_not_sent_before_retry_after() -> None:
    with ExitStack() as stack:
        provider = stack.enter_context(OpenIDProvider(access_token_lifetime=3600, management_limit=(2, 1)))
        keys = {"audience": provider.management_audience, "scope": USERS_SCOPE}
        _, client = stack.enter_context(session(provider, **keys))
        client.user_metadata("work")
        client.user_metadata("work")
        for _ in range(5):
            with pytest.raises(Unavailable) as raised:
                client.user_metadata("work")
            assert 0 < (raised.value.retry_after or 0) <= 60
        assert provider.count(provider.user_path(ALICE)) == 3


def test_a_missing_scope_has_a_login_with_it_as_remedy(provider: OpenIDProvider) -> None:
    scope = "openid offline_access read:current_user"
    with session(provider, audience=provider.management_audience, scope=scope) as (_, client):
        assert client.user_metadata("work") == {}
        with pytest.raises(Denied, match="update:current_user_metadata") as denied:
            client.update_user_metadata("work", {"country": "Canada"})
        (remedy,) = denied.value.remedy
        assert remedy.command[:4] == ("auth-agent", "login", "work", "--scope")
        assert "update:current_user_metadata" in remedy.command[4].split()


def test_an_opaque_token_at_the_management_api_requires_a_login(provider: OpenIDProvider) -> None:
    """Auth0 grants an opaque token if the audience is missing; the Management API calls that a bad header."""
    with session(provider, audience=provider.management_audience) as (_, client):
        provider.fault("status", status=400, body={"errorCode": "Bearer", "message": "Bad HTTP authentication header"})
        provider.clear_faults()
        provider.fault("merge", set={"access_token": "opaque"}, route=TOKEN_ROUTE)
        client.refresh("work")
        with pytest.raises(Denied) as denied:
            client.user_metadata("work")
        assert denied.value.failure == "refused"
        assert [remedy.line for remedy in denied.value.remedy] == ["auth-agent login work"]


def test_a_deleted_user_is_a_provider_error(users: Agent, provider: OpenIDProvider) -> None:
    provider.remove_user(ALICE)
    with pytest.raises(ProviderError, match="inexistent_user"):
        users.user("work")


# ---- a session's end


def test_the_providers_end_of_the_session_is_shown_and_watched(client: Agent, provider: OpenIDProvider) -> None:
    assert record(client)["session_ends_at"] is None
    watched = client.watch(["work"])
    assert next(watched)["session_ends_at"] is None
    provider.fault("merge", set={"refresh_token_expires_in": 7200})
    client.refresh("work")
    until(lambda: next(watched)["session_ends_at"] is not None)
    ends = record(client)["session_ends_at"]
    assert isinstance(ends, float)
    assert abs(ends - time.time() - 7200) < 60
    at = int(time.time()) + 3600
    provider.fault("merge", claims={"session_expiry": at})
    client.refresh("work")
    assert record(client)["session_ends_at"] == at


def test_a_logout_during_an_outage_deletes_the_entry() -> None:
    with KeyringSession() as keyring, OpenIDProvider(access_token_lifetime=3600) as provider:
        accounts, environment = {"work": account(provider)}, keyring.environment
        with AgentProcess(accounts, environment=environment, store="keyring") as process:
            with process.client() as client:
                log_in(client, provider)
                until(lambda: keyring.read() is not None)
                watched = client.watch(["work"])
                assert next(watched)["state"] == "ready"
                provider.fault("drop-before", route=None, times=None)
                assert not client.logout("work")
                until(lambda: next(watched)["state"] == "logged_out")
                until(lambda: keyring.read() is None)
            process.kill()
            process.start()
            with process.client() as client:
                until(lambda: record(client)["state"] == "logged_out")
                with pytest.raises(LoginRequired):
                    client.token("work")


def test_the_provider_refuses_the_refresh_token_after_logout(provider: OpenIDProvider) -> None:
    tokens = provider.login()
    assert tokens.refresh_token is not None
    with AgentProcess({"work": account(provider)}) as process, process.client() as client:
        client.import_refresh_token(tokens.refresh_token, "work")
        assert client.logout("work").revoked
    assert provider.refresh(tokens.refresh_token).json()["error"] == "invalid_grant"
    assert provider.ledger()[fingerprint(tokens.refresh_token)].succeeded == 1


# ---- ID tokens


def test_an_expired_id_token_is_refreshed_and_a_long_min_ttl_is_an_error() -> None:
    with OpenIDProvider(access_token_lifetime=3600, id_token_lifetime=3) as provider, session(provider) as (_, client):
        first = client.id_token("work")
        until(lambda: first.expires_at < time.time())
        second = client.id_token("work")
        assert second.id_token != first.id_token
        with pytest.raises(LifetimeTooShort):
            client.id_token("work", min_ttl=60)


def test_accounts_of_one_issuer_are_independent(provider: OpenIDProvider) -> None:
    accounts = {"work": account(provider, default=True), "home": account(provider, "second-app")}
    with AgentProcess(accounts) as process, process.client() as client:
        log_in(client, provider)
        tokens = provider.login("auth0|bob", client_id="second-app")
        assert tokens.refresh_token is not None
        client.import_refresh_token(tokens.refresh_token, "home")
        assert (client.profile().sub, client.profile("home").sub) == (ALICE, "auth0|bob")
        body = {"error": "invalid_client"}
        provider.fault("status", status=401, body=body, client_id="second-app", times=None)
        with pytest.raises(Misconfigured):
            client.refresh("home")
        assert client.refresh().account == "work"
        client.logout("home")
        assert client.profile().sub == ALICE
