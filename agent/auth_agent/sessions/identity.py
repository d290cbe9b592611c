"""A session's ID token, for programs that have to show who is logged in: decided, told the time."""

from typing import NamedTuple

from auth_agent import remedies
from auth_agent.host.clock import Moment
from auth_agent.oauth import id_token
from auth_agent.secret import Secret
from auth_agent.sessions.advice import nobody, too_short
from auth_agent.sessions.session import Session
from auth_agent.sessions.state import Active
from auth_agent_client import errors


class IDToken(NamedTuple):
    """An ID token, and until when it is good, as Unix time in seconds."""

    value: Secret
    expires_at: float


def id_token_at_hand(session: Session, min_ttl: float | None, now: Moment) -> IDToken | None:
    """The ID token, where it is good for `min_ttl` seconds; None: a refresh may bring another one.

    Raises:
        AgentError: there is nobody to speak of.

    """
    name = session.account.name
    if not isinstance(session.state, Active) or session.blocked_by_config is not None:
        raise session.login_required()
    if not session.account.grant_type.has_user:
        raise nobody(name)
    if session.state.credentials.id_token is None and "openid" not in session.account.scope.split():
        reason = "its scope has no openid, without which there are no ID tokens"
        openid = (remedies.log_in_for_id_tokens(name, session.account.scope),)
        raise errors.Unsupported(f"{name}: {reason}", reason=reason, failure="unsupported", remedy=openid)
    found = _id_token(session)
    if found is None or found.expires_at - now.wall <= (min_ttl or 0.0):
        return None
    return found


def no_id_token(session: Session, now: Moment) -> errors.AgentError:
    """The error for a client that no ID token is good enough for, also after a refresh."""
    name, found = session.account.name, _id_token(session)
    left = 0.0 if found is None else found.expires_at - now.wall
    if left > 0:
        return too_short(left)
    reason = "the provider gave no new ID token at a refresh"
    again = (remedies.log_in_again(name),)
    return errors.Denied(f"{name}: {reason}", reason=reason, failure="reauthentication_required", remedy=again)


def _id_token(session: Session) -> IDToken | None:
    login = session.credentials
    value = None if login is None else login.id_token
    expires_at = None if value is None else id_token.expiry(id_token.claims(value) or {})
    return None if value is None or expires_at is None else IDToken(value, expires_at)
