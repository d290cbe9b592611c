"""Time on two clocks: a moment has come when either clock reaches it."""

import sys
import time
from pathlib import Path

import pytest
from hypothesis import given, strategies as st

from auth_agent.host.clock import Clock, Moment

SINCE_BOOT = time.CLOCK_BOOTTIME if sys.platform == "linux" else time.CLOCK_MONOTONIC
SECONDS = st.integers(-(10**9), 10**9)  # integers: floats represent their sums exactly
MOMENTS = st.builds(Moment, SECONDS, SECONDS)


def test_a_later_moment_is_later_on_both_clocks() -> None:
    assert Moment(1000, 50).after(7.5) == Moment(1007.5, 57.5)
    assert Moment(1000, 50).after(-50) == Moment(950, 0)


@pytest.mark.parametrize(
    ("now", "left"),
    [
        (Moment(1000, 50), 100),
        (Moment(1040, 90), 60),
        (Moment(1090, 60), 10),  # the wall clock was set forward and reaches the moment first
        (Moment(1010, 140), 10),  # it was set back: the clock since boot is first
        (Moment(1100, 60), 0),
        (Moment(1130, 60), -30),
        (Moment(0, 170), -20),
        (Moment(1130, 170), -30),
    ],
)
def test_a_moment_has_come_when_the_first_clock_reaches_it(now: Moment, left: float) -> None:
    assert now.until(Moment(1100, 150)) == left


@given(MOMENTS, SECONDS)
def test_until_is_the_inverse_of_after(now: Moment, seconds: int) -> None:
    assert now.until(now.after(seconds)) == seconds


@given(MOMENTS, MOMENTS, SECONDS)
def test_a_delayed_moment_comes_that_much_later(now: Moment, other: Moment, seconds: int) -> None:
    assert now.until(other.after(seconds)) == now.until(other) + seconds


@given(MOMENTS, MOMENTS)
def test_a_moment_is_never_later_than_on_either_clock(now: Moment, other: Moment) -> None:
    left = now.until(other)
    assert left <= other.wall - now.wall
    assert left <= other.boot - now.boot


def test_now_is_unix_time_and_time_since_boot_including_sleep() -> None:
    wall, boot = time.time(), time.clock_gettime(SINCE_BOOT)
    now = Clock().now()
    assert wall <= now.wall <= time.time()
    assert boot <= now.boot <= time.clock_gettime(SINCE_BOOT)


def test_awake_is_the_monotonic_clock() -> None:
    before = time.monotonic()
    awake = Clock().awake()
    assert before <= awake <= time.monotonic()


def test_time_since_boot_never_runs_backwards() -> None:
    clock = Clock()
    boots = [clock.now().boot for _ in range(1000)]
    assert boots == sorted(boots)


def test_the_boot_id_is_constant_and_empty_if_unreadable(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    name = Clock().boot_id()
    assert Clock().boot_id() == name
    assert len(name) == 36

    def fail_to_read(*_: object) -> str:
        raise OSError(13, "Permission denied")

    if sys.platform == "linux":
        monkeypatch.setattr(Path, "read_text", fail_to_read)
        assert Clock().boot_id() == ""
