"""Parses JSON objects from outside."""

import json
from collections.abc import Callable
from typing import Final

# Python refuses to parse integers of very many digits, which take too long. As a float, such a number is infinite.
_MAX_DIGITS: Final = 300
# What the protocol's messages can carry: MessagePack's integers, and half of the nesting that a message may have.
_NUMBERS: Final = (-(1 << 63), (1 << 64) - 1)
_MAX_DEPTH: Final = 16


class JsonObjectError(ValueError):
    """The document is not valid JSON, or not an object; the message is a predicate that follows a name."""


def parse_object(document: str | bytes) -> dict[str, object]:
    """Return the members of a JSON object.

    Raises:
        JsonObjectError: it is not a JSON object.

    """
    return _object(document, int)


def read_object(body: bytes) -> dict[str, object]:
    """Return the members of a JSON object from a provider, which should be UTF-8 (RFC 8259, section 8.1).

    A string in another encoding, or a number of any length, does not make the other members unreadable: a new refresh
    token may be among them.

    Raises:
        JsonObjectError: it is not a JSON object.

    """
    return _object(body.decode("utf-8-sig", "replace"), _integer)


def _object(document: str | bytes, integer: Callable[[str], float]) -> dict[str, object]:
    try:
        value: object = json.loads(document, parse_int=integer)
    except (ValueError, RecursionError) as error:
        raise JsonObjectError("is not valid JSON") from error
    if not isinstance(value, dict):
        raise JsonObjectError("is not a JSON object")
    return value  # pyright: ignore[reportUnknownVariableType] -- JSON's names are strings; its values are anything


def _integer(digits: str) -> float:
    return int(digits) if len(digits) <= _MAX_DIGITS else float(digits)


def is_portable(value: object, depth: int = _MAX_DEPTH) -> bool:
    """Whether a message of the protocol can carry a value that came from JSON, nested no deeper than that."""
    if isinstance(value, dict):
        members: dict[str, object] = value  # pyright: ignore[reportUnknownVariableType] -- JSON's names are strings
        return depth > 0 and all(is_portable(name) and is_portable(one, depth - 1) for name, one in members.items())
    if isinstance(value, list):
        items: list[object] = value  # pyright: ignore[reportUnknownVariableType] -- JSON's
        return depth > 0 and all(is_portable(one, depth - 1) for one in items)
    if isinstance(value, str):
        return value.isascii() or not any("\ud800" <= letter <= "\udfff" for letter in value)
    if isinstance(value, int):
        return _NUMBERS[0] <= value <= _NUMBERS[1]
    return value is None or (isinstance(value, float) and -float("inf") < value < float("inf"))
