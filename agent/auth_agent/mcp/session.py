"""What a server agreed on with its client before the revision 2026-07-28: a session, a revision. Without I/O."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from auth_agent.mcp.message import Message
from auth_agent_client.values import mapping

SESSION_HEADER = "Mcp-Session-Id"
VERSION_HEADER = "MCP-Protocol-Version"
_ID: Final = re.compile(r"[!-~]{1,4096}")  # visible ASCII, "Session Management"


@dataclass(slots=True)
class Session:
    """What the handshake brought.

    Attributes:
        initialize: the client's request of it, to begin another session with if the server has ended this one.
        initialized: the client's notification that it is complete.
        id: the session's, None if the server has none.
        version: the revision, None before the handshake is complete.
        number: increases with each session.

    """

    initialize: Message | None = None
    initialized: Message | None = None
    id: str | None = None
    version: str | None = None
    number: int = 0

    def headers(self, message: Message | None = None) -> dict[str, str]:
        """Return the headers for a message of the session, or for a request without a body."""
        if message is not None and (message.version is not None or message.method == "initialize"):
            return {}
        headers = {} if self.id is None else {SESSION_HEADER: self.id}
        return headers if self.version is None else {**headers, VERSION_HEADER: self.version}

    def begin(self, session_id: str | None, result: object) -> None:
        """Take the result of `initialize`, and the session's id from its headers."""
        version = mapping(result).get("protocolVersion")
        self.id = session_id
        self.version = version if isinstance(version, str) and version.isascii() and version.isprintable() else None
        self.number += 1


def session_id(headers: Mapping[str, str]) -> str | None:
    """Return the id of a session from the headers of a response; None if there is none, or one that can't be sent."""
    value = headers.get(SESSION_HEADER, "")
    return value if _ID.fullmatch(value) else None
