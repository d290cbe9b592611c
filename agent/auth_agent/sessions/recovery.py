"""Determines a session's state at the agent's start, from its entry in the store and its note in the journal. Pure.

Theory of operation. A refresh changes three things, without a transaction around them: the provider's records, the
store's entry and the journal's note. They change in this order (docs/store.md, "The order of things at a refresh"): the
note marks the refresh token as *sent*; the agent presents it; the entry is saved with its successor; the note marks the
old one as *replaced*.
*Sent* is noted before the request, since after a crash only the note can tell that there was one. *Replaced* is noted
after the save, since a crash between the two would otherwise leave an entry whose only token counts as dead. The agent
may be killed between any two steps, and the entry may have been restored from a backup. So the state follows from the
refresh token in the entry:

- The note doesn't have it: no refresh was under way, or it was completed.
- The note has it as sent: the provider may have replaced it, and the successor is lost. The agent has no better one, so
  it presents the same one again at once, which a provider with a rotation overlap accepts for a while. Until then the
  access token is served.
- It was not sent, and the store had another one when the last one was sent: the successor was saved, and the agent was
  killed before it noted that. All tokens noted as sent are dead. (A token that was itself sent doesn't prove that: its
  own save may have completed late, after it was presented.)
- The note has it as replaced: the entry is an old copy. If the agent presented a replaced token, the provider would end
  the session everywhere. So it never does, and a person has to log in.

A logout notes a *tombstone*, then deletes the entry. If the entry is still there, it is dead and is deleted again,
unless its `after` names that tombstone: then it is of a login after the logout, and the agent was killed before it
removed the tombstone from the note.

Another machine's agent may have written the entry: a home directory was synced, restored from a backup or cloned. If
both agents presented their refresh tokens, the provider would end both sessions. No note says whether the other one is
still used, so a person has to.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final, TypeGuard

from auth_agent import remedies
from auth_agent.config import Account
from auth_agent.host.clock import Moment
from auth_agent.oauth.outcome import Lost
from auth_agent.sessions.entry import GARBAGE, StoredSession
from auth_agent.sessions.fingerprints import Fingerprints
from auth_agent.sessions.state import Active, Credentials, Locked, LoggedOut, LoginRequired, Retrying, State
from auth_agent.storage.journal import Note
from auth_agent_client.remedy import Remedy

OLD_COPY: Final = "the store's entry is an old copy: its refresh token has been replaced since"
# The failure of a session whose entry can't be read.
UNREADABLE: Final = "store_failed"
ELSEWHERE: Final = "the store's entry was written by another machine, which may use the session still"
GONE: Final = "the store has no entry of this session any more, though nobody logged out"
READ_AGAIN: Final = f"{GARBAGE}, and the agent reads it again"
# How often an entry is read that is garbage, before that is believed.
_READINGS: Final = 4
INTERRUPTED: Final = "the agent was stopped during a refresh"


@dataclass(frozen=True, slots=True)
class Recovery:
    """The state of a session at the agent's start.

    `stored`: the session. `replaced`: the fingerprints of refresh tokens that must not be presented. `is_deleted`: the
    session was logged out, so its entry must be deleted.
    """

    stored: StoredSession
    replaced: tuple[str, ...] = ()
    is_deleted: bool = False


def alive(stored: StoredSession | None, note: Note) -> StoredSession | None:
    """Return the session that the store has, or None if it has been logged out."""
    if stored is None:
        return None
    # An entry that can't be read does not tell which logout it came after.
    is_unknown = note.held and is_unreadable(stored.state) and not is_elsewhere(stored.state)
    return stored if is_unknown or note.tombstone in (None, stored.after) else None


def current(copies: Sequence[StoredSession], note: Note, fingerprints: Fingerprints) -> StoredSession | None:
    """Return the session that the store has, or None if it has none, or one that has been logged out.

    Args:
        copies: what the store has of it: several if another program has put a copy beside the entry, or if the entry is
            in several keyrings.
        note: the journal's note of the account.
        fingerprints: the refresh tokens that are known to be replaced.

    """
    living = [stored for stored in copies if alive(stored, note) is not None]
    return max(living, key=lambda stored: _rank(stored, note, fingerprints), default=None)


def _rank(stored: StoredSession, note: Note, fingerprints: Fingerprints) -> tuple[bool, bool, float, int, bool]:
    """Return a key by which copies of a session are compared: the greatest is the one to use."""
    state, token = stored.state, None
    if isinstance(state, Active):
        token = state.credentials.refresh_token
    is_replaced = token is not None and (token.fingerprint() in note.replaced or fingerprints.is_replaced(token))
    refreshed_at = stored.last_refresh_at or 0.0  # a login counts
    # Of two that are alike, the one that has ended: it came last.
    return not is_unreadable(state), not is_replaced, refreshed_at, stored.refreshes, not isinstance(state, Active)


def is_unreadable(state: State) -> TypeGuard[LoginRequired]:
    """Return whether that is the state of a session whose entry could not be read, or must not be used."""
    return isinstance(state, LoginRequired) and state.failure == UNREADABLE


def doubt(stored: StoredSession | None, account: str, readings: int, *, is_held: bool) -> Locked | None:
    """Return why a reading of the store is no verdict about the session, or None if it is one.

    The keyring may be another one than before, and one reading may be bad.

    Args:
        stored: what was read: the session, or None.
        account: the account's name.
        readings: how often in a row the same was read before.
        is_held: whether the store had an entry of the session, and nobody logged out since.

    """
    if stored is None:
        return Locked(GONE, remedies.find_entry(account), UNREADABLE, is_replaceable=True) if is_held else None
    is_garbage = is_unreadable(stored.state) and stored.state.reason == GARBAGE
    return Locked(READ_AGAIN, (), UNREADABLE) if is_garbage and readings < _READINGS else None


def unreadable(account: Account, reason: str, remedy: tuple[Remedy, ...] = ()) -> StoredSession:
    """Return the session for an entry that can't be read: a person has to log in. The entry is not changed.

    `remedy` is what helps besides a login.
    """
    client = account.issuer, account.client_id, account.audience
    credentials = Credentials(*client, None, None, None, None, grant_type=account.grant_type)
    return StoredSession(LoginRequired(reason, credentials, failure=UNREADABLE, remedy=remedy), 0, 0, None)


def by_machine(stored: StoredSession, machine: str, account: Account) -> StoredSession:
    """Return the session if its entry may be used on the machine with that digest; else one that says why not.

    If either machine is unknown (""), it may be used.
    """
    if "" in (stored.machine, machine) or stored.machine == machine:
        return stored
    return replace(unreadable(account, ELSEWHERE, (remedies.adopt(),)), after=stored.after)


def is_elsewhere(state: State) -> bool:
    """Return whether that is the state of a session whose entry another machine wrote."""
    return isinstance(state, LoginRequired) and (state.failure, state.reason) == (UNREADABLE, ELSEWHERE)


def recover(stored: StoredSession | None, note: Note, fingerprints: Fingerprints, now: Moment) -> Recovery:
    """Return the state of the session.

    Args:
        stored: what the store has of it, if it is `alive`.
        note: the journal's note of the account.
        fingerprints: the refresh tokens that are already known to be replaced; it is not changed.
        now: the time, at which an interrupted refresh is due.

    """
    fingerprint = None if stored is None else stored.fingerprint
    was_saved = fingerprint is not None and fingerprint != note.has and fingerprint not in note.sent
    replaced = (*note.replaced, *note.sent) if was_saved else tuple(note.replaced)
    if stored is None:
        return Recovery(StoredSession(LoggedOut(), 0, 0, None), replaced, is_deleted=note.tombstone is not None)
    state = stored.state
    if not isinstance(state, Active) or state.credentials.refresh_token is None:
        return Recovery(stored, replaced)
    if fingerprint in replaced or fingerprints.is_replaced(state.credentials.refresh_token):
        state = LoginRequired(OLD_COPY, replace(state.credentials, refresh_token=None))
    elif fingerprint in note.sent and not state.is_refused:  # a refused one is due as well
        interrupted = Retrying(Lost(INTERRUPTED), failures=1, failed_at=now, retry_at=now, not_before=now)
        state = replace(state, refresh=interrupted)
    return Recovery(replace(stored, state=state), replaced)
