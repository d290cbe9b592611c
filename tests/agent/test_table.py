"""The table of sessions: looking them up, a new configuration, and notifications."""

from dataclasses import replace
from pathlib import Path
from types import MappingProxyType

import pytest

from auth_agent.config import Config
from auth_agent.hosts import HostRule, Place
from auth_agent.oauth.outcome import InteractionRequired, InvalidGrant, Misconfigured
from auth_agent.secret import Secret
from auth_agent.sessions.session import Session
from auth_agent.sessions.state import Active, Credentials, Idle, LoggedOut, Retrying
from auth_agent.sessions.table import Table
from auth_agent_client import errors
from tests.agent.world import ALICE, CLIENT, ISSUER, FakeClock, account, config, token_response

LIFETIME = 3600.0
WORK, HOME = account("work"), account("home")
NOTHING = {"added": list[str](), "changed": list[str](), "removed": list[str]()}


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def table(clock: FakeClock) -> Table:
    """Return a table of the accounts `work` and `home`: neither is the default or logged in."""
    return Table(config(WORK, HOME), clock, chance=lambda: 0.0)


class Listener:
    """A watcher that records its notifications."""

    def __init__(self) -> None:
        self.notifications: list[str] = []

    def changed(self, account: str) -> None:
        self.notifications.append(account)


def no_accounts() -> Config:
    return Config(Path("config.toml"), MappingProxyType({}))


def log_in(table: Table, name: str, refresh_token: str | None = "rt-1") -> Session:
    session, now = table.sessions[name], table.clock.now()
    secret = None if refresh_token is None else Secret(refresh_token)
    login = Credentials(ISSUER, CLIENT, None, ALICE, "Alice", secret, None)
    session.log_in(login, session.access_token(token_response(lifetime=LIFETIME), login, now), now)
    table.publish(name)
    return session


def fail(session: Session, clock: FakeClock, failure: Misconfigured | InvalidGrant | InteractionRequired) -> None:
    session.start(clock.now())
    assert session.settle(session.finish(session.epoch, failure, clock.now(), clock.now(), 0.5))


def names(records: list[dict[str, object]]) -> list[object]:
    return [record["account"] for record in records]


# ---- looking up an account


def test_an_account_is_found_by_its_name(table: Table) -> None:
    assert table.session("home").account == HOME


def test_the_default_account_may_be_left_out(clock: FakeClock) -> None:
    table = Table(config(WORK, account("home", default=True)), clock)
    assert table.session(None).account.name == "home"
    assert table.session("work").account.name == "work"


def test_the_only_account_is_the_default(clock: FakeClock) -> None:
    assert Table(config(WORK), clock).session(None).account == WORK


def test_among_several_accounts_without_a_default_a_name_is_required(table: Table) -> None:
    with pytest.raises(errors.InvalidRequest) as caught:
        table.session(None)
    assert caught.value.parameter == "account"


def test_the_error_for_an_unknown_account_suggests_the_nearest_name(table: Table) -> None:
    with pytest.raises(errors.UnknownAccount) as caught:
        table.session("wrok")
    assert "work" in caught.value.message.replace("wrok", "")
    assert caught.value.remedy == ()


def test_the_error_for_an_account_unlike_all_others_says_how_to_add_one(table: Table) -> None:
    with pytest.raises(errors.UnknownAccount) as caught:
        table.session("xyz")
    assert "xyz" in caught.value.message
    assert [remedy.line for remedy in caught.value.remedy] == ["auth-agent login --help"]


@pytest.mark.parametrize(("accounts", "hint"), [(20, "number-7"), (21, "config.toml")])
def test_a_name_is_suggested_from_at_most_twenty_accounts(clock: FakeClock, accounts: int, hint: str) -> None:
    table = Table(config(*(account(f"number-{number}") for number in range(accounts))), clock)
    with pytest.raises(errors.UnknownAccount) as caught:
        table.session("numbr-7")
    assert hint in caught.value.message


def test_the_error_without_any_account_names_the_configuration_file(clock: FakeClock) -> None:
    table = Table(no_accounts(), clock)
    with pytest.raises(errors.UnknownAccount) as left_out:
        table.session(None)
    assert "config.toml" in left_out.value.message
    with pytest.raises(errors.UnknownAccount) as named:
        table.session("work")
    assert "work" in named.value.message
    assert table.records() == []


# ---- records


def test_all_records_are_in_the_configurations_order(table: Table) -> None:
    assert names(table.records()) == ["work", "home"]
    table.configure(config(HOME, WORK))
    assert names(table.records()) == ["home", "work"]


def test_records_by_name_are_returned_once_each_in_the_requested_order(table: Table) -> None:
    assert names(table.records(["home", "work", "home"])) == ["home", "work"]


def test_records_of_unknown_accounts_are_left_out(table: Table) -> None:
    assert names(table.records(["nobody", "home", ""])) == ["home"]
    assert table.records(["nobody"]) == []
    assert table.records([]) == []
    assert table.record("nobody") is None


def test_a_record_has_the_present_time(table: Table, clock: FakeClock) -> None:
    log_in(table, "work")
    assert [one["state"] for one in table.records(["work"])] == ["ready"]
    clock.advance(LIFETIME)
    assert [one["state"] for one in table.records(["work"])] == ["expired"]


# ---- the holder of a refresh token


def test_the_holder_of_a_refresh_token_is_known_by_it(table: Table) -> None:
    log_in(table, "work", "rt-work")
    log_in(table, "home", "rt-home")
    assert table.holder(Secret("rt-home")) == "home"
    assert table.holder(Secret("rt-work")) == "work"
    assert table.holder(Secret("rt-other")) is None


def test_a_removed_account_still_holds_its_refresh_token(table: Table) -> None:
    log_in(table, "work", "rt-work")
    table.configure(config(HOME))
    assert table.holder(Secret("rt-work")) == "work"


def test_a_session_without_a_refresh_token_holds_none(table: Table, clock: FakeClock) -> None:
    log_in(table, "work", "rt-work").log_out()
    fail(log_in(table, "home", "rt-home"), clock, InvalidGrant("invalid_grant"))
    assert (table.holder(Secret("rt-work")), table.holder(Secret("rt-home"))) == (None, None)


def test_a_session_that_needs_a_login_may_still_hold_its_refresh_token(table: Table, clock: FakeClock) -> None:
    fail(log_in(table, "work", "rt-work"), clock, InteractionRequired("mfa_required"))
    assert table.holder(Secret("rt-work")) == "work"


# ---- a new configuration


def test_the_same_configuration_again_changes_nothing(table: Table) -> None:
    session = log_in(table, "work")
    revision, listener = session.revision, Listener()
    table.watch(listener)
    assert table.configure(config(account("work"), account("home"))) == NOTHING
    assert table.sessions["work"] is session
    assert (session.revision, listener.notifications) == (revision, [])


def test_configure_returns_the_added_changed_and_removed_accounts(table: Table) -> None:
    listener = Listener()
    table.watch(listener)
    new = config(account("work", scope="openid"), account("school"))
    assert table.configure(new) == {"added": ["school"], "changed": ["work"], "removed": ["home"]}
    assert listener.notifications == ["school", "work", "home"]
    assert table.config is new
    assert list(table.sessions) == ["work", "school"]


@pytest.mark.parametrize("change", ["another default", "another host"])
def test_all_watchers_are_notified_when_another_account_may_be_meant(table: Table, change: str) -> None:
    rule = HostRule("api.example", Place("https", "api.example", 443, ()), "work")
    new = config(account("work", default=change == "another default"), account("home"))
    listener = Listener()
    table.watch(listener)
    table.configure(replace(new, hosts=(rule,) if change == "another host" else ()))
    assert listener.notifications == ["work", "home"]


def test_a_changed_account_keeps_its_session(table: Table) -> None:
    session = log_in(table, "work")
    changed = account("work", scope="openid")
    table.configure(config(changed, HOME))
    assert table.sessions["work"] is session
    assert (session.account, session.blocked_by_config) == (changed, None)


def test_a_changed_account_gets_a_new_revision(table: Table) -> None:
    before = table.sessions["work"].revision
    table.configure(config(account("work", scope="openid"), HOME))
    assert table.sessions["work"].revision > before


def test_a_failing_session_forgets_its_failures_when_its_account_changes(table: Table, clock: FakeClock) -> None:
    work, home = log_in(table, "work", "rt-work"), log_in(table, "home", "rt-home")
    for session in (work, home):
        fail(session, clock, Misconfigured("invalid_client"))
    table.configure(config(account("work", scope="openid"), HOME))
    assert isinstance(work.state, Active)
    assert work.state.refresh == Idle()
    assert isinstance(home.state, Active)
    assert isinstance(home.state.refresh, Retrying)  # nothing changed for it


def test_a_removed_account_is_suspended_and_not_found(table: Table) -> None:
    session = log_in(table, "work")
    table.configure(config(HOME))
    assert session.blocked_by_config == "account_removed"
    assert session.refresh_at() is None
    with pytest.raises(errors.UnknownAccount):
        table.session("work")
    assert names(table.records(["work", "home"])) == ["home"]


def test_the_record_of_a_removed_account_has_that_reason(table: Table) -> None:
    log_in(table, "work")
    table.configure(config(HOME))
    found = table.record("work")
    assert found is not None
    assert (found["account"], found["state"], found["reason"]) == ("work", "login_required", "account_removed")


def test_a_restored_account_has_its_session_again(table: Table) -> None:
    session = log_in(table, "work")
    epoch = session.epoch
    table.configure(config(HOME))
    revision = session.revision
    assert table.configure(config(HOME, WORK)) == {**NOTHING, "added": ["work"]}
    assert table.session("work") is session
    assert (session.blocked_by_config, session.epoch) == (None, epoch)
    assert session.revision > revision
    assert [one["state"] for one in table.records(["work"])] == ["ready"]


def test_a_restored_account_with_another_client_is_not_served(table: Table) -> None:
    session = log_in(table, "work")
    table.configure(config(HOME))
    table.configure(config(account("work", client_id="other"), HOME))
    assert table.session("work") is session
    assert session.blocked_by_config == "account_changed"


def test_a_failing_session_forgets_its_failures_when_its_account_returns_changed(
    table: Table, clock: FakeClock
) -> None:
    session = log_in(table, "work")
    fail(session, clock, Misconfigured("invalid_client"))
    table.configure(config(HOME))
    table.configure(config(account("work", scope="openid"), HOME))
    assert isinstance(session.state, Active)
    assert session.state.refresh == Idle()


def test_all_accounts_may_be_removed_and_restored(table: Table) -> None:
    sessions = dict(table.sessions)
    assert table.configure(no_accounts()) == {**NOTHING, "removed": ["work", "home"]}
    assert table.sessions == {}
    assert table.configure(no_accounts()) == NOTHING
    assert table.configure(config(WORK, HOME)) == {**NOTHING, "added": ["work", "home"]}
    assert table.sessions == sessions


# ---- watchers


def test_a_watcher_that_registers_twice_is_notified_once(table: Table) -> None:
    one, other = Listener(), Listener()
    table.watch(one)
    table.watch(one)
    table.watch(other)
    table.publish("work")
    assert (one.notifications, other.notifications) == (["work"], ["work"])


def test_a_watcher_that_left_is_not_notified(table: Table) -> None:
    one, other = Listener(), Listener()
    table.watch(one)
    table.watch(other)
    table.unwatch(one)
    table.unwatch(one)
    table.publish("work")
    assert (one.notifications, other.notifications) == ([], ["work"])


def test_a_watcher_may_leave_while_it_is_notified(table: Table) -> None:
    class Leaver(Listener):
        def changed(self, account: str) -> None:
            super().changed(account)
            table.unwatch(self)

    leaver, other = Leaver(), Listener()
    table.watch(leaver)
    table.watch(other)
    table.publish("work")
    table.publish("home")
    assert (leaver.notifications, other.notifications) == (["work"], ["work", "home"])


# ---- expiries


def look_at_all(table: Table) -> None:
    for session in table.sessions.values():
        table.look(session, table.clock.now())


def test_an_expiry_is_published_once_and_with_a_new_revision(table: Table, clock: FakeClock) -> None:
    session, listener = log_in(table, "work"), Listener()
    table.watch(listener)
    revision = session.revision
    clock.advance(LIFETIME)
    look_at_all(table)
    look_at_all(table)
    assert (listener.notifications, session.revision) == (["work"], revision + 1)


def test_nothing_is_published_while_no_state_changes(table: Table, clock: FakeClock) -> None:
    session, listener = log_in(table, "work"), Listener()
    table.watch(listener)
    revision = session.revision
    for _ in range(3):
        clock.advance(LIFETIME / 4)
        look_at_all(table)
    assert (listener.notifications, session.revision) == ([], revision)


def test_an_expiry_published_with_a_change_is_not_published_again(table: Table, clock: FakeClock) -> None:
    log_in(table, "work")
    listener = Listener()
    table.watch(listener)
    clock.advance(LIFETIME)
    table.publish("work")
    look_at_all(table)
    assert listener.notifications == ["work"]


def test_a_clock_set_back_and_forth_is_published_both_times(table: Table, clock: FakeClock) -> None:
    log_in(table, "work")
    listener = Listener()
    table.watch(listener)
    clock.wall -= 7200
    look_at_all(table)
    assert [one["state"] for one in table.records(["work"])] == ["expired"]
    clock.wall += 7200
    look_at_all(table)
    assert [one["state"] for one in table.records(["work"])] == ["ready"]
    assert listener.notifications == ["work", "work"]


def test_a_removed_account_does_not_expire(table: Table, clock: FakeClock) -> None:
    log_in(table, "work")
    table.configure(config(HOME))
    listener = Listener()
    table.watch(listener)
    clock.advance(LIFETIME)
    look_at_all(table)
    assert listener.notifications == []


# ---- sessions that are not read yet


@pytest.fixture
def unread(clock: FakeClock) -> Table:
    return Table(config(WORK, HOME), clock, chance=lambda: 0.0, unread="not read yet")


def test_a_session_that_is_not_read_yet_is_locked_with_that_reason(unread: Table) -> None:
    assert [one.account.name for one in unread.locked()] == ["work", "home"]
    assert [(one["state"], one["renewal"], one["reason"]) for one in unread.records()] == [
        ("locked", "none", "not read yet")
    ] * 2


def test_an_added_account_is_locked_and_a_restored_one_keeps_its_state(unread: Table) -> None:
    unread.sessions["work"].state = LoggedOut()
    unread.configure(config(HOME))
    unread.configure(config(HOME, WORK, account("third")))
    assert [one.account.name for one in unread.locked()] == ["home", "third"]


def test_without_a_store_nothing_is_locked(table: Table) -> None:
    assert table.locked() == []
