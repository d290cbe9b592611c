"""Whatever one program takes, another one gets what it needs."""

from hypothesis import given, strategies as st

from auth_agent.sessions.shares import Shares

LIMIT = 20
PROGRAMS = ("greedy", "eager", "modest")


class Room:
    """What all programs have, each item with its program and weight."""

    def __init__(self) -> None:
        self.shares = Shares[int](LIMIT)
        self.items: dict[int, tuple[str, int]] = {}

    def admit(self, item: int, program: str, weight: int = 1, *, is_urgent: bool = False) -> list[int] | None:
        """Add an item as the server does; return what gave way, None if the item was refused."""
        gone: list[int] = []
        while not self.shares.has_room(weight):
            candidates = self.shares.giving_way(program, weight, is_urgent=is_urgent)
            if not candidates:
                return None
            gone.append(candidates[-1])
            self.shares.remove(candidates[-1])
            del self.items[candidates[-1]]
        self.shares.add(item, program, weight)
        self.items[item] = program, weight
        return gone

    def of(self, program: str) -> int:
        return sum(weight for owner, weight in self.items.values() if owner == program)


def full() -> Room:
    room = Room()
    for item in range(LIMIT):
        assert room.admit(item, "greedy") == []
    return room


def test_one_program_may_have_all_that_nobody_else_needs() -> None:
    room = full()
    assert not room.shares.has_room()
    assert room.admit(100, "greedy") is None


def test_the_newest_of_the_largest_program_gives_way() -> None:
    room = full()
    assert room.admit(100, "modest") == [LIMIT - 1]
    assert room.admit(101, "modest") == [LIMIT - 2]


def test_two_greedy_programs_do_not_take_from_each_other_for_ever() -> None:
    room = full()
    gone = [room.admit(100 + number, "eager") for number in range(LIMIT)]
    assert gone.count(None) == LIMIT // 2
    assert room.admit(200, "greedy") is None


def test_an_urgent_item_takes_the_place_of_one_of_its_own_program() -> None:
    room = full()
    assert room.admit(100, "greedy", is_urgent=True) == [LIMIT - 1]


def test_a_heavy_item_takes_the_place_of_several() -> None:
    room = full()
    assert room.admit(100, "modest", 5) == [19, 18, 17, 16, 15]
    assert room.admit(101, "modest", 11) is None  # it would have more than the largest has


def test_what_is_fixed_counts_and_does_not_give_way() -> None:
    room = Room()
    room.shares.add(1, "greedy", LIMIT - 1, is_fixed=True)
    assert room.admit(2, "eager") == []
    assert room.admit(3, "modest") == [2]
    assert room.admit(4, "greedy") is None


def test_what_is_removed_makes_room_once() -> None:
    room = full()
    room.shares.remove(3)
    room.shares.remove(3)
    assert room.shares.has_room()
    assert not room.shares.has_room(2)


@given(st.lists(st.tuples(st.sampled_from(PROGRAMS), st.booleans()), max_size=100))
def test_a_program_that_has_less_than_its_part_is_never_refused(requests: list[tuple[str, bool]]) -> None:
    room = Room()
    for item, (program, is_urgent) in enumerate(requests):
        before = room.of(program)
        admitted = room.admit(item, program, is_urgent=is_urgent) is not None
        assert admitted or before >= LIMIT // len(PROGRAMS)


@given(st.lists(st.tuples(st.sampled_from(PROGRAMS), st.integers(1, LIMIT + 1), st.booleans()), max_size=100))
def test_the_limit_holds_whatever_the_items_weigh(requests: list[tuple[str, int, bool]]) -> None:
    room = Room()
    for item, (program, weight, is_urgent) in enumerate(requests):
        room.admit(item, program, weight, is_urgent=is_urgent)
        assert sum(room.of(each) for each in PROGRAMS) <= LIMIT
        assert room.shares.has_room(LIMIT - sum(room.of(each) for each in PROGRAMS))
