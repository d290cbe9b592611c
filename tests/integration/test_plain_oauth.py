"""Providers of OAuth 2 alone: without discovery, or with RFC 8414's; without an ID token, so nobody may be known."""

import json
from collections.abc import Generator

import httpx
import pytest

from auth_agent import remedies
from auth_agent_client import Agent
from auth_agent_client.errors import Denied, Unsupported
from tests.integration.agent_process import AgentProcess
from tests.integration.plain_provider import CLIENT, PlainProvider
from tests.integration.test_remedies import at_terminal, set_environment

SCOPE = "read:user repo"


@pytest.fixture
def plain() -> Generator[PlainProvider, None, None]:
    """A provider in GitHub's manner."""
    with PlainProvider() as provider:
        yield provider


@pytest.fixture
def client(agent: AgentProcess) -> Generator[Agent, None, None]:
    """A client of the agent."""
    with agent.client() as connected:
        yield connected


@pytest.fixture
def agent() -> Generator[AgentProcess, None, None]:
    """An agent without accounts; commands have no browser, and auth-agent in PATH."""
    with AgentProcess({}) as process:
        set_environment(process)
        yield process


def log_in(client: Agent, name: str = "work", *, switch_user: bool = False) -> None:
    """Log in, as a person in a browser does."""
    with client.login(name, switch_user=switch_user) as login:
        httpx.get(str(login.authorization_url), follow_redirects=True)
        login.result()


def options(provider: PlainProvider) -> list[str]:
    """Return the options of the provider's endpoints, as the README has GitHub's."""
    return [word for key, url in provider.endpoints.items() for word in (f"--{key.replace('_', '-')}", url)]


def test_a_login_with_endpoints_by_hand_on_another_device(agent: AgentProcess, plain: PlainProvider) -> None:
    command = ["auth-agent", "login", "github", "--issuer", plain.issuer, "--client-id", CLIENT, "--scope", SCOPE]
    with at_terminal(agent, [*command, *options(plain), "--flow", "device"]) as terminal:
        terminal.until("WDJB-MJHT")
        plain.approved = True
        assert terminal.end() == 0, terminal.shown
    assert "Logged in to github as octocat." in terminal.shown
    assert terminal.shown.count("no ID token") == 1
    assert terminal.shown.count("--switch-user") == 1
    assert not [path for path in plain.paths() if "well-known" in path]
    token = agent.run("token", "github").stdout.strip()
    assert token in plain.tokens
    profile = agent.run("profile", "github", "--json")
    assert json.loads(profile.stdout)["id"] == 583231
    id_token = agent.run("id-token", "github")
    assert (id_token.returncode, "issues no ID tokens" in id_token.stderr) == (1, True)


def test_nobody_known_is_replaced_by_switch_user_alone(
    agent: AgentProcess, client: Agent, plain: PlainProvider
) -> None:
    agent.configure({"work": {"issuer": plain.issuer, "client_id": CLIENT, "redirect_ports": [0], **plain.endpoints}})
    client.reload()
    log_in(client)
    before = client.token()
    with pytest.raises(Denied) as raised:
        log_in(client)
    assert (raised.value.failure, raised.value.remedy) == ("wrong_user", (remedies.switch_user("work"),))
    assert client.token().access_token == before.access_token
    log_in(client, switch_user=True)
    assert client.token().access_token != before.access_token
    # Without a document and without a scope in the account, the provider's own default scope is requested.
    assert [form for path, form in plain.requests if path.endswith("/authorize") and "scope" in form] == []


@pytest.mark.parametrize("path", ["", "/tenant/one"])
def test_a_login_by_rfc_8414_s_document(agent: AgentProcess, client: Agent, path: str) -> None:
    user = {"sub": "7", "name": "Alice"}
    with PlainProvider(user=user, document={"scopes_supported": ["profile", "repo"]}, path=path) as provider:
        agent.configure({"work": {"issuer": provider.issuer, "client_id": CLIENT, "redirect_ports": [0]}})
        client.reload()
        log_in(client)
        record = client.status().accounts[0]
        assert (record.state, record.subject, record.name) == ("ready", "7", "Alice")
        assert record.missing == ("id_token", "refresh_token")
        log_in(client)  # by the same user
        scopes = [form["scope"] for where, form in provider.requests if where.endswith("/authorize")]
        assert scopes == ["profile", "profile"]
        with pytest.raises(Unsupported):
            client.user()
