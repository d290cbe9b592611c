"""Logins under way: one an account, each its client's, from the question to the session that comes of it."""

import logging
import secrets
from collections.abc import Callable
from typing import Final

import anyio
import anyio.lowlevel

from auth_agent import remedies
from auth_agent.config import Account
from auth_agent.defect import place
from auth_agent.loopback.listener import PortsTakenError
from auth_agent.oauth.client import NONE
from auth_agent.oauth.discovery import end_session_url
from auth_agent.oauth.outcome import Failure, Misconfigured
from auth_agent.oauth.provider import Provider
from auth_agent.promise import Promise
from auth_agent.remedies import IMPORT, LOGIN
from auth_agent.secret import Secret
from auth_agent.sessions.admission import Admission, PendingSession
from auth_agent.sessions.advice import agent_ending, internal_error, login_cancelled, login_failed
from auth_agent.sessions.background import Background
from auth_agent.sessions.flows import BrowserFlow, ClientFlow, DeviceFlow, Flow, Wait
from auth_agent.sessions.record import record
from auth_agent.sessions.revocation import Arrival, Revocation
from auth_agent.sessions.session import Session
from auth_agent.sessions.state import Credentials
from auth_agent.sessions.table import Table
from auth_agent.sessions.token_client import TokenClient
from auth_agent_client import errors

_log = logging.getLogger(__name__)

# How long a login waits for the one before it to free its port, in seconds.
_MAKE_ROOM: Final = 3.0
# How long a logout waits to know its provider's page, which it knows but after a start, in seconds.
_LOGOUT_PATIENCE: Final = 3.0
_OWNER_HAS_GONE: Final = "whoever began the login has gone"


class LoginInProgress:
    """A login under way. It belongs to `owner`, the connection that began it."""

    def __init__(
        self, session: Session, epoch: int, account: Account, owner: object, flow: Flow, *, switch_user: bool
    ) -> None:
        self.login_id = secrets.token_urlsafe(16)
        self.session = session
        self.owner = owner
        # None once it is over: its result may be asked for again, and what it holds must not stay.
        self.flow: Flow | None = flow
        self.switch_user = switch_user
        self.wait = Wait()
        self.arrival = Arrival(session, epoch, account, lambda: not self.wait.is_paused)
        self.over = Promise[None]()
        self.closed = anyio.Event()

    async def ended(self) -> str | errors.AgentError | None:
        """Whose session came of it, or why none did, once that is known."""
        try:
            await self.over.wait()
        except errors.AgentError as error:
            return error
        login = self.session.credentials
        return None if login is None else login.name or login.subject

    def close(self) -> None:
        """Keep the result, and nothing of the way to it."""
        self.over.fail(agent_ending())  # unless it came to another end
        self.flow, self.wait.answer = None, None
        self.closed.set()


class Logins:
    """Begins sessions, and ends them."""

    def __init__(
        self,
        table: Table,
        tokens: TokenClient,
        background: Background,
        admission: Admission,
        provider_for: Callable[[Account], Provider],
    ) -> None:
        self._table = table
        self._tokens = tokens
        self._background = background
        self._admission = admission
        self._provider_for = provider_for
        self._pending: dict[Session, LoginInProgress] = {}
        self._ending = False

    # ---- by a refresh token

    async def import_refresh_token(
        self, session: Session, refresh_token: Secret, *, switch_user: bool, client_secret: Secret | None = None
    ) -> dict[str, object]:
        """Take a refresh token over from somewhere else: one refresh proves it. The account's record.

        Whatever fails, the session that was there stays.

        Args:
            session: where it is to go.
            refresh_token: used up by this, where the provider rotates.
            switch_user: whether it may be another user's than before.
            client_secret: what its client authenticates with.

        Raises:
            AgentError: it can't be used; the text says why.

        """
        account = session.account
        if not account.grant_type.has_refresh_token:
            raise errors.InvalidRequest(
                f"{account.name} is its client's own account, which has no refresh token",
                parameter="account",
                remedy=(remedies.log_in(account.name),),
            )
        self._refuse_what_is_known(refresh_token)
        login = _login_of(account, client_secret or _known_secret(session), IMPORT, refresh_token)
        arrival = Arrival(session, session.epoch, account)
        with self._table.expecting(arrival):
            outcome, sent = await self._tokens.refresh(account, login, lambda: session.epoch == arrival.epoch)
            if isinstance(outcome, Failure):
                raise login_failed(account, outcome, IMPORT)
            granted = PendingSession(account, login, outcome, sent)
            await self._admission.admit(arrival, granted, IMPORT, switch_user=switch_user)
        return record(session, self._table.clock.now())

    def _refuse_what_is_known(self, refresh_token: Secret) -> None:
        if self._tokens.is_spent(refresh_token):
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

    # ---- by a person, or the client itself

    async def begin(
        self, session: Session, owner: object, flow: str, *, switch_user: bool, client_secret: Secret | None
    ) -> dict[str, object]:
        """Begin a login; another one of that account's is called off. What a person needs, as the protocol has it.

        Args:
            session: where it is to go.
            owner: whose login it is: see `leave`.
            flow: "browser" or "device"; an account of the client's own has neither.
            switch_user: whether it may be another user's than before.
            client_secret: what the client authenticates with; by default what it did before.

        Raises:
            AgentError: it can't begin; the text says why.

        """
        # Before anything is waited for: a logout meanwhile has the last word.
        account, epoch = session.account, session.epoch
        login = _login_of(account, client_secret or _known_secret(session), LOGIN)
        if self._ending:
            raise agent_ending()
        before = self._supersede(session)
        if before is not None:  # its port may be the one that is wanted
            with anyio.move_on_after(_MAKE_ROOM):
                await before.closed.wait()
        begun = await self._flow(account, login, flow)
        pending = LoginInProgress(session, epoch, account, owner, begun, switch_user=switch_user)
        try:
            self._background.begin(lambda: self._run(pending, begun))
            self._supersede(session)  # one that began at the same moment
            self._pending[session] = pending
            await anyio.lowlevel.checkpoint()  # the owner may have left meanwhile
        except BaseException:
            pending.wait.call_off(login_cancelled(account.name, _OWNER_HAS_GONE))
            if self._pending.get(session) is not pending:
                with anyio.CancelScope(shield=True):
                    await begun.aclose()
            raise
        expires_at = self._table.clock.now().wall + begun.lifetime
        return {"login_id": pending.login_id, "expires_at": expires_at, **begun.shown()}

    async def _flow(self, account: Account, credentials: Credentials, flow: str) -> Flow:
        if not account.grant_type.has_user:
            return ClientFlow(account, credentials, self._tokens)
        provider = self._provider_for(account)
        metadata = await provider.discover()
        if isinstance(metadata, Failure):
            raise login_failed(account, metadata, LOGIN)
        if flow == "device":
            client = credentials.client(account.token_endpoint_auth_method)
            device = await provider.begin_device(client, account.scope, account.audience)
            if isinstance(device, Failure):
                raise login_failed(account, device, LOGIN)
            return DeviceFlow(account, credentials, self._tokens, device, self._table.clock)
        if metadata.authorization_endpoint is None:
            reason = f"{account.issuer} names no authorization_endpoint that can be used"
            raise login_failed(account, Misconfigured(reason), LOGIN)
        try:
            return BrowserFlow(account, credentials, self._tokens, metadata, metadata.authorization_endpoint)
        except PortsTakenError as error:
            raise errors.Misconfigured(
                f"{account.name}: {error}",
                reason=str(error),
                failure="misconfigured",
                remedy=remedies.other_ports(account.name),
            ) from error

    def _supersede(self, session: Session) -> LoginInProgress | None:
        """Call the session's login off, which may be long over; that one."""
        before = self._pending.get(session)
        if before is not None:
            before.wait.call_off(login_cancelled(session.account.name, "another login was begun in place of this one"))
        return before

    async def _run(self, pending: LoginInProgress, flow: Flow) -> None:
        try:
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(self._serve, pending, flow)
                failure = await self._failure(pending, flow)
                if failure is None:
                    pending.over.resolve(None)
                else:
                    _log.info("login account=%s failed=%s", pending.session.account.name, failure.code)
                    pending.over.fail(failure.with_traceback(None))
                await flow.aclose()
                tasks.cancel_scope.cancel()
        finally:
            pending.close()

    async def _serve(self, pending: LoginInProgress, flow: Flow) -> None:
        """Answer the person's browser; without that there is nothing to wait for."""
        try:
            await flow.serve(pending.ended, pending.wait)
        except Exception as error:  # noqa: BLE001 -- one login's defect must not end the agent
            _log.error("defect account=%s in=login error=%s", pending.session.account.name, place(error))
            pending.wait.call_off(internal_error())

    async def _failure(self, pending: LoginInProgress, flow: Flow) -> errors.AgentError | None:
        """Bring a login to its end; why it came to nothing, if so."""
        session, wait = pending.session, pending.wait
        try:
            with self._table.expecting(pending.arrival):
                granted = await flow.obtain(wait)
                await self._admission.admit(
                    pending.arrival,
                    granted,
                    LOGIN,
                    switch_user=pending.switch_user,
                    is_wanted=lambda: wait.called_off is None,
                )
        except errors.AgentError as error:
            return error
        except Exception as error:  # noqa: BLE001 -- one login's defect must not end the agent
            # Its type and place alone: an exception's text could hold what was being sent.
            _log.error("defect account=%s in=login error=%s", session.account.name, place(error))
            return internal_error()
        return None

    async def log_out(self, session: Session, *, revoke: bool, shared: bool = False) -> Revocation:
        """End the account's session: see `Admission.log_out`."""
        return await self._admission.log_out(session, revoke=revoke, shared=shared)

    async def end_session_url(self, session: Session) -> str | None:
        """The provider's page that ends the browser's session, where there is one, and it is known in a moment."""
        account = session.account
        if not account.grant_type.has_user:
            return None
        with anyio.move_on_after(_LOGOUT_PATIENCE):
            metadata = await self._provider_for(account).discover()
            if not isinstance(metadata, Failure):
                return end_session_url(metadata, account.client_id)
        return None

    # ---- what a client asks of its login

    async def result(self, login_id: str) -> dict[str, object]:
        """The account's record, when the login is over. Raises an `AgentError` where none came of it."""
        pending = self._find(login_id)
        await pending.over.wait()
        return record(pending.session, self._table.clock.now())

    def redirect(self, login_id: str, address: str) -> None:
        """The address that the browser ended on, pasted by a person whose browser is on another machine.

        Raises:
            InvalidRequest: it isn't this login's; the wait goes on.

        """
        pending = self._find(login_id)
        if pending.over.is_done:
            return  # it needs none any more
        flow = pending.flow
        found = flow.read_url(address) if isinstance(flow, BrowserFlow) else None
        if found is None:
            raise errors.InvalidRequest(
                "this is not the address that this login ends on: paste the whole address of the last page, "
                "which begins with http://127.0.0.1 and has a state",
                parameter="url",
            )
        pending.wait.bring(found)

    def cancel(self, login_id: str) -> None:
        """Call a login off. Raises `InvalidRequest` where there is no such login."""
        pending = self._find(login_id)
        pending.wait.call_off(login_cancelled(pending.session.account.name, "the login was cancelled"))

    def leave(self, owner: object) -> None:
        """That client has gone, and with it its logins."""
        for pending in self._pending.values():
            if pending.owner is owner:
                pending.wait.call_off(login_cancelled(pending.session.account.name, _OWNER_HAS_GONE))

    def call_all_off(self) -> None:
        """The agent is ending: nobody is waited for any more, and no login begins."""
        self._ending = True
        for pending in self._pending.values():
            pending.wait.call_off(agent_ending())

    def _find(self, login_id: str) -> LoginInProgress:
        for pending in self._pending.values():
            if secrets.compare_digest(pending.login_id.encode(), login_id.encode("utf-8", "replace")):
                return pending
        raise errors.InvalidRequest("there is no such login, or another one took its place", parameter="login_id")


def _known_secret(session: Session) -> Secret | None:
    """What the session's client authenticated with before, where it is to do so still."""
    login, account = session.credentials, session.account
    if login is None or account.token_endpoint_auth_method == NONE:
        return None
    return login.client_secret if login.is_bound_to(account.issuer, account.client_id) else None


def _login_of(
    account: Account, secret: Secret | None, command: str, refresh_token: Secret | None = None
) -> Credentials:
    """What the provider is asked as, before it says who logged in.

    Raises:
        InvalidRequest: a secret is needed, or must not be given.

    """
    method = account.token_endpoint_auth_method
    if secret is None and (account.grant_type.needs_secret or method not in (None, NONE)):
        raise errors.InvalidRequest(
            f"{account.name}'s client authenticates with a secret",
            parameter="client_secret",
            remedy=(remedies.give_secret(command, account.name),),
        )
    if secret is not None and method == NONE:
        raise errors.InvalidRequest(
            f"{account.name}'s client is a public one by its token_endpoint_auth_method, and has no secret",
            parameter="client_secret",
        )
    return Credentials(
        issuer=account.issuer,
        client_id=account.client_id,
        audience=account.audience,
        subject=None,
        # A client that stands for itself is known by its id.
        name=None if account.grant_type.has_user else account.client_id,
        refresh_token=refresh_token,
        id_token=None,
        client_secret=secret,
        grant_type=account.grant_type,
    )
