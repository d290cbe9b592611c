from dataclasses import replace

import pytest
from hypothesis import given, strategies as st

from auth_agent.grant_type import CLIENT_CREDENTIALS
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
    UnexplainedRefusal,
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
)

NOW = Moment(1_800_000_000, 5_000)
LOGIN = Credentials("https://acme.example/", "native-app", None, "alice", "Alice", Secret("rt"), None)
UNRENEWABLE = Credentials("https://acme.example/", "native-app", None, "alice", "Alice", None, None)


def token(serial: int = 1, sent: Moment = NOW, lifetime: float = 3600) -> AccessToken:
    return AccessToken(Secret(f"at-{serial}"), "Bearer", "openid", None, sent, lifetime, assumed=False, serial=serial)


def active(credentials: Credentials = LOGIN) -> Active:
    return LoggedOut().log_in(credentials, token())


def retrying(failure: Failure, chance: float = 0.5) -> Active:
    failed = active().start(NOW).fail(failure, NOW, chance)
    assert isinstance(failed, Active)
    return failed


def renewal(state: Active | LoginRequired) -> Retrying:
    assert isinstance(state, Active)
    assert isinstance(state.refresh, Retrying)
    return state.refresh


def test_a_login_makes_a_session_that_waits_for_its_refresh() -> None:
    session = active()
    assert session.tokens[MAIN].serial == 1
    assert session.refresh == Idle()


def test_only_one_refresh_is_in_flight() -> None:
    with pytest.raises(IllegalMoveError):
        active().start(NOW).start(NOW)


def test_a_session_without_a_refresh_token_is_never_refreshed() -> None:
    session = active(UNRENEWABLE)
    assert session.next_refresh(0.5, 0) is None
    with pytest.raises(IllegalMoveError):
        session.start(NOW)


@pytest.mark.parametrize("failure", [Unsent("x"), InvalidGrant("x")])
def test_only_a_refresh_in_flight_can_fail(failure: Failure) -> None:
    with pytest.raises(IllegalMoveError):
        active().fail(failure, NOW, 0.5)


def test_only_a_refresh_in_flight_can_succeed() -> None:
    with pytest.raises(IllegalMoveError):
        active().complete_refresh(LOGIN, token(2))
    with pytest.raises(IllegalMoveError):
        active().keep(Secret("rt-2"))


def test_a_refresh_replaces_the_token_and_waits_for_the_next() -> None:
    session = active().start(NOW).complete_refresh(LOGIN, token(2))
    assert session.tokens[MAIN].serial == 2
    assert session.refresh == Idle()


def test_a_refresh_token_is_kept_before_the_rest_is_judged() -> None:
    session = active().start(NOW).keep(Secret("rt-2")).fail(Unusable("x"), NOW, 0.5)
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
        UnexplainedRefusal("x"),
        Misconfigured("x"),
        Refusal("x"),
        Unusable("x"),
    ],
)
def test_what_is_no_verdict_never_ends_a_session(failure: Failure) -> None:
    session = active()
    for _ in range(2):
        started = session.start(NOW)
        failed = started.fail(failure, NOW, 0.99)
        assert isinstance(failed, Active)
        session = failed
    assert session.credentials == LOGIN
    assert session.tokens[MAIN].serial == 1


def test_the_providers_verdict_erases_the_refresh_token() -> None:
    ended = active().start(NOW).fail(InvalidGrant("invalid_grant: gone"), NOW, 0.5)
    assert isinstance(ended, LoginRequired)
    assert ended == LoginRequired("invalid_grant: gone", UNRENEWABLE)
    with pytest.raises(IllegalMoveError):
        ended.retry()


def test_another_users_tokens_are_quarantined() -> None:
    ended = active().start(NOW).keep(Secret("bobs")).fail(AnotherUser("another_user"), NOW, 0.5)
    assert isinstance(ended, LoginRequired)
    assert ended.credentials.refresh_token == Secret("bobs")
    with pytest.raises(IllegalMoveError):
        ended.retry()


def test_what_a_person_can_mend_keeps_the_refresh_token() -> None:
    ended = active().start(NOW).fail(InteractionRequired("mfa_required"), NOW, 0.5)
    assert isinstance(ended, LoginRequired)
    assert ended.credentials == LOGIN
    revived = ended.retry()
    assert revived.tokens == {}
    assert NOW.until(revived.next_refresh(0.5, 0) or NOW.after(1)) < 0


def test_unclear_refusals_are_not_believed_while_a_token_is_good() -> None:
    session: Active | LoginRequired = active()
    for seconds in (0, 60, 600, 3000, 3598):
        assert isinstance(session, Active)
        session = session.start(NOW.after(seconds)).fail(UnexplainedRefusal("HTTP 403"), NOW.after(seconds), 0.5)
    assert isinstance(session, Active)
    last = NOW.after(3600)
    assert isinstance(session.start(last).fail(UnexplainedRefusal("HTTP 403"), last, 0.5), LoginRequired)


def test_three_unclear_refusals_in_a_row_are_believed_after_a_minute() -> None:
    session: Active | LoginRequired = LoggedOut().log_in(LOGIN, token(lifetime=1))
    seen: list[str] = []
    for seconds in (0, 30, 59, 60):
        assert isinstance(session, Active)
        now = NOW.after(10 + seconds)
        session = session.start(now).fail(UnexplainedRefusal("HTTP 403"), now, 0.5)
        seen.append(type(session).__name__)
    assert seen == ["Active", "Active", "Active", "LoginRequired"]
    assert session == LoginRequired("HTTP 403", LOGIN)


def test_two_unclear_refusals_are_not_believed_however_far_apart() -> None:
    first = LoggedOut().log_in(LOGIN, token(lifetime=1)).start(NOW).fail(UnexplainedRefusal("HTTP 401"), NOW, 0.5)
    assert isinstance(first, Active)
    assert isinstance(first.start(NOW).fail(UnexplainedRefusal("HTTP 401"), NOW.after(3600), 0.5), Active)


def test_another_answer_between_unclear_ones_starts_their_count_anew() -> None:
    session = retrying(UnexplainedRefusal("HTTP 401"))
    for seconds, failure in (
        (30, UnexplainedRefusal("x")),
        (60, Busy("HTTP 500")),
        (90, UnexplainedRefusal("x")),
        (120, UnexplainedRefusal("x")),
    ):
        now = NOW.after(seconds)
        failed = session.start(now).fail(failure, now, 0.5)
        assert isinstance(failed, Active)
        session = failed
    assert renewal(session).unexplained == 2


def test_a_wall_clock_that_jumps_does_not_make_unclear_refusals_believable() -> None:
    session: Active | LoginRequired = LoggedOut().log_in(LOGIN, token(lifetime=1))
    for jump in (0, 4000, 8000, 12000):
        assert isinstance(session, Active)
        now = Moment(NOW.wall + jump, NOW.boot + 10)
        session = session.start(now).fail(UnexplainedRefusal("HTTP 401"), now, 0.5)
    assert isinstance(session, Active)


@given(failures=st.integers(1, 60), chance=st.floats(0, 1, exclude_max=True))
def test_the_backoff_is_capped_however_often_it_failed(failures: int, chance: float) -> None:
    session = active()
    for _ in range(failures):
        failed = session.start(NOW).fail(Unsent("x"), NOW, chance)
        assert isinstance(failed, Active)
        session = failed
    assert 0 < NOW.until(renewal(session).at) <= RETRY_CAP
    assert renewal(session).failures == failures


def test_the_providers_retry_after_is_obeyed() -> None:
    assert NOW.until(renewal(retrying(Busy("HTTP 429", 300))).at) == pytest.approx(300)


def test_nothing_brings_an_attempt_before_retry_after() -> None:
    session = retrying(Busy("HTTP 429", 300)).hasten(NOW.after(2))
    assert NOW.until(renewal(session).at) == pytest.approx(300)


def test_clients_that_wait_bring_the_next_attempt_forward() -> None:
    session = retrying(Unsent("x"), chance=0.999)
    for _ in range(5):
        failed = session.start(NOW).fail(Unsent("x"), NOW, 0.999)
        assert isinstance(failed, Active)
        session = failed
    assert NOW.until(renewal(session).at) > 20
    assert NOW.until(renewal(session.hasten(NOW.after(2))).at) == pytest.approx(2)


def test_bringing_forward_never_postpones() -> None:
    session = retrying(Unsent("x"), chance=0.1)
    assert session.hasten(NOW.after(25)) is session


def test_only_a_failed_refresh_has_an_attempt_to_bring_forward() -> None:
    with pytest.raises(IllegalMoveError):
        active().hasten(NOW)


def test_starting_afresh_forgets_the_failures() -> None:
    session = retrying(Busy("HTTP 429", 300)).forget_failures()
    assert session.refresh == Idle()
    running = active().start(NOW)
    assert running.forget_failures() is running


def test_a_refresh_after_a_failure_remembers_it_until_it_succeeds() -> None:
    session = retrying(Unsent("x")).start(NOW.after(5))
    assert isinstance(session.refresh, Running)
    assert session.refresh.after is not None
    assert session.refresh.after.failures == 1


def test_every_state_can_be_left_and_entered_by_a_person() -> None:
    for state in (
        LoggedOut(),
        active(),
        LoginRequired("x", UNRENEWABLE),
        LoginRequired("x", LOGIN),
        active().start(NOW),
    ):
        assert state.log_out() == LoggedOut()
        assert state.log_in(LOGIN, token(9)).tokens[MAIN].serial == 9


def test_no_state_shows_a_secret() -> None:
    login = Credentials(
        "https://acme.example/", "native-app", None, "alice", None, Secret("canary-rt"), Secret("canary-id")
    )
    shown = repr(LoggedOut().log_in(login, token()).start(NOW)) + repr(LoginRequired("x", login))
    assert "canary" not in shown
    assert "at-1" not in shown
    assert "alice" in shown


# ---- before it is known


def test_a_locked_session_can_only_be_logged_out() -> None:
    locked = Locked("the keyring is locked")
    assert locked.log_out() == LoggedOut()
    with pytest.raises(IllegalMoveError):
        locked.log_in(LOGIN, token())


def test_a_login_is_renewable_where_there_is_what_its_grant_renews_it_with() -> None:
    secretless = replace(CLIENT_CREDENTIALS, needs_secret=False)
    assert not UNRENEWABLE.refreshable
    assert replace(UNRENEWABLE, refresh_token=Secret("rt")).refreshable
    assert not replace(UNRENEWABLE, client_secret=Secret("hush")).refreshable
    assert not replace(UNRENEWABLE, grant_type=CLIENT_CREDENTIALS).refreshable
    assert replace(UNRENEWABLE, grant_type=CLIENT_CREDENTIALS, client_secret=Secret("hush")).refreshable
    assert replace(UNRENEWABLE, grant_type=secretless).refreshable
