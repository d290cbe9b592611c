"""Time as two clocks: a deadline is due when either says so."""

import sys
import time
from pathlib import Path

import pytest
from hypothesis import given, strategies as st

from auth_agent.host.clock import Clock, Moment

SINCE_BOOT = time.CLOCK_BOOTTIME if sys.platform == "linux" else time.CLOCK_MONOTONIC
SECONDS = st.integers(-(10**9), 10**9)  # whole ones: floats hold their sums exactly
MOMENTS = st.builds(Moment, SECONDS, SECONDS)


def test_a_later_moment_is_later_on_both_clocks() -> None:
    assert Moment(1000, 50).after(7.5) == Moment(1007.5, 57.5)
    assert Moment(1000, 50).after(-50) == Moment(950, 0)


@pytest.mark.parametrize(
    ("now", "left"),
    [
        (Moment(1000, 50), 100),
        (Moment(1040, 90), 60),
        (Moment(1090, 60), 10),  # the wall clock was set forward: it brings the moment first
        (Moment(1010, 140), 10),  # it was set back: the clock since boot does
        (Moment(1100, 60), 0),
        (Moment(1130, 60), -30),
        (Moment(0, 170), -20),
        (Moment(1130, 170), -30),
    ],
)
def test_a_moment_comes_when_the_first_of_its_clocks_brings_it(now: Moment, left: float) -> None:
    assert now.until(Moment(1100, 150)) == left


@given(MOMENTS, SECONDS)
def test_it_is_as_long_until_a_later_moment_as_that_is_later(now: Moment, seconds: int) -> None:
    assert now.until(now.after(seconds)) == seconds


@given(MOMENTS, MOMENTS, SECONDS)
def test_what_is_put_off_comes_as_much_later(now: Moment, other: Moment, seconds: int) -> None:
    assert now.until(other.after(seconds)) == now.until(other) + seconds


@given(MOMENTS, MOMENTS)
def test_no_clock_is_outrun(now: Moment, other: Moment) -> None:
    left = now.until(other)
    assert left <= other.wall - now.wall
    assert left <= other.boot - now.boot


def test_now_is_unix_time_and_time_since_boot_sleep_included() -> None:
    wall, boot = time.time(), time.clock_gettime(SINCE_BOOT)
    now = Clock().now()
    assert wall <= now.wall <= time.time()
    assert boot <= now.boot <= time.clock_gettime(SINCE_BOOT)


def test_the_clock_that_stands_still_in_suspension_is_the_monotonic_one() -> None:
    before = time.monotonic()
    awake = Clock().awake()
    assert before <= awake <= time.monotonic()


def test_time_since_boot_never_runs_backwards() -> None:
    clock = Clock()
    boots = [clock.now().boot for _ in range(1000)]
    assert boots == sorted(boots)


def test_a_boot_has_a_name_that_stays_the_same_and_says_nothing_where_there_is_none(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    name = Clock().boot_id()
    assert Clock().boot_id() == name
    assert len(name) == 36

    def unreadable(*_: object) -> str:
        raise OSError(13, "Permission denied")

    if sys.platform == "linux":
        monkeypatch.setattr(Path, "read_text", unreadable)
        assert Clock().boot_id() == ""
