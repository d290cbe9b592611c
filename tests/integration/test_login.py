"""Logins at a real provider through a live agent; pages are walked through by script, and its redirect followed."""

import html
import re
import socket
from collections.abc import Callable, Generator
from contextlib import closing, contextmanager, suppress
from typing import Any
from urllib.parse import parse_qs, urlsplit

import httpx
import pytest

from auth_agent_client import (
    Agent,
    Denied,
    InvalidRequest,
    LoginRequired,
    Misconfigured,
    ProviderError,
    Unavailable,
    errors,
)
from tests.free_ports import free_ports
from tests.integration.agent_process import AgentProcess, until
from tests.integration.conftest import account, record
from tests.integration.keyring_session import KeyringSession
from tests.op import forge
from tests.op.provider import CREDENTIALS, FaultMode, OpenIDProvider

# Any port: tests run side by side.
ANY: dict[str, Any] = {"redirect_ports": [0]}


@pytest.fixture
def agent(provider: OpenIDProvider) -> Generator[AgentProcess, None, None]:
    with AgentProcess({"work": account(provider, **ANY)}) as process:
        yield process


def begin(client: Agent, name: str = "work", flow: str = "browser", **more: object) -> dict[str, object]:
    return client.call("login", {"account": name, "flow": flow, **more})


def address(login: dict[str, object]) -> str:
    return str(login["authorization_url"])


def result(client: Agent, login: dict[str, object]) -> dict[str, object]:
    return client.call("login_result", {"login_id": login["login_id"]})


def failure(client: Agent, login: dict[str, object]) -> errors.AgentError:
    with pytest.raises(errors.AgentError) as caught:
        result(client, login)
    return caught.value


def log_in(client: Agent, provider: OpenIDProvider, user: str = "auth0|alice", name: str = "work") -> None:
    login = begin(client, name)
    assert provider.enter(address(login), user).status_code == 200
    result(client, login)


def page(response: httpx.Response) -> str:
    """Return the text of a page, which must be the agent's."""
    assert response.headers["cache-control"] == "no-store"
    text = " ".join(html.unescape(re.sub(r"<style>.*?</style>|<[^>]*>", " ", response.text, flags=re.DOTALL)).split())
    assert "auth-agent" in text
    return text


def port_is_free(login: dict[str, object]) -> bool:
    port = urlsplit(parse_qs(urlsplit(address(login)).query)["redirect_uri"][0]).port
    with closing(socket.socket()) as one:
        return one.connect_ex(("127.0.0.1", port or 0)) != 0


@contextmanager
def session_is_unchanged(client: Agent, provider: OpenIDProvider) -> Generator[None, None, None]:
    """Check that the session after the block is the one before, and that its token is valid."""
    log_in(client, provider)
    before, token = record(client), client.token("work").access_token
    yield
    after = record(client)
    assert (after["state"], after["subject"], after["epoch"]) == ("ready", before["subject"], before["epoch"])
    assert client.token("work").access_token == token
    assert provider.userinfo(client.refresh("work").access_token).status_code == 200


@pytest.fixture
def taken() -> Generator[int, None, None]:
    """A port on which somebody else listens."""
    with closing(socket.socket()) as one:
        one.bind(("127.0.0.1", 0))
        one.listen()
        yield one.getsockname()[1]


# ---- in a browser


def test_a_login_obtains_a_token_that_the_provider_accepts(provider: OpenIDProvider, client: Agent) -> None:
    login = begin(client)
    response = provider.enter(address(login))
    assert response.status_code == 200
    assert "Logged in" in page(response)
    session = result(client, login)
    assert (session["state"], session["subject"]) == ("ready", "auth0|alice")
    assert str(session["name"]) in page(response)
    assert provider.userinfo(client.token("work").access_token).status_code == 200
    until(lambda: port_is_free(login))


@pytest.mark.parametrize("status", [429, 503])
def test_a_hiccup_when_the_code_is_redeemed_costs_no_login(
    provider: OpenIDProvider, client: Agent, status: int
) -> None:
    login = begin(client)
    provider.fault("status", status=status, route=provider.token_path, headers={"retry-after": "1"})
    assert provider.enter(address(login)).status_code == 200
    assert result(client, login)["state"] == "ready"
    assert len(provider.requests(provider.token_path, "authorization_code")) == 2


def test_a_code_whose_response_was_lost_is_not_redeemed_again(provider: OpenIDProvider, client: Agent) -> None:
    login = begin(client)
    provider.fault("drop-after", route=provider.token_path)
    provider.enter(address(login))
    error = failure(client, login)
    assert (error.code, error.remedy[0].line) == ("unavailable", "auth-agent login work")
    assert len(provider.requests(provider.token_path)) == 1


@pytest.mark.parametrize("mode", ["status", "drop-before", "garbage"])
def test_a_hiccup_of_the_key_set_costs_no_login(provider: OpenIDProvider, client: Agent, mode: FaultMode) -> None:
    login = begin(client)
    provider.fault(mode, route=provider.paths["jwks"])
    assert provider.enter(address(login)).status_code == 200
    assert result(client, login)["state"] == "ready"
    assert provider.count(provider.paths["revocation"]) == 0


def test_the_log_of_a_login_has_no_secret(provider: OpenIDProvider, agent: AgentProcess, client: Agent) -> None:
    login = begin(client)
    redirect = provider.visit(address(login))
    httpx.get(redirect)
    result(client, login)
    params = parse_qs(urlsplit(address(login)).query) | parse_qs(urlsplit(redirect).query)
    for name in ("code", "state", "nonce", "code_challenge"):
        assert params[name][0] not in agent.log
    assert client.token("work").access_token not in agent.log


FORGED_REDIRECTS: dict[str, Callable[[httpx.URL], httpx.URL]] = {
    "another state": lambda url: url.copy_merge_params({"state": "another"}),
    "an error with another state": lambda url: url.copy_merge_params({"state": "another", "error": "access_denied"}),
    "another path": lambda url: url.copy_with(path="/elsewhere"),
    "no state": lambda url: url.copy_remove_param("state"),
}


@pytest.mark.parametrize("how", FORGED_REDIRECTS)
def test_a_forged_redirect_does_not_end_the_login(how: str, provider: OpenIDProvider, client: Agent) -> None:
    login = begin(client)
    redirect = provider.visit(address(login))
    response = httpx.get(FORGED_REDIRECTS[how](httpx.URL(redirect)))
    assert response.status_code in (400, 404)
    assert "Logged in" not in response.text
    assert provider.count(provider.token_path) == 0
    assert httpx.get(redirect).status_code == 200
    assert result(client, login)["state"] == "ready"


@pytest.mark.parametrize("host", ["localhost", "evil.example", "127.0.0.1", "127.0.0.1:1", "[::1]"])
def test_a_redirect_to_another_host_name_is_rejected(host: str, provider: OpenIDProvider, client: Agent) -> None:
    login = begin(client)
    redirect = provider.visit(address(login))
    assert httpx.get(redirect, headers={"host": host}).status_code >= 400
    assert provider.count(provider.token_path) == 0
    assert httpx.get(redirect).status_code == 200
    assert result(client, login)["state"] == "ready"


def test_a_pasted_redirect_url_completes_the_login(provider: OpenIDProvider, client: Agent) -> None:
    login = begin(client)
    redirect = provider.visit(address(login))
    with pytest.raises(InvalidRequest) as caught:
        client.call("login_redirect", {"login_id": login["login_id"], "url": address(login)})
    assert caught.value.parameter == "url"
    client.call("login_redirect", {"login_id": login["login_id"], "url": f" {redirect}\n"})
    assert result(client, login)["state"] == "ready"


def test_a_login_that_is_cancelled_at_the_provider_is_denied(provider: OpenIDProvider, client: Agent) -> None:
    with session_is_unchanged(client, provider):
        login = begin(client)
        text = page(httpx.get(provider.cancel(address(login))))
        assert "Not logged in" in text
        assert "auth-agent login work" in text
        error = failure(client, login)
        assert isinstance(error, Denied)
        assert "access_denied" in error.message


def test_a_login_to_an_account_that_was_removed_meanwhile_says_so_and_is_revoked(
    provider: OpenIDProvider, agent: AgentProcess, client: Agent
) -> None:
    login = begin(client)
    agent.configure({"other": account(provider)})
    client.reload()
    assert "removed from the configuration" in page(provider.enter(address(login), "auth0|alice"))
    error = failure(client, login)
    assert (type(error), error.failure) == (Denied, "account_changed")
    assert provider.count(provider.paths["revocation"]) == 1


def test_a_login_that_is_cancelled_frees_its_port(provider: OpenIDProvider, client: Agent) -> None:
    with session_is_unchanged(client, provider):
        login = begin(client)
        assert not port_is_free(login)
        client.call("login_cancel", {"login_id": login["login_id"]})
        assert "cancelled" in failure(client, login).message
        until(lambda: port_is_free(login))


def test_a_login_ends_with_its_connection(provider: OpenIDProvider, agent: AgentProcess, client: Agent) -> None:
    with session_is_unchanged(client, provider):
        with agent.client() as other:
            login = begin(other)
            assert not port_is_free(login)
        until(lambda: port_is_free(login))


def test_a_second_login_ends_the_first_and_takes_its_port(
    provider: OpenIDProvider, agent: AgentProcess, client: Agent
) -> None:
    (port,) = free_ports(1)  # so that both want the same
    agent.configure({"work": account(provider, redirect_ports=[port])})
    client.call("reload", {})
    first = begin(client)
    with agent.client() as other:
        second = begin(other)
        with pytest.raises(InvalidRequest):
            client.call("login_cancel", {"login_id": first["login_id"]})
        assert provider.enter(address(second)).status_code == 200
        assert result(other, second)["state"] == "ready"


def test_the_next_port_is_used_if_one_is_in_use(
    provider: OpenIDProvider, agent: AgentProcess, client: Agent, taken: int
) -> None:
    agent.configure({"work": account(provider, redirect_ports=[taken, 0])})
    client.call("reload", {})
    login = begin(client)
    assert not provider.visit(address(login)).startswith(f"http://127.0.0.1:{taken}/")


def test_the_error_if_all_ports_are_in_use_has_remedies(
    provider: OpenIDProvider, agent: AgentProcess, client: Agent, taken: int
) -> None:
    with session_is_unchanged(client, provider):
        agent.configure({"work": account(provider, redirect_ports=[taken])})
        client.call("reload", {})
        with pytest.raises(Misconfigured, match=str(taken)) as caught:
            begin(client)
        assert "redirect_ports" in " ".join(remedy.text for remedy in caught.value.remedy)
        assert ("auth-agent", "login", "work", "--flow", "device") in [one.command for one in caught.value.remedy]


# ---- what is wrong with what the provider grants


def test_a_login_fails_if_the_metadata_has_another_issuer(
    provider: OpenIDProvider, agent: AgentProcess, client: Agent
) -> None:
    wrong = provider.issuer.replace("127.0.0.1", "localhost")
    agent.configure({"work": account(provider, **ANY), "wrong": {**account(provider, **ANY), "issuer": wrong}})
    client.call("reload", {})
    with pytest.raises(Misconfigured, match=provider.issuer) as caught:
        begin(client, "wrong")
    (remedy,) = caught.value.remedy
    assert "issuer" in remedy.text
    assert remedy.command == ("auth-agent", "login", "wrong")


def test_a_redirect_with_the_issuer_of_another_provider_is_refused(provider: OpenIDProvider, client: Agent) -> None:
    with session_is_unchanged(client, provider):
        login = begin(client)
        redirect = httpx.URL(provider.visit(address(login))).copy_set_param("iss", "https://evil.example/")
        before = provider.count(provider.token_path)
        assert "evil.example" in page(httpx.get(redirect))
        assert isinstance(failure(client, login), ProviderError)
        assert provider.count(provider.token_path) == before


Forgery = Callable[[OpenIDProvider, str, dict[str, object]], str]

FORGERIES: dict[str, Forgery] = {
    "by another key": lambda _, token, claims: forge.by_another_key(token, claims),
    "unsigned": lambda _, token, claims: forge.unsigned(token, claims),
    "keyed by the public key": lambda op, token, claims: forge.keyed_by_public_key(token, op.jwks(), claims),
    "altered": lambda _, token, claims: forge.altered(token, claims),
}


@pytest.mark.parametrize("how", FORGERIES)
def test_a_forged_id_token_creates_no_session(how: str, provider: OpenIDProvider, client: Agent) -> None:
    genuine = provider.login().id_token
    assert genuine is not None
    with session_is_unchanged(client, provider):
        login = begin(client)
        token = FORGERIES[how](provider, genuine, forge.for_login(address(login)))
        provider.fault("merge", set={"id_token": token}, grant_type="authorization_code")
        response = provider.enter(address(login))
        assert "Logged in" not in page(response)
        error = failure(client, login)
        assert isinstance(error, ProviderError)
        assert "ID token" in error.message
        assert error.failure == "invalid_response"
        assert [remedy.line for remedy in error.remedy] == ["auth-agent login work", ""]


@pytest.mark.parametrize(
    ("claims", "text"),
    [
        ({"iss": "https://evil.example/"}, "evil.example"),
        ({"aud": "another"}, "another"),
        ({"nonce": "of another login"}, "nonce"),
        ({"sub": None}, "subject"),
    ],
)
def test_an_id_token_with_wrong_claims_makes_no_session(
    claims: dict[str, object], text: str, provider: OpenIDProvider, client: Agent
) -> None:
    with session_is_unchanged(client, provider):
        login = begin(client)
        provider.fault("merge", claims=claims, grant_type="authorization_code")
        assert text in page(provider.enter(address(login)))
        error = failure(client, login)
        assert isinstance(error, ProviderError)
        assert text in error.message
        assert error.failure == "invalid_response"
        assert [remedy.line for remedy in error.remedy] == ["auth-agent login work", ""]


def test_a_login_of_another_user_needs_switch_user(provider: OpenIDProvider, client: Agent) -> None:
    with session_is_unchanged(client, provider):
        login = begin(client)
        assert "--switch-user" in page(provider.enter(address(login), "auth0|bob"))
        error = failure(client, login)
        assert isinstance(error, Denied)
        assert error.failure == "wrong_user"
        assert [remedy.line for remedy in error.remedy] == ["auth-agent login work --switch-user"]
    login = begin(client, switch_user=True)
    assert provider.enter(address(login), "auth0|bob").status_code == 200
    assert result(client, login)["subject"] == "auth0|bob"


@pytest.mark.parametrize("offset", [-59, 59])
def test_a_clock_that_is_59_s_off_is_tolerated(offset: int, start_provider: Callable[..., OpenIDProvider]) -> None:
    provider = start_provider(clock_offset=offset, access_token_lifetime=3600)
    with AgentProcess({"work": account(provider, **ANY)}) as agent, agent.client() as client:
        log_in(client, provider)
        assert record(client)["state"] == "ready"


@pytest.mark.parametrize("offset", [-600, 600])
def test_the_error_for_a_clock_that_is_10_min_off_names_the_clock(
    offset: int, start_provider: Callable[..., OpenIDProvider]
) -> None:
    provider = start_provider(clock_offset=offset, access_token_lifetime=3600)
    with AgentProcess({"work": account(provider, **ANY)}) as agent, agent.client() as client:
        login = begin(client)
        assert "clock" in page(provider.enter(address(login)))
        error = failure(client, login)
        assert "10 min" in error.message
        assert error.failure == "clock"
        assert "clock" in error.remedy[0].text
        assert error.remedy[1].command == ("auth-agent", "login", "work")


# ---- on another device


@pytest.fixture
def quick(start_provider: Callable[..., OpenIDProvider]) -> OpenIDProvider:
    """A provider that may be polled every second."""
    return start_provider(access_token_lifetime=3600, device_interval=1)


def test_a_login_on_another_device_creates_a_session(quick: OpenIDProvider) -> None:
    with AgentProcess({"work": account(quick)}) as agent, agent.client() as client:
        login = begin(client, flow="device")
        assert str(login["user_code"]) in str(login["verification_uri_complete"])
        until(lambda: quick.count(quick.token_path) >= 2)  # it is polled, and nobody has logged in
        quick.approve(str(login["verification_uri"]), user_code=str(login["user_code"]))
        assert result(client, login)["subject"] == "auth0|alice"
        assert quick.userinfo(client.token("work").access_token).status_code == 200


def test_a_login_that_is_refused_on_the_other_device_is_denied(quick: OpenIDProvider) -> None:
    with (
        AgentProcess({"work": account(quick, **ANY)}) as agent,
        agent.client() as client,
        session_is_unchanged(client, quick),
    ):
        login = begin(client, flow="device")
        quick.deny(str(login["verification_uri_complete"]))
        error = failure(client, login)
        assert isinstance(error, Denied)
        assert "confirmation" in error.message
        assert [remedy.line for remedy in error.remedy] == ["auth-agent login work"]


def test_a_code_that_nobody_enters_expires(start_provider: Callable[..., OpenIDProvider]) -> None:
    provider = start_provider(device_interval=1, device_code_lifetime=3)
    with AgentProcess({"work": account(provider)}) as agent, agent.client() as client:
        error = failure(client, begin(client, flow="device"))
        assert isinstance(error, LoginRequired)
        assert [remedy.line for remedy in error.remedy] == ["auth-agent login work"]


def test_a_provider_that_answers_slow_down_is_polled_less_often(quick: OpenIDProvider) -> None:
    with AgentProcess({"work": account(quick)}) as agent, agent.client() as client:
        quick.fault("status", status=400, body={"error": "slow_down"})
        login = begin(client, flow="device")
        quick.approve(str(login["verification_uri_complete"]))
        assert result(client, login)["state"] == "ready"
        first, second = (request.at for request in quick.requests(quick.token_path))
        assert second - first >= 5.9  # RFC 8628 adds five seconds to the one


# ---- clients


@pytest.mark.parametrize("client_id", ["basic-app", "post-app", "odd-app"])
def test_a_client_with_a_secret_logs_in_and_refreshes(client_id: str, provider: OpenIDProvider) -> None:
    secret = CREDENTIALS[client_id]
    keys = account(provider, client_id, token_endpoint_auth_method=secret.method, **ANY)
    with AgentProcess({"work": keys}) as agent, agent.client() as client:
        with pytest.raises(InvalidRequest) as caught:
            begin(client)
        assert caught.value.parameter == "client_secret"
        assert [remedy.line for remedy in caught.value.remedy] == ["auth-agent login work --client-secret"]
        login = begin(client, client_secret=secret.secret)
        assert provider.enter(address(login)).status_code == 200
        result(client, login)
        assert provider.userinfo(client.refresh("work").access_token).status_code == 200
        assert client.logout("work")
        assert secret.secret not in agent.log


@pytest.mark.parametrize("flow", ["browser", "device"])
def test_a_login_finds_the_method_that_was_registered_and_a_refresh_keeps_it(
    provider: OpenIDProvider, flow: str
) -> None:
    with AgentProcess({"work": account(provider, "post-app", **ANY)}) as agent, agent.client() as client:
        login = begin(client, flow=flow, client_secret=CREDENTIALS["post-app"].secret)
        if flow == "browser":
            assert provider.enter(address(login)).status_code == 200
        else:
            provider.approve(str(login["verification_uri"]), user_code=str(login["user_code"]))
        assert result(client, login)["state"] == "ready"
        before = len(provider.requests(provider.token_path))
        assert provider.userinfo(client.refresh("work").access_token).status_code == 200
        assert len(provider.requests(provider.token_path)) == before + 1


def test_a_wrong_client_secret_is_an_error_with_remedies(provider: OpenIDProvider) -> None:
    keys = account(provider, "basic-app", **ANY)
    with AgentProcess({"work": keys}) as agent, agent.client() as client:
        login = begin(client, client_secret="wrong")
        provider.enter(address(login))
        error = failure(client, login)
        assert isinstance(error, Misconfigured)
        assert "invalid_client" in error.message
        assert [remedy.line for remedy in error.remedy] == [
            "auth-agent login work",
            "auth-agent login work --client-secret",
        ]


def has_served_three(client: Agent, seen: set[str]) -> bool:
    """Get a token, unless it ended on its way; return whether there were three."""
    with suppress(Unavailable):
        seen.add(client.token("robot").access_token)
    return len(seen) >= 3


@pytest.mark.parametrize("client_id", ["service-app", "service-basic", "odd-app"])
def test_a_client_credentials_account_gets_tokens(
    client_id: str, start_provider: Callable[..., OpenIDProvider]
) -> None:
    provider = start_provider(access_token_lifetime=4)
    secret = CREDENTIALS[client_id]
    keys = account(provider, client_id, grant="client_credentials", token_endpoint_auth_method=secret.method)
    with AgentProcess({"robot": keys}) as agent, agent.client() as client:
        login = begin(client, "robot", client_secret=secret.secret)
        assert "authorization_url" not in login
        session = result(client, login)
        assert (session["state"], session["name"], session["subject"]) == ("ready", client_id, None)
        seen: set[str] = set()
        until(lambda: has_served_three(client, seen))
        assert record(client, "robot")["renewal"] in ("idle", "running")


# ---- what is kept


def test_the_session_of_a_login_is_there_after_a_crash(provider: OpenIDProvider) -> None:
    service = CREDENTIALS["service-app"]
    accounts = {
        "work": account(provider, **ANY),
        "robot": account(
            provider, "service-app", grant="client_credentials", token_endpoint_auth_method=service.method
        ),
    }
    with (
        KeyringSession() as keyring,
        AgentProcess(accounts, environment=keyring.environment, store="keyring") as agent,
    ):
        with agent.client() as client:
            log_in(client, provider)
            result(client, begin(client, "robot", client_secret=service.secret))
            until(lambda: record(client)["saved"] and record(client, "robot")["saved"])
        agent.kill()
        agent.start()
        with agent.client() as client:
            for name in accounts:
                before = client.token(name).access_token
                assert client.refresh(name).access_token != before
                assert record(client, name)["state"] == "ready"


# ---- the agent's end


def test_a_stopping_agent_does_not_wait_for_a_login(agent: AgentProcess) -> None:
    with agent.client() as client:
        login = begin(client)
        assert agent.terminate() == 0
        assert port_is_free(login)
        with pytest.raises(errors.AgentError):
            result(client, login)


# ---- by another redirect URI


@pytest.mark.parametrize("is_pasted", [False, True])
def test_a_login_to_a_client_that_is_registered_for_localhost(is_pasted: bool, provider: OpenIDProvider) -> None:
    keys = account(provider, "portal-app", redirect_host="localhost", redirect_path="", **ANY)
    with AgentProcess({"work": keys}) as process, process.client() as client:
        login = begin(client)
        url = provider.visit(address(login))
        assert re.match(r"http://localhost:\d+/?\?", url)
        if is_pasted:
            client.call("login_redirect", {"login_id": login["login_id"], "url": url})
        else:
            assert "Logged in" in page(httpx.get(url))
        assert result(client, login)["state"] == "ready"


def test_a_port_that_is_taken_at_one_address_of_localhost_is_not_used(provider: OpenIDProvider) -> None:
    with socket.create_server(("::1", 0), family=socket.AF_INET6) as other:
        taken = other.getsockname()[1]
        keys = account(provider, redirect_ports=[taken, 0], redirect_host="localhost")
        with AgentProcess({"work": keys}) as process, process.client() as client:
            redirect_uri = parse_qs(urlsplit(address(begin(client))).query)["redirect_uri"][0]
            assert urlsplit(redirect_uri).port != taken


# ---- for an API (RFC 8707)

API = "https://api.acme.example"


@pytest.mark.parametrize("flow", ["browser", "device"])
@pytest.mark.parametrize("flavor", ["plain", "auth0"])
def test_each_request_of_a_session_names_its_api(
    flow: str, flavor: str, start_provider: Callable[..., OpenIDProvider]
) -> None:
    provider = start_provider(flavor=flavor, access_token_lifetime=3600)
    with AgentProcess({"work": account(provider, audience=API, **ANY)}) as process, process.client() as client:
        login = begin(client, flow=flow)
        if flow == "browser":
            provider.enter(address(login))
        else:
            provider.approve(str(login["verification_uri_complete"]))
        result(client, login)
        for token in (client.token("work"), client.refresh("work")):
            assert (token.audience, token.audience_verified) == (API, True)


def test_the_tokens_of_a_client_are_for_its_api(start_provider: Callable[..., OpenIDProvider]) -> None:
    provider = start_provider(flavor="plain", access_token_lifetime=3600)
    service = CREDENTIALS["service-app"]
    method = {"grant": "client_credentials", "token_endpoint_auth_method": service.method}
    with (
        AgentProcess({"robot": account(provider, "service-app", audience=API, **method)}) as process,
        process.client() as client,
    ):
        result(client, begin(client, "robot", client_secret=service.secret))
        for token in (client.token("robot"), client.refresh("robot")):
            assert (token.audience, token.audience_verified) == (API, True)


def test_a_token_that_can_not_be_read_says_so(start_provider: Callable[..., OpenIDProvider]) -> None:
    provider = start_provider(flavor="plain", access_token_lifetime=3600)
    keys = account(provider, audience=API, **{"authorize.resource": ""}, **ANY)
    with AgentProcess({"work": keys}) as process, process.client() as client:
        log_in(client, provider)
        token = client.token("work")
        assert (token.audience, token.audience_verified) == (API, False)
        assert provider.userinfo(token.access_token).status_code == 200


# ---- without an ID token, or one that the client's secret signed


def test_a_device_login_without_an_id_token_is_known_by_userinfo(
    start_provider: Callable[..., OpenIDProvider], agent: AgentProcess, client: Agent
) -> None:
    provider = start_provider(device_interval=1)
    agent.configure({"work": account(provider)})
    client.reload()
    provider.fault("merge", route="token", unset=["id_token"], times=None)
    login = begin(client, flow="device")
    provider.approve(str(login["verification_uri_complete"]))
    session = result(client, login)
    assert (session["state"], session["subject"], session["missing"]) == ("ready", "auth0|alice", ["id_token"])
    assert session["name"]
    assert client.profile("work").claims["sub"] == "auth0|alice"


@pytest.mark.parametrize("client_id", ["mac-app", "signed-app"])
def test_signed_userinfo_is_read(client_id: str, provider: OpenIDProvider, agent: AgentProcess, client: Agent) -> None:
    secret = CREDENTIALS["mac-app"].secret if client_id == "mac-app" else None
    algorithm = {"id_token_signed_response_alg": "HS256"} if secret else {}
    agent.configure({"work": account(provider, client_id, redirect_ports=[0], **algorithm)})
    client.reload()
    login = begin(client, client_secret=secret)
    provider.enter(address(login))
    assert result(client, login)["subject"] == "auth0|alice"
    profile = client.profile("work")
    assert (profile.claims["sub"], profile.stale) == ("auth0|alice", False)
    assert "iss" not in profile.claims


def test_without_the_accounts_word_no_secret_signs_an_id_token(
    provider: OpenIDProvider, agent: AgentProcess, client: Agent
) -> None:
    agent.configure({"work": account(provider, "mac-app", redirect_ports=[0])})
    client.reload()
    login = begin(client, client_secret=CREDENTIALS["mac-app"].secret)
    provider.enter(address(login))
    with pytest.raises(Misconfigured) as raised:
        result(client, login)
    assert "id_token_signed_response_alg" in raised.value.remedy[0].text
