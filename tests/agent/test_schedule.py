"""When tokens are served, refreshed and retried: what holds for every lifetime."""

import math

import pytest
from hypothesis import given, strategies as st

from auth_agent.host.clock import Moment
from auth_agent.sessions.schedule import (
    PERMANENT_RETRY_CAP,
    RETRY_CAP,
    lead,
    lifetime_of,
    preferred_ttl,
    refresh_at,
    remaining,
    retry_delay,
    served_until,
)

SENT = Moment(1_700_000_000.0, 5000.0)
DAY = 86_400.0
# The rounding error of a sum with today's Unix time.
SLACK = 1e-6

# From a tenth of a second to the ten years that count as for ever.
LIFETIMES = st.floats(1.0, 315_360_000.0)
CHANCES = st.floats(0, 1, exclude_max=True)
MIN_TTLS = st.floats(0, 3_155_760_000.0)


def after(moment: Moment) -> float:
    """Return how many seconds after `SENT` a moment is, on both clocks."""
    assert moment.wall - SENT.wall == pytest.approx(moment.boot - SENT.boot, abs=SLACK)
    return moment.boot - SENT.boot


# ---- the lifetime


@pytest.mark.parametrize(("refreshable", "lifetime"), [(True, 3600.0), (False, None)])
def test_without_any_lifetime_an_hour_is_assumed_if_the_token_can_be_refreshed(
    refreshable: bool, lifetime: float | None
) -> None:
    assert lifetime_of(None, None, 0.5, refreshable=refreshable) == lifetime


@pytest.mark.parametrize(
    ("expires_in", "by_claim", "lifetime"),
    [
        (300.0, None, 300.0),
        (300.0, 100.0, 100.0),
        (300.0, 9000.0, 300.0),  # it may shorten the lifetime alone
        (300.0, 5.0, 30.5),  # a tenth, from when the token arrived
        (300.0, -1e9, 30.5),
        (None, 5.0, 5.0),
        (None, 9000.0, 9000.0),
        (None, 0.0, 360.5),  # a clock is wrong: no refresh loop
        (None, -60.0, 360.5),
    ],
)
def test_a_jwts_own_end_may_shorten_its_lifetime(
    expires_in: float | None, by_claim: float | None, lifetime: float
) -> None:
    assert lifetime_of(expires_in, by_claim, 0.5, refreshable=True) == lifetime


@given(st.none() | LIFETIMES, st.none() | st.floats(-1e10, 315_360_000.0), st.floats(0, 30), st.booleans())
def test_a_token_that_was_just_granted_is_served_whatever_it_says_of_itself(
    expires_in: float | None, by_claim: float | None, elapsed: float, refreshable: bool
) -> None:
    lifetime = lifetime_of(expires_in, by_claim, elapsed, refreshable=refreshable)
    stated = lifetime_of(expires_in, None, elapsed, refreshable=refreshable)
    if lifetime is not None and (
        stated is None or remaining(SENT, served_until(SENT, stated), SENT.after(elapsed)) > 0
    ):
        assert remaining(SENT, served_until(SENT, lifetime), SENT.after(elapsed)) > 0
    if expires_in is not None:
        assert lifetime is not None
        assert expires_in / 10 <= lifetime <= expires_in


def test_a_token_without_a_known_end_is_preferred_to_any_other() -> None:
    assert preferred_ttl(None) == 0


# ---- the refresh


@given(LIFETIMES, CHANCES, MIN_TTLS, st.floats(-1e6, 1e6))
def test_a_refresh_for_the_refresh_tokens_sake_is_due_earlier_but_not_at_once(
    lifetime: float, chance: float, min_ttl: float, refresh_by: float
) -> None:
    without, due = (after(refresh_at(SENT, lifetime, chance, min_ttl, by)) for by in (math.inf, refresh_by))
    assert due == pytest.approx(max(0.5, min(without, refresh_by)), abs=SLACK)


@given(LIFETIMES, CHANCES, MIN_TTLS)
def test_a_refresh_is_due_while_the_token_is_served(lifetime: float, chance: float, min_ttl: float) -> None:
    refreshed, served = after(refresh_at(SENT, lifetime, chance, min_ttl)), after(served_until(SENT, lifetime))
    # A token that lives for a second is refreshed when it is no longer served: more often would be a storm.
    assert 0.5 <= refreshed < served or refreshed == served == 0.5


@given(LIFETIMES, CHANCES, MIN_TTLS)
def test_a_refresh_is_due_within_a_day(lifetime: float, chance: float, min_ttl: float) -> None:
    assert after(refresh_at(SENT, lifetime, chance, min_ttl)) <= DAY


@given(st.floats(10, 100_000), CHANCES, MIN_TTLS)
def test_a_refresh_is_due_when_20_to_45_percent_of_the_lifetime_are_left(
    lifetime: float, chance: float, min_ttl: float
) -> None:
    left = lifetime - after(refresh_at(SENT, lifetime, chance, min_ttl))
    assert 0.2 * lifetime - SLACK <= left <= 0.45 * lifetime + SLACK


@given(LIFETIMES, LIFETIMES, CHANCES)
def test_a_longer_lifetime_never_makes_the_refresh_earlier(first: float, second: float, chance: float) -> None:
    shorter, longer = sorted((first, second))
    assert after(refresh_at(SENT, shorter, chance)) <= after(refresh_at(SENT, longer, chance)) + SLACK


@given(LIFETIMES, CHANCES, MIN_TTLS, MIN_TTLS)
def test_a_larger_min_ttl_never_makes_the_refresh_later(
    lifetime: float, chance: float, first: float, second: float
) -> None:
    smaller, larger = sorted((first, second))
    earlier, later = refresh_at(SENT, lifetime, chance, larger), refresh_at(SENT, lifetime, chance, smaller)
    assert after(earlier) <= after(later) + SLACK


@given(LIFETIMES, CHANCES)
def test_chance_makes_a_refresh_earlier_by_5_percent_of_the_lifetime_at_most(lifetime: float, chance: float) -> None:
    latest = after(refresh_at(SENT, lifetime, 0.0))
    assert latest - 0.05 * lifetime - SLACK <= after(refresh_at(SENT, lifetime, chance)) <= latest + SLACK


@given(CHANCES, MIN_TTLS)
def test_a_token_of_five_seconds_is_not_refreshed_in_the_first_half_of_its_life(chance: float, min_ttl: float) -> None:
    assert after(refresh_at(SENT, 5.0, chance, min_ttl)) >= 2.5


def test_a_token_of_an_hour_is_refreshed_twelve_minutes_before_its_end() -> None:
    assert after(refresh_at(SENT, 3600.0, 0.0)) == pytest.approx(2880.0)


def test_a_token_of_eight_minutes_is_refreshed_two_minutes_before_its_end() -> None:
    assert after(refresh_at(SENT, 480.0, 0.0)) == pytest.approx(360.0)


def test_a_token_of_a_month_is_refreshed_daily_with_a_spread() -> None:
    assert after(refresh_at(SENT, 30 * DAY, 0.0)) == DAY
    assert after(refresh_at(SENT, 30 * DAY, 0.5)) < DAY


# ---- the lead


@given(LIFETIMES, MIN_TTLS)
def test_the_lead_is_20_to_40_percent_of_the_lifetime(lifetime: float, min_ttl: float) -> None:
    assert 0.2 * lifetime <= lead(lifetime, min_ttl) <= 0.4 * lifetime


@given(st.floats(300, 315_360_000), st.floats(0, 1000))
def test_the_lead_covers_min_ttl_if_the_lifetime_allows_it(lifetime: float, min_ttl: float) -> None:
    assert lead(lifetime, min_ttl) >= min(min_ttl + 30, 0.4 * lifetime)
    assert lead(lifetime, min_ttl) >= 120 - SLACK


@pytest.mark.parametrize(
    ("lifetime", "min_ttl", "seconds"),
    [(100.0, 0.0, 40.0), (300.0, 0.0, 120.0), (600.0, 0.0, 120.0), (3600.0, 0.0, 720.0), (3600.0, 900.0, 930.0)],
)
def test_the_lead_is_two_minutes_within_its_bounds(lifetime: float, min_ttl: float, seconds: float) -> None:
    assert lead(lifetime, min_ttl) == pytest.approx(seconds)


@given(LIFETIMES)
def test_the_preferred_ttl_is_a_minute_at_most_and_half_the_lead_at_most(lifetime: float) -> None:
    assert 0 < preferred_ttl(lifetime) <= 60
    assert preferred_ttl(lifetime) <= lead(lifetime) / 2


# ---- serving


@given(LIFETIMES)
def test_a_token_is_served_for_less_than_its_lifetime(lifetime: float) -> None:
    assert 0 < after(served_until(SENT, lifetime)) < lifetime
    assert lifetime - after(served_until(SENT, lifetime)) <= 1 + SLACK


def test_a_token_of_an_hour_is_served_a_second_less() -> None:
    assert after(served_until(SENT, 3600.0)) == 3599.0


@given(LIFETIMES, st.floats(0, 400_000_000))
def test_the_remaining_time_shrinks_to_zero_as_time_passes(lifetime: float, passed: float) -> None:
    end = served_until(SENT, lifetime)
    left = remaining(SENT, end, SENT.after(passed))
    assert left == pytest.approx(max(0.0, after(end) - passed), abs=SLACK)


@pytest.mark.parametrize(
    ("wall", "boot", "left"),
    [
        (0.0, 0.0, 3599.0),
        (100.0, 100.0, 3499.0),
        (100.0, 1000.0, 2599.0),  # the wall clock was set back
        (1000.0, 100.0, 2599.0),  # the wall clock was set forward
        (5000.0, 100.0, 0.0),
        (100.0, 5000.0, 0.0),
        (-60.0, 10.0, 3589.0),
        (-61.0, 10.0, 0.0),  # from before the token was sent
        (3599.0, 3599.0, 0.0),
        (3600.0, 3600.0, 0.0),
    ],
)
def test_a_token_is_valid_only_if_both_clocks_agree(wall: float, boot: float, left: float) -> None:
    now = Moment(SENT.wall + wall, SENT.boot + boot)
    assert remaining(SENT, served_until(SENT, 3600.0), now) == left


@given(LIFETIMES, st.floats(-1e9, 1e9), st.floats(-1e9, 1e9))
def test_neither_clock_extends_the_remaining_time_of_the_other(lifetime: float, wall: float, boot: float) -> None:
    end = served_until(SENT, lifetime)
    left = remaining(SENT, end, Moment(SENT.wall + wall, SENT.boot + boot))
    assert left >= 0
    assert left <= max(0.0, after(end) - wall) + SLACK
    assert left <= max(0.0, after(end) - boot) + SLACK


# ---- retrying


@given(st.integers(1, 1_000_000), CHANCES, st.sampled_from([RETRY_CAP, PERMANENT_RETRY_CAP]))
def test_the_retry_delay_is_positive_and_capped(failures: int, chance: float, cap: float) -> None:
    assert 0 < retry_delay(failures, chance, cap) <= cap


@given(st.integers(1, 1000), st.integers(1, 1000), CHANCES)
def test_more_failures_never_shorten_the_retry_delay(first: int, second: int, chance: float) -> None:
    fewer, more = sorted((first, second))
    assert retry_delay(fewer, chance) <= retry_delay(more, chance)


@given(st.integers(1, 1000), CHANCES, CHANCES)
def test_the_retry_delay_grows_with_chance(failures: int, first: float, second: float) -> None:
    smaller, larger = sorted((first, second))
    assert retry_delay(failures, smaller) <= retry_delay(failures, larger)


def test_the_retry_delay_doubles_up_to_the_cap() -> None:
    assert [retry_delay(failures, 0.5) for failures in (1, 2, 3, 4, 5, 6, 100)] == [1, 2, 4, 8, 15, 15, 15]
