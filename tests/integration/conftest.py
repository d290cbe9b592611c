"""What the integration tests share: a provider, and an agent with an account at it."""

from collections.abc import Callable, Generator
from contextlib import ExitStack, contextmanager, suppress
from http import HTTPStatus
from pathlib import Path
from typing import Any

import pytest
import trustme

from auth_agent_client import Agent, Record, Unavailable
from tests.integration.agent_process import PATIENCE, AgentProcess
from tests.op.provider import OpenIDProvider


def account(provider: OpenIDProvider, client_id: str = "native-app", **more: object) -> dict[str, object]:
    """Return the keys of an account at that provider, as in the configuration."""
    return {"issuer": provider.issuer, "client_id": client_id, **more}


def log_in(agent: Agent, provider: OpenIDProvider, name: str = "work", **how: Any) -> None:
    """Log in at the provider, and import the refresh token."""
    tokens = provider.login(**how)
    assert tokens.refresh_token is not None
    agent.import_refresh_token(tokens.refresh_token, name)


def record(client: Agent, name: str = "work") -> Record:
    """Return the account's record, as `status` returns it."""
    (result,) = client.status(name).accounts
    return result


def is_served(client: Agent, provider: OpenIDProvider, name: str = "work") -> bool:
    """Return whether a token is served that the provider takes; one of seconds may end on its way to either."""
    with suppress(Unavailable):
        return provider.userinfo(client.token(name).access_token).status_code == HTTPStatus.OK
    return False


class ProviderPool(ExitStack):
    """Providers that no test uses at the moment, by their options: each was started once."""

    def __init__(self) -> None:
        super().__init__()
        self._idle: dict[frozenset[tuple[str, object]], list[OpenIDProvider]] = {}

    @contextmanager
    def lend(self, **options: Any) -> Generator[OpenIDProvider, None, None]:
        """Lend a provider with these options and without a past."""
        idle = self._idle.setdefault(frozenset(options.items()), [])
        provider = idle.pop() if idle else self.enter_context(OpenIDProvider(**options))
        provider.reset()
        provider.set_clock(options.get("clock_offset", 0))
        try:
            yield provider
        finally:
            idle.append(provider)


@pytest.fixture(scope="session")
def provider_pool() -> Generator[ProviderPool, None, None]:
    """The providers that tests share, one after the other."""
    with ProviderPool() as pool:
        yield pool


@pytest.fixture
def start_provider(provider_pool: ProviderPool) -> Generator[Callable[..., OpenIDProvider], None, None]:
    """Starts providers that are the test's until it ends; its arguments are those of `OpenIDProvider`."""
    with ExitStack() as stack:

        def start(**options: Any) -> OpenIDProvider:
            return stack.enter_context(provider_pool.lend(**options))

        yield start


@pytest.fixture
def provider(provider_pool: ProviderPool) -> Generator[OpenIDProvider, None, None]:
    """A provider with tokens of an hour, rotation, reuse detection and no overlap; without a past."""
    with provider_pool.lend(access_token_lifetime=3600) as one:
        yield one


@pytest.fixture
def agent(provider: OpenIDProvider) -> Generator[AgentProcess, None, None]:
    """An agent with the account `work` at that provider, not logged in."""
    with AgentProcess({"work": account(provider)}) as process:
        yield process


@pytest.fixture(scope="module")
def lasting_agent(provider_pool: ProviderPool) -> Generator[AgentProcess, None, None]:
    """An agent that is logged in, for all tests of a file that leave it as it is."""
    with (
        provider_pool.lend(access_token_lifetime=3600) as provider,
        AgentProcess({"work": account(provider)}) as process,
    ):
        with process.client() as client:
            log_in(client, provider)
        yield process


@pytest.fixture(autouse=True, scope="session")
def patient_clients() -> Generator[None, None, None]:
    """Let clients of the test's own process wait for an agent on a busy machine, such as one that restarts."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("auth_agent_client.call._GRACE", PATIENCE)
        yield


@pytest.fixture(scope="module")
def patient_stores() -> Generator[None, None, None]:
    """Give the workers of the test's own process, which are executed, as long as a busy machine takes."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("auth_agent.worker.process._REAP_PATIENCE", PATIENCE)
        patch.setattr("auth_agent.storage.keyring._LIMIT", PATIENCE)
        yield


@pytest.fixture
def client(agent: AgentProcess) -> Generator[Agent, None, None]:
    """A client of that agent."""
    with agent.client() as one:
        yield one


@pytest.fixture
def authority(tmp_path: Path) -> Path:
    """A certificate authority's file."""
    authority = trustme.CA()
    certificate = authority.issue_cert("127.0.0.1")
    certificate.cert_chain_pems[0].write_to_path(tmp_path / "cert.pem")
    certificate.private_key_pem.write_to_path(tmp_path / "key.pem")
    authority.cert_pem.write_to_path(tmp_path / "ca.pem")
    return tmp_path / "ca.pem"
