"""A provider that costs next to nothing, so that an agent with a thousand sessions does not wait for it.

`python -m tests.bench.quick_provider PORT` serves OpenID Connect on 127.0.0.1: its metadata, its keys, and a token
endpoint that takes refresh tokens, each once. Access tokens are JWTs of 1 KiB (with a signature that nobody checks),
ID tokens are signed. A refresh token of the form `USER.login.WORD` begins a session, so nobody has to log in.

`GET /control?lifetime=SECONDS&delay=SECONDS&hold=0` sets how long the next access tokens live, after how long it
answers a token request, and whether it answers none of them (`hold=1`) until it is told to. The answer is what it has
counted since it started, see `Counts`.
"""

import asyncio
import base64
import json
import os
import secrets
import sys
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Final
from urllib.parse import parse_qsl, urlsplit

from joserfc import jwt
from joserfc.jwk import ECKey

# Bytes of an access token.
_SIZE: Final = 1024
_ALGORITHM: Final = "ES256"


@dataclass(slots=True)
class Counts:
    """What the provider has counted; `cpu` is its processor time in seconds, `held` are requests without an answer."""

    token_requests: int = 0
    refusals: int = 0
    held: int = 0
    cpu: float = 0.0


class QuickProvider:
    """The provider's state, and its answers."""

    def __init__(self, issuer: str) -> None:
        self.issuer = issuer
        self.lifetime = 3600
        self.delay = 0.0
        self.counts = Counts()
        self.held: list[asyncio.Event] = []
        self.is_holding = False
        self._current: dict[str, str] = {}  # the refresh token of each user
        self._key = ECKey.generate_key("P-256", {"kid": "1", "alg": _ALGORITHM, "use": "sig"})

    def respond(self, path: str, body: bytes) -> tuple[int, object]:
        """Return the status and the JSON of a response."""
        parts = urlsplit(path)
        if parts.path == "/token":
            return self._token(dict(parse_qsl(body.decode())))
        if parts.path == "/control":
            return 200, self._control(dict(parse_qsl(parts.query)))
        documents = {"/.well-known/openid-configuration": self._metadata, "/keys": self._keys}
        return (200, documents[parts.path]()) if parts.path in documents else (404, {})

    def _metadata(self) -> dict[str, object]:
        return {
            "issuer": self.issuer,
            "authorization_endpoint": f"{self.issuer}/authorize",
            "token_endpoint": f"{self.issuer}/token",
            "jwks_uri": f"{self.issuer}/keys",
            "id_token_signing_alg_values_supported": [_ALGORITHM],
            "token_endpoint_auth_methods_supported": ["none"],
        }

    def _keys(self) -> dict[str, object]:
        return {"keys": [self._key.as_dict(private=False)]}

    def _control(self, settings: dict[str, str]) -> dict[str, object]:
        self.lifetime = int(settings.get("lifetime", self.lifetime))
        self.delay = float(settings.get("delay", self.delay))
        self.is_holding = settings.get("hold", "1" if self.is_holding else "0") == "1"
        if not self.is_holding:
            for event in self.held:
                event.set()
            self.held.clear()
        self.counts.held = len(self.held)
        self.counts.cpu = time.process_time()
        return asdict(self.counts)

    def _token(self, form: dict[str, str]) -> tuple[int, dict[str, object]]:
        self.counts.token_requests += 1
        refresh_token = form.get("refresh_token", "")
        user, _, rest = refresh_token.partition(".")
        if refresh_token != self._current.get(user) and not rest.startswith("login."):
            self.counts.refusals += 1
            return 400, {"error": "invalid_grant", "error_description": "this refresh token was used before"}
        self._current[user] = f"{user}.{secrets.token_urlsafe(32)}"
        now = int(time.time())
        claims = {"iss": self.issuer, "sub": user, "iat": now, "exp": now + self.lifetime}
        id_token = jwt.encode({"alg": _ALGORITHM, "kid": "1"}, claims | {"aud": form.get("client_id")}, self._key)
        return 200, {
            "access_token": access_token(claims | {"issued": time.monotonic(), "id": secrets.token_urlsafe(16)}),
            "token_type": "Bearer",
            "expires_in": self.lifetime,
            "refresh_token": self._current[user],
            "id_token": id_token,
            "scope": "openid profile email offline_access",
        }


def access_token(claims: Mapping[str, object]) -> str:
    """Return an access token of 1 KiB with these claims."""
    head = f"{_base64(json.dumps({'alg': 'RS256', 'typ': 'at+jwt'}).encode())}.{_base64(json.dumps(claims).encode())}."
    return head + _base64(os.urandom(_SIZE))[: _SIZE - len(head)]


def _base64(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def issued_at(access_token: str) -> float:
    """Return when the provider answered with that access token, by the system's monotonic clock."""
    payload = access_token.split(".")[1]
    return float(json.loads(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))["issued"])


class _Connection(asyncio.Protocol):
    """One connection; requests come one after the other."""

    def __init__(self, provider: QuickProvider) -> None:
        self._provider = provider
        self._received = b""
        self._transport: asyncio.Transport | None = None
        self._tasks: set[asyncio.Task[None]] = set()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        self._received += data
        head, separator, body = self._received.partition(b"\r\n\r\n")
        if not separator:
            return
        lines = head.decode("latin-1").split("\r\n")
        headers = dict(line.lower().split(": ", 1) for line in lines[1:])
        length = int(headers.get("content-length", "0"))
        if len(body) < length:
            return
        self._received = body[length:]
        path = lines[0].split(" ")[1]
        if not path.startswith("/token"):
            self._send(path, body[:length])
        elif not self._provider.is_holding:
            asyncio.get_running_loop().call_later(self._provider.delay, self._send, path, body[:length])
        else:
            task = asyncio.ensure_future(self._hold(path, body[:length]))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _hold(self, path: str, body: bytes) -> None:
        released = asyncio.Event()
        self._provider.held.append(released)
        await released.wait()
        self._send(path, body)

    def _send(self, path: str, body: bytes) -> None:
        if self._transport is None or self._transport.is_closing():
            return
        status, content = self._provider.respond(path, body)
        data = json.dumps(content).encode()
        head = f"HTTP/1.1 {status} -\r\ncontent-type: application/json\r\ncontent-length: {len(data)}\r\n\r\n"
        self._transport.write(head.encode() + data)


async def _serve(port: int) -> None:
    provider = QuickProvider(f"http://127.0.0.1:{port}")
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: _Connection(provider), "127.0.0.1", port, backlog=1024)
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(_serve(int(sys.argv[1])))
