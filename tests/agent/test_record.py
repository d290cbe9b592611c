"""A session as its record: what each state shows, and what none does."""

from collections.abc import Callable

import pytest

from auth_agent.oauth.outcome import AnotherUser, Failure, InteractionRequired, InvalidGrant, Misconfigured, Unsent
from auth_agent.secret import Secret
from auth_agent.sessions.record import record, state_name
from auth_agent.sessions.session import Session
from auth_agent.sessions.state import Credentials
from auth_agent_client.messages import FAILURES, RECORD, RENEWALS, STATES
from auth_agent_client.remedy import remedies_from_wire, remedies_to_wire
from tests.agent.world import ALICE, CLIENT, ISSUER, FakeClock, account, jwt, reply

LIFETIME = 3600.0  # a lead of 720 s
START = 1_800_000_000.0


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


# ---- a session in each situation there is


def never(_: FakeClock) -> Session:
    return Session(account(), chance=0.0)


def ready(clock: FakeClock, refresh_token: str | None = "canary-rt") -> Session:
    session = never(clock)
    secret = None if refresh_token is None else Secret(refresh_token)
    login = Credentials(ISSUER, CLIENT, None, ALICE, "Alice", secret, Secret("canary-id"))
    token = session.access_token(reply("canary-at", lifetime=LIFETIME), login, clock.now())
    session.log_in(login, token, clock.now())
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
    clock.pass_(LIFETIME)
    return session


def expired_and_running(clock: FakeClock) -> Session:
    session = expired(clock)
    session.start(clock.now())
    return session


def expired_and_failed(clock: FakeClock) -> Session:
    session = failed(clock, Misconfigured("invalid_client"))
    clock.pass_(LIFETIME)
    return session


def ended(clock: FakeClock) -> Session:
    return failed(clock, InvalidGrant("invalid_grant"))


def interrupted(clock: FakeClock) -> Session:
    return failed(clock, InteractionRequired("mfa_required"))


def quarantined(clock: FakeClock) -> Session:
    return failed(clock, AnotherUser("another_user"))


def revived(clock: FakeClock) -> Session:
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

# What each shows: state, renewal, reason.
SHOWN: dict[Situation, tuple[str, str, str | None]] = {
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
    revived: ("expired", "idle", None),
    account_changed: ("login_required", "none", "account_changed"),
    account_removed: ("login_required", "none", "account_removed"),
    never_and_removed: ("login_required", "none", "account_removed"),
    logged_out: ("logged_out", "none", None),
}

in_every_situation = pytest.mark.parametrize("situation", SHOWN, ids=lambda situation: situation.__name__)


@in_every_situation
def test_state_renewal_and_reason_tell_the_situation(situation: Situation, clock: FakeClock) -> None:
    session = situation(clock)
    found = record(session, clock.now())
    assert (found["state"], found["renewal"], found["reason"]) == SHOWN[situation]
    assert state_name(session, clock.now()) == found["state"]


def test_every_state_and_renewal_of_the_protocol_occurs_but_locked() -> None:
    assert {state for state, _, _ in SHOWN.values()} == set(STATES) - {"locked"}
    assert {renewal for _, renewal, _ in SHOWN.values()} == set(RENEWALS)


@in_every_situation
def test_a_record_has_the_protocols_fields_and_no_others(situation: Situation, clock: FakeClock) -> None:
    assert tuple(record(situation(clock), clock.now())) == RECORD


@in_every_situation
def test_no_record_holds_a_secret(situation: Situation, clock: FakeClock) -> None:
    found = record(situation(clock), clock.now())
    assert "canary" not in repr(found)
    assert "Secret" not in repr(found)
    remedy = found.pop("remedy")
    assert {type(value) for value in found.values()} <= {str, int, float, bool, type(None)}
    assert remedies_to_wire(remedies_from_wire(remedy)) == remedy


@in_every_situation
def test_what_is_wrong_has_a_failure_of_the_protocol_and_something_that_helps(
    situation: Situation, clock: FakeClock
) -> None:
    found = record(situation(clock), clock.now())
    assert found["failure"] in (None, *FAILURES)
    assert (found["failure"] is None) == (found["reason"] is None)
    assert found["remedy"] or found["reason"] is None


@pytest.mark.parametrize("lifetime", [None, 3600])
def test_a_lifetime_that_the_provider_did_not_give_is_assumed(lifetime: float | None, clock: FakeClock) -> None:
    session, login = never(clock), Credentials(ISSUER, CLIENT, None, ALICE, "Alice", Secret("rt"), None)
    session.log_in(login, session.access_token(reply(lifetime=lifetime), login, clock.now()), clock.now())
    assert record(session, clock.now())["lifetime_assumed"] is (lifetime is None)


# ---- whose it is


def test_a_login_is_shown_with_its_subject_and_name(clock: FakeClock) -> None:
    found = record(ready(clock), clock.now())
    assert (found["account"], found["issuer"], found["subject"], found["name"]) == ("work", ISSUER, ALICE, "Alice")


@pytest.mark.parametrize("situation", [never, logged_out], ids=lambda situation: situation.__name__)
def test_who_is_not_logged_in_has_no_name(situation: Situation, clock: FakeClock) -> None:
    found = record(situation(clock), clock.now())
    assert (found["account"], found["issuer"], found["subject"], found["name"]) == ("work", ISSUER, None, None)


def test_whose_session_ended_is_remembered(clock: FakeClock) -> None:
    found = record(ended(clock), clock.now())
    assert (found["subject"], found["name"]) == (ALICE, "Alice")


def test_a_login_is_shown_with_the_issuer_it_was_made_at(clock: FakeClock) -> None:
    assert record(account_changed(clock), clock.now())["issuer"] == ISSUER


# ---- times


def times(session: Session, clock: FakeClock) -> tuple[object, object, object]:
    found = record(session, clock.now())
    return found["expires_at"], found["refresh_at"], found["last_refresh_at"]


def test_a_token_expires_a_second_early_and_is_refreshed_the_lead_before(clock: FakeClock) -> None:
    assert times(ready(clock), clock) == (START + LIFETIME - 1, START + LIFETIME - 720, START)


def test_times_stand_while_time_passes(clock: FakeClock) -> None:
    session = ready(clock)
    before = times(session, clock)
    clock.pass_(100)
    assert times(session, clock) == before


def test_a_refresh_that_is_overdue_is_due_now(clock: FakeClock) -> None:
    assert times(expired(clock), clock) == (START + LIFETIME - 1, START + LIFETIME, START)


def test_the_next_attempt_after_a_failure_is_the_next_refresh(clock: FakeClock) -> None:
    session = failed(clock)
    due = session.refresh_at()
    assert due is not None
    assert START < due.wall < START + 30
    assert times(session, clock) == (START + LIFETIME - 1, due.wall, START)


@pytest.mark.parametrize(
    "situation", [running, running_again, without_refresh_token], ids=lambda situation: situation.__name__
)
def test_nothing_is_due_while_a_refresh_runs_or_can_not(situation: Situation, clock: FakeClock) -> None:
    assert times(situation(clock), clock) == (START + LIFETIME - 1, None, START)


def test_a_login_to_be_tried_again_is_due_now_and_has_no_token(clock: FakeClock) -> None:
    session = revived(clock)
    clock.pass_(5)
    assert times(session, clock) == (None, START + 5, START)


@pytest.mark.parametrize("situation", [never, logged_out], ids=lambda situation: situation.__name__)
def test_who_is_not_logged_in_has_no_times(situation: Situation, clock: FakeClock) -> None:
    assert times(situation(clock), clock) == (None, None, None)


@pytest.mark.parametrize("situation", [ended, interrupted, quarantined], ids=lambda situation: situation.__name__)
def test_a_session_that_is_over_keeps_only_when_it_was_refreshed(situation: Situation, clock: FakeClock) -> None:
    assert times(situation(clock), clock) == (None, None, START)


def test_a_refresh_moves_the_times_and_is_counted(clock: FakeClock) -> None:
    session = ready(clock)
    clock.pass_(1000)
    sent = clock.now()
    session.start(sent)
    clock.pass_(2)
    assert session.settle(session.finish(session.epoch, reply("at-2", lifetime=LIFETIME), sent, clock.now(), 0.0))
    assert times(session, clock) == (START + 1000 + LIFETIME - 1, START + 1000 + LIFETIME - 720, START + 1002)
    assert record(session, clock.now())["refreshes"] == 1


def test_a_token_made_useless_by_a_clock_that_was_set_shows_its_refresh_as_due_now(clock: FakeClock) -> None:
    session = ready(clock)
    clock.wall -= 7200
    found = record(session, clock.now())
    due = session.refresh_due(clock.now())
    assert due is not None
    assert (found["state"], found["refresh_at"]) == ("expired", due.wall)


def test_a_session_that_nothing_can_renew_asks_for_a_login_as_its_clients_are_told(clock: FakeClock) -> None:
    session = without_refresh_token(clock)
    clock.pass_(LIFETIME)
    found = record(session, clock.now())
    assert (found["state"], found["reason"]) == ("login_required", "no_refresh_token")


# ---- the rest


def test_epoch_and_revision_are_the_sessions(clock: FakeClock) -> None:
    session = running(clock)
    found = record(session, clock.now())
    assert (found["epoch"], found["revision"]) == (session.epoch, session.revision)
    session.log_out()
    after = record(session, clock.now())
    assert (after["epoch"], after["revision"]) == (session.epoch, session.revision)
    assert after["epoch"] != found["epoch"]


def test_all_that_there_is_to_save_is_saved_and_no_end_is_known(clock: FakeClock) -> None:
    found = record(ready(clock), clock.now())
    assert (found["saved"], found["session_ends_at"], found["refreshes"]) == (True, None, 0)


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
def test_the_end_that_the_provider_gives_a_session_is_shown_and_stays(
    clock: FakeClock, lifetime: float | None, claim: float | None, end: float
) -> None:
    session = ready(clock)
    claims = {"iss": ISSUER, "aud": CLIENT, "sub": ALICE, "session_expiry": claim}
    session.start(clock.now())
    given = reply("at-2", session_lifetime=lifetime, id_token=jwt(**claims))
    assert session.settle(session.finish(session.epoch, given, clock.now(), clock.now(), 0.5))
    assert record(session, clock.now())["session_ends_at"] == end
    clock.pass_(60)
    session.start(clock.now())
    assert session.settle(session.finish(session.epoch, reply("at-3", subject=None), clock.now(), clock.now(), 0.5))
    assert record(session, clock.now())["session_ends_at"] == end
