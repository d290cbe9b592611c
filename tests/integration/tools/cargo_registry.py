"""A sparse registry of cargo (The Cargo Book, "Registries") whose index and crates need the provider's tokens."""

import hashlib
import io
import json
import tarfile
from collections.abc import Mapping, Sequence

from tests.integration.agent_process import until
from tests.integration.tools.token_server import BEARER, NOT_FOUND, Request, Response, TokenServer
from tests.op.provider import OpenIDProvider


def _crate(name: str, needs: Sequence[str]) -> bytes:
    """Return a crate's archive, of version 1.0.0."""
    manifest = f'[package]\nname = "{name}"\nversion = "1.0.0"\nedition = "2021"\n[dependencies]\n'
    manifest += "".join(f'{one} = {{ version = "1", registry = "corp" }}\n' for one in needs)
    archive = io.BytesIO()
    with tarfile.open(fileobj=archive, mode="w:gz") as tar:
        for path, text in (("Cargo.toml", manifest), ("src/lib.rs", "")):
            entry = tarfile.TarInfo(f"{name}-1.0.0/{path}")
            entry.size = len(text)
            tar.addfile(entry, io.BytesIO(text.encode()))
    return archive.getvalue()


class CargoRegistry(TokenServer):
    """Has crates of version 1.0.0, each with the names of those that it needs."""

    def __init__(self, provider: OpenIDProvider, crates: Mapping[str, Sequence[str]]) -> None:
        super().__init__(provider, BEARER)
        self._crates = {name: _crate(name, needs) for name, needs in crates.items()}
        self._needs = crates
        # Paths whose response waits until the token of the request has ended.
        self.slow: set[str] = set()

    def respond(self, request: Request) -> Response:
        """Return the index, a part of it, or a crate."""
        name = request.path.split("/")[-1]
        if request.path in self.slow:
            until(lambda: not self.takes(request.token), every=0.1)
        if name == "config.json":
            config = {"dl": f"{self.url}/dl/{{crate}}", "api": self.url, "auth-required": True}
            return Response(json.dumps(config).encode())
        if request.path.startswith("/dl/"):
            return Response(self._crates[name]) if name in self._crates else NOT_FOUND
        if request.path.endswith("/owners"):
            return Response(json.dumps({"users": [{"id": 1, "login": "alice", "name": None}]}).encode())
        if name not in self._crates:
            return NOT_FOUND
        needs: list[object] = [
            {"name": one, "req": "^1", "features": (), "optional": False, "default_features": True, "kind": "normal"}
            for one in self._needs[name]
        ]
        none: dict[str, object] = {}
        checksum = hashlib.sha256(self._crates[name]).hexdigest()
        entry = {"name": name, "vers": "1.0.0", "deps": needs, "cksum": checksum, "features": none, "yanked": False}
        return Response(json.dumps(entry).encode())
