"""The session that docs/protocol.md shows byte by byte is what the agent really says."""

import json
import re
import socket
from collections.abc import Generator
from typing import Any, Final

import msgpack
import pytest

from tests.integration.agent_process import PATIENCE, AgentProcess
from tests.integration.conftest import account, log_in
from tests.op.provider import OpenIDProvider
from tests.snippets import snippets

_LINE: Final = re.compile(r"([<>]) ([0-9a-f]+)(?: {2,}(.*))?")
SENT: Final = ">"


class Shown:
    """A message of the document: who sends it, its bytes, and its comments."""

    def __init__(self, block: str) -> None:
        lines = [_LINE.fullmatch(line) for line in block.splitlines()]
        parts = [line for line in lines if line is not None]
        assert len(parts) == len(lines), block
        (self.mark,) = {part[1] for part in parts}
        self.bytes = bytes.fromhex("".join(part[2] for part in parts))
        self.comment = "".join(part[3] or "" for part in parts)

    @property
    def value(self) -> Any:
        return msgpack.unpackb(self.bytes)


(SNIPPET,) = [one for one in snippets("docs/protocol.md") if one.language == "hex"]
MESSAGES: Final = [Shown(block) for block in SNIPPET.text.strip().split("\n\n")]


@pytest.fixture
def logged_in(provider: OpenIDProvider) -> Generator[AgentProcess]:
    with AgentProcess({"work": account(provider, scope="openid offline_access")}) as agent:
        with agent.client() as client:
            log_in(client, provider, scope="openid offline_access")
        yield agent


@pytest.mark.parametrize("shown", MESSAGES, ids=lambda shown: shown.comment[:20])
def test_the_comments_say_what_the_bytes_mean(shown: Shown) -> None:
    if shown.comment.startswith("nil"):
        assert shown.bytes == b"\xc0"
        return
    assert json.loads(shown.comment.replace("nil", "null")) == shown.value
    assert msgpack.packb(shown.value) == shown.bytes


def test_the_agent_says_what_the_document_shows(logged_in: AgentProcess) -> None:
    tokens: dict[str, str] = {}  # the document's, and the real one
    with socket.socket(socket.AF_UNIX) as connection, logged_in.client() as client:
        connection.settimeout(PATIENCE)
        connection.connect(str(logged_in.socket))
        for shown in MESSAGES:
            if shown.mark == SENT:
                connection.sendall(msgpack.packb(_replaced(shown.value, tokens)))
                continue
            received: Any = msgpack.unpackb(connection.recv(65536))
            match shown.value, received:
                case [1, _, None, {"access_token": str(example)}], [1, _, None, {"access_token": str(real)}]:
                    tokens[example] = real
                    if len(tokens) == 1:  # as another program does: the token that is reported next is an older one
                        client.refresh("work")
                case _:
                    pass
            examples = {real: example for example, real in tokens.items()}
            assert msgpack.packb(_replaced(received, examples, expires_at=1800000000.5)) == shown.bytes
        assert connection.recv(1) == b""
    assert len(tokens) == len(set(tokens.values())) == 2


def _replaced(value: Any, strings: dict[str, str], **members: object) -> Any:
    """Return a message with other strings, and other members of that name."""
    if isinstance(value, dict):
        fields: dict[str, Any] = value  # pyright: ignore[reportUnknownVariableType] -- any map
        return {name: members.get(name) or _replaced(part, strings, **members) for name, part in fields.items()}
    if isinstance(value, list):
        parts: list[Any] = value  # pyright: ignore[reportUnknownVariableType] -- any list
        return [_replaced(part, strings, **members) for part in parts]
    return strings.get(value, value) if isinstance(value, str) else value
