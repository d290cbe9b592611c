"""Read values from the wire by type. A value of another type is treated as missing."""

from collections.abc import Mapping

# MessagePack's largest integer. No useful time or count is larger.
_LARGEST = 2.0**64


def string(value: object) -> str | None:
    """Return the value if it is a string, else None."""
    return value if isinstance(value, str) else None


def strings(value: object) -> tuple[str, ...]:
    """Return the strings in a list; none if it is not a list."""
    return tuple(item for item in items(value) if isinstance(item, str))


def number(value: object) -> float | None:
    """Return the value as a float if it is a finite number, else None."""
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return None
    return float(value) if -_LARGEST <= value <= _LARGEST else None


def integer(value: object) -> int | None:
    """Return the value if it is an integer, else None."""
    return value if isinstance(value, int) and not isinstance(value, bool) else None


def mapping(value: object) -> Mapping[str, object]:
    """Return the value if it is a map, else an empty map."""
    return value if isinstance(value, dict) else {}  # pyright: ignore[reportUnknownVariableType] -- the wire accepts only strings as keys


def mappings(value: object) -> list[Mapping[str, object]]:
    """Return the maps in a list that are not empty; none if it is not a list."""
    return [mapped for item in items(value) if (mapped := mapping(item))]


def items(value: object) -> list[object]:
    """Return the value if it is a list, else an empty list."""
    return value if isinstance(value, list) else []  # pyright: ignore[reportUnknownVariableType] -- the callers check its items
