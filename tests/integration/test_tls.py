"""TLS: what the system trusts, or the file that a person names; and nothing else."""

import json
import ssl
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any, Self
from urllib.parse import parse_qs

import pytest
import trustme

from auth_agent import remedies
from auth_agent_client import Misconfigured, Unavailable
from tests.integration.agent_process import AgentProcess, until
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


def test_the_remedy_of_an_unknown_authority_is_to_trust_it(provider: OpenIDProvider, authority: Path) -> None:
    remedy = remedies.trust_and_log_in("work")
    with (
        AgentProcess({"work": account(provider, redirect_ports=[0])}, environment={"SSL_CERT_FILE": ""}) as agent,
        agent.client() as client,
    ):
        with pytest.raises(Unavailable, match="certificate") as caught:
            client.login("work")
        assert (caught.value.failure, caught.value.remedy[0]) == ("unreachable", remedy)
        assert provider.requests() == []
        with agent.begin(*remedy.command[1:], "--ca-file", str(authority), "--flow", "device") as command:
            until(lambda: provider.issuer in command.output())
        # A certificate of another host would be refused all the same.
        other = provider.issuer.replace("127.0.0.1", "localhost")
        agent.configure({"work": account(provider, issuer=other, ca_file=str(authority), redirect_ports=[0])})
        client.reload()
        with pytest.raises(Unavailable, match="certificate") as caught:
            client.login("work")
        assert remedy not in caught.value.remedy


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


def test_an_authority_of_one_account_is_trusted_for_its_provider_only(
    provider: OpenIDProvider, authority: Path
) -> None:
    accounts = {
        "work": account(provider, ca_file=str(authority), redirect_ports=[0]),
        "other": account(provider, redirect_ports=[0]),
    }
    with AgentProcess(accounts, environment={"SSL_CERT_FILE": ""}) as agent, agent.client() as client:
        log_in(client, provider)
        assert client.token("work").access_token
        with pytest.raises(Unavailable, match="certificate"):
            client.login("other")


def test_a_missing_authority_is_a_misconfiguration_of_its_account(provider: OpenIDProvider, tmp_path: Path) -> None:
    missing = tmp_path / "missing.pem"
    accounts = {"work": account(provider, ca_file=str(missing), redirect_ports=[0])}
    with AgentProcess(accounts) as agent, agent.client() as client, pytest.raises(Misconfigured) as caught:
        client.call("login", {"account": "work", "flow": "browser"})
    assert str(missing) in caught.value.message
    assert "ca_file" in caught.value.remedy[0].text


@pytest.mark.parametrize("alias", [False, True], ids=["one address", "an alias"])
def test_a_client_authenticates_by_its_certificate(tmp_path: Path, *, alias: bool) -> None:
    """At a server that requires one, where the metadata may name another endpoint for that (RFC 8705, section 5)."""
    authority = trustme.CA()
    leaf, path = authority.issue_cert("client@acme.example"), tmp_path / "client.pem"
    leaf.private_key_and_cert_chain_pem.write_to_path(path)
    path.chmod(0o600)
    authority.cert_pem.write_to_path(tmp_path / "ca.pem")
    with MutualTLSServer(authority, alias=alias) as server:
        keys: dict[str, Any] = {
            "issuer": server.issuer,
            "client_id": "app",
            "grant": "client_credentials",
            "ca_file": str(tmp_path / "ca.pem"),
            "client_certificate": str(path),
            "token_endpoint_auth_method": "tls_client_auth",
        }
        with AgentProcess({"work": keys}) as agent, agent.client() as client:
            login = client.call("login", {"account": "work", "flow": "browser"})
            assert client.call("login_result", {"login_id": login["login_id"]})["state"] == "ready"
            assert client.refresh("work").access_token == "at-2"
    assert server.forms == [{"grant_type": ["client_credentials"], "client_id": ["app"]}] * 2
    assert server.subjects == ["client@acme.example"] * 2


class MutualTLSServer:
    """A token endpoint that requires a client's certificate."""

    def __init__(self, authority: trustme.CA, *, alias: bool) -> None:
        self.forms: list[dict[str, list[str]]] = []
        self.subjects: list[str] = []
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        authority.issue_cert("127.0.0.1").configure_cert(context)  # pyright: ignore[reportUnknownMemberType] -- pyOpenSSL's context, too
        authority.configure_trust(context)  # pyright: ignore[reportUnknownMemberType] -- as above
        context.verify_mode = ssl.CERT_REQUIRED
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                path = "nowhere" if alias else "token"
                aliases = {"mtls_endpoint_aliases": {"token_endpoint": f"{outer.issuer}/token"}} if alias else {}
                self._answer({"issuer": outer.issuer, "token_endpoint": f"{outer.issuer}/{path}", **aliases})

            def do_POST(self) -> None:
                form = parse_qs(self.rfile.read(int(self.headers["content-length"])).decode())
                form.pop("scope", None)
                outer.forms.append(form)
                assert isinstance(self.connection, ssl.SSLSocket)
                names: Any = (self.connection.getpeercert() or {})["subjectAltName"]
                outer.subjects.extend(value for _, value in names)
                self._answer({"access_token": f"at-{len(outer.forms)}", "token_type": "Bearer", "expires_in": 60})

            def _answer(self, value: dict[str, object]) -> None:
                body = json.dumps(value).encode()
                self.send_response(200)
                self.send_header("content-length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: object) -> None:  # pyright: ignore[reportIncompatibleMethodOverride] -- whatever it is given
                """Write no log."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.socket = context.wrap_socket(self._server.socket, server_side=True)
        self.issuer = f"https://127.0.0.1:{self._server.server_port}"

    def __enter__(self) -> Self:
        Thread(target=self._server.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()
