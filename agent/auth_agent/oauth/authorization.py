"""A login by authorization code with PKCE, without I/O: the address that a browser opens, and the one it ends on.

RFC 6749 section 4.1, RFC 7636, RFC 8252, RFC 9207, OpenID Connect Core 1.0 section 3.1.2.
"""

import base64
import hashlib
import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final
from urllib.parse import parse_qs, urlencode, urlsplit

from auth_agent.oauth.outcome import Failure, Unusable
from auth_agent.oauth.requests import failure_of_error
from auth_agent.printable import printable
from auth_agent.secret import Secret
from auth_agent.urls import is_same_issuer

# More than any provider adds to a redirect.
_MOST_FIELDS: Final = 50


@dataclass(frozen=True, slots=True)
class AuthorizationRequest:
    """What one login is told from all others by; each of 256 random bits."""

    state: Secret
    nonce: Secret
    verifier: Secret

    @classmethod
    def begin(cls) -> "AuthorizationRequest":
        """One that nobody can guess."""
        return cls(*(Secret(secrets.token_urlsafe(32)) for _ in range(3)))

    @property
    def challenge(self) -> str:
        """The verifier's S256 (RFC 7636, section 4.2)."""
        digest = hashlib.sha256(self.verifier.reveal().encode()).digest()
        return base64.urlsafe_b64encode(digest).rstrip(b"=").decode()


def authorization_url(
    endpoint: str,
    request: AuthorizationRequest,
    *,
    client_id: str,
    redirect_uri: str,
    scope: str,
    audience: str | None,
    more: Mapping[str, str],
) -> str:
    """The address at which a person logs in.

    Args:
        endpoint: the provider's; it may have a query of its own, which is kept (RFC 6749, section 3.1).
        request: what this login is told from all others by.
        client_id: the client.
        redirect_uri: where the browser is to end.
        scope: what is asked for.
        audience: the API, as Auth0 is told it.
        more: what the configuration adds; an empty text takes a parameter away, and what makes the login safe stays.

    """
    parameters = {"prompt": "consent"} if "offline_access" in scope.split() else {}  # Core 1.0, section 11
    if audience is not None:
        parameters["audience"] = audience
    parameters |= more
    parameters |= {
        "response_type": "code",
        "client_id": client_id,
        "redirect_uri": redirect_uri,
        "scope": scope,
        "state": request.state.reveal(),
        "nonce": request.nonce.reveal(),
        "code_challenge": request.challenge,
        "code_challenge_method": "S256",
    }
    query = urlencode({name: value for name, value in parameters.items() if value})
    return f"{endpoint}{'&' if urlsplit(endpoint).query else '?'}{query}"


def read_redirect(
    query: str, request: AuthorizationRequest, issuer: str, *, iss_parameter_supported: bool
) -> Secret | Failure | None:
    """The code that a redirect brings, or why none; None: it isn't this login's, and anybody may have made it.

    Args:
        query: that of the address.
        request: what this login is told from all others by.
        issuer: whose answer it must be.
        iss_parameter_supported: whether the provider said that its answers name it (RFC 9207, section 3), and so must.

    """
    try:
        fields = parse_qs(query, keep_blank_values=True, max_num_fields=_MOST_FIELDS, errors="strict")
    except ValueError:
        return None
    if any(len(values) != 1 for values in fields.values()):  # RFC 6749, section 3.1
        return None
    answer = {name: values[0] for name, values in fields.items()}
    state = answer.get("state", "")
    if not secrets.compare_digest(state.encode(), request.state.reveal().encode()):
        return None
    named = answer.get("iss")
    if not is_same_issuer(named, issuer) and (named is not None or iss_parameter_supported):
        said = "names no issuer" if named is None else f"is {printable(named)!r}'s"
        return Unusable(f"the answer that the browser brought {said}, not {issuer!r}'s; nothing of it was used")
    error = answer.get("error")
    if error:
        own = (request.state, request.nonce, request.verifier)
        return failure_of_error(error, answer.get("error_description"), presented=own)
    code = answer.get("code", "")
    if code and code.isascii() and code.isprintable():
        return Secret(code)
    return Unusable("the answer that the browser brought holds no code")
