"""What a session is after the agent's start: what the store has of it, read against what was noted beside it. Pure.

Theory of operation. A refresh changes three things that nothing holds together: the provider's records, the store's
entry and the note. They change in this order (docs/store.md, "The order of things at a refresh"): the note says that
the refresh token is *sent*; it is presented; its successor goes into the entry; the note says that it is *replaced*.
A note comes before what it warns of, since what isn't noted can't be known after a crash; *replaced* comes after the
save, since before it a crash would leave an entry whose only token is called dead. The agent may be killed between any
two of these, and the entry may be a backup's. So, by the refresh token that the entry has:

- It is not noted: nothing was under way, or it was finished.
- It is noted as sent: the provider may have replaced it, and the successor is lost. There is no better one, so it is
  presented again at once: a provider with a rotation overlap answers, for a while. Until then the access token serves.
- It was not sent, and is another than the one that the store had when the last one was sent: the successor was saved,
  and the agent killed before it noted that. All that was sent is dead. A token that was itself sent proves no such
  thing: its own save may have come late, after it was out.
- It is noted as replaced: the entry is an old copy. Whoever presents a replaced token has the provider end the session,
  wherever it is alive; so it never is, and a person has to log in.

A logout notes a *tombstone*, then deletes the entry. An entry that is there all the same is dead, and is deleted again,
unless it names that tombstone: then a login came after the logout, and the agent was killed before it noted that.
"""

from dataclasses import dataclass, replace
from typing import Final

from auth_agent.config import Account
from auth_agent.host.clock import Moment
from auth_agent.oauth.outcome import Lost
from auth_agent.sessions.entry import StoredSession
from auth_agent.sessions.fingerprints import Fingerprints
from auth_agent.sessions.state import Active, Credentials, LoggedOut, LoginRequired, Retrying
from auth_agent.storage.journal import Note

OLD_COPY: Final = "what the store has is an old copy, whose refresh token was replaced since"
INTERRUPTED: Final = "the agent was ended in the middle of a refresh"


@dataclass(frozen=True, slots=True)
class Recovery:
    """What comes of a session at the agent's start.

    `stored`: the session. `replaced`: the fingerprints of refresh tokens that must not be presented. `is_deleted`: the
    store must have nothing of it.
    """

    stored: StoredSession
    replaced: tuple[str, ...] = ()
    is_deleted: bool = False


def alive(stored: StoredSession | None, note: Note) -> StoredSession | None:
    """Return what the store has, or None if a logout has ended it."""
    return None if stored is None or note.tombstone not in (None, stored.after) else stored


def unreadable(account: Account, reason: str) -> StoredSession:
    """Return what stands for an entry that can't be read: a person has to log in, and the entry is left alone."""
    whose = account.issuer, account.client_id, account.audience
    nobody = Credentials(*whose, None, None, None, None, grant_type=account.grant_type)
    return StoredSession(LoginRequired(reason, nobody, failure="store_failed"), 0, 0, None)


def recover(stored: StoredSession | None, note: Note, fingerprints: Fingerprints, now: Moment) -> Recovery:
    """Return what the session is.

    Args:
        stored: what the store has of it, if that is alive.
        note: what was noted beside the store.
        fingerprints: the refresh tokens that are known to be replaced already; it is not changed.
        now: the time; what was interrupted is due now.

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
    elif fingerprint in note.sent:
        interrupted = Retrying(Lost(INTERRUPTED), failures=1, last=now, at=now, not_before=now)
        state = replace(state, refresh=interrupted)
    return Recovery(replace(stored, state=state), replaced)
