"""Logins at Entra's address of all tenants: a real provider under Microsoft's name, which only a proxy knows."""

from collections.abc import Generator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import httpx
import pytest
import trustme

from auth_agent_client import Agent, Denied, Misconfigured, ProviderError, errors
from tests.integration.agent_process import AgentProcess
from tests.integration.conftest import record
from tests.op.provider import OpenIDProvider
from tests.picture.tunnel import tunnel

HOST = "login.microsoftonline.com"
BASE = f"https://{HOST}"
TEMPLATE = f"{BASE}/{{tenantid}}/v2.0"
ACME, OTHER = "3338040d-6c67-4c5b-b112-36a304b66dad", "9188040d-6c67-4c5b-b112-36a304b66dad"
KEYS: dict[str, Any] = {"client_id": "native-app", "redirect_ports": [0]}


def issuer_of(tid: str) -> str:
    return f"{BASE}/{tid}/v2.0"


class Entra:
    """The provider, with Entra's documents, and ID tokens of the tenant that is chosen."""

    def __init__(self, provider: OpenIDProvider, proxy: str, certificates: Path) -> None:
        self.provider = provider
        self.proxy = proxy
        self.certificates = certificates
        with provider.browser() as browser:
            self._metadata = browser.open(f"{BASE}/.well-known/openid-configuration").json()
            self._keys = browser.open(str(self._metadata["jwks_uri"])).json()

    def behave(
        self, *, tid: str = ACME, iss: str | None = None, issuer: str = TEMPLATE, key: object = TEMPLATE
    ) -> None:
        """Be Entra from now on; `key` is the issuer of its keys."""
        self.provider.reset()
        for tenant in ("common", ACME):
            self._serve(f"/{tenant}/v2.0/.well-known/openid-configuration", {**self._metadata, "issuer": issuer})
        keys = [{**one, "issuer": key} for one in self._keys["keys"]]
        self._serve(httpx.URL(str(self._metadata["jwks_uri"])).path, {"keys": keys})
        claims = {"iss": iss or issuer_of(tid), "tid": tid}
        self.provider.fault("merge", route=self.provider.token_path, times=None, claims=claims)

    def _serve(self, route: str, body: object) -> None:
        self.provider.fault("status", status=200, body=body, route=route, times=None)

    def log_in(self, client: Agent, *, iss: str | None = None, **more: object) -> dict[str, object]:
        """Log in; `iss` is the issuer in the redirect, Acme's if it is not given."""
        login = client.call("login", {"account": "work", "flow": "browser", **more})
        redirect = httpx.URL(self.provider.visit(str(login["authorization_url"])))
        httpx.get(redirect.copy_set_param("iss", iss or issuer_of(ACME)))
        return client.call("login_result", {"login_id": login["login_id"]})


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Generator[Entra, None, None]:
    authority, directory, ports = trustme.CA(), tmp_path_factory.mktemp("entra"), dict[str, int]()
    issued = authority.issue_cert(HOST)
    certificates, files = directory / "ca.pem", (directory / "cert.pem", directory / "key.pem")
    authority.cert_pem.write_to_path(certificates)
    issued.cert_chain_pems[0].write_to_path(files[0])
    issued.private_key_pem.write_to_path(files[1])
    with ExitStack() as stack:
        proxy = stack.enter_context(tunnel(ports))
        provider = stack.enter_context(
            OpenIDProvider(
                tls=files, ca=certificates, origin=BASE, proxy=proxy, flavor="plain", access_token_lifetime=3600
            )
        )
        ports[HOST] = provider.port
        yield Entra(provider, proxy, certificates)


@pytest.fixture
def entra(running: Entra) -> Entra:
    running.behave()
    return running


@pytest.fixture
def agent(entra: Entra) -> Generator[AgentProcess, None, None]:
    keys = {**KEYS, "issuer": f"{BASE}/common/v2.0", "proxy": entra.proxy}
    with AgentProcess({"work": keys}, environment={"SSL_CERT_FILE": str(entra.certificates)}) as process:
        yield process


def failure(entra: Entra, client: Agent, **how: Any) -> errors.AgentError:
    with pytest.raises(errors.AgentError) as caught:
        entra.log_in(client, **how)
    return caught.value


def test_a_login_at_the_address_of_all_tenants(entra: Entra, client: Agent) -> None:
    assert entra.log_in(client)["state"] == "ready"
    assert record(client).subject == "auth0|alice"
    before = client.token("work").access_token
    assert client.refresh("work").access_token != before
    assert record(client).state == "ready"


@pytest.mark.parametrize(
    "behaviour",
    [
        {"tid": ACME, "iss": issuer_of(OTHER)},
        {"tid": "common", "iss": f"{BASE}/common/v2.0"},
        {"tid": ACME, "iss": f"https://sts.windows.net/{ACME}/"},
        {"tid": ACME, "iss": f"https://login.windows.net/{ACME}/v2.0"},  # an alias, which the metadata does not name
        {"tid": ACME, "iss": f"https://evil.example/{ACME}/v2.0"},
        {"key": issuer_of(OTHER)},
        {"key": "https://evil.example/{tenantid}/v2.0"},
    ],
    ids=str,
)
def test_an_id_token_that_does_not_fit_is_refused(behaviour: dict[str, Any], entra: Entra, client: Agent) -> None:
    entra.behave(**behaviour)
    assert isinstance(failure(entra, client), ProviderError)
    assert record(client).state == "logged_out"


@pytest.mark.parametrize("iss", [f"{BASE}/common/v2.0", TEMPLATE, f"https://evil.example/{ACME}/v2.0", BASE])
def test_a_redirect_of_another_issuer_is_refused(iss: str, entra: Entra, client: Agent) -> None:
    assert isinstance(failure(entra, client, iss=iss), ProviderError)
    assert entra.provider.count(entra.provider.token_path) == 0


def test_a_refresh_for_another_tenant_is_not_used(entra: Entra, client: Agent) -> None:
    entra.log_in(client)
    before = client.token("work").access_token
    entra.behave(tid=OTHER)
    with pytest.raises(ProviderError):
        client.refresh("work")
    assert client.token("work").access_token == before
    entra.behave()
    assert client.refresh("work").access_token != before


def test_the_same_subject_of_another_tenant_is_another_user(entra: Entra, client: Agent) -> None:
    entra.log_in(client)
    entra.behave(tid=OTHER)
    error = failure(entra, client)
    assert isinstance(error, Denied)
    assert error.failure == "wrong_user"
    assert entra.log_in(client, switch_user=True)["state"] == "ready"


def test_a_configured_tenant_is_not_widened(entra: Entra, agent: AgentProcess, client: Agent) -> None:
    agent.configure({"work": {**KEYS, "issuer": issuer_of(ACME), "proxy": entra.proxy}})
    client.reload()
    assert isinstance(failure(entra, client), Misconfigured)
    entra.behave(issuer=issuer_of(ACME))
    assert isinstance(failure(entra, client, iss=issuer_of(OTHER)), ProviderError)


def test_no_other_provider_has_a_template(entra: Entra, agent: AgentProcess, client: Agent) -> None:
    entra.behave(issuer="https://evil.example/{tenantid}/v2.0")
    agent.terminate()
    agent.start()
    assert isinstance(failure(entra, client), Misconfigured)
