"""What holds for one login alone, and what an account adds to its requests, at real providers."""

import tomllib
from collections.abc import Generator
from urllib.parse import parse_qs, urlsplit

import pytest

from auth_agent_client import InvalidRequest
from tests.integration.agent_process import AgentProcess
from tests.integration.conftest import account
from tests.integration.plain_provider import CLIENT, PlainProvider
from tests.integration.terminal import Terminal
from tests.integration.test_login import ANY, address, begin, result
from tests.integration.test_login_command import ADDRESS, NO_BROWSER, at_terminal
from tests.op.provider import OpenIDProvider

LINK = "https://acme.example/login?invitation=ticket-1&organization=org_abc&organization_name=acme"


@pytest.fixture
def agent(provider: OpenIDProvider) -> Generator[AgentProcess, None, None]:
    """An agent whose account has parameters of its own, and no browser."""
    with AgentProcess({"work": account(provider, **ANY)}) as process:
        process.environment.update(NO_BROWSER)
        add(process, 'authorize = { ui_locales = "de", login_hint = "anna" }')
        yield process


def add(agent: AgentProcess, *lines: str) -> None:
    """Add lines to the configuration, at its end, and have it read."""
    agent.config.write_text(agent.config.read_text() + "\n".join(lines) + "\n")
    assert agent.run("reload").returncode == 0


def asked(url: str) -> dict[str, str]:
    """Return the parameters of an authorization request."""
    return {name: values[0] for name, values in parse_qs(urlsplit(url).query).items()}


def cancelled(terminal: Terminal) -> dict[str, str]:
    """Return what a login asks for, and cancel it."""
    with terminal:
        url = terminal.until(ADDRESS)[0]
        terminal.type("\x03")
        terminal.end()
    return asked(url)


def test_parameters_of_one_login_are_written_nowhere(agent: AgentProcess, provider: OpenIDProvider) -> None:
    before = agent.config.read_bytes()
    once = ("--once", "login_hint=bob", "--once", "acr_values=urn:mfa", "--once", "scope=openid email")
    with at_terminal(agent, "login", "work", *once) as terminal:
        url = terminal.until(ADDRESS)[0]
        provider.enter(url)
        assert terminal.end() == 0, terminal.shown
    query = asked(url)
    assert (query["login_hint"], query["ui_locales"], query["acr_values"]) == ("bob", "de", "urn:mfa")
    assert query["scope"] == "openid email"
    assert agent.config.read_bytes() == before
    assert "login_hint" not in agent.log
    with agent.client() as client:
        assert asked(address(begin(client)))["login_hint"] == "anna"


def test_an_invitation_and_an_organization_are_of_one_login(agent: AgentProcess) -> None:
    before = agent.config.read_bytes()
    query = cancelled(at_terminal(agent, "login", "work", "--invitation", LINK))
    assert (query["invitation"], query["organization"]) == ("ticket-1", "org_abc")
    wrong = agent.run("login", "work", "--invitation", "-", "--organization", "org_xyz", stdin=f"{LINK}\n")
    assert wrong.returncode == 2
    query = cancelled(at_terminal(agent, "login", "work", "--organization", "acme"))
    assert query["organization"] == "acme"
    assert "invitation" not in query
    assert agent.config.read_bytes() == before
    assert "ticket-1" not in agent.log


@pytest.mark.parametrize(
    "options",
    [
        ("--once", "state=x"),
        ("--once", "client_secret=x"),
        ("--once", "x"),
        ("--invitation", "https://acme.example/login?invitation=ticket-1"),
        ("--invitation", "ticket-1"),
    ],
)
def test_a_mistake_in_them_begins_no_login(options: tuple[str, ...], agent: AgentProcess) -> None:
    assert agent.run("login", "work", *options).returncode == 2


def test_a_parameter_of_the_account_is_added_to_the_others(agent: AgentProcess, provider: OpenIDProvider) -> None:
    with at_terminal(
        agent, "login", "work", "--authorize", "login_hint=eva", "--authorize", "prompt=login"
    ) as terminal:
        provider.enter(terminal.until(ADDRESS)[0])
        assert terminal.end() == 0, terminal.shown
    authorize = tomllib.loads(agent.config.read_text())["accounts"]["work"]["authorize"]
    assert authorize == {"ui_locales": "de", "login_hint": "eva", "prompt": "login"}


def test_the_socket_takes_them_and_refuses_the_agents_own(agent: AgentProcess) -> None:
    with agent.client() as client:
        with client.login("work", parameters={"login_hint": "bob"}) as login:
            assert asked(login.authorization_url or "")["login_hint"] == "bob"
        with pytest.raises(InvalidRequest) as caught:
            client.login("work", parameters={"nonce": "x"})
        assert caught.value.parameter == "parameters"


def test_an_account_adds_parameters_and_headers_to_its_requests() -> None:
    with PlainProvider() as provider:
        provider.approved = True
        work = {"issuer": provider.issuer, "client_id": CLIENT, **provider.endpoints}
        with AgentProcess({"work": work}) as agent, agent.client() as client:
            add(
                agent,
                'authorize = { tenant = "acme" }',
                'token_parameters = { tenant = "acme" }',
                'token_headers = { X-Tenant = "acme" }',
            )
            result(client, begin(client, flow="device"))
        forms = dict(provider.requests)
        assert forms["/login/device/code"]["tenant"] == "acme"
        assert forms["/login/oauth/access_token"]["tenant"] == "acme"
        assert {headers["x-tenant"] for headers in provider.token_headers} == {"acme"}
