"""When tokens are refreshed, served and asked for again: what must hold for every lifetime."""

import pytest
from hypothesis import given, settings, strategies as st

from auth_agent.host.clock import Moment
from auth_agent.sessions.schedule import (
    PERMANENT_RETRY_CAP,
    RETRY_CAP,
    lead,
    refresh_at,
    remaining,
    retry_delay,
    served_until,
    wish,
)

SENT = Moment(1_700_000_000.0, 5000.0)
DAY = 86_400.0
# What a sum with today's Unix time may be off.
SLACK = 1e-6

# From a tenth of a second to the ten years that count as for ever.
LIFETIMES = st.floats(1.0, 315_360_000.0)
CHANCES = st.floats(0, 1, exclude_max=True)
DEMANDS = st.floats(0, 3_155_760_000.0)


def after(moment: Moment) -> float:
    """How many seconds after `SENT` a moment is, on both clocks."""
    assert moment.wall - SENT.wall == pytest.approx(moment.boot - SENT.boot, abs=SLACK)
    return moment.boot - SENT.boot


# ---- the refresh


@settings(deadline=None)
@given(LIFETIMES, CHANCES, DEMANDS)
def test_a_refresh_is_later_than_sent_and_before_the_token_is_no_longer_served(
    lifetime: float, chance: float, min_ttl: float
) -> None:
    refreshed, served = after(refresh_at(SENT, lifetime, chance, min_ttl)), after(served_until(SENT, lifetime))
    # A token that lives for a second is refreshed when it is no longer served: more often would be a storm.
    assert 0.5 <= refreshed < served or refreshed == served == 0.5


@settings(deadline=None)
@given(LIFETIMES, CHANCES, DEMANDS)
def test_a_refresh_is_at_most_a_day_after_the_last(lifetime: float, chance: float, min_ttl: float) -> None:
    assert after(refresh_at(SENT, lifetime, chance, min_ttl)) <= DAY


@settings(deadline=None)
@given(st.floats(10, 100_000), CHANCES, DEMANDS)
def test_a_refresh_leaves_between_a_fifth_and_two_fifths_and_a_twentieth_for_chance(
    lifetime: float, chance: float, min_ttl: float
) -> None:
    left = lifetime - after(refresh_at(SENT, lifetime, chance, min_ttl))
    assert 0.2 * lifetime - SLACK <= left <= 0.45 * lifetime + SLACK


@settings(deadline=None)
@given(LIFETIMES, LIFETIMES, CHANCES)
def test_a_longer_lifetime_never_means_an_earlier_refresh(one: float, other: float, chance: float) -> None:
    shorter, longer = sorted((one, other))
    assert after(refresh_at(SENT, shorter, chance)) <= after(refresh_at(SENT, longer, chance)) + SLACK


@settings(deadline=None)
@given(LIFETIMES, CHANCES, DEMANDS, DEMANDS)
def test_a_larger_demand_never_means_a_later_refresh(lifetime: float, chance: float, one: float, other: float) -> None:
    smaller, larger = sorted((one, other))
    earlier, later = refresh_at(SENT, lifetime, chance, larger), refresh_at(SENT, lifetime, chance, smaller)
    assert after(earlier) <= after(later) + SLACK


@settings(deadline=None)
@given(LIFETIMES, CHANCES)
def test_chance_only_brings_a_refresh_forward_by_a_twentieth_of_the_lifetime_at_most(
    lifetime: float, chance: float
) -> None:
    latest = after(refresh_at(SENT, lifetime, 0.0))
    assert latest - 0.05 * lifetime - SLACK <= after(refresh_at(SENT, lifetime, chance)) <= latest + SLACK


@settings(deadline=None)
@given(CHANCES, DEMANDS)
def test_a_token_of_five_seconds_is_refreshed_no_earlier_than_in_the_middle_of_its_life(
    chance: float, min_ttl: float
) -> None:
    assert after(refresh_at(SENT, 5.0, chance, min_ttl)) >= 2.5


def test_a_token_of_an_hour_is_refreshed_twelve_minutes_before_its_end() -> None:
    assert after(refresh_at(SENT, 3600.0, 0.0)) == pytest.approx(2880.0)


def test_a_token_of_eight_minutes_is_refreshed_two_minutes_before_its_end() -> None:
    assert after(refresh_at(SENT, 480.0, 0.0)) == pytest.approx(360.0)


def test_a_token_of_a_month_is_refreshed_every_day_and_sessions_spread() -> None:
    assert after(refresh_at(SENT, 30 * DAY, 0.0)) == DAY
    assert after(refresh_at(SENT, 30 * DAY, 0.5)) < DAY


# ---- the lead


@settings(deadline=None)
@given(LIFETIMES, DEMANDS)
def test_the_lead_is_within_a_fifth_and_two_fifths_of_the_lifetime(lifetime: float, min_ttl: float) -> None:
    assert 0.2 * lifetime <= lead(lifetime, min_ttl) <= 0.4 * lifetime


@settings(deadline=None)
@given(st.floats(300, 315_360_000), st.floats(0, 1000))
def test_the_lead_covers_what_clients_asked_for_where_the_lifetime_allows(lifetime: float, min_ttl: float) -> None:
    assert lead(lifetime, min_ttl) >= min(min_ttl + 30, 0.4 * lifetime)
    assert lead(lifetime, min_ttl) >= 120 - SLACK


@pytest.mark.parametrize(
    ("lifetime", "min_ttl", "seconds"),
    [(100.0, 0.0, 40.0), (300.0, 0.0, 120.0), (600.0, 0.0, 120.0), (3600.0, 0.0, 720.0), (3600.0, 900.0, 930.0)],
)
def test_the_lead_is_two_minutes_within_its_bounds(lifetime: float, min_ttl: float, seconds: float) -> None:
    assert lead(lifetime, min_ttl) == pytest.approx(seconds)


@settings(deadline=None)
@given(LIFETIMES)
def test_a_wish_is_a_minute_at_most_and_never_needs_a_refresh_on_time(lifetime: float) -> None:
    assert 0 < wish(lifetime) <= 60
    assert wish(lifetime) <= lead(lifetime) / 2


# ---- serving


@settings(deadline=None)
@given(LIFETIMES)
def test_a_token_is_served_for_some_time_and_less_than_the_provider_counts(lifetime: float) -> None:
    assert 0 < after(served_until(SENT, lifetime)) < lifetime
    assert lifetime - after(served_until(SENT, lifetime)) <= 1 + SLACK


def test_a_token_of_an_hour_is_served_a_second_less() -> None:
    assert after(served_until(SENT, 3600.0)) == 3599.0


@settings(deadline=None)
@given(LIFETIMES, st.floats(0, 400_000_000))
def test_what_remains_shrinks_as_time_passes_and_ends_at_the_end(lifetime: float, passed: float) -> None:
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
def test_both_clocks_have_to_agree_that_a_token_is_good(wall: float, boot: float, left: float) -> None:
    now = Moment(SENT.wall + wall, SENT.boot + boot)
    assert remaining(SENT, served_until(SENT, 3600.0), now) == left


@settings(deadline=None)
@given(LIFETIMES, st.floats(-1e9, 1e9), st.floats(-1e9, 1e9))
def test_no_clock_makes_more_remain_than_the_other_allows(lifetime: float, wall: float, boot: float) -> None:
    end = served_until(SENT, lifetime)
    left = remaining(SENT, end, Moment(SENT.wall + wall, SENT.boot + boot))
    assert left >= 0
    assert left <= max(0.0, after(end) - wall) + SLACK
    assert left <= max(0.0, after(end) - boot) + SLACK


# ---- trying again


@settings(deadline=None)
@given(st.integers(1, 1_000_000), CHANCES, st.sampled_from([RETRY_CAP, PERMANENT_RETRY_CAP]))
def test_the_next_attempt_is_never_at_once_and_never_beyond_the_cap(failures: int, chance: float, cap: float) -> None:
    assert 0 < retry_delay(failures, chance, cap) <= cap


@settings(deadline=None)
@given(st.integers(1, 1000), st.integers(1, 1000), CHANCES)
def test_more_failures_never_mean_a_shorter_wait(one: int, other: int, chance: float) -> None:
    fewer, more = sorted((one, other))
    assert retry_delay(fewer, chance) <= retry_delay(more, chance)


@settings(deadline=None)
@given(st.integers(1, 1000), CHANCES, CHANCES)
def test_the_wait_is_as_long_as_chance_says(failures: int, one: float, other: float) -> None:
    smaller, larger = sorted((one, other))
    assert retry_delay(failures, smaller) <= retry_delay(failures, larger)


def test_the_first_waits_are_short_and_later_ones_reach_the_cap() -> None:
    assert [retry_delay(failures, 0.5) for failures in (1, 2, 3, 4, 5, 6, 100)] == [1, 2, 4, 8, 15, 15, 15]
