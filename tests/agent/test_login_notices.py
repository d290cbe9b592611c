"""When a person is notified that an account needs a login; a fake clock in seconds."""

import itertools
import json
import stat
from collections.abc import Sequence
from pathlib import Path

import pytest
from hypothesis import given, strategies as st

from auth_agent import remedies
from auth_agent.notification.notices import LoginNotices
from auth_agent.notification.notifier import wording
from auth_agent.worker.failure import CallFailure
from auth_agent.worker.notifications import notify_macos
from auth_agent_client.messages import EXPIRED, LOCKED, LOGGED_OUT, LOGIN_REQUIRED, READY
from auth_agent_client.remedy import remedies_to_wire

STATES = (READY, EXPIRED, LOCKED, LOGGED_OUT, LOGIN_REQUIRED)


FAILURE = "reauthentication_required"


def record(account: str, state: str, failure: str | None = FAILURE) -> dict[str, object]:
    remedy = remedies_to_wire((remedies.log_in(account),))
    return {"account": account, "state": state, "failure": failure, "remedy": remedy, "reason": "<b>provider's</b>"}


def after(*states: tuple[str, str, float]) -> LoginNotices:
    notices = LoginNotices()
    for account, state, now in states:
        notices.observe(account, state, FAILURE, now)
    return notices


def test_a_session_that_ends_is_notified_once_after_some_seconds() -> None:
    notices = after(("work", READY, 0), ("work", LOGIN_REQUIRED, 10))
    assert notices.take(12.9) == []
    assert notices.due_at() == 13
    assert notices.take(13) == ["work"]
    notices.observe("work", LOGIN_REQUIRED, FAILURE, 20)
    assert notices.due_at() is None


@pytest.mark.parametrize("before", [None, LOCKED, LOGGED_OUT, LOGIN_REQUIRED])
def test_a_session_that_nobody_could_use_is_not_notified(before: str | None) -> None:
    states = [] if before is None else [("work", before, 0.0)]
    assert after(*states, ("work", LOGIN_REQUIRED, 10)).due_at() is None


def test_an_expired_session_that_ends_is_notified() -> None:
    assert after(("work", EXPIRED, 0), ("work", LOGIN_REQUIRED, 10)).take(13) == ["work"]


def test_a_change_of_the_configuration_is_not_notified() -> None:
    notices = after(("work", READY, 0))
    notices.observe("work", LOGIN_REQUIRED, "account_changed", 10)
    assert notices.due_at() is None


def test_sessions_that_end_together_share_a_notification() -> None:
    states = [(name, READY, 0.0) for name in ("a", "b", "c")]
    notices = after(*states, ("a", LOGIN_REQUIRED, 10), ("b", LOGIN_REQUIRED, 12), ("c", LOGIN_REQUIRED, 12.5))
    assert notices.take(13) == ["a", "b", "c"]


def test_a_session_that_ends_soon_after_a_notification_waits_for_the_next_one() -> None:
    notices = after(("a", READY, 0), ("b", READY, 0), ("a", LOGIN_REQUIRED, 10))
    assert notices.take(13) == ["a"]
    notices.observe("b", LOGIN_REQUIRED, FAILURE, 14)
    assert notices.take(72) == []
    assert notices.take(73) == ["b"]


def test_a_login_before_the_notification_makes_it_needless() -> None:
    notices = after(("work", READY, 0), ("work", LOGIN_REQUIRED, 10), ("work", READY, 11))
    assert notices.due_at() is None


def test_a_removed_account_is_forgotten() -> None:
    notices = after(("work", READY, 0), ("work", LOGIN_REQUIRED, 10))
    notices.forget("work")
    assert notices.due_at() is None


@given(st.lists(st.tuples(st.sampled_from("abc"), st.sampled_from(STATES), st.floats(0, 30)), max_size=60))
def test_however_sessions_change_notifications_keep_their_distance(changes: Sequence[tuple[str, str, float]]) -> None:
    notices, now, taken = LoginNotices(), 0.0, list[float]()
    for account, state, pause in changes:
        now += pause
        notices.observe(account, state, FAILURE, now)
        if notices.take(now):
            taken.append(now)
    assert all(later - earlier >= 60 for earlier, later in itertools.pairwise(taken))


# ---- what it says


def test_a_notification_has_the_command_that_logs_in_and_nothing_of_the_provider() -> None:
    summary, body = wording([record("work", LOGIN_REQUIRED)])
    assert summary == "Log in to work again"
    assert body == "auth-agent login work"


def test_of_many_accounts_some_are_named() -> None:
    summary, body = wording([record(f"a{number}", LOGIN_REQUIRED) for number in range(7)])
    assert summary == "Log in to 7 accounts again"
    assert body.splitlines() == [
        *(f"auth-agent login a{number}" for number in range(5)),
        "and 2 more: auth-agent status",
    ]
    assert "provider" not in json.dumps([summary, body])


# ---- macOS


def test_macos_gets_the_words_as_arguments_and_not_as_a_script(tmp_path: Path) -> None:
    program = tmp_path / "osascript"
    program.write_text(f'#!/bin/sh\nprintf "%s\\n" "$@" > {tmp_path}/arguments\n')
    program.chmod(stat.S_IRWXU)
    summary, body = 'a "quoted" name', 'do shell script "x"'
    notify_macos(summary, body, str(program))
    option, *script, given_summary, given_body = (tmp_path / "arguments").read_text().splitlines()
    assert (option, given_summary, given_body) == ("-e", summary, body)
    assert not [line for line in script if "quoted" in line or "shell" in line]


def test_a_notification_that_macos_can_not_show_is_a_failure(tmp_path: Path) -> None:
    with pytest.raises(CallFailure):
        notify_macos("a", "b", str(tmp_path / "nothing"))
    with pytest.raises(CallFailure):
        notify_macos("a", "b", "/bin/false")
