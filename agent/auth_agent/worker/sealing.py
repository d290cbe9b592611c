"""Sealed sessions: what stands in the files of the sealed store, and how a passphrase opens them. Pure.

Theory of operation. A passphrase is weak and is changed; so it encrypts nothing but a random data key (the *wrap*), and
that encrypts the records, one for each account. A new passphrase rewrites the header alone. AES-256-GCM fails
completely if a nonce is used twice with a key: each write takes 96 random bits, and the data key is replaced long
before two of them may be equal. What is not encrypted is associated data, so that no record can be passed off as
another account's, another store's, or a newer one.

Each file is one JSON object. It must be exactly what `_dump` writes: a flipped bit is never ignored.
Imports cryptography, so the worker imports it at its first call.
"""

import base64
import json
import os
import unicodedata
from dataclasses import dataclass
from hashlib import sha256
from typing import Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.scrypt import Scrypt

from auth_agent.json_object import JsonObjectError, parse_object
from auth_agent.worker.vocabulary import PASSPHRASE_MAX

VERSION: Final = 1
_HEADER: Final = "auth-agent/store"
_RECORD: Final = "auth-agent/session"

# RFC 7914: 128 * r * 2^log_n bytes. 128 MiB take half a second on a machine of today, and a guess as long.
LOG_N: Final = 17
R: Final = 8
P: Final = 1
# The least that a new store takes where memory is short: 16 MiB.
LOG_N_LEAST: Final = 14
# A file from elsewhere must not make the worker take all memory, or time.
_MAX_MEMORY: Final = 256 << 20
_LOG_N_RANGE: Final = range(10, 22)
_R_RANGE: Final = range(1, 33)
_P_RANGE: Final = range(1, 5)

_SALT: Final = 16  # bytes
_ID: Final = 16
_KEY: Final = 32
_NONCE: Final = 12
_TAG: Final = 16
# Writes with one data key. NIST SP 800-38D, 8.3, allows 2^32 with random nonces.
WRITES_PER_KEY: Final = 1 << 30
MAX_COUNTER: Final = (1 << 53) - 1
# One, and one more while records are rewritten with a new one.
_MAX_KEYS: Final = 2


class DamagedError(Exception):
    """The bytes are not what was written; the message is a predicate that follows a name."""


class NewerVersionError(DamagedError):
    """The bytes may be valid, but a newer version of auth-agent wrote them."""


class WrongPassphraseError(Exception):
    """The file is not damaged, but this passphrase doesn't open it."""


@dataclass(frozen=True, slots=True)
class Derivation:
    """How a key is derived from a passphrase: scrypt's salt and cost."""

    salt: bytes
    log_n: int = LOG_N
    r: int = R
    p: int = P

    @property
    def memory(self) -> int:
        """How much memory that takes, in bytes."""
        return 128 * self.r << self.log_n

    def key(self, passphrase: str) -> bytes:
        """Return the key of that passphrase. Raises a `MemoryError` if there is too little memory."""
        return Scrypt(salt=self.salt, length=_KEY, n=1 << self.log_n, r=self.r, p=self.p).derive(_encoded(passphrase))

    def members(self) -> dict[str, object]:
        """Return it as a JSON object."""
        return {"name": "scrypt", "salt": _base64(self.salt), "log_n": self.log_n, "r": self.r, "p": self.p}


@dataclass(frozen=True, slots=True)
class WrappedKey:
    """A data key, encrypted with the passphrase's key. `since`: the store's counter when the data key was made."""

    id: int
    since: int
    nonce: bytes
    sealed: bytes


@dataclass(frozen=True, slots=True)
class Header:
    """The store's header: which store it is, and its data keys, the newest last."""

    store: str
    derivation: Derivation
    keys: tuple[WrappedKey, ...]


@dataclass(frozen=True, slots=True)
class RecordHead:
    """What a record says without being opened.

    `store`: the store that it belongs to. `key`: the id of its data key. `counter`: higher in each later write of the
    store.
    """

    store: str
    key: int
    account: str
    counter: int

    def members(self) -> dict[str, object]:
        """Return it as a JSON object."""
        return {
            "format": _RECORD,
            "version": VERSION,
            "store": self.store,
            "key": self.key,
            "account": self.account,
            "counter": self.counter,
        }


# ---- the header


def new_derivation() -> Derivation:
    """Return a derivation with a new salt."""
    return Derivation(os.urandom(_SALT))


def new_store_id() -> str:
    """Return a random id."""
    return os.urandom(_ID).hex()


def new_header(store: str, derivation: Derivation, passphrase_key: bytes) -> tuple[Header, bytes]:
    """Return the header of a new store, and its data key."""
    key, bare = os.urandom(_KEY), Header(store, derivation, ())
    return Header(store, derivation, (_wrapped(bare, 1, 0, key, passphrase_key),)), key


def with_new_key(header: Header, passphrase_key: bytes, since: int) -> tuple[Header, bytes]:
    """Return the header with one more data key, and that key; `since` is the store's counter."""
    key = os.urandom(_KEY)
    added = _wrapped(header, header.keys[-1].id + 1, since, key, passphrase_key)
    return Header(header.store, header.derivation, (*header.keys, added)), key


def with_newest_key(header: Header) -> Header:
    """Return the header with no other data key than the newest."""
    return Header(header.store, header.derivation, header.keys[-1:])


def with_passphrase(header: Header, keys: dict[int, bytes], derivation: Derivation, passphrase_key: bytes) -> Header:
    """Return the header with the same data keys, wrapped by another passphrase's key."""
    bare = Header(header.store, derivation, ())
    wrapped = tuple(_wrapped(bare, old.id, old.since, keys[old.id], passphrase_key) for old in header.keys)
    return Header(header.store, derivation, wrapped)


def unwrap(header: Header, passphrase_key: bytes) -> dict[int, bytes]:
    """Return the data keys by their ids.

    Raises:
        WrongPassphraseError: that is the key of another passphrase.

    """
    try:
        return {
            wrapped.id: AESGCM(passphrase_key).decrypt(wrapped.nonce, wrapped.sealed, _wrap_data(header, wrapped))
            for wrapped in header.keys
        }
    except InvalidTag as error:
        raise WrongPassphraseError from error


def dump_header(header: Header) -> bytes:
    """Return the header as a file."""
    members: dict[str, object] = {
        "format": _HEADER,
        "version": VERSION,
        "store": header.store,
        "kdf": header.derivation.members(),
        "keys": [
            {"id": key.id, "since": key.since, "nonce": _base64(key.nonce), "wrapped": _base64(key.sealed)}
            for key in header.keys
        ],
    }
    # Without it, a flipped bit would look like a wrong passphrase.
    return _dump({**members, "checksum": sha256(_dump(members)).hexdigest()})


def parse_header(data: bytes) -> Header:
    """Return the header in a file.

    Raises:
        DamagedError: it is damaged, or asks for more than `_MAX_MEMORY`.

    """
    members = _parse(data, _HEADER)
    checksum = members.pop("checksum", None)
    if checksum != sha256(_dump(members)).hexdigest():
        raise DamagedError("is damaged")
    try:
        keys = _list(members["keys"])
        header = Header(_hex(members["store"], _ID), _derivation(members["kdf"]), tuple(map(_wrapped_key, keys)))
    except (KeyError, TypeError, ValueError) as error:
        raise DamagedError("is damaged") from error
    if not 0 < len(header.keys) <= _MAX_KEYS or dump_header(header) != data:
        raise DamagedError("is damaged")
    return header


def _wrapped(header: Header, id_: int, since: int, key: bytes, passphrase_key: bytes) -> WrappedKey:
    bare = WrappedKey(id_, since, os.urandom(_NONCE), b"")
    sealed = AESGCM(passphrase_key).encrypt(bare.nonce, key, _wrap_data(header, bare))
    return WrappedKey(id_, since, bare.nonce, sealed)


def _wrap_data(header: Header, key: WrappedKey) -> bytes:
    return _dump(
        {
            "format": _HEADER,
            "version": VERSION,
            "store": header.store,
            "kdf": header.derivation.members(),
            "id": key.id,
            "since": key.since,
        }
    )


def _wrapped_key(value: object) -> WrappedKey:
    members = _object(value)
    return WrappedKey(
        _counter(members["id"]),
        _counter(members["since"]),
        _bytes(members["nonce"], _NONCE),
        _bytes(members["wrapped"], _KEY + _TAG),
    )


def _derivation(value: object) -> Derivation:
    members = _object(value)
    log_n, r, p = (_counter(members[name]) for name in ("log_n", "r", "p"))
    if log_n not in _LOG_N_RANGE or r not in _R_RANGE or p not in _P_RANGE:
        raise DamagedError("asks for a key derivation that is not supported")
    derivation = Derivation(_bytes(members["salt"], _SALT), log_n, r, p)
    if derivation.memory > _MAX_MEMORY:
        raise DamagedError(f"asks for {derivation.memory >> 20} MiB to derive its key, more than is allowed")
    return derivation


# ---- the records


def seal_record(head: RecordHead, key: bytes, entry: str) -> bytes:
    """Return a record as a file."""
    members, nonce = head.members(), os.urandom(_NONCE)
    sealed = AESGCM(key).encrypt(nonce, entry.encode("utf-8", "surrogatepass"), _dump(members))
    return _dump({**members, "nonce": _base64(nonce), "sealed": _base64(sealed)})


def read_head(data: bytes) -> RecordHead:
    """Return what a record says without being opened; only `open_record` proves that nobody has changed it.

    Raises:
        DamagedError: it is damaged.

    """
    return _split(data)[0]


def open_record(data: bytes, keys: dict[int, bytes], store: str, account: str) -> tuple[RecordHead, str]:
    """Return a record's head, and its entry.

    Raises:
        DamagedError: it is damaged, or of another account or store.

    """
    head, nonce, sealed = _split(data)
    if head.account != account:
        raise DamagedError("is another account's")
    if head.store != store:
        raise DamagedError("belongs to another store")
    if head.key not in keys:
        raise DamagedError("has a key that the store's header lacks")
    try:
        entry = AESGCM(keys[head.key]).decrypt(nonce, sealed, _dump(head.members()))
    except InvalidTag as error:
        raise DamagedError("is damaged") from error
    return head, entry.decode("utf-8", "surrogatepass")


def _split(data: bytes) -> tuple[RecordHead, bytes, bytes]:
    members = _parse(data, _RECORD)
    try:
        head = RecordHead(
            _hex(members["store"], _ID),
            _counter(members["key"]),
            _string(members["account"]),
            _counter(members["counter"]),
        )
        nonce, sealed = _bytes(members["nonce"], _NONCE), _bytes(members["sealed"])
    except (KeyError, TypeError, ValueError) as error:
        raise DamagedError("is damaged") from error
    if _dump({**head.members(), "nonce": _base64(nonce), "sealed": _base64(sealed)}) != data:
        raise DamagedError("is damaged")
    return head, nonce, sealed


# ---- values


def _encoded(passphrase: str) -> bytes:
    # Keyboards of different systems send the same letter as different code points.
    encoded = unicodedata.normalize("NFC", passphrase).encode("utf-8", "surrogatepass")
    if not 0 < len(encoded) <= PASSPHRASE_MAX:
        raise WrongPassphraseError
    return encoded


def _dump(members: dict[str, object]) -> bytes:
    return json.dumps(members, separators=(",", ":")).encode() + b"\n"


def _parse(data: bytes, format_: str) -> dict[str, object]:
    try:
        members = parse_object(data)
    except JsonObjectError as error:
        raise DamagedError("is damaged") from error
    version = members.get("version")
    if members.get("format") == format_ and type(version) is int and version > VERSION:
        raise NewerVersionError("is of a newer version of auth-agent, or damaged")
    if members.get("format") != format_ or version != VERSION:
        raise DamagedError("is damaged")
    return members


def _object(value: object) -> dict[str, object]:
    if not isinstance(value, dict):
        raise TypeError("not an object")
    return value  # pyright: ignore[reportUnknownVariableType] -- a JSON object's keys are strings


def _list(value: object) -> list[object]:
    if not isinstance(value, list):
        raise TypeError("not a list")
    return value  # pyright: ignore[reportUnknownVariableType] -- any list


def _string(value: object) -> str:
    if not isinstance(value, str):
        raise TypeError("not a string")
    return value


def _counter(value: object) -> int:
    if type(value) is not int or not 0 <= value <= MAX_COUNTER:
        raise TypeError("not a counter")
    return value


def _hex(value: object, length: int) -> str:
    string = _string(value)
    if len(bytes.fromhex(string)) != length:
        raise ValueError("not an id")
    return string


def _base64(data: bytes) -> str:
    return base64.b64encode(data).decode()


def _bytes(value: object, length: int | None = None) -> bytes:
    data = base64.b64decode(_string(value), validate=True)
    if length is not None and len(data) != length:
        raise ValueError("not as long as it must be")
    return data
