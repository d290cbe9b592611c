"""The headers that a message of the Model Context Protocol is sent with, without I/O.

Since the revision 2026-07-28, headers repeat parts of a request, so that servers in between need not parse it
("Streamable HTTP", section "Request Metadata").
"""

import base64
import json
import re
from collections.abc import Iterator
from typing import Final

from auth_agent.mcp.message import Message, Object
from auth_agent_client.values import items, mapping

_NAMED: Final = {"tools/call": "name", "prompts/get": "name", "resources/read": "uri"}
_PREFIX, _SUFFIX = "=?base64?", "?="
_ANNOTATION: Final = "x-mcp-header"
_TOKEN: Final = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_PRIMITIVE: Final = ("string", "integer", "boolean")
# Of properties within properties.
_DEEPEST: Final = 32

Path = tuple[str, ...]


class ToolHeaders:
    """Which parameters of a server's tools are sent as headers, too: as its lists of tools say."""

    def __init__(self) -> None:
        self._headers: dict[str, dict[Path, str]] = {}

    def learn(self, result: object) -> object:
        """Return a result of `tools/list` without the tools whose annotations are invalid, and remember the others'."""
        tools = items(mapping(result).get("tools"))
        kept: list[object] = []
        for tool in tools:
            name, found = mapping(tool).get("name"), _annotations(mapping(tool).get("inputSchema"))
            if found is None:
                continue
            kept.append(tool)
            if isinstance(name, str):
                self._headers[name] = found
        return result if len(kept) == len(tools) else {**mapping(result), "tools": kept}

    def of(self, params: Object) -> dict[str, str]:
        """Return the headers for a call of a tool with these parameters."""
        name, arguments = params.get("name"), params.get("arguments")
        headers: dict[str, str] = {}
        for path, header in self._headers.get(name, {}).items() if isinstance(name, str) else ():
            value = _value_at(arguments, path)
            if isinstance(value, bool):
                headers[f"Mcp-Param-{header}"] = "true" if value else "false"
            elif isinstance(value, str | int):
                headers[f"Mcp-Param-{header}"] = encoded(str(value))
        return headers


def metadata_headers(message: Message, tools: ToolHeaders) -> dict[str, str]:
    """Return the headers that repeat parts of a request; none before the revision 2026-07-28."""
    if message.version is None or message.method is None:
        return {}
    headers = {"MCP-Protocol-Version": encoded(message.version), "Mcp-Method": encoded(message.method)}
    name = message.params.get(_NAMED.get(message.method, ""))
    if isinstance(name, str):
        headers["Mcp-Name"] = encoded(name)
    return {**headers, **tools.of(message.params)} if message.method == "tools/call" else headers


def encoded(value: str) -> str:
    """Return a value as a header can carry it ("Value Encoding")."""
    is_plain = value.isascii() and value.isprintable() and value == value.strip()
    if is_plain and not (value.startswith(_PREFIX) and value.endswith(_SUFFIX)):
        return value
    return f"{_PREFIX}{base64.b64encode(value.encode('utf-8', 'surrogatepass')).decode()}{_SUFFIX}"


def _annotations(schema: object) -> dict[Path, str] | None:
    """Return the header of each annotated property, by its path; None if an annotation is invalid."""
    if json.dumps(schema).count(f'"{_ANNOTATION}"') == 0:  # as in nearly every schema
        return {}
    found = list(_properties(schema, ()))
    headers: dict[Path, str] = {}
    for path, annotated in found:
        header = annotated.get(_ANNOTATION)
        if not (isinstance(header, str) and _TOKEN.fullmatch(header) and annotated.get("type") in _PRIMITIVE):
            return None
        headers[path] = header
    is_unique = len({header.lower() for header in headers.values()}) == len(headers)
    # One anywhere else than at a property is invalid.
    return headers if is_unique and _count(schema) == len(headers) else None


def _properties(schema: object, path: Path) -> Iterator[tuple[Path, Object]]:
    for name, value in mapping(mapping(schema).get("properties")).items() if len(path) <= _DEEPEST else ():
        one = mapping(value)
        if _ANNOTATION in one:
            yield (*path, name), one
        yield from _properties(one, (*path, name))


def _count(value: object) -> int:
    """Return how many annotations there are anywhere."""
    inside = (*mapping(value).values(), *items(value))
    return (_ANNOTATION in mapping(value)) + sum(map(_count, inside))


def _value_at(value: object, path: Path) -> object:
    for name in path:
        value = mapping(value).get(name)
    return value
