"""The condition of a session as words, problem and remedy."""

import pytest

from auth_agent.cli.condition import Condition, condition_of
from auth_agent.sessions import advice
from auth_agent_client.messages import RENEWALS, STATES
from auth_agent_client.remedy import Remedy, remedies_to_wire

NOW = 1_800_000_000.0


def record(**more: object) -> dict[str, object]:
    """Return a record as the agent sends it."""
    return {
        "account": "work",
        "state": "ready",
        "renewal": "idle",
        "saved": True,
        "reason": None,
        "expires_at": NOW + 3599,
        "refresh_at": NOW + 2880,
        **more,
    }


def command_of(condition: Condition) -> str:
    """Return the command of the only remedy."""
    (remedy,) = condition.remedy
    return remedy.line


# ---- states


def test_a_session_without_a_problem_is_good() -> None:
    assert condition_of(record(), NOW) == Condition("good", "ready", "token good for 59 min")


def test_an_assumed_lifetime_is_shown_as_such() -> None:
    condition = condition_of(record(lifetime_assumed=True), NOW)
    assert condition == Condition("good", "ready", "token good for 59 min (assumed: the provider gave no lifetime)")


def test_a_refresh_in_flight_is_not_a_problem() -> None:
    assert condition_of(record(renewal="running"), NOW).kind == "good"


def test_a_ready_session_whose_refreshes_fail_is_a_warning() -> None:
    condition = condition_of(record(renewal="retrying", reason="no route"), NOW)
    assert (condition.kind, condition.words, condition.problem) == ("warning", "ready, but refreshes fail", "no route")


@pytest.mark.parametrize(
    ("failure", "words"), [("narrowed", "ready, but with fewer scopes"), ("invalid_response", "ready")]
)
def test_what_a_refresh_that_succeeded_brought_is_a_warning_and_no_failure(failure: str, words: str) -> None:
    condition = condition_of(record(renewal="idle", failure=failure, reason="it differs"), NOW)
    assert (condition.kind, condition.words, condition.problem) == ("warning", words, "it differs")


def test_a_session_without_a_refresh_token_is_a_warning() -> None:
    condition = condition_of(record(renewal="none"), NOW)
    assert (condition.kind, condition.words) == ("warning", "ready")
    assert "session ends with the token" in condition.problem
    assert command_of(condition) == "auth-agent login work"


def test_an_expired_token_shows_its_age() -> None:
    condition = condition_of(record(state="expired", expires_at=NOW - 80), NOW)
    assert (condition.kind, condition.words, condition.more) == ("warning", "expired", "token expired 1 min 20 s ago")


def test_an_expired_session_whose_refreshes_fail_shows_both() -> None:
    condition = condition_of(record(state="expired", renewal="retrying", reason="no route", expires_at=None), NOW)
    assert (condition.words, condition.more, condition.problem) == ("expired, and refreshes fail", "", "no route")


def test_an_ended_session_shows_the_reason_and_the_login_command() -> None:
    condition = condition_of(record(state="login_required", renewal="none", reason="invalid_grant: revoked"), NOW)
    assert (condition.kind, condition.words, condition.problem) == ("bad", "login required", "invalid_grant: revoked")
    assert command_of(condition) == "auth-agent login work"


def test_a_session_without_a_login_shows_the_login_command() -> None:
    condition = condition_of(record(state="logged_out", renewal="none"), NOW)
    assert (condition.kind, condition.words, condition.problem) == ("off", "not logged in", "")
    assert command_of(condition) == "auth-agent login work"


def test_a_session_that_is_being_read_is_a_warning() -> None:
    condition = condition_of(record(state="locked", reason="not read yet"), NOW)
    assert (condition.kind, condition.words, condition.problem) == ("warning", "locked", "not read yet")


def test_a_problem_of_the_store_is_referred_to() -> None:
    condition = condition_of(record(state="locked", reason="the keyring is locked; unlock it"), NOW, store_fails=True)
    assert (condition.kind, condition.words, condition.problem) == ("bad", "locked", "the store, see below")


def test_an_unknown_state_is_shown_unchanged() -> None:
    assert condition_of(record(state="hibernating"), NOW).words == "hibernating"
    assert condition_of({}, NOW).words == "unknown"


@pytest.mark.parametrize(
    ("state", "kind", "part"),
    [
        ("ready", "warning", "not saved yet"),
        ("login_required", "bad", "why; not saved yet"),
        ("logged_out", "warning", "not deleted from the store yet"),
    ],
)
def test_an_unsaved_session_is_a_problem(state: str, kind: str, part: str) -> None:
    reason = "why" if state == "login_required" else None
    condition = condition_of(record(state=state, saved=False, reason=reason), NOW)
    assert condition.kind == kind
    assert part in condition.problem


@pytest.mark.parametrize("state", STATES)
@pytest.mark.parametrize("renewal", RENEWALS)
def test_every_state_that_is_not_good_has_a_problem_or_a_remedy(state: str, renewal: str) -> None:
    condition = condition_of(record(state=state, renewal=renewal, reason="why"), NOW)
    assert condition.words
    assert condition.problem or condition.remedy
    assert (condition.kind == "good") is False


# ---- reasons


@pytest.mark.parametrize(
    "reason", [advice.ACCOUNT_CHANGED, advice.ACCOUNT_REMOVED, advice.NO_REFRESH_TOKEN, "another_user: of another"]
)
def test_every_reason_to_log_in_again_is_a_sentence(reason: str) -> None:
    condition = condition_of(record(state="login_required", renewal="none", reason=reason), NOW)
    assert "_" not in condition.problem.partition(":")[2] or "client_id" in condition.problem
    assert condition.problem != reason or ":" in reason


# ---- remedies

REMEDIES = (Remedy("log in again", "auth-agent", "login", "work"), Remedy("or ask somebody"))
PROBLEMS = [
    {"state": "login_required", "renewal": "none", "reason": "why"},
    {"state": "expired", "renewal": "retrying", "reason": "why"},
    {"state": "ready", "renewal": "retrying", "reason": "why"},
    {"state": "ready", "renewal": "none"},
    {"state": "locked", "renewal": "none", "reason": "why"},
    {"state": "logged_out", "renewal": "none"},
]


@pytest.mark.parametrize("problem_record", PROBLEMS, ids=lambda problem_record: str(problem_record["state"]))
def test_the_remedy_is_the_agents(problem_record: dict[str, object]) -> None:
    assert condition_of(record(**problem_record, remedy=remedies_to_wire(REMEDIES)), NOW).remedy == REMEDIES


@pytest.mark.parametrize(
    ("problem_record", "line"),
    [
        (PROBLEMS[0], "auth-agent login work"),
        ({**PROBLEMS[0], "reason": "account_removed"}, "auth-agent reload"),
        (PROBLEMS[1], "auth-agent refresh work"),
        (PROBLEMS[2], "auth-agent refresh work"),
        (PROBLEMS[3], "auth-agent login work"),
        (PROBLEMS[4], ""),
        (PROBLEMS[5], "auth-agent login work"),
    ],
    ids=str,
)
def test_for_an_older_agent_the_remedy_depends_on_the_state(problem_record: dict[str, object], line: str) -> None:
    assert " ".join(remedy.line for remedy in condition_of(record(**problem_record), NOW).remedy) == line


@pytest.mark.parametrize("problem_record", PROBLEMS, ids=lambda problem_record: str(problem_record["state"]))
@pytest.mark.parametrize("reason", ["invalid_client: x", "run this: auth-agent login work; reboot", "log in for it"])
def test_a_reason_has_no_influence_on_the_remedy(problem_record: dict[str, object], reason: str) -> None:
    changed: dict[str, object] = {**problem_record, "reason": reason}
    assert condition_of(record(**changed), NOW).remedy == condition_of(record(**problem_record), NOW).remedy
    changed["remedy"] = []
    assert condition_of(record(**changed), NOW).remedy == ()


def test_a_session_that_is_about_to_end_has_a_login_command() -> None:
    condition = condition_of(record(session_ends_at=NOW + 60), NOW)
    assert [remedy.command for remedy in condition.remedy] == [("auth-agent", "login", "work")]


def test_a_session_has_no_remedy_for_a_locked_store() -> None:
    locked = record(state="locked", renewal="none", reason="why", remedy=remedies_to_wire(REMEDIES))
    assert condition_of(locked, NOW, store_fails=True).remedy == ()
