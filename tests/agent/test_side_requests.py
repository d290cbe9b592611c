"""Tokens for other scopes or APIs: whether they are asked for, and what that and each refresh say of the session."""

from dataclasses import replace
from typing import Any

import anyio
import pytest
import trio.testing

from auth_agent import remedies
from auth_agent.grant_type import CLIENT_CREDENTIALS
from auth_agent.oauth.discovery import Metadata
from auth_agent.oauth.manners import Manners
from auth_agent.oauth.outcome import Refusal, SideRequestRefusal
from auth_agent.secret import Secret
from auth_agent.sessions.acceptance import accept
from auth_agent.sessions.advice import retry_remedy
from auth_agent.sessions.decision import Demand
from auth_agent.sessions.rate_limit import BURST
from auth_agent.sessions.session import Session
from auth_agent.sessions.side_requests import NARROWS, SHOWN, after_login, after_refresh, is_allowed
from auth_agent.sessions.state import MAIN, AccessToken, Active, Credentials, TokenKey
from auth_agent_client import errors
from auth_agent_client.remedy import Remedy
from tests.agent.heart import running
from tests.agent.world import ALICE, CLIENT, ISSUER, FakeClock, FakeProvider, account, token_response

OTHER = TokenKey("https://other.example", "")
FEWER = TokenKey(None, "read")
KEEPS = Manners(keeps_refresh_token=True)
UNKNOWN = Manners()
CREDENTIALS = Credentials(ISSUER, CLIENT, None, ALICE, "Alice", Secret("rt-1"), None)


@pytest.fixture
def anyio_backend() -> tuple[str, dict[str, object]]:
    return "trio", {"clock": trio.testing.MockClock(autojump_threshold=0)}


def session_of(requested: str, listed: str | None) -> tuple[Session, FakeClock]:
    """Return a session whose login asked for these scopes, and whose response listed those."""
    clock = FakeClock()
    session = Session(account(scope=requested), chance=0.0)
    credentials = replace(CREDENTIALS, requested_scope=requested, granted_scope=listed)
    token = session.access_token(token_response(scope=listed), credentials, clock.now())
    session.log_in(credentials, token, clock.now())
    return session, clock


def refresh(session: Session, clock: FakeClock, key: TokenKey = MAIN, **response: Any) -> None:
    now = clock.now()
    session.start(now, key)
    assert session.settle(session.finish(session.epoch, token_response(**response), now, now, 0.5))


def credentials_of(session: Session) -> Credentials:
    credentials = session.credentials
    assert credentials is not None
    return credentials


def trouble_of(session: Session) -> tuple[str | None, str | None, tuple[Remedy, ...]]:
    return session.failure, session.reason, session.remedy


def main_token(session: Session) -> AccessToken:
    token = session.current()
    assert token is not None
    return token


# ---- at least these scopes


def test_a_request_for_scopes_that_the_main_token_has_is_for_the_main_token() -> None:
    session, _ = session_of("openid email read write", "https://host.example/read write openid")
    for scope in ("read", "write", "openid read", "https://host.example/read", "write read"):
        assert session.token_key(None, scope) == MAIN
    for scope in ("read", "write", "openid read", "https://host.example/read"):
        assert session.token_key(None, scope, only=True) == TokenKey(None, " ".join(sorted(scope.split())), only=True)
    for scope in ("read write", "read write https://host.example/read", "openid email read write"):
        assert session.token_key(None, scope, only=True) == MAIN


@pytest.mark.parametrize("listed", [None, "read", "read openid", "read profile email", "read userinfo.email profile"])
def test_what_the_login_asked_for_is_of_the_main_token_though_its_provider_does_not_list_it(listed: str | None) -> None:
    session, _ = session_of("openid profile email offline_access read", listed)
    for scope in ("openid profile email offline_access read", "email", "profile read", "offline_access"):
        assert session.token_key(None, scope) == MAIN


@pytest.mark.parametrize("scope", ["email", "READ", "admin", "read admin", "openid profile email read"])
def test_a_request_for_a_scope_that_the_main_token_lacks_is_for_another(scope: str) -> None:
    session, _ = session_of("openid profile email read", "https://host.example/read openid profile")
    assert session.token_key(None, scope) == TokenKey(None, " ".join(sorted(scope.split())))


@pytest.mark.parametrize(("scope", "only"), [("openid read write", False), ("read write", True), ("write", False)])
def test_a_scope_that_the_person_did_not_grant_is_not_of_the_main_token(scope: str, *, only: bool) -> None:
    session, _ = session_of("openid read write", "read")
    assert session.token_key(None, scope, only=only) == TokenKey(None, " ".join(sorted(scope.split())), only)
    assert session.token_key(None, None) == MAIN


@pytest.mark.parametrize("scope", ["openid read", "read"])
def test_the_main_token_has_too_much_for_a_request_of_only_what_the_login_asked_for(scope: str) -> None:
    session, _ = session_of("openid read", "openid read write")
    assert session.token_key(None, scope) == MAIN
    assert session.token_key(None, scope, only=True) == TokenKey(None, scope, only=True)


@pytest.mark.parametrize(
    ("listed", "accepted"),
    [
        (None, True),
        ("read", True),
        ("READ openid", True),
        ("https://host.example/read", True),
        ("read write", False),
        ("read,write", False),
        ("read profile", False),
    ],
)
def test_a_token_with_more_than_only_these_scopes_is_refused(listed: str | None, *, accepted: bool) -> None:
    response, now = token_response(scope=listed), FakeClock().now()
    outcome = accept(CREDENTIALS, response, now, TokenKey(None, "read", only=True))
    assert isinstance(outcome, Refusal) is not accepted
    assert not isinstance(accept(CREDENTIALS, response, now, FEWER), Refusal)


def test_the_main_token_of_another_api_covers_nothing() -> None:
    session, _ = session_of("openid read", "openid read")
    assert session.token_key("https://other.example", "read") == TokenKey("https://other.example", "read")


def test_a_response_that_lists_no_scope_granted_what_was_asked_for() -> None:
    session, clock = session_of("openid read", None)
    assert main_token(session).scope == "openid read"
    assert session.token_key(None, "read") == MAIN
    assert session.token_key(None, "write") == TokenKey(None, "write")
    refresh(session, clock, scope=None)
    assert main_token(session).scope == "openid read"
    refresh(session, clock, FEWER, scope=None)
    other = session.current(FEWER)
    assert other is not None
    assert other.scope == "read"


# ---- whether one is sent


@pytest.mark.parametrize(
    ("configured", "manners", "same", "allowed"),
    [
        (None, UNKNOWN, 0, False),
        (None, UNKNOWN, SHOWN - 1, False),
        (None, UNKNOWN, SHOWN, True),
        (None, UNKNOWN, NARROWS, False),
        (None, KEEPS, 0, True),
        ("allow", UNKNOWN, NARROWS, True),
        ("refuse", KEEPS, SHOWN, False),
    ],
)
def test_it_is_sent_where_it_costs_the_session_nothing(
    configured: str | None, manners: Manners, same: int, *, allowed: bool
) -> None:
    assert is_allowed(configured, replace(CREDENTIALS, same_refresh_tokens=same), manners) is allowed


def test_a_session_that_lost_scopes_is_not_risked_again_whatever_is_known_of_the_provider() -> None:
    narrowed = replace(CREDENTIALS, granted_scope="read write", lost_scope="write", same_refresh_tokens=NARROWS)
    assert not is_allowed(None, narrowed, KEEPS)
    assert is_allowed("allow", narrowed, KEEPS)


def test_a_provider_that_took_scopes_is_remembered_over_the_next_login_of_the_same_client() -> None:
    narrowed = replace(CREDENTIALS, same_refresh_tokens=NARROWS)
    assert after_login(CREDENTIALS, narrowed).same_refresh_tokens == NARROWS
    for other in (replace(CREDENTIALS, client_id="other"), replace(CREDENTIALS, issuer="https://other.example")):
        assert after_login(other, narrowed) == other
    for former in (None, replace(CREDENTIALS, same_refresh_tokens=SHOWN)):
        assert after_login(CREDENTIALS, former) == CREDENTIALS


def test_it_is_always_sent_where_there_is_no_refresh_token_to_spoil() -> None:
    own = replace(CREDENTIALS, grant_type=CLIENT_CREDENTIALS, refresh_token=None)
    assert is_allowed(None, own, UNKNOWN)


@pytest.mark.anyio
async def test_one_that_is_not_sent_names_an_account_of_another_client() -> None:
    provider = FakeProvider()
    async with running(provider, account(side_requests=None)) as world:
        for key in (FEWER, OTHER):
            with pytest.raises(errors.Denied) as caught:
                await world.token(Demand(key))
            own = remedies.account_of_another_client("work", ISSUER, key.audience, key.scope or None)
            assert (caught.value.failure, caught.value.remedy) == ("refused", (own,))
        assert provider.refresh_requests == [(None, "")]
        assert world.session.failure is None
        assert await world.token() == "at-2"


@pytest.mark.parametrize("scope", ["email", "email openid"])
def test_for_scopes_that_the_login_asked_for_the_remedy_is_another_login(scope: str) -> None:
    mine = account(scope="openid email")
    refusal = SideRequestRefusal("not sent")
    assert retry_remedy(mine, refusal, TokenKey(None, scope)) == (remedies.log_in_again("work"),)
    for key in (TokenKey(None, f"{scope} read"), TokenKey("https://other.example", scope)):
        assert remedies.log_in_again("work") not in retry_remedy(mine, refusal, key)


@pytest.mark.anyio
async def test_one_is_sent_once_two_refreshes_brought_no_other_refresh_token() -> None:
    provider = FakeProvider(rotates=False)
    async with running(provider, account(side_requests=None)) as world:
        for _ in range(SHOWN):
            with pytest.raises(errors.Denied):
                await world.token(Demand(OTHER))
            await world.token(world.session.demand_newer())
        world.session.forget_failures()
        assert await world.token(Demand(OTHER))
        assert provider.refresh_requests[-1] == (OTHER.audience, "")


@pytest.mark.anyio
async def test_keycloak_is_asked_for_offline_access_besides() -> None:
    issuer = "https://id.example/realms/acme"
    keycloak = Metadata(issuer, f"{issuer}/protocol/openid-connect/token")
    provider = FakeProvider(metadata=keycloak)
    async with running(provider, account(side_requests=None)) as world:
        state = world.session.state
        assert isinstance(state, Active)
        asked = replace(state.credentials, requested_scope="openid offline_access read")
        world.session.state = replace(state, credentials=asked)
        await world.token(Demand(TokenKey(None, "write")))
        await world.token(Demand(OTHER))
    assert provider.refresh_requests[1:] == [(None, "write offline_access"), (OTHER.audience, "")]


@pytest.mark.anyio
async def test_what_is_not_sent_counts_against_nobody_and_leaves_no_trace() -> None:
    provider = FakeProvider()
    async with running(provider, account(side_requests="allow")) as world:
        await world.token(Demand(OTHER))
        world.session.configure(account(side_requests="refuse"))
        revision, requests = world.session.revision, len(provider.refresh_requests)
        for number in range(2 * BURST):
            with pytest.raises(errors.Denied):
                await world.token(Demand(TokenKey(None, f"scope{number}")))
        assert (world.session.revision, len(provider.refresh_requests)) == (revision, requests)
        assert not world.session.is_refreshing
        for _ in range(BURST - 1):  # the first one was for the other API
            await world.token(world.session.demand_newer())


@pytest.mark.anyio
async def test_a_refresh_ahead_of_time_that_is_not_sent_is_not_noted_as_sent(monkeypatch: pytest.MonkeyPatch) -> None:
    provider = FakeProvider(lifetime=100)
    async with running(provider, account(side_requests="allow")) as world:
        await world.token(Demand(OTHER))
        world.session.configure(account(side_requests="refuse"))
        noted = list[Secret]()
        record_sent = world.saver.record_sent

        async def note(session: Session, refresh_token: Secret) -> None:
            noted.append(refresh_token)
            await record_sent(session, refresh_token)

        monkeypatch.setattr(world.saver, "record_sent", note)
        world.refresher.start(world.session, OTHER)
        await anyio.sleep(1)
        assert noted == []


# ---- what a refresh shows


def test_refreshes_that_bring_no_other_refresh_token_are_counted() -> None:
    session, clock = session_of("openid", None)
    brought = (None, 1), (None, SHOWN), (None, SHOWN), ("rt-1", SHOWN), ("rt-2", 0), ("rt-2", 1)
    for refresh_token, expected in brought:
        refresh(session, clock, refresh_token=refresh_token)
        assert credentials_of(session).same_refresh_tokens == expected


def test_a_session_that_lost_scopes_says_so_until_it_has_them_again() -> None:
    session, clock = session_of("openid read write", "openid read write")
    assert trouble_of(session) == (None, None, ())
    refresh(session, clock, scope="read")
    failure, reason, remedy = trouble_of(session)
    assert (failure, remedy) == ("narrowed", (remedies.log_in_again("work"),))
    assert "write" in (reason or "")
    assert session.token_key(None, "write") == TokenKey(None, "write")
    refresh(session, clock, scope=None)
    assert trouble_of(session)[0] == "narrowed"
    assert main_token(session).scope == "openid read"
    assert session.token_key(None, "openid read write") == TokenKey(None, "openid read write")
    refresh(session, clock, scope="WRITE,read")
    assert trouble_of(session) == (None, None, ())
    assert credentials_of(session).same_refresh_tokens == NARROWS


@pytest.mark.parametrize(
    ("login", "later"),
    [
        ("openid profile email offline_access read", "read"),
        ("read", None),
        (None, "read"),
        ("User.Read", "user.read"),
        ("repo,email,user", "user,repo"),
        ("repo,user", "user repo"),
    ],
)
def test_a_difference_that_does_not_concern_the_tokens_is_no_loss(login: str | None, later: str | None) -> None:
    before = replace(CREDENTIALS, granted_scope=login)
    assert after_refresh(before, token_response(scope=later), MAIN, rotated=True).lost_scope == ""


def test_fewer_scopes_that_were_asked_for_are_no_loss() -> None:
    before = replace(CREDENTIALS, granted_scope="read write")
    assert after_refresh(before, token_response(scope="read"), FEWER, rotated=True).lost_scope == ""


@pytest.mark.anyio
async def test_what_the_provider_grants_by_another_spelling_is_not_thrown_away() -> None:
    provider = FakeProvider()
    async with running(provider) as world:
        provider.script.append(token_response("at-graph", scope="https://graph.microsoft.com/User.Read"))
        assert await world.token(Demand(TokenKey(None, "user.read"))) == "at-graph"
        provider.script.append(Refusal("invalid_scope"))
        with pytest.raises(errors.Denied):
            await world.token(Demand(TokenKey(None, "admin")))
