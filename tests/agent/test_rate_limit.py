"""How often clients may make the agent ask the provider."""

import pytest
from hypothesis import given, settings, strategies as st

from auth_agent.sessions.rate_limit import RateLimit

# Seconds since boot, up to a year; to the microsecond, as no clock matters beyond it.
TIMES = st.integers(0, 31_536_000_000_000).map(lambda microseconds: microseconds / 1e6)
# What a sum of such seconds may be off.
SLACK = 1e-6


def spend_all(rate_limit: RateLimit, now: float) -> int:
    spent = 0
    while rate_limit.wait(now) == 0:
        rate_limit.spend(now)
        spent += 1
        assert spent < 100, "there is no end to it"
    return spent


def test_a_new_allowance_has_a_burst_of_five() -> None:
    assert spend_all(RateLimit(), 1000.0) == 5


def test_after_the_burst_one_is_allowed_every_ten_seconds() -> None:
    rate_limit = RateLimit()
    spend_all(rate_limit, 1000.0)
    assert rate_limit.wait(1000.0) == 10.0
    assert rate_limit.wait(1004.0) == pytest.approx(6.0)
    assert spend_all(rate_limit, 1010.0) == 1
    assert spend_all(rate_limit, 1035.0) == 2


def test_asking_does_not_spend() -> None:
    rate_limit = RateLimit()
    assert [rate_limit.wait(1000.0) for _ in range(20)] == [0.0] * 20
    assert spend_all(rate_limit, 1000.0) == 5


def test_fifty_seconds_later_the_burst_is_whole_again_and_never_more() -> None:
    rate_limit = RateLimit()
    spend_all(rate_limit, 1000.0)
    assert spend_all(rate_limit, 1050.0) == 5
    assert spend_all(rate_limit, 1_000_000.0) == 5


def test_a_clock_that_stands_still_or_goes_back_gives_nothing() -> None:
    rate_limit = RateLimit()
    spend_all(rate_limit, 1000.0)
    assert spend_all(rate_limit, 1000.0) == 0
    assert spend_all(rate_limit, 900.0) == 0


@settings(deadline=None)
@given(st.lists(TIMES, min_size=1, max_size=30))
def test_in_no_stretch_of_time_is_more_allowed_than_a_burst_and_one_in_ten_seconds(times: list[float]) -> None:
    times.sort()
    rate_limit = RateLimit()
    spent = [(now, spend_all(rate_limit, now)) for now in times]
    for at, (begin, _) in enumerate(spent):
        total = 0
        for now, count in spent[at:]:
            total += count
            assert total <= 5 + (now - begin) / 10 + SLACK, (begin, now, total)


@settings(deadline=None)
@given(st.lists(TIMES, min_size=1, max_size=10), TIMES)
def test_who_waits_as_long_as_told_is_allowed_one(times: list[float], later: float) -> None:
    rate_limit = RateLimit()
    for now in sorted(times):
        spend_all(rate_limit, now)
    now = max(*times, later)
    told = rate_limit.wait(now)
    assert 0 <= told <= 10 + SLACK
    assert rate_limit.wait(now + told + SLACK) == 0
