"""What a session is after a crash, by the moment of the crash: the table of docs/store.md, without store and disk."""

from dataclasses import dataclass, field, replace
from types import MappingProxyType

import pytest
from hypothesis import given, strategies as st

from auth_agent.grant_type import CLIENT_CREDENTIALS
from auth_agent.oauth.outcome import Lost
from auth_agent.secret import Secret
from auth_agent.sessions.entry import StoredSession
from auth_agent.sessions.fingerprints import Fingerprints
from auth_agent.sessions.recovery import INTERRUPTED, OLD_COPY, Recovery, alive, recover, unreadable
from auth_agent.sessions.session import Session
from auth_agent.sessions.state import MAIN, AccessToken, Active, Credentials, LoggedOut, LoginRequired, Retrying, State
from auth_agent.storage.journal import Journal, Note
from tests.agent.world import FakeClock, account

pytestmark = pytest.mark.anyio

NOW = FakeClock().now()
LOGIN = Credentials("https://acme.example/", "native-app", None, "auth0|alice", None, None, None)
TOKEN = AccessToken(Secret("at"), "Bearer", "openid", None, NOW, 3600.0, assumed=False, serial=0)
EMPTY = StoredSession(LoggedOut(), 0, 0, None)


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


def fingerprint(refresh_token: str) -> str:
    return Secret(refresh_token).fingerprint()


def kept(refresh_token: str | None = "rt-1", after: str | None = None, state: State | None = None) -> StoredSession:
    """What the store has of a session with that refresh token."""
    login = replace(LOGIN, refresh_token=None if refresh_token is None else Secret(refresh_token))
    return StoredSession(state or Active(login, MappingProxyType({MAIN: TOKEN})), 3, 17, NOW.wall, after)


def interrupted(what: StoredSession) -> StoredSession:
    """The same, with the refresh due at once."""
    assert isinstance(what.state, Active)
    renewal = Retrying(Lost(INTERRUPTED), failures=1, last=NOW, at=NOW, not_before=NOW)
    return replace(what, state=replace(what.state, refresh=renewal))


@dataclass
class Life:
    """An agent's life up to its crash, step by step as the saver takes them, with a journal in memory."""

    entry: StoredSession | None = field(default_factory=kept)
    has: str | None = field(default_factory=lambda: fingerprint("rt-1"))  # as far as the agent knows
    journal: Journal = field(default_factory=lambda: Journal(None))

    async def notes_that_it_sends(self, refresh_token: str) -> None:
        """Step 1; of step 2, which sends it, nothing is left on this machine."""
        await self.journal.record_sent("work", fingerprint(refresh_token), NOW.wall, self.has)

    def saves(self, refresh_token: str) -> None:
        """Step 3."""
        self.entry = kept(refresh_token)

    async def notes_that_it_saved(self, refresh_token: str, *answered: str) -> None:
        """Step 5."""
        self.has = fingerprint(refresh_token)
        await self.journal.saved("work", self.has, None, [fingerprint(one) for one in answered])

    async def refreshes(self, old: str, new: str) -> None:
        await self.notes_that_it_sends(old)
        self.saves(new)
        await self.notes_that_it_saved(new, old)

    @property
    def note(self) -> Note:
        return self.journal.note("work")

    def recovered(self, fingerprints: Fingerprints | None = None) -> Recovery:
        """What the next agent makes of it."""
        return recover(alive(self.entry, self.note), self.note, fingerprints or Fingerprints(), NOW)


# ---- killed at a refresh


async def test_killed_before_the_note_the_entrys_token_is_good() -> None:
    assert Life().recovered() == Recovery(kept("rt-1"))


async def test_killed_before_the_request_the_entrys_token_is_good_and_presented_since_nobody_knows_better() -> None:
    life = Life()
    await life.notes_that_it_sends("rt-1")
    assert life.recovered() == Recovery(interrupted(kept("rt-1")))


async def test_killed_between_request_and_save_the_refresh_is_due_at_once_and_the_old_access_token_is_served() -> None:
    life = Life()
    await life.refreshes("rt-0", "rt-1")
    await life.notes_that_it_sends("rt-1")
    found = life.recovered()
    assert found == Recovery(interrupted(kept("rt-1")), (fingerprint("rt-0"),))
    assert isinstance(found.stored.state, Active)
    assert isinstance(found.stored.state.refresh, Retrying)
    assert (found.stored.state.refresh.at, found.stored.state.tokens[MAIN]) == (NOW, TOKEN)


async def test_killed_while_the_keyring_hangs_the_entrys_token_is_tried_however_many_came_after_it() -> None:
    life = Life()
    for refresh_token in ("rt-1", "rt-2", "rt-3"):  # each of the last two came, and couldn't be saved
        await life.notes_that_it_sends(refresh_token)
    assert life.recovered() == Recovery(interrupted(kept("rt-1")))


async def test_killed_after_a_save_that_came_late_the_token_that_went_out_meanwhile_is_tried() -> None:
    life = Life()
    await life.notes_that_it_sends("rt-1")
    await life.notes_that_it_sends("rt-2")
    life.saves("rt-2")
    assert life.recovered() == Recovery(interrupted(kept("rt-2")))
    await life.notes_that_it_saved("rt-2", "rt-1")
    assert life.recovered() == Recovery(interrupted(kept("rt-2")), (fingerprint("rt-1"),))


async def test_killed_within_the_save_that_the_worker_finished_all_is_there_and_what_was_sent_is_dead() -> None:
    life = Life()
    await life.notes_that_it_sends("rt-1")
    life.saves("rt-2")
    assert life.recovered() == Recovery(kept("rt-2"), (fingerprint("rt-1"),))


async def test_killed_after_the_last_note_all_is_there() -> None:
    life = Life()
    await life.refreshes("rt-1", "rt-2")
    assert life.recovered() == Recovery(kept("rt-2"), (fingerprint("rt-1"),))


async def test_where_the_provider_does_not_rotate_nothing_is_ever_dead() -> None:
    life = Life()
    await life.notes_that_it_sends("rt-1")
    life.saves("rt-1")
    assert life.recovered() == Recovery(interrupted(kept("rt-1")))  # as if the save had not been: it is the same token
    await life.notes_that_it_saved("rt-1", "rt-1")
    assert life.recovered() == Recovery(kept("rt-1"))


# ---- an entry that is not the agent's last


async def test_an_old_copy_is_never_presented() -> None:
    life = Life()
    await life.refreshes("rt-1", "rt-2")
    life.saves("rt-1")  # a backup was restored
    end = LoginRequired(OLD_COPY, LOGIN)
    assert life.recovered() == Recovery(replace(kept(), state=end), (fingerprint("rt-1"),))


async def test_an_old_copy_is_never_presented_also_where_the_next_refresh_was_interrupted() -> None:
    life = Life()
    await life.refreshes("rt-1", "rt-2")
    await life.notes_that_it_sends("rt-2")
    life.saves("rt-1")
    found = life.recovered()
    assert found.stored.state == LoginRequired(OLD_COPY, LOGIN)
    assert fingerprint("rt-1") in found.replaced


async def test_what_this_agent_knows_to_be_replaced_is_not_presented_whatever_the_note_says() -> None:
    known = Fingerprints()
    known.replaced(Secret("rt-1"), Secret("rt-2"))
    assert Life().recovered(known).stored.state == LoginRequired(OLD_COPY, LOGIN)


async def test_what_another_process_put_there_is_taken() -> None:
    life = Life()
    await life.notes_that_it_sends("rt-1")
    life.saves("rt-theirs")
    assert life.recovered() == Recovery(kept("rt-theirs"), (fingerprint("rt-1"),))


# ---- logouts and logins


async def test_killed_between_tombstone_and_deletion_the_entry_is_dead_and_deleted() -> None:
    life = Life()
    await life.journal.mark_deleted("work", "a logout")
    assert life.recovered() == Recovery(EMPTY, is_deleted=True)


async def test_killed_between_deletion_and_its_note_it_is_deleted_once_more() -> None:
    life = Life(entry=None)
    await life.journal.mark_deleted("work", "a logout")
    assert life.recovered() == Recovery(EMPTY, is_deleted=True)


async def test_killed_after_a_login_over_a_tombstone_the_login_lives() -> None:
    life = Life(entry=kept("rt-2", after="a logout"))
    await life.journal.mark_deleted("work", "a logout")
    assert life.recovered() == Recovery(kept("rt-2", after="a logout"))
    await life.journal.mark_deleted("work", "another logout")
    assert life.recovered() == Recovery(EMPTY, is_deleted=True)


async def test_killed_before_a_login_is_saved_the_session_before_it_lives_and_the_logins_token_is_not_dead() -> None:
    life = Life()
    await life.notes_that_it_sends("rt-login")
    assert life.recovered() == Recovery(kept("rt-1"))


async def test_an_entry_that_names_a_logout_that_is_settled_lives() -> None:
    assert Life(entry=kept("rt-2", after="a logout")).recovered().stored == kept("rt-2", after="a logout")


async def test_without_entry_and_tombstone_there_is_no_session_and_nothing_to_delete() -> None:
    assert Life(entry=None).recovered() == Recovery(EMPTY)


async def test_what_was_replaced_is_remembered_though_the_entry_is_gone() -> None:
    life = Life()
    await life.refreshes("rt-1", "rt-2")
    life.entry = None
    assert life.recovered() == Recovery(EMPTY, (fingerprint("rt-1"),))


# ---- entries of another kind


def test_an_unreadable_entry_of_a_clients_own_account_is_the_reason_and_not_another_grant() -> None:
    robot = account(grant_type=CLIENT_CREDENTIALS)
    session = Session(robot, 0.5)
    session.state = unreadable(robot, "of a newer version").state
    assert (session.blocked_by_config, session.reason, session.failure) == (None, "of a newer version", "store_failed")


async def test_an_entry_that_can_not_be_read_has_a_person_log_in_and_is_left_alone_unless_it_is_dead() -> None:
    life = Life(entry=unreadable(account(), "of a newer version"))
    found = life.recovered()
    assert (found.stored, found.is_deleted) == (life.entry, False)
    assert isinstance(found.stored.state, LoginRequired)
    assert (found.stored.state.reason, found.stored.state.credentials.issuer) == (
        "of a newer version",
        account().issuer,
    )
    assert found.stored.state.failure == "store_failed"
    await life.journal.mark_deleted("work", "a logout")
    assert life.recovered() == Recovery(EMPTY, is_deleted=True)


@pytest.mark.parametrize(
    "entry",
    [
        kept(None),
        kept(state=LoginRequired("invalid_grant", LOGIN)),
        kept(state=LoginRequired("mfa_required", replace(LOGIN, refresh_token=Secret("rt-1")))),
    ],
    ids=["without a refresh token", "ended", "waiting for a person"],
)
async def test_what_has_nothing_to_refresh_comes_back_as_it_was(entry: StoredSession) -> None:
    life = Life(entry=entry)
    await life.notes_that_it_sends("rt-1")
    assert life.recovered() == Recovery(entry)


# ---- whatever the note says

TOKENS = [f"rt-{number}" for number in range(4)]
SOME = st.lists(st.sampled_from(TOKENS).map(fingerprint), unique=True)
LOGOUTS = st.sampled_from([None, "a logout", "another logout"])
NOTES = st.builds(Note, SOME, SOME, LOGOUTS, st.just(1.0), st.none() | st.sampled_from(TOKENS).map(fingerprint))
ENTRIES = st.none() | st.builds(kept, st.none() | st.sampled_from(TOKENS), LOGOUTS)


@given(ENTRIES, NOTES, st.lists(st.sampled_from(TOKENS)))
def test_nothing_that_is_dead_is_presented_and_nothing_else_is_lost(
    entry: StoredSession | None, note: Note, known: list[str]
) -> None:
    fingerprints = Fingerprints()
    for one in known:
        fingerprints.remember_replaced(fingerprint(one))
    before = replace(note, sent=[*note.sent], replaced=[*note.replaced])
    found = recover(alive(entry, note), note, fingerprints, NOW)
    assert note == before
    assert set(note.replaced) <= set(found.replaced)
    assert set(found.replaced) <= {*note.replaced, *note.sent}
    if isinstance(found.stored.state, LoggedOut):
        assert entry is None or (note.tombstone is not None and entry.after != note.tombstone)
        assert found.is_deleted == (note.tombstone is not None)
        return
    assert entry is not None
    assert not found.is_deleted
    assert replace(found.stored, state=entry.state) == entry
    presented = found.stored.fingerprint
    assert presented in (entry.fingerprint, None)
    dead = {*found.replaced, *(fingerprint(one) for one in known)}
    assert (presented is None) == (entry.fingerprint is None or entry.fingerprint in dead)
