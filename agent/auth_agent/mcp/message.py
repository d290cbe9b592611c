"""Messages of the Model Context Protocol: what the bridge has to know of them, without I/O.

They are JSON-RPC 2.0, one a line, and are passed on as they are. Since the revision 2026-07-28 each request says which
revision it is of, and there is no session; before that, a handshake (`initialize`) agrees on one.
"""

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Final

from auth_agent_client.values import items, mapping

_VERSION_KEY: Final = "io.modelcontextprotocol/protocolVersion"
# JSON-RPC's code, and one that neither it nor MCP reserve, so that no client takes it for one of the server's.
PARSE_ERROR: Final = -32700
BRIDGE_ERROR: Final = -31000

ID = str | int | float
Object = Mapping[str, object]


@dataclass(frozen=True, slots=True)
class Message:
    """A message, or a batch of them (which the revision 2025-03-26 has), as it came.

    Attributes:
        body: all of it, as one line.
        requests: the requests in it, by their ids.
        methods: the methods of all that are not responses.
        version: the revision that a request names; None before 2026-07-28.
        content: the message, or the first one of a batch.

    """

    body: bytes
    requests: Mapping[ID, Object]
    methods: tuple[str, ...]
    version: str | None
    content: Object = field(repr=False)

    @property
    def method(self) -> str | None:
        """The method of a message that is neither a response nor a batch."""
        return self.methods[0] if len(self.methods) == 1 else None

    @property
    def params(self) -> Object:
        """The parameters; empty if there are none."""
        return mapping(self.content.get("params"))

    @property
    def cancelled(self) -> ID | None:
        """The id of the request that this notification cancels; None if it is not one."""
        request = self.params.get("requestId") if self.method == "notifications/cancelled" else None
        return request if isinstance(request, ID) else None


def read_message(line: bytes) -> Message | None:
    """Return the message in a line; None if it is not one."""
    try:
        value: object = json.loads(line)
    except (ValueError, RecursionError):
        return None
    batch = _batch(value)
    objects = [mapping(one) for one in batch]
    if not objects or not all(objects):
        return None
    methods = tuple(method for one in objects if isinstance(method := one.get("method"), str))
    requests = {identifier: one for one in objects if "method" in one and isinstance(identifier := one.get("id"), ID)}
    # A line break is white space there: in strings JSON escapes it.
    body = line.replace(b"\r", b" ").replace(b"\n", b" ").strip()
    version = mapping(mapping(objects[0].get("params")).get("_meta")).get(_VERSION_KEY)
    return Message(body, requests, methods, version if isinstance(version, str) else None, objects[0])


def _batch(value: object) -> Iterable[object]:
    return items(value) or (value,)


def responses(message: Message) -> Iterator[tuple[ID | None, Object]]:
    """Return the responses in what a server sent, with the ids of their requests; None: of an unknown one."""
    for one in map(mapping, _batch(json.loads(message.body))):
        if "method" not in one and ("result" in one or "error" in one):
            identifier = one.get("id")
            yield identifier if isinstance(identifier, ID) else None, one


def error_line(identifier: ID | None, text: str, data: Object | None = None, code: int = BRIDGE_ERROR) -> bytes:
    """Return the error response to the request of that id."""
    error: dict[str, object] = {"code": code, "message": text}
    if data:
        error["data"] = data
    return json.dumps({"jsonrpc": "2.0", "id": identifier, "error": error}, separators=(",", ":")).encode()


def with_id(response: Object, identifier: ID) -> bytes:
    """Return a response with another id."""
    return json.dumps({**response, "id": identifier}, separators=(",", ":"), ensure_ascii=False).encode()


def request_line(identifier: ID, method: str, params: Object | None = None) -> bytes:
    """Return a request."""
    parameters = {} if params is None else {"params": params}
    request = {"jsonrpc": "2.0", "id": identifier, "method": method, **parameters}
    return json.dumps(request, separators=(",", ":")).encode()


def unanswered(message: Message, answered: Iterable[ID | None]) -> list[ID]:
    """Return the ids of its requests without those."""
    done = set(answered)
    return [identifier for identifier in message.requests if identifier not in done]
