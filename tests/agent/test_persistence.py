"""When a login's request is sent again, and how long it goes on."""

import pytest
from hypothesis import given, strategies as st

from auth_agent.oauth.outcome import Busy, Defect, Failure, Lost, Misconfigured, Overloaded, Transient, Unsent
from auth_agent.secret import Secret
from auth_agent.sessions.persistence import CODE_PATIENCE, is_unprocessed, may_pass, pause_after


@pytest.mark.parametrize(
    ("outcome", "is_safe"),
    [
        (Unsent(""), True),
        (Overloaded("", 1.0), True),
        (Busy("HTTP 500"), False),
        (Lost(""), False),
        (Defect(""), False),
        (Misconfigured(""), False),
        (Overloaded("", refresh_token=Secret("rt")), False),
    ],
)
def test_only_what_was_not_processed_is_sent_again(outcome: Failure, is_safe: bool) -> None:
    assert is_unprocessed(outcome) is is_safe


def test_what_changes_nothing_is_requested_again_after_any_passing_failure() -> None:
    assert [may_pass(one) for one in (Busy(""), Unsent(""), Lost(""), Transient(""))] == [True] * 4
    assert [may_pass(one) for one in (None, Defect(""), Misconfigured(""))] == [False] * 3


def test_retry_after_is_honoured_or_the_login_given_up() -> None:
    assert pause_after(Overloaded("", 3.0), 1, 10.0) == 3.0
    assert pause_after(Overloaded("", 0.0), 1, 10.0) == 0.5
    assert pause_after(Overloaded("", 11.0), 1, 10.0) is None


@given(st.lists(st.none() | st.floats(0, 20), min_size=60, max_size=60))
def test_attempts_end_in_time_and_the_last_one_is_at_the_end(waits: list[float | None]) -> None:
    now, pauses = 0.0, list[float]()
    for attempts, wait in enumerate(waits, 1):
        pause = pause_after(Overloaded("", wait), attempts, CODE_PATIENCE - now)
        if pause is None:
            assert now >= CODE_PATIENCE or (wait or 0) > CODE_PATIENCE - now
            break
        assert pause >= (wait or 0)
        now += pause
        pauses.append(pause)
    else:
        raise AssertionError("it goes on")
    assert now <= CODE_PATIENCE + 1e-9
