"""An agent imports nothing after its start: its package may be gone by then."""

import signal
import sys
from collections.abc import Callable, Generator
from pathlib import Path

import httpx
import pytest

from auth_agent_client import AgentError
from tests.integration.agent_process import AgentProcess
from tests.integration.conftest import account, log_in
from tests.op.provider import OpenIDProvider

UNREACHABLE = {
    "closed": "http://127.0.0.1:1",
    "closed-tls": "https://127.0.0.1:1",
    "unknown": "https://nonexistent.invalid",
    "idn": "https://xn--bcher-kva.invalid",
}


@pytest.fixture
def tls_provider(authority: Path, start_provider: Callable[..., OpenIDProvider]) -> OpenIDProvider:
    tls = (authority.with_name("cert.pem"), authority.with_name("key.pem"))
    return start_provider(tls=tls, ca=authority, access_token_lifetime=3600)


@pytest.fixture
def imports(tmp_path: Path) -> Path:
    """The file in which the agent notes its imports."""
    return tmp_path / "imports"


@pytest.fixture
def agent(
    provider: OpenIDProvider, tls_provider: OpenIDProvider, authority: Path, imports: Path
) -> Generator[AgentProcess]:
    accounts: dict[str, dict[str, object]] = {
        "work": account(provider),
        "device": account(provider),
        "browser": account(provider, redirect_ports=[0]),
        "tls": account(tls_provider),
        **{name: {"issuer": issuer, "client_id": "x"} for name, issuer in UNREACHABLE.items()},
        "proxy": {"issuer": "https://id.example", "client_id": "x", "proxy": "http://127.0.0.1:1"},
    }
    with AgentProcess(
        accounts,
        command=(sys.executable, "-m", "tests.faults.launcher", "--wrap", "tests.faults.late_imports:watched"),
        environment={"LATE_IMPORTS": str(imports), "SSL_CERT_FILE": str(authority)},
        executed=True,
    ) as process:
        process.until_logged(" listening ")
        imports.write_text("")
        yield process


def test_nothing_is_imported_while_the_agent_serves(
    agent: AgentProcess, provider: OpenIDProvider, tls_provider: OpenIDProvider, imports: Path
) -> None:
    def attempt(what: Callable[[], object]) -> None:
        with pytest.raises(AgentError):
            what()

    def imported() -> list[str]:
        return imports.read_text().split()

    with agent.client() as client:
        log_in(client, provider)
        log_in(client, tls_provider, "tls")
        client.profile("work")
        client.id_token("work")
        client.refresh("work")
        assert imported() == []
        attempt(lambda: client.user("work"))
        attempt(lambda: client.token("no such account"))
        attempt(lambda: client.rejected("no such token", "device"))
        client.reload()
        client.status(clients=True)
        attempt(lambda: client.move_store("file"))
        client.lock(passphrase="secret")
        attempt(lambda: client.token("work"))
        attempt(lambda: client.unlock("wrong"))
        client.unlock("secret")
        assert imported() == []
    for name in (*UNREACHABLE, "proxy"):
        with agent.client() as client:  # each connection has a rate limit of its own
            attempt(lambda: client.import_refresh_token("x", name))  # noqa: B023 -- called at once
    assert imported() == []
    with agent.client() as client:
        with client.login("device", flow="device") as login:
            assert login.user_code
        with client.login("browser") as login:
            assert login.authorization_url is not None
            httpx.get(provider.visit(login.authorization_url))
            login.result()
        client.logout("work")
        client.logout("tls")
    assert imported() == []
    agent.process.send_signal(signal.SIGUSR1)
    agent.until_logged(" listening ", 2)
    assert imported() == []
