"""A small OpenID Connect provider for refreshes: metadata, UserInfo, and a token endpoint that always grants.

Run as a process of its own: `python -m tests.bench.refresh_provider LIFETIME` writes its port to the descriptor that
`AUTH_AGENT_READY_FD` names once it listens. It verifies nothing, so its own work is small. Each response has a new
refresh token, an access token of 1 KB, and an ID token, unless it is for an import: then the agent asks UserInfo whose
tokens these are, which is faster than to check a signature, and later ID tokens must be that user's. `/count` says how
many tokens it has granted.
"""

import asyncio
import base64
import contextlib
import json
import os
import sys
import time
import urllib.request
from collections.abc import Generator, Mapping
from pathlib import Path
from typing import Final

from auth_agent.host.readiness import VARIABLE
from auth_agent_client import Agent
from tests.bench.accounts import CLIENT_ID, TOKEN_LENGTH
from tests.bench.started import started

# What its refresh tokens begin with, unlike those that are imported.
_GRANTED: Final = "granted."
_LENGTH: Final = 64
# A refresh token as it grants them.
EXAMPLE: Final = _GRANTED.ljust(_LENGTH, "x")
_SIGNATURE: Final = 342  # characters: of RS256, with a key of 2048 bits
_DAY: Final = 86_400  # s


@contextlib.contextmanager
def running_provider(directory: Path, lifetime: int = _DAY) -> Generator[str]:
    """Run one during the block, whose access tokens are valid for `lifetime` seconds; yield its issuer."""
    command = [sys.executable, "-m", "tests.bench.refresh_provider", str(lifetime)]
    with started(command, directory / "provider.log", os.environ) as process:
        yield f"http://127.0.0.1:{process.line}/"


def granted(issuer: str) -> int:
    """Return how many tokens that provider has granted."""
    with urllib.request.urlopen(f"{issuer}count") as response:
        return int(json.load(response)["granted"])


def import_account(client: Agent, account: str) -> None:
    """Begin a session of that account there."""
    client.import_refresh_token(f"imported.{account}", account)


class RefreshProvider:
    """What it answers."""

    def __init__(self, port: int, lifetime: int) -> None:
        """Answer at that port; access tokens are valid for `lifetime` seconds."""
        self.issuer = f"http://127.0.0.1:{port}/"
        self._lifetime = lifetime
        now = int(time.time())
        self._user = {"sub": "auth0|alice", "name": "Alice"}
        claims = {"iss": self.issuer, "aud": CLIENT_ID, "iat": now, "exp": now + _DAY, **self._user}
        # Nobody checks the signature of what a refresh brings: it comes from the provider itself.
        self._id_token = ".".join((_base64({"alg": "RS256", "kid": "1"}), _base64(claims), "s" * _SIGNATURE))
        self.granted = 0

    def respond(self, path: str, form: str) -> Mapping[str, object]:
        """Return what is at that path, for a request with that form."""
        match path:
            case "/token":
                return self._tokens(is_refresh=_GRANTED in form)
            case "/userinfo":
                return self._user
            case "/count":
                return {"granted": self.granted}
            case _:
                return self._metadata()

    def _metadata(self) -> Mapping[str, object]:
        return {
            "issuer": self.issuer,
            "authorization_endpoint": f"{self.issuer}authorize",
            "token_endpoint": f"{self.issuer}token",
            "userinfo_endpoint": f"{self.issuer}userinfo",
        }

    def _tokens(self, *, is_refresh: bool) -> Mapping[str, object]:
        self.granted += 1
        tokens = {
            "access_token": f"{self.granted:08}.".ljust(TOKEN_LENGTH, "x"),
            "token_type": "Bearer",
            "expires_in": self._lifetime,
            "refresh_token": f"{_GRANTED}{self.granted:08}".ljust(_LENGTH, "x"),
        }
        return {**tokens, "id_token": self._id_token} if is_refresh else tokens


def _base64(value: Mapping[str, object]) -> str:
    return base64.urlsafe_b64encode(json.dumps(value).encode()).rstrip(b"=").decode()


class _Connection(asyncio.Protocol):
    """A connection with HTTP/1.1 requests, one after the other."""

    def __init__(self, provider: RefreshProvider) -> None:
        self._provider = provider
        self._received = b""
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        self._received += data
        head, separator, body = self._received.partition(b"\r\n\r\n")
        if not separator or len(body) < _content_length(head) or self._transport is None:
            return
        self._received = b""
        content = json.dumps(self._provider.respond(head.split(b" ")[1].decode(), body.decode())).encode()
        headers = f"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {len(content)}\r\n\r\n"
        self._transport.write(headers.encode() + content)


def _content_length(head: bytes) -> int:
    for line in head.lower().split(b"\r\n"):
        if line.startswith(b"content-length:"):
            return int(line.partition(b":")[2])
    return 0


async def _serve(lifetime: int, ready: int) -> None:
    providers: list[RefreshProvider] = []
    server = await asyncio.get_running_loop().create_server(lambda: _Connection(providers[0]), "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    providers.append(RefreshProvider(port, lifetime))
    os.write(ready, f"{port}\n".encode())
    os.close(ready)
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(_serve(int(sys.argv[1]), int(os.environ[VARIABLE])))
