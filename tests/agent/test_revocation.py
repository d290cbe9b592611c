"""What a revocation may end besides: the rule, and that whatever revokes asks it at that moment."""

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import replace
from types import MappingProxyType

import anyio
import pytest
import trio.testing

from auth_agent.oauth.client import Client
from auth_agent.oauth.discovery import Metadata
from auth_agent.oauth.outcome import Failure, TokenResponse, Unsent
from auth_agent.oauth.provider import REQUEST_TIMEOUT
from auth_agent.secret import Secret
from auth_agent.sessions.revocation import Arrival, Revocation, may_end_with
from auth_agent.sessions.session import Session
from auth_agent.sessions.state import Active, Credentials, Locked, LoggedOut, LoginRequired, State
from tests.agent.heart import World, all_of, running
from tests.agent.world import ALICE, CLIENT, ISSUER, FakeProvider, account, config, token_response

pytestmark = pytest.mark.anyio

BOB = "auth0|bob"
ALICES = Credentials(ISSUER, CLIENT, None, ALICE, "Alice", Secret("rt"), None)
BOBS = replace(ALICES, subject=BOB)
NOBODYS = replace(ALICES, subject=None)
DEAD = replace(ALICES, refresh_token=None)
ELSEWHERE = replace(ALICES, issuer="https://other.example/")
ANOTHER_CLIENT = replace(ALICES, client_id="another")


@pytest.fixture
def anyio_backend() -> tuple[str, dict[str, object]]:
    return "trio", {"clock": trio.testing.MockClock(autojump_threshold=0)}


def active(credentials: Credentials) -> Active:
    return Active(credentials, MappingProxyType({}))


# ---- the rule

ENDS = [
    (active(ALICES), ALICES, True),
    (active(replace(ALICES, refresh_token=Secret("another"))), ALICES, True),
    (active(DEAD), ALICES, True),  # its access token is good, perhaps
    (active(BOBS), ALICES, False),
    (active(NOBODYS), ALICES, True),
    (active(ALICES), NOBODYS, True),
    (active(NOBODYS), NOBODYS, True),
    (active(ELSEWHERE), ALICES, False),
    (active(ANOTHER_CLIENT), ALICES, False),
    (active(replace(ALICES, issuer=ISSUER.rstrip("/"))), ALICES, True),
    (active(replace(ALICES, audience="https://api.example")), ALICES, True),
    (LoginRequired("mfa_required", ALICES), ALICES, True),  # its refresh token is good, perhaps
    (LoginRequired("invalid_grant", DEAD), ALICES, False),
    (LoginRequired("another_user", ALICES, quarantined=True), ALICES, False),
    (LoginRequired("mfa_required", BOBS), ALICES, False),
    (LoggedOut(), ALICES, False),
    (LoggedOut(), NOBODYS, False),
    (Locked("unread"), ALICES, True),
    (Locked("unread"), NOBODYS, True),
    (Locked("unread"), replace(ALICES, issuer=ISSUER.rstrip("/")), True),
    (Locked("unread"), ELSEWHERE, False),
    (Locked("unread"), ANOTHER_CLIENT, False),
]


@pytest.mark.parametrize(("state", "revoked", "ends"), ENDS)
def test_a_session_may_end_with_what_is_of_its_client_and_may_be_of_its_user(
    state: State, revoked: Credentials, ends: bool
) -> None:
    session = Session(account(), 0.5)
    session.state = state
    assert may_end_with(session, revoked) is ends


def test_a_session_is_of_the_client_that_it_came_from_whatever_the_configuration_says_now() -> None:
    session = Session(account(issuer="https://other.example/"), 0.5)
    session.state = active(ALICES)
    assert may_end_with(session, ALICES)
    assert not may_end_with(session, ELSEWHERE)


@pytest.mark.parametrize(
    ("revoked", "ends"), [(ALICES, True), (NOBODYS, True), (ELSEWHERE, False), (ANOTHER_CLIENT, False)]
)
def test_a_login_on_its_way_may_end_with_what_is_of_its_client(revoked: Credentials, ends: bool) -> None:
    session = Session(account(), 0.5)
    assert Arrival(session, session.epoch, account()).may_end_with(revoked) is ends
    assert not Arrival(session, session.epoch, account(), lambda: False).may_end_with(revoked)


def test_a_login_that_a_logout_has_refused_already_has_nothing_to_lose() -> None:
    session = Session(account(), 0.5)
    arrival = Arrival(session, session.epoch, account())
    session.log_out()
    assert not arrival.may_end_with(ALICES)


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


# ---- whatever revokes


@asynccontextmanager
async def two_of_one_user() -> AsyncGenerator[World]:
    """The accounts `work` (rt-2) and `home` (rt-h), both Alice's."""
    async with running(None, account(), account("home")) as world:
        world.provider.script = [token_response("at-h", refresh_token="rt-h")]
        await world.log_in("rt-home", name="home")
        yield world


class Unreachable(FakeProvider):
    """A provider on a network that swallows what is sent: each look-up takes as long as one may."""

    look_ups = 0

    async def discover(self) -> Metadata | Failure:
        self.look_ups += 1
        await anyio.sleep(REQUEST_TIMEOUT)
        return Unsent("no answer")

    async def revoke(self, client: Client, refresh_token: Secret) -> bool:  # as `HttpProvider` does it
        return not isinstance(await self.discover(), Failure) and await super().revoke(client, refresh_token)


async def test_a_provider_that_can_not_be_reached_is_looked_for_once_by_a_revocation() -> None:
    async with running() as world:
        world.provider = provider = Unreachable()
        out = await world.logins.log_out(world.session, revoke=True)
        assert (out.revoked, out.reason) == (False, None)
        assert provider.look_ups == 1  # a client waits 60 s for its logout, and for the logout's page besides
        assert provider.revoked == []


async def test_of_two_sessions_of_one_user_the_first_that_logs_out_is_forgotten_and_the_last_is_revoked() -> None:
    async with two_of_one_user() as world:
        first = await world.logins.log_out(world.session, revoke=True)
        assert (first.revoked, first.shared_with) == (False, ("home",))
        assert world.session.credentials is None
        assert world.provider.revoked == []
        last = await world.logins.log_out(world.table.session("home"), revoke=True)
        assert (last.revoked, last.reason) == (True, None)
        assert world.provider.revoked == ["rt-h"]


async def test_a_logout_may_revoke_a_shared_grant() -> None:
    async with two_of_one_user() as world:
        assert await world.logins.log_out(world.session, revoke=True, shared=True)
        assert world.provider.revoked == ["rt-2"]


async def test_a_logout_that_keeps_the_providers_session_gives_no_other_reason() -> None:
    async with two_of_one_user() as world:
        assert await world.logins.log_out(world.session, revoke=False) == Revocation()
        assert await world.logins.log_out(world.table.session("home"), revoke=False, shared=True) == Revocation()
        assert world.provider.revoked == []


@pytest.mark.parametrize(("shared", "revoked"), [(False, []), (True, ["rt-3"])])
@pytest.mark.parametrize("delay", [5, 25])
async def test_what_a_refresh_brings_after_a_logout_is_treated_as_the_logout_wanted(
    shared: bool, revoked: list[str], delay: float
) -> None:
    async with two_of_one_user() as world:
        world.provider.delay = delay
        world.provider.script = [token_response("at-3", refresh_token="rt-3")]
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(all_of, lambda: world.token(world.session.demand_newer()))
            await anyio.sleep(1)
            begun = anyio.current_time()
            out = await world.logins.log_out(world.session, revoke=True, shared=shared)
            assert anyio.current_time() - begun == pytest.approx(min(delay - 1, 10))
            assert out.shared_with == (() if shared else ("home",))
        await anyio.sleep(30)
        # One that took longer than the logout waited: what there was went first.
        assert world.provider.revoked == (["rt-2"] if shared and delay > 10 else []) + revoked


async def test_a_session_whose_account_vanished_is_spared_too() -> None:
    async with two_of_one_user() as world:
        world.table.configure(config(account()))
        out = await world.logins.log_out(world.session, revoke=True)
        assert (out.revoked, out.shared_with) == (False, ("home",))


async def test_a_login_of_the_same_client_that_is_being_proved_is_spared() -> None:
    async with running(None, account(), account("home")) as world:
        at_home = world.table.session("home")
        world.provider.delay = 5
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(lambda: world.log_in("rt-2b", name="home"))
            world.provider.script = [token_response("at-h", refresh_token="rt-h", subject=BOB)]
            await anyio.sleep(1)
            out = await world.logins.log_out(world.session, revoke=True)
            assert (out.revoked, out.shared_with) == (False, ("home",))
        assert at_home.credentials is not None
        assert world.table.arrivals == set()
        # It is Bob's, as is known now.
        assert world.table.may_end_with(ALICES) == ()


async def test_of_two_logins_that_are_refused_at_once_the_last_is_revoked() -> None:
    def refused(number: int) -> TokenResponse:
        return token_response(None, refresh_token=f"rt-{number}x")

    async with running(None, account(), account("home"), logged_in=False) as world:
        world.provider.delay = 5
        world.provider.script = [refused(1), refused(2)]

        async def second() -> dict[str, object]:
            await anyio.sleep(1)
            return await world.log_in("rt-b", name="home")

        assert await all_of(lambda: world.log_in("rt-a"), second) == ["unavailable", "unavailable"]
        assert world.provider.revoked == ["rt-2x"]


async def test_a_session_that_comes_while_the_provider_is_looked_up_is_spared() -> None:
    async with running(None, account(), account("home")) as world:
        world.provider.preparation = 5
        out: list[Revocation] = []

        async def log_out() -> None:
            out.append(await world.logins.log_out(world.session, revoke=True))

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(log_out)
            await anyio.sleep(1)
            world.provider.preparation = 0
            world.provider.script = [token_response("at-h", refresh_token="rt-h")]
            await world.log_in("rt-home", name="home")
        assert out == [Revocation(revoked=False, shared_with=("home",))]
        assert world.provider.revoked == []


async def test_another_users_session_that_is_replaced_is_revoked_unless_that_user_has_another() -> None:
    for others in (False, True):
        async with two_of_one_user() as world:
            if not others:
                await world.logins.log_out(world.table.session("home"), revoke=False)
            world.provider.script = [token_response("at-b", refresh_token="rt-b", subject=BOB)]
            await world.log_in("rt-bob", switch_user=True)
            assert world.provider.revoked == ([] if others else ["rt-2"])
