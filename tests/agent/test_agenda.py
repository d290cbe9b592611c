"""When what is to be looked at next."""

import math
import weakref

from hypothesis import given, strategies as st

from auth_agent.sessions.agenda import Agenda

ITEMS = st.sampled_from("abcde")
TIMES = st.integers(0, 20).map(float) | st.just(math.inf)
STEPS = st.lists(
    st.tuples(st.just("put"), ITEMS, TIMES)
    | st.tuples(st.just("remove"), ITEMS, st.just(0.0))
    | st.tuples(st.just("take"), st.just(""), TIMES)
    | st.tuples(st.just("clear"), st.just(""), st.just(0.0)),
    max_size=60,
)


@given(STEPS)
def test_an_agenda_is_a_map_of_which_the_earliest_are_taken(steps: list[tuple[str, str, float]]) -> None:
    agenda, model = Agenda[str](), dict[str, float]()
    for what, item, at in steps:
        if what == "put":
            agenda.put(item, at)
            model[item] = at
        elif what == "remove":
            agenda.remove(item)
            model.pop(item, None)
        elif what == "clear":
            agenda.clear()
            model.clear()
        else:
            taken, due = agenda.take_due(min(at, 99.0)), [each for each, when in model.items() if when <= min(at, 99.0)]
            assert sorted(taken) == sorted(due)
            assert [model[each] for each in taken] == sorted(model[each] for each in taken)
            for each in taken:
                del model[each]
        assert agenda.next_at == min(model.values(), default=math.inf)


class Item:
    """An item, of which it shows whether it is still kept."""


def test_what_was_removed_is_not_kept_for_ever() -> None:
    agenda, later = Agenda[Item](), Item()
    agenda.put(later, 5.0)
    removed: list[weakref.ref[Item]] = []
    for at in range(1000):
        item = Item()
        agenda.put(item, float(1000 - at))
        agenda.remove(item)
        removed.append(weakref.ref(item))
    assert sum(each() is not None for each in removed) < 10
    assert agenda.take_due(10.0) == [later]
