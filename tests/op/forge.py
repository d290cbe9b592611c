"""ID tokens that look right and aren't: each made from a real one, and signed by nobody who may.

A claim of None is left out. For claims that are wrong under the provider's own signature there is the fault `merge`
with `claims`.
"""

import base64
import hashlib
import hmac
import json
from collections.abc import Mapping
from typing import Any
from urllib.parse import parse_qs, urlsplit

from joserfc import jws
from joserfc.jwk import RSAKey

# An ID token's own, or None for one that it isn't to have.
Claims = Mapping[str, Any]


def claims_of(id_token: str) -> dict[str, Any]:
    """Return the claims of a token, without a check of its signature."""
    claims: dict[str, Any] = json.loads(_decoded(id_token.split(".")[1]))
    return claims


def for_login(authorization_url: str) -> dict[str, Any]:
    """Return the claims by which a token of another login fits the login of that URL."""
    nonce = parse_qs(urlsplit(authorization_url).query).get("nonce", [None])[0]
    # The hash of an access token that is not known yet (OpenID Connect Core, 3.1.3.6); it may be left out.
    return {"nonce": nonce, "at_hash": None}


def by_another_key(id_token: str, changes: Claims | None = None) -> str:
    """Signed as the provider signs, under the name of its key, by a key of ours."""
    payload = json.dumps(_changed(id_token, changes))
    return jws.serialize_compact(_header(id_token), payload, RSAKey.generate_key(2048))


def unsigned(id_token: str, changes: Claims | None = None) -> str:
    """With `alg: none` (RFC 7519, section 6)."""
    return f"{_signing_input({'alg': 'none'}, _changed(id_token, changes))}."


def keyed_by_public_key(id_token: str, jwks: Mapping[str, Any], changes: Claims | None = None) -> str:
    """With HS256, for which the secret is the provider's public key (RFC 8725, section 2.1)."""
    header = _header(id_token)
    (public,) = (RSAKey.import_key(key) for key in jwks["keys"] if key["kid"] == header["kid"])
    signing_input = _signing_input(header | {"alg": "HS256"}, _changed(id_token, changes))
    pem = public.as_pem(private=False)
    return f"{signing_input}.{_encoded(hmac.digest(pem, signing_input.encode(), hashlib.sha256))}"


def altered(id_token: str, changes: Claims) -> str:
    """With other claims under the signature that was made for the real ones."""
    signature = id_token.split(".")[2]
    return f"{_signing_input(_header(id_token), _changed(id_token, changes))}.{signature}"


def _header(id_token: str) -> dict[str, Any]:
    header: dict[str, Any] = json.loads(_decoded(id_token.partition(".")[0]))
    return header


def _changed(id_token: str, changes: Claims | None) -> dict[str, Any]:
    merged = claims_of(id_token) | dict(changes or {})
    return {name: value for name, value in merged.items() if value is not None}


def _signing_input(header: Mapping[str, Any], claims: Mapping[str, Any]) -> str:
    return ".".join(_encoded(json.dumps(part, separators=(",", ":")).encode()) for part in (header, claims))


def _encoded(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def _decoded(text: str) -> bytes:
    return base64.urlsafe_b64decode(text + "==")
