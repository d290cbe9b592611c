"""A browser that keeps its cookies, and so is remembered by the provider from one visit to the next."""

from collections.abc import Sequence
from urllib.parse import parse_qs, urlencode, urlsplit

import httpx

from tests.op.login import REDIRECT_URI, Code, approve_device, authorize, log_out, walk


class Browser:
    """Somebody's browser: logged in by its first visit, and until it is logged out or forgotten."""

    def __init__(self, http: httpx.Client, authorization_endpoint: str) -> None:
        self._http = http
        self._endpoint = authorization_endpoint

    def visit(self, authorization_url: str, user: str = "auth0|alice") -> str:
        """Consent, and log in if necessary; return the URL of the last redirect, which is not visited."""
        redirect_uri = parse_qs(urlsplit(authorization_url).query)["redirect_uri"][0]
        return walk(self._http, authorization_url, user, redirect_uri)

    def enter(self, authorization_url: str, user: str = "auth0|alice") -> httpx.Response:
        """Do the same, and follow the last redirect; return the response."""
        return self.open(self.visit(authorization_url, user))

    def approve(self, verification_uri: str, user: str = "auth0|alice") -> None:
        """Approve the device that shows this URL, and log in if necessary."""
        approve_device(self._http, verification_uri, user)

    def authorize(
        self, user: str, *, client_id: str, scope: str, audience: str | None = None, resources: Sequence[str] = ()
    ) -> Code:
        """Consent to what a client requests, and log in if necessary; return the client's code."""
        return authorize(
            self._http,
            self._endpoint,
            user=user,
            client_id=client_id,
            scope=scope,
            audience=audience,
            resources=resources,
        )

    def open(self, address: str) -> httpx.Response:
        """Open a URL; return the response."""
        return self._http.get(address)

    def log_out(self, address: str) -> str:
        """Confirm a logout; return the URL at which the browser ends, which is not visited if it is elsewhere."""
        return log_out(self._http, address)

    def is_logged_in(self, client_id: str = "native-app") -> bool:
        """Return whether the provider would log the person in without a prompt."""
        request = {
            "client_id": client_id,
            "response_type": "code",
            "redirect_uri": REDIRECT_URI,
            "scope": "openid",
            "code_challenge": "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM",  # of RFC 7636; the code is not exchanged
            "code_challenge_method": "S256",
            "prompt": "none",
        }
        address = walk(self._http, f"{self._endpoint}?{urlencode(request)}", "", REDIRECT_URI)
        return parse_qs(urlsplit(address).query).get("error") != ["login_required"]
