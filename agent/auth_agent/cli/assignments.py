"""What a person writes to set names to values, as HTTPie has it: `country=Canada active:=true`."""

import json
import math
from collections.abc import Iterable
from typing import Final

from auth_agent.printable import printable

_SHOWN: Final = 60  # characters of a mistake


class AssignmentError(ValueError):
    """It can't be understood; the text can be printed."""


def is_assignment(text: str) -> bool:
    """Whether it sets a name to a value, rather than naming something."""
    return "=" in text


def assignments(texts: Iterable[str]) -> dict[str, object]:
    """The values by their names: `NAME=TEXT`, and `NAME:=JSON` for what is no text.

    Raises:
        AssignmentError: it is none of these, names a thing twice, or its JSON is none.

    """
    values: dict[str, object] = {}
    for text in texts:
        name, value = _assignment(text)
        if name in values:
            raise AssignmentError(f"{_shown(name)} is set twice")
        values[name] = value
    return values


def _assignment(text: str) -> tuple[str, object]:
    name, equals, value = text.partition("=")
    is_json = name.endswith(":")
    name = name.removesuffix(":")
    if not equals:
        raise AssignmentError(f"{_shown(text)} sets nothing: write KEY=VALUE, or KEY:=JSON")
    if not name:
        raise AssignmentError(f"{_shown(text)} has no key before its {':=' if is_json else '='}")
    return name, _json(name, value) if is_json else value


def _json(name: str, text: str) -> object:
    if not text:
        raise AssignmentError(f"{_shown(name)}: there is no JSON after its :=")
    try:
        # A value of any type; of those that JSON doesn't have, Python's reader would give some.
        value: object = json.loads(
            text, object_pairs_hook=_map_of_different, parse_constant=_refuse, parse_float=_finite
        )
    except AssignmentError as error:
        raise AssignmentError(f"{_shown(name)}: {error}") from None
    except json.JSONDecodeError as error:
        where = "" if error.pos == 0 else f" at character {error.pos + 1}"
        raise AssignmentError(
            f"{_shown(name)}: {_shown(text)} is no JSON{where}; a text is written {_shown(name)}=TEXT"
        ) from None
    except (ValueError, RecursionError):  # a number of thousands of digits, or that many brackets
        raise AssignmentError(f"{_shown(name)}: {_shown(text)} is more than can be read") from None
    return value


def _map_of_different(pairs: list[tuple[str, object]]) -> dict[str, object]:
    found: dict[str, object] = {}
    for name, value in pairs:
        if name in found:
            raise AssignmentError(f"its JSON has {_shown(name)} twice")
        found[name] = value
    return found


def _refuse(constant: str) -> object:
    raise AssignmentError(f"JSON has no {constant}")


def _finite(text: str) -> float:
    number = float(text)
    if not math.isfinite(number):
        raise AssignmentError(f"{_shown(text)} is larger than a number can be")
    return number


def _shown(text: str) -> str:
    return printable(text, _SHOWN)
