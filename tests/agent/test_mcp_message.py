"""Messages of the Model Context Protocol, and the headers that they are sent with."""

import json
from typing import Any

import pytest

from auth_agent.mcp.headers import ToolHeaders, encoded, metadata_headers
from auth_agent.mcp.message import Message, error_line, read_message, responses, unanswered
from auth_agent.mcp.session import Session

MODERN = {"_meta": {"io.modelcontextprotocol/protocolVersion": "2026-07-28"}}


def message(**fields: Any) -> Message:
    read = read_message(json.dumps({"jsonrpc": "2.0", **fields}).encode())
    assert read is not None
    return read


def batch(*messages: Any) -> Message:
    read = read_message(json.dumps(messages).encode())
    assert read is not None
    return read


def test_requests_notifications_and_responses_are_told_apart() -> None:
    request = message(id=7, method="tools/list", params=MODERN)
    assert (list(request.requests), request.method, request.version) == ([7], "tools/list", "2026-07-28")
    notification = message(method="notifications/initialized")
    assert (list(notification.requests), notification.method, notification.version) == (
        [],
        "notifications/initialized",
        None,
    )
    response = message(id="a", result={"method": "x"})
    assert (list(response.requests), response.method) == ([], None)
    assert [identifier for identifier, _ in responses(response)] == ["a"]
    assert [identifier for identifier, _ in responses(message(id=None, error={"code": 1, "message": "x"}))] == [None]
    assert list(responses(request)) == []


def test_a_batch_has_the_requests_of_all_its_messages() -> None:
    several = batch({"id": 1, "method": "a"}, {"method": "n"}, {"id": "2", "method": "b"}, {"id": 3, "result": {}})
    assert (list(several.requests), several.method) == ([1, "2"], None)
    assert unanswered(several, [1, None, 9]) == ["2"]


@pytest.mark.parametrize("line", [b"", b"x", b"7", b"[]", b"[1]", b'[{"id":1},2]', b'"x"', b"null", b"[" * 100_000])
def test_what_is_not_a_message_is_none(line: bytes) -> None:
    assert read_message(line) is None


def test_a_message_is_one_line_and_otherwise_as_it_came() -> None:
    read = read_message(b'{\r\n "id" : 1,\n "method":"a\\n\xe2\x80\xa8", "x": 1e400 }\n')
    assert read is not None
    assert read.body == b'{   "id" : 1,  "method":"a\\n\xe2\x80\xa8", "x": 1e400 }'


@pytest.mark.parametrize(
    ("params", "cancelled"),
    [({"requestId": 7}, 7), ({"requestId": "x", "reason": "y"}, "x"), ({}, None), ({"requestId": [7]}, None)],
)
def test_a_cancellation_names_its_request(params: dict[str, object], cancelled: object) -> None:
    assert message(method="notifications/cancelled", params=params).cancelled == cancelled
    assert message(method="notifications/progress", params=params).cancelled is None


def test_an_error_names_its_request_and_has_one_line() -> None:
    line = error_line("a", "first\nsecond", {"failure": "unmapped"})
    assert b"\n" not in line
    error = {"code": -31000, "message": "first\nsecond", "data": {"failure": "unmapped"}}
    assert json.loads(line) == {"jsonrpc": "2.0", "id": "a", "error": error}


# ---- headers


@pytest.mark.parametrize(
    ("value", "header"),
    [
        ("us-west1", "us-west1"),
        ("Hello, 世界", "=?base64?SGVsbG8sIOS4lueVjA==?="),
        (" padded ", "=?base64?IHBhZGRlZCA=?="),
        ("line1\nline2", "=?base64?bGluZTEKbGluZTI=?="),
        ("=?base64?literal?=", "=?base64?PT9iYXNlNjQ/bGl0ZXJhbD89?="),
        ("a b", "a b"),
        ("", ""),
    ],
)
def test_a_value_is_encoded_as_the_specification_has_it(value: str, header: str) -> None:
    assert encoded(value) == header


def test_before_2026_07_28_no_headers_repeat_a_message() -> None:
    assert metadata_headers(message(id=1, method="tools/call", params={"name": "x"}), ToolHeaders()) == {}


@pytest.mark.parametrize(
    ("method", "params", "name"),
    [
        ("tools/call", {"name": "é"}, "=?base64?w6k=?="),
        ("prompts/get", {"name": "hello"}, "hello"),
        ("resources/read", {"uri": "file:///a"}, "file:///a"),
        ("tools/list", {"name": "x"}, None),
        ("tools/call", {"name": 7}, None),
    ],
)
def test_headers_repeat_method_and_name(method: str, params: dict[str, object], name: str | None) -> None:
    headers = metadata_headers(message(id=1, method=method, params={**MODERN, **params}), ToolHeaders())
    expected = {"MCP-Protocol-Version": "2026-07-28", "Mcp-Method": method}
    assert headers == ({**expected, "Mcp-Name": name} if name is not None else expected)


def tool(name: str, **properties: object) -> dict[str, object]:
    return {"name": name, "inputSchema": {"type": "object", "properties": properties}}


def test_headers_repeat_the_annotated_parameters_of_a_tool() -> None:
    tools = ToolHeaders()
    inner = {"type": "object", "properties": {"zone": {"type": "integer", "x-mcp-header": "Zone"}}}
    region, dry = {"type": "string", "x-mcp-header": "Region"}, {"type": "boolean", "x-mcp-header": "Dry"}
    result = {"tools": [tool("run", region=region, place=inner, dry=dry, other={"type": "string"})], "nextCursor": "x"}
    assert tools.learn(result) is result
    arguments = {"region": "nord", "place": {"zone": -7}, "dry": True, "other": "x"}
    expected = {"Mcp-Param-Region": "nord", "Mcp-Param-Zone": "-7", "Mcp-Param-Dry": "true"}
    assert tools.of({"name": "run", "arguments": arguments}) == expected
    assert tools.of({"name": "run", "arguments": {"region": None, "place": 7}}) == {}
    assert tools.of({"name": "run"}) == tools.of({"name": "other", "arguments": arguments}) == tools.of({}) == {}


@pytest.mark.parametrize(
    "bad",
    [
        {"a": {"type": "string", "x-mcp-header": ""}},
        {"a": {"type": "string", "x-mcp-header": "a b"}},
        {"a": {"type": "string", "x-mcp-header": "a\r\nEvil: x"}},
        {"a": {"type": "string", "x-mcp-header": 7}},
        {"a": {"type": "number", "x-mcp-header": "A"}},
        {"a": {"type": "string", "x-mcp-header": "A"}, "b": {"type": "string", "x-mcp-header": "a"}},
        {"a": {"type": "array", "items": {"type": "string", "x-mcp-header": "A"}}},
        {"a": {"anyOf": [{"type": "string", "x-mcp-header": "A"}]}},
    ],
)
def test_a_tool_whose_annotations_are_invalid_is_left_out(bad: dict[str, object]) -> None:
    good = tool("good", a={"type": "string", "x-mcp-header": "A"})
    tools = ToolHeaders()
    assert tools.learn({"tools": [tool("bad", **bad), good]}) == {"tools": [good]}
    assert tools.of({"name": "bad", "arguments": {"a": "x"}}) == {}


@pytest.mark.parametrize("result", [None, 7, {}, {"tools": None}, {"tools": [7, {"name": 7, "inputSchema": 7}]}])
def test_an_odd_list_of_tools_is_passed_on(result: object) -> None:
    assert ToolHeaders().learn(result) == result


# ---- sessions


def test_what_the_handshake_brought_is_sent_with_each_later_message_of_that_session() -> None:
    session, call = Session(), message(id=1, method="tools/call")
    assert session.headers(call) == {}
    session.begin("abc", {"protocolVersion": "2025-06-18"})
    assert session.headers(call) == session.headers() == {"Mcp-Session-Id": "abc", "MCP-Protocol-Version": "2025-06-18"}
    assert session.headers(message(id=1, method="initialize")) == {}
    assert session.headers(message(id=1, method="tools/call", params=MODERN)) == {}
    session.begin(None, {"protocolVersion": "2025-\r\n06-18"})
    assert session.headers(call) == {}
