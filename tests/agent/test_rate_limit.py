"""How often clients may cause requests to the provider."""

import pytest
from hypothesis import given, strategies as st

from auth_agent.sessions.rate_limit import RateLimit

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
