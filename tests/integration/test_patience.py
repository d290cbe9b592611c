"""Commands that wait for a provider: after a second without a response, they name it at a terminal."""

import os
import re
import signal
import time
from collections.abc import Generator
from contextlib import contextmanager
from urllib.parse import urlsplit

import pytest

from tests.integration.agent_process import COMMAND, AgentProcess, until
from tests.integration.conftest import account, log_in
from tests.integration.terminal import Terminal
from tests.op.provider import HELD, MANAGEMENT_SCOPE, OpenIDProvider

ALICE = "auth0|alice"
ADDRESS = r"http://127\.0\.0\.1:\d+/authorize\?\S+(?=\s)"
SILENCE = 1.0  # s, after which a command reports that there is no response
LONG = 3000  # ms, for which the provider holds a request: far more than that


@pytest.fixture
def agent(provider: OpenIDProvider) -> Generator[AgentProcess, None, None]:
    """An agent with sessions of `work`, and of `users` for the Management API."""
    scope = f"openid offline_access {MANAGEMENT_SCOPE}"
    users = account(provider, audience=provider.management_audience, scope=scope)
    work = account(provider, redirect_ports=[0], management_account="users")
    with AgentProcess({"work": work, "users": users}) as process:
        process.environment.update(BROWSER="", DISPLAY="", WAYLAND_DISPLAY="")
        with process.client() as client:
            log_in(client, provider)
            log_in(client, provider, "users", audience=provider.management_audience, scope=scope)
        yield process


def at_terminal(agent: AgentProcess, *arguments: str) -> Terminal:
    return Terminal([*COMMAND, *arguments], agent.environment)


def notice(provider: OpenIDProvider) -> str:
    """Return what is printed during the wait for that provider."""
    return f"auth-agent: waiting for {urlsplit(provider.issuer).netloc}; Ctrl-C stops waiting\n"


def respond_after_the_notice(provider: OpenIDProvider, terminal: Terminal) -> None:
    """Let the provider respond once the command has named it."""
    terminal.until(re.escape(notice(provider)))
    provider.release()


@pytest.mark.parametrize(
    ("arguments", "route"),
    [
        (("token", "--force"), "token"),
        (("token", "--audience", "https://other.example"), "token"),
        (("refresh",), "token"),
        (("id-token", "--min-ttl", "100000"), "token"),
        (("profile",), "userinfo"),
        (("user",), "user"),
        (("metadata", "get"), "user"),
        (("metadata", "set", "country=Canada"), "user"),
        (("logout", "--revoke"), "revocation"),
        (("logout", "--all"), "revocation"),
    ],
    ids=str,
)
def test_a_command_names_the_provider_that_does_not_respond(
    arguments: tuple[str, ...], route: str, agent: AgentProcess, provider: OpenIDProvider
) -> None:
    routes = {**provider.paths, "user": provider.user_path(ALICE)}
    provider.fault("delay", ms=HELD, route=routes[route])
    with at_terminal(agent, *arguments) as terminal:
        respond_after_the_notice(provider, terminal)
        terminal.end()
        assert terminal.shown.count(notice(provider)) == terminal.shown.count("waiting for") == 1


def test_an_import_names_the_provider_that_does_not_respond(agent: AgentProcess, provider: OpenIDProvider) -> None:
    refresh_token = provider.login(client_id="native-app").refresh_token
    provider.fault("delay", ms=HELD, grant_type="refresh_token")
    with at_terminal(agent, "import", "work") as terminal:
        terminal.until("Refresh token")
        terminal.type(f"{refresh_token}\n")
        respond_after_the_notice(provider, terminal)
        assert terminal.end() == 0


def test_token_with_a_url_names_the_provider_that_does_not_respond(
    agent: AgentProcess, provider: OpenIDProvider
) -> None:
    hosts = '\n[hosts."api.example"]\naccount = "users"\n'
    agent.config.write_text(f"{agent.config.read_text()}{hosts}")
    assert agent.run("reload").returncode == 0
    provider.fault("delay", ms=HELD, grant_type="refresh_token")
    with at_terminal(agent, "token", "--force", "--url", "https://api.example/") as terminal:
        respond_after_the_notice(provider, terminal)
        assert terminal.end() == 0


def test_a_command_prints_nothing_if_the_response_is_quick_or_there_is_no_terminal(
    agent: AgentProcess, provider: OpenIDProvider
) -> None:
    shown = until(lambda: shown_by_a_quick_refresh(agent))
    assert "waiting" not in shown
    provider.fault("delay", ms=LONG, grant_type="refresh_token")
    result = agent.run("token", "--force")
    assert (result.returncode, result.stderr) == (0, "")


def shown_by_a_quick_refresh(agent: AgentProcess) -> str:
    """Return what a refresh prints at a terminal, or "" if it took too long to be quick, as on a busy machine."""
    begun = time.monotonic()
    with at_terminal(agent, "refresh", "work") as terminal:
        assert terminal.end() == 0
    return terminal.shown if time.monotonic() - begun < SILENCE else ""


def test_quiet_prints_no_notice(agent: AgentProcess, provider: OpenIDProvider) -> None:
    provider.fault("delay", ms=LONG, grant_type="refresh_token")
    with at_terminal(agent, "token", "--force", "-q") as terminal:
        assert terminal.end() == 0
        assert "waiting" not in terminal.shown


def test_ctrl_c_stops_waiting_and_the_agent_goes_on(agent: AgentProcess, provider: OpenIDProvider) -> None:
    before = provider.count(provider.token_path)
    provider.fault("delay", ms=HELD, grant_type="refresh_token")
    with at_terminal(agent, "token", "--force") as terminal:
        terminal.until("Ctrl-C stops waiting")
        terminal.type("\x03")
        assert terminal.end() == 130
    provider.release()
    with agent.client() as client:
        until(lambda: client.status("work").accounts[0].renewal == "idle")
        assert client.status("work").accounts[0].refreshes == 1
    assert provider.count(provider.token_path) == before + 1


def test_a_provider_that_is_too_late_is_named(agent: AgentProcess, provider: OpenIDProvider) -> None:
    provider.fault("delay", ms=HELD, grant_type="refresh_token")
    result = agent.run("token", "--force", "--timeout", "0.2")
    host = urlsplit(provider.issuer).netloc
    assert (result.returncode, result.stderr) == (
        5, f"auth-agent: work: no answer from {host} within 0.2 s; the work goes on\n",
    )  # fmt: skip


# ---- a login


def test_a_login_names_the_provider_that_does_not_begin_it(agent: AgentProcess, provider: OpenIDProvider) -> None:
    provider.fault("delay", ms=HELD, route="/.well-known/openid-configuration")
    new = ("home", "--issuer", provider.issuer, "--client-id", "second-app")
    provider.fault("delay", ms=HELD, route=provider.paths["device_authorization"])
    with at_terminal(agent, "login", *new, "--flow", "device") as terminal:
        respond_after_the_notice(provider, terminal)
        terminal.until("enter the code")
        terminal.type("\x03")
        terminal.end()


def test_a_login_by_a_pasted_url_names_the_provider_that_redeems_its_code(
    agent: AgentProcess, provider: OpenIDProvider
) -> None:
    provider.fault("delay", ms=HELD, grant_type="authorization_code")
    with at_terminal(agent, "login", "work", "--no-browser") as terminal:
        address = terminal.until(ADDRESS)[0]
        terminal.until("Waiting for the login")
        terminal.type(f"{provider.visit(address)}\n")
        terminal.until(f"Waiting for {urlsplit(provider.issuer).netloc}: ")
        provider.release()
        assert terminal.end() == 0


# ---- not the provider


@contextmanager
def stopped(agent: AgentProcess) -> Generator[None, None, None]:
    """An agent that doesn't respond."""
    os.kill(agent.process.pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(agent.process.pid, signal.SIGCONT)


def test_an_agent_that_does_not_respond_is_reported(agent: AgentProcess) -> None:
    with stopped(agent), at_terminal(agent, "token") as terminal:
        terminal.until("auth-agent: waiting for the agent; Ctrl-C stops waiting\n")
        terminal.type("\x03")
        assert terminal.end() == 130
