"""The record of a session, which `status` and `watch` return. It never contains a token."""

from auth_agent.host.clock import Moment
from auth_agent.sessions.advice import NO_REFRESH_TOKEN, login_failure, login_remedy
from auth_agent.sessions.session import Session
from auth_agent.sessions.state import Active, Locked, LoggedOut, LoginRequired, Retrying, Running
from auth_agent_client import messages
from auth_agent_client.remedy import remedies_to_wire


def record(session: Session, now: Moment, lock: Locked | None = None) -> dict[str, object]:
    """Return the record as the protocol defines it; times are Unix time in seconds.

    `lock`: why the whole agent is locked, None if it isn't.
    """
    credentials, token = session.credentials, session.current()
    refresh_at = session.refresh_starts(now)
    state = state_name(session, now)
    reason, failure, remedy = session.reason, session.failure, session.remedy
    if lock is not None:
        state, reason, failure, remedy = messages.LOCKED, lock.reason, "locked", lock.remedy
    elif reason is None and state == messages.LOGIN_REQUIRED:
        reason = NO_REFRESH_TOKEN
        failure, remedy = login_failure(reason), login_remedy(session.account.name, reason)
    return {
        "account": session.account.name,
        "issuer": session.account.issuer if credentials is None else credentials.issuer,
        "subject": None if credentials is None else credentials.subject,
        "name": None if credentials is None else credentials.name,
        "state": state,
        "renewal": _renewal_name(session),
        "saved": session.saved,
        "reason": reason,
        "failure": failure,
        "remedy": remedies_to_wire(remedy),
        "expires_at": None if token is None else token.expires_at,
        "lifetime_assumed": token is not None and token.assumed,
        "refresh_at": None if refresh_at is None else max(refresh_at.wall, now.wall),
        "last_refresh_at": session.last_refresh_at,
        "refreshes": session.refreshes,
        "missing": _missing(session),
        "acr": None if credentials is None else credentials.acr,
        "session_ends_at": None if credentials is None else credentials.ends_at,
        "session_end_moves": credentials is not None and credentials.end_moves,
        "refresh_ends_access_token": session.ends_access_tokens,
        "epoch": session.epoch,
        "revision": session.revision,
    }


def state_name(session: Session, now: Moment) -> str:
    """Return the session's state as the protocol names it."""
    state = session.state
    if isinstance(state, Locked):
        return messages.LOCKED
    if session.blocked is not None or isinstance(state, LoginRequired):
        return messages.LOGIN_REQUIRED
    if isinstance(state, LoggedOut):
        return messages.LOGGED_OUT
    if session.remaining(now) > 0:
        return messages.READY
    if state.is_refused:
        return messages.LOGIN_REQUIRED
    return messages.EXPIRED if session.refreshable else messages.LOGIN_REQUIRED


def _missing(session: Session) -> list[str]:
    """Return what the provider did not give for this session, of the protocol's `MISSING`."""
    state = session.state
    if not isinstance(state, Active) or not state.credentials.grant_type.has_user:
        return []
    credentials = state.credentials
    given = {
        messages.ID_TOKEN: credentials.id_token,
        messages.SUBJECT: credentials.subject,
        messages.REFRESH_TOKEN: credentials.refresh_token,
    }
    return [word for word, value in given.items() if value is None]


def _renewal_name(session: Session) -> str:
    state = session.state
    if not isinstance(state, Active) or not session.refreshable:
        return messages.NO_RENEWAL
    if isinstance(state.refresh, Running):
        return messages.RUNNING
    return messages.RETRYING if isinstance(state.refresh, Retrying) else messages.IDLE
