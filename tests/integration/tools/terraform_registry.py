"""A registry of Terraform's modules that needs the provider's tokens ("Module Registry Protocol")."""

import io
import json
import tarfile
from collections.abc import Mapping
from pathlib import Path

from tests.integration.tools.token_server import BEARER, NOT_FOUND, Request, Response, TokenServer
from tests.op.provider import OpenIDProvider

_ARCHIVE = "/archive.tar.gz"


def _archive() -> bytes:
    """Return the archive of a module."""
    archive, text = io.BytesIO(), b'output "answer" {\n  value = 42\n}\n'
    with tarfile.open(fileobj=archive, mode="w:gz") as tar:
        entry = tarfile.TarInfo("main.tf")
        entry.size = len(text)
        tar.addfile(entry, io.BytesIO(text))
    return archive.getvalue()


class TerraformRegistry(TokenServer):
    """Has a module `team/network/local` of version 1.0.0, whose archive needs no token."""

    def __init__(self, provider: OpenIDProvider, tls: tuple[Path, Path]) -> None:
        super().__init__(provider, BEARER, tls=tls)
        self.downloads = 0

    @property
    def module(self) -> str:
        """The module's source."""
        return f"{self.host}/team/network/local"

    def answer(self, method: str, path: str, headers: Mapping[str, str], body: bytes) -> Response:
        """Return the response to any request: archives are at URLs of their own, which need no token."""
        if not path.startswith(_ARCHIVE):
            return super().answer(method, path, headers, body)
        assert "Authorization" not in headers
        self.downloads += method == "GET"
        return Response(_archive())

    def respond(self, request: Request) -> Response:
        """Return what is where, the versions of the module, or where its archive is."""
        if request.path == "/.well-known/terraform.json":
            return self._json({"modules.v1": "/modules/"})
        if request.path == "/modules/team/network/local/versions":
            return self._json({"modules": [{"versions": [{"version": "1.0.0"}]}]})
        if request.path == "/modules/team/network/local/1.0.0/download":
            return Response(status=204, headers={"X-Terraform-Get": f"{self.url}{_ARCHIVE}?archive=tar.gz"})
        return NOT_FOUND

    def _json(self, value: object) -> Response:
        return Response(json.dumps(value).encode(), headers={"Content-Type": "application/json"})
