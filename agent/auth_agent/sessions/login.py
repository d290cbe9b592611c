"""Logins under way: at most one per account, each owned by the client that began it."""

import logging
import secrets
from collections import Counter
from collections.abc import Callable, Hashable, Mapping
from dataclasses import replace
from functools import partial
from typing import Final

import anyio
import anyio.lowlevel

from auth_agent import remedies
from auth_agent.added_parameters import RESERVED, problem_of_login
from auth_agent.config import Account
from auth_agent.defect import place
from auth_agent.host.clock import Moment
from auth_agent.loopback.listener import PortsTakenError
from auth_agent.oauth.client import CERTIFICATE_METHODS, SECRETLESS
from auth_agent.oauth.device import DeviceAuthorization
from auth_agent.oauth.discovery import end_session_url, without_offline_access
from auth_agent.oauth.outcome import Failure, Misconfigured, ScopeRefusal, Unsupported
from auth_agent.oauth.provider import Provider
from auth_agent.oauth.resource import BOTH, RESOURCE, api_parameters
from auth_agent.promise import Promise
from auth_agent.remedies import IMPORT, LOGIN
from auth_agent.secret import Secret
from auth_agent.sessions.admission import Admission, PendingSession
from auth_agent.sessions.advice import agent_ending, busy, internal_error, login_cancelled, login_failed
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

# Seconds that a login waits for the previous one to close its port.
_MAKE_ROOM: Final = 3.0
# Seconds that a logout waits for the provider's metadata, which is usually cached.
_LOGOUT_PATIENCE: Final = 3.0
# Seconds within which a program that asks again for a login does not end another program's.
_INSISTENCE: Final = 60.0
_OWNER_HAS_GONE: Final = "whoever began the login has gone"


class LoginInProgress:
    """A login under way. It belongs to `owner`, the connection of `program` that began it."""

    def __init__(
        self,
        session: Session,
        epoch: int,
        account: Account,
        owner: object,
        program: Hashable,
        flow: Flow,
        *,
        switch_user: bool,
    ) -> None:
        self.login_id = secrets.token_urlsafe(16)
        self.session = session
        self.owner = owner
        self.program = program
        # None once it is over: the result is kept, but the flow's secrets must not stay in memory.
        self.flow: Flow | None = flow
        self.switch_user = switch_user
        self.wait = Wait()
        self.arrival = Arrival(session, epoch, account, lambda: not self.wait.is_paused)
        self.over = Promise[None]()
        self.closed = anyio.Event()

    async def ended(self) -> str | errors.AgentError | None:
        """Wait for the end; return the user's name or subject, or the error."""
        try:
            await self.over.wait()
        except errors.AgentError as error:
            return error
        credentials = self.session.credentials
        return None if credentials is None else credentials.name or credentials.subject

    def close(self) -> None:
        """Keep the result, and discard everything else."""
        self.over.fail(agent_ending())  # no effect if there is a result already
        self.flow, self.wait.result = None, None
        self.closed.set()


class Logins:
    """Begins and ends sessions."""

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
        self._logins: dict[Session, LoginInProgress] = {}
        # When each program last asked for a login, in seconds since boot, in the last `_INSISTENCE` seconds.
        self._asked: dict[tuple[Session, Hashable], float] = {}
        self._ending = False

    # ---- by a refresh token

    async def import_refresh_token(
        self, session: Session, refresh_token: Secret, *, switch_user: bool, client_secret: Secret | None = None
    ) -> dict[str, object]:
        """Import a refresh token of another program, check it by a refresh, and return the account's record.

        On failure the present session stays.

        Args:
            session: the session to replace.
            refresh_token: used up by this, if the provider rotates refresh tokens.
            switch_user: whether it may belong to another user than the present session.
            client_secret: the client's secret, if it has one; by default the one it used before.

        Raises:
            AgentError: the refresh token can't be used.

        """
        account = session.account
        if not account.grant_type.has_refresh_token:
            raise errors.InvalidRequest(
                f"{account.name} is its client's own account, which has no refresh token",
                parameter="account",
                remedy=(remedies.log_in(account.name),),
            )
        self._refuse_what_is_known(refresh_token)
        credentials = _credentials_of(account, client_secret or _known_secret(session), IMPORT, refresh_token)
        arrival = Arrival(session, session.epoch, account)
        with self._table.expecting(arrival):
            send = partial(self._tokens.refresh, account, is_wanted=lambda: session.epoch == arrival.epoch)
            credentials, response, sent = await self._tokens.log_in(account, credentials, send)
            pending_session = PendingSession(account, credentials, response, sent)
            await self._admission.admit(arrival, pending_session, IMPORT, switch_user=switch_user)
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
        self,
        session: Session,
        owner: object,
        flow: str,
        *,
        program: Hashable = None,
        switch_user: bool,
        client_secret: Secret | None,
        parameters: Mapping[str, str] | None = None,
    ) -> dict[str, object]:
        """Begin a login, call off the account's previous one, and return the instructions for the person.

        A program that asked for a login within the last minute does not call another program's off.

        Args:
            session: the session to replace.
            owner: the connection that begins it; see `leave`.
            flow: "browser" or "device"; ignored for an account with the client credentials grant.
            program: whose connection it is.
            switch_user: whether another user than that of the present session may log in.
            client_secret: the client's secret, if it has one; by default the one it used before.
            parameters: further ones, and the scope, of this login alone.

        Raises:
            AgentError: the login can't begin.

        """
        # Read before the first await: a logout meanwhile must win.
        account, epoch = session.account, session.epoch
        account = _with_parameters(account, parameters or {})
        credentials = _credentials_of(account, client_secret or _known_secret(session), LOGIN)
        if self._ending:
            raise agent_ending()
        insists = self._insists(session, program)
        before = self._supersede(session, program, insists=insists)
        if before is not None:  # this login may need its port
            with anyio.move_on_after(_MAKE_ROOM):
                await before.closed.wait()
        login_flow = await self._create_flow(account, credentials, flow, program)
        login = LoginInProgress(session, epoch, account, owner, program, login_flow, switch_user=switch_user)
        try:
            self._table.check_lock()  # the agent may have been locked meanwhile
            self._supersede(session, program, insists=insists)  # one that began at the same moment
            self._background.begin(lambda: self._run(login, login_flow))
            self._logins[session] = login
            await anyio.lowlevel.checkpoint()  # the owner may have left meanwhile
        except BaseException:
            login.wait.call_off(login_cancelled(account.name, _OWNER_HAS_GONE))
            if self._logins.get(session) is not login:
                with anyio.CancelScope(shield=True):
                    await login_flow.aclose()
            raise
        expires_at = self._table.clock.now().wall + login_flow.lifetime
        return {"login_id": login.login_id, "expires_at": expires_at, **login_flow.instructions()}

    async def _create_flow(self, account: Account, credentials: Credentials, flow: str, program: Hashable) -> Flow:
        if not account.grant_type.has_user:
            return ClientFlow(account, credentials, self._tokens)
        provider = self._provider_for(account)
        provider.look_again()
        metadata = await provider.discover()
        if isinstance(metadata, Failure):
            raise login_failed(account, metadata, LOGIN)
        has_default_scope = account.has_default_scope
        if has_default_scope:
            account = replace(account, scope=metadata.default_scope(account.scope))
            credentials = replace(credentials, requested_scope=account.scope)
        if flow == "device":
            api = api_parameters(metadata.api_parameters, account.audience, account.authorize)
            return await self._device_flow(account, credentials, api, may_ask_less=has_default_scope)
        if metadata.authorization_endpoint is None:
            reason = f"{account.issuer} names no authorization_endpoint that can be used"
            raise login_failed(account, Misconfigured(reason, keys=("authorization_endpoint",)), LOGIN)
        if metadata.requires_pushed_requests:
            reason = "the provider requires pushed authorization requests (PAR), which the agent can't send yet"
            by_device = metadata.device_authorization_endpoint is not None
            raise login_failed(account, Unsupported(reason, by_device=by_device), LOGIN)
        new_flow = partial(BrowserFlow, account, credentials, self._tokens, metadata, metadata.authorization_endpoint)
        try:
            try:
                return new_flow()
            except PortsTakenError:
                if not await self._free_port(program):
                    raise
                return new_flow()
        except PortsTakenError as error:
            raise errors.Misconfigured(
                f"{account.name}: {error}",
                reason=str(error),
                failure="misconfigured",
                remedy=remedies.other_ports(account.name),
            ) from error

    async def _device_flow(
        self, account: Account, credentials: Credentials, api: dict[str, str], *, may_ask_less: bool
    ) -> DeviceFlow:
        """Return a login on another device, with the account's parameters and those that name the API.

        A provider ignores what it does not know (RFC 8628, section 3.1). If it refuses the scope, that is without
        `offline_access`.
        """
        own = {*BOTH, *RESERVED, "scope"}
        more = {name: value for name, value in account.authorize.items() if value and name not in own}
        provider, method, clock = self._provider_for(account), account.token_endpoint_auth_method, self._table.clock

        async def begin(account: Account, credentials: Credentials) -> tuple[DeviceAuthorization | Failure, Moment]:
            return await provider.begin_device(credentials.client(method), account.scope, more | api), clock.now()

        credentials, device, _ = await self._tokens.log_in(account, credentials, partial(begin, account))
        if isinstance(device, ScopeRefusal) and may_ask_less:
            account = replace(account, scope=without_offline_access(account.scope))
            credentials = replace(credentials, requested_scope=account.scope)
            device, _ = await begin(account, credentials)
        if isinstance(device, Failure):
            raise login_failed(account, device, LOGIN)
        credentials = replace(credentials, resource=api.get(RESOURCE))
        return DeviceFlow(account, credentials, self._tokens, device, self._table.clock)

    def _insists(self, session: Session, program: Hashable) -> bool:
        """Whether the program asked for a login of that session a short time ago; note that it asks now."""
        now = self._table.clock.now().boot
        self._asked = {who: at for who, at in self._asked.items() if now - at < _INSISTENCE}
        insists = (session, program) in self._asked
        self._asked[session, program] = now
        return insists

    def _supersede(self, session: Session, program: Hashable, *, insists: bool) -> LoginInProgress | None:
        """Call off the session's login, if any, and return it; it may be over already.

        Raises `Unavailable` if that is another program's, and this one insists.
        """
        before = self._logins.get(session)
        if before is not None:
            if insists and before.program != program and not before.over.is_done:
                raise busy(
                    f"another program's login to {session.account.name} is in progress; try again when it is over"
                )
            before.wait.call_off(login_cancelled(session.account.name, "another login was begun in place of this one"))
        return before

    async def _free_port(self, program: Hashable) -> bool:
        """Call off the newest login of the program that has most, if this one has fewer; return whether there was one.

        All accounts have the same ports by default.
        """
        logins = [login for login in self._logins.values() if not login.over.is_done]
        counts = Counter(login.program for login in logins)
        newest = max(reversed(logins), key=lambda login: counts[login.program], default=None)
        if newest is None or counts[newest.program] <= counts[program] + 1:
            return False
        newest.wait.call_off(login_cancelled(newest.session.account.name, "another program needs its port"))
        with anyio.move_on_after(_MAKE_ROOM):
            await newest.closed.wait()
        return True

    async def _run(self, login: LoginInProgress, flow: Flow) -> None:
        try:
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(self._serve, login, flow)
                failure = await self._failure(login, flow)
                if failure is None:
                    login.over.resolve(None)
                else:
                    _log.info("login account=%s failed=%s", login.session.account.name, failure.code)
                    login.over.fail(failure.with_traceback(None))
                await flow.aclose()
                tasks.cancel_scope.cancel()
        finally:
            login.close()

    async def _serve(self, login: LoginInProgress, flow: Flow) -> None:
        """Serve the person's browser; if that fails, call the login off."""
        try:
            await flow.serve(login.ended, login.wait)
        except Exception as error:  # noqa: BLE001 -- one login's defect must not end the agent
            _log.error("defect account=%s in=login error=%s", login.session.account.name, place(error))
            login.wait.call_off(internal_error())

    async def _failure(self, login: LoginInProgress, flow: Flow) -> errors.AgentError | None:
        """Run a login to its end; return why it failed, or None."""
        session, wait = login.session, login.wait
        try:
            with self._table.expecting(login.arrival):
                pending_session = await flow.obtain(wait)
                await self._admission.admit(
                    login.arrival,
                    pending_session,
                    LOGIN,
                    switch_user=login.switch_user,
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
        """Return the URL that ends the browser's session at the provider, if there is one and it is known in time."""
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
        """Wait for the end of the login; return the account's record. Raises an `AgentError` if it failed."""
        login = self._find(login_id)
        await login.over.wait()
        return record(login.session, self._table.clock.now())

    def redirect(self, login_id: str, url: str) -> None:
        """Take the redirect URL that a person pasted, whose browser is on another machine.

        Raises:
            InvalidRequest: the URL is not this login's; the login goes on.

        """
        login = self._find(login_id)
        if login.over.is_done:
            return
        flow = login.flow
        result = flow.read_url(url) if isinstance(flow, BrowserFlow) else None
        if result is None:
            raise errors.InvalidRequest(
                "this is not the address that this login ends on: paste the whole address of the last page, "
                f"which begins with http://{login.session.account.redirect_host} and has a state",
                parameter="url",
            )
        login.wait.set_result(result)

    def cancel(self, login_id: str) -> None:
        """Call a login off. Raises `InvalidRequest` if there is no such login."""
        login = self._find(login_id)
        login.wait.call_off(login_cancelled(login.session.account.name, "the login was cancelled"))

    def leave(self, owner: object) -> None:
        """Call off the logins of a client that has disconnected."""
        for login in self._logins.values():
            if login.owner is owner:
                login.wait.call_off(login_cancelled(login.session.account.name, _OWNER_HAS_GONE))

    def call_all_off(self) -> None:
        """Call off all logins, and refuse new ones: the agent is ending."""
        self._ending = True
        self.call_off_all(agent_ending())

    def call_off_all(self, error: errors.AgentError) -> None:
        """Call off all logins with that error."""
        for login in self._logins.values():
            login.wait.call_off(error)

    def _find(self, login_id: str) -> LoginInProgress:
        for login in self._logins.values():
            if secrets.compare_digest(login.login_id.encode(), login_id.encode("utf-8", "replace")):
                return login
        raise errors.InvalidRequest("there is no such login, or another one took its place", parameter="login_id")


def _with_parameters(account: Account, parameters: Mapping[str, str]) -> Account:
    """Return the account as it is for one login, with these parameters.

    Raises:
        InvalidRequest: one of them can't be set.

    """
    problem = problem_of_login(parameters)
    if problem is not None:
        raise errors.InvalidRequest(f"login: {problem}", parameter="parameters")
    if parameters and not account.grant_type.has_user:
        raise errors.InvalidRequest(
            f"{account.name}'s client logs in by itself, so there is no login to add parameters to",
            parameter="parameters",
        )
    more = {name: value for name, value in parameters.items() if name != "scope"}
    scope = " ".join(parameters.get("scope", account.scope).split())
    names_scope = account.names_scope or "scope" in parameters
    return replace(account, scope=scope, names_scope=names_scope, authorize={**account.authorize, **more})


def _known_secret(session: Session) -> Secret | None:
    """Return the client secret of the session, if it is still valid for the account."""
    credentials, account = session.credentials, session.account
    if credentials is None or account.token_endpoint_auth_method in SECRETLESS:
        return None
    return credentials.client_secret if credentials.is_bound_to(account.issuer, account.client_id) else None


def _credentials_of(
    account: Account, secret: Secret | None, command: str, refresh_token: Secret | None = None
) -> Credentials:
    """Return the credentials of a login or import, before its user is known.

    Raises:
        InvalidRequest: the client needs a secret, or must not have one.

    """
    method = account.token_endpoint_auth_method
    by_certificate = method in CERTIFICATE_METHODS
    needs_secret = account.grant_type.needs_secret and not by_certificate
    if secret is None and (needs_secret or method not in (None, *SECRETLESS)):
        raise errors.InvalidRequest(
            f"{account.name}'s client authenticates with a secret",
            parameter="client_secret",
            remedy=(remedies.give_secret(command, account.name),),
        )
    if secret is not None and method in SECRETLESS:
        what = "authenticates with its certificate" if by_certificate else "is a public one"
        raise errors.InvalidRequest(
            f"{account.name}'s client {what} by its token_endpoint_auth_method, and has no secret",
            parameter="client_secret",
        )
    return Credentials(
        issuer=account.issuer,
        client_id=account.client_id,
        audience=account.audience,
        subject=None,
        # With the client credentials grant, the client is the user.
        name=None if account.grant_type.has_user else account.client_id,
        refresh_token=refresh_token,
        id_token=None,
        client_secret=secret,
        grant_type=account.grant_type,
        auth_method=method if by_certificate else None,
        # What an imported refresh token was asked for with is not known.
        requested_scope="" if command == IMPORT else account.scope,
    )
