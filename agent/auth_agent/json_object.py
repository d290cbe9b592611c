"""Parses JSON objects from outside."""

import json
from collections.abc import Callable

from auth_agent_client.messages import MAX_JSON_VALUES

# Python refuses to parse integers of very many digits, which take too long. As a float, such a number is infinite.
_MAX_DIGITS = 300


class JsonObjectError(ValueError):
    """The document is not valid JSON, not an object, or too large; the message is a predicate that follows a name."""


def parse_object(document: str | bytes) -> dict[str, object]:
    """Return the members of a JSON object.

    Raises:
        JsonObjectError: it is not a JSON object.

    """
    return _object(lambda: json.loads(document))


def read_object(body: bytes) -> dict[str, object]:
    """Return the members of a JSON object from a provider, which should be UTF-8 (RFC 8259, section 8.1).

    A string in another encoding, or a number of any length, does not make the other members unreadable: a new refresh
    token may be among them.

    Raises:
        JsonObjectError: it is not a JSON object, or has more values than a message of the protocol may have.

    """
    # A value follows a comma or the beginning of an array or object. To decode 512 KiB of `[]` takes 20 ms.
    if sum(map(body.count, (b",", b"[", b"{"))) > MAX_JSON_VALUES:
        raise JsonObjectError(f"has more than {MAX_JSON_VALUES:,} JSON values")
    return _object(lambda: _TOLERANT.decode(body.decode("utf-8-sig", "replace")))


def _object(decode: Callable[[], object]) -> dict[str, object]:
    try:
        value = decode()
    except (ValueError, RecursionError) as error:
        raise JsonObjectError("is not valid JSON") from error
    if not isinstance(value, dict):
        raise JsonObjectError("is not a JSON object")
    return value  # pyright: ignore[reportUnknownVariableType] -- JSON's names are strings; its values are anything


def _integer(digits: str) -> float:
    return int(digits) if len(digits) <= _MAX_DIGITS else float(digits)


# Made once: `json.loads` would make one for each document, which takes as long as to parse a token's claims.
_TOLERANT = json.JSONDecoder(parse_int=_integer)
