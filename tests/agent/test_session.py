from dataclasses import replace
from typing import Any

import pytest

from auth_agent.host.clock import Moment
from auth_agent.oauth.outcome import (
    AnotherUser,
    Busy,
    Failure,
    InteractionRequired,
    InvalidGrant,
    Lost,
    Misconfigured,
    Refusal,
    TokenResponse,
    Unsent,
    Unusable,
)
from auth_agent.secret import Secret
from auth_agent.sessions.decision import Demand, Join, Serve, Start
from auth_agent.sessions.entry import StoredSession
from auth_agent.sessions.session import Session
from auth_agent.sessions.state import (
    MAIN,
    Active,
    Credentials,
    IllegalMoveError,
    Locked,
    LoggedOut,
    LoginRequired,
    Retrying,
)
from auth_agent_client import errors
from tests.agent.world import ALICE, CLIENT, ISSUER, FakeClock, account, jwt, reply

LIFETIME = 3600.0  # a lead of 720 s, a wish of 60 s


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def session(clock: FakeClock) -> Session:
    """Logged in as Alice, with a token of an hour."""
    return logged_in(clock)


def logged_in(
    clock: FakeClock,
    *,
    audience: str | None = None,
    access_token: str = "at-1",
    refresh_token: str | None = "rt-1",
    lifetime: float | None = LIFETIME,
) -> Session:
    account_ = account(audience=audience)
    session = Session(account_, chance=0.0)
    secret = None if refresh_token is None else Secret(refresh_token)
    login = Credentials(ISSUER, CLIENT, account_.audience, ALICE, "Alice", secret, None)
    session.log_in(login, session.access_token(reply(access_token, lifetime=lifetime), login, clock.now()), clock.now())
    return session


def refreshed(session: Session, clock: FakeClock, outcome: object, *, took: float = 0) -> bool:
    """A refresh from its start to its end; whether its result was the session's."""
    sent = clock.now()
    session.start(sent)
    clock.pass_(took)
    assert isinstance(outcome, (Failure, type(reply())))
    return session.settle(session.finish(session.epoch, outcome, sent, clock.now(), 0.5))


def current(session: Session) -> str:
    assert isinstance(session.state, Active)
    return session.state.tokens[MAIN].value.reveal()


def refresh_token(session: Session) -> str | None:
    login = session.credentials
    return None if login is None or login.refresh_token is None else login.refresh_token.reveal()


# ---- serving


def test_a_good_token_is_served_at_once(session: Session, clock: FakeClock) -> None:
    found = session.token(MAIN, None, clock.now())
    assert found is not None
    assert found.value == Secret("at-1")
    assert session.decide(Demand(), clock.now()) == Serve(found)


def test_a_token_is_never_served_after_its_end(session: Session, clock: FakeClock) -> None:
    clock.pass_(LIFETIME - 1)
    assert session.token(MAIN, 0, clock.now()) is None
    assert session.decide(Demand(min_ttl=0), clock.now()) == Start(driven=False)


def test_a_token_is_not_served_when_the_wall_clock_was_set_back(session: Session, clock: FakeClock) -> None:
    clock.wall -= 7200
    assert session.token(MAIN, None, clock.now()) is None


def test_a_demand_that_no_token_can_satisfy_is_refused_without_asking(session: Session, clock: FakeClock) -> None:
    refused = session.decide(Demand(min_ttl=LIFETIME), clock.now())
    assert isinstance(refused, errors.LifetimeTooShort)
    assert refused.lifetime == LIFETIME - 1


def test_a_demand_for_more_than_is_left_starts_a_refresh_that_counts(session: Session, clock: FakeClock) -> None:
    clock.pass_(1000)
    assert session.decide(Demand(min_ttl=3000), clock.now()) == Start(driven=True)


def test_a_token_that_had_expired_when_it_came_is_no_token_and_no_clients_fault(
    session: Session, clock: FakeClock
) -> None:
    clock.pass_(LIFETIME)
    assert refreshed(session, clock, reply("at-2", refresh_token="rt-2", lifetime=5), took=6)
    assert (current(session), refresh_token(session)) == ("at-1", "rt-2")
    refused = session.decide(Demand(), clock.now(), waited=True)
    assert isinstance(refused, errors.Unavailable)
    assert "had expired when it came" in refused.message
    assert refused.retry_after is not None
    assert refused.retry_after > 0


def test_a_demand_that_a_new_token_does_not_satisfy_either_ends_in_an_answer(
    session: Session, clock: FakeClock
) -> None:
    clock.pass_(1000)
    assert refreshed(session, clock, reply("at-2", lifetime=600))
    refused = session.decide(Demand(min_ttl=3000), clock.now(), waited=True)
    assert isinstance(refused, errors.LifetimeTooShort)
    assert refused.lifetime == 599


def test_a_wish_for_a_fresher_token_waits_a_second_at_most(session: Session, clock: FakeClock) -> None:
    clock.pass_(LIFETIME - 30)  # good for 29 s, less than the wish of 60 s
    session.start(clock.now())
    clock.pass_(0.4)
    decision = session.decide(Demand(), clock.now())
    assert isinstance(decision, Join)
    assert decision.patience == pytest.approx(0.6)
    clock.pass_(0.6)
    assert isinstance(session.decide(Demand(), clock.now()), Serve)


def test_a_demand_waits_as_long_as_the_client_does(session: Session, clock: FakeClock) -> None:
    clock.pass_(LIFETIME - 30)
    session.start(clock.now())
    clock.pass_(20)
    assert session.decide(Demand(min_ttl=60), clock.now()) == Join(None)


def test_a_wish_is_waived_when_a_refresh_has_failed(session: Session, clock: FakeClock) -> None:
    clock.pass_(LIFETIME - 30)
    refreshed(session, clock, Unsent("no route"))
    assert isinstance(session.decide(Demand(), clock.now()), Serve)
    session.start(clock.now())
    assert isinstance(session.decide(Demand(), clock.now()), Serve)


def test_a_token_by_force_is_newer_than_the_current_one(session: Session, clock: FakeClock) -> None:
    demand = session.force()
    assert session.decide(demand, clock.now()) == Start(driven=True)
    refreshed(session, clock, reply("at-2"))
    decision = session.decide(demand, clock.now(), waited=True)
    assert isinstance(decision, Serve)
    assert decision.token.value == Secret("at-2")


def test_refreshes_that_clients_drive_are_limited(session: Session, clock: FakeClock) -> None:
    for _ in range(5):
        assert session.decide(session.force(), clock.now()) == Start(driven=True)
        session.rate_limit.spend(clock.now().boot)
    refused = session.decide(session.force(), clock.now())
    assert isinstance(refused, errors.Unavailable)
    assert refused.retry_after == pytest.approx(10)
    clock.pass_(10)
    assert session.decide(session.force(), clock.now()) == Start(driven=True)


def test_an_expired_token_is_refreshed_however_often_clients_drove(session: Session, clock: FakeClock) -> None:
    for _ in range(5):
        session.rate_limit.spend(clock.now().boot)
    clock.pass_(LIFETIME)
    session.rate_limit = type(session.rate_limit)()
    for _ in range(5):
        session.rate_limit.spend(clock.now().boot)
    assert session.decide(Demand(), clock.now()) == Start(driven=False)


def test_without_a_refresh_token_the_access_token_is_served_to_its_end(clock: FakeClock) -> None:
    session = logged_in(clock, refresh_token=None)
    clock.pass_(LIFETIME - 2)
    assert isinstance(session.decide(Demand(), clock.now()), Serve)
    clock.pass_(2)
    refused = session.decide(Demand(), clock.now())
    assert isinstance(refused, errors.LoginRequired)
    assert refused.reason == "no_refresh_token"


def test_who_never_logged_in_is_told_to(clock: FakeClock) -> None:
    refused = Session(account(), 0.0).decide(Demand(), clock.now())
    assert isinstance(refused, errors.LoginRequired)
    assert refused.reason == "logged_out"


# ---- an outage


def outage(session: Session, clock: FakeClock, failures: int = 6, failure: Failure | None = None) -> None:
    """The token has expired, and the provider failed so often that the backoff is long."""
    clock.pass_(LIFETIME)
    for _ in range(failures):
        refreshed(session, clock, failure or Unsent("no route"))


def test_between_two_attempts_the_answer_comes_at_once(session: Session, clock: FakeClock) -> None:
    outage(session, clock)
    refused = session.decide(Demand(), clock.now())
    assert isinstance(refused, errors.Unavailable)
    assert "no route" in refused.message


def test_clients_that_ask_bring_the_next_attempt_forward_to_two_seconds(session: Session, clock: FakeClock) -> None:
    outage(session, clock)
    refused = session.decide(Demand(), clock.now())
    assert isinstance(refused, errors.Unavailable)
    assert refused.retry_after == pytest.approx(2)
    clock.pass_(2)
    assert session.decide(Demand(), clock.now()) == Start(driven=False)


def test_a_client_that_waited_for_a_failed_attempt_gets_an_answer(session: Session, clock: FakeClock) -> None:
    outage(session, clock, failures=1)
    clock.pass_(30)
    assert isinstance(session.decide(Demand(), clock.now(), waited=True), errors.Unavailable)


def test_clients_do_not_outrun_retry_after(session: Session, clock: FakeClock) -> None:
    outage(session, clock, failures=1, failure=Busy("HTTP 429", 300))
    refused = session.decide(Demand(), clock.now())
    assert isinstance(refused, errors.Unavailable)
    assert refused.retry_after == pytest.approx(300)
    clock.pass_(299)
    assert isinstance(session.decide(Demand(), clock.now()), errors.Unavailable)


def test_clients_do_not_hasten_anything_while_a_token_is_good(session: Session, clock: FakeClock) -> None:
    for _ in range(6):
        refreshed(session, clock, Unsent("no route"))
    before = session.refresh_at()
    assert isinstance(session.decide(session.force(), clock.now()), errors.Unavailable)
    assert isinstance(session.decide(Demand(), clock.now()), Serve)
    assert session.refresh_at() == before


@pytest.mark.parametrize(
    ("failure", "code"),
    [
        (Misconfigured("invalid_client"), "misconfigured"),
        (Refusal("invalid_target"), "denied"),
        (Unusable("another issuer"), "provider_error"),
        (Unsent("no route"), "unavailable"),
        (Lost("no reply"), "unavailable"),
    ],
)
def test_each_failure_has_its_code_once_no_token_is_left(
    session: Session, clock: FakeClock, failure: Failure, code: str
) -> None:
    outage(session, clock, failures=1, failure=failure)
    refused = session.decide(Demand(), clock.now())
    assert isinstance(refused, errors.AgentError)
    assert refused.code == code
    assert refresh_token(session) == "rt-1"


# ---- 401 from an API


def test_the_current_token_rejected_is_refreshed_once(session: Session, clock: FakeClock) -> None:
    clock.pass_(100)
    demand = session.reject(MAIN, "at-1", clock.now())
    assert isinstance(demand, Demand)
    assert session.decide(demand, clock.now()) == Start(driven=True)
    session.start(clock.now())
    again = session.reject(MAIN, "at-1", clock.now())
    assert isinstance(again, Demand)
    assert session.decide(again, clock.now()) == Join(None)
    assert isinstance(session.decide(Demand(), clock.now()), Serve)  # others keep getting it


def test_an_older_token_rejected_is_answered_with_the_current_one(session: Session, clock: FakeClock) -> None:
    refreshed(session, clock, reply("at-2"))
    clock.pass_(100)
    demand = session.reject(MAIN, "at-1", clock.now())
    assert isinstance(demand, Demand)
    decision = session.decide(demand, clock.now())
    assert isinstance(decision, Serve)
    assert decision.token.value == Secret("at-2")


def test_a_young_token_rejected_tells_of_the_api(session: Session, clock: FakeClock) -> None:
    clock.pass_(59)
    assert isinstance(session.reject(MAIN, "at-1", clock.now()), errors.Denied)
    clock.pass_(1)
    assert isinstance(session.reject(MAIN, "at-1", clock.now()), Demand)


def test_young_is_a_tenth_of_a_short_life(clock: FakeClock) -> None:
    session = logged_in(clock, lifetime=5)
    clock.pass_(0.4)
    assert isinstance(session.reject(MAIN, "at-1", clock.now()), errors.Denied)
    clock.pass_(0.1)
    assert isinstance(session.reject(MAIN, "at-1", clock.now()), Demand)


def test_an_unknown_token_rejected_changes_nothing(session: Session, clock: FakeClock) -> None:
    clock.pass_(100)
    revision = session.revision
    demand = session.reject(MAIN, "never-seen", clock.now())
    assert isinstance(demand, Demand)
    assert isinstance(session.decide(demand, clock.now()), Serve)
    assert session.revision == revision


# ---- what comes of a refresh


def test_a_refresh_brings_a_token_and_a_new_refresh_token(session: Session, clock: FakeClock) -> None:
    assert refreshed(session, clock, reply("at-2", refresh_token="rt-2"))
    assert (current(session), refresh_token(session), session.refreshes) == ("at-2", "rt-2", 1)


def test_without_a_new_refresh_token_the_old_one_is_kept(session: Session, clock: FakeClock) -> None:
    assert refreshed(session, clock, reply("at-2", refresh_token=None))
    assert refresh_token(session) == "rt-1"


def test_without_an_id_token_the_subject_is_kept(session: Session, clock: FakeClock) -> None:
    assert refreshed(session, clock, reply("at-2", subject=None))
    assert session.credentials is not None
    assert session.credentials.subject == ALICE


def test_a_tokens_life_begins_when_its_request_was_sent(session: Session, clock: FakeClock) -> None:
    sent = clock.now()
    refreshed(session, clock, reply("at-2", lifetime=100), took=20)
    assert isinstance(session.state, Active)
    assert session.state.tokens[MAIN].served_until == sent.after(99)


def test_a_token_without_a_lifetime_is_assumed_to_live_an_hour(session: Session, clock: FakeClock) -> None:
    refreshed(session, clock, reply("at-2", lifetime=None))
    assert isinstance(session.state, Active)
    found = session.state.tokens[MAIN]
    assert (found.lifetime, found.assumed) == (3600, True)


def test_a_result_after_logout_is_not_the_sessions(session: Session, clock: FakeClock) -> None:
    session.start(clock.now())
    epoch = session.epoch
    session.log_out()
    revision = session.revision
    effects = session.finish(epoch, reply("at-2"), clock.now(), clock.now(), 0.5)
    assert effects.save is None
    assert not session.settle(effects)
    assert session.credentials is None
    assert session.revision == revision


def test_a_result_after_another_login_is_not_the_sessions(session: Session, clock: FakeClock) -> None:
    session.start(clock.now())
    epoch = session.epoch
    login = Credentials(ISSUER, CLIENT, None, ALICE, None, Secret("rt-9"), None)
    session.log_in(login, session.access_token(reply("at-9"), login, clock.now()), clock.now())
    assert not session.settle(session.finish(epoch, reply("at-2"), clock.now(), clock.now(), 0.5))
    assert (current(session), refresh_token(session)) == ("at-9", "rt-9")


def test_a_failure_after_logout_is_not_the_sessions_either(session: Session, clock: FakeClock) -> None:
    session.start(clock.now())
    epoch = session.epoch
    session.log_out()
    assert not session.settle(session.finish(epoch, InvalidGrant("invalid_grant"), clock.now(), clock.now(), 0.5))
    assert session.reason is None


@pytest.mark.parametrize(
    ("claims", "failure"),
    [
        ({"iss": "https://evil.example/", "aud": CLIENT, "sub": ALICE}, Unusable),
        ({"iss": ISSUER, "aud": "another-client", "sub": ALICE}, Unusable),
        ({"iss": ISSUER, "aud": CLIENT}, Unusable),
        ({"iss": ISSUER, "aud": CLIENT, "sub": 7}, Unusable),
        ({"iss": ISSUER, "aud": CLIENT, "sub": "auth0|mallory"}, AnotherUser),
    ],
)
def test_a_reply_for_somebody_else_is_not_used_yet_its_refresh_token_is_kept(
    session: Session, clock: FakeClock, claims: dict[str, object], failure: type[Failure]
) -> None:
    assert refreshed(session, clock, reply("at-2", refresh_token="rt-2", id_token=jwt(**claims)))
    assert refresh_token(session) == "rt-2"
    if failure is AnotherUser:
        assert isinstance(session.state, LoginRequired)
        assert isinstance(session.decide(Demand(), clock.now()), errors.LoginRequired)
    else:
        assert current(session) == "at-1"
        assert isinstance(session.state, Active)
        assert isinstance(session.state.refresh, Retrying)
        assert isinstance(session.state.refresh.failure, failure)


def test_an_id_token_that_is_none_is_not_used(session: Session, clock: FakeClock) -> None:
    refreshed(session, clock, reply("at-2", id_token=Secret("garbage")))
    assert current(session) == "at-1"


def test_an_issuer_is_the_same_with_and_without_its_slash(session: Session, clock: FakeClock) -> None:
    refreshed(session, clock, reply("at-2", id_token=jwt(iss=ISSUER.rstrip("/"), aud=[CLIENT, "x"], sub=ALICE)))
    assert current(session) == "at-2"


def test_a_reply_with_nothing_but_a_refresh_token_loses_nothing(session: Session, clock: FakeClock) -> None:
    refreshed(session, clock, reply(None, refresh_token="rt-2"))
    assert (current(session), refresh_token(session)) == ("at-1", "rt-2")


def test_a_jwt_for_another_audience_is_never_served(clock: FakeClock) -> None:
    session = logged_in(clock, audience="https://api.acme.example")
    wrong = jwt(aud=["https://default.acme.example", f"{ISSUER}userinfo"])
    refreshed(session, clock, reply(wrong.reveal()))
    assert current(session) == "at-1"
    refreshed(session, clock, reply(jwt(sub=ALICE).reveal()))  # one that doesn't say whom it is for
    assert current(session) == "at-1"
    right = jwt(aud=["https://api.acme.example", f"{ISSUER}userinfo"])
    refreshed(session, clock, reply(right.reveal()))
    assert current(session) == right.reveal()


def test_an_opaque_token_is_taken_at_its_providers_word(clock: FakeClock) -> None:
    session = logged_in(clock, audience="https://api.acme.example")
    refreshed(session, clock, reply("opaque"))
    assert current(session) == "opaque"


# ---- the end, and what is bound


def test_the_providers_verdict_ends_the_session_with_its_reason(session: Session, clock: FakeClock) -> None:
    refreshed(session, clock, InvalidGrant("invalid_grant: revoked"))
    refused = session.decide(Demand(), clock.now())
    assert isinstance(refused, errors.LoginRequired)
    assert refused.reason == "invalid_grant: revoked"
    assert session.credentials is not None
    assert (session.credentials.subject, session.credentials.refresh_token) == (ALICE, None)
    assert not session.can_retry


def test_a_person_may_have_a_kept_refresh_token_tried_again(session: Session, clock: FakeClock) -> None:
    refreshed(session, clock, InteractionRequired("mfa_required"))
    assert isinstance(session.decide(Demand(), clock.now()), errors.LoginRequired)
    assert session.can_retry
    session.retry()
    assert refreshed(session, clock, reply("at-2"))
    assert current(session) == "at-2"


def test_nothing_of_another_user_is_ever_served_nor_tried_again(session: Session, clock: FakeClock) -> None:
    refreshed(session, clock, reply("bobs", refresh_token="rt-bob", subject="auth0|bob"))
    assert not session.can_retry
    session.retry()
    session.configure(account(scope="openid"))
    assert isinstance(session.decide(Demand(), clock.now()), errors.LoginRequired)
    assert session.refresh_at() is None


@pytest.mark.parametrize("change", [{"issuer": "https://other.example/"}, {"client_id": "other"}])
def test_a_session_of_another_issuer_or_client_is_neither_served_nor_refreshed(
    session: Session, clock: FakeClock, change: dict[str, object]
) -> None:
    session.configure(account("work", **change))
    assert session.token(MAIN, None, clock.now()) is None
    assert session.refresh_at() is None
    refused = session.decide(Demand(), clock.now())
    assert isinstance(refused, errors.LoginRequired)
    assert refused.reason == "account_changed"
    session.configure(account())
    assert session.token(MAIN, None, clock.now()) is not None


def test_a_refresh_in_flight_while_the_account_changes_is_kept_and_not_served(
    session: Session, clock: FakeClock
) -> None:
    session.start(clock.now())
    session.configure(account(client_id="other"))
    assert session.settle(
        session.finish(session.epoch, reply("at-2", refresh_token="rt-2"), clock.now(), clock.now(), 0.5)
    )
    assert session.token(MAIN, None, clock.now()) is None
    session.configure(account())
    assert (current(session), refresh_token(session)) == ("at-2", "rt-2")


def test_the_token_of_one_audience_is_not_served_for_another(clock: FakeClock) -> None:
    session = logged_in(clock, audience="https://old.example", access_token=jwt(aud="https://old.example").reveal())
    session.configure(account(audience="https://new.example"))
    with pytest.raises(errors.Denied, match="audience was changed"):
        session.key(None, None)
    with pytest.raises(errors.Denied):
        session.key("https://new.example", None)
    assert session.key("https://old.example", None) == MAIN
    session.start(clock.now())
    assert session.settle(session.finish(session.epoch, reply("at-2"), clock.now(), clock.now(), 0.5))
    assert isinstance(session.state, Active)
    assert session.state.tokens[MAIN].audience == "https://old.example"


# ---- when


def test_a_token_made_useless_by_a_clock_that_was_set_is_refreshed_at_once(session: Session, clock: FakeClock) -> None:
    clock.wall -= 7200
    due = session.refresh_due(clock.now())
    assert due is not None
    assert clock.now().until(due) <= 0


def test_a_refresh_is_due_the_lead_before_the_end(session: Session, clock: FakeClock) -> None:
    due = session.refresh_at()
    assert due is not None
    assert clock.now().until(due) == pytest.approx(LIFETIME - 720)


def test_a_larger_min_ttl_brings_the_refresh_forward_for_this_life_and_the_next(
    session: Session, clock: FakeClock
) -> None:
    assert session.ask(MAIN, 1000, clock.now())
    assert not session.ask(MAIN, 1000, clock.now())
    assert _lead(session, clock) == pytest.approx(1030)
    refreshed(session, clock, reply("at-2"))
    assert _lead(session, clock) >= 1030
    refreshed(session, clock, reply("at-3"))
    assert _lead(session, clock) < 1000


def test_a_min_ttl_raises_the_lead_to_two_fifths_at_most(session: Session, clock: FakeClock) -> None:
    session.ask(MAIN, 3500, clock.now())
    assert _lead(session, clock) == pytest.approx(0.4 * LIFETIME)


def _lead(session: Session, clock: FakeClock) -> float:
    due = session.refresh_at()
    assert due is not None
    return LIFETIME - clock.now().until(due)


def test_what_a_key_is() -> None:
    session = Session(account(audience="https://api.acme.example", scope="openid email"), 0.0)
    assert session.key(None, None) == MAIN
    assert session.key("https://api.acme.example", "email openid") == MAIN
    assert session.key(None, " ") == MAIN
    assert session.key("https://other.example", None) == ("https://other.example", "")
    assert session.key("https://other.example", "b a  b") == ("https://other.example", "a b")
    assert session.key(None, "openid") == session.key("https://api.acme.example", "openid") == (None, "openid")


def test_epochs_change_at_logins_and_logouts_only(session: Session, clock: FakeClock) -> None:
    epoch, revision = session.epoch, session.revision
    refreshed(session, clock, reply("at-2"))
    refreshed(session, clock, Unsent("x"))
    assert session.epoch == epoch
    assert session.revision >= revision + 4
    session.log_out()
    assert session.epoch == epoch + 1


def test_no_session_shows_a_secret(session: Session, clock: FakeClock) -> None:
    login = session.start(clock.now())
    shown = f"{login!r} {session.state!r} {session.credentials!r} {reply('canary-at', refresh_token='canary-rt')!r}"
    assert "canary" not in shown
    assert "rt-1" not in shown


def test_a_moment_is_past_when_either_clock_says_so() -> None:
    deadline = Moment(100, 100)
    assert Moment(50, 50).until(deadline) == 50
    assert Moment(150, 50).until(deadline) < 0
    assert Moment(50, 150).until(deadline) < 0


# ---- what is kept, and what comes back


def restored(stored: StoredSession) -> Session:
    """As the next agent has it."""
    session = Session(account(), chance=0.0)
    session.state = Locked("not read yet")
    session.restore(stored)
    return session


def test_what_is_kept_of_a_session_comes_back_as_it_was(session: Session, clock: FakeClock) -> None:
    refreshed(session, clock, reply("at-2", refresh_token="rt-2"))
    found = restored(session.snapshot())
    assert (current(found), refresh_token(found)) == ("at-2", "rt-2")
    assert (found.epoch, found.refreshes, found.last_refresh_at) == (1, 1, session.last_refresh_at)
    assert found.snapshot() == session.snapshot()


def test_only_a_locked_session_is_restored_and_its_epoch_never_goes_back(session: Session) -> None:
    with pytest.raises(IllegalMoveError):
        session.restore(session.snapshot())
    session.state, session.epoch = Locked("x"), 7
    session.restore(StoredSession(LoggedOut(), 3, 0, None))
    assert session.epoch == 7


def test_a_locked_session_serves_nothing_refreshes_nothing_and_says_why(clock: FakeClock) -> None:
    session = Session(account(), chance=0.0)
    session.state = Locked("the keyring is locked; unlock it")
    assert session.token(MAIN, None, clock.now()) is None
    refused = session.decide(Demand(), clock.now())
    assert isinstance(refused, errors.Locked)
    assert refused.message == "work: the keyring is locked; unlock it"
    assert (session.is_locked, session.refreshable, session.can_retry) == (True, False, False)
    assert session.refresh_due(clock.now()) is None
    assert session.credentials is None


def test_why_it_is_locked_is_news_when_it_changes(session: Session) -> None:
    assert not session.lock("x")  # it is not locked
    session.state = Locked("x")
    revision = session.revision
    assert not session.lock("x")
    assert session.lock("y")
    assert (session.reason, session.revision) == ("y", revision + 1)


def test_whether_it_is_saved_is_news_when_it_changes(session: Session) -> None:
    revision = session.revision
    assert [session.mark(saved=saved) for saved in (True, False, False, True)] == [False, True, False, True]
    assert (session.saved, session.revision) == (True, revision + 2)


def test_a_refresh_changes_nothing_until_it_is_settled_but_its_refresh_token_is_held(
    session: Session, clock: FakeClock
) -> None:
    session.start(clock.now())
    given = reply("at-2", refresh_token="rt-2")
    effects = session.finish(session.epoch, given, clock.now(), clock.now(), 0.5)
    assert effects.save == effects.then
    assert (current(session), refresh_token(session), session.refreshes) == ("at-1", "rt-2", 0)
    assert session.settle(effects)
    assert (current(session), refresh_token(session), session.refreshes) == ("at-2", "rt-2", 1)


@pytest.mark.parametrize("outcome", [Unsent("no route"), reply(None, refresh_token="rt-2"), reply(lifetime=0)])
def test_what_was_no_success_counts_as_none(
    session: Session, clock: FakeClock, outcome: Failure | TokenResponse
) -> None:
    session.start(clock.now())
    effects = session.finish(session.epoch, outcome, clock.now(), clock.now(), 0.5)
    kept = effects.then
    assert effects.save is (kept if isinstance(outcome, TokenResponse) else None)
    assert (kept.refreshes, kept.last_refresh_at) == (0, session.last_refresh_at)


def theirs(session: Session, **changes: Any) -> StoredSession:
    """What another process left of the session."""
    assert session.credentials is not None
    login = replace(session.credentials, refresh_token=Secret("rt-theirs"))
    return session.snapshot(Active(replace(login, **changes), {}))


def test_the_refresh_token_of_the_very_session_is_its_successor(session: Session) -> None:
    assert session.successor(theirs(session)) == Secret("rt-theirs")
    assert session.successor(theirs(session, refresh_token=None)) is None


@pytest.mark.parametrize("changes", [{"issuer": "x"}, {"client_id": "x"}, {"subject": "x"}, {"subject": None}])
def test_another_sessions_is_not(session: Session, changes: dict[str, object]) -> None:
    assert session.successor(theirs(session, **changes)) is None


def test_what_is_over_or_gone_has_no_successor(session: Session) -> None:
    assert session.credentials is not None
    assert session.successor(None) is None
    assert session.successor(session.snapshot(LoggedOut())) is None
    assert session.successor(session.snapshot(LoginRequired("x", session.credentials))) is None
    found = theirs(session)
    session.log_out()
    assert session.successor(found) is None


def test_who_asks_is_remembered_with_the_time(session: Session, clock: FakeClock) -> None:
    clock.pass_(5)
    session.token(MAIN, None, clock.now())
    assert session.used_at == clock.now().wall
