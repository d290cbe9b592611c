"""A git server over HTTP whose repositories take the provider's access tokens alone: the real `git http-backend`."""

import gzip
import os
import subprocess
from pathlib import Path

from tests.integration.tools.large_files import TYPE, LargeFiles
from tests.integration.tools.token_server import Request, Response, TokenServer
from tests.op.provider import OpenIDProvider


class GitServer(TokenServer):
    """Serves the bare repositories in a directory; `challenges` are what it asks for, and all that it takes."""

    def __init__(self, directory: Path, provider: OpenIDProvider, *challenges: str) -> None:
        super().__init__(provider, *challenges)
        self.directory = directory
        # Tokens that it doesn't take, whatever the provider says.
        self.refused: set[str] = set()
        self.large_files = LargeFiles()

    def create(self, name: str) -> None:
        """Make a bare repository that can be pushed to."""
        path = self.directory / name
        subprocess.run(["git", "init", "--quiet", "--bare", str(path)], check=True)
        subprocess.run(["git", "-C", str(path), "config", "http.receivepack", "true"], check=True)

    def takes(self, token: str) -> bool:
        """Return whether the provider says that the token is valid, and the server has nothing against it."""
        return token not in self.refused and super().takes(token)

    def respond(self, request: Request) -> Response:
        """Return what git-lfs's API or `git http-backend` responds."""
        path, _, query = request.path.partition("?")
        is_compressed = request.headers.get("Content-Encoding") == "gzip"
        body = gzip.decompress(request.body) if is_compressed else request.body
        if "/info/lfs/" in path:
            status, content = self.large_files.respond(request.method, f"{self.url}{path}", body)
            return Response(content, status, {"Content-Type": TYPE})
        environment = {
            "PATH": os.environ["PATH"],
            "GIT_PROJECT_ROOT": str(self.directory),
            "GIT_HTTP_EXPORT_ALL": "1",
            "GIT_CONFIG_COUNT": "1",
            "GIT_CONFIG_KEY_0": "safe.directory",
            "GIT_CONFIG_VALUE_0": "*",
            "GIT_PROTOCOL": request.headers.get("Git-Protocol", ""),
            "PATH_INFO": path,
            "QUERY_STRING": query,
            "REQUEST_METHOD": request.method,
            "CONTENT_TYPE": request.headers.get("Content-Type", ""),
            "CONTENT_LENGTH": str(len(body)),
            "REMOTE_USER": "user",
            "REMOTE_ADDR": "127.0.0.1",
        }
        result = subprocess.run(["git", "http-backend"], input=body, env=environment, capture_output=True, check=True)
        head, _, content = result.stdout.partition(b"\r\n\r\n")
        headers = dict(line.split(": ", 1) for line in head.decode().split("\r\n"))
        status = int(headers.pop("Status", "200").split()[0])
        return Response(content, status, headers)
