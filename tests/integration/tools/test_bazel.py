"""`bazel-credential-auth-agent` as a build tool runs it, by the Credential Helpers Specification."""

import json
from collections.abc import Callable, Generator
from datetime import datetime
from time import time

import pytest

from tests.integration.tools.token_server import BEARER, Response, TokenServer
from tests.integration.tools.tool_home import LIFETIME, Result, ToolHome, rotating, tool_home
from tests.op.provider import OpenIDProvider

PAGE = "docs/tools/bazel.md"
PROGRAM = "bazel-credential-auth-agent"


@pytest.fixture
def home(start_provider: Callable[..., OpenIDProvider], lifetime: int) -> Generator[ToolHome, None, None]:
    with tool_home(start_provider(access_token_lifetime=lifetime)) as home:
        yield home


@pytest.fixture
def server(home: ToolHome) -> Generator[TokenServer, None, None]:
    """A server whose host is mapped to `work`."""
    with TokenServer(home.provider, BEARER, respond=lambda _: Response()) as server:
        home.map(f'[hosts."{server.url}/cache"]\naccount = "work"\n')
        yield server


def get(home: ToolHome, uri: str) -> Result:
    return home.run(PROGRAM, "get", stdin=json.dumps({"uri": uri}))


@rotating
def test_its_headers_are_good_until_they_expire_while_tokens_rotate(home: ToolHome, server: TokenServer) -> None:
    while len(server.tokens) < 4:
        result = get(home, f"{server.url}/cache/x")
        assert (result.returncode, result.stderr) == (0, "")
        answer = json.loads(result.stdout)
        (authorization,) = answer["headers"].pop("Authorization")
        assert server.answer("GET", "/cache/x", {"Authorization": authorization}, b"").status == 200
        assert (answer["headers"], sorted(answer)) == ({}, ["expires", "headers"])
        assert datetime.fromisoformat(answer["expires"]).timestamp() <= time() + LIFETIME
    assert server.statuses == {200}


def test_grpc_on_this_machine_is_mapped_like_http(home: ToolHome, server: TokenServer) -> None:
    assert get(home, f"grpc://{server.host}/cache/service.Method").returncode == 0


@pytest.mark.parametrize(
    ("uri", "code"),
    [("https://evil.example/", 6), ("grpc://evil.example/", 2), ("https://u@cache.example/", 2), ("s3://bucket/x", 2)],
)
@pytest.mark.usefixtures("server")
def test_a_uri_without_a_rule_is_an_error(home: ToolHome, uri: str, code: int) -> None:
    result = get(home, uri)
    assert (result.returncode, result.stdout) == (code, "")
    assert result.stderr.startswith("auth-agent: ")
    assert "u@" not in result.stderr


def test_without_a_token_it_says_what_helps(home: ToolHome, server: TokenServer) -> None:
    uri = f"{server.url}/cache"
    home.log_out()
    result = get(home, uri)
    assert (result.returncode, result.stdout) == (4, "")
    assert "auth-agent login work" in result.stderr
    home.agent.kill()
    result = get(home, uri)
    assert (result.returncode, result.stdout) == (3, "")
    assert "auth-agent start" in result.stderr


@pytest.mark.parametrize(("arguments", "stdin"), [((), "{}"), (("store",), "{}"), (("get",), ""), (("get",), "{}")])
def test_what_is_not_of_the_protocol_is_an_error(home: ToolHome, arguments: tuple[str, ...], stdin: str) -> None:
    result = home.run(PROGRAM, *arguments, stdin=stdin)
    assert (result.returncode, result.stdout) == (2, "")
    assert "Traceback" not in result.stderr


def test_the_commands_of_the_page(home: ToolHome) -> None:
    home.run_page(PAGE)
    assert f"={home.run('sh', '-c', f'command -v {PROGRAM}').stdout}" in (home.path / ".bazelrc").read_text()
