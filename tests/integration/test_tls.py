"""TLS: what the system trusts, or the file that a person names; and nothing else."""

from collections.abc import Callable
from pathlib import Path

import pytest

from auth_agent_client import Unavailable
from tests.integration.agent_process import AgentProcess
from tests.integration.conftest import account, log_in
from tests.op.provider import OpenIDProvider


@pytest.fixture
def provider(authority: Path, start_provider: Callable[..., OpenIDProvider]) -> OpenIDProvider:
    """A provider that is served over TLS, by a certificate of that authority."""
    certificate, key = authority.with_name("cert.pem"), authority.with_name("key.pem")
    return start_provider(tls=(certificate, key), ca=authority, access_token_lifetime=3600)


def test_an_authority_in_ssl_cert_file_is_trusted(provider: OpenIDProvider, authority: Path) -> None:
    accounts = {"work": account(provider)}
    with AgentProcess(accounts, environment={"SSL_CERT_FILE": str(authority)}) as agent, agent.client() as client:
        log_in(client, provider)
        assert client.token().access_token


def test_an_unknown_authority_is_not_trusted(provider: OpenIDProvider) -> None:
    tokens = provider.login()
    assert tokens.refresh_token is not None
    provider.reset()
    with (
        AgentProcess({"work": account(provider)}, environment={"SSL_CERT_FILE": ""}) as agent,
        agent.client() as client,
        pytest.raises(Unavailable, match="certificate"),
    ):
        client.import_refresh_token(tokens.refresh_token)
    assert provider.requests() == []


def test_a_port_without_tls_is_called_that(start_provider: Callable[..., OpenIDProvider]) -> None:
    plain = start_provider()
    wrong = account(plain, issuer=plain.issuer.replace("http:", "https:"), redirect_ports=[0])
    with (
        AgentProcess({"work": wrong}) as agent,
        agent.client() as client,
        pytest.raises(Unavailable, match=r"it does not use TLS at this port: is its URL http://\?"),
    ):
        client.login("work")


@pytest.mark.parametrize("what", ["nothing", "a directory", "no certificate"])
def test_an_ssl_cert_file_that_is_not_a_file_is_an_error(what: str, tmp_path: Path) -> None:
    file = tmp_path / "ca.pem"
    if what == "a directory":
        file.mkdir()
    elif what == "no certificate":
        file.write_text("hello")
    with AgentProcess(environment={"SSL_CERT_FILE": str(file)}, started=False) as agent:
        result = agent.run("run")
    assert result.returncode == 1
    assert "SSL_CERT_FILE" in result.stderr
    assert str(file) in result.stderr
    assert "Traceback" not in result.stderr
