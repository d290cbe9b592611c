"""Changes of a user's metadata. Pure. Objects are merged at the first level, as Auth0 does."""

from collections.abc import Mapping


def replacement(before: Mapping[str, object], wanted: Mapping[str, object]) -> dict[str, object]:
    """Return the change after which only the wanted members remain."""
    return {**dict.fromkeys(before), **wanted}


def is_applied(after: Mapping[str, object], changes: Mapping[str, object], *, clear: bool) -> bool:
    """Whether the metadata shows that a change was made; with `clear`, also that nothing else is there."""
    if clear and not after.keys() <= changes.keys():
        return False
    return all(
        name not in after if value is None else name in after and _is_same(after[name], value)
        for name, value in changes.items()
    )


def _is_same(left: object, right: object) -> bool:
    """Whether two JSON values are equal; in JSON true is not 1."""
    if isinstance(left, Mapping) and isinstance(right, Mapping):
        left_map: Mapping[object, object] = left  # pyright: ignore[reportUnknownVariableType] -- JSON's
        right_map: Mapping[object, object] = right  # pyright: ignore[reportUnknownVariableType] -- JSON's
        return left_map.keys() == right_map.keys() and all(
            _is_same(left_map[name], right_map[name]) for name in left_map
        )
    if isinstance(left, list) and isinstance(right, list):
        left_list: list[object] = left  # pyright: ignore[reportUnknownVariableType] -- JSON's
        right_list: list[object] = right  # pyright: ignore[reportUnknownVariableType] -- JSON's
        return len(left_list) == len(right_list) and all(map(_is_same, left_list, right_list))
    return isinstance(left, bool) == isinstance(right, bool) and left == right
