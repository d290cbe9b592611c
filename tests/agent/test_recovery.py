"""The state of a session after a crash, by the moment of the crash: the table of docs/store.md, in memory."""

from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import Any

import pytest
from hypothesis import given, strategies as st

from auth_agent.grant_type import CLIENT_CREDENTIALS
from auth_agent.oauth.outcome import Lost
from auth_agent.secret import Secret
from auth_agent.sessions.entry import StoredSession
from auth_agent.sessions.fingerprints import Fingerprints
from auth_agent.sessions.recovery import (
    ELSEWHERE,
    INTERRUPTED,
    OLD_COPY,
    Recovery,
    alive,
    by_machine,
    current,
    is_elsewhere,
    recover,
    unreadable,
)
from auth_agent.sessions.session import Session
from auth_agent.sessions.state import MAIN, AccessToken, Active, Credentials, LoggedOut, LoginRequired, Retrying, State
from auth_agent.storage.journal import Journal, Note
from tests.agent.world import FakeClock, account

pytestmark = pytest.mark.anyio

NOW = FakeClock().now()
CREDENTIALS = Credentials("https://acme.example/", "native-app", None, "auth0|alice", None, None, None)
TOKEN = AccessToken(Secret("at"), "Bearer", "openid", None, NOW, 3600.0, assumed=False, serial=0)
EMPTY = StoredSession(LoggedOut(), 0, 0, None)


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


def fingerprint(refresh_token: str) -> str:
    return Secret(refresh_token).fingerprint()


def stored(refresh_token: str | None = "rt-1", after: str | None = None, state: State | None = None) -> StoredSession:
    """Return the stored session with that refresh token."""
    credentials = replace(CREDENTIALS, refresh_token=None if refresh_token is None else Secret(refresh_token))
    return StoredSession(state or Active(credentials, MappingProxyType({MAIN: TOKEN})), 3, 17, NOW.wall, after)


def interrupted(session: StoredSession) -> StoredSession:
    """Return the same session with a refresh due at once."""
    assert isinstance(session.state, Active)
    retrying = Retrying(Lost(INTERRUPTED), failures=1, failed_at=NOW, retry_at=NOW, not_before=NOW)
    return replace(session, state=replace(session.state, refresh=retrying))


@dataclass
class Life:
    """An agent up to its crash, with the steps that the saver takes and a journal in memory."""

    entry: StoredSession | None = field(default_factory=stored)
    has: str | None = field(default_factory=lambda: fingerprint("rt-1"))  # as far as the agent knows
    journal: Journal = field(default_factory=lambda: Journal(None))

    async def notes_that_it_sends(self, refresh_token: str) -> None:
        """Step 1; step 2, the request, leaves nothing on this machine."""
        await self.journal.record_sent("work", fingerprint(refresh_token), NOW.wall, self.has)

    def saves(self, refresh_token: str) -> None:
        """Step 3."""
        self.entry = stored(refresh_token)

    async def notes_that_it_saved(self, refresh_token: str, *answered: str) -> None:
        """Step 5."""
        self.has = fingerprint(refresh_token)
        await self.journal.saved("work", self.has, None, [fingerprint(token) for token in answered])

    async def refreshes(self, old: str, new: str) -> None:
        await self.notes_that_it_sends(old)
        self.saves(new)
        await self.notes_that_it_saved(new, old)

    @property
    def note(self) -> Note:
        return self.journal.note("work")

    def recovered(self, fingerprints: Fingerprints | None = None) -> Recovery:
        """Return the session as the next agent recovers it."""
        return recover(alive(self.entry, self.note), self.note, fingerprints or Fingerprints(), NOW)


# ---- killed at a refresh


async def test_killed_before_the_note_the_session_is_unchanged() -> None:
    assert Life().recovered() == Recovery(stored("rt-1"))


async def test_killed_before_the_request_the_refresh_is_due_at_once() -> None:
    life = Life()
    await life.notes_that_it_sends("rt-1")
    assert life.recovered() == Recovery(interrupted(stored("rt-1")))


async def test_killed_before_the_save_the_refresh_is_due_and_the_old_token_is_served() -> None:
    life = Life()
    await life.refreshes("rt-0", "rt-1")
    await life.notes_that_it_sends("rt-1")
    recovery = life.recovered()
    assert recovery == Recovery(interrupted(stored("rt-1")), (fingerprint("rt-0"),))
    assert isinstance(recovery.stored.state, Active)
    assert isinstance(recovery.stored.state.refresh, Retrying)
    assert (recovery.stored.state.refresh.retry_at, recovery.stored.state.tokens[MAIN]) == (NOW, TOKEN)


async def test_killed_after_several_failed_saves_the_entrys_token_is_tried() -> None:
    life = Life()
    for refresh_token in ("rt-1", "rt-2", "rt-3"):  # the last two could not be saved
        await life.notes_that_it_sends(refresh_token)
    assert life.recovered() == Recovery(interrupted(stored("rt-1")))


async def test_killed_after_a_late_save_the_token_sent_meanwhile_is_tried() -> None:
    life = Life()
    await life.notes_that_it_sends("rt-1")
    await life.notes_that_it_sends("rt-2")
    life.saves("rt-2")
    assert life.recovered() == Recovery(interrupted(stored("rt-2")))
    await life.notes_that_it_saved("rt-2", "rt-1")
    assert life.recovered() == Recovery(interrupted(stored("rt-2")), (fingerprint("rt-1"),))


async def test_killed_before_the_note_of_a_completed_save_the_sent_token_is_dead() -> None:
    life = Life()
    await life.notes_that_it_sends("rt-1")
    life.saves("rt-2")
    assert life.recovered() == Recovery(stored("rt-2"), (fingerprint("rt-1"),))


async def test_killed_after_the_last_note_the_new_session_is_there() -> None:
    life = Life()
    await life.refreshes("rt-1", "rt-2")
    assert life.recovered() == Recovery(stored("rt-2"), (fingerprint("rt-1"),))


async def test_without_rotation_no_refresh_token_is_ever_dead() -> None:
    life = Life()
    await life.notes_that_it_sends("rt-1")
    life.saves("rt-1")
    assert life.recovered() == Recovery(interrupted(stored("rt-1")))  # as without the save: the token is the same
    await life.notes_that_it_saved("rt-1", "rt-1")
    assert life.recovered() == Recovery(stored("rt-1"))


# ---- entries that the agent did not save last


async def test_an_old_copy_is_never_presented() -> None:
    life = Life()
    await life.refreshes("rt-1", "rt-2")
    life.saves("rt-1")  # a backup was restored
    end = LoginRequired(OLD_COPY, CREDENTIALS)
    assert life.recovered() == Recovery(replace(stored(), state=end), (fingerprint("rt-1"),))


async def test_an_old_copy_is_never_presented_after_an_interrupted_refresh_either() -> None:
    life = Life()
    await life.refreshes("rt-1", "rt-2")
    await life.notes_that_it_sends("rt-2")
    life.saves("rt-1")
    recovery = life.recovered()
    assert recovery.stored.state == LoginRequired(OLD_COPY, CREDENTIALS)
    assert fingerprint("rt-1") in recovery.replaced


async def test_a_token_known_to_be_replaced_is_not_presented_whatever_the_note_says() -> None:
    known = Fingerprints()
    known.record_successor("work", Secret("rt-1"), Secret("rt-2"))
    assert Life().recovered(known).stored.state == LoginRequired(OLD_COPY, CREDENTIALS)


async def test_the_refresh_token_that_another_process_saved_is_used() -> None:
    life = Life()
    await life.notes_that_it_sends("rt-1")
    life.saves("rt-theirs")
    assert life.recovered() == Recovery(stored("rt-theirs"), (fingerprint("rt-1"),))


# ---- logouts and logins


async def test_killed_between_tombstone_and_deletion_the_entry_is_deleted() -> None:
    life = Life()
    await life.journal.mark_deleted("work", "a logout")
    assert life.recovered() == Recovery(EMPTY, is_deleted=True)


async def test_killed_between_deletion_and_its_note_it_is_deleted_again() -> None:
    life = Life(entry=None)
    await life.journal.mark_deleted("work", "a logout")
    assert life.recovered() == Recovery(EMPTY, is_deleted=True)


async def test_killed_after_a_login_that_follows_a_logout_the_login_is_kept() -> None:
    life = Life(entry=stored("rt-2", after="a logout"))
    await life.journal.mark_deleted("work", "a logout")
    assert life.recovered() == Recovery(stored("rt-2", after="a logout"))
    await life.journal.mark_deleted("work", "another logout")
    assert life.recovered() == Recovery(EMPTY, is_deleted=True)


async def test_killed_before_a_login_is_saved_the_previous_session_is_kept() -> None:
    life = Life()
    await life.notes_that_it_sends("rt-login")
    assert life.recovered() == Recovery(stored("rt-1"))


async def test_an_entry_after_a_completed_logout_is_kept() -> None:
    assert Life(entry=stored("rt-2", after="a logout")).recovered().stored == stored("rt-2", after="a logout")


async def test_without_entry_and_tombstone_there_is_no_session_to_delete() -> None:
    assert Life(entry=None).recovered() == Recovery(EMPTY)


async def test_replaced_tokens_are_remembered_without_an_entry() -> None:
    life = Life()
    await life.refreshes("rt-1", "rt-2")
    life.entry = None
    assert life.recovered() == Recovery(EMPTY, (fingerprint("rt-1"),))


# ---- entries without a refresh token, or unreadable


def test_an_unreadable_entry_of_a_client_account_is_a_store_failure() -> None:
    robot = account(grant_type=CLIENT_CREDENTIALS)
    session = Session(robot, 0.5)
    session.state = unreadable(robot, "of a newer version").state
    assert (session.blocked_by_config, session.reason, session.failure) == (None, "of a newer version", "store_failed")


async def test_an_unreadable_entry_requires_a_login_and_is_kept_unless_logged_out() -> None:
    life = Life(entry=unreadable(account(), "of a newer version"))
    recovery = life.recovered()
    assert (recovery.stored, recovery.is_deleted) == (life.entry, False)
    assert isinstance(recovery.stored.state, LoginRequired)
    assert (recovery.stored.state.reason, recovery.stored.state.credentials.issuer) == (
        "of a newer version",
        account().issuer,
    )
    assert recovery.stored.state.failure == "store_failed"
    await life.journal.mark_deleted("work", "a logout")
    assert life.recovered() == Recovery(EMPTY, is_deleted=True)


@pytest.mark.parametrize(
    ("wrote", "reads"), [("a", "a"), ("", "a"), ("a", ""), ("", "")], ids=["the same", "unnamed", "unnamed", "neither"]
)
def test_an_entry_is_usable_if_both_machines_are_the_same_or_one_is_unknown(wrote: str, reads: str) -> None:
    entry = replace(stored(), machine=wrote)
    assert by_machine(entry, reads, account()) == entry
    assert not is_elsewhere(entry.state)


@pytest.mark.parametrize("state", [None, LoginRequired("invalid_grant", CREDENTIALS)], ids=["active", "ended"])
def test_an_entry_of_another_machine_has_nothing_that_could_be_sent(state: State | None) -> None:
    found = by_machine(replace(stored(state=state), machine="a"), "b", account())
    assert is_elsewhere(found.state)
    assert isinstance(found.state, LoginRequired)
    assert (found.state.reason, found.state.failure) == (ELSEWHERE, "store_failed")
    assert [remedy.command for remedy in found.state.remedy] == [("auth-agent", "store", "adopt")]
    credentials = found.state.credentials
    assert (credentials.refresh_token, credentials.id_token, credentials.client_secret) == (None, None, None)


async def test_an_entry_of_another_machine_is_dead_only_if_it_came_before_the_logout() -> None:
    journal = Journal(None)
    await journal.mark_deleted("work", "a logout")
    entry = replace(stored(after="a logout"), machine="a")
    assert alive(by_machine(entry, "b", account()), journal.note("work")) is not None
    assert alive(by_machine(replace(entry, after=None), "b", account()), journal.note("work")) is None


@pytest.mark.parametrize(
    "entry",
    [
        stored(None),
        stored(state=LoginRequired("invalid_grant", CREDENTIALS)),
        stored(state=LoginRequired("mfa_required", replace(CREDENTIALS, refresh_token=Secret("rt-1")))),
    ],
    ids=["without a refresh token", "ended", "waiting for a person"],
)
async def test_a_session_that_can_not_be_refreshed_is_recovered_unchanged(entry: StoredSession) -> None:
    life = Life(entry=entry)
    await life.notes_that_it_sends("rt-1")
    assert life.recovered() == Recovery(entry)


# ---- any note

TOKENS = [f"rt-{number}" for number in range(4)]
SOME = st.lists(st.sampled_from(TOKENS).map(fingerprint), unique=True)
LOGOUTS = st.sampled_from([None, "a logout", "another logout"])
NOTES = st.builds(Note, SOME, SOME, LOGOUTS, st.just(1.0), st.none() | st.sampled_from(TOKENS).map(fingerprint))
ENTRIES = st.none() | st.builds(stored, st.none() | st.sampled_from(TOKENS), LOGOUTS)


@given(ENTRIES, NOTES, st.lists(st.sampled_from(TOKENS)))
def test_only_dead_refresh_tokens_are_lost_and_none_is_presented(
    entry: StoredSession | None, note: Note, known: list[str]
) -> None:
    fingerprints = Fingerprints()
    for token in known:
        fingerprints.record_replaced("work", fingerprint(token))
    before = replace(note, sent=[*note.sent], replaced=[*note.replaced])
    recovery = recover(alive(entry, note), note, fingerprints, NOW)
    assert note == before
    assert set(note.replaced) <= set(recovery.replaced)
    assert set(recovery.replaced) <= {*note.replaced, *note.sent}
    if isinstance(recovery.stored.state, LoggedOut):
        assert entry is None or (note.tombstone is not None and entry.after != note.tombstone)
        assert recovery.is_deleted == (note.tombstone is not None)
        return
    assert entry is not None
    assert not recovery.is_deleted
    assert replace(recovery.stored, state=entry.state) == entry
    presented = recovery.stored.fingerprint
    assert presented in (entry.fingerprint, None)
    dead = {*recovery.replaced, *(fingerprint(token) for token in known)}
    assert (presented is None) == (entry.fingerprint is None or entry.fingerprint in dead)


# ---- several copies


def at(refreshed_at: float, refresh_token: str | None = "rt-1", **fields: Any) -> StoredSession:
    """Return the stored session with that refresh token, refreshed at that time."""
    return replace(stored(refresh_token), last_refresh_at=refreshed_at, **fields)


COPIES: dict[str, tuple[list[StoredSession], StoredSession | None]] = {
    "none": ([], None),
    "one": ([at(1)], at(1)),
    "the later refresh": ([at(1), at(3, "rt-2"), at(2, "rt-3")], at(3, "rt-2")),
    "one that is replaced, though its time is later": ([at(9, "rt-dead"), at(1)], at(1)),
    "only one that is replaced": ([at(9, "rt-dead")], at(9, "rt-dead")),
    "one that was logged out": ([at(9, after="an earlier logout"), at(1, after="logout")], at(1, after="logout")),
    "only one that was logged out": ([at(9)], None),
    "one that can't be read": ([unreadable(account("work"), "damaged"), at(1)], at(1)),
    "the end of the session beside its last token": (
        [at(1), at(1, state=LoginRequired("invalid_grant", CREDENTIALS))],
        at(1, state=LoginRequired("invalid_grant", CREDENTIALS)),
    ),
}


@pytest.mark.parametrize(("copies", "expected"), COPIES.values(), ids=COPIES)
def test_of_several_copies_the_current_one_is_used(copies: list[StoredSession], expected: StoredSession | None) -> None:
    has_logout = any(copy.after for copy in copies) or expected is None
    note = Note(replaced=[fingerprint("rt-dead")], tombstone="logout" if has_logout else None)
    for order in (copies, copies[::-1]):
        assert current(order, note, Fingerprints()) == expected
