"""Whether a provider signed a token: JSON Web Signature (RFC 7515) by its public keys (RFC 7517), or by a secret.

Imports cryptography, so the worker imports it at its first call.
"""

import base64
import warnings
from collections.abc import Mapping
from typing import Final

from joserfc import jws
from joserfc.errors import SecurityWarning
from joserfc.jwk import Key, OctKey, RSAKey, import_key

from auth_agent.json_object import JsonObjectError, parse_object
from auth_agent.printable import printable
from auth_agent.signing_algorithms import KEY_TYPES

# Characters. The agent reads at most half a mebibyte per response. The library's lower limits would reject an ID token
# with many groups, or with a certificate in its header.
_MAX_LENGTH: Final = 1 << 19
# Keys of a set that are tried: providers have about three, and a hundred take less than a second.
_MAX_KEYS: Final = 100
# Bits of an RSA key: the minimum of RFC 7518, section 3.3, and the maximum of OpenSSL.
_MIN_RSA: Final = 2048
_MAX_RSA: Final = 16_384
# Characters of the token's `alg` or `kid` that a message shows.
_MAX_NAME: Final = 60

_KEYS_UNREADABLE: Final = "the provider's keys can't be read"


class _Registry(jws.JWSRegistry):
    max_header_length = max_payload_length = max_signature_length = _MAX_LENGTH


def verify(token: str, keys: str, algorithm: str = "", noun: str = "ID token") -> str | None:
    """Return what is wrong with a token's signature by one of the provider's keys, or None if it is valid.

    Args:
        token: a JWS in compact serialization (RFC 7515, section 3.1).
        keys: the provider's JWK set, as a JSON string (RFC 7517, section 5).
        algorithm: the only one that may have signed it; "": any of those that need one of these keys.
        noun: what the token is.

    The result is printable, and of the token it holds only the names of its algorithm and key. HS256 and its like are
    never accepted: an attacker could use the public key as the shared secret (RFC 8725, section 2.1).
    """
    header = _header(token, noun)
    if isinstance(header, str):
        return header
    signed_by, name = header.get("alg"), header.get("kid")
    if not isinstance(signed_by, str) or not isinstance(name, str | None):
        return _unreadable(noun)
    if signed_by not in KEY_TYPES:
        return (
            f"the {noun} is signed with {printable(signed_by, _MAX_NAME)!r}, which is not accepted: "
            "configure this client at the provider to use RS256 or ES256"
        )
    if algorithm not in ("", signed_by):
        return _other_algorithm(signed_by, algorithm, noun)
    key_set = _key_set(keys)
    if key_set is None:
        return _KEYS_UNREADABLE
    return _check_signature(token, signed_by, name, key_set, noun)


def verify_mac(token: str, secret: str, algorithm: str, noun: str = "ID token") -> str | None:
    """Return what is wrong with a token's signature by the client's secret, or None if it is valid.

    The key is the secret's UTF-8 bytes (OpenID Connect Core 1.0, section 10.1); other arguments are those of `verify`.
    """
    header = _header(token, noun)
    if isinstance(header, str):
        return header
    signed_by = header.get("alg")
    if signed_by != algorithm:
        return _other_algorithm(signed_by, algorithm, noun)
    registry = _Registry(algorithms=[algorithm], strict_check_header=False)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", SecurityWarning)  # about a short secret: the provider made it
        try:
            signed = jws.extract_compact(token.encode(), registry=registry)
            key = OctKey.import_key(secret.encode())
        except Exception:  # noqa: BLE001 -- the library raises many types
            return _unreadable(noun)
        if _fits(signed, key, registry):
            return None
    return f"the {noun}'s signature is wrong: the client's secret did not make it"


def _header(token: str, noun: str) -> dict[str, object] | str:
    """Return the header of a token, or what is wrong with it."""
    if len(token) > _MAX_LENGTH:
        return f"the {noun} is too large"
    try:
        header = parse_object(_decoded(token.partition(".")[0]))
    except ValueError:  # a JsonObjectError among them
        return _unreadable(noun)
    if "crit" in header:  # a verifier must reject extensions that it doesn't support (RFC 7515, section 4.1.11)
        return f"the {noun}'s signature needs extensions that are not supported (crit)"
    return header


def _unreadable(noun: str) -> str:
    return f"the {noun}'s signature can't be read"


def _other_algorithm(signed_by: object, algorithm: str, noun: str) -> str:
    return f"the {noun} is signed with {printable(signed_by, _MAX_NAME)!r}, not with {algorithm}"


def _check_signature(
    token: str, algorithm: str, name: str | None, keys: list[Mapping[str, object]], noun: str
) -> str | None:
    registry = _Registry(algorithms=[algorithm], strict_check_header=False)
    with warnings.catch_warnings():
        warnings.simplefilter(
            "ignore", SecurityWarning
        )  # about the name EdDSA, which RFC 9864 deprecates, and about weak keys
        try:
            signed = jws.extract_compact(token.encode(), registry=registry)
        except Exception:  # noqa: BLE001 -- the library raises many types
            return _unreadable(noun)
        # Some providers name the key in a token, and none in their set.
        if keys and not any("kid" in key for key in keys):
            name = None
        candidates = [key for key in keys if key.get("kid") == name] if name is not None else keys
        if name is not None and not candidates:
            return f"the {noun} is signed by a key ({printable(name, _MAX_NAME)!r}) that is not among the provider's"
        # Without a `kid` any suitable key may match; and several keys may have the same `kid`.
        usable = [imported for key in candidates if (imported := _usable(key, algorithm)) is not None]
        if not usable:
            whose = (
                "the provider has no key"
                if name is None
                else f"the provider's key {printable(name, _MAX_NAME)!r} is not one"
            )
            return f"{whose} that a {algorithm} signature can be checked with (RSA keys need {_MIN_RSA} bits)"
        if any(_fits(signed, key, registry) for key in usable):
            return None
    return f"the {noun}'s signature is wrong: the provider's key did not make it"


def _usable(key: Mapping[str, object], algorithm: str) -> Key | None:
    """Return the key if it can check signatures of that algorithm, else None."""
    if key.get("kty") != KEY_TYPES[algorithm] or key.get("use") not in (None, "sig"):
        return None
    if key.get("alg") not in (None, algorithm):
        return None
    # Other members (certificates, operations) are ignored: they may be invalid.
    public: dict[str, str | list[str]] = {}
    for member in ("kty", "crv", "n", "e", "x", "y"):
        value = key.get(member)
        if isinstance(value, str):
            public[member] = value
    try:
        imported = import_key(public)
    except Exception:  # noqa: BLE001 -- an invalid key must not hide the valid ones
        return None
    if isinstance(imported, RSAKey) and not _MIN_RSA <= imported.public_key.key_size <= _MAX_RSA:
        return None
    return imported


def _fits(signed: jws.CompactSignature, key: Key, registry: jws.JWSRegistry) -> bool:
    try:
        return jws.validate_compact(signed, key, registry=registry)
    except Exception:  # noqa: BLE001 -- for example a key of another curve
        return False


def _key_set(json_string: str) -> list[Mapping[str, object]] | None:
    """Return the first keys of a JWK set, or None if it is not valid."""
    if len(json_string) > _MAX_LENGTH:
        return None
    try:
        keys = parse_object(json_string).get("keys")
    except JsonObjectError:
        return None
    if not isinstance(keys, list):
        return None
    return [key for key in keys[:_MAX_KEYS] if isinstance(key, dict)]  # pyright: ignore[reportUnknownVariableType] -- the names of a JSON object are strings; its values are anything


def _decoded(part: str) -> bytes:
    return base64.urlsafe_b64decode(part + "=" * (-len(part) % 4))
