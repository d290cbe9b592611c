"""An MCP server over HTTP, whose tools do what goes wrong: `with McpServer() as server: ...`."""

import json
import threading
import time
from collections.abc import Mapping
from contextlib import AbstractContextManager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any, NamedTuple, Self

from tests.integration.agent_process import PATIENCE, until

VERSION = "2025-11-25"
MODERN = "2026-07-28"
META = {"io.modelcontextprotocol/protocolVersion": MODERN}
Json = dict[str, Any]


class Seen(NamedTuple):
    """A request that arrived; `message` is None if it has no body."""

    http_method: str
    path: str
    headers: Mapping[str, str]
    message: Any
    port: int  # of the client
    at: float  # s

    @property
    def session(self) -> str | None:
        """The session that it names."""
        return self.headers.get("mcp-session-id")

    @property
    def method(self) -> str | None:
        """The message's method."""
        message: Any = self.message
        return None if message is None or isinstance(message, list) else message.get("method")


class McpServer(AbstractContextManager["McpServer"]):
    """A server at any port of 127.0.0.1, with sessions for `initialize`, and without for revision 2026-07-28.

    `requests` has what arrived. An `initialize` with the parameter `hang` gets no response, and none a session while
    `begins` is false. `gets` are the statuses of the next requests for a stream of the server's own messages: 0 ends
    that at once, and wants to be asked again without a pause.
    """

    def __init__(self, port: int = 0) -> None:
        self.requests: list[Seen] = []
        self.forgotten = 404  # the status for a session that it does not know
        self.version = VERSION
        self.begins = True
        self.session_name = "session"
        self.gets: list[int] = []
        self.polls = 12  # until the tool of that name has its result
        self.tools: list[Json] = []
        self.sessions: set[str] = set()
        self.answers: dict[str, Any] = {}  # of the client, by the id of the server's request
        self.cancelled: list[object] = []
        self.left: list[str] = []  # the tools whose caller closed the connection
        self.notices = threading.Semaphore(0)  # released to send a notification on the stream of the GET
        self.ends = threading.Event()
        self._server = _Server(("127.0.0.1", port), _Handler, self)
        self._count = 0
        self.port: int = self._server.server_address[1]
        self.origin = f"http://127.0.0.1:{self.port}"
        self.url = f"{self.origin}/mcp"

    def __enter__(self) -> Self:
        threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.ends.set()
        self.notices.release(100)
        self._server.shutdown()
        self._server.server_close()

    def begin(self) -> str:
        """Begin a session, and return its id."""
        self._count += 1
        name = f"{self.session_name}-{self._count}"
        self.sessions.add(name)
        return name

    def seen(self, method: str) -> list[Seen]:
        """Return the messages of that method that arrived."""
        return [one for one in self.requests if one.method == method]


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 256

    def __init__(self, address: tuple[str, int], handler: type[BaseHTTPRequestHandler], owner: McpServer) -> None:
        super().__init__(address, handler)
        self.owner = owner

    def handle_error(self, request: object, client_address: object) -> None:
        """Say nothing of a client that left early."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    @property
    def mcp(self) -> McpServer:
        assert isinstance(self.server, _Server)
        return self.server.owner

    def _is_forgotten(self) -> bool:
        body = self.rfile.read(int(self.headers["Content-Length"] or 0))
        fields = {name.lower(): value for name, value in self.headers.items()}
        seen = Seen(
            self.command,
            self.path,
            fields,
            json.loads(body) if body else None,
            self.client_address[1],
            time.monotonic(),
        )
        self.mcp.requests.append(seen)
        self.message = seen.message
        session = fields.get("mcp-session-id")
        if session is not None and session not in self.mcp.sessions:
            error = {"code": -32000, "message": "Bad Request: No valid session ID provided"}
            self._json({"jsonrpc": "2.0", "error": error, "id": None}, self.mcp.forgotten)
            return True
        return False

    def do_DELETE(self) -> None:
        if not self._is_forgotten():
            self.mcp.sessions.discard(self.headers["Mcp-Session-Id"])
            self._send(200)

    def do_GET(self) -> None:
        if self._is_forgotten():
            return
        last = self.headers["Last-Event-ID"]
        if last is None and self.mcp.gets:
            status = self.mcp.gets.pop(0)
            if status:
                self._send(status)
                return
            self._stream()
            self._event(None, retry=0)
            return
        self._stream()
        if last is not None and last.startswith("cut-"):
            _, request_id, count = last.split("-")
            if count == "0":  # once more, before anything comes
                self._event(None, f"cut-{request_id}-1", 10)
            else:
                self._event(_result(int(request_id), "resumed"), "end")
            return
        if last is not None and last.startswith("poll-"):
            self.mcp.polls -= 1
            request_id = int(last.removeprefix("poll-"))
            self._event(None if self.mcp.polls else _result(request_id, "polled"), last, 10)
            return
        while not self.mcp.ends.is_set():
            self.mcp.notices.acquire()
            if not self.mcp.ends.is_set():
                self._event({"jsonrpc": "2.0", "method": "notifications/tools/list_changed"})

    def do_POST(self) -> None:
        if self._is_forgotten():
            return
        message: Any = self.message
        if isinstance(message, list):
            self._send(400)
        elif "method" not in message:
            self.mcp.answers[message["id"]] = message.get("result")
            self._send(202)
        elif "id" not in message:
            if message["method"] == "notifications/cancelled":
                self.mcp.cancelled.append(message["params"]["requestId"])
            self._send(202)
        else:
            self._respond(message)

    def _respond(self, message: Json) -> None:
        """Respond to a request."""
        if "hang" in message.get("params", {}):
            self.mcp.ends.wait(PATIENCE)
        elif message["method"] == "initialize" and not self.mcp.begins:
            self._send(500)
        elif message["method"] == "initialize":
            result = {"protocolVersion": self.mcp.version, "capabilities": {}, "serverInfo": {"name": "test"}}
            body = {"jsonrpc": "2.0", "id": message["id"], "result": result}
            self._json(body, headers={"Mcp-Session-Id": self.mcp.begin()})
        elif message["method"] == "tools/list":
            self._json({"jsonrpc": "2.0", "id": message["id"], "result": {"tools": self.mcp.tools}})
        elif message["method"] == "tools/call":
            params = message["params"]
            getattr(self, f"_tool_{params['name']}")(message["id"], params.get("arguments", {}))
        else:
            error = {"code": -32601, "message": "Method not found"}
            self._json({"jsonrpc": "2.0", "id": message["id"], "error": error}, 404)

    # ---- tools

    def _tool_echo(self, request_id: int, arguments: Json) -> None:
        self._json(_result(request_id, arguments.get("text", "")))

    def _tool_ask(self, request_id: int, _: Json) -> None:
        """Ask the client, and return what it says."""
        self._stream()
        self._event({"jsonrpc": "2.0", "id": f"ask-{request_id}", "method": "sampling/createMessage", "params": {}})
        until(lambda: f"ask-{request_id}" in self.mcp.answers)
        self._event(_result(request_id, self.mcp.answers[f"ask-{request_id}"]))

    def _tool_cut(self, request_id: int, _: Json) -> None:
        self._stream()
        self._event(None, f"cut-{request_id}-0", 10)

    def _tool_poll(self, request_id: int, _: Json) -> None:
        self._stream()
        self._event(None, f"poll-{request_id}", 10)

    def _tool_odd_id(self, _: int, arguments: Json) -> None:
        self._stream()
        self.wfile.write(f"id: {arguments['id']}\ndata:\n\n".encode())

    def _tool_cut_for_good(self, _: int, __: Json) -> None:
        self._stream()
        self._event({"jsonrpc": "2.0", "method": "notifications/progress", "params": {"progress": 1}})

    def _tool_vanish(self, _: int, __: Json) -> None:
        self.close_connection = True

    def _tool_status(self, _: int, arguments: Json) -> None:
        self._send(arguments["status"], b"<html>", {"Content-Type": "text/html"})

    def _tool_invalid(self, _: int, __: Json) -> None:
        error = {"code": -32602, "message": "Invalid params"}
        self._json({"jsonrpc": "2.0", "id": None, "error": error}, 400)

    def _tool_redirect(self, _: int, arguments: Json) -> None:
        self._send(arguments["status"], b"", {"Location": arguments["to"]})

    def _tool_big(self, request_id: int, arguments: Json) -> None:
        self._json(_result(request_id, "x" * arguments["size"]))

    def _tool_endless(self, _: int, __: Json) -> None:
        """Send an event that does not end, until nobody reads."""
        self._stream()
        with suppress(OSError):
            for _ in range(4096):
                self.wfile.write(b"data: " + b"x" * (1 << 20) + b"\n")
            self.mcp.left.append("nobody")

    def _tool_slow(self, request_id: int, arguments: Json) -> None:
        """Wait until the caller leaves, whether it is cancelled or not."""
        self._stream()
        with suppress(OSError):
            while not self.mcp.ends.wait(0.01):
                self.wfile.write(b": still here\n\n")
        self.mcp.left.append(f"{arguments['name']}-{request_id}")

    def _tool_mirrored(self, request_id: int, arguments: Json) -> None:
        if self.headers["Mcp-Param-Region"] == arguments["region"]:
            self._json(_result(request_id, "mirrored"))
        else:
            error = {"code": -32020, "message": "Header mismatch"}
            self._json({"jsonrpc": "2.0", "id": request_id, "error": error}, 400)

    # ---- responses

    def _json(self, value: object, status: int = 200, headers: Mapping[str, str] | None = None) -> None:
        self._send(status, json.dumps(value).encode(), {"Content-Type": "application/json", **(headers or {})})

    def _send(self, status: int, body: bytes = b"", headers: Mapping[str, str] | None = None) -> None:
        self.send_response(status)
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def _stream(self) -> None:
        self.close_connection = True
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream")
        self.send_header("Connection", "close")
        self.end_headers()

    def _event(self, message: object, event_id: str = "", retry: int | None = None) -> None:
        lines = [f"id: {event_id}"] if event_id else []
        lines += [] if retry is None else [f"retry: {retry}"]
        lines += ["data:" if message is None else f"data: {json.dumps(message)}"]
        self.wfile.write(("\r\n".join(lines) + "\r\n\r\n").encode())
        self.wfile.flush()

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 -- the base class's name
        """Print nothing."""


def _result(request_id: object, text: object) -> Json:
    return {"jsonrpc": "2.0", "id": request_id, "result": {"content": [{"type": "text", "text": text}]}}
