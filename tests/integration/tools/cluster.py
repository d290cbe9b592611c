"""A cluster's API server, as far as kubectl and helm ask it, that takes the provider's tokens alone."""

import json
import ssl
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from tests.integration.tools.token_server import BEARER, NOT_FOUND, Request, Response, TokenServer
from tests.op.provider import OpenIDProvider


def _resource(name: str, kind: str, *, namespaced: bool) -> dict[str, object]:
    return {"name": name, "singularName": "", "namespaced": namespaced, "kind": kind, "verbs": ["get", "list"]}


def _list(kind: str, *items: Mapping[str, object]) -> dict[str, object]:
    return {"kind": kind, "apiVersion": "v1", "metadata": {"resourceVersion": "1"}, "items": items}


_RESOURCES: Final = [
    _resource("namespaces", "Namespace", namespaced=False),
    _resource("secrets", "Secret", namespaced=True),
]
_ANSWERS: Final[Mapping[str, Mapping[str, object]]] = {
    "/version": {"major": "1", "minor": "32", "gitVersion": "v1.32.0"},
    "/api": {"kind": "APIVersions", "versions": ["v1"]},
    "/apis": {"kind": "APIGroupList", "apiVersion": "v1", "groups": []},
    "/api/v1": {"kind": "APIResourceList", "groupVersion": "v1", "resources": _RESOURCES},
    "/api/v1/namespaces": _list("NamespaceList", {"metadata": {"name": "team"}, "status": {"phase": "Active"}}),
    "/api/v1/namespaces/default/secrets": _list("SecretList"),
}


class Cluster(TokenServer):
    """Serves https with the certificate `cert.pem` in the directory of `authority`."""

    def __init__(self, authority: Path, provider: OpenIDProvider) -> None:
        super().__init__(provider, BEARER)
        self.authority = authority
        # The ID token that it takes in place of access tokens.
        self.id_token: str | None = None
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(authority.with_name("cert.pem"), authority.with_name("key.pem"))
        self.encrypt(context)

    def takes(self, token: str) -> bool:
        return super().takes(token) if self.id_token is None else token == self.id_token

    def respond(self, request: Request) -> Response:
        answer = _ANSWERS.get(request.path.partition("?")[0])
        if answer is None:
            return NOT_FOUND
        return Response(json.dumps(answer).encode(), headers={"Content-Type": "application/json"})
