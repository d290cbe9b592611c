"""Providers that people deploy, in processes of their own: django-oauth-toolkit, Doorkeeper and Glewlwyd."""

import importlib.util
import os
import shutil
import socket
import sqlite3
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
_STOPPING = 10.0  # s


def _free_port() -> int:
    with closing(socket.create_server(("127.0.0.1", 0))) as free:
        port: int = free.getsockname()[1]
        return port


def _key_pair() -> tuple[str, str]:
    """Return a new RSA key and its public part, as PEM."""
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    encoding, encryption = serialization.Encoding.PEM, serialization.NoEncryption()
    private = key.private_bytes(encoding, serialization.PrivateFormat.PKCS8, encryption)
    public = key.public_key().public_bytes(encoding, serialization.PublicFormat.SubjectPublicKeyInfo)
    return private.decode(), public.decode()


class RealProvider(AbstractContextManager["RealProvider"], ABC):
    """A provider with one client, `CLIENT_ID`, whose access tokens live for `lifetime` seconds.

    The client is public if it has no `secret`.
    """

    issuer: str
    userinfo_endpoint: str
    scope = "openid profile email read"
    secret: str | None = None
    # Whether the access token ends when the refresh token is revoked (RFC 7009 leaves that open).
    revokes_access_tokens = True

    def __init__(self, lifetime: int) -> None:
        self.lifetime = lifetime
        self.directory = Path()
        self._end = ExitStack()
        self._port = _free_port()
        self.origin = f"http://127.0.0.1:{self._port}"
        self._http = self._end.enter_context(httpx.Client(trust_env=False, timeout=PATIENCE))

    @classmethod
    @abstractmethod
    def missing(cls) -> str | None:
        """Return what this machine lacks for it, with the command that installs it, or None."""

    @abstractmethod
    def _command(self) -> Sequence[str]:
        """Prepare the server; return the command that runs it."""

    def _environment(self) -> Mapping[str, str]:
        return {}

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
            self._configure()
            self._end = self._end.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._end.close()

    def _configure(self) -> None:
        """Do what can only be done with a server that runs."""

    def account(self, **more: object) -> dict[str, object]:
        """Return the keys of an account there, as in the configuration."""
        return {"issuer": self.issuer, "client_id": CLIENT_ID, "scope": self.scope, "redirect_ports": [0], **more}

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

    def __init__(self, lifetime: int, path: str = "o") -> None:
        super().__init__(lifetime)
        self.issuer = f"{self.origin}/{path}"
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
        private, _ = _key_pair()
        (self.directory / "key.pem").write_text(private)
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


class Glewlwyd(RealProvider):
    """Glewlwyd: JWTs as access tokens, which live on after a refresh; resource indicators; no `offline_access`.

    Its client has a secret, since a public one may not revoke there.
    `parameters` are further ones of its plugin for OpenID Connect.
    """

    api = "https://api.example"
    scope = "openid read"
    secret: str | None = "secret"
    revokes_access_tokens = False
    _schema = Path("/usr/share/dbconfig-common/data/glewlwyd/install/sqlite3")
    _settings = Path("/etc/glewlwyd/glewlwyd.conf")

    def __init__(
        self, lifetime: int, *, secret: str | None = None, parameters: Mapping[str, object] | None = None
    ) -> None:
        super().__init__(lifetime)
        self.secret = secret or self.secret
        self.issuer = f"{self.origin}/api/oidc"
        self.userinfo_endpoint = f"{self.issuer}/userinfo"
        self._parameters = parameters or {}
        self._redirect_port = _free_port()

    @classmethod
    def missing(cls) -> str | None:
        """Return what is missing, or None."""
        return None if shutil.which("glewlwyd") else "Glewlwyd is not installed: apt-get install glewlwyd"

    def account(self, **more: object) -> dict[str, object]:
        """Return the keys of an account there: it compares redirect URIs with their ports."""
        return super().account(redirect_ports=[self._redirect_port], **more)

    def _command(self) -> Sequence[str]:
        database, settings = self.directory / "database", self.directory / "settings"
        with closing(sqlite3.connect(database)) as connection:
            connection.executescript(self._schema.read_text())
        text = self._settings.read_text().replace("port=4593", f"port={self._port}")
        text = text.replace("http://localhost:4593/", f"{self.origin}/").replace(
            'log_mode="file"', 'log_mode="console"'
        )
        include, own = (
            '@include "/etc/glewlwyd/glewlwyd-db.conf"',
            f'database = {{ type = "sqlite3"; path = "{database}"; }};',
        )
        settings.write_text(text.replace(include, own))
        return ("glewlwyd", "--config-file", str(settings))

    def _configure(self) -> None:
        private, public = _key_pair()
        parameters = {
            "iss": self.issuer,
            "jwt-type": "rsa",
            "jwt-key-size": "256",
            "key": private,
            "cert": public,
            "access-token-duration": self.lifetime,
            "refresh-token-duration": 3600,
            "code-duration": 600,
            "refresh-token-rolling": False,
            "refresh-token-one-use": "always",
            "allow-non-oidc": True,
            **{f"auth-type-{name}-enabled": True for name in ("client", "code", "device", "id-token", "refresh")},
            **{f"auth-type-{name}-enabled": False for name in ("implicit", "none", "password", "token")},
            "pkce-allowed": True,
            "introspection-revocation-allowed": True,
            "introspection-revocation-allow-target-client": True,
            "jwks-show": True,
            "subject-type": "public",
            "resource-allowed": True,
            "resource-scope": {"read": [self.api]},
            "name-claim": "mandatory",
            "device-authorization-expiration": 600,
            "device-authorization-interval": 1,
            "oauth-par-allowed": True,
            "oauth-par-request_uri-prefix": "urn:ietf:params:oauth:request_uri:",
            "oauth-par-duration": 90,
            **self._parameters,
        }
        with self._browser() as admin:
            self._send(admin, "POST", "auth/", {"username": "admin", "password": "password"})
            plugin = {"module": "oidc", "name": "oidc", "display_name": "OpenID Connect", "parameters": parameters}
            self._send(admin, "POST", "mod/plugin/", plugin)
            self._send(admin, "POST", "scope/", {"name": "read", "display_name": "read", "scheme": {}})
            person = {"username": "alice", "password": "any will do", "name": "Alice", "scope": ["openid", "read"]}
            self._send(admin, "POST", "user/?source=database", {**person, "enabled": True})
            client = {
                "client_id": CLIENT_ID,
                "name": CLIENT_ID,
                "confidential": True,
                "client_secret": self.secret,
                "token_endpoint_auth_method": ["client_secret_basic", "client_secret_post"],
                "redirect_uri": [f"http://127.0.0.1:{self._redirect_port}/callback"],
                "authorization_type": ["code", "refresh_token", "device_authorization", "client_credentials"],
                "scope": ["openid", "read"],
                "enabled": True,
            }
            self._send(admin, "POST", "client/?source=database", client)

    def _browser(self) -> httpx.Client:
        return httpx.Client(trust_env=False, timeout=PATIENCE)

    def _send(self, http: httpx.Client, method: str, path: str, body: Mapping[str, object]) -> None:
        response = http.request(method, f"{self.origin}/api/{path}", json=body)
        assert response.is_success, (path, response.text)

    def enter(self, authorization_url: str) -> httpx.Response:
        """Do what the script of its page does, and follow the redirect to the agent."""
        self._send(self._http, "POST", "auth/", {"username": "alice", "password": "any will do"})
        self._send(self._http, "PUT", f"auth/grant/{CLIENT_ID}", {"scope": self.scope})
        return super().enter(f"{authorization_url}&g_continue")
