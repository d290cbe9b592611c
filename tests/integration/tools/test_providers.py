"""Real providers that end and narrow tokens at each refresh: a login, half a minute of use, and a logout."""

import threading
import time
from collections.abc import Generator
from contextlib import contextmanager

import pytest

from auth_agent_client import Agent, Denied, Unsupported
from tests.integration.agent_process import AgentProcess, until
from tests.integration.conftest import record
from tests.integration.test_login import address, begin, result
from tests.integration.tools.real_providers import DjangoOAuthToolkit, Doorkeeper, Glewlwyd, RealProvider

LIFETIME = 8  # s


@pytest.fixture(params=[DjangoOAuthToolkit, Doorkeeper, Glewlwyd])
def provider(request: pytest.FixtureRequest) -> Generator[RealProvider, None, None]:
    with request.param(LIFETIME) as provider:
        yield provider


@pytest.fixture
def agent(provider: RealProvider) -> Generator[AgentProcess, None, None]:
    with AgentProcess({"work": provider.account()}) as agent:
        yield agent


@pytest.fixture
def client(agent: AgentProcess, provider: RealProvider) -> Generator[Agent, None, None]:
    """A client of an agent that is logged in."""
    with agent.client() as client:
        log_in(client, provider)
        yield client


def log_in(client: Agent, provider: RealProvider) -> None:
    login = begin(client, **({} if provider.secret is None else {"client_secret": provider.secret}))
    assert provider.enter(address(login)).status_code == 200
    result(client, login)


def scopes(client: Agent) -> set[str]:
    return set((client.token("work").scope or "").split())


def has_refreshed(client: Agent, times: int) -> bool:
    refreshes = record(client)["refreshes"]
    return isinstance(refreshes, int) and refreshes >= times


def test_a_login_has_what_was_asked_for(provider: RealProvider, client: Agent) -> None:
    token = client.token("work")
    assert provider.takes(token.access_token)
    assert scopes(client) == set(provider.scope.split())
    subject = record(client)["subject"]
    assert subject
    assert client.profile("work").sub == subject


class Program(threading.Thread):
    """A program that uses each token for as long as it was promised, and does with a rejected one what it should."""

    def __init__(self, agent: AgentProcess, provider: RealProvider, min_ttl: float | None) -> None:
        super().__init__()
        self._client = agent.client()
        self._provider = provider
        self._min_ttl = min_ttl
        self.is_over = threading.Event()
        self.calls = 0
        # Of each token that was dead within its promise: how many seconds after it came.
        self.broken: list[float] = []
        # What `rejected` brought, where that was dead, too.
        self.failures: list[str] = []

    def run(self) -> None:
        with self._client as client:
            while not self.is_over.is_set():
                token = client.token("work", min_ttl=self._min_ttl)
                came = time.monotonic()
                while time.monotonic() - came < (self._min_ttl or 1.0) and not self.is_over.is_set():
                    self.calls += 1
                    if not self._provider.takes(token.access_token):
                        if self._min_ttl is not None:
                            self.broken.append(time.monotonic() - came)
                        self._reject(client, token.access_token)
                        break

    def _reject(self, client: Agent, access_token: str) -> None:
        try:
            token = client.rejected(access_token, "work")
        except Exception as error:  # noqa: BLE001 -- each is a failure of the test, which shows it
            self.failures.append(repr(error))
            return
        if not self._provider.takes(token.access_token):
            self.failures.append("dead")


def test_what_a_refresh_ends_is_found_out_where_the_provider_is_not_recognized() -> None:
    provider = DjangoOAuthToolkit(60, path="sso")
    with agent_of(provider) as client:
        log_in(client, provider)
        old, new = client.token("work").access_token, client.refresh("work").access_token
        assert not provider.takes(old)
        assert record(client)["refresh_ends_access_token"] is False
        assert client.rejected(old, "work").access_token == new
        until(lambda: record(client)["refresh_ends_access_token"] is True)
        assert provider.takes(new)


@pytest.mark.slow
def test_promises_hold_while_tokens_rotate(provider: RealProvider, agent: AgentProcess, client: Agent) -> None:
    programs = [Program(agent, provider, min_ttl) for min_ttl in (None, 2.0)]
    for program in programs:
        program.start()
    try:
        until(lambda: has_refreshed(client, 5), timeout=90)
    finally:
        for program in programs:
            program.is_over.set()
            program.join()
    assert [program.failures for program in programs] == [[], []]
    assert [program.broken for program in programs] == [[], []]
    assert all(program.calls for program in programs)
    assert scopes(client) == set(provider.scope.split())


def test_fewer_scopes_and_another_api_cost_the_session_nothing(provider: RealProvider, client: Agent) -> None:
    main = client.token("work")
    fewer = client.token("work", scope="openid read")
    assert (fewer.access_token, fewer.scope) == (main.access_token, main.scope)
    with pytest.raises(Denied):
        client.token("work", scope="write")
    with pytest.raises(Denied):
        client.token("work", audience="https://api.example")
    assert record(client)["refreshes"] == 0
    until(lambda: has_refreshed(client, 2))
    token = client.token("work")
    assert provider.takes(token.access_token)
    assert scopes(client) == set(provider.scope.split())
    assert record(client)["failure"] is None


def test_the_default_scope_asks_for_nothing_that_the_provider_refuses(
    provider: RealProvider, agent: AgentProcess, client: Agent
) -> None:
    keys = provider.account()
    del keys["scope"]
    agent.configure({"work": keys})
    client.reload()
    log_in(client, provider)
    assert provider.takes(client.token("work").access_token)
    assert record(client)["missing"] == []


def test_a_logout_ends_it_at_the_provider(provider: RealProvider, client: Agent) -> None:
    token = client.token("work").access_token
    assert client.logout("work").revoked
    assert provider.takes(token) is not provider.revokes_access_tokens


@contextmanager
def agent_of(provider: RealProvider) -> Generator[Agent, None, None]:
    """A client of an agent with an account at that provider, not logged in."""
    with provider, AgentProcess({"work": provider.account()}) as agent, agent.client() as client:
        yield client


def test_a_secret_that_url_encoding_changes_is_sent_as_the_provider_reads_it() -> None:
    """It takes Basic's user and password as they are, where RFC 6749, section 2.3.1, has them encoded."""
    provider = Glewlwyd(60, secret="s3c+ret/=%:")
    with agent_of(provider) as client:
        log_in(client, provider)
        assert provider.takes(client.refresh("work").access_token)


def test_required_pushed_requests_are_refused_before_a_page_is_opened() -> None:
    provider = Glewlwyd(60, parameters={"oauth-par-required": True})
    with agent_of(provider) as client:
        with pytest.raises(Unsupported) as caught:
            begin(client, client_secret=provider.secret)
        assert caught.value.failure == "unsupported"
