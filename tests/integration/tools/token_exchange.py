"""A token endpoint over TLS that takes the provider's token for one of its own, as Azure's and Google's do."""

import json
import ssl
from collections.abc import Mapping
from pathlib import Path
from urllib.parse import parse_qs

import trustme

from tests.integration.tools.token_check import token_check
from tests.integration.tools.token_server import Request, Response, TokenServer
from tests.op.provider import OpenIDProvider

# RFC 7521 (client assertions, as of Azure) and RFC 8693 (token exchange, as of Google).
_PARAMETERS = ("client_assertion", "subject_token")


class TokenExchange(TokenServer):
    """Grants `granted` for a valid token, on any path."""

    granted = "exchanged"

    def __init__(self, provider: OpenIDProvider, folder: Path) -> None:
        super().__init__(provider)
        authority = trustme.CA()
        self.authority = folder / "authority.pem"
        authority.cert_pem.write_to_path(str(self.authority))
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        authority.issue_cert("127.0.0.1").configure_cert(context)  # pyright: ignore[reportUnknownMemberType] -- PyOpenSSL's context, too
        self._server.socket = context.wrap_socket(self._server.socket, server_side=True)
        self._is_valid = token_check(provider)
        self.presented: list[tuple[str, bool]] = []
        self.asked: list[tuple[str, str, str]] = []
        self.forms: list[dict[str, list[str]]] = []

    @property
    def url(self) -> str:
        """Its origin."""
        return f"https://{self.host}"

    def answer(self, method: str, path: str, headers: Mapping[str, str], body: bytes) -> Response:
        """Exchange a token."""
        self.asked.append((method, path, headers.get("Content-Type", "")))
        form = parse_qs(body.decode())
        self.forms.append(form)
        token = next((form[name][0] for name in _PARAMETERS if name in form), "")
        is_valid = self._is_valid(token)
        self.presented.append((token, is_valid))
        content = {
            "access_token": self.granted,
            "token_type": "Bearer",
            "issued_token_type": "urn:ietf:params:oauth:token-type:access_token",
            "expires_in": 3600,
        }
        if not is_valid:
            content = {"error": "invalid_grant", "error_description": "the token is not valid"}
        return Response(json.dumps(content).encode(), 200 if is_valid else 400, {"Content-Type": "application/json"})

    def respond(self, request: Request) -> Response:
        """Do nothing: `answer` does it all."""
        raise NotImplementedError
