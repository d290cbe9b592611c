"""What a session loses when another one's refresh token is no longer needed, where a person uses one browser.

The provider knows that browser by its cookies, and counts the logins of a user and client in it as one grant; a
revocation ends all of it (RFC 7009, section 2.1). What stays is judged by the provider: it refreshes, and its access
token is good.
"""

from collections.abc import Callable, Generator
from typing import Any

import pytest

from auth_agent_client import Agent, Denied, LoginRequired, ProviderError, Timeout, Unavailable
from tests.integration.agent_process import AgentProcess, until
from tests.integration.conftest import account, record
from tests.integration.keyring_session import KeyringSession
from tests.op.browser import Browser
from tests.op.provider import OpenIDProvider, Tokens

ALICE, BOB = "auth0|alice", "auth0|bob"
ANY_PORT: dict[str, Any] = {"redirect_ports": [0]}
NARROW = "openid offline_access"


@pytest.fixture(scope="module")
def shared() -> Generator[OpenIDProvider, None, None]:
    with OpenIDProvider(access_token_lifetime=3600, device_interval=1) as one:
        yield one


@pytest.fixture
def provider(shared: OpenIDProvider) -> OpenIDProvider:
    shared.reset()
    return shared


@pytest.fixture
def agent(provider: OpenIDProvider) -> Generator[AgentProcess, None, None]:
    """An agent with two accounts of one client, as a person has who needs tokens of two kinds."""
    accounts = {"work": account(provider, default=True, **ANY_PORT), "narrow": narrow(provider)}
    with AgentProcess(accounts) as process:
        yield process


def narrow(provider: OpenIDProvider) -> dict[str, object]:
    return account(provider, scope=NARROW, **ANY_PORT)


@pytest.fixture
def browser(provider: OpenIDProvider) -> Generator[Browser, None, None]:
    """The one browser that the person has."""
    with provider.browser() as one:
        yield one


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


def bring_in(client: Agent, provider: OpenIDProvider, browser: Browser, user: str = ALICE) -> None:
    """Log in with another program, and hand its session over."""
    client.import_refresh_token(secret(provider.login(user, browser=browser)), "work")


def leave(browser: Browser, provider: OpenIDProvider) -> None:
    """Log out of the provider in the browser, for another user who sits down there; that ends no grant."""
    browser.log_out(provider.end_session_url(client_id="native-app"))


def secret(tokens: Tokens) -> str:
    assert tokens.refresh_token is not None
    return tokens.refresh_token


def good(client: Agent, provider: OpenIDProvider, name: str = "work") -> None:
    """The session's access token is good at its provider, and it refreshes, and the next one is good."""
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
    bring_in(client, provider, browser)


@pytest.mark.parametrize("again", [by_browser, by_device, by_import])
def test_a_session_outlives_what_it_replaced(
    again: Callable[[Agent, OpenIDProvider, Browser], None],
    agent: AgentProcess,
    provider: OpenIDProvider,
    browser: Browser,
) -> None:
    with agent.client() as client:
        log_in(client, browser)
        again(client, provider, browser)
        until(lambda: agent.logged("revoke account=work"))  # that was decided
        good(client, provider)
        assert record(client)["epoch"] == 2
        assert revocations(provider) == 0


def test_a_session_outlives_what_it_replaced_in_the_keyring(provider: OpenIDProvider, browser: Browser) -> None:
    keys = {"work": account(provider, **ANY_PORT)}
    with KeyringSession() as keyring, AgentProcess(keys, environment=keyring.environment, store="keyring") as agent:
        with agent.client() as client:
            log_in(client, browser)
            log_in(client, browser)
            until(lambda: agent.logged("revoke account=work"))
            good(client, provider)
        agent.kill()
        agent.start()
        with agent.client() as client:
            until(lambda: record(client)["state"] == "ready")
            good(client, provider)


def test_another_users_session_that_is_replaced_is_revoked(
    agent: AgentProcess, provider: OpenIDProvider, browser: Browser
) -> None:
    with agent.client() as client:
        log_in(client, browser)
        old = client.token("work").access_token
        leave(browser, provider)
        log_in(client, browser, user=BOB, switch_user=True)
        until(lambda: provider.userinfo(old).status_code == 401)
        good(client, provider)
        assert record(client)["subject"] == BOB


def test_it_is_not_where_that_user_has_another_session(
    agent: AgentProcess, provider: OpenIDProvider, browser: Browser
) -> None:
    with agent.client() as client:
        log_in(client, browser, "narrow")
        log_in(client, browser)
        leave(browser, provider)
        log_in(client, browser, user=BOB, switch_user=True)
        until(lambda: agent.logged("revoke account=work"))
        good(client, provider, "narrow")
        good(client, provider)
        assert revocations(provider) == 0


# ---- what is refused


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
    leave(browser, provider)
    with pytest.raises(Denied, match="another user"):
        log_in(client, browser, user=BOB)


def another_user_by_import(client: Agent, provider: OpenIDProvider, browser: Browser) -> None:
    leave(browser, provider)
    with pytest.raises(Denied, match="another user"):
        bring_in(client, provider, browser, BOB)


@pytest.mark.parametrize(
    ("refused", "revoked"),
    [(without_keys, 0), (forged, 0), (unreadable, 0), (another_user, 1), (another_user_by_import, 1)],
)
def test_a_session_outlives_what_was_refused(
    refused: Callable[[Agent, OpenIDProvider, Browser], None],
    revoked: int,
    agent: AgentProcess,
    provider: OpenIDProvider,
    browser: Browser,
) -> None:
    with agent.client() as client:
        log_in(client, browser)
        refused(client, provider, browser)
        good(client, provider)
        assert revocations(provider) == revoked  # only what is known to be another user's


def test_what_is_refused_costs_another_accounts_session_nothing(
    agent: AgentProcess, provider: OpenIDProvider, browser: Browser
) -> None:
    with agent.client() as client:
        log_in(client, browser, "narrow")
        without_keys(client, provider, browser)
        good(client, provider, "narrow")


def test_what_is_refused_is_revoked_where_there_is_no_session(
    agent: AgentProcess, provider: OpenIDProvider, browser: Browser
) -> None:
    with agent.client() as client:
        without_keys(client, provider, browser)
        assert revocations(provider) == 1


# ---- what a refresh brings too late


def test_a_session_outlives_what_a_refresh_of_the_one_before_brings(
    agent: AgentProcess, provider: OpenIDProvider, browser: Browser
) -> None:
    with agent.client() as client:
        log_in(client, browser)
        login = begin(client)
        redirect = browser.visit(str(login["authorization_url"]))
        provider.fault("delay-after", ms=1500, grant_type="refresh_token")
        with pytest.raises(Timeout):
            client.refresh("work", timeout=0.05)
        until(lambda: provider.requests(provider.token_path, "refresh_token"))
        browser.open(redirect)
        result(client, login)
        # What was replaced, and what came too late.
        until(lambda: len(agent.logged("revoke account=work")) == 2)
        good(client, provider)
        assert revocations(provider) == 0


# ---- logouts


def test_the_logout_of_one_of_two_spares_the_other_and_the_last_is_revoked(
    agent: AgentProcess, provider: OpenIDProvider, browser: Browser
) -> None:
    with agent.client() as client:
        log_in(client, browser)
        log_in(client, browser, "narrow")
        gone = client.logout("narrow")
        assert (gone.revoked, record(client, "narrow")["state"]) == (False, "logged_out")
        assert gone.reason is not None
        assert "the session of work" in gone.reason
        good(client, provider)
        token = client.token("work").access_token
        last = client.logout("work")
        assert (last.revoked, last.reason) == (True, None)
        assert provider.userinfo(token).status_code == 401


def test_a_logout_during_a_refresh_spares_the_other(
    agent: AgentProcess, provider: OpenIDProvider, browser: Browser
) -> None:
    with agent.client() as client:
        log_in(client, browser)
        log_in(client, browser, "narrow")
        provider.fault("delay-after", ms=1500, grant_type="refresh_token")
        with pytest.raises(Timeout):
            client.refresh("narrow", timeout=0.05)
        until(lambda: provider.requests(provider.token_path, "refresh_token"))
        assert client.logout("narrow").reason is not None
        good(client, provider)


def test_the_logout_of_another_users_session_is_revoked(
    agent: AgentProcess, provider: OpenIDProvider, browser: Browser
) -> None:
    with agent.client() as client:
        log_in(client, browser)
        leave(browser, provider)
        log_in(client, browser, "narrow", BOB)
        token = client.token("narrow").access_token
        assert client.logout("narrow").revoked
        assert provider.userinfo(token).status_code == 401
        good(client, provider)


def test_a_person_who_insists_ends_both(agent: AgentProcess, browser: Browser) -> None:
    with agent.client() as client:
        log_in(client, browser)
        log_in(client, browser, "narrow")
        assert client.logout("narrow", revoke_shared=True).revoked
        with pytest.raises(LoginRequired, match="invalid_grant"):
            client.refresh("work")


def test_a_session_whose_account_vanished_is_spared(
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
        good(client, provider)


# ---- by commands


def test_the_command_says_why_it_revoked_nothing_and_revokes_when_told_to(
    agent: AgentProcess, provider: OpenIDProvider, browser: Browser
) -> None:
    with agent.client() as client:
        log_in(client, browser)
        log_in(client, browser, "narrow")
        spared = agent.run("logout", "narrow")
        assert (spared.returncode, spared.stdout) == (0, "")
        assert spared.stderr.startswith(
            "narrow: forgotten here; revoking its refresh token may also end the session of"
        )
        assert "--revoke" in spared.stderr
        good(client, provider)
        log_in(client, browser, "narrow")
        insisted = agent.run("logout", "narrow", "--revoke")
        assert insisted.stderr == "narrow: logged out; its refresh token was revoked at the provider\n"
        with pytest.raises(LoginRequired, match="invalid_grant"):
            client.refresh("work")


def test_a_logout_of_all_revokes_each(agent: AgentProcess, provider: OpenIDProvider, browser: Browser) -> None:
    with agent.client() as client, provider.browser() as another:  # two grants: each has to be revoked
        log_in(client, browser)
        log_in(client, another, "narrow")
        tokens = [client.token(name).access_token for name in ("work", "narrow")]
        done = agent.run("logout", "--all")
        assert done.stderr.count("its refresh token was revoked at the provider") == 2
        assert [provider.userinfo(token).status_code for token in tokens] == [401, 401]


def test_to_keep_the_session_and_to_revoke_it_are_not_both_possible(agent: AgentProcess) -> None:
    done = agent.run("logout", "--keep-session", "--revoke")
    assert done.returncode == 2
    assert "--keep-session revokes nothing" in done.stderr


def test_an_account_that_is_removed_spares_the_other_and_says_so(
    agent: AgentProcess, provider: OpenIDProvider, browser: Browser
) -> None:
    with agent.client() as client:
        log_in(client, browser)
        log_in(client, browser, "narrow")
        done = agent.run("account", "remove", "narrow", "--logout")
        assert "the session of work" in done.stderr
        assert "could not be told" not in done.stderr
        good(client, provider)
