"""A small provider of OAuth 2 alone, in GitHub's manner: no discovery, no ID token, and no `expires_in`.

Scopes are separated by commas, errors have HTTP 200, and its API has another name for the user than `sub`.
"""

import json
import secrets
from collections.abc import Mapping
from contextlib import AbstractContextManager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from types import TracebackType
from typing import Self
from urllib.parse import parse_qsl, urlencode, urlsplit

CLIENT = "plain-app"
SCOPES = "read:user,repo"
_OAUTH = "/.well-known/oauth-authorization-server"


class PlainProvider(AbstractContextManager["PlainProvider"]):
    """The provider, on a port of 127.0.0.1."""

    def __init__(
        self,
        *,
        user: Mapping[str, object] | None = None,
        document: Mapping[str, object] | None = None,
        path: str = "",
    ) -> None:
        """Make one.

        Args:
            user: what its API says of the user.
            document: members of its RFC 8414 metadata, beside the usual ones; None: it has no document.
            path: the path of the issuer.

        """
        self.user = dict(user or {"id": 583231, "login": "octocat", "name": None})
        self.document = document
        # The paths of all requests, and the forms of those with one.
        self.requests: list[tuple[str, dict[str, str]]] = []
        # The headers of its token requests, by lower-case name.
        self.token_headers: list[dict[str, str]] = []
        self.tokens: set[str] = set()
        self.approved = False
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(self))
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        self.issuer = f"{self.url}{path}"

    def __enter__(self) -> Self:
        Thread(target=self._server.serve_forever, daemon=True).start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.shutdown()
        self._server.server_close()

    @property
    def endpoints(self) -> dict[str, str]:
        """The endpoints, as an account names them."""
        return {
            "authorization_endpoint": f"{self.url}/login/oauth/authorize",
            "token_endpoint": f"{self.url}/login/oauth/access_token",
            "device_authorization_endpoint": f"{self.url}/login/device/code",
            "userinfo_endpoint": f"{self.url}/user",
        }

    def paths(self) -> list[str]:
        """The paths that were requested."""
        return [path for path, _ in self.requests]

    def respond(self, path: str, form: dict[str, str], token: str) -> tuple[int, dict[str, str], object]:
        """Return status, headers and body."""
        if path.startswith(_OAUTH) and self.document is not None:
            return 200, {}, {"issuer": self.issuer, **self.endpoints, **self.document}
        if path == "/login/oauth/authorize":
            query = urlencode({"code": secrets.token_hex(8), "state": form["state"]})
            return 302, {"location": f"{form['redirect_uri']}?{query}"}, ""
        if path == "/login/device/code":
            shown = {"user_code": "WDJB-MJHT", "verification_uri": f"{self.url}/login/device"}
            return 200, {}, {**shown, "device_code": "dc", "expires_in": 900, "interval": 1}
        if path == "/login/oauth/access_token":
            return 200, {}, self._token(form)
        if path == "/user" and token in self.tokens:
            return 200, {}, self.user
        return (401 if path == "/user" else 404), {}, {"message": "no"}

    def _token(self, form: dict[str, str]) -> dict[str, object]:
        if "device_code" in form and not self.approved:
            return {"error": "authorization_pending", "error_description": "not yet"}
        if "code" not in form and "device_code" not in form:
            return {"error": "unsupported_grant_type"}
        token = f"gho_{secrets.token_hex(8)}"
        self.tokens.add(token)
        return {"access_token": token, "token_type": "bearer", "scope": SCOPES}


def _handler(provider: PlainProvider) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self._respond()

        def do_POST(self) -> None:
            self._respond()

        def _respond(self) -> None:
            parts = urlsplit(self.path)
            body = self.rfile.read(int(self.headers["content-length"] or 0)).decode()
            form = dict(parse_qsl(body or parts.query))
            provider.requests.append((parts.path, form))
            if parts.path == "/login/oauth/access_token":
                provider.token_headers.append({name.lower(): value for name, value in self.headers.items()})
            token = (self.headers["authorization"] or "").partition(" ")[2]
            status, headers, content = provider.respond(parts.path, form, token)
            data = json.dumps(content).encode()
            self.send_response(status)
            for name, value in {
                **headers,
                "content-type": "application/json",
                "content-length": str(len(data)),
            }.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(data)

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 -- the library's name
            """Print nothing."""

    return Handler
