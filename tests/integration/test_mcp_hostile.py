"""`auth-agent mcp` between a server that does what goes wrong, and a client that does not wait."""

import json
import os
import queue
import select
import signal
import sys
import threading
from collections.abc import Generator
from contextlib import AbstractContextManager, ExitStack, contextmanager, suppress
from itertools import pairwise
from types import TracebackType
from typing import Any, Self

import pytest

from auth_agent.mcp.bridge import LONGEST
from auth_agent.mcp.message import PARSE_ERROR
from tests.integration.agent_process import PATIENCE, AgentProcess, until
from tests.integration.hostile_mcp_server import META, VERSION, Json, McpServer


class Client(AbstractContextManager["Client"]):
    """A client that has started the bridge."""

    def __init__(self, agent: AgentProcess, url: str, *options: str) -> None:
        with ExitStack() as theirs:
            ends = [os.pipe() for _ in range(3)]
            streams = ends[0][0], ends[1][1], ends[2][1]
            for descriptor in streams:
                theirs.callback(os.close, descriptor)
            self.stdin = open(ends[0][1], "wb")  # noqa: PTH123, SIM115 -- a descriptor, closed with the client
            self.stdout = open(ends[1][0], "rb")  # noqa: PTH123, SIM115 -- as above
            self._errors = open(ends[2][0], "rb")  # noqa: PTH123, SIM115 -- as above
            self.process = agent.open("mcp", url, *options, streams=streams)
        self.stderr = ""
        self._lines: queue.Queue[Any] = queue.Queue()
        self._others: list[Json] = []
        self._threads = [threading.Thread(target=self._read), threading.Thread(target=self._read_errors)]
        for thread in self._threads:
            thread.start()
        self._id = 0

    def _read(self) -> None:
        for line in self.stdout:
            self._lines.put(json.loads(line))

    def _read_errors(self) -> None:
        for line in self._errors:
            self.stderr += line.decode()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.process.kill()
        self.process.wait()
        for thread in self._threads:
            thread.join()
        with suppress(BrokenPipeError):
            self.stdin.close()
        self.stdout.close()
        self._errors.close()
        if error is not None:
            sys.stderr.write(self.stderr)

    def write(self, message: object) -> None:
        self.stdin.write(json.dumps(message).encode() + b"\n")
        self.stdin.flush()

    def request(self, method: str, **params: Any) -> int:
        """Send a request, and return its id."""
        self._id += 1
        self.write({"jsonrpc": "2.0", "id": self._id, "method": method, "params": params})
        return self._id

    def notify(self, method: str, **params: Any) -> None:
        self.write({"jsonrpc": "2.0", "method": method, "params": params})

    def next(self) -> Any:
        """Return the next message of the server."""
        return self._lines.get(timeout=PATIENCE)

    def notification(self) -> Any:
        """Return the next message of the server that is not a response."""
        while "method" not in (message := self.next()):
            self._others.append(message)
        return message

    def response(self, request_id: object) -> Json:
        """Return the response to that request, whatever comes before it."""
        while True:
            for one in self._others:
                if one.get("id") == request_id and "method" not in one:
                    self._others.remove(one)
                    return one
            self._others.append(self.next())

    def call(self, tool: str, meta: Json | None = None, **arguments: Any) -> Json:
        """Call a tool, and return the response."""
        return self.response(self.begin_call(tool, meta, **arguments))

    def begin_call(self, tool: str, meta: Json | None = None, **arguments: Any) -> int:
        params = {"name": tool, "arguments": arguments, **({} if meta is None else {"_meta": meta})}
        return self.request("tools/call", **params)

    def initialize(self) -> Json:
        response = self.response(self.request("initialize", protocolVersion=VERSION, capabilities={}))
        self.notify("notifications/initialized")
        return response


def text(response: Json) -> object:
    return response["result"]["content"][0]["text"]


@contextmanager
def mapped(agent: AgentProcess, *urls: str) -> Generator[None, None, None]:
    """Map these URLs to `work` meanwhile."""
    before = agent.config.read_text()
    rules = "".join(f'[hosts."{url}"]\naccount = "work"\n' for url in urls)
    agent.config.write_text(f"{before}\n{rules}")
    with agent.client() as client:
        client.reload()
        try:
            yield
        finally:
            agent.config.write_text(before)
            client.reload()


@pytest.fixture
def client(lasting_agent: AgentProcess) -> Generator[tuple[Client, McpServer], None, None]:
    """A client in a session with a server of its own."""
    with McpServer() as server, mapped(lasting_agent, server.origin), Client(lasting_agent, server.url) as client:
        client.initialize()
        yield client, server


Pair = tuple[Client, McpServer]


def works(pair: Pair) -> bool:
    """Return whether the bridge still passes on a call."""
    return text(pair[0].call("echo", text="still here")) == "still here"


# ---- the session


@pytest.mark.parametrize("status", [404, 400])
def test_many_requests_that_find_the_session_gone_begin_one(client: Pair, status: int) -> None:
    bridge, server = client
    server.forgotten = status
    server.sessions.clear()
    ids = [bridge.begin_call("echo", text=str(number)) for number in range(8)]
    assert [text(bridge.response(one)) for one in ids] == [str(number) for number in range(8)]
    assert len(server.seen("initialize")) == 2
    server.notices.release(2)
    assert bridge.notification()["method"] == "notifications/tools/list_changed"


def test_a_notification_begins_a_session_too(client: Pair) -> None:
    bridge, server = client
    server.sessions.clear()
    bridge.notify("notifications/roots/list_changed")
    until(lambda: [one.session for one in server.seen("notifications/roots/list_changed")][-1:] == ["session-2"])


def test_a_session_that_can_not_be_begun_now_is_begun_by_the_next_request(client: Pair) -> None:
    bridge, server = client
    server.sessions.clear()
    server.begins = False
    assert "begins no other" in bridge.call("echo")["error"]["message"]
    server.begins = True
    assert works(client)
    assert server.seen("tools/call")[-1].session == "session-2"


def test_a_session_of_another_revision_is_no_replacement(client: Pair) -> None:
    bridge, server = client
    server.sessions.clear()
    server.version = "2025-06-18"
    assert "another revision" in bridge.call("echo")["error"]["message"]


def test_an_id_of_a_session_that_can_be_no_header_is_not_sent(client: Pair) -> None:
    bridge, server = client
    server.session_name = "s\u00fc"
    bridge.initialize()
    assert works(client)
    assert server.seen("tools/call")[-1].session is None


# ---- streams


@pytest.mark.parametrize("event_id", ["\u00fc", "x" * 5000, "a\x7fb"])
def test_an_id_of_an_event_that_can_be_no_header_is_not_sent(client: Pair, event_id: str) -> None:
    bridge, _ = client
    assert "ended the stream" in bridge.call("odd_id", id=event_id)["error"]["message"]
    assert works(client)


def test_a_stream_that_ends_before_anything_comes_is_resumed_with_the_same_id(client: Pair) -> None:
    bridge, server = client
    request_id = bridge.begin_call("cut")
    assert text(bridge.response(request_id)) == "resumed"
    resumed = [one.headers["last-event-id"] for one in server.requests if "last-event-id" in one.headers]
    assert resumed == [f"cut-{request_id}-0", f"cut-{request_id}-1"]


def test_a_server_may_have_itself_polled_for_long(client: Pair) -> None:
    bridge, server = client
    assert text(bridge.call("poll")) == "polled"
    assert server.polls == 0


def test_an_event_without_an_end_is_not_kept(client: Pair) -> None:
    bridge, server = client
    assert "more than" in bridge.call("endless")["error"]["message"]
    assert server.left == []
    assert works(client)


@pytest.mark.parametrize("gets", [[502], [401], [0, 0]])
def test_the_stream_of_the_servers_own_messages_is_opened_again(lasting_agent: AgentProcess, gets: list[int]) -> None:
    with McpServer() as server, mapped(lasting_agent, server.origin), Client(lasting_agent, server.url) as bridge:
        server.gets = gets
        bridge.initialize()
        server.notices.release()
        assert bridge.notification()["method"] == "notifications/tools/list_changed"
        times = [one.at for one in server.requests if one.http_method == "GET"]
        assert all(after - before > 0.5 for before, after in pairwise(times))  # it does not hurry


# ---- requests


@pytest.mark.parametrize(
    ("tool", "arguments", "said"),
    [
        ("cut_for_good", {}, "ended the stream"),
        ("vanish", {}, "was lost"),
        ("status", {"status": 202}, "without a message"),
        ("status", {"status": 200}, "without a message"),
        ("status", {"status": 503}, "HTTP 503"),
        ("redirect", {"status": 307, "to": "https://evil.example/mcp"}, "redirects to"),
        ("redirect", {"status": 302, "to": "/other"}, "redirects to"),
        ("redirect", {"status": 307, "to": "http://["}, "redirects"),
        ("redirect", {"status": 307, "to": "http://a\u00fc:x/"}, "redirects"),
    ],
)
def test_what_goes_wrong_is_an_error_of_its_request_and_nothing_is_sent_twice(
    client: Pair, tool: str, arguments: Json, said: str
) -> None:
    bridge, server = client
    error = bridge.call(tool, **arguments)["error"]
    assert said in error["message"]
    assert error["data"]["source"] == "auth-agent"
    assert len(server.seen("tools/call")) == 1
    assert works(client)


def test_the_servers_own_error_has_the_id_of_the_request(client: Pair) -> None:
    assert client[0].call("invalid")["error"] == {"code": -32602, "message": "Invalid params"}


def test_a_server_that_closes_idle_connections_loses_no_request(client: Pair) -> None:
    _, server = client
    assert all(works(client) for _ in range(3))
    ports = [one.port for one in server.seen("tools/call")]
    assert len(set(ports)) == len(ports)


def test_a_hundred_requests_at_once_of_which_the_server_asks_something(client: Pair) -> None:
    bridge, _ = client
    ids = [bridge.begin_call("ask") for _ in range(100)]
    for _ in ids:
        question = bridge.notification()
        bridge.write({"jsonrpc": "2.0", "id": question["id"], "result": question["id"]})
    assert [text(bridge.response(one)) for one in ids] == [f"ask-{one}" for one in ids]


def test_a_line_that_is_too_long_is_answered(client: Pair) -> None:
    bridge, _ = client
    bridge.stdin.write(b'{"jsonrpc": "2.0", "id": 99, "method": "' + b"x" * LONGEST + b'"}\n')
    bridge.stdin.flush()
    assert bridge.next()["error"]["code"] == PARSE_ERROR
    assert works(client)


def test_arguments_are_repeated_in_headers_though_the_client_has_not_listed_the_tools(client: Pair) -> None:
    bridge, server = client
    region = {"type": "string", "x-mcp-header": "Region"}
    schema = {"type": "object", "properties": {"region": region}}
    server.tools = [{"name": "mirrored", "inputSchema": schema}]
    assert text(bridge.call("mirrored", META, region="us-west1")) == "mirrored"
    assert len(server.seen("tools/list")) == 1
    server.tools[0]["inputSchema"] = {}
    bridge.response(bridge.request("tools/list", _meta=META))
    server.tools[0]["inputSchema"] = schema
    assert text(bridge.call("mirrored", META, region="us-west1")) == "mirrored"


def test_a_cancelled_request_is_left_although_the_server_goes_on(client: Pair) -> None:
    bridge, server = client
    request_id = bridge.begin_call("slow", name="old")
    until(lambda: server.seen("tools/call"))
    bridge.notify("notifications/cancelled", requestId=request_id)
    until(lambda: server.left == [f"old-{request_id}"])
    until(lambda: server.cancelled == [request_id])
    assert works(client)


def test_a_late_cancellation_is_not_sent_where_the_protocol_has_none(lasting_agent: AgentProcess) -> None:
    with McpServer() as server, mapped(lasting_agent, server.origin), Client(lasting_agent, server.url) as bridge:
        bridge.call("echo", META, text="x")
        bridge.notify("notifications/cancelled", requestId=1, _meta=META)
        bridge.call("echo", META, text="x")
        assert server.seen("notifications/cancelled") == []


def test_a_proxy_of_the_environment_is_used(lasting_agent: AgentProcess) -> None:
    lasting_agent.environment["ALL_PROXY"] = "socks5h://127.0.0.1:1"  # not for this machine
    try:
        with McpServer() as server, mapped(lasting_agent, server.origin), Client(lasting_agent, server.url) as bridge:
            assert text(bridge.call("echo", META, text="x")) == "x"
    finally:
        del lasting_agent.environment["ALL_PROXY"]


@pytest.mark.parametrize("name", ["other", "nobody"])
def test_another_account_than_the_one_that_is_named_gives_no_token(lasting_agent: AgentProcess, name: str) -> None:
    with McpServer() as server, mapped(lasting_agent, server.origin):
        with Client(lasting_agent, server.url, "--account", name) as bridge:
            assert bridge.call("echo")["error"]["data"]["code"] == "denied"
        with Client(lasting_agent, server.url, "--account", "work") as bridge:
            assert text(bridge.call("echo", META, text="x")) == "x"
        assert len(server.requests) == 1


# ---- the end


def test_the_end_of_the_input_ends_it_while_the_server_does_not_answer(lasting_agent: AgentProcess) -> None:
    with McpServer() as server, mapped(lasting_agent, server.origin), Client(lasting_agent, server.url) as bridge:
        bridge.request("initialize", hang=True)
        until(lambda: server.seen("initialize"))
        bridge.stdin.close()
        assert bridge.process.wait(PATIENCE / 2) == 0


def test_a_signal_ends_it_while_the_client_does_not_read(lasting_agent: AgentProcess) -> None:
    with McpServer() as server, mapped(lasting_agent, server.origin), ExitStack() as stack:
        (source, writing), (reading, sink) = os.pipe(), os.pipe()
        for descriptor in (source, writing, reading, sink):
            stack.callback(os.close, descriptor)
        nothing = stack.enter_context(open(os.devnull, "wb"))  # noqa: PTH123 -- a device
        process = lasting_agent.open("mcp", server.url, streams=(source, sink, nothing.fileno()))
        stack.callback(process.wait)
        stack.callback(process.kill)
        arguments = {"name": "big", "arguments": {"size": 1 << 20}, "_meta": META}
        call = {"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": arguments}
        os.write(writing, json.dumps(call).encode() + b"\n")
        select.select([reading], [], [], PATIENCE)
        process.send_signal(signal.SIGTERM)
        assert process.wait(PATIENCE / 2) == 0
