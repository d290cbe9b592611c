"""Debian's docker-registry behind a server that takes the provider's access tokens alone, as a user's password."""

import hashlib
import json
import shutil
import socket
import subprocess
from collections.abc import Mapping
from contextlib import ExitStack, closing
from pathlib import Path
from types import TracebackType
from typing import Self

import httpx
import pytest

from tests.integration.agent_process import PATIENCE, until
from tests.integration.tools.token_server import BASIC, Request, Response, TokenServer
from tests.op.provider import OpenIDProvider

_OWN = ("connection", "content-length", "transfer-encoding", "date", "server")


class DockerRegistry(TokenServer):
    """A registry on https, or on http without `tls`, which has a certificate and its key."""

    refusal_headers: Mapping[str, str] = {"Docker-Distribution-Api-Version": "registry/2.0"}

    def __init__(self, directory: Path, provider: OpenIDProvider, tls: tuple[Path, Path] | None = None) -> None:
        super().__init__(provider, BASIC, tls=tls)
        self._directory = directory
        self._end = ExitStack()
        with closing(socket.create_server(("127.0.0.1", 0))) as free:
            self._origin = f"http://127.0.0.1:{free.getsockname()[1]}"
        self._http = self._end.enter_context(httpx.Client(trust_env=False, timeout=PATIENCE))

    def respond(self, request: Request) -> Response:
        """Return what the registry behind it responds."""
        scheme = self.url.partition(":")[0]
        headers = {name: value for name, value in request.headers.items() if name != "Authorization"}
        response = self._http.request(
            request.method,
            f"{self._origin}{request.path}",
            headers={**headers, "Host": self.host, "X-Forwarded-Proto": scheme},
            content=request.body,
        )
        kept = {name: value for name, value in response.headers.items() if name not in _OWN}
        if request.method == "HEAD":
            kept["Content-Length"] = response.headers["content-length"]
        return Response(response.content, response.status_code, kept)

    def __enter__(self) -> Self:
        if shutil.which("docker-registry") is None:
            pytest.skip("this needs docker-registry: apt-get install docker-registry")
        config = self._directory / "registry.json"
        storage = {"filesystem": {"rootdirectory": str(self._directory / "storage")}}
        address = self._origin.removeprefix("http://")
        # YAML has JSON in it.
        config.write_text(json.dumps({"version": 0.1, "storage": storage, "http": {"addr": address}}))
        with self._end:
            log = self._end.enter_context((self._directory / "registry.log").open("w"))
            server = subprocess.Popen(["docker-registry", "serve", str(config)], stdout=log, stderr=log)
            self._end.callback(server.wait, PATIENCE)
            self._end.callback(server.terminate)

            def is_up() -> bool:
                assert server.poll() is None, (self._directory / "registry.log").read_text()
                host, _, port = address.partition(":")
                with closing(socket.socket()) as one:
                    return one.connect_ex((host, int(port))) == 0

            until(is_up)
            super().__enter__()
            self._end = self._end.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        super().__exit__(kind, error, trace)
        self._end.close()


def write_image(directory: Path) -> None:
    """Make an image without layers in that directory, by the OCI Image Layout Specification."""
    blobs = directory / "blobs" / "sha256"
    blobs.mkdir(parents=True)

    def blob(kind: str, content: object) -> dict[str, object]:
        data = json.dumps(content).encode()
        digest = hashlib.sha256(data).hexdigest()
        (blobs / digest).write_bytes(data)
        return {
            "mediaType": f"application/vnd.oci.image.{kind}.v1+json",
            "digest": f"sha256:{digest}",
            "size": len(data),
        }

    empty: list[str] = []
    config = blob("config", {"architecture": "amd64", "os": "linux", "rootfs": {"type": "layers", "diff_ids": empty}})
    manifest = blob("manifest", {"schemaVersion": 2, "config": config, "layers": empty})
    (directory / "index.json").write_text(json.dumps({"schemaVersion": 2, "manifests": [manifest]}))
    (directory / "oci-layout").write_text('{"imageLayoutVersion": "1.0.0"}')
