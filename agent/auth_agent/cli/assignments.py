"""Parse assignments on a command line in HTTPie's syntax: `country=Canada active:=true`."""

import json
import math
from collections.abc import Iterable
from typing import Final

from auth_agent.printable import printable

_MAX_SHOWN: Final = 60  # characters of the input that an error quotes


class AssignmentError(ValueError):
    """An assignment is not valid; the message is safe to print."""


def is_assignment(word: str) -> bool:
    """Return whether the word is an assignment, not a name."""
    return "=" in word


def assignments(words: Iterable[str]) -> dict[str, object]:
    """Return the values by their names, from `NAME=TEXT` for a string and `NAME:=JSON` for any other value.

    Raises:
        AssignmentError: a word is not an assignment, a name is set twice, or a value is not valid JSON.

    """
    values: dict[str, object] = {}
    for word in words:
        name, value = _assignment(word)
        if name in values:
            raise AssignmentError(f"{_shortened(name)} is set twice")
        values[name] = value
    return values


def _assignment(word: str) -> tuple[str, object]:
    name, equals, value = word.partition("=")
    is_json = name.endswith(":")
    name = name.removesuffix(":")
    if not equals:
        raise AssignmentError(f"{_shortened(word)} is not an assignment: write KEY=TEXT or KEY:=JSON")
    if not name:
        raise AssignmentError(f"{_shortened(word)} has no key before its {':=' if is_json else '='}")
    return name, _json(name, value) if is_json else value


def _json(name: str, json_string: str) -> object:
    if not json_string:
        raise AssignmentError(f"{_shortened(name)}: there is no JSON after :=")
    try:
        # Python's reader would also accept NaN, infinities and duplicate names, which JSON doesn't have.
        value: object = json.loads(
            json_string, object_pairs_hook=_without_duplicates, parse_constant=_reject_constant, parse_float=_finite
        )
    except AssignmentError as error:
        raise AssignmentError(f"{_shortened(name)}: {error}") from None
    except json.JSONDecodeError as error:
        where = "" if error.pos == 0 else f" at character {error.pos + 1}"
        raise AssignmentError(
            f"{_shortened(name)}: {_shortened(json_string)} is not valid JSON{where}; "
            f"to set a string, write {_shortened(name)}=TEXT"
        ) from None
    except (ValueError, RecursionError):  # a number of thousands of digits, or as many brackets
        raise AssignmentError(
            f"{_shortened(name)}: {_shortened(json_string)} is too large or too deeply nested"
        ) from None
    return value


def _without_duplicates(pairs: list[tuple[str, object]]) -> dict[str, object]:
    values: dict[str, object] = {}
    for name, value in pairs:
        if name in values:
            raise AssignmentError(f"{_shortened(name)} is set twice in its JSON")
        values[name] = value
    return values


def _reject_constant(constant: str) -> object:
    raise AssignmentError(f"JSON has no {constant}")


def _finite(digits: str) -> float:
    number = float(digits)
    if not math.isfinite(number):
        raise AssignmentError(f"{_shortened(digits)} is too large for a number")
    return number


def _shortened(string: str) -> str:
    return printable(string, _MAX_SHOWN)
