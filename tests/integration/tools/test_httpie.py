"""The real HTTPie at an API that takes tokens, rejects some, and redirects."""

import importlib.util
import json
from collections.abc import Callable, Generator

import pytest

from tests.integration.agent_process import until
from tests.integration.api_server import ApiServer
from tests.integration.tools.tool_home import Result, ToolHome, rotating, tool_home
from tests.op.provider import OpenIDProvider

PAGE = "docs/tools/httpie.md"


@pytest.fixture
def home(start_provider: Callable[..., OpenIDProvider], lifetime: int) -> Generator[ToolHome, None, None]:
    if importlib.util.find_spec("httpie") is None:
        pytest.skip("httpie is not installed: make tools")
    with tool_home(start_provider(access_token_lifetime=lifetime)) as home:
        yield home


@pytest.fixture
def api(home: ToolHome) -> Generator[ApiServer, None, None]:
    """An API that asks the provider about each token, and whose rule is for `work`."""
    with ApiServer() as api:
        home.map(f'[hosts."{api.origin}"]\naccount = "work"\n')
        api.rejects = lambda token: token is None or home.provider.userinfo(token).status_code != 200
        yield api


def http(home: ToolHome, *arguments: str) -> Result:
    return home.run("http", "--ignore-stdin", "--check-status", "--auth-type=auth-agent", *arguments)


@rotating
def test_requests_while_tokens_rotate(home: ToolHome, api: ApiServer) -> None:
    while len(set(api.tokens())) < 4:
        result = http(home, api.origin, "name=value")
        assert result.returncode == 0, result.stderr
    assert {one.body for one in api.requests} == {b'{"name": "value"}'}


@rotating
def test_a_rejected_token_is_replaced_and_the_request_sent_once_more(home: ToolHome, api: ApiServer) -> None:
    with home.agent.client() as client:

        def replaced() -> bool:
            """Whether HTTPie had two tokens; not if the first one was too new to be replaced, or ended too soon."""
            api.clear()
            old = client.token("work").access_token
            api.rejects = lambda token: token == old
            result = http(home, api.origin, "name=value")
            return result.returncode == 0 and len(set(api.tokens())) == 2

        until(replaced)
    assert {one.body for one in api.requests} == {b'{"name": "value"}'}


@pytest.mark.parametrize("status", [302, 307])
def test_another_host_gets_no_token_by_a_redirect(home: ToolHome, api: ApiServer, status: int) -> None:
    with ApiServer() as other:
        http(home, "--follow", f"{api.origin}/redirect?to={other.origin}/x&status={status}")
        assert other.tokens() == [None]
    result = http(home, "--follow", f"{api.origin}/redirect?to={api.origin}/x&status={status}")
    assert result.returncode == 0
    assert api.tokens()[-1] is not None


def test_a_session_of_httpie_has_the_account_and_no_token(home: ToolHome, api: ApiServer) -> None:
    assert http(home, "--session=acme", "--auth=work", api.origin).returncode == 0
    assert home.run("http", "--ignore-stdin", "--check-status", "--session=acme", api.origin).returncode == 0
    (file,) = (home.path / ".config" / "httpie" / "sessions").rglob("acme.json")
    assert json.loads(file.read_text())["auth"] == {"type": "auth-agent", "raw_auth": "work"}
    assert home.files_with({token for token in api.tokens() if token}) == []


def test_without_a_token_nothing_is_sent_and_httpie_says_what_helps(home: ToolHome, api: ApiServer) -> None:
    with ApiServer() as other:
        result = http(home, other.origin)
        assert (result.returncode, other.requests) == (1, [])
        assert "no account is configured for http://127.0.0.1" in result.stderr
    result = http(home, "--auth=home", api.origin)
    assert "gets tokens of the account work, and of no other" in result.stderr
    home.log_out()
    result = http(home, api.origin)
    assert "work is not logged in" in result.stderr
    assert "auth-agent login work" in result.stderr
    home.agent.kill()
    result = http(home, api.origin)
    assert "auth-agent start" in result.stderr
    assert api.requests == []


def test_an_api_that_wants_another_login(home: ToolHome, api: ApiServer) -> None:
    api.rejects = lambda _: True
    api.challenge = 'Bearer error="insufficient_scope", scope="admin"'
    result = http(home, api.origin)
    assert result.returncode == 1
    assert "auth-agent login work" in result.stderr


def test_the_commands_of_the_page(home: ToolHome) -> None:
    home.run_page(PAGE)
