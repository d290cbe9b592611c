"""Another local user at the port of a login: refused by the kernel's word, and the login goes on."""

import os
import signal
import subprocess
from collections.abc import Generator
from urllib.parse import urlsplit

import pytest

from auth_agent_client import Agent
from tests.integration.agent_process import PATIENCE, AgentProcess
from tests.integration.conftest import account, record
from tests.integration.impostor import UNPRIVILEGED
from tests.op.provider import OpenIDProvider

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="only root can be two users")

REFUSED = "redirect refused from=another_user"
# Connects to a host and port, sends a request, and prints the response; or leaves at once.
SENDER = """
import socket, sys
host, port, request, how = sys.argv[1:]
one = socket.create_connection((host, int(port)))
one.sendall(request.encode())
while how == "stay" and (data := one.recv(65536)):
    sys.stdout.buffer.write(data)
"""


@pytest.fixture
def agent(provider: OpenIDProvider) -> Generator[AgentProcess, None, None]:
    with AgentProcess({"work": account(provider, redirect_ports=[0])}) as process:
        yield process


def begin(client: Agent) -> dict[str, object]:
    return client.call("login", {"account": "work", "flow": "browser"})


def send(user: int, url: str, how: str = "stay", host: str = "127.0.0.1") -> str:
    """Send a GET of that URL as that user; return the response."""
    parts = urlsplit(url)
    request = f"GET {parts.path or '/'}?{parts.query} HTTP/1.1\r\nHost: {parts.netloc}\r\n\r\n"
    command = ["/usr/bin/python3", "-c", SENDER, host, str(parts.port), request, how]
    result = subprocess.run(command, user=user, cwd="/", capture_output=True, text=True, timeout=PATIENCE, check=True)
    return result.stdout


def finish(client: Agent, login: dict[str, object], provider: OpenIDProvider) -> None:
    """Log in by this user's browser, and check that the session is that user's."""
    assert record(client).state == "logged_out"
    assert provider.enter(str(login["authorization_url"])).status_code == 200
    client.call("login_result", {"login_id": login["login_id"]})
    assert (record(client).state, record(client).subject) == ("ready", "auth0|alice")


@pytest.mark.parametrize("host", ["127.0.0.1", "::ffff:127.0.0.1"])
def test_another_user_who_brings_a_code_of_his_own_is_refused(
    host: str, provider: OpenIDProvider, agent: AgentProcess, client: Agent
) -> None:
    login = begin(client)
    url = provider.visit(str(login["authorization_url"]), "auth0|mallory")
    start = send(UNPRIVILEGED, str(login["start_url"]), host=host)
    assert start.startswith("HTTP/1.1 403 ")
    assert "Location" not in start
    for _ in range(2):
        response = send(UNPRIVILEGED, url, host=host)
        assert response.startswith("HTTP/1.1 403 ")
        assert "auth-agent login --no-browser" in response.replace("<span>", "").replace("</span>", "")
    assert len(agent.until_logged(REFUSED)) == 1
    finish(client, login, provider)


@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
def test_another_user_is_refused_at_both_addresses_of_localhost(host: str, provider: OpenIDProvider) -> None:
    keys = account(provider, "portal-app", redirect_ports=[0], redirect_host="localhost", redirect_path="")
    with AgentProcess({"work": keys}) as agent, agent.client() as client:
        login = begin(client)
        url = provider.visit(str(login["authorization_url"]), "auth0|mallory")
        assert send(UNPRIVILEGED, str(login["start_url"]), host=host).startswith("HTTP/1.1 403 ")
        assert send(UNPRIVILEGED, url, host=host).startswith("HTTP/1.1 403 ")
        assert len(agent.until_logged(REFUSED)) == 1
        assert send(os.geteuid(), str(login["start_url"]), host=host).startswith("HTTP/1.1 303 ")
        finish(client, login, provider)


def test_another_user_who_has_left_before_he_is_accepted_is_refused(
    provider: OpenIDProvider, agent: AgentProcess, client: Agent
) -> None:
    """The kernel says root for the connection that he closed."""
    login = begin(client)
    url = provider.visit(str(login["authorization_url"]), "auth0|mallory")
    os.kill(agent.process.pid, signal.SIGSTOP)
    send(UNPRIVILEGED, url, "leave")
    os.kill(agent.process.pid, signal.SIGCONT)
    agent.until_logged(REFUSED)
    finish(client, login, provider)


def test_a_mapped_address_is_this_users_too(provider: OpenIDProvider, agent: AgentProcess, client: Agent) -> None:
    login = begin(client)
    url = provider.visit(str(login["authorization_url"]))
    assert send(os.geteuid(), url, host="::ffff:127.0.0.1").startswith("HTTP/1.1 200 ")
    assert not agent.logged(REFUSED)
    assert record(client).subject == "auth0|alice"


def test_a_refused_login_goes_on_by_the_pasted_url(provider: OpenIDProvider, client: Agent) -> None:
    login = begin(client)
    url = provider.visit(str(login["authorization_url"]))
    assert send(UNPRIVILEGED, url).startswith("HTTP/1.1 403 ")
    client.call("login_redirect", {"login_id": login["login_id"], "url": url})
    assert client.call("login_result", {"login_id": login["login_id"]})["subject"] == "auth0|alice"
