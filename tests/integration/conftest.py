"""What the tests of the whole share: a provider, and an agent with an account logged in at it."""

from collections.abc import Callable, Generator
from contextlib import ExitStack
from typing import Any

import pytest

from auth_agent_client import Agent, Record
from tests.integration.agent_process import AgentProcess
from tests.op.provider import OpenIDProvider


def account(provider: OpenIDProvider, client_id: str = "native-app", **more: object) -> dict[str, object]:
    """An account of that provider, as the configuration has it."""
    return {"issuer": provider.issuer, "client_id": client_id, **more}


def log_in(agent: Agent, provider: OpenIDProvider, name: str = "work", **how: Any) -> None:
    """Log in at the provider, and hand the session over."""
    tokens = provider.login(**how)
    assert tokens.refresh_token is not None
    agent.import_refresh_token(tokens.refresh_token, name)


def record(client: Agent, name: str = "work") -> Record:
    """The account's record, as `status` tells it."""
    (found,) = client.status(name).accounts
    return found


@pytest.fixture
def start_provider() -> Generator[Callable[..., OpenIDProvider], None, None]:
    """Starts providers that end with the test; its arguments are those of `OpenIDProvider`."""
    with ExitStack() as stack:

        def start(**options: Any) -> OpenIDProvider:
            return stack.enter_context(OpenIDProvider(**options))

        yield start


@pytest.fixture(scope="session")
def shared_provider() -> Generator[OpenIDProvider, None, None]:
    """Started once, since most tests want the same."""
    with OpenIDProvider(access_token_lifetime=3600) as one:
        yield one


@pytest.fixture
def provider(shared_provider: OpenIDProvider) -> OpenIDProvider:
    """A provider with tokens of an hour, rotation, reuse detection and no overlap; without a past."""
    shared_provider.reset()
    return shared_provider


@pytest.fixture
def agent(provider: OpenIDProvider) -> Generator[AgentProcess, None, None]:
    """An agent with the account `work` at that provider, not logged in."""
    with AgentProcess({"work": account(provider)}) as process:
        yield process


@pytest.fixture
def client(agent: AgentProcess) -> Generator[Agent, None, None]:
    """A client of that agent."""
    with agent.client() as one:
        yield one
