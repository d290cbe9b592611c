"""When what is to be looked at next: the earliest is found without a look at all. Pure; times are in seconds."""

import math
from heapq import heapify, heappop, heappush
from typing import Generic, TypeVar

_Item = TypeVar("_Item")


class Agenda(Generic[_Item]):
    """Items, each with one time or none."""

    def __init__(self) -> None:
        self._heap: list[tuple[float, int, _Item]] = []
        # Each item's time and number; what is in the heap with another number is left over, and skipped.
        self._entries: dict[_Item, tuple[float, int]] = {}
        self._last = 0

    def put(self, item: _Item, at: float) -> None:
        """Plan a look at the item then, in place of what was planned; infinity: none."""
        if at == math.inf:
            self.remove(item)
            return
        self._last += 1
        self._entries[item] = at, self._last
        heappush(self._heap, (at, self._last, item))
        if len(self._heap) > 2 * len(self._entries) + 1:  # at most one in two is left over
            self._heap = [(at, number, item) for item, (at, number) in self._entries.items()]
            heapify(self._heap)

    def remove(self, item: _Item) -> None:
        """Plan no look at the item."""
        self._entries.pop(item, None)

    def clear(self) -> None:
        """Plan nothing."""
        self._heap.clear()
        self._entries.clear()

    @property
    def next_at(self) -> float:
        """The time of the earliest; infinity if nothing is planned."""
        self._skip()
        return self._heap[0][0] if self._heap else math.inf

    def take_due(self, now: float) -> list[_Item]:
        """Remove and return the items whose time has come, the earliest first."""
        due: list[_Item] = []
        while self.next_at <= now:
            item = heappop(self._heap)[2]
            del self._entries[item]
            due.append(item)
        return due

    def _skip(self) -> None:
        """Drop what is left over at the front."""
        while self._heap and self._entries.get(self._heap[0][2], (0.0, 0))[1] != self._heap[0][1]:
            heappop(self._heap)
