"""Revocation of one session's refresh token must not end another session of a person who uses one browser.

The provider knows the browser by its cookies, and treats the logins of a user and client in it as one grant; a
revocation ends the whole grant (RFC 7009, section 2.1). A session counts as alive if it refreshes and the provider
accepts its access token.
"""

from collections.abc import Callable, Generator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from auth_agent_client import Agent, Denied, LoginRequired, ProviderError, Timeout, Unavailable
from tests.integration.agent_process import AgentProcess, until
from tests.integration.conftest import account, record
from tests.integration.keyring_session import KeyringSession
from tests.op.browser import Browser
from tests.op.provider import HELD, OpenIDProvider, Tokens

ALICE, BOB = "auth0|alice", "auth0|bob"
ANY_PORT: dict[str, Any] = {"redirect_ports": [0]}
NARROW = "openid offline_access"


@pytest.fixture(scope="module")
def shared() -> Generator[OpenIDProvider, None, None]:
    with OpenIDProvider(access_token_lifetime=3600, device_interval=1) as provider:
        yield provider


@pytest.fixture
def provider(shared: OpenIDProvider) -> OpenIDProvider:
    shared.reset()
    return shared


@pytest.fixture
def agent(provider: OpenIDProvider) -> Generator[AgentProcess, None, None]:
    """An agent with two accounts of one client."""
    accounts = {"work": account(provider, default=True, **ANY_PORT), "narrow": narrow(provider)}
    with AgentProcess(accounts) as process:
        yield process


def narrow(provider: OpenIDProvider) -> dict[str, object]:
    return account(provider, scope=NARROW, **ANY_PORT)


@pytest.fixture
def browser(provider: OpenIDProvider) -> Generator[Browser, None, None]:
    """The person's only browser."""
    with provider.browser() as browser:
        yield browser


def begin(client: Agent, name: str = "work", flow: str = "browser", *, switch_user: bool = False) -> dict[str, object]:
    return client.call("login", {"account": name, "flow": flow, "switch_user": switch_user})


def result(client: Agent, login: dict[str, object]) -> dict[str, object]:
    return client.call("login_result", {"login_id": login["login_id"]})


def log_in(
    client: Agent, browser: Browser, name: str = "work", user: str = ALICE, *, switch_user: bool = False
) -> None:
    login = begin(client, name, switch_user=switch_user)
    browser.enter(str(login["authorization_url"]), user)
    result(client, login)


def import_session(client: Agent, provider: OpenIDProvider, browser: Browser, user: str = ALICE) -> None:
    """Log in with another program, and import its refresh token."""
    client.import_refresh_token(secret(provider.login(user, browser=browser)), "work")


def log_out_of_provider(browser: Browser, provider: OpenIDProvider) -> None:
    """Log out of the provider in the browser, so that another user can log in; that ends no grant."""
    browser.log_out(provider.end_session_url(client_id="native-app"))


def secret(tokens: Tokens) -> str:
    assert tokens.refresh_token is not None
    return tokens.refresh_token


def assert_alive(client: Agent, provider: OpenIDProvider, name: str = "work") -> None:
    """Check that the provider accepts the session's access token, and the one after a refresh."""
    assert provider.userinfo(client.token(name).access_token).status_code == 200
    assert provider.userinfo(client.refresh(name).access_token).status_code == 200


def revocations(provider: OpenIDProvider) -> int:
    return provider.count(provider.paths["revocation"])


# ---- what a login replaces


def by_browser(client: Agent, _: OpenIDProvider, browser: Browser) -> None:
    log_in(client, browser)


def by_device(client: Agent, _: OpenIDProvider, browser: Browser) -> None:
    login = begin(client, flow="device")
    browser.approve(str(login["verification_uri_complete"]))
    result(client, login)


def by_import(client: Agent, provider: OpenIDProvider, browser: Browser) -> None:
    import_session(client, provider, browser)


@pytest.mark.parametrize("again", [by_browser, by_device, by_import])
def test_a_session_survives_the_revocation_of_the_one_it_replaced(
    again: Callable[[Agent, OpenIDProvider, Browser], None],
    agent: AgentProcess,
    provider: OpenIDProvider,
    browser: Browser,
) -> None:
    with agent.client() as client:
        log_in(client, browser)
        again(client, provider, browser)
        agent.until_logged("revoke account=work")  # the decision
        assert_alive(client, provider)
        assert record(client)["epoch"] == 2
        assert revocations(provider) == 0


def test_a_session_in_the_keyring_survives_that_revocation_too(provider: OpenIDProvider, browser: Browser) -> None:
    keys = {"work": account(provider, **ANY_PORT)}
    with KeyringSession() as keyring, AgentProcess(keys, environment=keyring.environment, store="keyring") as agent:
        with agent.client() as client:
            log_in(client, browser)
            log_in(client, browser)
            agent.until_logged("revoke account=work")
            assert_alive(client, provider)
        agent.kill()
        agent.start()
        with agent.client() as client:
            until(lambda: record(client)["state"] == "ready")
            assert_alive(client, provider)


def test_a_replaced_session_of_another_user_is_revoked(
    agent: AgentProcess, provider: OpenIDProvider, browser: Browser
) -> None:
    with agent.client() as client:
        log_in(client, browser)
        old = client.token("work").access_token
        log_out_of_provider(browser, provider)
        log_in(client, browser, user=BOB, switch_user=True)
        until(lambda: provider.userinfo(old).status_code == 401)
        assert_alive(client, provider)
        assert record(client)["subject"] == BOB


def test_a_replaced_session_is_not_revoked_if_its_user_has_another(
    agent: AgentProcess, provider: OpenIDProvider, browser: Browser
) -> None:
    with agent.client() as client:
        log_in(client, browser, "narrow")
        log_in(client, browser)
        log_out_of_provider(browser, provider)
        log_in(client, browser, user=BOB, switch_user=True)
        agent.until_logged("revoke account=work")
        assert_alive(client, provider, "narrow")
        assert_alive(client, provider)
        assert revocations(provider) == 0


# ---- rejected logins


def without_keys(client: Agent, provider: OpenIDProvider, browser: Browser) -> None:
    provider.fault("status", status=503, route=provider.paths["jwks"], times=None)
    with pytest.raises(Unavailable):
        log_in(client, browser)
    provider.clear_faults()


def forged(client: Agent, provider: OpenIDProvider, browser: Browser) -> None:
    provider.fault("merge", claims={"nonce": "of another login"}, grant_type="authorization_code")
    with pytest.raises(ProviderError):
        log_in(client, browser)


def unreadable(client: Agent, provider: OpenIDProvider, browser: Browser) -> None:
    token = secret(provider.login(browser=browser))
    provider.fault("merge", set={"id_token": "e30.e30.e30"}, grant_type="refresh_token")
    with pytest.raises(ProviderError):
        client.import_refresh_token(token, "work")


def another_user(client: Agent, provider: OpenIDProvider, browser: Browser) -> None:
    log_out_of_provider(browser, provider)
    with pytest.raises(Denied) as raised:
        log_in(client, browser, user=BOB)
    assert raised.value.failure == "wrong_user"


def another_user_by_import(client: Agent, provider: OpenIDProvider, browser: Browser) -> None:
    log_out_of_provider(browser, provider)
    with pytest.raises(Denied) as raised:
        import_session(client, provider, browser, BOB)
    assert raised.value.failure == "wrong_user"


@pytest.mark.parametrize(
    ("reject", "revoked"),
    [(without_keys, 0), (forged, 0), (unreadable, 0), (another_user, 1), (another_user_by_import, 1)],
)
def test_a_session_survives_a_rejected_login(
    reject: Callable[[Agent, OpenIDProvider, Browser], None],
    revoked: int,
    agent: AgentProcess,
    provider: OpenIDProvider,
    browser: Browser,
) -> None:
    with agent.client() as client:
        log_in(client, browser)
        reject(client, provider, browser)
        assert_alive(client, provider)
        assert revocations(provider) == revoked  # only if it is known to be another user's


def test_another_accounts_session_survives_a_rejected_login(
    agent: AgentProcess, provider: OpenIDProvider, browser: Browser
) -> None:
    with agent.client() as client:
        log_in(client, browser, "narrow")
        without_keys(client, provider, browser)
        assert_alive(client, provider, "narrow")


def test_a_rejected_login_is_revoked_if_there_is_no_session(
    agent: AgentProcess, provider: OpenIDProvider, browser: Browser
) -> None:
    with agent.client() as client:
        forged(client, provider, browser)
        assert revocations(provider) == 1


# ---- refreshes that finish too late


def test_a_session_survives_a_late_refresh_of_the_one_before(
    agent: AgentProcess, provider: OpenIDProvider, browser: Browser
) -> None:
    with agent.client() as client:
        log_in(client, browser)
        login = begin(client)
        redirect = browser.visit(str(login["authorization_url"]))
        provider.fault("delay-after", ms=HELD, grant_type="refresh_token")
        with pytest.raises(Timeout):
            client.refresh("work", timeout=0.05)
        until(lambda: provider.requests(provider.token_path, "refresh_token"))
        browser.open(redirect)
        result(client, login)
        provider.release()
        # That of the replaced session, and that of the late refresh.
        agent.until_logged("revoke account=work", 2)
        assert_alive(client, provider)
        assert revocations(provider) == 0


# ---- logouts


def test_only_the_last_logout_of_two_sessions_revokes_their_grant(
    agent: AgentProcess, provider: OpenIDProvider, browser: Browser
) -> None:
    with agent.client() as client:
        log_in(client, browser)
        log_in(client, browser, "narrow")
        first = client.logout("narrow")
        assert (first.revoked, record(client, "narrow")["state"]) == (False, "logged_out")
        assert first.reason is not None
        assert "work" in first.reason
        assert_alive(client, provider)
        token = client.token("work").access_token
        second = client.logout("work")
        assert (second.revoked, second.reason) == (True, None)
        assert provider.userinfo(token).status_code == 401


def test_a_logout_during_a_refresh_does_not_end_the_other_session(
    agent: AgentProcess, provider: OpenIDProvider, browser: Browser
) -> None:
    with agent.client() as client:
        log_in(client, browser)
        log_in(client, browser, "narrow")
        provider.fault("delay-after", ms=HELD, grant_type="refresh_token")
        with pytest.raises(Timeout):
            client.refresh("narrow", timeout=0.05)
        until(lambda: provider.requests(provider.token_path, "refresh_token"))
        with ThreadPoolExecutor(1) as clients:
            logout = clients.submit(client.logout, "narrow")  # which waits for the refresh
            until(lambda: record(client, "narrow")["state"] == "logged_out")
            provider.release()
            assert logout.result().reason is not None
        assert_alive(client, provider)


def test_the_logout_of_another_users_session_revokes_it(
    agent: AgentProcess, provider: OpenIDProvider, browser: Browser
) -> None:
    with agent.client() as client:
        log_in(client, browser)
        log_out_of_provider(browser, provider)
        log_in(client, browser, "narrow", BOB)
        token = client.token("narrow").access_token
        assert client.logout("narrow").revoked
        assert provider.userinfo(token).status_code == 401
        assert_alive(client, provider)


def test_a_logout_with_revoke_shared_ends_both_sessions(agent: AgentProcess, browser: Browser) -> None:
    with agent.client() as client:
        log_in(client, browser)
        log_in(client, browser, "narrow")
        assert client.logout("narrow", revoke_shared=True).revoked
        with pytest.raises(LoginRequired, match="invalid_grant"):
            client.refresh("work")


def test_a_session_of_a_removed_account_is_not_ended(
    agent: AgentProcess, provider: OpenIDProvider, browser: Browser
) -> None:
    with agent.client() as client:
        log_in(client, browser)
        log_in(client, browser, "narrow")
        agent.configure({"narrow": narrow(provider)})
        client.reload()
        assert not client.logout("narrow").revoked
        agent.configure({"work": account(provider, **ANY_PORT)})
        client.reload()
        assert_alive(client, provider)


# ---- by commands


def test_the_logout_command_revokes_a_shared_grant_only_with_revoke(
    agent: AgentProcess, provider: OpenIDProvider, browser: Browser
) -> None:
    with agent.client() as client:
        log_in(client, browser)
        log_in(client, browser, "narrow")
        result = agent.run("logout", "narrow")
        assert (result.returncode, result.stdout) == (0, "")
        assert result.stderr.startswith("narrow: ")
        assert "work" in result.stderr
        assert "--revoke" in result.stderr
        assert_alive(client, provider)
        log_in(client, browser, "narrow")
        assert agent.run("logout", "narrow", "--revoke").returncode == 0
        with pytest.raises(LoginRequired, match="invalid_grant"):
            client.refresh("work")


def test_a_logout_of_all_accounts_revokes_each_grant(
    agent: AgentProcess, provider: OpenIDProvider, browser: Browser
) -> None:
    with agent.client() as client, provider.browser() as another:  # two grants: each must be revoked
        log_in(client, browser)
        log_in(client, another, "narrow")
        tokens = [client.token(name).access_token for name in ("work", "narrow")]
        assert agent.run("logout", "--all").returncode == 0
        assert [provider.userinfo(token).status_code for token in tokens] == [401, 401]


def test_keep_session_and_revoke_exclude_each_other(agent: AgentProcess) -> None:
    result = agent.run("logout", "--keep-session", "--revoke")
    assert result.returncode == 2
    assert "--keep-session" in result.stderr


def test_removing_an_account_does_not_end_the_other_session(
    agent: AgentProcess, provider: OpenIDProvider, browser: Browser
) -> None:
    with agent.client() as client:
        log_in(client, browser)
        log_in(client, browser, "narrow")
        result = agent.run("account", "remove", "narrow", "--logout")
        assert result.returncode == 0
        assert "work" in result.stderr
        assert {account_.account for account_ in client.status().accounts} == {"work"}
        assert_alive(client, provider)
