"""How a session is doing, in words, and what helps."""

import pytest

from auth_agent.cli.condition import Condition, condition_of
from auth_agent.sessions import advice
from auth_agent_client.messages import RENEWALS, STATES
from auth_agent_client.remedy import Remedy, remedies_to_wire

NOW = 1_800_000_000.0


def record(**more: object) -> dict[str, object]:
    """A record as an agent gives it."""
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


def command_of(found: Condition) -> str:
    """The one command that helps."""
    (remedy,) = found.remedy
    return remedy.line


# ---- states


def test_a_session_without_trouble_is_good() -> None:
    assert condition_of(record(), NOW) == Condition("good", "ready", "token good for 59 min")


def test_a_lifetime_that_the_provider_did_not_give_is_shown_as_assumed() -> None:
    found = condition_of(record(lifetime_assumed=True), NOW)
    assert found == Condition("good", "ready", "token good for 59 min (assumed: the provider gave no lifetime)")


def test_a_refresh_in_flight_is_no_trouble() -> None:
    assert condition_of(record(renewal="running"), NOW).kind == "good"


def test_a_ready_session_whose_refreshes_fail_is_a_warning() -> None:
    found = condition_of(record(renewal="retrying", reason="no route"), NOW)
    assert (found.kind, found.words, found.problem) == ("warning", "ready, but refreshes fail", "no route")


def test_a_session_without_a_refresh_token_says_that_it_ends() -> None:
    found = condition_of(record(renewal="none"), NOW)
    assert (found.kind, found.words) == ("warning", "ready")
    assert "session ends with the token" in found.problem
    assert command_of(found) == "auth-agent login work"


def test_an_expired_token_says_since_when() -> None:
    found = condition_of(record(state="expired", expires_at=NOW - 80), NOW)
    assert (found.kind, found.words, found.more) == ("warning", "expired", "token expired 1 min 20 s ago")


def test_an_expired_session_whose_refreshes_fail_says_both() -> None:
    found = condition_of(record(state="expired", renewal="retrying", reason="no route", expires_at=None), NOW)
    assert (found.words, found.more, found.problem) == ("expired, and refreshes fail", "", "no route")


def test_a_session_that_is_over_says_why_and_how_to_begin_again() -> None:
    found = condition_of(record(state="login_required", renewal="none", reason="invalid_grant: revoked"), NOW)
    assert (found.kind, found.words, found.problem) == ("bad", "login required", "invalid_grant: revoked")
    assert command_of(found) == "auth-agent login work"


def test_a_session_that_never_was_says_how_to_begin() -> None:
    found = condition_of(record(state="logged_out", renewal="none"), NOW)
    assert (found.kind, found.words, found.problem) == ("off", "not logged in", "")
    assert command_of(found) == "auth-agent login work"


def test_a_session_that_is_being_read_is_no_failure() -> None:
    found = condition_of(record(state="locked", reason="not read yet"), NOW)
    assert (found.kind, found.words, found.problem) == ("warning", "locked", "not read yet")


def test_the_trouble_of_the_store_is_told_there() -> None:
    found = condition_of(record(state="locked", reason="the keyring is locked; unlock it"), NOW, store_fails=True)
    assert (found.kind, found.words, found.problem) == ("bad", "locked", "the store, see below")


def test_a_state_that_this_version_does_not_know_is_shown_as_it_is() -> None:
    assert condition_of(record(state="hibernating"), NOW).words == "hibernating"
    assert condition_of({}, NOW).words == "unknown"


@pytest.mark.parametrize(
    ("state", "kind", "said"),
    [
        ("ready", "warning", "not saved yet"),
        ("login_required", "bad", "why; not saved yet"),
        ("logged_out", "warning", "not deleted from the store yet"),
    ],
)
def test_what_is_not_saved_is_a_problem(state: str, kind: str, said: str) -> None:
    reason = "why" if state == "login_required" else None
    found = condition_of(record(state=state, saved=False, reason=reason), NOW)
    assert found.kind == kind
    assert said in found.problem


@pytest.mark.parametrize("state", STATES)
@pytest.mark.parametrize("renewal", RENEWALS)
def test_every_state_that_is_not_good_says_what_is_wrong_or_what_helps(state: str, renewal: str) -> None:
    found = condition_of(record(state=state, renewal=renewal, reason="why"), NOW)
    assert found.words
    assert found.problem or found.remedy
    assert (found.kind == "good") is False


# ---- reasons


@pytest.mark.parametrize(
    "reason", [advice.ACCOUNT_CHANGED, advice.ACCOUNT_REMOVED, advice.NO_REFRESH_TOKEN, "another_user: of another"]
)
def test_every_reason_to_log_in_again_is_a_sentence(reason: str) -> None:
    found = condition_of(record(state="login_required", renewal="none", reason=reason), NOW)
    assert "_" not in found.problem.partition(":")[2] or "client_id" in found.problem
    assert found.problem != reason or ":" in reason


# ---- what helps

REMEDIES = (Remedy("log in again", "auth-agent", "login", "work"), Remedy("or ask somebody"))
TROUBLE = [
    {"state": "login_required", "renewal": "none", "reason": "why"},
    {"state": "expired", "renewal": "retrying", "reason": "why"},
    {"state": "ready", "renewal": "retrying", "reason": "why"},
    {"state": "ready", "renewal": "none"},
    {"state": "locked", "renewal": "none", "reason": "why"},
    {"state": "logged_out", "renewal": "none"},
]


@pytest.mark.parametrize("trouble", TROUBLE, ids=lambda trouble: str(trouble["state"]))
def test_what_helps_is_what_the_agent_says(trouble: dict[str, object]) -> None:
    assert condition_of(record(**trouble, remedy=remedies_to_wire(REMEDIES)), NOW).remedy == REMEDIES


@pytest.mark.parametrize(
    ("trouble", "line"),
    [
        (TROUBLE[0], "auth-agent login work"),
        ({**TROUBLE[0], "reason": "account_removed"}, "auth-agent reload"),
        (TROUBLE[1], "auth-agent refresh work"),
        (TROUBLE[2], "auth-agent refresh work"),
        (TROUBLE[3], "auth-agent login work"),
        (TROUBLE[4], ""),
        (TROUBLE[5], "auth-agent login work"),
    ],
    ids=str,
)
def test_of_an_older_agent_the_state_says_what_helps(trouble: dict[str, object], line: str) -> None:
    assert " ".join(remedy.line for remedy in condition_of(record(**trouble), NOW).remedy) == line


@pytest.mark.parametrize("trouble", TROUBLE, ids=lambda trouble: str(trouble["state"]))
@pytest.mark.parametrize("reason", ["invalid_client: x", "run this: auth-agent login work; reboot", "log in for it"])
def test_no_remedy_is_read_out_of_a_reason(trouble: dict[str, object], reason: str) -> None:
    told: dict[str, object] = {**trouble, "reason": reason}
    assert condition_of(record(**told), NOW).remedy == condition_of(record(**trouble), NOW).remedy
    told["remedy"] = []
    assert condition_of(record(**told), NOW).remedy == ()


def test_a_session_that_is_about_to_end_says_how_to_go_on() -> None:
    found = condition_of(record(session_ends_at=NOW + 60), NOW)
    assert [remedy.command for remedy in found.remedy] == [("auth-agent", "login", "work")]


def test_a_locked_store_is_told_of_once() -> None:
    locked = record(state="locked", renewal="none", reason="why", remedy=remedies_to_wire(REMEDIES))
    assert condition_of(locked, NOW, store_fails=True).remedy == ()
