"""Values from the wire, each of the type that the protocol gives it: another type's reads as if it were missing."""

from collections.abc import Mapping

# MessagePack's largest integer. A number beyond it is an infinity, or no time and no count that means something.
_LARGEST = 2.0**64


def string(value: object) -> str | None:
    """The string; None where it is not one."""
    return value if isinstance(value, str) else None


def strings(value: object) -> tuple[str, ...]:
    """The strings of a list; none where it is not one."""
    return tuple(item for item in _list(value) if isinstance(item, str))


def number(value: object) -> float | None:
    """The number; None where it is not one, or not finite."""
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return None
    return float(value) if -_LARGEST <= value <= _LARGEST else None


def integer(value: object) -> int | None:
    """The integer; None where it is not one."""
    return value if isinstance(value, int) and not isinstance(value, bool) else None


def mapping(value: object) -> Mapping[str, object]:
    """The map; an empty one where it is not one."""
    return value if isinstance(value, dict) else {}  # pyright: ignore[reportUnknownVariableType] -- the wire has looked at its keys


def mappings(value: object) -> list[Mapping[str, object]]:
    """The maps of a list that have something in them; none where it is not a list."""
    return [found for item in _list(value) if (found := mapping(item))]


def _list(value: object) -> list[object]:
    return value if isinstance(value, list) else []  # pyright: ignore[reportUnknownVariableType] -- its items are looked at
