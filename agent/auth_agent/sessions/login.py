"""How a session begins: proved in full beside what is there, before it takes its place."""

import logging

from auth_agent.config import Account
from auth_agent.oauth.outcome import Ended, Failure, Misconfigured, Refused, Transient
from auth_agent.secret import Secret
from auth_agent.sessions.acceptance import accept
from auth_agent.sessions.keeper import Keeper
from auth_agent.sessions.record import record
from auth_agent.sessions.refresher import Refresher
from auth_agent.sessions.session import Session
from auth_agent.sessions.state import Login
from auth_agent.sessions.table import Table
from auth_agent_client import errors

_log = logging.getLogger(__name__)


class Logins:
    """Begins sessions."""

    def __init__(self, table: Table, refresher: Refresher, keeper: Keeper) -> None:
        self._table = table
        self._refresher = refresher
        self._keeper = keeper

    async def import_refresh_token(
        self, session: Session, refresh_token: Secret, *, switch_user: bool
    ) -> dict[str, object]:
        """Take a refresh token over from somewhere else: one refresh proves it. The account's record.

        Whatever fails, the session that was there stays.

        Args:
            session: where it is to go.
            refresh_token: used up by this, where the provider rotates.
            switch_user: whether it may be another user's than before.

        Raises:
            AgentError: it can't be used; the text says why.

        """
        account, epoch = session.account, session.epoch
        self._refuse_what_is_known(refresh_token)
        outcome, sent = await self._refresher.present(account, refresh_token, lambda: session.epoch == epoch)
        if isinstance(outcome, Failure):
            raise _refusal(account, outcome)
        newest = outcome.refresh_token or refresh_token
        pending = Login(account.issuer, account.client_id, account.audience, None, None, newest, None)
        login = accept(pending, outcome)
        problem = _problem(session, epoch, login, switch_user=switch_user)
        if problem is not None or isinstance(login, Failure):
            await self._refresher.revoke(account, newest)
            raise problem or errors.Internal("a login was neither accepted nor refused")
        replaced = session.login
        now = self._table.clock.now()
        self._refresher.leave_login(session)
        session.log_in(login, session.access_token(outcome, login, sent), now)
        self._table.publish(account.name)
        self._refresher.reschedule()
        _log.info("import account=%s subject=%r", account.name, login.subject or "")
        # Noted before it is saved: what was presented is dead by then, also to an agent that starts after this one.
        await self._keeper.intend(session, refresh_token)
        if session.epoch == epoch + 1:
            await self._keeper.save(session, session.kept())
        if (
            replaced is not None
            and replaced.refresh_token is not None
            and replaced.is_bound_to(login.issuer, login.client_id)
        ):
            await self._refresher.revoke(account, replaced.refresh_token)
        return record(session, now)

    def _refuse_what_is_known(self, refresh_token: Secret) -> None:
        if self._refresher.is_spent(refresh_token):
            raise errors.InvalidRequest(
                "this refresh token was used before: its provider gives another one for it, and may end the session "
                "if it sees this one again; nothing was sent",
                parameter="refresh_token",
            )
        holder = self._table.holder(refresh_token)
        if holder is not None:
            raise errors.InvalidRequest(
                f"the agent holds this refresh token already, for {holder}", parameter="refresh_token"
            )


def _problem(session: Session, epoch: int, login: Login | Failure, *, switch_user: bool) -> errors.AgentError | None:
    """Why a login that was granted must not take the session's place; None when it may."""
    if isinstance(login, Failure):
        return _refusal(session.account, login)
    if session.epoch != epoch:
        return errors.Denied(f"{session.account.name}: another login, or a logout, came before this one was proved")
    before = session.login
    if switch_user or before is None or before.subject is None or not before.is_bound_to(login.issuer, login.client_id):
        return None
    name = session.account.name
    if login.subject is None:
        whose = f"{name}: the provider sent no ID token, so whose refresh token this is can't be told"
    elif login.subject != before.subject:
        whose = f"{name} is logged in as another user than this refresh token's"
    else:
        return None
    return errors.Denied(
        f"{whose}; the session stays as it was, and the refresh token is revoked; to change users, get another one, "
        f"then: auth-agent import {name} --switch-user"
    )


def _refusal(account: Account, failure: Failure) -> errors.AgentError:
    text = f"{account.name}: {failure.reason}"
    if isinstance(failure, Transient):
        return errors.Unavailable(f"{text}; try again", retry_after=2.0)
    if isinstance(failure, Ended):
        return errors.LoginRequired(f"{text}; log in again where the refresh token came from", reason=failure.reason)
    if isinstance(failure, Misconfigured):
        return errors.Misconfigured(f"{text}; correct the account's issuer or client_id")
    if isinstance(failure, Refused):
        return errors.Denied(text)
    return errors.ProviderError(text)
