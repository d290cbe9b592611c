"""JSON values of unknown shape, as what they should be."""

from collections.abc import Mapping, Sequence
from typing import cast

Object = Mapping[str, object]


def members(value: object) -> Object:
    """Return the members of an object; none if it is something else."""
    return cast("Object", value) if isinstance(value, dict) else {}


def items(value: object) -> Sequence[object]:
    """Return the items of an array; none if it is something else."""
    return cast("Sequence[object]", value) if isinstance(value, list) else ()
