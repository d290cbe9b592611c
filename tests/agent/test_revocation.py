"""Which other sessions a revocation may end, and that every revocation checks it when it is sent."""

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import replace
from types import MappingProxyType

import anyio
import pytest
import trio.testing

from auth_agent.oauth.client import Client
from auth_agent.oauth.discovery import Metadata
from auth_agent.oauth.http_client import REQUEST_TIMEOUT
from auth_agent.oauth.outcome import Failure, TokenResponse, Unsent
from auth_agent.secret import Secret
from auth_agent.sessions.revocation import Arrival, Revocation, may_end_with
from auth_agent.sessions.session import Session
from auth_agent.sessions.state import Active, Credentials, Locked, LoggedOut, LoginRequired, State
from tests.agent.heart import World, all_of, running
from tests.agent.world import ALICE, CLIENT, ISSUER, FakeProvider, account, config, token_response

pytestmark = pytest.mark.anyio

BOB = "auth0|bob"
OF_ALICE = Credentials(ISSUER, CLIENT, None, ALICE, "Alice", Secret("rt"), None)
OF_BOB = replace(OF_ALICE, subject=BOB)
OF_NOBODY = replace(OF_ALICE, subject=None)
WITHOUT_REFRESH_TOKEN = replace(OF_ALICE, refresh_token=None)
OF_ANOTHER_ISSUER = replace(OF_ALICE, issuer="https://other.example/")
OF_ANOTHER_CLIENT = replace(OF_ALICE, client_id="another")


@pytest.fixture
def anyio_backend() -> tuple[str, dict[str, object]]:
    return "trio", {"clock": trio.testing.MockClock(autojump_threshold=0)}


def active(credentials: Credentials) -> Active:
    return Active(credentials, MappingProxyType({}))


# ---- the rule

ENDS = [
    (active(OF_ALICE), OF_ALICE, True),
    (active(replace(OF_ALICE, refresh_token=Secret("another"))), OF_ALICE, True),
    (active(WITHOUT_REFRESH_TOKEN), OF_ALICE, True),  # its access token may be valid
    (active(OF_BOB), OF_ALICE, False),
    (active(OF_NOBODY), OF_ALICE, True),
    (active(OF_ALICE), OF_NOBODY, True),
    (active(OF_NOBODY), OF_NOBODY, True),
    (active(OF_ANOTHER_ISSUER), OF_ALICE, False),
    (active(OF_ANOTHER_CLIENT), OF_ALICE, False),
    (active(replace(OF_ALICE, issuer=ISSUER.rstrip("/"))), OF_ALICE, True),
    (active(replace(OF_ALICE, audience="https://api.example")), OF_ALICE, True),
    (LoginRequired("mfa_required", OF_ALICE), OF_ALICE, True),  # its refresh token may be valid
    (LoginRequired("invalid_grant", WITHOUT_REFRESH_TOKEN), OF_ALICE, False),
    (LoginRequired("another_user", OF_ALICE, quarantined=True), OF_ALICE, False),
    (LoginRequired("mfa_required", OF_BOB), OF_ALICE, False),
    (LoggedOut(), OF_ALICE, False),
    (LoggedOut(), OF_NOBODY, False),
    (Locked("unread"), OF_ALICE, True),
    (Locked("unread"), OF_NOBODY, True),
    (Locked("unread"), replace(OF_ALICE, issuer=ISSUER.rstrip("/")), True),
    (Locked("unread"), OF_ANOTHER_ISSUER, False),
    (Locked("unread"), OF_ANOTHER_CLIENT, False),
]


@pytest.mark.parametrize(("state", "revoked", "ends"), ENDS)
def test_a_revocation_may_end_a_session_of_the_same_client_and_possibly_the_same_user(
    state: State, revoked: Credentials, ends: bool
) -> None:
    session = Session(account(), 0.5)
    session.state = state
    assert may_end_with(session, revoked) is ends


def test_a_session_belongs_to_the_client_of_its_login_not_to_the_configured_one() -> None:
    session = Session(account(issuer="https://other.example/"), 0.5)
    session.state = active(OF_ALICE)
    assert may_end_with(session, OF_ALICE)
    assert not may_end_with(session, OF_ANOTHER_ISSUER)


@pytest.mark.parametrize(
    ("revoked", "ends"), [(OF_ALICE, True), (OF_NOBODY, True), (OF_ANOTHER_ISSUER, False), (OF_ANOTHER_CLIENT, False)]
)
def test_a_revocation_may_end_a_pending_login_of_the_same_client(revoked: Credentials, ends: bool) -> None:
    session = Session(account(), 0.5)
    assert Arrival(session, session.epoch, account()).may_end_with(revoked) is ends
    assert not Arrival(session, session.epoch, account(), lambda: False).may_end_with(revoked)


def test_a_revocation_cannot_end_a_login_that_a_logout_has_superseded() -> None:
    session = Session(account(), 0.5)
    arrival = Arrival(session, session.epoch, account())
    session.log_out()
    assert not arrival.may_end_with(OF_ALICE)


@pytest.mark.parametrize(
    ("names", "accounts"),
    [
        ("b", "session of b,"),
        ("b c", "sessions of b and c,"),
        ("b c d", "sessions of b, c and d,"),
        ("b c d e f", "sessions of b, c, d and 2 more,"),
    ],
)
def test_the_reason_names_the_accounts_whose_sessions_may_end(names: str, accounts: str) -> None:
    assert accounts in (Revocation(shared_with=tuple(names.split())).reason or "")


def test_a_revocation_that_was_sent_has_no_reason() -> None:
    assert [Revocation(revoked=revoked).reason for revoked in (True, False)] == [None, None]


# ---- revocations


@asynccontextmanager
async def two_sessions_of_one_user() -> AsyncGenerator[World]:
    """The accounts `work` (rt-2) and `home` (rt-h), both Alice's."""
    async with running(None, account(), account("home")) as world:
        world.provider.script = [token_response("at-h", refresh_token="rt-h")]
        await world.log_in("rt-home", name="home")
        yield world


class Unreachable(FakeProvider):
    """A provider on a network that drops packets: each look-up takes as long as the time-out."""

    look_ups = 0

    async def discover(self) -> Metadata | Failure:
        self.look_ups += 1
        await anyio.sleep(REQUEST_TIMEOUT)
        return Unsent("no answer")

    async def revoke(self, client: Client, refresh_token: Secret) -> bool:  # as `HttpProvider` does
        return not isinstance(await self.discover(), Failure) and await super().revoke(client, refresh_token)


async def test_an_unreachable_provider_is_looked_up_once_for_a_revocation() -> None:
    async with running() as world:
        world.provider = provider = Unreachable()
        result = await world.logins.log_out(world.session, revoke=True)
        assert (result.revoked, result.reason) == (False, None)
        assert provider.look_ups == 1  # a client waits 60 s for its logout and for the URL of the logout page
        assert provider.revoked == []


async def test_of_two_sessions_of_one_user_only_the_last_logout_revokes() -> None:
    async with two_sessions_of_one_user() as world:
        first = await world.logins.log_out(world.session, revoke=True)
        assert (first.revoked, first.shared_with) == (False, ("home",))
        assert world.session.credentials is None
        assert world.provider.revoked == []
        last = await world.logins.log_out(world.table.session("home"), revoke=True)
        assert (last.revoked, last.reason) == (True, None)
        assert world.provider.revoked == ["rt-h"]


async def test_a_logout_may_revoke_a_shared_grant() -> None:
    async with two_sessions_of_one_user() as world:
        assert await world.logins.log_out(world.session, revoke=True, shared=True)
        assert world.provider.revoked == ["rt-2"]


async def test_a_logout_that_keeps_the_providers_session_gives_no_other_reason() -> None:
    async with two_sessions_of_one_user() as world:
        assert await world.logins.log_out(world.session, revoke=False) == Revocation()
        assert await world.logins.log_out(world.table.session("home"), revoke=False, shared=True) == Revocation()
        assert world.provider.revoked == []


@pytest.mark.parametrize(("shared", "revoked"), [(False, []), (True, ["rt-3"])])
@pytest.mark.parametrize("delay", [5, 25])
async def test_tokens_that_arrive_after_a_logout_are_revoked_by_the_logouts_rule(
    shared: bool, revoked: list[str], delay: float
) -> None:
    async with two_sessions_of_one_user() as world:
        world.provider.delay = delay
        world.provider.script = [token_response("at-3", refresh_token="rt-3")]
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(all_of, lambda: world.token(world.session.demand_newer()))
            await anyio.sleep(1)
            start = anyio.current_time()
            result = await world.logins.log_out(world.session, revoke=True, shared=shared)
            assert anyio.current_time() - start == pytest.approx(min(delay - 1, 10))
            assert result.shared_with == (() if shared else ("home",))
        await anyio.sleep(30)
        # A refresh that took longer than the logout waited: the old token was revoked first.
        assert world.provider.revoked == (["rt-2"] if shared and delay > 10 else []) + revoked


async def test_a_session_of_a_removed_account_prevents_a_revocation() -> None:
    async with two_sessions_of_one_user() as world:
        world.table.configure(config(account()))
        result = await world.logins.log_out(world.session, revoke=True)
        assert (result.revoked, result.shared_with) == (False, ("home",))


async def test_a_pending_login_of_the_same_client_prevents_a_revocation() -> None:
    async with running(None, account(), account("home")) as world:
        home = world.table.session("home")
        world.provider.delay = 5
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(lambda: world.log_in("rt-2b", name="home"))
            world.provider.script = [token_response("at-h", refresh_token="rt-h", subject=BOB)]
            await anyio.sleep(1)
            result = await world.logins.log_out(world.session, revoke=True)
            assert (result.revoked, result.shared_with) == (False, ("home",))
        assert home.credentials is not None
        assert world.table.arrivals == set()
        # By now it is known to be Bob's.
        assert world.table.may_end_with(OF_ALICE) == ()


async def test_of_two_logins_that_fail_together_the_last_is_revoked() -> None:
    def invalid_response(number: int) -> TokenResponse:
        return token_response(None, refresh_token=f"rt-{number}x")

    async with running(None, account(), account("home"), logged_in=False) as world:
        world.provider.delay = 5
        world.provider.script = [invalid_response(1), invalid_response(2)]

        async def log_in_later() -> dict[str, object]:
            await anyio.sleep(1)
            return await world.log_in("rt-b", name="home")

        assert await all_of(lambda: world.log_in("rt-a"), log_in_later) == ["misconfigured", "misconfigured"]
        assert world.provider.revoked == ["rt-2x"]


async def test_a_session_created_during_the_look_up_prevents_a_revocation() -> None:
    async with running(None, account(), account("home")) as world:
        world.provider.preparation = 5
        results: list[Revocation] = []

        async def log_out() -> None:
            results.append(await world.logins.log_out(world.session, revoke=True))

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(log_out)
            await anyio.sleep(1)
            world.provider.preparation = 0
            world.provider.script = [token_response("at-h", refresh_token="rt-h")]
            await world.log_in("rt-home", name="home")
        assert results == [Revocation(revoked=False, shared_with=("home",))]
        assert world.provider.revoked == []


async def test_another_users_session_that_is_replaced_is_revoked_unless_that_user_has_another() -> None:
    for others in (False, True):
        async with two_sessions_of_one_user() as world:
            if not others:
                await world.logins.log_out(world.table.session("home"), revoke=False)
            world.provider.script = [token_response("at-b", refresh_token="rt-b", subject=BOB)]
            await world.log_in("rt-bob", switch_user=True)
            assert world.provider.revoked == ([] if others else ["rt-2"])
