"""An AWS account: moto's, behind a server that takes only the provider's tokens at AssumeRoleWithWebIdentity."""

import os
import socket
import subprocess
import sys
from collections.abc import Mapping
from contextlib import closing
from pathlib import Path
from typing import Self
from urllib.parse import parse_qs

import httpx

from tests.integration.agent_process import PATIENCE, until
from tests.integration.tools.token_check import token_check
from tests.integration.tools.token_server import Request, Response, TokenServer
from tests.op.provider import OpenIDProvider

_REFUSED = (
    "<ErrorResponse><Error><Type>Sender</Type><Code>InvalidIdentityToken</Code>"
    "<Message>The ID token provided is not a valid JWT.</Message></Error></ErrorResponse>"
)


class AwsAccount(TokenServer):
    """The Security Token Service of an account."""

    def __init__(self, provider: OpenIDProvider, folder: Path) -> None:
        super().__init__(provider)
        self._folder = folder
        with closing(socket.create_server(("127.0.0.1", 0))) as free:
            self._port: int = free.getsockname()[1]
        self._is_good = token_check(provider)
        self.presented: list[tuple[str, bool]] = []

    def __enter__(self) -> Self:
        log = (self._folder / "moto.log").open("wb")
        program = "from moto.server import main; main()"
        command = [sys.executable, "-c", program, "--host", "127.0.0.1", "--port", str(self._port)]
        self._moto = subprocess.Popen(command, stdout=log, stderr=log, env=dict(os.environ))
        log.close()
        until(self._listens, timeout=2 * PATIENCE)
        return super().__enter__()

    def __exit__(self, *error: object) -> None:
        super().__exit__(None, None, None)
        self._moto.terminate()
        self._moto.wait(PATIENCE)

    def _listens(self) -> bool:
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", self._port)) == 0

    def answer(self, method: str, path: str, headers: Mapping[str, str], body: bytes) -> Response:
        """Check a token, and let moto answer."""
        form = parse_qs(body.decode())
        token = form.get("WebIdentityToken", [None])[0]
        if token is not None:
            is_good = self._is_good(token)
            self.presented.append((token, is_good))
            if not is_good:
                return Response(_REFUSED.encode(), 400, {"Content-Type": "text/xml"})
        passed = {name: value for name, value in headers.items() if name not in ("Content-Length", "Connection")}
        response = httpx.request(method, f"http://127.0.0.1:{self._port}{path}", headers=passed, content=body)
        return Response(response.content, response.status_code, {"Content-Type": response.headers["content-type"]})

    def respond(self, request: Request) -> Response:
        """Do nothing: `answer` does it all."""
        raise NotImplementedError
