"""The real rclone at a WebDAV server that takes the provider's tokens alone."""

from collections.abc import Callable, Generator, Mapping

import pytest

from tests.integration.agent_process import until
from tests.integration.tools.token_server import BEARER, NOT_FOUND, Request, Response, TokenServer
from tests.integration.tools.tool_home import SCRIPTS, Result, ToolHome, rotating, tool_home
from tests.op.provider import OpenIDProvider

PAGE = "docs/tools/rclone.md"
FILES: Mapping[str, bytes] = {f"file{number}": b"content" for number in range(6)}


class WebDAVServer(TokenServer):
    """A directory with `FILES` (RFC 4918)."""

    def __init__(self, provider: OpenIDProvider) -> None:
        super().__init__(provider, BEARER, respond=self._file)
        # Paths whose response waits until the token of the request has ended.
        self.slow: set[str] = set()

    def _file(self, request: Request) -> Response:
        if request.path in self.slow:
            until(lambda: not self.takes(request.token), every=0.1)
        name = request.path.strip("/")
        if request.method == "PROPFIND" and (not name or name in FILES):
            names = [name] if name else ["", *FILES]
            body = "".join(map(_properties, names))
            xml = f'<?xml version="1.0"?><d:multistatus xmlns:d="DAV:">{body}</d:multistatus>'
            return Response(xml.encode(), 207, {"Content-Type": "application/xml"})
        return Response(FILES[name]) if name in FILES else NOT_FOUND


def _properties(name: str) -> str:
    kind = (
        f"<d:getcontentlength>{len(FILES[name])}</d:getcontentlength><d:resourcetype/>"
        if name
        else "<d:resourcetype><d:collection/></d:resourcetype>"
    )
    modified = "<d:getlastmodified>Mon, 01 Jan 2024 00:00:00 GMT</d:getlastmodified>"
    status = "<d:status>HTTP/1.1 200 OK</d:status>"
    properties = f"<d:propstat><d:prop>{kind}{modified}</d:prop>{status}</d:propstat>"
    return f"<d:response><d:href>/{name}</d:href>{properties}</d:response>"


@pytest.fixture
def home(start_provider: Callable[..., OpenIDProvider], lifetime: int) -> Generator[ToolHome, None, None]:
    if not (SCRIPTS / "rclone").exists():
        pytest.skip("rclone is not installed: make tools")
    with tool_home(start_provider(access_token_lifetime=lifetime)) as home:
        yield home


@pytest.fixture
def server(home: ToolHome) -> Generator[WebDAVServer, None, None]:
    """A server whose host is mapped to `work`, and a remote of rclone."""
    with WebDAVServer(home.provider) as server:
        home.map(f'[hosts."{server.url}"]\naccount = "work"\n')
        command = f"bearer_token_command=auth-agent token --url {server.url}/"
        home.succeed("rclone", "config", "create", "acme", "webdav", f"url={server.url}", "vendor=other", command)
        yield server


def rclone(home: ToolHome, *arguments: str) -> Result:
    return home.run("rclone", "--retries=1", "--low-level-retries=2", *arguments)


def test_files_are_listed_and_copied(home: ToolHome, server: WebDAVServer) -> None:
    assert sorted(rclone(home, "lsf", "acme:").stdout.split()) == sorted(FILES)
    result = rclone(home, "copy", "acme:", "copies")
    assert result.returncode == 0, result.stderr
    assert {path.name: path.read_bytes() for path in (home.path / "copies").iterdir()} == FILES
    assert server.statuses == {200}
    assert home.files_with(server.tokens) == []


@rotating
def test_commands_while_tokens_rotate(home: ToolHome, server: WebDAVServer) -> None:
    while len(server.tokens) < 4:
        assert rclone(home, "lsf", "acme:").returncode == 0
    assert server.statuses == {200}


@rotating
def test_a_token_that_ends_during_a_copy_is_replaced(home: ToolHome, server: WebDAVServer) -> None:
    server.slow.add("/file2")
    result = rclone(home, "copy", "--transfers=1", "--checkers=1", "acme:", "copies")
    assert result.returncode == 0, result.stderr
    assert len(list((home.path / "copies").iterdir())) == len(FILES)
    assert len(server.tokens) > 1


def test_without_a_token_rclone_says_what_helps(home: ToolHome, server: WebDAVServer) -> None:
    home.log_out()
    result = rclone(home, "lsf", "acme:")
    assert result.returncode != 0
    assert "work is not logged in" in result.stderr
    assert "auth-agent login work" in result.stderr
    home.agent.kill()
    result = rclone(home, "lsf", "acme:")
    assert "auth-agent start" in result.stderr
    assert server.seen == []


def test_the_commands_of_the_page(home: ToolHome) -> None:
    home.run_page(PAGE)
