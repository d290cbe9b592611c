"""A login as a person has it: a real browser, the provider's own pages, and the page that it ends on."""

import re
from collections.abc import Generator
from typing import Any

import pytest
from playwright.sync_api import ConsoleMessage, Page, Request, expect

from auth_agent_client import Agent, Denied, ProviderError
from tests.integration.agent_process import AgentProcess
from tests.integration.browser import Scheme, browser, picture
from tests.integration.conftest import account, record
from tests.op.provider import OpenIDProvider

ANY: dict[str, Any] = {"redirect_ports": [0]}
# Of what the page may show, the widest.
NARROW = 380


@pytest.fixture
def agent(provider: OpenIDProvider) -> Generator[AgentProcess, None, None]:
    with AgentProcess({"work": account(provider, **ANY)}) as process:
        yield process


class Watched:
    """A browser's page, and what became of it that nobody should see."""

    def __init__(self, page: Page) -> None:
        self.page = page
        self.complaints: list[str] = []
        self.requests: list[Request] = []
        page.on("console", self._hear)
        page.on("request", self._note)

    def _hear(self, message: ConsoleMessage) -> None:
        if "/callback" in message.location["url"]:  # what the provider's pages complain of is their own affair
            self.complaints.append(message.text)

    def _note(self, request: Request) -> None:
        self.requests.append(request)

    def log_in(self, address: str, user: str = "auth0|alice") -> None:
        """Log in, and consent, on the provider's pages."""
        self.page.goto(address)
        self.page.locator("[name=login]").fill(user)
        self.page.locator("[name=password]").fill("any will do")
        self.page.locator("[type=submit]").click()
        self.page.locator("[type=submit]", has_text=re.compile("continue", re.IGNORECASE)).click()

    def check(self) -> None:
        """Check that the page loaded nothing else, logged no error, and fits into its window."""
        here = self.page.url.partition("/callback")[0]
        assert here.startswith("http://127.0.0.1:")
        last = [one.url for one in self.requests if one.url.startswith(here)]
        assert len(last) == 1, last
        assert self.requests[-1].url == last[0]
        assert self.complaints == []
        assert self.page.evaluate("document.documentElement.scrollWidth <= window.innerWidth")
        assert self.page.locator("script").count() == 0


def begin(client: Agent, **more: object) -> dict[str, object]:
    return client.call("login", {"account": "work", "flow": "browser", **more})


def result(client: Agent, login: dict[str, object]) -> dict[str, object]:
    return client.call("login_result", {"login_id": login["login_id"]})


@pytest.mark.parametrize(("scheme", "width"), [("light", 800), ("dark", NARROW)])
def test_the_page_after_a_login_names_the_user(
    scheme: Scheme, width: int, provider: OpenIDProvider, client: Agent
) -> None:
    with browser(scheme, width) as page:
        watched = Watched(page)
        login = begin(client)
        watched.log_in(str(login["authorization_url"]))
        expect(page.get_by_role("heading")).to_have_text("Logged in")
        record = result(client, login)
        for text in (str(record["name"]), provider.issuer.rstrip("/"), "work", "You can close this tab"):
            expect(page.get_by_text(text).first).to_be_visible()
        picture(page, f"logged-in-{scheme}")
        watched.check()
    assert (record["state"], record["subject"]) == ("ready", "auth0|alice")
    assert provider.userinfo(client.token("work").access_token).status_code == 200


def test_a_login_begins_at_the_start_url_from_which_nothing_is_sent_on(provider: OpenIDProvider, client: Agent) -> None:
    with browser() as page:
        watched = Watched(page)
        login = begin(client)
        watched.log_in(str(login["start_url"]))
        expect(page.get_by_role("heading")).to_have_text("Logged in")
        begun, *others = watched.requests
        assert begun.url == login["start_url"]
        assert others[0].url == login["authorization_url"]
        assert not any(str(login["start_url"]) in str(one.all_headers()) for one in others)
        assert not any("/login/" in one.all_headers().get("referer", "") for one in others)
        assert result(client, login)["state"] == "ready"
    assert provider.userinfo(client.token("work").access_token).status_code == 200


def test_a_login_of_a_client_that_is_registered_for_localhost(provider: OpenIDProvider) -> None:
    keys = account(provider, "portal-app", redirect_host="localhost", redirect_path="", **ANY)
    with AgentProcess({"work": keys}) as agent, agent.client() as client, browser() as page:
        login = begin(client)
        Watched(page).log_in(str(login["start_url"]))
        expect(page.get_by_role("heading")).to_have_text("Logged in")
        assert re.match(r"http://localhost:\d+/\?", page.url)
        assert result(client, login)["state"] == "ready"
        assert provider.userinfo(client.token("work").access_token).status_code == 200


@pytest.mark.parametrize(("scheme", "width"), [("dark", 800), ("light", NARROW)])
def test_the_page_after_a_login_by_another_user_has_the_remedy(scheme: Scheme, width: int, client: Agent) -> None:
    with browser() as page:
        login = begin(client)
        Watched(page).log_in(str(login["authorization_url"]))
        before = result(client, login)
    with browser(scheme, width) as page:
        watched = Watched(page)
        login = begin(client)
        watched.log_in(str(login["authorization_url"]), "auth0|bob")
        expect(page.get_by_role("heading")).to_have_text("Not logged in")
        expect(page.locator("code")).to_have_text("auth-agent login work --switch-user")
        with pytest.raises(Denied):
            result(client, login)
        picture(page, f"another-user-{scheme}")
        watched.check()
    assert record(client)["subject"] == before["subject"]


def test_the_page_after_a_cancelled_login_has_the_remedy(client: Agent) -> None:
    with browser() as page:
        watched = Watched(page)
        login = begin(client)
        page.goto(str(login["authorization_url"]))
        page.get_by_text(re.compile("cancel", re.IGNORECASE)).click()
        expect(page.get_by_role("heading")).to_have_text("Not logged in")
        expect(page.locator("code")).to_have_text("auth-agent login work")
        with pytest.raises(Denied):
            result(client, login)
        picture(page, "cancelled")
        watched.check()


def test_a_forged_id_token_is_reported_on_a_page_without_a_script(provider: OpenIDProvider, client: Agent) -> None:
    provider.fault("merge", claims={"nonce": "of another login"}, grant_type="authorization_code")
    with browser("dark", javascript=False) as page:
        login = begin(client)
        Watched(page).log_in(str(login["authorization_url"]))
        expect(page.get_by_role("heading")).to_have_text("Not logged in")
        expect(page.get_by_text("nonce")).to_be_visible()
        with pytest.raises(ProviderError):
            result(client, login)
        picture(page, "forged")


def test_a_redirect_that_belongs_to_no_login_changes_nothing(client: Agent) -> None:
    with browser("light") as page:
        watched = Watched(page)
        login = begin(client)
        redirect = re.search(r"redirect_uri=http%3A%2F%2F127\.0\.0\.1%3A(\d+)", str(login["authorization_url"]))
        assert redirect is not None
        response = page.goto(f"http://127.0.0.1:{redirect[1]}/callback?code=guessed&state=guessed")
        assert response is not None
        assert not response.ok
        picture(page, "not-awaited")
        watched.log_in(str(login["authorization_url"]))
        expect(page.get_by_role("heading")).to_have_text("Logged in")
        assert result(client, login)["state"] == "ready"
