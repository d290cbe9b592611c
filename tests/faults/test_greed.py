"""A program that takes what all need, beside another one: that gets what it asks for, whatever the first one does."""

import os
import shutil
import time
from collections.abc import Generator
from contextlib import closing

import pytest

from auth_agent.host.program_id import read_origin
from auth_agent_client import Agent
from auth_agent_client.errors import InvalidRequest
from auth_agent_client.wire import Response
from tests.faults.bystander import resident
from tests.faults.greed import GREEDS, GROWTH, MANAGEMENT, PREY, greedy
from tests.faults.hostility import Raw
from tests.free_ports import free_ports
from tests.integration.agent_process import AgentProcess, until
from tests.integration.conftest import account, log_in
from tests.op.provider import OpenIDProvider

NAMES = {name: f"account-{number}" for number, name in enumerate([*GREEDS, "container"])}


@pytest.fixture(scope="module")
def provider() -> Generator[OpenIDProvider]:
    """Start a provider with long-lived tokens."""
    with OpenIDProvider(access_token_lifetime=3600) as one:
        yield one


@pytest.fixture(scope="module")
def agent(provider: OpenIDProvider) -> Generator[AgentProcess]:
    """Start an agent with an account for each greedy program, for this one to share, and some of its own."""
    ports = free_ports(2)
    managed = {"audience": provider.management_audience, "scope": MANAGEMENT}
    accounts = {name: account(provider, redirect_ports=[0], **managed) for name in NAMES.values()}
    accounts |= {f"{PREY}-{number}": account(provider, redirect_ports=ports) for number in range(2)}
    accounts[NAMES["ports"]]["redirect_ports"] = ports
    accounts[PREY] = account(provider, redirect_ports=[0], default=True)
    with AgentProcess(accounts, environment={"AUTH_AGENT_LOG": "info"}, executed=True) as process:
        with process.client() as client:
            for name in NAMES.values():
                log_in(client, provider, name, **managed)
        # Younger programs have one share together, and the greedy ones are young.
        origin = read_origin(os.getpid())
        until(lambda: origin.since is None or time.clock_gettime(time.CLOCK_BOOTTIME) - origin.since > 10)
        yield process
        assert process.logged("defect|Traceback") == []
        assert process.terminate() == 0


def assert_everything_is_granted(agent: AgentProcess, provider: OpenIDProvider, name: str) -> None:
    """Assert that this program gets a token, a refresh, its user, a watch, a login and a logout."""
    with Agent(str(agent.socket)) as client:
        before = client.token(name).access_token
        assert client.refresh(name).access_token != before
        assert client.user(name)
        with closing(client.watch([name])) as changes:
            assert next(changes).account == name
        with client.login(name) as login:
            assert login.authorization_url is not None
            provider.enter(login.authorization_url)
            assert login.result().state == "ready"
        client.logout(name)
        assert client.status(name).accounts[0].state == "logged_out"


@pytest.mark.parametrize("name", GREEDS)
def test_beside_a_greedy_program_another_one_gets_what_it_asks_for(
    name: str, agent: AgentProcess, provider: OpenIDProvider
) -> None:
    before = resident(agent.process.pid)
    with greedy(name, agent.socket, NAMES[name]):
        assert_everything_is_granted(agent, provider, NAMES[name])
        assert resident(agent.process.pid) - before < GROWTH


@pytest.mark.skipif(
    os.geteuid() != 0 or shutil.which("unshare") is None, reason="needs root, and unshare of util-linux"
)
def test_beside_a_greedy_container_another_program_gets_what_it_asks_for(
    agent: AgentProcess, provider: OpenIDProvider
) -> None:
    name = NAMES["container"]
    with greedy("refreshes", agent.socket, name, launcher=("unshare", "--pid", "--fork", "--kill-child")):
        assert_everything_is_granted(agent, provider, name)


def test_beside_many_half_messages_another_program_may_finish_its_own(agent: AgentProcess) -> None:
    with Raw(str(agent.socket)) as raw:
        raw.result("hello")
        message = raw.wire.request("hello", {"client": "x" * 1_000_000})[1]
        raw.send(message[:-1])  # more than any connection of the greedy program has
        with greedy("half messages", agent.socket, PREY):
            raw.send(message[-1:])
            response = raw.read()
            assert isinstance(response, Response)
            assert isinstance(response.error, InvalidRequest)  # for the length of the name
