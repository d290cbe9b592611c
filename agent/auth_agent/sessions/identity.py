"""A session's ID token, for programs that need to prove who is logged in. Pure; the caller provides the time."""

from typing import NamedTuple

from auth_agent import remedies
from auth_agent.host.clock import Moment
from auth_agent.oauth import id_token
from auth_agent.secret import Secret
from auth_agent.sessions.advice import lifetime_too_short, no_user
from auth_agent.sessions.session import Session
from auth_agent.sessions.state import Active
from auth_agent_client import errors


class IDToken(NamedTuple):
    """An ID token, and when it expires, as Unix time in seconds."""

    value: Secret
    expires_at: float


def usable_id_token(session: Session, min_ttl: float | None, now: Moment) -> IDToken | None:
    """Return the ID token if it is valid for `min_ttl` seconds, else None: a refresh may bring another one.

    Raises:
        LoginRequired: the session is not active.
        Unsupported: the account has no user, its scope lacks `openid`, or its provider issues none.

    """
    name = session.account.name
    session.look(now)
    if not isinstance(session.state, Active) or session.blocked is not None:
        raise session.login_required()
    if not session.account.grant_type.has_user:
        raise no_user(name)
    if session.state.credentials.id_token is None and not session.account.has_id_tokens:
        reason = "its provider issues no ID tokens: the account has its token_endpoint, and no jwks_uri"
        raise errors.Unsupported(f"{name}: {reason}", reason=reason, failure="unsupported")
    if session.state.credentials.id_token is None and "openid" not in session.account.scope.split():
        reason = "its scope lacks openid, which ID tokens require"
        nobody = session.state.credentials.subject is None
        remedy = (remedies.log_in_for_id_tokens(name, session.account.scope, switch_user=nobody),)
        raise errors.Unsupported(f"{name}: {reason}", reason=reason, failure="unsupported", remedy=remedy)
    token = _id_token(session)
    if token is None or token.expires_at - now.wall <= (min_ttl or 0.0):
        return None
    return token


def id_token_unavailable(session: Session, now: Moment) -> errors.AgentError:
    """Return the error for a client whose request no ID token satisfies, even after a refresh."""
    name, token = session.account.name, _id_token(session)
    left = 0.0 if token is None else token.expires_at - now.wall
    if left > 0:
        return lifetime_too_short(left)
    reason = "the provider gave no new ID token at the refresh"
    remedy = (remedies.log_in_again(name),)
    return errors.Denied(f"{name}: {reason}", reason=reason, failure="reauthentication_required", remedy=remedy)


def _id_token(session: Session) -> IDToken | None:
    credentials = session.credentials
    value = None if credentials is None else credentials.id_token
    expires_at = None if value is None else id_token.expiry(id_token.claims(value) or {})
    return None if value is None or expires_at is None else IDToken(value, expires_at)
