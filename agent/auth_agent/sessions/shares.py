"""What programs have of something that there is not enough of for all. Pure.

While there is room, a program may have all of it. Once there is none, one of what the largest program has gives way to
a smaller one. So whatever one program takes, or a few, another one gets what it needs.
"""

from collections.abc import Hashable
from typing import Final, Generic, TypeVar

_Item = TypeVar("_Item", bound=Hashable)


class _Share(Generic[_Item]):
    """What one program has: its total weight, and the items that may give way, the oldest first."""

    __slots__ = ("items", "weight")

    def __init__(self) -> None:
        self.weight = 0
        self.items: dict[_Item, None] = {}


class Shares(Generic[_Item]):
    """Items of programs, each with a weight, whose sum has a limit."""

    def __init__(self, limit: int) -> None:
        self.limit: Final = limit
        self._weight = 0
        self._owners: dict[_Item, tuple[Hashable, int]] = {}
        self._shares: dict[Hashable, _Share[_Item]] = {}

    def has_room(self, weight: int = 1) -> bool:
        """Whether an item of that weight may be added."""
        return self._weight + weight <= self.limit

    def add(self, item: _Item, program: Hashable, weight: int = 1, *, is_fixed: bool = False) -> None:
        """Add an item of a program; one that `is_fixed` gives way to no other."""
        self.remove(item)
        self._owners[item] = program, weight
        share = self._shares.setdefault(program, _Share[_Item]())
        share.weight += weight
        self._weight += weight
        if not is_fixed:
            share.items[item] = None

    def remove(self, item: _Item) -> None:
        """Remove an item, if it is there."""
        if item not in self._owners:
            return
        program, weight = self._owners.pop(item)
        share = self._shares[program]
        share.items.pop(item, None)
        share.weight -= weight
        self._weight -= weight
        if share.weight == 0:
            del self._shares[program]

    def of(self, program: Hashable) -> list[_Item]:
        """Return what a program has and may give way, the oldest first."""
        share = self._shares.get(program)
        return [] if share is None else list(share.items)

    def giving_way(self, program: Hashable, weight: int = 1, *, is_urgent: bool = False) -> list[_Item]:
        """Return the items of which one gives way to a new item of that program, the oldest first.

        They are the largest program's. There are none if that has less than the program would have, unless the new item
        `is_urgent`.
        """
        shares = [share for share in self._shares.values() if share.items]
        largest = max(shares, key=lambda share: share.weight, default=None)
        if largest is None:
            return []
        own = self._shares.get(program)
        will_be = weight + (0 if own is None else own.weight)
        return list(largest.items) if is_urgent or largest.weight >= will_be else []
