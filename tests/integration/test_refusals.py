"""Refusals that are no end, and tokens that are not for keeping, at a real provider."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest

from auth_agent_client import Agent, Denied, LoginRequired, Token, Unsupported
from tests.integration.agent_process import AgentProcess, until
from tests.integration.conftest import account, is_served, log_in, record
from tests.integration.keyring_session import KeyringSession
from tests.integration.test_login import ANY, begin, failure
from tests.op.provider import OpenIDProvider

NOT_NOW = {"error": "invalid_grant", "error_description": "AADSTS53003", "suberror": "message_only"}
OTHER = "https://other.example"


def test_a_session_that_is_refused_for_now_needs_a_login_and_heals(
    client: Agent, agent: AgentProcess, start_provider: Callable[..., OpenIDProvider]
) -> None:
    provider = start_provider(access_token_lifetime=2)
    agent.configure({"work": account(provider)})
    client.reload()
    log_in(client, provider)
    provider.fault("status", status=400, body=NOT_NOW, times=None)
    until(lambda: record(client)["state"] == "login_required")
    with pytest.raises(LoginRequired) as caught:
        client.token("work")
    assert caught.value.failure == "refused"
    result = agent.run("token", "work")
    assert result.returncode == 4
    provider.clear_faults()
    assert agent.run("refresh", "work").returncode == 0
    until(lambda: record(client)["state"] == "ready")


@pytest.mark.parametrize("refusal", [NOT_NOW, {"error": "interaction_required"}], ids=["not now", "interaction"])
def test_a_refused_session_is_kept_over_a_crash_and_heals_in_the_next_agent(
    refusal: dict[str, str], start_provider: Callable[..., OpenIDProvider]
) -> None:
    provider = start_provider(access_token_lifetime=2)
    keys = {"work": account(provider)}
    with KeyringSession() as keyring, AgentProcess(keys, environment=keyring.environment, store="keyring") as agent:
        with agent.client() as client:
            log_in(client, provider)
            until(lambda: keyring.read() is not None)
            provider.fault("status", status=400, body=refusal, times=None)
            until(lambda: record(client)["state"] == "login_required")
        agent.kill()
        agent.start()
        with agent.client() as client:
            until(lambda: record(client)["state"] == "login_required")
            provider.clear_faults()
            assert agent.run("refresh", "work").returncode == 0
            until(lambda: is_served(client, provider))


def test_a_device_login_ends_with_any_definite_error(
    agent: AgentProcess, start_provider: Callable[..., OpenIDProvider]
) -> None:
    provider = start_provider(device_interval=1)
    agent.configure({"work": account(provider)})
    with agent.client() as client:
        client.reload()
        provider.fault("status", status=400, body={"error": "authorization_declined"})
        error = failure(client, begin(client, flow="device"))
    assert isinstance(error, Denied)
    assert error.failure == "refused"


def test_each_request_for_a_token_of_one_use_gets_its_own(provider: OpenIDProvider, client: Agent) -> None:
    log_in(client, provider)
    provider.fault("merge", set={"token_type": "N_A"}, audience=OTHER, times=None)

    def ask(_: int) -> Token:
        return client.token("work", audience=OTHER)

    with ThreadPoolExecutor(3) as threads:
        tokens = list(threads.map(ask, range(3)))
    assert len({token.access_token for token in tokens}) == len(tokens)
    assert not client.has_valid("work", audience=OTHER)
    main = client.token("work")
    assert (main.token_type, provider.userinfo(main.access_token).status_code) == ("Bearer", 200)


def test_a_token_that_needs_a_proof_is_not_served(provider: OpenIDProvider, agent: AgentProcess) -> None:
    agent.configure({"work": account(provider, **ANY)})
    with agent.client() as client:
        client.reload()
        provider.fault("merge", set={"token_type": "DPoP"})
        login = begin(client)
        assert provider.enter(str(login["authorization_url"])).status_code == 200
        error = failure(client, login)
    assert isinstance(error, Unsupported)
    assert error.failure == "unsupported"
