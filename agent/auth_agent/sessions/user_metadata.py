"""What a change of a user's metadata comes to: pure. Maps are merged at the first level, as Auth0 does."""

from collections.abc import Mapping


def replacement(before: Mapping[str, object], wanted: Mapping[str, object]) -> dict[str, object]:
    """The one change after which nothing but what is wanted remains."""
    return {**dict.fromkeys(before), **wanted}


def holds(after: Mapping[str, object], changes: Mapping[str, object], *, clear: bool) -> bool:
    """Whether a change is in force, by what the metadata is afterwards; with `clear`, whether nothing else is there."""
    if clear and not after.keys() <= changes.keys():
        return False
    return all(
        name not in after if value is None else name in after and _is_same(after[name], value)
        for name, value in changes.items()
    )


def _is_same(one: object, other: object) -> bool:
    """Whether two values are the same in JSON, where true is no 1."""
    if isinstance(one, Mapping) and isinstance(other, Mapping):
        mine: Mapping[object, object] = one  # pyright: ignore[reportUnknownVariableType] -- JSON's
        theirs: Mapping[object, object] = other  # pyright: ignore[reportUnknownVariableType] -- JSON's
        return mine.keys() == theirs.keys() and all(_is_same(mine[name], theirs[name]) for name in mine)
    if isinstance(one, list) and isinstance(other, list):
        first: list[object] = one  # pyright: ignore[reportUnknownVariableType] -- JSON's
        second: list[object] = other  # pyright: ignore[reportUnknownVariableType] -- JSON's
        return len(first) == len(second) and all(map(_is_same, first, second))
    return isinstance(one, bool) == isinstance(other, bool) and one == other
