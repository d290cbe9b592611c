"""What an ID token or a JWT access token says, and whether it speaks of the session it came for.

Signatures are not checked here. At a refresh the token comes straight from the token endpoint over TLS, which
stands in for its signature (OpenID Connect Core 1.0, section 3.1.3.7, item 6).
"""

import base64
import binascii
from collections.abc import Mapping

from auth_agent.address import is_same_issuer
from auth_agent.json_object import parse_object
from auth_agent.printable import printable
from auth_agent.secret import Secret

_JWS_PARTS = 3
_MAX_SUBJECT = 255


def claims(token: Secret) -> dict[str, object] | None:
    """The claims of a JWT, unverified; None when it isn't one."""
    parts = token.reveal().split(".")
    if len(parts) != _JWS_PARTS:
        return None
    payload = parts[1]
    try:
        return parse_object(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))
    except (binascii.Error, ValueError):  # a JsonObjectError among them
        return None


def names_audience(found: Mapping[str, object], audience: str) -> bool:
    """Whether the claim `aud`, one text or a list of them, has that audience (RFC 7519, section 4.1.3)."""
    named = found.get("aud")
    return audience in named if isinstance(named, list) else named == audience


def subject(found: Mapping[str, object]) -> str | None:
    """The claim `sub`, where it is what the specification says: up to 255 ASCII characters (section 2)."""
    value = found.get("sub")
    if isinstance(value, str) and value and len(value) <= _MAX_SUBJECT and value.isascii() and value.isprintable():
        return value
    return None


def display_name(found: Mapping[str, object]) -> str | None:
    """How a person would recognise whose session this is; safe to print."""
    for claim in ("name", "email", "preferred_username", "nickname"):
        shown = printable(found.get(claim), 80).strip()
        if shown:
            return shown
    return None


def mismatch(found: Mapping[str, object], issuer: str, client_id: str) -> str | None:
    """How an ID token at a refresh differs from what it must say (OpenID Connect Core 1.0, section 12.2)."""
    named = found.get("iss")
    if not is_same_issuer(named, issuer):
        return f"the ID token's issuer is {printable(named)!r}, not {issuer!r}"
    if not names_audience(found, client_id):
        return "the ID token is meant for another client"
    if subject(found) is None:
        return "the ID token names no subject"
    return None
