import gc
from collections.abc import Callable, Mapping
from dataclasses import replace
from types import FunctionType, MappingProxyType, ModuleType
from typing import Any

import pytest

from auth_agent.host.clock import Moment
from auth_agent.oauth.entra import Tenant
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
from auth_agent.sessions.acceptance import accept
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
    TokenKey,
)
from auth_agent_client import errors
from tests.agent.world import ALICE, CLIENT, ISSUER, FakeClock, account, jwt, token_response

LIFETIME = 3600.0  # a lead of 720 s, a preferred TTL of 60 s


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def session(clock: FakeClock) -> Session:
    """A session of Alice with a token of an hour."""
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
    credentials = Credentials(ISSUER, CLIENT, account_.audience, ALICE, "Alice", secret, None)
    session.log_in(
        credentials,
        session.access_token(token_response(access_token, lifetime=lifetime), credentials, clock.now()),
        clock.now(),
    )
    return session


def refreshed(session: Session, clock: FakeClock, outcome: object, *, took: float = 0) -> bool:
    """Run a refresh from start to end; return whether its result was applied."""
    sent = clock.now()
    session.start(sent)
    clock.advance(took)
    assert isinstance(outcome, (Failure, type(token_response())))
    return session.settle(session.finish(session.epoch, outcome, sent, clock.now(), 0.5))


def current(session: Session) -> str:
    assert isinstance(session.state, Active)
    return session.state.tokens[MAIN].value.reveal()


def refresh_token(session: Session) -> str | None:
    credentials = session.credentials
    return None if credentials is None or credentials.refresh_token is None else credentials.refresh_token.reveal()


# ---- serving


def test_a_valid_token_is_served_at_once(session: Session, clock: FakeClock) -> None:
    token = session.token(MAIN, None, clock.now())
    assert token is not None
    assert token.value == Secret("at-1")
    assert session.decide(Demand(), clock.now()) == Serve(token)


def test_a_token_is_never_served_after_its_end(session: Session, clock: FakeClock) -> None:
    clock.advance(LIFETIME - 1)
    assert session.token(MAIN, 0, clock.now()) is None
    assert session.decide(Demand(min_ttl=0), clock.now()) == Start(rate_limited=False)


def test_a_token_is_not_served_after_the_wall_clock_was_set_back(session: Session, clock: FakeClock) -> None:
    clock.wall -= 7200
    assert session.token(MAIN, None, clock.now()) is None


def test_a_min_ttl_that_no_token_satisfies_is_an_error_without_a_request(session: Session, clock: FakeClock) -> None:
    error = session.decide(Demand(min_ttl=LIFETIME), clock.now())
    assert isinstance(error, errors.LifetimeTooShort)
    assert error.lifetime == LIFETIME - 1


def test_a_min_ttl_above_the_remaining_time_starts_a_rate_limited_refresh(session: Session, clock: FakeClock) -> None:
    clock.advance(1000)
    assert session.decide(Demand(min_ttl=3000), clock.now()) == Start(rate_limited=True)


def test_a_new_token_that_has_already_expired_is_a_transient_failure(session: Session, clock: FakeClock) -> None:
    clock.advance(LIFETIME)
    assert refreshed(session, clock, token_response("at-2", refresh_token="rt-2", lifetime=5), took=6)
    assert (current(session), refresh_token(session)) == ("at-1", "rt-2")
    error = session.decide(Demand(), clock.now(), waited=True)
    assert isinstance(error, errors.Unavailable)
    assert error.failure == "busy"
    assert error.retry_after is not None
    assert error.retry_after > 0


def test_a_min_ttl_that_the_new_token_does_not_satisfy_is_an_error(session: Session, clock: FakeClock) -> None:
    clock.advance(1000)
    assert refreshed(session, clock, token_response("at-2", lifetime=600))
    error = session.decide(Demand(min_ttl=3000), clock.now(), waited=True)
    assert isinstance(error, errors.LifetimeTooShort)
    assert error.lifetime == 599


def test_a_new_token_that_was_too_old_once_it_was_saved_starts_no_further_refresh(
    session: Session, clock: FakeClock
) -> None:
    clock.advance(1000)
    assert refreshed(session, clock, token_response("at-2", lifetime=60))
    clock.advance(30)
    error = session.decide(Demand(min_ttl=50), clock.now(), waited=True)
    assert isinstance(error, errors.LifetimeTooShort)
    clock.advance(60)
    error = session.decide(Demand(), clock.now(), waited=True)
    assert isinstance(error, errors.Unavailable)
    assert error.retry_after == 1
    assert isinstance(session.decide(Demand(), clock.now()), Start)


def test_a_client_without_min_ttl_waits_a_second_for_a_fresher_token(session: Session, clock: FakeClock) -> None:
    clock.advance(LIFETIME - 30)  # valid for 29 s, less than the preferred TTL of 60 s
    session.start(clock.now())
    clock.advance(0.4)
    decision = session.decide(Demand(), clock.now())
    assert isinstance(decision, Join)
    assert decision.patience == pytest.approx(0.6)
    clock.advance(0.6)
    assert isinstance(session.decide(Demand(), clock.now()), Serve)


def test_a_client_with_min_ttl_waits_until_its_own_timeout(session: Session, clock: FakeClock) -> None:
    clock.advance(LIFETIME - 30)
    session.start(clock.now())
    clock.advance(20)
    assert session.decide(Demand(min_ttl=60), clock.now()) == Join(None)


def test_after_a_failed_refresh_a_client_without_min_ttl_does_not_wait(session: Session, clock: FakeClock) -> None:
    clock.advance(LIFETIME - 30)
    refreshed(session, clock, Unsent("no route"))
    assert isinstance(session.decide(Demand(), clock.now()), Serve)
    session.start(clock.now())
    assert isinstance(session.decide(Demand(), clock.now()), Serve)


def test_a_demand_for_a_newer_token_is_satisfied_by_the_next_token(session: Session, clock: FakeClock) -> None:
    demand = session.demand_newer()
    assert session.decide(demand, clock.now()) == Start(rate_limited=True)
    refreshed(session, clock, token_response("at-2"))
    decision = session.decide(demand, clock.now(), waited=True)
    assert isinstance(decision, Serve)
    assert decision.token.value == Secret("at-2")


def test_the_refresh_of_an_expired_token_is_not_rate_limited(session: Session, clock: FakeClock) -> None:
    clock.advance(LIFETIME)
    assert session.decide(Demand(), clock.now()) == Start(rate_limited=False)


def test_without_a_refresh_token_the_access_token_is_served_to_its_end(clock: FakeClock) -> None:
    session = logged_in(clock, refresh_token=None)
    clock.advance(LIFETIME - 2)
    assert isinstance(session.decide(Demand(), clock.now()), Serve)
    clock.advance(2)
    error = session.decide(Demand(), clock.now())
    assert isinstance(error, errors.LoginRequired)
    assert error.reason == "no_refresh_token"


def test_without_a_login_the_answer_is_login_required(clock: FakeClock) -> None:
    error = Session(account(), 0.0).decide(Demand(), clock.now())
    assert isinstance(error, errors.LoginRequired)
    assert error.reason == "logged_out"


# ---- an outage


def outage(session: Session, clock: FakeClock, failures: int = 6, failure: Failure | None = None) -> None:
    """Let the token expire, and refreshes fail so often that the backoff is long."""
    clock.advance(LIFETIME)
    for _ in range(failures):
        refreshed(session, clock, failure or Unsent("no route"))


def test_between_two_attempts_clients_get_an_error_at_once(session: Session, clock: FakeClock) -> None:
    outage(session, clock)
    error = session.decide(Demand(), clock.now())
    assert isinstance(error, errors.Unavailable)
    assert error.reason == "no route"


def test_requests_bring_the_next_attempt_forward_to_two_seconds(session: Session, clock: FakeClock) -> None:
    outage(session, clock)
    error = session.decide(Demand(), clock.now())
    assert isinstance(error, errors.Unavailable)
    assert error.retry_after == pytest.approx(2)
    clock.advance(2)
    assert session.decide(Demand(), clock.now()) == Start(rate_limited=False)


def test_a_client_that_waited_for_a_failed_attempt_gets_an_error(session: Session, clock: FakeClock) -> None:
    outage(session, clock, failures=1)
    clock.advance(30)
    assert isinstance(session.decide(Demand(), clock.now(), waited=True), errors.Unavailable)


def test_requests_do_not_shorten_retry_after(session: Session, clock: FakeClock) -> None:
    outage(session, clock, failures=1, failure=Busy("HTTP 429", 300))
    error = session.decide(Demand(), clock.now())
    assert isinstance(error, errors.Unavailable)
    assert error.retry_after == pytest.approx(300)
    clock.advance(299)
    assert isinstance(session.decide(Demand(), clock.now()), errors.Unavailable)


def test_requests_bring_no_attempt_forward_while_a_token_is_valid(session: Session, clock: FakeClock) -> None:
    for _ in range(6):
        refreshed(session, clock, Unsent("no route"))
    before = session.refresh_at()
    assert isinstance(session.decide(session.demand_newer(), clock.now()), errors.Unavailable)
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
def test_without_a_valid_token_each_failure_has_its_error_code(
    session: Session, clock: FakeClock, failure: Failure, code: str
) -> None:
    outage(session, clock, failures=1, failure=failure)
    error = session.decide(Demand(), clock.now())
    assert isinstance(error, errors.AgentError)
    assert error.code == code
    assert refresh_token(session) == "rt-1"


# ---- 401 from an API


def test_a_rejected_current_token_is_refreshed_once(session: Session, clock: FakeClock) -> None:
    clock.advance(100)
    demand = session.reject(MAIN, Secret("at-1"), clock.now())
    assert isinstance(demand, Demand)
    assert session.decide(demand, clock.now()) == Start(rate_limited=True)
    session.start(clock.now())
    again = session.reject(MAIN, Secret("at-1"), clock.now())
    assert isinstance(again, Demand)
    assert session.decide(again, clock.now()) == Join(None)
    assert isinstance(session.decide(Demand(), clock.now()), Serve)  # other clients still get the token


def test_the_answer_to_a_rejected_older_token_is_the_current_one(session: Session, clock: FakeClock) -> None:
    refreshed(session, clock, token_response("at-2"))
    clock.advance(100)
    demand = session.reject(MAIN, Secret("at-1"), clock.now())
    assert isinstance(demand, Demand)
    decision = session.decide(demand, clock.now())
    assert isinstance(decision, Serve)
    assert decision.token.value == Secret("at-2")


def test_a_rejected_token_is_not_refreshed_in_its_first_minute(session: Session, clock: FakeClock) -> None:
    clock.advance(59)
    assert isinstance(session.reject(MAIN, Secret("at-1"), clock.now()), errors.Denied)
    clock.advance(1)
    assert isinstance(session.reject(MAIN, Secret("at-1"), clock.now()), Demand)


def test_a_rejected_short_lived_token_is_not_refreshed_in_its_first_tenth(clock: FakeClock) -> None:
    session = logged_in(clock, lifetime=5)
    clock.advance(0.4)
    assert isinstance(session.reject(MAIN, Secret("at-1"), clock.now()), errors.Denied)
    clock.advance(0.1)
    assert isinstance(session.reject(MAIN, Secret("at-1"), clock.now()), Demand)


def test_a_challenge_for_another_login_starts_no_refresh_and_ends_nothing(session: Session, clock: FakeClock) -> None:
    clock.advance(600)
    challenge = 'Bearer error="insufficient_user_authentication", acr_values="mfa"'
    refused = session.reject(MAIN, Secret("at-1"), clock.now(), challenge)
    assert isinstance(refused, errors.LoginRequired)
    assert refused.reason == "insufficient_user_authentication (mfa)"
    assert isinstance(session.state, Active)
    assert session.reject(MAIN, Secret("older"), clock.now(), challenge) == Demand(MAIN)
    assert isinstance(session.reject(MAIN, Secret("at-1"), clock.now(), 'Bearer error="invalid_token"'), Demand)


def test_a_rejected_unknown_token_changes_nothing(session: Session, clock: FakeClock) -> None:
    clock.advance(100)
    revision = session.revision
    demand = session.reject(MAIN, Secret("never-seen"), clock.now())
    assert isinstance(demand, Demand)
    assert isinstance(session.decide(demand, clock.now()), Serve)
    assert session.revision == revision


# ---- results of refreshes


def test_a_refresh_replaces_the_access_token_and_the_refresh_token(session: Session, clock: FakeClock) -> None:
    assert refreshed(session, clock, token_response("at-2", refresh_token="rt-2"))
    assert (current(session), refresh_token(session), session.refreshes) == ("at-2", "rt-2", 1)


def test_without_a_new_refresh_token_the_old_one_is_kept(session: Session, clock: FakeClock) -> None:
    assert refreshed(session, clock, token_response("at-2", refresh_token=None))
    assert refresh_token(session) == "rt-1"


def test_without_an_id_token_the_subject_is_kept(session: Session, clock: FakeClock) -> None:
    assert refreshed(session, clock, token_response("at-2", subject=None))
    assert session.credentials is not None
    assert session.credentials.subject == ALICE


def test_a_tokens_lifetime_begins_when_its_request_was_sent(session: Session, clock: FakeClock) -> None:
    sent = clock.now()
    refreshed(session, clock, token_response("at-2", lifetime=100), took=20)
    assert isinstance(session.state, Active)
    assert session.state.tokens[MAIN].served_until == sent.after(99)


def test_a_token_without_a_lifetime_is_assumed_to_be_valid_for_an_hour(session: Session, clock: FakeClock) -> None:
    refreshed(session, clock, token_response("at-2", lifetime=None))
    assert isinstance(session.state, Active)
    token = session.state.tokens[MAIN]
    assert (token.lifetime, token.assumed) == (3600, True)


def test_a_refresh_that_finishes_after_logout_is_discarded(session: Session, clock: FakeClock) -> None:
    session.start(clock.now())
    epoch = session.epoch
    session.log_out()
    revision = session.revision
    effects = session.finish(epoch, token_response("at-2"), clock.now(), clock.now(), 0.5)
    assert effects.save is None
    assert not session.settle(effects)
    assert session.credentials is None
    assert session.revision == revision


def test_a_refresh_that_finishes_after_another_login_is_discarded(session: Session, clock: FakeClock) -> None:
    session.start(clock.now())
    epoch = session.epoch
    credentials = Credentials(ISSUER, CLIENT, None, ALICE, None, Secret("rt-9"), None)
    session.log_in(credentials, session.access_token(token_response("at-9"), credentials, clock.now()), clock.now())
    assert not session.settle(session.finish(epoch, token_response("at-2"), clock.now(), clock.now(), 0.5))
    assert (current(session), refresh_token(session)) == ("at-9", "rt-9")


def test_a_refresh_that_fails_after_logout_is_discarded(session: Session, clock: FakeClock) -> None:
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
def test_of_a_response_with_a_wrong_id_token_only_the_refresh_token_is_kept(
    session: Session, clock: FakeClock, claims: dict[str, object], failure: type[Failure]
) -> None:
    assert refreshed(session, clock, token_response("at-2", refresh_token="rt-2", id_token=jwt(**claims)))
    assert refresh_token(session) == "rt-2"
    if failure is AnotherUser:
        assert isinstance(session.state, LoginRequired)
        assert isinstance(session.decide(Demand(), clock.now()), errors.LoginRequired)
    else:
        assert current(session) == "at-1"
        assert isinstance(session.state, Active)
        assert isinstance(session.state.refresh, Retrying)
        assert isinstance(session.state.refresh.failure, failure)


def test_a_response_with_an_invalid_id_token_is_not_used(session: Session, clock: FakeClock) -> None:
    refreshed(session, clock, token_response("at-2", id_token=Secret("garbage")))
    assert current(session) == "at-1"


def test_a_trailing_slash_of_the_issuer_is_ignored(session: Session, clock: FakeClock) -> None:
    refreshed(
        session, clock, token_response("at-2", id_token=jwt(iss=ISSUER.rstrip("/"), aud=[CLIENT, "x"], sub=ALICE))
    )
    assert current(session) == "at-2"


def test_of_a_response_without_an_access_token_the_refresh_token_is_kept(session: Session, clock: FakeClock) -> None:
    refreshed(session, clock, token_response(None, refresh_token="rt-2"))
    assert (current(session), refresh_token(session)) == ("at-1", "rt-2")


def test_a_jwt_for_another_audience_is_never_served(clock: FakeClock) -> None:
    session = logged_in(clock, audience="https://api.acme.example")
    wrong = jwt(aud=["https://default.acme.example", f"{ISSUER}userinfo"])
    refreshed(session, clock, token_response(wrong.reveal()))
    assert current(session) == "at-1"
    right = jwt(aud=["https://api.acme.example", f"{ISSUER}userinfo"])
    refreshed(session, clock, token_response(right.reveal()))
    assert current(session) == right.reveal()


@pytest.mark.parametrize(
    ("token", "verified"),
    [
        (jwt(aud=["https://api.acme.example", f"{ISSUER}userinfo"]).reveal(), True),
        (jwt(sub=ALICE).reveal(), False),  # it names no audience
        ("opaque", False),
    ],
)
def test_a_token_says_whether_its_audience_was_verified(clock: FakeClock, token: str, verified: bool) -> None:
    session = logged_in(clock, audience="https://api.acme.example")
    refreshed(session, clock, token_response(token))
    assert current(session) == token
    current_token = session.current()
    assert current_token is not None
    assert (current_token.audience, current_token.audience_verified) == ("https://api.acme.example", verified)


def test_a_token_for_no_audience_has_no_verified_one(session: Session, clock: FakeClock) -> None:
    refreshed(session, clock, token_response(jwt(aud="https://api.acme.example").reveal()))
    token = session.current()
    assert token is not None
    assert (token.audience, token.audience_verified) == (None, False)


def test_the_audience_of_an_opaque_token_is_not_checked(clock: FakeClock) -> None:
    session = logged_in(clock, audience="https://api.acme.example")
    refreshed(session, clock, token_response("opaque"))
    assert current(session) == "opaque"


# ---- the end of a session; changed accounts


def test_invalid_grant_ends_the_session_with_the_providers_reason(session: Session, clock: FakeClock) -> None:
    refreshed(session, clock, InvalidGrant("invalid_grant: revoked"))
    error = session.decide(Demand(), clock.now())
    assert isinstance(error, errors.LoginRequired)
    assert error.reason == "invalid_grant: revoked"
    assert session.credentials is not None
    assert (session.credentials.subject, session.credentials.refresh_token) == (ALICE, None)
    assert not session.can_retry


def test_a_person_may_have_a_remaining_refresh_token_tried_again(session: Session, clock: FakeClock) -> None:
    refreshed(session, clock, InteractionRequired("mfa_required"))
    assert isinstance(session.decide(Demand(), clock.now()), errors.LoginRequired)
    assert session.can_retry
    session.retry()
    assert refreshed(session, clock, token_response("at-2"))
    assert current(session) == "at-2"


def test_another_users_tokens_are_neither_served_nor_refreshed(session: Session, clock: FakeClock) -> None:
    refreshed(session, clock, token_response("bobs", refresh_token="rt-bob", subject="auth0|bob"))
    assert not session.can_retry
    session.retry()
    session.configure(account(scope="openid"))
    assert isinstance(session.decide(Demand(), clock.now()), errors.LoginRequired)
    assert session.refresh_at() is None


@pytest.mark.parametrize("change", [{"issuer": "https://other.example/"}, {"client_id": "other"}])
def test_a_session_of_another_issuer_or_client_is_blocked_until_changed_back(
    session: Session, clock: FakeClock, change: dict[str, object]
) -> None:
    session.configure(account("work", **change))
    assert session.token(MAIN, None, clock.now()) is None
    assert session.refresh_at() is None
    error = session.decide(Demand(), clock.now())
    assert isinstance(error, errors.LoginRequired)
    assert error.reason == "account_changed"
    session.configure(account())
    assert session.token(MAIN, None, clock.now()) is not None


def with_claims(session: Session, clock: FakeClock, *, met: dict[str, str | int | bool], **claims: object) -> None:
    """Log in; the ID token has those claims, and the login met what the account required."""
    id_token = None if not claims else jwt(iss=ISSUER, aud=CLIENT, sub=ALICE, **claims)
    credentials = Credentials(ISSUER, CLIENT, None, ALICE, "Alice", Secret("rt-1"), id_token, met_claims=met)
    session.log_in(credentials, session.access_token(token_response(), credentials, clock.now()), clock.now())


RED = account(require_claims={"team": "red"})


@pytest.mark.parametrize("claims", [{}, {"team": "blue"}, {"team": None}])
def test_a_claim_that_is_required_after_the_login_needs_another_one(
    session: Session, clock: FakeClock, claims: dict[str, object]
) -> None:
    with_claims(session, clock, met={}, **claims)
    session.configure(RED)
    assert session.token(MAIN, None, clock.now()) is None
    assert session.refresh_at() is None
    error = session.decide(Demand(), clock.now())
    assert isinstance(error, errors.LoginRequired)
    assert (error.reason, error.failure) == ("claims_missing", "account_changed")
    assert "require_claims" in error.message
    assert [remedy.line for remedy in error.remedy] == ["auth-agent login work"]
    session.configure(account())
    assert session.token(MAIN, None, clock.now()) is not None


def test_a_claim_that_the_id_token_has_needs_no_other_login(session: Session, clock: FakeClock) -> None:
    with_claims(session, clock, met={}, team="red")
    session.configure(RED)
    assert session.token(MAIN, None, clock.now()) is not None
    # From then on it is met, also if a refresh leaves the claim out (OpenID Connect Core 1.0, section 12.2).
    assert refreshed(session, clock, token_response("at-2", refresh_token="rt-2"))
    assert current(session) == "at-2"
    assert session.token(MAIN, None, clock.now()) is not None
    assert session.credentials is not None
    assert session.credentials.met_claims == {"team": "red"}


def test_a_claim_that_the_login_had_is_met_without_its_id_token(session: Session, clock: FakeClock) -> None:
    with_claims(session, clock, met={"team": "red"})
    session.configure(RED)
    assert session.token(MAIN, None, clock.now()) is not None
    assert refreshed(session, clock, token_response("at-2", refresh_token="rt-2"))
    assert session.token(MAIN, None, clock.now()) is not None
    session.configure(account(require_claims={"team": "blue"}))
    assert session.token(MAIN, None, clock.now()) is None


def test_what_is_met_is_forgotten_once_it_is_not_required(session: Session, clock: FakeClock) -> None:
    with_claims(session, clock, met={"team": "red"})
    assert refreshed(session, clock, token_response("at-2", refresh_token="rt-2"))  # which may have said otherwise
    session.configure(RED)
    assert session.token(MAIN, None, clock.now()) is None


def test_a_requirement_that_comes_during_a_refresh_ends_nothing_for_good(session: Session, clock: FakeClock) -> None:
    with_claims(session, clock, met={})
    session.start(clock.now())
    session.configure(RED)
    blue = token_response("at-2", refresh_token="rt-2", id_token=jwt(iss=ISSUER, aud=CLIENT, sub=ALICE, team="blue"))
    assert session.settle(session.finish(session.epoch, blue, clock.now(), clock.now(), 0.5))
    assert session.token(MAIN, None, clock.now()) is None
    session.configure(account())
    assert (current(session), refresh_token(session)) == ("at-2", "rt-2")


def test_a_session_from_before_is_bound_to_the_organization_of_its_id_token(session: Session, clock: FakeClock) -> None:
    with_claims(session, clock, met={}, org_id="org_abc")
    session.configure(account(authorize={"organization": "org_abc"}))
    assert refreshed(session, clock, token_response("at-2", refresh_token="rt-2"))
    assert session.credentials is not None
    assert session.credentials.organization == "org_abc"
    other = token_response(id_token=jwt(iss=ISSUER, aud=CLIENT, sub=ALICE, org_id="org_xyz"))
    assert refreshed(session, clock, other)
    assert session.failure == "wrong_user"


def test_a_session_is_not_bound_to_an_organization_that_its_id_token_does_not_name(
    session: Session, clock: FakeClock
) -> None:
    with_claims(session, clock, met={}, org_id="org_abc")
    session.configure(account(authorize={"organization": "org_xyz"}))  # since the login
    assert refreshed(session, clock, token_response(id_token=jwt(iss=ISSUER, aud=CLIENT, sub=ALICE, org_id="org_abc")))
    assert session.credentials is not None
    assert session.credentials.organization is None
    assert session.failure is None


def test_a_refresh_that_finishes_after_an_account_change_is_kept_not_served(session: Session, clock: FakeClock) -> None:
    session.start(clock.now())
    session.configure(account(client_id="other"))
    assert session.settle(
        session.finish(session.epoch, token_response("at-2", refresh_token="rt-2"), clock.now(), clock.now(), 0.5)
    )
    assert session.token(MAIN, None, clock.now()) is None
    session.configure(account())
    assert (current(session), refresh_token(session)) == ("at-2", "rt-2")


def test_the_token_of_one_audience_is_not_served_for_another(clock: FakeClock) -> None:
    session = logged_in(clock, audience="https://old.example", access_token=jwt(aud="https://old.example").reveal())
    session.configure(account(audience="https://new.example"))
    with pytest.raises(errors.Denied) as raised:
        session.token_key(None, None)
    assert raised.value.failure == "account_changed"
    assert [remedy.line for remedy in raised.value.remedy] == ["auth-agent login work"]
    with pytest.raises(errors.Denied):
        session.token_key("https://new.example", None)
    assert session.token_key("https://old.example", None) == MAIN
    session.start(clock.now())
    assert session.settle(session.finish(session.epoch, token_response("at-2"), clock.now(), clock.now(), 0.5))
    assert isinstance(session.state, Active)
    assert session.state.tokens[MAIN].audience == "https://old.example"


# ---- times


def test_a_token_that_a_clock_change_made_useless_is_refreshed_at_once(session: Session, clock: FakeClock) -> None:
    clock.wall -= 7200
    due = session.refresh_due(clock.now())
    assert due is not None
    assert clock.now().until(due) <= 0


def test_a_refresh_is_due_the_lead_before_the_end(session: Session, clock: FakeClock) -> None:
    due = session.refresh_at()
    assert due is not None
    assert clock.now().until(due) == pytest.approx(LIFETIME - 720)


def test_a_larger_min_ttl_makes_this_refresh_and_the_next_one_earlier(session: Session, clock: FakeClock) -> None:
    assert session.record_demand(MAIN, 1000, clock.now())
    assert not session.record_demand(MAIN, 1000, clock.now())
    assert _lead(session, clock) == pytest.approx(1030)
    refreshed(session, clock, token_response("at-2"))
    assert _lead(session, clock) >= 1030
    refreshed(session, clock, token_response("at-3"))
    assert _lead(session, clock) < 1000


def test_a_min_ttl_raises_the_lead_to_40_percent_at_most(session: Session, clock: FakeClock) -> None:
    session.record_demand(MAIN, 3500, clock.now())
    assert _lead(session, clock) == pytest.approx(0.4 * LIFETIME)


def _lead(session: Session, clock: FakeClock) -> float:
    due = session.refresh_at()
    assert due is not None
    return LIFETIME - clock.now().until(due)


def test_a_token_key_omits_what_equals_the_accounts_settings() -> None:
    session = Session(account(audience="https://api.acme.example", scope="openid email"), 0.0)
    assert session.token_key(None, None) == MAIN
    assert session.token_key("https://api.acme.example", "email openid") == MAIN
    assert session.token_key(None, " ") == MAIN
    assert session.token_key("https://other.example", None) == TokenKey("https://other.example", "")
    assert session.token_key("https://other.example", "b a  b") == TokenKey("https://other.example", "a b")
    read = TokenKey(None, "read")
    assert session.token_key(None, "read") == session.token_key("https://api.acme.example", "read") == read


def test_the_epoch_changes_only_at_login_and_logout(session: Session, clock: FakeClock) -> None:
    epoch, revision = session.epoch, session.revision
    refreshed(session, clock, token_response("at-2"))
    refreshed(session, clock, Unsent("x"))
    assert session.epoch == epoch
    assert session.revision >= revision + 4
    session.log_out()
    assert session.epoch == epoch + 1


def test_the_repr_of_a_session_contains_no_secret(session: Session, clock: FakeClock) -> None:
    credentials = session.start(clock.now())
    response = token_response("canary-at", refresh_token="canary-rt")
    output = f"{credentials!r} {session.state!r} {session.credentials!r} {response!r}"
    assert "canary" not in output
    assert "rt-1" not in output


def test_a_moment_is_past_if_either_clock_says_so() -> None:
    deadline = Moment(100, 100)
    assert Moment(50, 50).until(deadline) == 50
    assert Moment(150, 50).until(deadline) < 0
    assert Moment(50, 150).until(deadline) < 0


# ---- snapshots and restoring


def restored(stored: StoredSession) -> Session:
    """Return the session as the next agent restores it."""
    session = Session(account(), chance=0.0)
    session.state = Locked("not read yet")
    session.restore(stored, FakeClock().now())
    return session


def test_a_snapshot_is_restored_unchanged(session: Session, clock: FakeClock) -> None:
    refreshed(session, clock, token_response("at-2", refresh_token="rt-2"))
    other = restored(session.snapshot())
    assert (current(other), refresh_token(other)) == ("at-2", "rt-2")
    assert (other.epoch, other.refreshes, other.last_refresh_at) == (1, 1, session.last_refresh_at)
    assert other.snapshot() == session.snapshot()


def test_only_a_locked_session_is_restored_and_its_epoch_never_decreases(session: Session, clock: FakeClock) -> None:
    with pytest.raises(IllegalMoveError):
        session.restore(session.snapshot(), clock.now())
    session.state, session.epoch = Locked("x"), 7
    session.restore(StoredSession(LoggedOut(), 3, 0, None), clock.now())
    assert session.epoch == 7


def test_a_locked_session_serves_and_refreshes_nothing(clock: FakeClock) -> None:
    session = Session(account(), chance=0.0)
    session.state = Locked("the keyring is locked; unlock it")
    assert session.token(MAIN, None, clock.now()) is None
    error = session.decide(Demand(), clock.now())
    assert isinstance(error, errors.Locked)
    assert (error.reason, error.failure) == ("the keyring is locked; unlock it", "locked")
    assert (session.is_locked, session.refreshable, session.can_retry) == (True, False, False)
    assert session.refresh_due(clock.now()) is None
    assert session.credentials is None


def held_secrets(session: Session) -> list[Secret]:
    """Return the secrets that can be reached from a session, wherever it keeps them."""
    seen, found, left = set[int](), list[Secret](), list[object]([vars(session)])
    while left:
        value = left.pop()
        if id(value) in seen or isinstance(value, type | FunctionType | ModuleType):
            continue
        seen.add(id(value))
        if isinstance(value, Secret):
            found.append(value)
        left += gc.get_referents(value)
    return found


def put_away(session: Session) -> None:
    session.put_away("locked")


@pytest.mark.parametrize("end", [Session.log_out, put_away], ids=["logout", "lock"])
def test_nothing_of_a_session_that_is_over_or_put_away_stays_in_memory(
    session: Session, clock: FakeClock, end: Callable[[Session], object]
) -> None:
    with_claims(session, clock, met={}, team="red")
    session.configure(RED)
    assert session.token(MAIN, None, clock.now()) is not None
    assert session.user_digest
    assert held_secrets(session)
    end(session)
    assert held_secrets(session) == []


def test_lock_returns_whether_the_reason_has_changed(session: Session) -> None:
    assert not session.lock("x")  # it is not locked
    session.state = Locked("x")
    revision = session.revision
    assert not session.lock("x")
    assert session.lock("y")
    assert (session.reason, session.revision) == ("y", revision + 1)


def test_set_saved_returns_whether_it_has_changed(session: Session) -> None:
    revision = session.revision
    assert [session.set_saved(saved=saved) for saved in (True, False, False, True)] == [False, True, False, True]
    assert (session.saved, session.revision) == (True, revision + 2)


def test_until_a_refresh_is_settled_only_the_refresh_token_changes(session: Session, clock: FakeClock) -> None:
    session.start(clock.now())
    response = token_response("at-2", refresh_token="rt-2")
    effects = session.finish(session.epoch, response, clock.now(), clock.now(), 0.5)
    assert effects.save == effects.result
    assert (current(session), refresh_token(session), session.refreshes) == ("at-1", "rt-2", 0)
    assert session.settle(effects)
    assert (current(session), refresh_token(session), session.refreshes) == ("at-2", "rt-2", 1)


@pytest.mark.parametrize(
    "outcome", [Unsent("no route"), token_response(None, refresh_token="rt-2"), token_response(lifetime=0)]
)
def test_an_unsuccessful_refresh_is_not_counted(
    session: Session, clock: FakeClock, outcome: Failure | TokenResponse
) -> None:
    session.start(clock.now())
    effects = session.finish(session.epoch, outcome, clock.now(), clock.now(), 0.5)
    result = effects.result
    assert effects.save is (result if isinstance(outcome, TokenResponse) else None)
    assert (result.refreshes, result.last_refresh_at) == (0, session.last_refresh_at)


def theirs(session: Session, **changes: Any) -> StoredSession:
    """Return the session as another process stored it."""
    assert session.credentials is not None
    credentials = replace(session.credentials, refresh_token=Secret("rt-theirs"))
    return session.snapshot(Active(replace(credentials, **changes), {}))


def test_the_same_session_in_the_store_has_the_successor_token(session: Session) -> None:
    assert session.successor(theirs(session)) == Secret("rt-theirs")
    assert session.successor(theirs(session, refresh_token=None)) is None


@pytest.mark.parametrize("changes", [{"issuer": "x"}, {"client_id": "x"}, {"subject": "x"}, {"subject": None}])
def test_another_session_in_the_store_has_no_successor_token(session: Session, changes: dict[str, object]) -> None:
    assert session.successor(theirs(session, **changes)) is None


def test_an_ended_or_deleted_session_has_no_successor_token(session: Session) -> None:
    assert session.credentials is not None
    assert session.successor(None) is None
    assert session.successor(session.snapshot(LoggedOut())) is None
    assert session.successor(session.snapshot(LoginRequired("x", session.credentials))) is None
    stored = theirs(session)
    session.log_out()
    assert session.successor(stored) is None


def test_the_time_of_the_last_request_is_recorded(session: Session, clock: FakeClock) -> None:
    clock.advance(5)
    session.token(MAIN, None, clock.now())
    assert session.used_at == clock.now().wall


# ---- a tenant of Entra's

COMMON = "https://login.microsoftonline.com/common/v2.0"
TID, OTHER_TID = "3338040d-6c67-4c5b-b112-36a304b66dad", "9188040d-6c67-4c5b-b112-36a304b66dad"


def issued_by(tid: str, changes: Mapping[str, object] = MappingProxyType({})) -> Secret:
    """Return an ID token of that tenant."""
    iss = f"https://login.microsoftonline.com/{tid}/v2.0"
    return jwt(**{"iss": iss, "tid": tid, "aud": CLIENT, "sub": ALICE, **changes})


@pytest.fixture
def of_tenant(clock: FakeClock) -> Session:
    """A session at the address of all tenants, whose ID token was of one."""
    session = Session(replace(account(), issuer=COMMON), chance=0.0)
    response = token_response("at-1", refresh_token="rt-1", id_token=issued_by(TID))
    credentials = accept(Credentials(COMMON, CLIENT, None, None, None, None, None), response, clock.now())
    assert isinstance(credentials, Credentials)
    session.log_in(credentials, session.access_token(response, credentials, clock.now()), clock.now())
    return session


def test_a_session_keeps_the_tenant_of_its_first_id_token(of_tenant: Session, clock: FakeClock) -> None:
    refreshed(of_tenant, clock, token_response("at-2", id_token=issued_by(TID)))
    assert current(of_tenant) == "at-2"
    credentials = of_tenant.credentials
    assert credentials is not None
    assert (credentials.issuer, credentials.tenant) == (
        COMMON,
        Tenant(f"https://login.microsoftonline.com/{TID}/v2.0", TID),
    )


@pytest.mark.parametrize(
    "id_token",
    [
        issued_by("common"),
        issued_by(OTHER_TID),
        issued_by(TID, {"tid": OTHER_TID}),
        issued_by(TID, {"tid": None}),
        issued_by(TID, {"iss": COMMON}),
        issued_by(TID, {"iss": f"https://login.microsoftonline.us/{TID}/v2.0"}),
    ],
)
def test_an_id_token_of_another_tenant_is_not_used(of_tenant: Session, clock: FakeClock, id_token: Secret) -> None:
    refreshed(of_tenant, clock, token_response("at-2", refresh_token="rt-2", id_token=id_token))
    assert (current(of_tenant), refresh_token(of_tenant)) == ("at-1", "rt-2")


def test_the_address_of_all_tenants_is_no_tenants_issuer(clock: FakeClock) -> None:
    before = Credentials(COMMON, CLIENT, None, None, None, None, None)
    assert isinstance(accept(before, token_response("at", id_token=issued_by("common")), clock.now()), Unusable)


def test_the_same_subject_in_another_tenant_is_another_user(of_tenant: Session) -> None:
    credentials = of_tenant.credentials
    assert credentials is not None
    other = replace(credentials, tenant=Tenant("https://login.microsoftonline.com/x/v2.0", "x"))
    assert other.user != credentials.user
    assert isinstance(of_tenant.state, Active)
    assert of_tenant.successor(of_tenant.snapshot(replace(of_tenant.state, credentials=other))) is None
    assert of_tenant.successor(of_tenant.snapshot()) is not None
