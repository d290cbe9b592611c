"""A login by authorization code with PKCE, without I/O: the authorization URL, and the redirect that answers it.

RFC 6749 section 4.1, RFC 7636, RFC 8252, RFC 9207, OpenID Connect Core 1.0 section 3.1.2.
"""

import base64
import hashlib
import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final
from urllib.parse import parse_qs, urlencode, urlsplit

from auth_agent.oauth.entra import is_issuer
from auth_agent.oauth.outcome import Failure, Misconfigured, Unusable
from auth_agent.oauth.requests import failure_of_error
from auth_agent.printable import printable
from auth_agent.secret import Secret

# More parameters than any provider adds to a redirect.
_MAX_FIELDS: Final = 50
# What a login depends on. In other fields, which are only shown or ignored, a provider may write what it likes.
_DECISIVE: Final = ("state", "iss", "error", "code")


@dataclass(frozen=True, slots=True)
class AuthorizationRequest:
    """The values that bind a redirect and its tokens to one login; each has 256 random bits."""

    state: Secret
    nonce: Secret
    verifier: Secret

    @classmethod
    def begin(cls) -> "AuthorizationRequest":
        """Return a new one, of random values."""
        return cls(*(Secret(secrets.token_urlsafe(32)) for _ in range(3)))

    @property
    def challenge(self) -> str:
        """The S256 code challenge of the verifier (RFC 7636, section 4.2)."""
        digest = hashlib.sha256(self.verifier.reveal().encode()).digest()
        return base64.urlsafe_b64encode(digest).rstrip(b"=").decode()


def authorization_url(
    endpoint: str,
    request: AuthorizationRequest,
    *,
    client_id: str,
    redirect_uri: str,
    scope: str,
    api: Mapping[str, str],
    more: Mapping[str, str],
) -> str:
    """Return the URL at which a person logs in.

    Args:
        endpoint: the authorization endpoint; a query in it is preserved (RFC 6749, section 3.1).
        request: the state, nonce and verifier of this login.
        client_id: the client's identifier.
        redirect_uri: where the provider sends the browser afterwards.
        scope: the requested scopes, separated by spaces.
        api: the parameters that name the API that tokens are for.
        more: parameters that the configuration adds; an empty string removes one. The protocol's own can't be changed.

    """
    params = {"prompt": "consent"} if "offline_access" in scope.split() else {}  # Core 1.0, section 11
    params |= api
    params |= more
    params |= {
        "response_type": "code",
        "client_id": client_id,
        "redirect_uri": redirect_uri,
        "scope": scope,
        "state": request.state.reveal(),
        "nonce": request.nonce.reveal(),
        "code_challenge": request.challenge,
        "code_challenge_method": "S256",
    }
    query = urlencode({name: value for name, value in params.items() if value})
    base, _, _ = endpoint.partition("#")  # an endpoint has no fragment (section 3.1): the parameters would be in it
    before = "" if base.endswith(("?", "&")) else "&" if urlsplit(base).query else "?"
    return f"{base}{before}{query}"


def read_redirect(
    query: str,
    request: AuthorizationRequest,
    issuer: str,
    *,
    iss_parameter_supported: bool,
    is_configured: bool = False,
) -> Secret | Failure | None:
    """Return the code in a redirect, or why the login failed; None if the redirect is not for this login.

    Anybody can make a redirect that lacks this login's state, so it is ignored rather than a failure.

    Args:
        query: the query of the redirect's URL.
        request: the state, nonce and verifier of this login.
        issuer: the issuer that the response must come from, as the provider's metadata has it.
        iss_parameter_supported: whether the provider's metadata promises `iss` (RFC 9207, 3): then it is required.
        is_configured: whether the issuer is from the configuration, as the provider has no metadata.

    """
    try:
        fields = parse_qs(query, keep_blank_values=True, max_num_fields=_MAX_FIELDS, errors="replace")
    except ValueError:
        return None
    if any(len(fields.get(name, ())) > 1 for name in _DECISIVE):  # RFC 6749, section 3.1
        return None
    response = {name: values[0] for name, values in fields.items()}
    state = response.get("state", "")
    if not secrets.compare_digest(state.encode(), request.state.reveal().encode()):
        return None
    response_issuer = response.get("iss")
    # A simple string comparison (RFC 9207, section 2.4).
    is_same = response_issuer is not None and is_issuer(response_issuer, issuer)
    if not is_same and (response_issuer is not None or iss_parameter_supported):
        source = "an unknown issuer" if response_issuer is None else repr(printable(response_issuer))
        reason = f"the authorization response is from {source}, not {issuer!r}; it was not used"
        return Misconfigured(reason, keys=("issuer",)) if is_configured else Unusable(reason)
    error = response.get("error")
    if error:
        own = (request.state, request.nonce, request.verifier)
        return failure_of_error(error, response.get("error_description"), presented=own)
    code = response.get("code", "")
    if code and code.isascii() and code.isprintable():
        return Secret(code)
    return Unusable("the authorization response has no code")
