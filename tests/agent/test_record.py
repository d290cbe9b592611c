"""The record of a session in each situation; no record contains a secret."""

from collections.abc import Callable

import pytest

from auth_agent.oauth.outcome import AnotherUser, Failure, InteractionRequired, InvalidGrant, Misconfigured, Unsent
from auth_agent.secret import Secret
from auth_agent.sessions.acceptance import accept
from auth_agent.sessions.record import record, state_name
from auth_agent.sessions.session import Session
from auth_agent.sessions.state import Credentials
from auth_agent_client.messages import FAILURES, RECORD, RENEWALS, STATES
from auth_agent_client.remedy import remedies_from_wire, remedies_to_wire
from tests.agent.world import ALICE, CLIENT, ISSUER, FakeClock, account, jwt, token_response

LIFETIME = 3600.0  # a lead of 720 s
START = 1_800_000_000.0


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


# ---- a session in each situation


def never(_: FakeClock) -> Session:
    return Session(account(), chance=0.0)


def ready(clock: FakeClock, refresh_token: str | None = "canary-rt") -> Session:
    session = never(clock)
    secret = None if refresh_token is None else Secret(refresh_token)
    credentials = Credentials(ISSUER, CLIENT, None, ALICE, "Alice", secret, Secret("canary-id"))
    token = session.access_token(token_response("canary-at", lifetime=LIFETIME), credentials, clock.now())
    session.log_in(credentials, token, clock.now())
    return session


def without_refresh_token(clock: FakeClock) -> Session:
    return ready(clock, refresh_token=None)


def running(clock: FakeClock) -> Session:
    session = ready(clock)
    session.start(clock.now())
    return session


def failed(clock: FakeClock, failure: Failure | None = None) -> Session:
    session = ready(clock)
    session.start(clock.now())
    assert session.settle(session.finish(session.epoch, failure or Unsent("no route"), clock.now(), clock.now(), 0.5))
    return session


def running_again(clock: FakeClock) -> Session:
    session = failed(clock)
    session.start(clock.now())
    return session


def expired(clock: FakeClock) -> Session:
    session = ready(clock)
    clock.advance(LIFETIME)
    return session


def expired_and_running(clock: FakeClock) -> Session:
    session = expired(clock)
    session.start(clock.now())
    return session


def expired_and_failed(clock: FakeClock) -> Session:
    session = failed(clock, Misconfigured("invalid_client"))
    clock.advance(LIFETIME)
    return session


def ended(clock: FakeClock) -> Session:
    return failed(clock, InvalidGrant("invalid_grant"))


def interrupted(clock: FakeClock) -> Session:
    return failed(clock, InteractionRequired("mfa_required"))


def quarantined(clock: FakeClock) -> Session:
    return failed(clock, AnotherUser("another_user"))


def retried(clock: FakeClock) -> Session:
    session = interrupted(clock)
    session.retry()
    return session


def account_changed(clock: FakeClock) -> Session:
    session = ready(clock)
    session.configure(account(issuer="https://other.example/"))
    return session


def account_removed(clock: FakeClock) -> Session:
    session = running(clock)
    session.configure(None)
    return session


def never_and_removed(clock: FakeClock) -> Session:
    session = never(clock)
    session.configure(None)
    return session


def logged_out(clock: FakeClock) -> Session:
    session = ready(clock)
    session.log_out()
    return session


Situation = Callable[[FakeClock], Session]

# The state, renewal and reason in each.
EXPECTED: dict[Situation, tuple[str, str, str | None]] = {
    never: ("logged_out", "none", None),
    ready: ("ready", "idle", None),
    without_refresh_token: ("ready", "none", None),
    running: ("ready", "running", None),
    failed: ("ready", "retrying", "no route"),
    running_again: ("ready", "running", "no route"),
    expired: ("expired", "idle", None),
    expired_and_running: ("expired", "running", None),
    expired_and_failed: ("expired", "retrying", "invalid_client"),
    ended: ("login_required", "none", "invalid_grant"),
    interrupted: ("login_required", "none", "mfa_required"),
    quarantined: ("login_required", "none", "another_user"),
    retried: ("expired", "idle", None),
    account_changed: ("login_required", "none", "account_changed"),
    account_removed: ("login_required", "none", "account_removed"),
    never_and_removed: ("login_required", "none", "account_removed"),
    logged_out: ("logged_out", "none", None),
}

in_every_situation = pytest.mark.parametrize("situation", EXPECTED, ids=lambda situation: situation.__name__)


@in_every_situation
def test_each_situation_has_its_state_renewal_and_reason(situation: Situation, clock: FakeClock) -> None:
    session = situation(clock)
    fields = record(session, clock.now())
    assert (fields["state"], fields["renewal"], fields["reason"]) == EXPECTED[situation]
    assert state_name(session, clock.now()) == fields["state"]


def test_every_state_but_locked_and_every_renewal_occurs() -> None:
    assert {state for state, _, _ in EXPECTED.values()} == set(STATES) - {"locked"}
    assert {renewal for _, renewal, _ in EXPECTED.values()} == set(RENEWALS)


@in_every_situation
def test_a_record_has_exactly_the_protocols_fields(situation: Situation, clock: FakeClock) -> None:
    assert tuple(record(situation(clock), clock.now())) == RECORD


@in_every_situation
def test_no_record_contains_a_secret(situation: Situation, clock: FakeClock) -> None:
    fields = record(situation(clock), clock.now())
    assert "canary" not in repr(fields)
    assert "Secret" not in repr(fields)
    remedy = fields.pop("remedy")
    assert str(fields.pop("missing")) in ("[]", "['id_token']", "['refresh_token']", "['id_token', 'refresh_token']")
    assert {type(value) for value in fields.values()} <= {str, int, float, bool, type(None)}
    assert remedies_to_wire(remedies_from_wire(remedy)) == remedy


@in_every_situation
def test_a_reason_comes_with_a_failure_of_the_protocol_and_a_remedy(situation: Situation, clock: FakeClock) -> None:
    fields = record(situation(clock), clock.now())
    assert fields["failure"] in (None, *FAILURES)
    assert (fields["failure"] is None) == (fields["reason"] is None)
    assert fields["remedy"] or fields["reason"] is None


@pytest.mark.parametrize("lifetime", [None, 3600])
def test_a_missing_lifetime_is_marked_as_assumed(lifetime: float | None, clock: FakeClock) -> None:
    session, credentials = never(clock), Credentials(ISSUER, CLIENT, None, ALICE, "Alice", Secret("rt"), None)
    session.log_in(
        credentials, session.access_token(token_response(lifetime=lifetime), credentials, clock.now()), clock.now()
    )
    assert record(session, clock.now())["lifetime_assumed"] is (lifetime is None)


# ---- issuer and user


def test_the_record_of_an_active_session_has_subject_and_name(clock: FakeClock) -> None:
    fields = record(ready(clock), clock.now())
    assert (fields["account"], fields["issuer"], fields["subject"], fields["name"]) == ("work", ISSUER, ALICE, "Alice")


@pytest.mark.parametrize("situation", [never, logged_out], ids=lambda situation: situation.__name__)
def test_without_a_login_the_record_has_no_subject(situation: Situation, clock: FakeClock) -> None:
    fields = record(situation(clock), clock.now())
    assert (fields["account"], fields["issuer"], fields["subject"], fields["name"]) == ("work", ISSUER, None, None)


def test_the_record_of_an_ended_session_has_subject_and_name(clock: FakeClock) -> None:
    fields = record(ended(clock), clock.now())
    assert (fields["subject"], fields["name"]) == (ALICE, "Alice")


def test_the_record_has_the_issuer_of_the_login(clock: FakeClock) -> None:
    assert record(account_changed(clock), clock.now())["issuer"] == ISSUER


# ---- times


def times(session: Session, clock: FakeClock) -> tuple[object, object, object]:
    fields = record(session, clock.now())
    return fields["expires_at"], fields["refresh_at"], fields["last_refresh_at"]


def test_a_token_expires_a_second_early_and_is_refreshed_the_lead_before(clock: FakeClock) -> None:
    assert times(ready(clock), clock) == (START + LIFETIME - 1, START + LIFETIME - 720, START)


def test_the_times_do_not_change_while_time_passes(clock: FakeClock) -> None:
    session = ready(clock)
    before = times(session, clock)
    clock.advance(100)
    assert times(session, clock) == before


def test_a_refresh_that_is_overdue_is_due_now(clock: FakeClock) -> None:
    assert times(expired(clock), clock) == (START + LIFETIME - 1, START + LIFETIME, START)


def test_after_a_failure_refresh_at_is_the_next_attempt(clock: FakeClock) -> None:
    session = failed(clock)
    due = session.refresh_at()
    assert due is not None
    assert START < due.wall < START + 30
    assert times(session, clock) == (START + LIFETIME - 1, due.wall, START)


@pytest.mark.parametrize(
    "situation", [running, running_again, without_refresh_token], ids=lambda situation: situation.__name__
)
def test_no_refresh_is_due_while_one_runs_or_none_can(situation: Situation, clock: FakeClock) -> None:
    assert times(situation(clock), clock) == (START + LIFETIME - 1, None, START)


def test_a_session_to_be_retried_is_due_now_and_has_no_token(clock: FakeClock) -> None:
    session = retried(clock)
    clock.advance(5)
    assert times(session, clock) == (None, START + 5, START)


@pytest.mark.parametrize("situation", [never, logged_out], ids=lambda situation: situation.__name__)
def test_without_a_login_the_record_has_no_times(situation: Situation, clock: FakeClock) -> None:
    assert times(situation(clock), clock) == (None, None, None)


@pytest.mark.parametrize("situation", [ended, interrupted, quarantined], ids=lambda situation: situation.__name__)
def test_the_record_of_an_ended_session_has_only_its_last_refresh(situation: Situation, clock: FakeClock) -> None:
    assert times(situation(clock), clock) == (None, None, START)


def test_a_refresh_changes_the_times_and_is_counted(clock: FakeClock) -> None:
    session = ready(clock)
    clock.advance(1000)
    sent = clock.now()
    session.start(sent)
    clock.advance(2)
    assert session.settle(
        session.finish(session.epoch, token_response("at-2", lifetime=LIFETIME), sent, clock.now(), 0.0)
    )
    assert times(session, clock) == (START + 1000 + LIFETIME - 1, START + 1000 + LIFETIME - 720, START + 1002)
    assert record(session, clock.now())["refreshes"] == 1


def test_a_clock_change_that_makes_the_token_useless_makes_the_refresh_due(clock: FakeClock) -> None:
    session = ready(clock)
    clock.wall -= 7200
    fields = record(session, clock.now())
    due = session.refresh_due(clock.now())
    assert due is not None
    assert (fields["state"], fields["refresh_at"]) == ("expired", due.wall)


def test_an_expired_session_without_a_refresh_token_requires_a_login(clock: FakeClock) -> None:
    session = without_refresh_token(clock)
    clock.advance(LIFETIME)
    fields = record(session, clock.now())
    assert (fields["state"], fields["reason"]) == ("login_required", "no_refresh_token")


# ---- other fields


def test_epoch_and_revision_are_the_sessions(clock: FakeClock) -> None:
    session = running(clock)
    fields = record(session, clock.now())
    assert (fields["epoch"], fields["revision"]) == (session.epoch, session.revision)
    session.log_out()
    after = record(session, clock.now())
    assert (after["epoch"], after["revision"]) == (session.epoch, session.revision)
    assert after["epoch"] != fields["epoch"]


def test_an_active_session_is_saved_and_has_no_known_end(clock: FakeClock) -> None:
    fields = record(ready(clock), clock.now())
    assert (fields["saved"], fields["session_ends_at"], fields["refreshes"]) == (True, None, 0)


@pytest.mark.parametrize(
    ("lifetime", "claim", "end"),
    [
        (86_400.0, None, START + 86_400),
        (None, START + 7200, START + 7200),
        (86_400.0, START + 7200, START + 7200),
        (3600.0, START + 7200, START + 3600),
    ],
    ids=["a lifetime", "a time", "the time first", "the lifetime first"],
)
def test_the_providers_end_of_the_session_is_shown_and_stays(
    clock: FakeClock, lifetime: float | None, claim: float | None, end: float
) -> None:
    session = ready(clock)
    claims = {"iss": ISSUER, "aud": CLIENT, "sub": ALICE, "session_expiry": claim}
    session.start(clock.now())
    response = token_response("at-2", refresh_token_lifetime=lifetime, id_token=jwt(**claims))
    assert session.settle(session.finish(session.epoch, response, clock.now(), clock.now(), 0.5))
    assert record(session, clock.now())["session_ends_at"] == end
    clock.advance(60)
    session.start(clock.now())
    assert session.settle(
        session.finish(
            session.epoch, token_response("at-3", subject=None, refresh_token=None), clock.now(), clock.now(), 0.5
        )
    )
    assert record(session, clock.now())["session_ends_at"] == end


def test_a_session_without_a_refresh_token_has_no_end_of_one(clock: FakeClock) -> None:
    credentials = Credentials(ISSUER, CLIENT, None, ALICE, "Alice", None, None)
    response = token_response("at-2", refresh_token=None, refresh_token_lifetime=1800.0)
    accepted = accept(credentials, response, clock.now())
    assert isinstance(accepted, Credentials)
    assert accepted.ends_at is None


def test_a_token_without_a_known_end_makes_a_session_ready_for_good(clock: FakeClock) -> None:
    session = never(clock)
    credentials = Credentials(ISSUER, CLIENT, None, ALICE, "Alice", None, None)
    token = session.access_token(token_response(lifetime=None), credentials, clock.now())
    session.log_in(credentials, token, clock.now())
    for seconds in (0, 1e9, -2e9):  # the clocks don't matter
        clock.advance(seconds)
        fields = record(session, clock.now())
        assert (fields["state"], fields["expires_at"], fields["lifetime_assumed"]) == ("ready", None, False)
        assert (fields["renewal"], fields["remedy"], fields["reason"]) == ("none", [], None)
