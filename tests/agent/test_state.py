from dataclasses import replace
from types import MappingProxyType

import pytest
from hypothesis import given, strategies as st

from auth_agent.grant_type import CLIENT_CREDENTIALS
from auth_agent.host.clock import Moment
from auth_agent.oauth.outcome import (
    AnotherUser,
    Busy,
    DoubtfulRefusal,
    Failure,
    InteractionRequired,
    InvalidGrant,
    Lost,
    Misconfigured,
    Refusal,
    RefusedForNow,
    Unsent,
    Unusable,
)
from auth_agent.secret import Secret
from auth_agent.sessions.schedule import RETRY_CAP
from auth_agent.sessions.state import (
    MAIN,
    AccessToken,
    Active,
    Credentials,
    Idle,
    IllegalMoveError,
    Locked,
    LoggedOut,
    LoginRequired,
    Retrying,
    Running,
    TokenKey,
)

NOW = Moment(1_800_000_000, 5_000)
CREDENTIALS = Credentials("https://acme.example/", "native-app", None, "alice", "Alice", Secret("rt"), None)
UNREFRESHABLE = Credentials("https://acme.example/", "native-app", None, "alice", "Alice", None, None)


def token(serial: int = 1, sent: Moment = NOW, lifetime: float = 3600) -> AccessToken:
    return AccessToken(Secret(f"at-{serial}"), "Bearer", "openid", None, sent, lifetime, assumed=False, serial=serial)


def active(credentials: Credentials = CREDENTIALS) -> Active:
    return LoggedOut().log_in(credentials, token())


def retrying(failure: Failure, chance: float = 0.5) -> Active:
    failed = active().start(NOW).fail(failure, NOW, chance)
    assert isinstance(failed, Active)
    return failed


def retrying_of(state: Active | LoginRequired) -> Retrying:
    assert isinstance(state, Active)
    assert isinstance(state.refresh, Retrying)
    return state.refresh


def test_a_session_is_idle_after_the_login() -> None:
    session = active()
    assert session.tokens[MAIN].serial == 1
    assert session.refresh == Idle()


def test_a_second_refresh_can_not_start_while_one_is_in_flight() -> None:
    with pytest.raises(IllegalMoveError):
        active().start(NOW).start(NOW)


def test_a_session_without_a_refresh_token_is_never_refreshed() -> None:
    session = active(UNREFRESHABLE)
    assert session.next_refresh(0.5, 0) is None
    with pytest.raises(IllegalMoveError):
        session.start(NOW)


def test_while_a_refresh_is_in_flight_no_other_is_due() -> None:
    session = active()
    assert session.next_refresh(0.5, 0) is not None
    assert session.start(NOW).next_refresh(0.5, 0) is None


@pytest.mark.parametrize("failure", [Unsent("x"), InvalidGrant("x")])
def test_only_a_refresh_in_flight_can_fail(failure: Failure) -> None:
    with pytest.raises(IllegalMoveError):
        active().fail(failure, NOW, 0.5)


def test_only_a_refresh_in_flight_can_succeed() -> None:
    with pytest.raises(IllegalMoveError):
        active().complete_refresh(CREDENTIALS, token(2))
    with pytest.raises(IllegalMoveError):
        active().replace_refresh_token(Secret("rt-2"))


def test_a_successful_refresh_replaces_the_token() -> None:
    session = active().start(NOW).complete_refresh(CREDENTIALS, token(2))
    assert session.tokens[MAIN].serial == 2
    assert session.refresh == Idle()


def test_a_new_refresh_token_is_kept_if_the_response_is_unusable() -> None:
    session = active().start(NOW).replace_refresh_token(Secret("rt-2")).fail(Unusable("x"), NOW, 0.5)
    assert isinstance(session, Active)
    assert session.credentials.refresh_token == Secret("rt-2")
    assert session.tokens[MAIN].serial == 1


@pytest.mark.parametrize(
    "failure",
    [
        Unsent("x"),
        Lost("x"),
        Busy("x"),
        Busy("x", 600),
        DoubtfulRefusal("x"),
        Misconfigured("x"),
        Refusal("x"),
        Unusable("x"),
    ],
)
def test_a_transient_or_permanent_failure_ends_no_session(failure: Failure) -> None:
    session = active()
    for _ in range(2):
        started = session.start(NOW)
        failed = started.fail(failure, NOW, 0.99)
        assert isinstance(failed, Active)
        session = failed
    assert session.credentials == CREDENTIALS
    assert session.tokens[MAIN].serial == 1


def test_invalid_grant_erases_the_refresh_token() -> None:
    session = active().start(NOW).fail(InvalidGrant("invalid_grant: gone"), NOW, 0.5)
    assert isinstance(session, LoginRequired)
    assert session == LoginRequired("invalid_grant: gone", UNREFRESHABLE)
    with pytest.raises(IllegalMoveError):
        session.retry()


def test_a_session_with_another_users_tokens_is_quarantined() -> None:
    session = active().start(NOW).replace_refresh_token(Secret("bobs")).fail(AnotherUser("another_user"), NOW, 0.5)
    assert isinstance(session, LoginRequired)
    assert session.credentials.refresh_token == Secret("bobs")
    with pytest.raises(IllegalMoveError):
        session.retry()


def test_interaction_required_keeps_the_refresh_token() -> None:
    session = active().start(NOW).fail(InteractionRequired("mfa_required"), NOW, 0.5)
    assert isinstance(session, LoginRequired)
    assert session.credentials == CREDENTIALS
    retried = session.retry()
    assert retried.tokens == {}
    assert NOW.until(retried.next_refresh(0.5, 0) or NOW.after(1)) < 0


def refused(session: Active, at: Moment, failure: Failure | None = None) -> Active:
    """Return the session after a refresh that was refused at that moment."""
    failed = session.start(at).fail(failure or DoubtfulRefusal("HTTP 403"), at, 0.5)
    assert isinstance(failed, Active)
    return failed


def test_three_doubtful_refusals_over_a_minute_are_believed_and_end_nothing() -> None:
    session, believed = active(), list[bool]()
    for seconds in (0, 30, 59, 60):
        session = refused(session, NOW.after(seconds))
        believed.append(session.is_refused)
    assert believed == [False, False, False, True]
    assert (session.credentials, list(session.tokens)) == (CREDENTIALS, [MAIN])
    assert session.start(NOW.after(61)).is_refused  # until a refresh succeeds


@pytest.mark.parametrize("chance", [0, 0.5, 1 - 1e-9])
def test_a_believed_refusal_is_tried_again_every_fifteen_minutes(chance: float) -> None:
    now = NOW
    session = refused(active(), now, RefusedForNow("AADSTS53003"))
    for _ in range(3):
        failed = session.start(now).fail(DoubtfulRefusal("HTTP 403"), now, chance)
        assert isinstance(failed, Active)
        assert 13.4 * 60 <= now.until(retrying_of(failed).retry_at) <= 16.6 * 60
        session, now = failed, retrying_of(failed).retry_at


def test_a_sub_code_that_says_not_now_is_believed_at_once() -> None:
    assert refused(active(), NOW, RefusedForNow("AADSTS53003")).is_refused


def test_two_doubtful_refusals_are_not_believed_however_long() -> None:
    assert not refused(refused(active(), NOW), NOW.after(3600)).is_refused


def test_another_failure_resets_the_count_of_doubtful_refusals() -> None:
    session = active()
    for seconds, failure in (
        (0, DoubtfulRefusal("x")),
        (30, DoubtfulRefusal("x")),
        (60, Busy("HTTP 500")),
        (90, DoubtfulRefusal("x")),
        (120, DoubtfulRefusal("x")),
    ):
        session = refused(session, NOW.after(seconds), failure)
    assert (session.is_refused, retrying_of(session).doubtful) == (False, 2)


def test_an_outage_changes_nothing_about_a_believed_refusal() -> None:
    session = refused(refused(active(), NOW, RefusedForNow("AADSTS53003")), NOW.after(900), Unsent("no route"))
    assert (session.is_refused, retrying_of(session).failure.reason) == (True, "AADSTS53003")


def test_a_success_ends_a_believed_refusal() -> None:
    session = refused(active(), NOW, RefusedForNow("AADSTS53003")).start(NOW)
    assert not session.complete_refresh(CREDENTIALS, token()).is_refused


def test_a_believed_refusal_is_tried_at_once_when_failures_are_forgotten() -> None:
    session = refused(active(), NOW, RefusedForNow("AADSTS53003")).forget_failures()
    assert session.is_refused
    assert NOW.until(retrying_of(session).retry_at) < 0


def test_a_jump_of_the_wall_clock_makes_no_refusal_believed() -> None:
    session = active()
    for jump in (0, 4000, 8000, 12000):
        session = refused(session, Moment(NOW.wall + jump, NOW.boot + 10))
    assert not session.is_refused


@given(failures=st.integers(1, 60), chance=st.floats(0, 1, exclude_max=True))
def test_the_backoff_is_capped(failures: int, chance: float) -> None:
    session = active()
    for _ in range(failures):
        failed = session.start(NOW).fail(Unsent("x"), NOW, chance)
        assert isinstance(failed, Active)
        session = failed
    assert 0 < NOW.until(retrying_of(session).retry_at) <= RETRY_CAP
    assert retrying_of(session).failures == failures


def test_the_providers_retry_after_is_obeyed() -> None:
    assert NOW.until(retrying_of(retrying(Busy("HTTP 429", 300))).retry_at) == pytest.approx(300)


def test_no_attempt_is_brought_forward_to_before_retry_after() -> None:
    session = retrying(Busy("HTTP 429", 300)).bring_forward(NOW.after(2))
    assert NOW.until(retrying_of(session).retry_at) == pytest.approx(300)


def test_the_next_attempt_can_be_brought_forward() -> None:
    session = retrying(Unsent("x"), chance=0.999)
    for _ in range(5):
        failed = session.start(NOW).fail(Unsent("x"), NOW, 0.999)
        assert isinstance(failed, Active)
        session = failed
    assert NOW.until(retrying_of(session).retry_at) > 20
    assert NOW.until(retrying_of(session.bring_forward(NOW.after(2))).retry_at) == pytest.approx(2)


def test_bringing_an_attempt_forward_never_postpones_it() -> None:
    session = retrying(Unsent("x"), chance=0.1)
    assert session.bring_forward(NOW.after(25)) is session


def test_without_a_failure_there_is_no_attempt_to_bring_forward() -> None:
    with pytest.raises(IllegalMoveError):
        active().bring_forward(NOW)


def test_forgetting_failures_ends_the_backoff() -> None:
    session = retrying(Busy("HTTP 429", 300)).forget_failures()
    assert session.refresh == Idle()
    running = active().start(NOW)
    assert running.forget_failures() is running


def test_a_change_of_the_network_does_not_shorten_retry_after() -> None:
    session = retrying(Busy("HTTP 429", 300), chance=0.5)
    for _ in range(3):
        session = session.forget_failures(NOW.after(60))
    assert isinstance(session.refresh, Retrying)
    assert session.refresh.retry_at == session.refresh.not_before == NOW.after(300)
    assert session.forget_failures(NOW.after(60)) is session
    assert session.forget_failures(NOW.after(301)).refresh == Idle()
    other = TokenKey("https://api.example", "")
    session = replace(active(), retries=MappingProxyType({other: session.refresh}))
    assert session.forget_failures(NOW.after(60)).retries == session.retries
    assert session.forget_failures(NOW.after(301)).retries == {}


def test_a_running_refresh_remembers_the_failure_before_it() -> None:
    session = retrying(Unsent("x")).start(NOW.after(5))
    assert isinstance(session.refresh, Running)
    assert session.refresh.previous is not None
    assert session.refresh.previous.failures == 1


def test_every_state_but_locked_allows_login_and_logout() -> None:
    for state in (
        LoggedOut(),
        active(),
        LoginRequired("x", UNREFRESHABLE),
        LoginRequired("x", CREDENTIALS),
        active().start(NOW),
    ):
        assert state.log_out() == LoggedOut()
        assert state.log_in(CREDENTIALS, token(9)).tokens[MAIN].serial == 9


def test_the_repr_of_a_state_contains_no_secret() -> None:
    credentials = Credentials(
        "https://acme.example/", "native-app", None, "alice", None, Secret("canary-rt"), Secret("canary-id")
    )
    output = repr(LoggedOut().log_in(credentials, token()).start(NOW)) + repr(LoginRequired("x", credentials))
    assert "canary" not in output
    assert "at-1" not in output
    assert "alice" in output


# ---- locked


def test_a_locked_session_can_only_be_logged_out() -> None:
    locked = Locked("the keyring is locked")
    assert locked.log_out() == LoggedOut()
    with pytest.raises(IllegalMoveError):
        locked.log_in(CREDENTIALS, token())


def test_credentials_are_refreshable_with_what_their_grant_type_needs() -> None:
    secretless = replace(CLIENT_CREDENTIALS, needs_secret=False)
    assert not UNREFRESHABLE.refreshable
    assert replace(UNREFRESHABLE, refresh_token=Secret("rt")).refreshable
    assert not replace(UNREFRESHABLE, client_secret=Secret("hush")).refreshable
    assert not replace(UNREFRESHABLE, grant_type=CLIENT_CREDENTIALS).refreshable
    assert replace(UNREFRESHABLE, grant_type=CLIENT_CREDENTIALS, client_secret=Secret("hush")).refreshable
    assert replace(UNREFRESHABLE, grant_type=secretless).refreshable
