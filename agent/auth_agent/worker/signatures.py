"""Whether a provider signed an ID token: JSON Web Signature (RFC 7515) by its public keys (RFC 7517).

Imports cryptography, so the worker imports it at its first call.
"""

import base64
import warnings
from collections.abc import Mapping
from typing import Final

from joserfc import jws
from joserfc.errors import SecurityWarning
from joserfc.jwk import Key, RSAKey, import_key

from auth_agent.json_object import JsonObjectError, parse_object
from auth_agent.printable import printable

# Which kind of key each algorithm takes. Those with a shared secret (HS…) are not among them: a public key would do
# for the secret then (RFC 8725, section 2.1). No other list is ever asked, and least of all the token.
_KINDS: Final = {
    **dict.fromkeys(("RS256", "RS384", "RS512", "PS256", "PS384", "PS512"), "RSA"),
    **dict.fromkeys(("ES256", "ES384", "ES512"), "EC"),
    "EdDSA": "OKP",
}
# Characters. The agent reads no longer answer than half a mebibyte, and the library's own limits would refuse an ID
# token with many groups, or with a certificate in its header.
_MAX_TEXT: Final = 1 << 19
# How many keys of a set are looked at: providers have three, and a hundred take less than a second.
_MAX_KEYS: Final = 100
# Bits of an RSA key: the least that RFC 7518 allows (section 3.3), and the most that OpenSSL checks with.
_MIN_RSA: Final = 2048
_MAX_RSA: Final = 16_384
# Characters that are shown of what the token names.
_MAX_NAME: Final = 60

_UNREADABLE: Final = "the ID token's signature can't be read"
_KEYS_UNREADABLE: Final = "the provider's keys can't be read"


class _Registry(jws.JWSRegistry):
    max_header_length = max_payload_length = max_signature_length = _MAX_TEXT


def verify(token: str, keys: str) -> str | None:
    """What is wrong with a token's signature; None when it is good.

    Args:
        token: a JWS in its compact form.
        keys: the provider's JWK set, as it is written.

    The text can be shown, and holds nothing of the token but the names of its algorithm and key.
    """
    if len(token) > _MAX_TEXT:
        return "the ID token is too large"
    try:
        header = parse_object(_decoded(token.partition(".")[0]))
    except ValueError:  # a JsonObjectError among them
        return _UNREADABLE
    algorithm, name = header.get("alg"), header.get("kid")
    if not isinstance(algorithm, str) or not isinstance(name, str | None):
        return _UNREADABLE
    if algorithm not in _KINDS:
        return (
            f"the ID token is signed with {printable(algorithm, _MAX_NAME)!r}, which isn't accepted: "
            "have the provider sign this client's with RS256 or ES256"
        )
    if "crit" in header:  # whoever doesn't know what it names must refuse it (RFC 7515, section 4.1.11)
        return "the ID token's signature asks for more than is understood here (crit)"
    found = _key_set(keys)
    if found is None:
        return _KEYS_UNREADABLE
    return _judged(token, algorithm, name, found)


def _judged(token: str, algorithm: str, name: str | None, keys: list[Mapping[str, object]]) -> str | None:
    registry = _Registry(algorithms=[algorithm], strict_check_header=False)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", SecurityWarning)  # of the name EdDSA, which RFC 9864 splits; and of weak keys
        try:
            signed = jws.extract_compact(token.encode(), registry=registry)
        except Exception:  # noqa: BLE001 -- whatever the library makes of it: it can't be read
            return _UNREADABLE
        named = [key for key in keys if key.get("kid") == name] if name is not None else keys
        if name is not None and not named:
            return f"the ID token is signed by a key ({printable(name, _MAX_NAME)!r}) that is not among the provider's"
        # Without a name each that fits may be the one; with one, nothing says that no two have it.
        usable = [imported for key in named if (imported := _usable(key, algorithm)) is not None]
        if not usable:
            whose = (
                "the provider has no key"
                if name is None
                else f"the provider's key {printable(name, _MAX_NAME)!r} is none"
            )
            return f"{whose} that a {algorithm} signature can be checked with (RSA keys need {_MIN_RSA} bits)"
        if any(_fits(signed, key, registry) for key in usable):
            return None
    return "the ID token's signature is wrong: the provider's key did not make it"


def _usable(key: Mapping[str, object], algorithm: str) -> Key | None:
    """A key that such a signature can be checked with; None where it is another kind, or broken."""
    if key.get("kty") != _KINDS[algorithm] or key.get("use") not in (None, "sig"):
        return None
    if key.get("alg") not in (None, algorithm):
        return None
    # The rest of what a set says of a key (certificates, operations) may be as odd as it likes.
    public: dict[str, str | list[str]] = {}
    for member in ("kty", "crv", "n", "e", "x", "y"):
        value = key.get(member)
        if isinstance(value, str):
            public[member] = value
    try:
        imported = import_key(public)
    except Exception:  # noqa: BLE001 -- one broken key, whatever is broken about it, is no reason to do without the others
        return None
    if isinstance(imported, RSAKey) and not _MIN_RSA <= imported.public_key.key_size <= _MAX_RSA:
        return None
    return imported


def _fits(signed: jws.CompactSignature, key: Key, registry: jws.JWSRegistry) -> bool:
    try:
        return jws.validate_compact(signed, key, registry=registry)
    except Exception:  # noqa: BLE001 -- such as a key of another curve: that signature is not its
        return False


def _key_set(text: str) -> list[Mapping[str, object]] | None:
    """The first keys of a set; None where it is none."""
    if len(text) > _MAX_TEXT:
        return None
    try:
        keys = parse_object(text).get("keys")
    except JsonObjectError:
        return None
    if not isinstance(keys, list):
        return None
    return [key for key in keys[:_MAX_KEYS] if isinstance(key, dict)]  # pyright: ignore[reportUnknownVariableType] -- JSON's names are texts; its values are anything


def _decoded(text: str) -> bytes:
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
