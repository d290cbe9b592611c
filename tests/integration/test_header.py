"""`header` and `exec`: the real curl, a real API, and what a command finds in its environment."""

import json
import os
import shutil
import subprocess
import sys
import threading
from collections.abc import Generator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from auth_agent.cli.header import curl_option
from auth_agent_client import Agent
from tests.integration.agent_process import AgentProcess
from tests.integration.conftest import account, log_in
from tests.integration.terminal import Terminal
from tests.op.provider import OpenIDProvider


class _API(BaseHTTPRequestHandler):
    """Keeps the `Authorization` of each request, and redirects `/to/PORT` to that port."""

    def do_GET(self) -> None:
        assert isinstance(self.server, _Server)
        self.server.seen.append(self.headers["Authorization"])
        to = self.path.removeprefix("/to/")
        self.send_response(302 if to != self.path else 200)
        if to != self.path:
            self.send_header("Location", f"http://127.0.0.1:{to}/")
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 -- the base class's name
        """Print nothing."""


class _Server(ThreadingHTTPServer):
    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _API)
        self.seen: list[str | None] = []

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"


@contextmanager
def serving() -> Generator[_Server, None, None]:
    with _Server() as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join()


@pytest.fixture
def api() -> Generator[_Server, None, None]:
    with serving() as server:
        yield server


@pytest.fixture
def mapped(agent: AgentProcess, client: Agent, provider: OpenIDProvider, api: _Server) -> AgentProcess:
    """An agent with two accounts, and the API's rule for one of them."""
    agent.configure({"work": account(provider), "home": account(provider, default=True)})
    agent.config.write_text(f'{agent.config.read_text()}\n[hosts."{api.url}"]\naccount = "work"\n')
    client.reload()
    log_in(client, provider, "work")
    log_in(client, provider, "home")
    return agent


def pipe(agent: AgentProcess, header: list[str], curl: list[str]) -> None:
    printed = agent.run("header", *header)
    assert (printed.returncode, printed.stderr) == (0, "")
    run_curl(*curl, stdin=printed.stdout)


def run_curl(*arguments: str, stdin: str) -> None:
    if shutil.which("curl") is None:
        pytest.skip("this needs curl: apt-get install curl")
    command = ["curl", "--silent", "--show-error", "--fail", "--noproxy", "*", *arguments]
    subprocess.run(command, input=stdin, text=True, check=True, timeout=60)


@pytest.mark.parametrize(("header", "option"), [([], ["-H", "@-"]), (["--curl"], ["-K", "-"])])
def test_curl_takes_the_header_from_a_pipe(
    mapped: AgentProcess, client: Agent, api: _Server, header: list[str], option: list[str]
) -> None:
    pipe(mapped, [*header, "--url", api.url], [*option, f"{api.url}/x"])
    pipe(mapped, [*header, "home"], [*option, f"{api.url}/x"])
    assert api.seen == [client.token(name).authorization for name in ("work", "home")]


@pytest.mark.parametrize(("header", "option"), [([], ["-H", "@-"]), (["--curl"], ["-K", "-"])])
def test_curl_sends_it_to_no_other_host_after_a_redirect(
    mapped: AgentProcess, api: _Server, header: list[str], option: list[str]
) -> None:
    with serving() as other:
        pipe(mapped, [*header, "--url", api.url], ["--location", *option, f"{api.url}/to/{other.server_address[1]}"])
        assert (len(api.seen), other.seen) == (1, [None])


@pytest.mark.parametrize("token", ['a"b', "a\\b", "a\\", '"', "a\\nb", 'a\\"b', "#a", "a'b $HOME `b`"])
def test_curl_reads_a_token_of_any_characters(api: _Server, token: str) -> None:
    line = curl_option("header", f"Authorization: Bearer {token}")
    run_curl("-K", "-", api.url, stdin=f"{line}\n")
    assert api.seen == [f"Bearer {token}"]


def test_the_headers_as_json(mapped: AgentProcess, client: Agent, api: _Server) -> None:
    headers = json.loads(mapped.run("header", "--json", "--url", f"{api.url}/mcp").stdout)
    assert headers == {"Authorization": client.token("work").authorization}


@pytest.mark.parametrize(
    ("arguments", "code"),
    [(["--json", "home"], 6), (["--json"], 0), (["work"], 0), (["--url", "https://evil.example/"], 0)],
)
def test_the_url_that_the_calling_tool_names_decides(
    mapped: AgentProcess, client: Agent, api: _Server, arguments: list[str], code: int
) -> None:
    mapped.environment["CLAUDE_CODE_MCP_SERVER_URL"] = f"{api.url}/mcp"
    result = mapped.run("header", *arguments)
    assert result.returncode == code
    assert (client.token("work").access_token in result.stdout) is (code == 0)
    mapped.environment["CLAUDE_CODE_MCP_SERVER_URL"] = "https://evil.example/mcp"
    for name in (*(["work"], ["home"], []), ["--url", api.url]):
        result = mapped.run("header", "--json", *name)
        assert (result.returncode, result.stdout) == (6, "")


def test_the_value_alone(mapped: AgentProcess, client: Agent, api: _Server) -> None:
    assert mapped.run("header", "--value", "--url", api.url).stdout == f"{client.token('work').authorization}\n"


def test_two_forms_exclude_each_other(mapped: AgentProcess) -> None:
    result = mapped.run("header", "--json", "--value", "work")
    assert (result.returncode, result.stdout) == (2, "")


# ---- exec

PRINT = (sys.executable, "-c", "import os, sys; print(os.environ.get(sys.argv[1])); sys.exit(7)")


@pytest.mark.parametrize(("options", "variable"), [((), "BEARER_TOKEN"), (("--env", "API_TOKEN"), "API_TOKEN")])
def test_a_command_has_the_token_in_its_environment_and_its_own_exit_code(
    mapped: AgentProcess, client: Agent, options: tuple[str, ...], variable: str
) -> None:
    result = mapped.run("exec", "work", *options, "--", *PRINT, variable)
    assert (result.returncode, result.stdout, result.stderr) == (7, f"{client.token('work').access_token}\n", "")


def test_a_command_takes_the_place_of_the_process_and_its_arguments_stay(mapped: AgentProcess) -> None:
    program = "import os, sys; print(os.getpid() == os.getsid(0) or os.getppid(), sys.argv[1:])"
    command = [*mapped.command, "exec", "--", sys.executable, "-c", program, "--quiet", "--url", "--", "-v"]
    result = subprocess.run(command, env=mapped.environment, capture_output=True, text=True, check=True)
    assert result.stdout == f"{os.getpid()} ['--quiet', '--url', '--', '-v']\n"


def test_a_command_inherits_no_signal_that_python_ignores(mapped: AgentProcess) -> None:
    result = mapped.run("exec", "work", "--", "sh", "-c", "kill -PIPE $$; echo it was ignored")
    assert (result.stdout, result.stderr) == ("", "")
    assert result.returncode != 0


def test_what_can_not_be_run_has_the_exit_code_of_shells(mapped: AgentProcess, tmp_path: Path) -> None:
    (tmp_path / "text").write_text("no program")
    for name, code in (("no-such-command", 127), (str(tmp_path / "none"), 127), (str(tmp_path / "text"), 126)):
        result = mapped.run("exec", "work", "--", name)
        assert (result.returncode, result.stdout) == (code, "")
        assert name in result.stderr


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (("work",), 2),
        (("work", "true"), 2),
        (("work", "--env", "A=B", "--", "true"), 2),
        (("work", "--env", "1A", "--", "true"), 2),
        (("work", "--env=", "--", "true"), 2),
        (("nobody", "--", "true"), 1),
        (("--url", "https://other.example", "--", "true"), 6),
    ],
)
def test_without_a_token_nothing_is_run(mapped: AgentProcess, arguments: tuple[str, ...], code: int) -> None:
    result = mapped.run("exec", *arguments)
    assert (result.returncode, result.stdout) == (code, "")
    assert result.stderr


def test_at_a_terminal_it_says_until_when_the_token_is_valid(mapped: AgentProcess) -> None:
    for more, said in (((), True), (("--quiet",), False)):
        command = [*mapped.command, *more, "exec", "work", "--", "echo", "ran"]
        with Terminal(command, mapped.environment) as terminal:
            assert terminal.end() == 0
            assert ("BEARER_TOKEN" in terminal.shown) is said
            assert "ran" in terminal.shown
