"""How a session is doing, in words, and what helps."""

import json

import pytest

from auth_agent.cli.condition import Condition, condition
from auth_agent.oauth import outcome
from auth_agent.oauth.requests import parse_token_answer
from auth_agent.sessions import refusal
from auth_agent_client.messages import RENEWALS, STATES

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


def help_of(found: Condition) -> str:
    """What helps, in one line."""
    return " ".join(piece.text for piece in found.help)


def command_of(found: Condition) -> str:
    """The command that helps."""
    (command,) = (piece.text for piece in found.help if piece.style == "strong")
    return command


# ---- states


def test_a_session_without_trouble_is_good() -> None:
    assert condition(record(), NOW) == Condition("good", "ready", "token good for 59 min")


def test_a_refresh_in_flight_is_no_trouble() -> None:
    assert condition(record(renewal="running"), NOW).kind == "good"


def test_a_ready_session_whose_refreshes_fail_is_a_warning() -> None:
    found = condition(record(renewal="retrying", reason="no route"), NOW)
    assert (found.kind, found.words, found.problem) == ("warning", "ready, but refreshes fail", "no route")


def test_a_session_without_a_refresh_token_says_that_it_ends() -> None:
    found = condition(record(renewal="none"), NOW)
    assert (found.kind, found.words) == ("warning", "ready")
    assert "session ends with the token" in found.problem
    assert command_of(found) == "auth-agent login work"


def test_an_expired_token_says_since_when() -> None:
    found = condition(record(state="expired", expires_at=NOW - 80), NOW)
    assert (found.kind, found.words, found.more) == ("warning", "expired", "token expired 1 min 20 s ago")


def test_an_expired_session_whose_refreshes_fail_says_both() -> None:
    found = condition(record(state="expired", renewal="retrying", reason="no route", expires_at=None), NOW)
    assert (found.words, found.more, found.problem) == ("expired, and refreshes fail", "", "no route")


def test_a_session_that_is_over_says_why_and_how_to_begin_again() -> None:
    found = condition(record(state="login_required", renewal="none", reason="invalid_grant: revoked"), NOW)
    assert (found.kind, found.words, found.problem) == ("bad", "login required", "invalid_grant: revoked")
    assert command_of(found) == "auth-agent login work"


def test_a_session_that_never_was_says_how_to_begin() -> None:
    found = condition(record(state="logged_out", renewal="none"), NOW)
    assert (found.kind, found.words, found.problem) == ("off", "not logged in", "")
    assert command_of(found) == "auth-agent login work"


def test_a_session_that_is_being_read_is_no_failure() -> None:
    found = condition(record(state="locked", reason="not read yet"), NOW)
    assert (found.kind, found.words, found.problem) == ("warning", "locked", "not read yet")


def test_the_trouble_of_the_store_is_told_there() -> None:
    found = condition(record(state="locked", reason="the keyring is locked; unlock it"), NOW, store_fails=True)
    assert (found.kind, found.words, found.problem) == ("bad", "locked", "the store, see below")


def test_a_state_that_this_version_does_not_know_is_shown_as_it_is() -> None:
    assert condition(record(state="hibernating"), NOW).words == "hibernating"
    assert condition({}, NOW).words == "unknown"


@pytest.mark.parametrize(
    ("state", "kind", "said"),
    [
        ("ready", "warning", "would end with the agent"),
        ("login_required", "bad", "why; not saved yet"),
        ("logged_out", "warning", "not deleted from the store yet"),
    ],
)
def test_what_is_not_saved_is_a_problem(state: str, kind: str, said: str) -> None:
    reason = "why" if state == "login_required" else None
    found = condition(record(state=state, saved=False, reason=reason), NOW)
    assert found.kind == kind
    assert said in found.problem


@pytest.mark.parametrize("state", STATES)
@pytest.mark.parametrize("renewal", RENEWALS)
def test_every_state_that_is_not_good_says_what_is_wrong_or_what_helps(state: str, renewal: str) -> None:
    found = condition(record(state=state, renewal=renewal, reason="why"), NOW)
    assert found.words
    assert found.problem or found.help
    assert (found.kind == "good") is False


# ---- reasons


@pytest.mark.parametrize(
    "reason", [refusal.ACCOUNT_CHANGED, refusal.ACCOUNT_REMOVED, refusal.NO_REFRESH_TOKEN, "another_user: of another"]
)
def test_every_reason_to_log_in_again_is_a_sentence_with_a_remedy(reason: str) -> None:
    found = condition(record(state="login_required", renewal="none", reason=reason), NOW)
    assert "_" not in found.problem.partition(":")[2] or "client_id" in found.problem
    assert found.problem != reason or ":" in reason
    expected = "auth-agent reload" if reason == refusal.ACCOUNT_REMOVED else "auth-agent login work"
    assert command_of(found) == expected


# RFC 6749, section 5.2; RFC 8707; RFC 9449; what is the agent's to know of them it knows by its own parser.
CODES = [
    "invalid_client",
    "unauthorized_client",
    "unsupported_grant_type",
    "invalid_request",
    "invalid_dpop_proof",
    "invalid_target",
    "invalid_scope",
    "access_denied",
    "server_error",
    "temporarily_unavailable",
]


@pytest.mark.parametrize("code", CODES)
@pytest.mark.parametrize("described", ["", "as the provider says"])
def test_every_refusal_has_the_remedy_of_its_kind(code: str, described: str) -> None:
    answer = json.dumps({"error": code, "error_description": described}).encode()
    failure = parse_token_answer(400, {}, answer, NOW)
    assert isinstance(failure, outcome.Failure)
    found = condition(record(renewal="retrying", reason=failure.reason), NOW)
    expected: dict[type[outcome.Failure], str] = {
        outcome.Misconfigured: "auth-agent reload",
        outcome.Refused: "auth-agent login work",
        outcome.Transient: "auth-agent refresh work",
    }
    assert command_of(found) == expected[type(failure)]


@pytest.mark.parametrize(
    ("reason", "command"),
    [
        ("https://op.example/.well-known/openid-configuration is not found: correct the account's issuer", "reload"),
        ("the provider granted a token for another audience than https://api.example; log in for it", "login work"),
        ("this refresh token is in use, or was replaced by another one", "login work"),
        ("op.example can't be reached: no route to host", "refresh work"),
        ("the provider answered HTTP 503", "refresh work"),
        ("the agent was ended in the middle of a refresh", "refresh work"),
    ],
)
def test_the_agents_own_reasons_have_their_remedy(reason: str, command: str) -> None:
    found = condition(record(state="expired", renewal="retrying", reason=reason), NOW)
    assert command_of(found) == f"auth-agent {command}"
    assert found.problem == reason


def test_what_is_tried_again_by_itself_says_so() -> None:
    found = condition(record(renewal="retrying", reason="the provider answered HTTP 503"), NOW)
    assert help_of(found) == "it is tried again by itself; or now: auth-agent refresh work"
