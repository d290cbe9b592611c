"""The mistakes for which others lose logins, none of which is made here.

First whatever can happen at once to one account, in a fake world, in any order; then what a person or a provider does
wrong, and races, through a live agent with a real keyring.
"""

import itertools
import json
from collections.abc import Awaitable, Callable, Generator, Mapping
from contextlib import suppress
from functools import partial
from typing import Any

import anyio
import httpx
import pytest
import trio
import trio.testing
from hypothesis import example, given, settings, strategies as st

from auth_agent.oauth.client import Client
from auth_agent.oauth.device import DeviceAuthorization
from auth_agent.oauth.outcome import Failure, InvalidGrant, TokenResponse
from auth_agent.oauth.token_request import TokenRequest
from auth_agent.secret import Secret
from auth_agent.sessions.rate_limit import RateLimit
from auth_agent.sessions.session import Session
from auth_agent_client import Agent, Denied, LoginRequired, Misconfigured, Timeout, errors
from tests.agent.heart import World, running
from tests.agent.world import (
    CLIENT,
    ISSUER,
    NOON,
    FakeProvider,
    FakeStore,
    account as fake_account,
    config,
    token_response,
)
from tests.integration.agent_process import AgentProcess, until
from tests.integration.conftest import account, log_in, record
from tests.integration.keyring_session import KeyringSession
from tests.op.provider import CREDENTIALS, OpenIDProvider, fingerprint

# ---- everything at once, in any order


class Families(FakeProvider):
    """A provider that knows each login's refresh tokens as a family, which ends when one of them is used twice.

    All families are of one grant, as a person's logins in one browser are: a revocation ends them all, at once. All
    else works in the middle of a request's time: until then nothing has happened, and from then on it has, whatever
    becomes of the reply.
    """

    def __init__(self, delay: float) -> None:
        super().__init__(
            delay=delay, device=DeviceAuthorization(Secret("dc"), "CODE", ISSUER, None, lifetime=900, interval=5)
        )
        self.current = {"family 0": "rt-1"}
        self.family_of = {"rt-1": "family 0"}
        self.used_twice: list[str] = []
        self._numbers = itertools.count(1)

    async def token(self, client: Client, request: TokenRequest) -> TokenResponse | Failure:
        assert client == Client(CLIENT)
        await anyio.sleep(self.delay / 2)
        granted = self._answer_to(request.form(is_auth0=True))
        await anyio.sleep(self.delay / 2)
        return granted

    def _answer_to(self, form: dict[str, str]) -> TokenResponse | Failure:
        if "device_code" in form:
            assert form["device_code"] == "dc"
            return self._granted(f"family {next(self._numbers)}")
        assert form.keys() == {"grant_type", "refresh_token"}
        token = form["refresh_token"]
        family = self.family_of[token]
        if family in self.current and self.current[family] != token:
            self.used_twice.append(token)
            del self.current[family]
        return self._granted(family) if family in self.current else InvalidGrant("invalid_grant")

    async def revoke(self, client: Client, refresh_token: Secret) -> bool:
        assert client == Client(CLIENT)
        assert refresh_token.reveal() in self.family_of
        self.current.clear()
        await anyio.sleep(self.delay)
        return True

    def from_elsewhere(self) -> Secret:
        """A refresh token that another program got."""
        family = f"family {next(self._numbers)}"
        self._granted(family)
        return Secret(self.current[family])

    def _granted(self, family: str) -> TokenResponse:
        token = f"rt of {family}: {next(self._numbers)}".replace(" ", "-")
        self.current[family], self.family_of[token] = token, family
        return token_response(f"at-for-{token}", refresh_token=token, at=NOON + anyio.current_time())


async def refresh(world: World, session: Session) -> None:
    await world.refresher.refresh(session, RateLimit(), 60)


async def log_in_on_a_device(world: World, session: Session) -> None:
    begun = await world.logins.begin(session, "a connection", "device", switch_user=False, client_secret=None)
    await world.logins.result(str(begun["login_id"]))


async def take_over(world: World, session: Session) -> None:
    assert isinstance(world.provider, Families)
    await world.logins.import_refresh_token(session, world.provider.from_elsewhere(), switch_user=False)


async def log_out(world: World, session: Session) -> None:
    await world.logins.log_out(session, revoke=True)


async def remove(world: World, _: Session) -> None:
    world.table.configure(config(fake_account("another")))


async def put_back(world: World, _: Session) -> None:
    world.table.configure(config())


DEEDS: dict[str, Callable[[World, Session], Awaitable[None]]] = {
    "refresh": refresh,
    "login": log_in_on_a_device,
    "import": take_over,
    "logout": log_out,
    "remove": remove,
    "put back": put_back,
}


async def do_at_once(deeds: list[tuple[float, str]], delay: float, latency: float) -> None:
    """Do all that, each at its time; then see whether anything was lost, or is left behind."""
    provider, store = Families(delay), FakeStore(latency=latency)
    begun: list[tuple[float, str]] = []
    async with running(provider, store=store) as world:

        async def do(at: float, deed: str) -> None:
            await anyio.sleep(at)
            # A client can name no account that isn't there.
            if "work" in world.table.sessions or deed in ("remove", "put back"):
                begun.append((at, deed))
                with suppress(errors.AgentError):
                    await DEEDS[deed](world, world.session)

        async with anyio.create_task_group() as tasks:
            for at, deed in deeds:
                tasks.start_soon(do, at, deed)
        await anyio.sleep(120)
        login = world.session.credentials
        held = None if login is None or login.refresh_token is None else login.refresh_token.reveal()
        assert provider.used_twice == []
        # The provider has the session that the agent has, and none where that has none; and it is in the store.
        assert held in provider.current.values() if held is not None else provider.current == {}
        assert store.refresh_token() == held
        # A logout has the last word about all that was begun before it.
        left = max((at for at, deed in begun if deed == "logout"), default=-1.0)
        assert held is None or left < 0 or any(at >= left for at, deed in begun if deed in ("login", "import"))
        await put_back(world, world.session)
        if held is not None:
            await refresh(world, world.session)
        assert bool(provider.current) == (held is not None)


@settings(max_examples=100)
@given(
    st.lists(st.tuples(st.floats(0, 20), st.sampled_from(sorted(DEEDS))), max_size=6),
    st.sampled_from([0.0, 1.0, 4.0, 15.0, 25.0]),
    st.sampled_from([0.0, 0.3, 3.0]),
)
@example([(0, "refresh"), (1, "logout")], 4.0, 0.0)  # the logout comes before the reply
@example([(0, "refresh"), (4.1, "logout")], 4.0, 3.0)  # and while that is being saved
@example([(0, "refresh"), (1, "logout")], 25.0, 0.0)  # and long before it, so that it isn't waited for
@example([(0, "login"), (4, "refresh")], 4.0, 0.3)
@example([(0, "login"), (7, "refresh")], 4.0, 3.0)
@example([(0, "login"), (6, "logout")], 4.0, 0.3)
@example([(0, "refresh"), (0, "import")], 4.0, 0.3)
@example([(0, "refresh"), (1, "import")], 4.0, 0.3)
@example([(0, "login"), (1, "login"), (8, "refresh")], 4.0, 0.3)
@example([(0, "refresh"), (1, "remove"), (9, "put back")], 4.0, 0.3)
@example([(0, "refresh"), (1, "remove"), (2, "put back"), (2, "refresh")], 4.0, 3.0)
@example([(0, "login"), (6, "remove")], 4.0, 0.3)
@example([(0, "login"), (5.5, "login"), (5.7, "logout")], 1.0, 0.0)  # while the second login waits for the first one
def test_whatever_happens_at_once_no_login_is_lost_and_none_is_left_behind(
    deeds: list[tuple[float, str]], delay: float, latency: float
) -> None:
    clock = trio.testing.MockClock(autojump_threshold=0)
    trio.run(do_at_once, deeds, delay, latency, clock=clock)


# ---- through a live agent

ANY_PORT: dict[str, Any] = {"redirect_ports": [0]}
SECRET = CREDENTIALS["basic-app"].secret


class Household:
    """An agent whose sessions are in a real keyring, and its configuration, which changes."""

    def __init__(self, provider: OpenIDProvider, keyring: KeyringSession, agent: AgentProcess) -> None:
        self.provider = provider
        self.keyring = keyring
        self.agent = agent
        self.accounts: dict[str, dict[str, object]] = {}

    def configure(self, name: str, keys: dict[str, object] | None) -> None:
        """Change that account, or take it out, and have the agent read it."""
        self.accounts.pop(name, None)
        if keys is not None:
            self.accounts[name] = keys
        self.agent.configure(self.accounts)
        with self.agent.client() as client:
            client.reload()

    def restart(self) -> None:
        self.agent.kill()
        self.agent.start()

    def has(self, name: str) -> str | None:
        """The refresh token that the keyring has."""
        text = self.keyring.read(name)
        return None if text is None else json.loads(text)["login"]["refresh_token"]


@pytest.fixture(scope="module")
def shared() -> Generator[Household, None, None]:
    with (
        OpenIDProvider(access_token_lifetime=3600) as provider,
        KeyringSession() as keyring,
        AgentProcess(environment=keyring.environment, store="keyring") as agent,
    ):
        yield Household(provider, keyring, agent)


@pytest.fixture(scope="module")
def names() -> "itertools.count[int]":
    return itertools.count()


@pytest.fixture
def household(shared: Household) -> Household:
    """Shared by all: to make one takes longer than most of the tests."""
    shared.provider.reset()
    return shared


@pytest.fixture
def work(household: Household, names: "itertools.count[int]") -> str:
    """An account that no other test has."""
    name = f"work{next(names)}"
    household.configure(name, account(household.provider, **ANY_PORT))
    return name


@pytest.fixture
def client(household: Household) -> Generator[Agent, None, None]:
    with household.agent.client() as one:
        yield one


@pytest.fixture
def alone(household: Household, client: Agent) -> None:
    """No other account has a session, for whose sake a refresh token might not be revoked."""
    for name in household.accounts:
        client.logout(name, revoke=False)


def begin(client: Agent, name: str, **more: object) -> dict[str, object]:
    return client.call("login", {"account": name, "flow": "browser", **more})


def log_in_by_browser(client: Agent, provider: OpenIDProvider, name: str, **more: object) -> None:
    login = begin(client, name, **more)
    provider.enter(str(login["authorization_url"]))
    client.call("login_result", {"login_id": login["login_id"]})


def log_in_and_save(client: Agent, household: Household, name: str) -> str:
    """Log in; the refresh token that is in the keyring then."""
    log_in(client, household.provider, name)
    until(lambda: record(client, name)["saved"])
    found = household.has(name)
    assert found is not None
    return found


def begin_slow_refresh(client: Agent, household: Household, name: str, ms: int) -> None:
    """Begin a refresh of which the provider has done its part, and whose reply takes its time."""
    provider = household.provider
    before = len(provider.requests(provider.token_path, "refresh_token"))
    provider.fault("delay-after", ms=ms, grant_type="refresh_token")
    with pytest.raises(Timeout):
        client.refresh(name, timeout=0.05)
    until(lambda: len(provider.requests(provider.token_path, "refresh_token")) > before)


def is_at_rest(client: Agent, name: str) -> bool:
    found = record(client, name)
    return found["renewal"] != "running" and found["saved"] is True


def is_in_state(client: Agent, name: str, state: str) -> bool:
    return record(client, name)["state"] == state


def goes_on(client: Agent, household: Household, name: str) -> None:
    """The session is there, without another login, and what it brings is good."""
    assert household.provider.userinfo(client.refresh(name).access_token).status_code == 200
    assert record(client, name)["state"] == "ready"


def never_twice(provider: OpenIDProvider) -> None:
    """No refresh token got an answer, and was presented again."""
    assert [row for row in provider.ledger().values() if row.succeeded and row.presented > 1] == []


@pytest.mark.parametrize("restarted", [False, True])
def test_a_client_that_is_refused_after_a_slip_in_the_configuration_loses_nothing(
    restarted: bool, household: Household, work: str, client: Agent
) -> None:
    right = account(household.provider, "basic-app", **ANY_PORT)
    household.configure(work, {**right, "token_endpoint_auth_method": "client_secret_basic"})
    log_in_by_browser(client, household.provider, work, client_secret=SECRET)
    until(lambda: record(client, work)["saved"])
    token, before = client.token(work).access_token, household.has(work)
    household.configure(work, {**right, "token_endpoint_auth_method": "client_secret_post"})
    with pytest.raises(Misconfigured, match="invalid_client") as refused:
        client.refresh(work)
    assert refused.value.remedy[0].command == ("auth-agent", "reload")
    if restarted:
        household.restart()
        until(partial(is_in_state, client, work, "ready"))
    assert client.token(work).access_token == token
    assert household.has(work) == before
    household.configure(work, right)
    goes_on(client, household, work)
    assert len(household.provider.requests("/authorize")) == 1  # nobody had to log in again


@pytest.mark.parametrize("error", ["invalid_scope", "invalid_target", "access_denied"])
def test_what_one_token_is_refused_for_costs_no_session(
    error: str, household: Household, work: str, client: Agent
) -> None:
    before = log_in_and_save(client, household, work)
    token = client.token(work).access_token
    household.provider.fault("status", status=403, body={"error": error}, grant_type="refresh_token")
    with pytest.raises(Denied, match=error):
        client.refresh(work)
    assert (record(client, work)["state"], client.token(work).access_token) == ("ready", token)
    assert household.has(work) == before
    goes_on(client, household, work)


def test_a_person_that_the_provider_wants_to_see_need_not_log_in_anew(household: Household, client: Agent) -> None:
    wanted = {"interaction_required": "i", "mfa_required": "m", "consent_required": "c", "login_required": "l"}
    before: dict[str, str] = {}
    for error, name in wanted.items():
        household.configure(name, account(household.provider))
        with household.agent.client() as one:
            before[name] = log_in_and_save(one, household, name)
            household.provider.fault("status", status=403, body={"error": error}, grant_type="refresh_token")
            with pytest.raises(LoginRequired, match=error):
                one.refresh(name)
            with pytest.raises(LoginRequired, match=error):
                one.token(name)
            until(partial(is_at_rest, one, name))
    household.restart()
    for error, name in wanted.items():
        until(partial(is_in_state, client, name, "login_required"))
        assert record(client, name)["reason"] == error
        assert household.has(name) == before[name]
        with household.agent.client() as one:  # the person was seen elsewhere, and asks for a refresh
            goes_on(one, household, name)
    assert [row.succeeded for row in household.provider.ledger().values()] == [1] * 2 * len(wanted)


@pytest.mark.usefixtures("alone")
def test_a_logout_during_a_refresh_takes_back_what_it_brings(household: Household, work: str, client: Agent) -> None:
    old = log_in_and_save(client, household, work)
    access_token = client.token(work).access_token
    begin_slow_refresh(client, household, work, 1500)
    assert client.logout(work).revoked
    with pytest.raises(LoginRequired):
        client.token(work)
    assert household.provider.count(household.provider.paths["revocation"]) == 1
    assert household.provider.userinfo(access_token).status_code == 401  # the provider's session is over
    until(lambda: household.has(work) is None)
    assert household.provider.ledger()[fingerprint(old)].presented == 1
    household.restart()
    until(partial(is_in_state, client, work, "logged_out"))


@pytest.mark.parametrize("how", ["login", "import"])
def test_what_comes_of_a_refresh_after_another_login_is_forgotten_and_never_stored(
    how: str, household: Household, work: str, client: Agent
) -> None:
    provider = household.provider
    old = log_in_and_save(client, household, work)
    login, another = begin(client, work), provider.login().refresh_token
    assert another is not None
    redirect = provider.visit(str(login["authorization_url"]))
    begin_slow_refresh(client, household, work, 4000)
    if how == "login":
        assert httpx.get(redirect).status_code == 200
        client.call("login_result", {"login_id": login["login_id"]})
    else:
        client.import_refresh_token(another, work)
    new, stored = client.token(work).access_token, household.has(work)
    assert record(client, work)["epoch"] == 2
    assert stored != old
    # The one that was replaced, and the one that came too late: to revoke them might end the session that took over.
    until(lambda: len(household.agent.logged(f"revoke account={work} revoked=False")) == 2)
    assert provider.count(provider.paths["revocation"]) == 0
    until(partial(is_at_rest, client, work))
    assert (client.token(work).access_token, household.has(work)) == (new, stored)
    goes_on(client, household, work)
    never_twice(provider)


@pytest.mark.usefixtures("alone")
def test_a_logout_during_a_login_has_the_last_word(household: Household, work: str, client: Agent) -> None:
    log_in_and_save(client, household, work)
    login = begin(client, work)
    with household.agent.client() as other:
        assert other.logout(work).revoked
    page = household.provider.enter(str(login["authorization_url"]))
    assert "Not logged in" in page.text
    with pytest.raises(Denied, match="a logout"):
        client.call("login_result", {"login_id": login["login_id"]})
    assert household.provider.count(household.provider.paths["revocation"]) == 2  # the old one, and what was granted
    assert record(client, work)["state"] == "logged_out"
    assert household.has(work) is None


CHANGES: dict[str, Callable[[Mapping[str, object]], dict[str, object] | None]] = {
    "removed": lambda _: None,
    "given to another client": lambda keys: {**keys, "client_id": "second-app"},
    "given to another provider": lambda keys: {**keys, "issuer": "https://acme.example/"},
}


@pytest.mark.parametrize("how", CHANGES)
def test_what_a_refresh_brings_while_its_account_is_changed_is_kept_for_the_day_it_comes_back(
    how: str, household: Household, work: str, client: Agent
) -> None:
    keys = household.accounts[work]
    old = log_in_and_save(client, household, work)
    begin_slow_refresh(client, household, work, 1500)
    household.configure(work, CHANGES[how](keys))
    with pytest.raises(errors.AgentError):
        client.token(work)
    until(lambda: household.has(work) not in (None, old))  # the provider has replaced the old one by then
    household.configure(work, keys)
    assert record(client, work)["state"] == "ready"
    goes_on(client, household, work)
    if how == "removed":
        household.configure(work, None)
        household.restart()
        household.configure(work, keys)
        until(partial(is_in_state, client, work, "ready"))
        goes_on(client, household, work)
    never_twice(household.provider)
    assert not household.agent.logged("defect")
