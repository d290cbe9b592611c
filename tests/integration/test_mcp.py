"""The bridge of `auth-agent mcp`, at a server that refuses, redirects, restarts and breaks off."""

import json
import subprocess
import threading
from collections.abc import Generator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any, Self

import pytest

from auth_agent_client import Agent
from tests.integration.agent_process import PATIENCE, AgentProcess, until
from tests.integration.conftest import account, log_in
from tests.op.provider import OpenIDProvider

VERSION = "2025-06-18"
INITIALIZE = {"jsonrpc": "2.0", "id": 0, "method": "initialize", "params": {"protocolVersion": VERSION}}
INITIALIZED = {"jsonrpc": "2.0", "method": "notifications/initialized"}


class Server(ThreadingHTTPServer):
    """An MCP server with sessions, which does with each request what `turns` says, then what is right."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.turns: dict[str, list[str]] = {}
        self.sessions: set[str] = set()
        # Method or HTTP method, Authorization, and headers of each request.
        self.seen: list[tuple[str, str, dict[str, str]]] = []
        self.waiting = threading.Event()
        self.closed = threading.Event()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}/mcp"

    def count(self, method: str) -> int:
        return sum(one == method for one, _, _ in self.seen)


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    @property
    def owner(self) -> Server:
        assert isinstance(self.server, Server)
        return self.server

    def do_POST(self) -> None:
        message = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        method = message.get("method", "response")
        self._note(method)
        turns = self.owner.turns.get(method, [])
        turn = turns.pop(0) if turns else "answer"
        session = self.headers.get("Mcp-Session-Id")
        if turn in ("401", "403", "500"):
            self._send(int(turn), b"", {"WWW-Authenticate": "Bearer"} if turn == "401" else {})
        elif turn.startswith("redirect "):
            self._send(307, b"", {"Location": turn.removeprefix("redirect ")})
        elif method == "initialize":
            identifier = f"session-{self.owner.count('initialize')}"
            self.owner.sessions = {identifier}
            body = {"jsonrpc": "2.0", "id": message["id"], "result": {"protocolVersion": VERSION}}
            self._send(200, json.dumps(body, indent=1).encode(), {"Mcp-Session-Id": identifier})
        elif "_meta" not in message.get("params", {}) and session not in self.owner.sessions:
            self._send(404 if turn != "400" else 400, b"no such session")
        elif "id" not in message:
            self._send(202, b"")
        elif turn == "wait":
            self._wait()
        elif turn == "break off":
            self._begin_events()
            self.wfile.write(b"id: 1\nretry: 10\ndata:\n\n")
            self.close_connection = True
        else:
            body = {"jsonrpc": "2.0", "id": message["id"], "result": {"method": method}}
            self._send(200, json.dumps(body).encode())

    def do_GET(self) -> None:
        self._note("GET")
        if self.headers.get("Last-Event-ID") != "1":
            self._send(405, b"")
            return
        self._begin_events()
        self.wfile.write(b'data: {"jsonrpc":"2.0",\ndata: "id":1,"result":{"resumed":true}}\n\n')
        self.close_connection = True

    def do_DELETE(self) -> None:
        self._note("DELETE")
        self._send(200, b"")

    def _note(self, method: str) -> None:
        self.owner.seen.append(
            (method, self.headers["Authorization"] or "", {name.lower(): one for name, one in self.headers.items()})
        )

    def _begin_events(self) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream")
        self.send_header("Connection", "close")
        self.end_headers()

    def _wait(self) -> None:
        self._begin_events()
        self.wfile.write(b": keep-alive\n\n")
        self.wfile.flush()
        self.owner.waiting.set()
        self.connection.settimeout(PATIENCE)
        self.rfile.read(1)  # until the client closes the connection
        self.owner.closed.set()
        self.close_connection = True

    def _send(self, status: int, body: bytes, headers: dict[str, str] | None = None) -> None:
        self.send_response(status)
        for name, value in {"Content-Type": "application/json", **(headers or {})}.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 -- the base class's name
        """Print nothing."""


class McpClient:
    """A client that starts the bridge."""

    def __init__(self, agent: AgentProcess, url: str) -> None:
        self.process = subprocess.Popen(
            [*agent.command, "mcp", url],
            env={**agent.environment, "no_proxy": "*"},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )

    def send(self, *messages: object) -> None:
        assert self.process.stdin is not None
        for message in messages:
            self.process.stdin.write(json.dumps(message).encode() + b"\n")
        self.process.stdin.flush()

    def close(self) -> None:
        assert self.process.stdin is not None
        self.process.stdin.close()
        self.process.stdin = None

    def receive(self) -> dict[str, Any]:
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        result: dict[str, Any] = json.loads(line)
        return result

    def ask(self, method: str, identifier: int = 1, **params: object) -> dict[str, Any]:
        self.send(request(method, identifier, **params))
        answer = self.receive()
        assert answer["id"] == identifier
        return answer

    def begin(self) -> None:
        self.send(INITIALIZE)
        assert self.receive()["result"]["protocolVersion"] == VERSION
        self.send(INITIALIZED)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.process.kill()
        self.process.communicate()


def request(method: str, identifier: int = 1, **params: object) -> dict[str, object]:
    return {"jsonrpc": "2.0", "id": identifier, "method": method, "params": params}


@pytest.fixture
def server() -> Generator[Server, None, None]:
    with Server() as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield server
        server.shutdown()
        thread.join()


@pytest.fixture
def mcp(
    agent: AgentProcess, client: Agent, provider: OpenIDProvider, server: Server
) -> Generator[McpClient, None, None]:
    agent.configure({"work": account(provider)})
    agent.config.write_text(f'{agent.config.read_text()}\n[hosts."{server.url}"]\naccount = "work"\n')
    client.reload()
    log_in(client, provider)
    with McpClient(agent, server.url) as bridge:
        yield bridge


def test_messages_of_a_session_have_its_headers_and_the_token(mcp: McpClient, client: Agent, server: Server) -> None:
    mcp.begin()
    assert mcp.ask("tools/list")["result"] == {"method": "tools/list"}
    mcp.send({"jsonrpc": "2.0", "id": 9, "result": {}})
    until(lambda: server.count("response") == 1)
    assert [method for method, _, _ in server.seen][:2] == ["initialize", "notifications/initialized"]
    assert {authorization for _, authorization, _ in server.seen} == {client.token("work").authorization}
    (own,) = [headers for method, _, headers in server.seen if method == "tools/list"]
    assert (own["mcp-session-id"], own["mcp-protocol-version"]) == ("session-1", VERSION)
    mcp.close()
    assert mcp.process.wait(PATIENCE) == 0
    assert server.count("DELETE") == 1


def test_what_is_piped_in_is_answered_before_the_end(mcp: McpClient) -> None:
    mcp.send(INITIALIZE, INITIALIZED, *(request("tools/list", number) for number in range(1, 6)))
    mcp.close()
    answers = [mcp.receive() for _ in range(6)]
    assert sorted(answer["id"] for answer in answers) == list(range(6))
    assert mcp.process.wait(PATIENCE) == 0


def test_a_refused_token_is_reported_and_the_request_is_sent_once_more(
    mcp: McpClient, client: Agent, server: Server
) -> None:
    mcp.begin()
    old = client.token("work").access_token
    server.turns["tools/call"] = ["401"]
    # The token was issued only recently, so the agent says that another one would be refused likewise.
    error = mcp.ask("tools/call")["error"]
    assert error["data"]["failure"] == "refused"
    assert client.refresh("work").access_token != old
    assert mcp.ask("tools/call", 2)["result"] == {"method": "tools/call"}
    assert old not in json.dumps(error)


@pytest.mark.parametrize(("turn", "said"), [("403", "does not take the token"), ("500", "HTTP 500")])
def test_what_the_server_answers_otherwise_is_an_error_of_the_request(
    mcp: McpClient, server: Server, turn: str, said: str
) -> None:
    mcp.begin()
    server.turns["tools/call"] = [turn]
    assert said in mcp.ask("tools/call")["error"]["message"]
    assert server.count("tools/call") == 1
    assert mcp.ask("tools/call", 2)["result"]


def test_no_token_goes_to_another_origin_after_a_redirect(mcp: McpClient, server: Server) -> None:
    mcp.begin()
    other = Server()
    thread = threading.Thread(target=other.serve_forever)
    thread.start()
    server.turns["tools/call"] = [f"redirect {other.url}", f"redirect {server.url}/"]
    assert "redirects to" in mcp.ask("tools/call")["error"]["message"]
    assert mcp.ask("tools/call", 2)["result"]
    other.shutdown()
    thread.join()
    other.server_close()
    assert other.seen == []


@pytest.mark.parametrize("turn", ["404", "400"])
def test_a_session_that_the_server_has_ended_is_begun_anew(mcp: McpClient, server: Server, turn: str) -> None:
    mcp.begin()
    until(lambda: server.count("GET") == 1)
    server.sessions = set()
    server.turns["tools/call"], server.turns["ping"] = [turn], [turn]
    assert mcp.ask("tools/call")["result"] == {"method": "tools/call"}
    assert (server.count("initialize"), server.count("notifications/initialized")) == (2, 2)
    assert server.seen[-1][2]["mcp-session-id"] == "session-2" or server.seen[-1][0] == "GET"
    assert mcp.ask("tools/list", 2)["result"]


def test_a_stream_that_breaks_off_is_resumed(mcp: McpClient, server: Server) -> None:
    mcp.begin()
    server.turns["tools/call"] = ["break off"]
    assert mcp.ask("tools/call")["result"] == {"resumed": True}


def test_a_cancelled_request_of_2026_07_28_ends_its_stream(mcp: McpClient, server: Server) -> None:
    server.turns["tools/call"] = ["wait"]
    meta = {"io.modelcontextprotocol/protocolVersion": "2026-07-28"}
    mcp.send(request("tools/call", 7, _meta=meta, name="x"))
    assert server.waiting.wait(PATIENCE)
    mcp.send({"jsonrpc": "2.0", "method": "notifications/cancelled", "params": {"requestId": 7, "_meta": meta}})
    assert server.closed.wait(PATIENCE)
    assert mcp.ask("tools/list", 8, _meta=meta)["result"]
    assert server.count("notifications/cancelled") == 0
    names = [(headers["mcp-method"], headers.get("mcp-name")) for _, _, headers in server.seen]
    assert names == [("tools/call", "x"), ("tools/list", None)]


def test_without_a_token_each_request_is_answered_with_what_helps(
    mcp: McpClient, client: Agent, agent: AgentProcess, provider: OpenIDProvider, server: Server
) -> None:
    client.logout("work")
    error = mcp.ask("tools/list")["error"]
    assert "auth-agent login work" in error["message"]
    assert error["data"]["code"] == "login_required"
    agent.kill()
    assert "auth-agent start" in mcp.ask("tools/list", 2)["error"]["message"]
    agent.start()
    with agent.client() as again:
        log_in(again, provider)
    mcp.begin()
    assert server.count("initialize") == 1


def test_a_url_without_a_rule_gets_no_token(agent: AgentProcess, server: Server) -> None:
    with McpClient(agent, server.url) as bridge:
        error = bridge.ask("initialize")["error"]
        assert error["data"]["failure"] == "unmapped"
        assert "[hosts." in error["message"]
        bridge.send("no message")
        assert bridge.receive()["error"]["code"] == -32700
        bridge.process.terminate()
        assert bridge.process.wait(PATIENCE) == 0
    assert server.seen == []
    result = agent.run("mcp", "http://mcp.example/")
    assert (result.returncode, result.stdout) == (2, "")
