"""How often clients may cause requests to the provider."""

import pytest
from hypothesis import given, strategies as st

from auth_agent.sessions.rate_limit import PROGRAM_BURST, Asker, RateLimit, SharedLimit, charge
from auth_agent_client import errors

# Seconds since boot, up to a year, in microseconds.
TIMES = st.integers(0, 31_536_000_000_000).map(lambda microseconds: microseconds / 1e6)
# The rounding error of a sum of such times.
SLACK = 1e-6


def spend_all(rate_limit: RateLimit, now: float) -> int:
    spent = 0
    while rate_limit.wait(now) == 0:
        rate_limit.spend(now)
        spent += 1
        assert spent < 100, "the limit allows everything"
    return spent


def test_a_new_rate_limit_allows_a_burst_of_five() -> None:
    assert spend_all(RateLimit(), 1000.0) == 5


def test_after_the_burst_one_is_allowed_every_ten_seconds() -> None:
    rate_limit = RateLimit()
    spend_all(rate_limit, 1000.0)
    assert rate_limit.wait(1000.0) == 10.0
    assert rate_limit.wait(1004.0) == pytest.approx(6.0)
    assert spend_all(rate_limit, 1010.0) == 1
    assert spend_all(rate_limit, 1035.0) == 2


def test_wait_counts_no_request() -> None:
    rate_limit = RateLimit()
    assert [rate_limit.wait(1000.0) for _ in range(20)] == [0.0] * 20
    assert spend_all(rate_limit, 1000.0) == 5


def test_after_fifty_seconds_the_whole_burst_is_allowed_again() -> None:
    rate_limit = RateLimit()
    spend_all(rate_limit, 1000.0)
    assert spend_all(rate_limit, 1050.0) == 5
    assert spend_all(rate_limit, 1_000_000.0) == 5


def test_a_clock_that_stands_still_or_goes_back_allows_nothing() -> None:
    rate_limit = RateLimit()
    spend_all(rate_limit, 1000.0)
    assert spend_all(rate_limit, 1000.0) == 0
    assert spend_all(rate_limit, 900.0) == 0


@given(st.lists(TIMES, min_size=1, max_size=30))
def test_no_interval_allows_more_than_a_burst_and_one_in_ten_seconds(times: list[float]) -> None:
    times.sort()
    rate_limit = RateLimit()
    spent = [(now, spend_all(rate_limit, now)) for now in times]
    for at, (begin, _) in enumerate(spent):
        total = 0
        for now, count in spent[at:]:
            total += count
            assert total <= 5 + (now - begin) / 10 + SLACK, (begin, now, total)


@given(st.lists(TIMES, min_size=1, max_size=10), TIMES)
def test_a_request_is_allowed_after_the_wait(times: list[float], later: float) -> None:
    rate_limit = RateLimit()
    for now in sorted(times):
        spend_all(rate_limit, now)
    now = max(*times, later)
    wait = rate_limit.wait(now)
    assert 0 <= wait <= 10 + SLACK
    assert rate_limit.wait(now + wait + SLACK) == 0


# ---- shares


def allowed(limit: SharedLimit, asker: Asker, now: float) -> bool:
    try:
        limit.charge(now, asker)
    except errors.Unavailable:
        return False
    return True


def allowed_in_all(limit: SharedLimit, asker: Asker, now: float) -> int:
    count = 0
    while allowed(limit, asker, now):
        count += 1
        assert count < 100, "the limit allows everything"
    return count


def test_a_program_alone_gets_a_burst_and_then_one_in_an_interval() -> None:
    limit = SharedLimit()
    asker = Asker("greedy")
    assert allowed_in_all(limit, asker, 1000.0) == 5
    assert sum(allowed_in_all(limit, asker, 1000.0 + second) for second in range(1, 102)) == 10


def test_the_error_says_when_to_ask_again() -> None:
    limit = SharedLimit()
    allowed_in_all(limit, Asker("greedy"), 1000.0)
    with pytest.raises(errors.Unavailable) as caught:
        limit.charge(1004.0, Asker("greedy"))
    assert caught.value.retry_after == pytest.approx(6.0)


def test_a_program_that_asks_now_and_then_is_allowed_beside_one_that_never_stops() -> None:
    limit = SharedLimit()
    for second in range(600):
        allowed_in_all(limit, Asker("greedy"), float(second))
        if second % 15 == 14:
            assert allowed(limit, Asker("modest"), float(second)), second


def test_a_person_is_allowed_beside_any_number_of_greedy_programs() -> None:
    limit = SharedLimit()
    for second in range(600):
        for number in range(50):
            allowed_in_all(limit, Asker(number), float(second))
        if second % 10 == 9:
            assert allowed(limit, Asker("terminal", is_at_terminal=True), float(second)), second


def test_another_persons_loop_takes_nothing_from_a_person() -> None:
    limit = SharedLimit()
    for second in range(600):
        for loop in (Asker("greedy"), Asker("other terminal", is_at_terminal=True)):
            allowed_in_all(limit, loop, float(second))
        if second % 30 == 29:
            assert allowed(limit, Asker("terminal", is_at_terminal=True), float(second)), second


@given(st.lists(st.tuples(st.integers(0, 7), st.booleans(), st.integers(0, 20)), max_size=200))
def test_any_programs_together_cause_no_more_than_the_three_limits(steps: list[tuple[int, bool, int]]) -> None:
    limit, now, count = SharedLimit(), 1000.0, 0
    for number, is_at_terminal, pause in steps:
        now += pause
        count += allowed(limit, Asker(number, is_at_terminal), now)
        assert count <= 15 + (now - 1000.0) * (1 / 10 + 1 / 5 + 1 / 10) + SLACK


def test_a_request_is_charged_to_the_session_and_to_the_program() -> None:
    asker = Asker("greedy")
    for number in range(PROGRAM_BURST):
        charge(1000.0, SharedLimit(), asker)  # of another session each time
        assert number == PROGRAM_BURST - 1 or asker.rate_limit.wait(1000.0) == 0
    session = SharedLimit()
    with pytest.raises(errors.Unavailable):
        charge(1000.0, session, asker)
    assert allowed_in_all(session, Asker("modest"), 1000.0) == 5  # what was refused is not counted


def test_a_request_that_the_session_refuses_is_not_charged_to_the_program() -> None:
    session, asker = SharedLimit(), Asker("greedy")
    allowed_in_all(session, asker, 1000.0)
    with pytest.raises(errors.Unavailable):
        charge(1000.0, session, asker)
    assert spend_all(asker.rate_limit, 1000.0) == PROGRAM_BURST
