"""JSON from outside, as far as it is an object."""

import json
from collections.abc import Callable
from typing import Final

# Of more digits Python makes no int, for the time that takes; a float holds less, and means infinity by then.
_MOST_DIGITS: Final = 300
# What the protocol's messages can carry: MessagePack's numbers, and half of the nesting that they may have.
_NUMBERS: Final = (-(1 << 63), (1 << 64) - 1)
_DEEPEST: Final = 16


class JsonObjectError(ValueError):
    """It is no JSON, or no object; the text says which, to stand behind a name."""


def parse_object(text: str | bytes) -> dict[str, object]:
    """The object's members.

    Raises:
        JsonObjectError: there is none.

    """
    return _object(text, int)


def read_object(body: bytes) -> dict[str, object]:
    """The members of an object that a provider sent, which is UTF-8, or meant to be (RFC 8259, section 8.1).

    A text of them that is in another encoding hides none of the others, nor does a number of any length: a refresh
    token may be among them.

    Raises:
        JsonObjectError: there is none.

    """
    return _object(body.decode("utf-8-sig", "replace"), _integer)


def _object(text: str | bytes, integer: Callable[[str], float]) -> dict[str, object]:
    try:
        found: object = json.loads(text, parse_int=integer)
    except (ValueError, RecursionError) as error:
        raise JsonObjectError("is no JSON") from error
    if not isinstance(found, dict):
        raise JsonObjectError("is no JSON object")
    return found  # pyright: ignore[reportUnknownVariableType] -- JSON's names are texts; its values are anything


def _integer(digits: str) -> float:
    return int(digits) if len(digits) <= _MOST_DIGITS else float(digits)


def is_portable(value: object, depth: int = _DEEPEST) -> bool:
    """Whether a message of the protocol can carry a value that came from JSON, nested no deeper than that."""
    if isinstance(value, dict):
        members: dict[str, object] = value  # pyright: ignore[reportUnknownVariableType] -- JSON's names are texts
        return depth > 0 and all(is_portable(name) and is_portable(one, depth - 1) for name, one in members.items())
    if isinstance(value, list):
        items: list[object] = value  # pyright: ignore[reportUnknownVariableType] -- JSON's
        return depth > 0 and all(is_portable(one, depth - 1) for one in items)
    if isinstance(value, str):
        return value.isascii() or not any("\ud800" <= letter <= "\udfff" for letter in value)
    if isinstance(value, int):
        return _NUMBERS[0] <= value <= _NUMBERS[1]
    return value is None or (isinstance(value, float) and -float("inf") < value < float("inf"))
