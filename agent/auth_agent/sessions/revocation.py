"""Which refresh tokens may be revoked, and what came of it.

A revocation may end the whole grant (RFC 7009, section 2.1): at many providers that is all that a user granted to a
client, and the logins of a person in one browser share it. So a refresh token that is no longer needed, since a login
replaced it or was refused, is forgotten. It is revoked only where no session that stays may belong to the same grant.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from auth_agent.config import Account
from auth_agent.sessions.session import Session
from auth_agent.sessions.state import Active, Credentials, Locked, LoggedOut
from auth_agent.urls import is_same_issuer

_FEW: Final = 3  # accounts that a sentence names


@dataclass(frozen=True, slots=True)
class Revocation:
    """What came of a refresh token that was to be revoked; true where the provider took it back.

    `shared_with` names the accounts for whose sessions' sake the provider was not asked.
    """

    revoked: bool = False
    shared_with: tuple[str, ...] = ()

    def __bool__(self) -> bool:
        return self.revoked

    @property
    def reason(self) -> str | None:
        """Why the provider was not asked, as a sentence; None where no other session was the reason."""
        if not self.shared_with:
            return None
        names, more = self.shared_with[:_FEW], len(self.shared_with) - _FEW
        named = [*names, f"{more} more"] if more > 0 else list(names)
        whose = " and ".join([", ".join(named[:-1]), named[-1]] if len(named) > 1 else named)
        sessions, which = ("session", "has") if len(named) == 1 else ("sessions", "have")
        return (
            f"revoking its refresh token may also end the {sessions} of {whose}, "
            f"which {which} the same client and may have the same user"
        )


class Arrival:
    """A login or import on its way to become an account's session, begun in that epoch of it.

    `is_asked_for` tells whether the provider may have granted its tokens: from then on a revocation may end them.
    """

    def __init__(
        self, session: Session, epoch: int, account: Account, is_asked_for: Callable[[], bool] = lambda: True
    ) -> None:
        self.session = session
        self.epoch = epoch
        self._account = account
        self._is_asked_for = is_asked_for

    def may_end_with(self, credentials: Credentials) -> bool:
        """Whether it may end when that login's refresh token is revoked; nobody knows yet whose it is."""
        return self.session.epoch == self.epoch and self._is_asked_for() and _is_of(self._account, credentials)


def may_end_with(session: Session, credentials: Credentials) -> bool:
    """Whether a session may end when that login's refresh token is revoked; not one that has nothing left to lose."""
    state = session.state
    if isinstance(state, Locked):  # there may be a session, and nobody knows whose
        return _is_of(session.account, credentials)
    if isinstance(state, LoggedOut) or not (isinstance(state, Active) or state.can_retry):
        return False
    left = state.credentials
    is_same_client = is_same_issuer(left.issuer, credentials.issuer) and left.client_id == credentials.client_id
    return is_same_client and (
        left.subject is None or credentials.subject is None or left.subject == credentials.subject
    )


def _is_of(account: Account, credentials: Credentials) -> bool:
    return is_same_issuer(account.issuer, credentials.issuer) and account.client_id == credentials.client_id
