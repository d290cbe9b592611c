"""Checks new tokens and makes them an account's session; ends sessions.

Theory of operation. The tokens of a login or import are checked completely before they replace anything: if a check
fails, the old session stays, and the new tokens are discarded. Discarded or replaced refresh tokens are revoked only if
no other session may end with them (see revocation.py).
"""

import logging
from collections.abc import Callable
from dataclasses import dataclass, replace

import anyio

from auth_agent import remedies
from auth_agent.config import Account
from auth_agent.host.clock import Moment
from auth_agent.oauth import asked as asked_for, id_token
from auth_agent.oauth.entra import Tenant
from auth_agent.oauth.outcome import Failure, Misconfigured, TokenResponse, Unusable
from auth_agent.oauth.provider import Provider
from auth_agent.printable import printable
from auth_agent.remedies import IMPORT
from auth_agent.secret import Secret
from auth_agent.sessions.acceptance import accept, over_already
from auth_agent.sessions.advice import (
    ACCOUNT_CHANGED,
    ACCOUNT_REMOVED,
    locked,
    login_blocked,
    login_cancelled,
    login_failed,
)
from auth_agent.sessions.background import PATIENCE, Background
from auth_agent.sessions.identification import Identification
from auth_agent.sessions.refresher import Refresher
from auth_agent.sessions.revocation import Arrival, Revocation
from auth_agent.sessions.saver import Saver
from auth_agent.sessions.session import Session
from auth_agent.sessions.session_end import is_reached
from auth_agent.sessions.side_requests import after_login
from auth_agent.sessions.state import Credentials, Locked
from auth_agent.sessions.table import Table
from auth_agent.sessions.token_client import TokenClient
from auth_agent.sessions.verifier import Verifier
from auth_agent_client import errors

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class PendingSession:
    """The response of a login or import, not checked yet.

    `account` is as it was when the login began. `credentials` are those of the request, with the refresh token that an
    import used up. `sent` is when the token request was sent; `nonce` must be in the ID token, if there was one.
    """

    account: Account
    credentials: Credentials
    response: TokenResponse | Failure
    sent: Moment
    nonce: Secret | None = None


class Admission:
    """Adds sessions to a table, and ends them."""

    def __init__(
        self,
        table: Table,
        refresher: Refresher,
        tokens: TokenClient,
        background: Background,
        saver: Saver,
        provider_for: Callable[[Account], Provider],
        verifier: Verifier,
        identification: Identification,
    ) -> None:
        self._table = table
        self._refresher = refresher
        self._tokens = tokens
        self._background = background
        self._saver = saver
        self._provider_for = provider_for
        self._verifier = verifier
        self._identification = identification

    async def admit(
        self,
        arrival: Arrival,
        pending: PendingSession,
        command: str,
        *,
        switch_user: bool,
        is_wanted: Callable[[], bool] = lambda: True,
    ) -> None:
        """Check the tokens, and replace the session.

        Args:
            arrival: the login or import.
            pending: its tokens.
            command: LOGIN or IMPORT.
            switch_user: whether they may belong to another user than the present session.
            is_wanted: returns whether the login has not been called off.

        Raises:
            AgentError: the provider issued no tokens, or a check failed.

        """
        account, response = pending.account, pending.response
        credentials = replace(
            pending.credentials, refresh_token=response.refresh_token or pending.credentials.refresh_token
        )
        try:
            # The response says whose tokens they are.
            credentials, tokens = await self._verify(credentials, pending, command, is_wanted)
            now = self._table.clock.now()
            _check_place(arrival, credentials, command, now, switch_user=switch_user, is_wanted=is_wanted())
        except Exception as error:
            self._table.arrivals.discard(arrival)
            # What can't be checked just now is no reason to end a grant.
            is_unchecked = isinstance(response, TokenResponse) and isinstance(error, errors.Unavailable)
            if not is_unchecked and (isinstance(response, TokenResponse) or response.refresh_token is not None):
                await self._tokens.revoke(account, credentials)
            raise
        await self._replace_session(arrival.session, credentials, tokens, pending, command)

    async def _verify(
        self, credentials: Credentials, pending: PendingSession, command: str, is_wanted: Callable[[], bool]
    ) -> tuple[Credentials, TokenResponse]:
        """Return the credentials with what the response adds, and the response. Raises an `AgentError` if it fails."""
        response = pending.response
        if isinstance(response, Failure):
            raise login_failed(pending.account, response, command)
        if response.access_token is None:
            reason = "the provider issued no access token; some issue one only for an API, or for a scope of it"
            raise login_failed(pending.account, Misconfigured(reason, keys=("scope", "audience")), command)
        accepted = accept(credentials, response, pending.sent)
        if isinstance(accepted, Failure):
            raise login_failed(pending.account, accepted, command)
        await self._check_id_token(response.id_token, pending, command, accepted.tenant, is_wanted)
        organization = await self._check_what_was_asked(response.id_token, pending, command)
        over = over_already(accepted, self._table.clock.now().wall)
        if over is not None:
            raise login_failed(pending.account, over, command)
        met = pending.account.require_claims
        accepted = replace(accepted, granted_scope=response.scope, organization=organization, met_claims=met)
        return await self._identification.complete(pending.account, accepted, response, command), response

    async def _check_id_token(
        self,
        token: Secret | None,
        pending: PendingSession,
        command: str,
        tenant: Tenant | None,
        is_wanted: Callable[[], bool],
    ) -> None:
        account = pending.account
        if not pending.credentials.grant_type.has_user:
            return
        if token is None:
            # Only here does an ID token bind the tokens to this login, by its nonce.
            if "openid" in account.scope.split() and pending.nonce is not None and await self._has_id_tokens(account):
                raise login_failed(
                    account,
                    Unusable("the provider sent no usable ID token, though the scope has openid"),
                    command,
                )
            return
        claims = id_token.claims(token)
        now = self._table.clock.now().wall
        problem: Failure | None = (
            Unusable("the provider's ID token is not a valid JWT")
            if claims is None
            else id_token.login_problem(
                claims, account.issuer if tenant is None else tenant.issuer, account.client_id, pending.nonce, now
            )
        )
        if problem is None:
            secret = pending.credentials.client_secret
            problem = await self._verifier.problem_at_login(account, secret, token, is_wanted, tenant)
        if problem is not None:
            raise login_failed(account, problem, command)

    async def _check_what_was_asked(self, token: Secret | None, pending: PendingSession, command: str) -> str | None:
        """Return the organization that the login asked for, and got. Raises an `AgentError` if a check fails."""
        account = pending.account
        if not pending.credentials.grant_type.has_user:
            return None
        asked = account.authorize
        if command == IMPORT:  # its login asked for what it asked for; only who it is for must be right
            asked = {name: value for name, value in asked.items() if name == asked_for.ORGANIZATION}
        metadata = await self._provider_for(account).discover()
        if isinstance(metadata, Failure) and asked.get(asked_for.ORGANIZATION):
            raise login_failed(account, metadata, command)
        is_auth0 = not isinstance(metadata, Failure) and metadata.is_auth0
        claims = None if token is None else id_token.claims(token)
        problem = asked_for.login_problem(asked, claims, is_auth0=is_auth0, required=account.require_claims)
        if problem is not None:
            raise login_failed(account, problem, command)
        return asked.get(asked_for.ORGANIZATION) or None if is_auth0 else None

    async def _has_id_tokens(self, account: Account) -> bool:
        """Whether the provider issues ID tokens, as far as that is known."""
        metadata = await self._provider_for(account).discover()
        is_openid = isinstance(metadata, Failure) or metadata.is_openid
        return is_openid or account.id_token_signed_response_alg is not None

    async def _replace_session(
        self,
        session: Session,
        credentials: Credentials,
        response: TokenResponse,
        pending: PendingSession,
        command: str,
    ) -> None:
        name, replaced, now = session.account.name, session.credentials, self._table.clock.now()
        self._refresher.leave_login(session)
        elapsed, credentials = now.boot - pending.sent.boot, after_login(credentials, replaced)
        session.log_in(credentials, session.access_token(response, credentials, pending.sent, elapsed=elapsed), now)
        epoch = session.epoch
        self._table.publish(name)
        self._refresher.reschedule(session)
        _log.info("%s account=%s subject=%r", command, name, credentials.subject or "")
        if pending.credentials.refresh_token is not None:
            # Noted before the save: the imported token is used up, and the next agent must know that, too.
            await self._saver.record_sent(session, pending.credentials.refresh_token)
        if session.epoch == epoch:
            await self._saver.save(session, session.snapshot())
        if (
            replaced is not None
            and replaced.refresh_token != credentials.refresh_token
            and replaced.is_bound_to(credentials.issuer, credentials.client_id)
            and not is_reached(replaced.ceiling, now.wall)  # the provider has ended it
        ):
            await self._retire(session, replaced)

    async def log_out(self, session: Session, *, revoke: bool, shared: bool = False) -> Revocation:
        """End the session now; then revoke its newest refresh token, and return whether that was done.

        Args:
            session: the session.
            revoke: whether to revoke its refresh token.
            shared: whether to do so even if a session of another account may end with it.

        """
        await self._saver.wait_until_loaded(session)  # an unread refresh token can't be revoked
        session.look(self._table.clock.now())
        account, may_revoke = session.account, revoke and session.is_of_account and not session.is_over
        flight = self._refresher.leave_login(session, revoke=revoke, shared=shared)
        credentials = session.log_out()
        self._table.publish(account.name)
        self._refresher.reschedule(session)
        _log.info("logout account=%s", account.name)
        await self._saver.mark_deleted(session)
        # A refresh token is only sent to its own provider, with its own client.
        if credentials is None or not may_revoke:
            return Revocation()
        if flight is not None:
            with anyio.move_on_after(PATIENCE):
                await flight.done.wait()
            if flight.late is not None:
                return flight.late
        return await self._tokens.revoke(account, credentials, shared=shared)

    async def _retire(self, session: Session, replaced: Credentials) -> None:
        """Revoke replaced credentials, once they are not in the store any more: after a crash they may be needed."""
        saved = self._saver.saved_event(session)
        account = session.account
        if saved.is_set():
            await self._tokens.revoke(account, replaced)
            return

        async def revoke() -> None:
            await saved.wait()
            await self._tokens.revoke(account, replaced)

        self._background.begin_optional(revoke)


def _check_place(
    arrival: Arrival, credentials: Credentials, command: str, now: Moment, *, switch_user: bool, is_wanted: bool
) -> None:
    """Raise an `AgentError` if new credentials must not replace the session."""
    session = arrival.session
    account, before = session.account, session.credentials
    name = account.name
    if not is_wanted:
        raise login_cancelled(name, "the login was called off while the provider granted it")
    if session.epoch != arrival.epoch:
        raise login_cancelled(name, "another login, or a logout, came before this one was proved")
    if session.removed:
        raise login_blocked(name, ACCOUNT_REMOVED)
    if isinstance(session.state, Locked) and not session.is_replaceable:  # an entry that was gone may be back
        raise locked(name, session.state)
    if not credentials.is_bound_to(account.issuer, account.client_id) or credentials.grant_type != account.grant_type:
        raise login_blocked(name, ACCOUNT_CHANGED)
    if switch_user or before is None:
        return
    if not before.is_bound_to(credentials.issuer, credentials.client_id) or before.grant_type != credentials.grant_type:
        return  # the configuration has changed: that session can't be used
    whose = _other_user(credentials, before, is_live=session.is_live(now))
    if whose is None:
        return
    reason = f"{whose}; the session stays as it was, and what was granted is forgotten"
    switch = remedies.switch_user_by_import(name) if command == IMPORT else remedies.switch_user(name)
    raise errors.Denied(f"{name}: {reason}", reason=reason, failure="wrong_user", remedy=(switch,))


def _other_user(credentials: Credentials, before: Credentials, *, is_live: bool) -> str | None:
    """Return why new credentials may be another user's than those before, None if they are not.

    `is_live`: whether the session before could go on; if nobody knows whose it was, only then does it matter.
    """
    if not credentials.grant_type.has_user or (before.subject is None and not is_live):
        return None
    if credentials.subject is None:
        return "neither an ID token nor UserInfo tells who has logged in, and somebody is logged in"
    if credentials.user == before.user:
        return None
    # The old name may come from the store, where other programs can write.
    new, old = (printable(user.name or user.subject) for user in (credentials, before))
    if before.subject is None:
        return f"this is {new}, and it is not known who is logged in"
    return f"this is {new}, another user than {old}, who is logged in"
