"""`auth-agent kubectl`: the tokens that kubectl is given, without kubectl."""

import json
import subprocess
import time
from collections.abc import Callable

import pytest

from auth_agent_client import Agent
from tests.integration.agent_process import AgentProcess, until
from tests.integration.conftest import account, log_in
from tests.op.provider import TOKEN_ROUTE, OpenIDProvider

SERVER = "https://k8s.example.com:6443"
RULE = f'\n[hosts."{SERVER}"]\naccount = "work"\n'


def ask(agent: AgentProcess, server: str, *options: str) -> "subprocess.CompletedProcess[str]":
    """Run the command as kubectl does."""
    info = {"apiVersion": "client.authentication.k8s.io/v1", "kind": "ExecCredential"}
    agent.environment["KUBERNETES_EXEC_INFO"] = json.dumps({**info, "spec": {"cluster": {"server": server}}})
    return agent.run("kubectl", *options)


def status(result: "subprocess.CompletedProcess[str]") -> dict[str, str]:
    assert (result.returncode, result.stderr) == (0, "")
    content: dict[str, str] = json.loads(result.stdout)["status"]
    return content


def end_of(timestamp: str) -> float:
    return time.mktime(time.strptime(timestamp, "%Y-%m-%dT%H:%M:%SZ")) - time.timezone


@pytest.fixture
def mapped(agent: AgentProcess, client: Agent, provider: OpenIDProvider) -> AgentProcess:
    """An agent with two accounts, and the cluster's rule for the one that is not the default."""
    return set_up(agent, client, provider)


def set_up(agent: AgentProcess, client: Agent, provider: OpenIDProvider) -> AgentProcess:
    agent.configure({"home": account(provider, default=True), "work": account(provider)})
    agent.config.write_text(f"{agent.config.read_text()}{RULE}")
    client.reload()
    log_in(client, provider, "work")
    log_in(client, provider, "home")
    return agent


def test_the_account_is_that_of_the_cluster(mapped: AgentProcess, client: Agent) -> None:
    token, id_token = client.token("work"), client.id_token("work")
    given = status(ask(mapped, SERVER))
    assert given["token"] == token.access_token
    assert token.expires_at is not None
    assert end_of(given["expirationTimestamp"]) == int(token.expires_at) - 60
    assert status(ask(mapped, SERVER, "--id-token"))["token"] == id_token.id_token


@pytest.mark.parametrize(
    ("server", "code"),
    [
        ("https://k8s.example.com", 6),
        ("https://evil.example:6443", 6),
        ("https://k8s.example.com:6443@evil.example", 2),
        ("http://k8s.example.com:6443", 2),
        ("\ud800", 2),
        ("", 6),
    ],
)
def test_another_cluster_gets_no_token(mapped: AgentProcess, server: str, code: int) -> None:
    for options in ((), ("--id-token",)):
        result = ask(mapped, server, *options)
        assert (result.returncode, result.stdout) == (code, "")
        assert result.stderr.startswith("auth-agent: ")
        assert "Traceback" not in result.stderr


def test_a_person_is_told_who_starts_it(agent: AgentProcess) -> None:
    agent.environment.pop("KUBERNETES_EXEC_INFO", None)
    result = agent.run("kubectl")
    assert (result.returncode, result.stdout) == (2, "")
    assert "kubectl starts this command" in result.stderr


def test_a_token_of_less_than_a_minute_is_given_too(start_provider: Callable[..., OpenIDProvider]) -> None:
    provider = start_provider(access_token_lifetime=62)
    with AgentProcess() as agent, agent.client() as client:
        set_up(agent, client, provider)
        token = client.token("work")
        provider.fault("status", route=TOKEN_ROUTE, times=None, status=503)
        until(lambda: time.time() > (token.expires_at or 0) - 59)
        given = status(ask(agent, SERVER))
    assert given["token"] == token.access_token
    assert end_of(given["expirationTimestamp"]) < time.time()
