"""Which refresh tokens may be revoked.

Theory of operation. A revocation may end the whole authorization grant (RFC 7009, section 2.1), which at many providers
covers everything that a user granted to a client: all sessions of that user and client. So a refresh token that is no
longer needed is revoked only if no remaining session may belong to the same grant; otherwise it is just deleted.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from auth_agent.config import Account
from auth_agent.sessions.session import Session
from auth_agent.sessions.state import Active, Credentials, Locked, LoggedOut
from auth_agent.urls import is_same_issuer

_MAX_NAMES: Final = 3  # accounts that a message names


@dataclass(frozen=True, slots=True)
class Revocation:
    """The result of a revocation; true if the provider revoked the token.

    `shared_with` names the accounts whose sessions might have ended, so that nothing was sent.
    """

    revoked: bool = False
    shared_with: tuple[str, ...] = ()

    def __bool__(self) -> bool:
        return self.revoked

    @property
    def reason(self) -> str | None:
        """Why no revocation was sent, or None if that was not because of other sessions."""
        if not self.shared_with:
            return None
        names, more = self.shared_with[:_MAX_NAMES], len(self.shared_with) - _MAX_NAMES
        listed = [*names, f"{more} more"] if more > 0 else list(names)
        accounts = " and ".join([", ".join(listed[:-1]), listed[-1]] if len(listed) > 1 else listed)
        sessions, which = ("session", "has") if len(listed) == 1 else ("sessions", "have")
        return (
            f"revoking its refresh token may also end the {sessions} of {accounts}, "
            f"which {which} the same client and may have the same user"
        )


class Arrival:
    """A login or import under way, begun in that epoch of the session.

    `is_asked_for` returns whether the provider may have issued its tokens, which a revocation could end.
    """

    def __init__(
        self, session: Session, epoch: int, account: Account, is_asked_for: Callable[[], bool] = lambda: True
    ) -> None:
        self.session = session
        self.epoch = epoch
        self._account = account
        self._is_asked_for = is_asked_for

    def may_end_with(self, credentials: Credentials) -> bool:
        """Whether revoking those credentials may end it; its user is not known yet."""
        return self.session.epoch == self.epoch and self._is_asked_for() and _is_of(self._account, credentials)


def may_end_with(session: Session, credentials: Credentials) -> bool:
    """Whether revoking those credentials may end the session, if it has anything left to lose."""
    state = session.state
    if isinstance(state, Locked):  # the store may hold a session, of an unknown user
        return _is_of(session.account, credentials)
    if isinstance(state, LoggedOut) or not (isinstance(state, Active) or state.can_retry):
        return False
    remaining = state.credentials
    may_be_same_user = (
        remaining.subject is None or credentials.subject is None or remaining.subject == credentials.subject
    )
    return may_be_same_user and remaining.is_bound_to(credentials.issuer, credentials.client_id)


def _is_of(account: Account, credentials: Credentials) -> bool:
    return is_same_issuer(account.issuer, credentials.issuer) and account.client_id == credentials.client_id
