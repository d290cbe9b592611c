"""A registry of npm packages that need the provider's access tokens."""

import base64
import hashlib
import io
import json
import tarfile
from collections.abc import Mapping

from tests.integration.tools.token_server import BEARER, NOT_FOUND, Request, Response, TokenServer
from tests.op.provider import OpenIDProvider


def _archive(manifest: Mapping[str, object]) -> bytes:
    text = json.dumps(manifest).encode()
    archive = io.BytesIO()
    with tarfile.open(fileobj=archive, mode="w:gz") as tar:
        entry = tarfile.TarInfo("package/package.json")
        entry.size = len(text)
        tar.addfile(entry, io.BytesIO(text))
    return archive.getvalue()


class NpmRegistry(TokenServer):
    """Has packages of version 1.0.0 at `/npm/`, and keeps the names of those that are published."""

    def __init__(self, provider: OpenIDProvider, *names: str) -> None:
        super().__init__(provider, BEARER)
        self._manifests: dict[str, dict[str, object]] = {name: {"name": name, "version": "1.0.0"} for name in names}
        self._archives = {name: _archive(manifest) for name, manifest in self._manifests.items()}
        self.published: list[str] = []

    @property
    def registry(self) -> str:
        """The URL of the registry."""
        return f"{self.url}/npm/"

    def respond(self, request: Request) -> Response:
        """Return a package's document, or its archive, or take one."""
        name, _, archive = request.path.removeprefix("/npm/").partition("/-/")
        if request.method == "PUT":
            self.published.append(name)
            return Response(b'{"ok": true}', 201)
        if name not in self._archives:
            return NOT_FOUND
        if archive:
            return Response(self._archives[name])
        integrity = base64.b64encode(hashlib.sha512(self._archives[name]).digest()).decode()
        dist = {"tarball": f"{self.registry}{name}/-/{name}-1.0.0.tgz", "integrity": f"sha512-{integrity}"}
        version: dict[str, object] = {**self._manifests[name], "dist": dist}
        document = {"name": name, "dist-tags": {"latest": "1.0.0"}, "versions": {"1.0.0": version}}
        return Response(json.dumps(document).encode(), headers={"Content-Type": "application/json"})
