"""When a provider ends a session: the ceiling, and the refresh token's end."""

import math

import pytest
from hypothesis import given, strategies as st

from auth_agent.sessions.session_end import (
    LEEWAY,
    RefreshTokenEnd,
    is_reached,
    lower_ceiling,
    next_refresh_token_end,
    seconds_until,
)

NOW = 1_800_000_000.0
TIMES = st.none() | st.floats(NOW - 1e6, NOW + 1e6)


# ---- the ceiling


@given(TIMES, st.lists(TIMES))
def test_a_ceiling_is_lowered_and_neither_raised_nor_removed(first: float | None, later: list[float | None]) -> None:
    ceiling = first
    for claimed in later:
        before, ceiling = ceiling, lower_ceiling(ceiling, claimed)
        assert ceiling in (before, claimed)
        assert before is None or (ceiling is not None and ceiling <= before)
        assert claimed is None or (ceiling is not None and ceiling <= claimed)


@pytest.mark.parametrize(("time", "reached"), [(-LEEWAY - 0.1, False), (-LEEWAY, True), (0, True), (1e6, True)])
def test_a_ceiling_is_reached_thirty_seconds_early(time: float, reached: bool) -> None:
    assert is_reached(NOW, NOW + time) is reached
    assert (seconds_until(NOW, NOW + time) <= 0) is reached


def test_a_session_without_a_ceiling_is_never_over() -> None:
    assert not is_reached(None, math.inf)


# ---- the refresh token's end


def test_a_refresh_is_planned_after_sixty_percent() -> None:
    assert next_refresh_token_end(None, 100, NOW, is_new=True) == RefreshTokenEnd(NOW + 100, NOW + 60)


def test_a_response_without_an_end_keeps_that_of_the_same_refresh_token_only() -> None:
    before = RefreshTokenEnd(NOW + 100, NOW + 60)
    assert next_refresh_token_end(before, None, NOW + 10, is_new=True) is None
    assert next_refresh_token_end(before, None, NOW + 10, is_new=False) == before
    assert next_refresh_token_end(before, None, NOW + 60, is_new=False) == RefreshTokenEnd(NOW + 100, None)
    assert next_refresh_token_end(None, None, NOW, is_new=False) is None


def test_an_unlimited_refresh_token_has_no_end() -> None:
    before = RefreshTokenEnd(NOW + 100, NOW + 60)
    assert next_refresh_token_end(before, math.inf, NOW + 10, is_new=True) is None


@given(st.floats(2, 1e7), st.integers(1, 20), st.floats(-0.5, 0.5))
def test_an_end_that_each_refresh_moves_is_planned_for_each_time(lifetime: float, times: int, latency: float) -> None:
    end, sent = None, NOW
    for _ in range(times):
        end = next_refresh_token_end(end, lifetime, sent, is_new=True)
        assert end is not None
        assert end.refresh_by is not None
        assert sent < end.refresh_by < end.at
        sent = end.refresh_by + max(0.0, latency)


@given(st.floats(30, 1e7), st.lists(st.floats(-1.5, 1.5), min_size=40, max_size=40))
def test_an_end_that_no_refresh_moves_is_planned_for_a_few_times_at_most(lifetime: float, jitter: list[float]) -> None:
    """Google counts the end down; providers round, and networks are slow."""
    sent, refreshes = NOW, 0
    end = next_refresh_token_end(None, lifetime, sent, is_new=True)
    for error in jitter:
        if end is None or end.refresh_by is None:
            break
        sent, refreshes = end.refresh_by, refreshes + 1
        left = max(1.0, NOW + lifetime - sent + error)
        end = next_refresh_token_end(end, left, sent, is_new=False)
    assert refreshes <= 2


def test_a_refresh_soon_after_the_last_leaves_the_plan() -> None:
    before = RefreshTokenEnd(NOW + 1000, NOW + 600)
    assert next_refresh_token_end(before, 1000, NOW + 2, is_new=True) == RefreshTokenEnd(NOW + 1002, NOW + 600)
