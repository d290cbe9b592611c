"""The mistakes by which other programs lose logins.

First, concurrent actions on one account in any order, in a fake world; then mistakes of users and providers, and races,
with a live agent and a real keyring.
"""

import itertools
import json
from collections.abc import Awaitable, Callable, Generator, Mapping
from concurrent.futures import ThreadPoolExecutor
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
from auth_agent.oauth.resource import AUDIENCE
from auth_agent.oauth.token_request import TokenRequest
from auth_agent.secret import Secret
from auth_agent.sessions.rate_limit import Asker
from auth_agent.sessions.session import Session
from auth_agent_client import Agent, Denied, LoginRequired, Misconfigured, Timeout, Unavailable, errors
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
from tests.op.provider import CREDENTIALS, HELD, OpenIDProvider, fingerprint

# ---- concurrent actions in any order


class Families(FakeProvider):
    """A provider that knows the refresh tokens of each login as a family, which ends when one of them is used twice.

    All families are of one grant, as a person's logins in one browser are: a revocation ends them all at once. Any
    other request takes effect in the middle of its time, even if the response is lost.
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
        response = self._response_to(request.form((AUDIENCE,)))
        await anyio.sleep(self.delay / 2)
        return response

    def _response_to(self, form: dict[str, str]) -> TokenResponse | Failure:
        if "device_code" in form:
            assert form["device_code"] == "dc"
            return self._issue(f"family {next(self._numbers)}")
        assert form.keys() == {"grant_type", "refresh_token"}
        token = form["refresh_token"]
        family = self.family_of[token]
        if family in self.current and self.current[family] != token:
            self.used_twice.append(token)
            del self.current[family]
        return self._issue(family) if family in self.current else InvalidGrant("invalid_grant")

    async def revoke(self, client: Client, refresh_token: Secret) -> bool:
        assert client == Client(CLIENT)
        assert refresh_token.reveal() in self.family_of
        self.current.clear()
        await anyio.sleep(self.delay)
        return True

    def issue_elsewhere(self) -> Secret:
        """Return a refresh token of another program."""
        family = f"family {next(self._numbers)}"
        self._issue(family)
        return Secret(self.current[family])

    def _issue(self, family: str) -> TokenResponse:
        token = f"rt of {family}: {next(self._numbers)}".replace(" ", "-")
        self.current[family], self.family_of[token] = token, family
        return token_response(f"at-for-{token}", refresh_token=token, at=NOON + anyio.current_time())


async def refresh(world: World, session: Session) -> None:
    await world.refresher.refresh(session, Asker(), 60)


async def log_in_on_a_device(world: World, session: Session) -> None:
    login = await world.logins.begin(session, "a connection", "device", switch_user=False, client_secret=None)
    await world.logins.result(str(login["login_id"]))


async def import_token(world: World, session: Session) -> None:
    assert isinstance(world.provider, Families)
    await world.logins.import_refresh_token(session, world.provider.issue_elsewhere(), switch_user=False)


async def log_out(world: World, session: Session) -> None:
    await world.logins.log_out(session, revoke=True)


async def remove(world: World, _: Session) -> None:
    world.table.configure(config(fake_account("another")))


async def restore(world: World, _: Session) -> None:
    world.table.configure(config())
    world.saver.read_all()


async def lock(world: World, _: Session) -> None:
    await world.lock.lock(None, keep_alive=False)


async def unlock(world: World, _: Session) -> None:
    await world.lock.unlock(None)


ACTIONS: dict[str, Callable[[World, Session], Awaitable[None]]] = {
    "refresh": refresh,
    "login": log_in_on_a_device,
    "import": import_token,
    "logout": log_out,
    "remove": remove,
    "put back": restore,
    "lock": lock,
    "unlock": unlock,
}
# A client can't name a removed account, and gets nothing from a locked agent.
ALWAYS = ("remove", "put back", "lock", "unlock")


async def perform_concurrently(actions: list[tuple[float, str]], delay: float, latency: float) -> None:
    """Perform the actions, each at its time; then check that nothing was lost or left behind."""
    provider, store = Families(delay), FakeStore(latency=latency)
    performed: list[str] = []  # in the order in which they began: two may do so at the same time
    async with running(provider, store=store) as world:

        async def perform(action: str) -> None:
            if action in ALWAYS or ("work" in world.table.sessions and world.table.lock is None):
                performed.append(action)
                await ACTIONS[action](world, world.session)

        async def perform_at(at: float, action: str) -> None:
            await anyio.sleep(at)
            with suppress(errors.AgentError):
                # What a client asks for is done in the background, and a lock waits for it.
                work = partial(perform, action)
                await (work() if action in ALWAYS else world.background.detached("a program", work)())

        async with anyio.create_task_group() as tasks:
            for at, deed in actions:
                tasks.start_soon(perform_at, at, deed)
        await anyio.sleep(120)
        await unlock(world, world.session)
        if world.session.is_locked:
            await restore(world, world.session)
        await anyio.sleep(60)
        login = world.session.credentials
        refresh_token = None if login is None or login.refresh_token is None else login.refresh_token.reveal()
        assert provider.used_twice == []
        # The provider, the agent and the store have the same session, or none.
        assert refresh_token in provider.current.values() if refresh_token is not None else provider.current == {}
        assert store.refresh_token() == refresh_token
        # A logout prevails over all actions that began before it.
        if "logout" in performed and refresh_token is not None:
            since_logout = performed[::-1][: performed[::-1].index("logout")]
            assert {"login", "import"} & set(since_logout), performed
        await restore(world, world.session)
        if refresh_token is not None:
            await refresh(world, world.session)
        assert bool(provider.current) == (refresh_token is not None)


@settings(max_examples=100)
@given(
    st.lists(st.tuples(st.floats(0, 20), st.sampled_from(sorted(ACTIONS))), max_size=6),
    st.sampled_from([0.0, 1.0, 4.0, 15.0, 25.0]),
    st.sampled_from([0.0, 0.3, 3.0]),
)
@example([(0, "refresh"), (1, "logout")], 4.0, 0.0)  # the logout comes before the response
@example([(0, "refresh"), (4.1, "logout")], 4.0, 3.0)  # while the response is being saved
@example([(0, "refresh"), (1, "logout")], 25.0, 0.0)  # long before the response, so that the logout doesn't wait for it
@example([(0, "login"), (4, "refresh")], 4.0, 0.3)
@example([(0, "login"), (7, "refresh")], 4.0, 3.0)
@example([(0, "login"), (6, "logout")], 4.0, 0.3)
@example([(0, "refresh"), (0, "import")], 4.0, 0.3)
@example([(0, "refresh"), (1, "import")], 4.0, 0.3)
@example([(0, "import"), (1e-140, "logout")], 0.0, 0.3)  # at the same time, in either order
@example([(0, "login"), (1, "login"), (8, "refresh")], 4.0, 0.3)
@example([(0, "refresh"), (1, "remove"), (9, "put back")], 4.0, 0.3)
@example([(0, "refresh"), (1, "remove"), (2, "put back"), (2, "refresh")], 4.0, 3.0)
@example([(0, "login"), (6, "remove")], 4.0, 0.3)
@example([(0, "login"), (5.5, "login"), (5.7, "logout")], 1.0, 0.0)  # while the second login waits for the first one
@example([(0, "refresh"), (1, "lock"), (9, "unlock")], 4.0, 3.0)
@example([(0, "refresh"), (1, "lock"), (2, "unlock"), (2, "refresh")], 4.0, 3.0)
@example([(0, "login"), (1, "lock"), (2, "unlock"), (3, "login")], 4.0, 0.3)
@example([(0, "import"), (1, "lock"), (2, "remove"), (20, "unlock"), (21, "put back")], 4.0, 3.0)
def test_concurrent_actions_lose_no_session_and_leave_none_behind(
    actions: list[tuple[float, str]], delay: float, latency: float
) -> None:
    clock = trio.testing.MockClock(autojump_threshold=0)
    trio.run(perform_concurrently, actions, delay, latency, clock=clock)


# ---- a live agent

ANY_PORT: dict[str, Any] = {"redirect_ports": [0]}
SECRET = CREDENTIALS["basic-app"].secret


class LiveAgent:
    """An agent with a real keyring, and a configuration that changes."""

    def __init__(self, provider: OpenIDProvider, keyring: KeyringSession, agent: AgentProcess) -> None:
        self.provider = provider
        self.keyring = keyring
        self.agent = agent
        self.accounts: dict[str, dict[str, object]] = {}

    def configure(self, name: str, keys: dict[str, object] | None) -> None:
        """Change or remove the account, and reload the configuration."""
        self.accounts.pop(name, None)
        if keys is not None:
            self.accounts[name] = keys
        self.agent.configure(self.accounts)
        with self.agent.client() as client:
            client.reload()

    def restart(self) -> None:
        self.agent.kill()
        self.agent.start()

    def stored_refresh_token(self, name: str) -> str | None:
        """Return the refresh token in the keyring."""
        text = self.keyring.read(name)
        return None if text is None else json.loads(text)["login"]["refresh_token"]


@pytest.fixture(scope="module")
def shared() -> Generator[LiveAgent, None, None]:
    with (
        OpenIDProvider(access_token_lifetime=3600) as provider,
        KeyringSession() as keyring,
        AgentProcess(environment=keyring.environment, store="keyring") as agent,
    ):
        yield LiveAgent(provider, keyring, agent)


@pytest.fixture(scope="module")
def names() -> "itertools.count[int]":
    return itertools.count()


@pytest.fixture
def live(shared: LiveAgent) -> LiveAgent:
    """Return the shared agent: starting one takes longer than most of the tests."""
    shared.provider.reset()
    return shared


@pytest.fixture
def work(live: LiveAgent, names: "itertools.count[int]") -> str:
    """Return an account that no other test uses."""
    name = f"work{next(names)}"
    live.configure(name, account(live.provider, **ANY_PORT))
    return name


@pytest.fixture
def client(live: LiveAgent) -> Generator[Agent, None, None]:
    with live.agent.client() as one:
        yield one


@pytest.fixture
def alone(live: LiveAgent, client: Agent) -> None:
    """Log out of all other accounts, whose sessions might prevent a revocation."""
    for name in live.accounts:
        client.logout(name, revoke=False)


def begin_login(client: Agent, name: str, **more: object) -> dict[str, object]:
    return client.call("login", {"account": name, "flow": "browser", **more})


def log_in_by_browser(client: Agent, provider: OpenIDProvider, name: str, **more: object) -> None:
    login = begin_login(client, name, **more)
    provider.enter(str(login["authorization_url"]))
    client.call("login_result", {"login_id": login["login_id"]})


def log_in_and_save(client: Agent, live: LiveAgent, name: str) -> str:
    """Log in, and return the refresh token in the keyring."""
    log_in(client, live.provider, name)
    until(lambda: record(client, name)["saved"])
    refresh_token = live.stored_refresh_token(name)
    assert refresh_token is not None
    return refresh_token


def begin_slow_refresh(client: Agent, live: LiveAgent, name: str) -> None:
    """Begin a refresh that the provider has processed, and whose response is held until it is released."""
    provider = live.provider
    before = len(provider.requests(provider.token_path, "refresh_token"))
    provider.fault("delay-after", ms=HELD, grant_type="refresh_token")
    with pytest.raises(Timeout):
        client.refresh(name, timeout=0.05)
    until(lambda: len(provider.requests(provider.token_path, "refresh_token")) > before)


def is_settled(client: Agent, name: str) -> bool:
    session_record = record(client, name)
    return session_record["renewal"] != "running" and session_record["saved"] is True


def is_in_state(client: Agent, name: str, state: str) -> bool:
    return record(client, name)["state"] == state


def is_refused(client: Agent, name: str) -> bool:
    return record(client, name)["failure"] == "refused"


def assert_session_continues(client: Agent, live: LiveAgent, name: str) -> None:
    """Check that the session is refreshed without another login, and its token is valid."""
    assert live.provider.userinfo(client.refresh(name).access_token).status_code == 200
    assert record(client, name)["state"] == "ready"


def assert_no_token_reused(provider: OpenIDProvider) -> None:
    """Check that no refresh token was presented again after its response."""
    assert [row for row in provider.ledger().values() if row.succeeded and row.presented > 1] == []


@pytest.mark.parametrize("restarted", [False, True])
def test_invalid_client_after_a_configuration_mistake_loses_nothing(
    restarted: bool, live: LiveAgent, work: str, client: Agent
) -> None:
    keys = account(live.provider, "basic-app", **ANY_PORT)
    live.configure(work, {**keys, "token_endpoint_auth_method": "client_secret_basic"})
    log_in_by_browser(client, live.provider, work, client_secret=SECRET)
    until(lambda: record(client, work)["saved"])
    token, before = client.token(work).access_token, live.stored_refresh_token(work)
    live.configure(work, {**keys, "token_endpoint_auth_method": "client_secret_post"})
    with pytest.raises(Misconfigured, match="invalid_client") as caught:
        client.refresh(work)
    assert caught.value.remedy[0].command == ("auth-agent", "reload")
    if restarted:
        live.restart()
        until(partial(is_in_state, client, work, "ready"))
    assert client.token(work).access_token == token
    assert live.stored_refresh_token(work) == before
    live.configure(work, keys)
    assert_session_continues(client, live, work)
    assert len(live.provider.requests("/authorize")) == 1  # without another login


@pytest.mark.parametrize("error", ["invalid_scope", "invalid_target", "access_denied"])
def test_one_refusal_by_another_word_ends_no_session(error: str, live: LiveAgent, work: str, client: Agent) -> None:
    before = log_in_and_save(client, live, work)
    token = client.token(work).access_token
    live.provider.fault("status", status=403, body={"error": error}, grant_type="refresh_token", times=None)
    with pytest.raises(Unavailable, match=error):
        client.refresh(work)
    assert (record(client, work)["state"], client.token(work).access_token) == ("ready", token)
    assert live.stored_refresh_token(work) == before
    live.provider.clear_faults()  # not earlier: it is soon sent again
    assert_session_continues(client, live, work)


def test_required_interaction_keeps_the_refresh_token(live: LiveAgent, client: Agent) -> None:
    names = {"interaction_required": "i", "mfa_required": "m", "consent_required": "c", "login_required": "l"}
    before: dict[str, str] = {}
    for error, name in names.items():
        live.configure(name, account(live.provider))
        with live.agent.client() as other_client:
            before[name] = log_in_and_save(other_client, live, name)
            live.provider.fault("status", status=403, body={"error": error}, grant_type="refresh_token", times=None)
            with pytest.raises(LoginRequired, match=error):
                other_client.refresh(name)
            until(partial(is_settled, other_client, name))
            live.provider.clear_faults()
    live.provider.fault("status", status=403, body={"error": "mfa_required"}, grant_type="refresh_token", times=None)
    live.restart()
    for name in names.values():
        until(partial(is_refused, client, name))
        assert live.stored_refresh_token(name) == before[name]
    live.provider.clear_faults()
    for name in names.values():
        with live.agent.client() as other_client:  # the person has interacted with the provider, and requests a refresh
            assert_session_continues(other_client, live, name)
    assert [row.succeeded for row in live.provider.ledger().values()] == [1] * 2 * len(names)


@pytest.mark.usefixtures("alone")
def test_a_logout_during_a_refresh_revokes_its_tokens(live: LiveAgent, work: str, client: Agent) -> None:
    old = log_in_and_save(client, live, work)
    access_token = client.token(work).access_token
    begin_slow_refresh(client, live, work)
    with ThreadPoolExecutor(1) as clients:
        logout = clients.submit(client.logout, work)  # which waits for the refresh
        until(partial(is_in_state, client, work, "logged_out"))
        live.provider.release()
        assert logout.result().revoked
    with pytest.raises(LoginRequired):
        client.token(work)
    assert live.provider.count(live.provider.paths["revocation"]) == 1
    assert live.provider.userinfo(access_token).status_code == 401  # the provider's session is over
    until(lambda: live.stored_refresh_token(work) is None)
    assert live.provider.ledger()[fingerprint(old)].presented == 1
    live.restart()
    until(partial(is_in_state, client, work, "logged_out"))


@pytest.mark.parametrize("action", ["login", "import"])
def test_a_refresh_that_finishes_after_another_login_is_never_stored(
    action: str, live: LiveAgent, work: str, client: Agent
) -> None:
    provider = live.provider
    old = log_in_and_save(client, live, work)
    login, another = begin_login(client, work), provider.login().refresh_token
    assert another is not None
    redirect = provider.visit(str(login["authorization_url"]))
    begin_slow_refresh(client, live, work)
    if action == "login":
        assert httpx.get(redirect).status_code == 200
        client.call("login_result", {"login_id": login["login_id"]})
    else:
        client.import_refresh_token(another, work)
    new, stored = client.token(work).access_token, live.stored_refresh_token(work)
    assert record(client, work)["epoch"] == 2
    assert stored != old
    provider.release()
    # The replaced token and the late one: revoking them might end the new session.
    live.agent.until_logged(f"revoke account={work} revoked=False", 2)
    assert provider.count(provider.paths["revocation"]) == 0
    until(partial(is_settled, client, work))
    assert (client.token(work).access_token, live.stored_refresh_token(work)) == (new, stored)
    assert_session_continues(client, live, work)
    assert_no_token_reused(provider)


@pytest.mark.usefixtures("alone")
def test_a_logout_during_a_login_prevails(live: LiveAgent, work: str, client: Agent) -> None:
    log_in_and_save(client, live, work)
    login = begin_login(client, work)
    with live.agent.client() as other:
        assert other.logout(work).revoked
    page = live.provider.enter(str(login["authorization_url"]))
    assert "Not logged in" in page.text
    with pytest.raises(Denied, match="a logout"):
        client.call("login_result", {"login_id": login["login_id"]})
    assert live.provider.count(live.provider.paths["revocation"]) == 2  # the old session's token, and the new one
    assert record(client, work)["state"] == "logged_out"
    assert live.stored_refresh_token(work) is None


CHANGES: dict[str, Callable[[Mapping[str, object]], dict[str, object] | None]] = {
    "removed": lambda _: None,
    "given to another client": lambda keys: {**keys, "client_id": "second-app"},
    "given to another provider": lambda keys: {**keys, "issuer": "https://acme.example/"},
}


@pytest.mark.parametrize("change", CHANGES)
def test_a_refresh_during_an_account_change_is_kept_until_the_account_returns(
    change: str, live: LiveAgent, work: str, client: Agent
) -> None:
    keys = live.accounts[work]
    old = log_in_and_save(client, live, work)
    begin_slow_refresh(client, live, work)
    live.configure(work, CHANGES[change](keys))
    with pytest.raises(errors.AgentError):
        client.token(work)
    live.provider.release()
    until(lambda: live.stored_refresh_token(work) not in (None, old))  # by then the provider has replaced the old one
    live.configure(work, keys)
    assert record(client, work)["state"] == "ready"
    assert_session_continues(client, live, work)
    if change == "removed":
        live.configure(work, None)
        live.restart()
        live.configure(work, keys)
        until(partial(is_in_state, client, work, "ready"))
        assert_session_continues(client, live, work)
    assert_no_token_reused(live.provider)
    assert not live.agent.logged("defect")
