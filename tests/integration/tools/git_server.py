"""A git server over HTTP whose repositories take the provider's access tokens alone: the real `git http-backend`."""

import base64
import gzip
import os
import subprocess
import threading
from contextlib import AbstractContextManager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import TracebackType
from typing import Self

from tests.integration.tools.large_files import TYPE, LargeFiles
from tests.op.provider import OpenIDProvider

BASIC, BEARER = 'Basic realm="git"', 'Bearer realm="git"'


class GitServer(AbstractContextManager["GitServer"]):
    """Serves the bare repositories in a directory; `challenges` are what it asks for, and all that it takes."""

    def __init__(self, directory: Path, provider: OpenIDProvider, *challenges: str) -> None:
        self.directory = directory
        self.provider = provider
        self.challenges = challenges
        # The users, with `:`, of Basic, or the scheme, and the status, of each request that had a credential.
        self.seen: list[tuple[str, int]] = []
        self.tokens: set[str] = set()
        # Tokens that it doesn't take, whatever the provider says.
        self.refused: set[str] = set()
        self.large_files = LargeFiles()
        self._server = _Server(self)
        self._thread = threading.Thread(target=self._server.serve_forever)

    @property
    def url(self) -> str:
        """Its origin."""
        return f"http://127.0.0.1:{self._server.server_address[1]}"

    def create(self, name: str) -> None:
        """Make a bare repository that can be pushed to."""
        path = self.directory / name
        subprocess.run(["git", "init", "--quiet", "--bare", str(path)], check=True)
        subprocess.run(["git", "-C", str(path), "config", "http.receivepack", "true"], check=True)

    def status_of(self, authorization: str | None) -> int:
        """Return the status for a request with that header."""
        scheme, _, credential = (authorization or "").partition(" ")
        user, token = scheme, credential
        if scheme == "Basic":
            user, _, token = base64.b64decode(credential).decode().partition(":")
            user += ":"
        is_asked_for = any(challenge.startswith(scheme) for challenge in self.challenges)
        good = (
            bool(token)
            and is_asked_for
            and token not in self.refused
            and self.provider.userinfo(token).status_code == 200
        )
        if token:
            self.tokens.add(token)
            self.seen.append((user, 200 if good else 401))
        return 200 if good else 401

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()


class _Server(ThreadingHTTPServer):
    def __init__(self, owner: GitServer) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.owner = owner


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        self._answer(b"")

    def do_PUT(self) -> None:
        self.do_POST()

    def do_POST(self) -> None:
        if self.headers.get("Transfer-Encoding") == "chunked":
            body = b""
            while size := int(self.rfile.readline(), 16):
                body += self.rfile.read(size)
                self.rfile.readline()
            self.rfile.readline()
        else:
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        self._answer(gzip.decompress(body) if self.headers.get("Content-Encoding") == "gzip" else body)

    def _answer(self, body: bytes) -> None:
        assert isinstance(self.server, _Server)
        owner = self.server.owner
        if owner.status_of(self.headers["Authorization"]) != 200:
            self.send_response(401)
            for challenge in owner.challenges:
                self.send_header("WWW-Authenticate", challenge)
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        path, _, query = self.path.partition("?")
        if "/info/lfs/" in path:
            status, content = owner.large_files.respond(self.command, f"{owner.url}{path}", body)
            self.send_response(status)
            self.send_header("Content-Type", TYPE)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)
            return
        environment = {
            "PATH": os.environ["PATH"],
            "GIT_PROJECT_ROOT": str(owner.directory),
            "GIT_HTTP_EXPORT_ALL": "1",
            "GIT_CONFIG_COUNT": "1",
            "GIT_CONFIG_KEY_0": "safe.directory",
            "GIT_CONFIG_VALUE_0": "*",
            "GIT_PROTOCOL": self.headers.get("Git-Protocol", ""),
            "PATH_INFO": path,
            "QUERY_STRING": query,
            "REQUEST_METHOD": self.command,
            "CONTENT_TYPE": self.headers.get("Content-Type", ""),
            "CONTENT_LENGTH": str(len(body)),
            "REMOTE_USER": "user",
            "REMOTE_ADDR": "127.0.0.1",
        }
        result = subprocess.run(["git", "http-backend"], input=body, env=environment, capture_output=True, check=True)
        head, _, content = result.stdout.partition(b"\r\n\r\n")
        lines = [line.partition(": ") for line in head.decode().split("\r\n")]
        status = next((int(value.split()[0]) for name, _, value in lines if name == "Status"), 200)
        self.send_response(status)
        for name, _, value in lines:
            if name != "Status":
                self.send_header(name, value)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 -- the base class's name
        """Print nothing."""
