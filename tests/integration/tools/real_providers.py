"""Providers that people deploy, each in a process of its own on 127.0.0.1: django-oauth-toolkit and Doorkeeper."""

import importlib.util
import os
import shutil
import socket
import subprocess
import sys
import tempfile
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, closing
from pathlib import Path
from types import TracebackType
from typing import Self

import httpx
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from tests.integration.agent_process import PATIENCE, until
from tests.op.login import walk

ROOT = Path(__file__).parents[3]
CLIENT_ID = "agent"
SCOPE = "openid profile email read"
_STOPPING = 10.0  # s


class RealProvider(AbstractContextManager["RealProvider"], ABC):
    """A provider with one public client, `CLIENT_ID`, whose access tokens live for `lifetime` seconds."""

    issuer: str
    userinfo_endpoint: str

    def __init__(self, lifetime: int) -> None:
        self.lifetime = lifetime
        self.directory = Path()
        self._end = ExitStack()
        with closing(socket.create_server(("127.0.0.1", 0))) as free:
            self._port: int = free.getsockname()[1]
        self.origin = f"http://127.0.0.1:{self._port}"
        self._http = self._end.enter_context(httpx.Client(trust_env=False, timeout=PATIENCE))

    @classmethod
    @abstractmethod
    def missing(cls) -> str | None:
        """Return what this machine lacks for it, with the command that installs it, or None."""

    @abstractmethod
    def _command(self) -> Sequence[str]:
        """Prepare the server; return the command that runs it."""

    @abstractmethod
    def _environment(self) -> Mapping[str, str]: ...

    def __enter__(self) -> Self:
        missing = self.missing()
        if missing is not None:
            pytest.skip(missing)
        with self._end:
            self.directory = Path(self._end.enter_context(tempfile.TemporaryDirectory(prefix="auth-agent-")))
            log = self._end.enter_context((self.directory / "log").open("w"))
            environment = {**os.environ, **self._environment(), "LIFETIME": str(self.lifetime)}
            server = subprocess.Popen(self._command(), cwd=ROOT, env=environment, stdout=log, stderr=log)
            self._end.callback(server.wait, _STOPPING)
            self._end.callback(server.terminate)

            def is_up() -> bool:
                assert server.poll() is None, (self.directory / "log").read_text()
                with closing(socket.socket()) as one:
                    return one.connect_ex(("127.0.0.1", self._port)) == 0

            until(is_up)
            self._end = self._end.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._end.close()

    def account(self, **more: object) -> dict[str, object]:
        """Return the keys of an account there, as in the configuration."""
        return {"issuer": self.issuer, "client_id": CLIENT_ID, "scope": SCOPE, "redirect_ports": [0], **more}

    def enter(self, authorization_url: str) -> httpx.Response:
        """Log in as a person, and follow the redirect to the agent."""
        redirect_uri = httpx.URL(authorization_url).params["redirect_uri"]
        return self._http.get(walk(self._http, authorization_url, "alice", redirect_uri))

    def takes(self, access_token: str) -> bool:
        """Return whether UserInfo takes that access token."""
        response = self._http.get(self.userinfo_endpoint, headers={"authorization": f"Bearer {access_token}"})
        assert response.status_code in (httpx.codes.OK, httpx.codes.UNAUTHORIZED, httpx.codes.FORBIDDEN), response.text
        return response.status_code == httpx.codes.OK


class DjangoOAuthToolkit(RealProvider):
    """django-oauth-toolkit: a refresh ends the access token from before, and narrows the refresh token for good."""

    def __init__(self, lifetime: int) -> None:
        super().__init__(lifetime)
        self.issuer = f"{self.origin}/o"
        self.userinfo_endpoint = f"{self.issuer}/userinfo/"

    @classmethod
    def missing(cls) -> str | None:
        """Return what is missing, or None."""
        is_there = importlib.util.find_spec("oauth2_provider") is not None
        return None if is_there else "django-oauth-toolkit is not installed: make tools"

    def _environment(self) -> Mapping[str, str]:
        return {
            "DIRECTORY": str(self.directory),
            "ISSUER": self.issuer,
            "DJANGO_SETTINGS_MODULE": "tests.integration.tools.django_site.settings",
            "DJANGO_SUPERUSER_PASSWORD": "any will do",
        }

    def _command(self) -> Sequence[str]:
        key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
        text = key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        (self.directory / "key.pem").write_bytes(text)
        self._manage("migrate", "--verbosity=0")
        self._manage("createsuperuser", "--noinput", "--username=alice", "--email=alice@example.com")
        self._manage(
            *("createapplication", "public", "authorization-code", "--skip-authorization", "--algorithm=RS256"),
            *(f"--client-id={CLIENT_ID}", "--redirect-uris=http://127.0.0.1/callback"),
        )
        return self._django("runserver", "--noreload", f"127.0.0.1:{self._port}")

    def _django(self, *arguments: str) -> Sequence[str]:
        return (sys.executable, "-m", "django", *arguments)

    def _manage(self, *arguments: str) -> None:
        environment = {**os.environ, **self._environment(), "LIFETIME": str(self.lifetime)}
        subprocess.run(self._django(*arguments), cwd=ROOT, env=environment, check=True, capture_output=True)


class Doorkeeper(RealProvider):
    """Doorkeeper, GitLab's engine: the old access token ends when the new one is first used; a refresh narrows."""

    def __init__(self, lifetime: int) -> None:
        super().__init__(lifetime)
        self.issuer = self.origin
        self.userinfo_endpoint = f"{self.origin}/oauth/userinfo"

    @classmethod
    def missing(cls) -> str | None:
        """Return what is missing, or None."""
        if shutil.which("puma") is not None and Path("/usr/share/doc/ruby-doorkeeper-openid-connect").exists():
            return None
        packages = "puma ruby-activerecord ruby-doorkeeper ruby-doorkeeper-openid-connect ruby-sqlite3"
        return f"Doorkeeper is not installed: apt-get install {packages}"

    def _environment(self) -> Mapping[str, str]:
        return {"ISSUER": self.issuer, "DATABASE": str(self.directory / "database")}

    def _command(self) -> Sequence[str]:
        site = Path(__file__).with_name("doorkeeper.ru")
        return ("puma", "--bind", f"tcp://127.0.0.1:{self._port}", "--threads", "1:4", str(site))
