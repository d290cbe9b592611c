"""The real curl, and commands with a token in their environment, while tokens of five seconds rotate."""

import shutil
from collections.abc import Callable, Generator

import pytest

from tests.integration.tools.token_server import BEARER, Response, TokenServer
from tests.integration.tools.tool_home import ToolHome, rotating, tool_home
from tests.op.provider import OpenIDProvider

SCRIPT = 'printf "Authorization: Bearer %s\\n" "$BEARER_TOKEN" | curl -sSf -H @- {url}'


@pytest.fixture
def home(start_provider: Callable[..., OpenIDProvider], lifetime: int) -> Generator[ToolHome, None, None]:
    if shutil.which("curl") is None:
        pytest.skip("this needs curl: apt-get install curl")
    with tool_home(start_provider(access_token_lifetime=lifetime)) as home:
        yield home


@pytest.fixture
def server(home: ToolHome) -> Generator[TokenServer, None, None]:
    """An API whose rule is for `work`."""
    with TokenServer(home.provider, BEARER, respond=lambda _: Response(b"ok")) as server:
        home.map(f'[hosts."{server.url}"]\naccount = "work"\n')
        yield server


@pytest.mark.parametrize(
    "command",
    [
        "auth-agent header --url {url} | curl -sSf -H @- {url}",
        "auth-agent header --curl --url {url} | curl -sSf -K - {url}",
        f"auth-agent exec --url {{url}} -- sh -c '{SCRIPT}'",
    ],
    ids=["header", "curl", "exec"],
)
@rotating
def test_requests_while_tokens_rotate(home: ToolHome, server: TokenServer, command: str) -> None:
    while len(server.tokens) < 4:
        assert home.succeed("sh", "-c", command.format(url=server.url)) == "ok"
    assert server.statuses == {200}
