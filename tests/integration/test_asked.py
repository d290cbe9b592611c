"""What a login asked for, and what a refresh brings, at a real provider."""

from collections.abc import Generator

import pytest

from auth_agent_client import Agent, Denied, LoginRequired
from tests.integration.agent_process import AgentProcess, until
from tests.integration.conftest import account, record
from tests.integration.keyring_session import KeyringSession
from tests.integration.test_login import ANY, address, begin, failure, result
from tests.op.provider import OpenIDProvider


@pytest.fixture
def agent(provider: OpenIDProvider) -> Generator[AgentProcess, None, None]:
    with AgentProcess({"work": account(provider, **ANY)}) as process:
        yield process


def log_in(client: Agent, provider: OpenIDProvider, got: str, asked: str = "org_abc") -> dict[str, object]:
    """Ask for an organization, and get one; return the login."""
    login = begin(client, parameters={"organization": asked})
    provider.fault("merge", claims={"org_id": got}, grant_type="authorization_code")
    provider.enter(address(login))
    return login


def test_the_login_to_another_organization_is_refused_and_the_session_stays(
    client: Agent, provider: OpenIDProvider
) -> None:
    assert result(client, log_in(client, provider, "org_abc"))["state"] == "ready"
    before, token = record(client), client.token("work").access_token
    error = failure(client, log_in(client, provider, "org_xyz"))
    assert isinstance(error, Denied)
    assert (record(client)["epoch"], client.token("work").access_token) == (before["epoch"], token)
    assert provider.userinfo(client.refresh("work").access_token).status_code == 200


def test_the_tokens_of_another_organization_are_never_served(client: Agent, provider: OpenIDProvider) -> None:
    result(client, log_in(client, provider, "org_abc"))
    provider.fault("merge", claims={"org_id": "org_xyz"}, grant_type="refresh_token")
    with pytest.raises(Exception, match="organization"):
        client.refresh("work")
    assert (record(client)["state"], record(client)["failure"]) == ("login_required", "wrong_user")


def test_a_claim_that_the_account_requires(agent: AgentProcess, provider: OpenIDProvider) -> None:
    agent.config.write_text(agent.config.read_text() + 'require_claims = { team = "red" }\n')
    with agent.client() as client:
        client.reload()
        for team in ("blue", "red"):
            login = begin(client)
            provider.fault("merge", claims={"team": team}, grant_type="authorization_code")
            provider.enter(address(login))
            if team == "red":
                assert result(client, login)["state"] == "ready"
            else:
                assert isinstance(failure(client, login), Denied)


def test_a_claim_that_is_required_after_the_login_blocks_the_session_while_it_is(
    provider: OpenIDProvider,
) -> None:
    keys = {"work": account(provider, **ANY)}
    with KeyringSession() as keyring, AgentProcess(keys, environment=keyring.environment, store="keyring") as agent:
        with agent.client() as client:
            login = begin(client)
            provider.enter(address(login))
            token = result(client, login) and client.token("work").access_token
            configuration = agent.config.read_text()
            agent.config.write_text(configuration + 'require_claims = { team = "red" }\n')
            client.reload()
            assert (record(client)["state"], record(client)["reason"]) == ("login_required", "claims_missing")
            with pytest.raises(LoginRequired, match="require_claims"):
                client.token("work")
            until(lambda: keyring.read() is not None)
        agent.kill()
        agent.start()
        with agent.client() as client:
            until(lambda: record(client)["state"] == "login_required")
            agent.config.write_text(configuration)
            client.reload()
            assert client.token("work").access_token == token
            assert provider.userinfo(client.refresh("work").access_token).status_code == 200


def test_an_id_token_that_differs_otherwise_costs_the_session_nothing(client: Agent, provider: OpenIDProvider) -> None:
    login = begin(client)
    provider.enter(address(login))
    result(client, login)
    before = client.id_token("work").id_token
    provider.fault("merge", claims={"azp": "another-app"}, grant_type="refresh_token")
    token = client.refresh("work").access_token
    assert provider.userinfo(token).status_code == 200
    assert client.id_token("work").id_token == before
    assert (record(client)["state"], record(client)["failure"]) == ("ready", "invalid_response")
    client.refresh("work")
    assert record(client)["failure"] is None
