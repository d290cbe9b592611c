"""What each method answers: a request in, a result out, or what has to be awaited for it."""

import logging
import math
import os
from collections.abc import Callable
from typing import Final

import anyio

from auth_agent.ipc.connection import Caller, Later, Result
from auth_agent.printable import printable
from auth_agent.secret import Secret
from auth_agent.sessions.decision import Demand
from auth_agent.sessions.keeper import READ_PATIENCE, Keeper
from auth_agent.sessions.login import Logins
from auth_agent.sessions.refresher import Refresher, limit
from auth_agent.sessions.refusal import locked
from auth_agent.sessions.session import Session
from auth_agent.sessions.state import AccessToken
from auth_agent.sessions.table import Table
from auth_agent_client import errors
from auth_agent_client.messages import PROTOCOL, check, is_account_name
from auth_agent_client.wire import Request

_log = logging.getLogger(__name__)

_MAX_CLIENT_NAME: Final = 64
_MOST_WATCHED: Final = 1000
_LONGEST_PATH: Final = 4096  # bytes, on Linux


class Arguments:
    """A request's parameters, checked, by type."""

    __slots__ = ("_given", "timeout")

    def __init__(self, request: Request) -> None:
        """Check them.

        Raises:
            AgentError: the method is unknown, or doesn't take them.

        """
        method = check(request.method, request.parameters)
        self._given = request.parameters
        # A method that never waits for long has no limit to wait for.
        self.timeout = self.seconds("timeout", math.inf if method.timeout is None else method.timeout)

    def text(self, name: str) -> str | None:
        """That parameter, None when it was left out."""
        value = self._given.get(name)
        return value if isinstance(value, str) else None

    def secret(self, name: str) -> Secret | None:
        """That parameter, None when it was left out."""
        value = self.text(name)
        return None if value is None else Secret(value)

    def seconds(self, name: str, default: float = 0.0) -> float:
        """That parameter in seconds."""
        value = self._given.get(name, default)
        return float(value) if isinstance(value, (int, float)) else default

    def demand(self, name: str) -> float | None:
        """That parameter in seconds, None when it was left out."""
        return self.seconds(name) if name in self._given else None

    def flag(self, name: str, *, default: bool = False) -> bool:
        """That parameter."""
        return self._given.get(name, default) is True

    def texts(self, name: str) -> list[str] | None:
        """That parameter, None when it was left out."""
        value = self._given.get(name)
        return [str(item) for item in value] if isinstance(value, list) else None  # pyright: ignore[reportUnknownVariableType, reportUnknownArgumentType] -- checked to be texts


class Handlers:
    """The agent's methods."""

    def __init__(
        self,
        table: Table,
        refresher: Refresher,
        logins: Logins,
        keeper: Keeper,
        about: dict[str, object],
        reload: Callable[[], dict[str, list[str]]],
    ) -> None:
        """Answer from these.

        Args:
            table: the live sessions.
            refresher: what gives tokens that have to be waited for.
            logins: what begins sessions.
            keeper: what gives sessions that have to be read first.
            about: what `status` tells of the agent itself.
            reload: reads the configuration again, and says what changed; raises `Misconfigured`.

        """
        self._table = table
        self._refresher = refresher
        self._logins = logins
        self._keeper = keeper
        self._about = about
        self._reload = reload
        self._methods: dict[str, Callable[[Caller, Arguments], Result | Later]] = {
            "hello": self._hello,
            "token": self._token,
            "rejected": self._rejected,
            "has_valid": self._has_valid,
            "status": self._status,
            "login": self._login,
            "login_redirect": self._login_redirect,
            "login_result": self._login_result,
            "login_cancel": self._login_cancel,
            "import": self._import,
            "logout": self._logout,
            "refresh": self._refresh,
            "reload": self._reread,
            "watch": self._watch,
        }

    # ---- what a connection calls

    def answer(self, caller: Caller, request: Request) -> Result | Later:
        """The result, or what to call and await for it. Raises an `AgentError` for an error."""
        arguments = Arguments(request)
        method = self._methods.get(request.method)
        if method is None:
            raise errors.Unsupported(f"this version of the agent doesn't do {request.method} yet")
        return method(caller, arguments)

    def record(self, account: str) -> dict[str, object] | None:
        """The record of an account as it is now."""
        return self._table.record(account)

    def leave(self, caller: Caller) -> None:
        """That client has gone."""
        self._table.unwatch(caller)
        self._logins.leave(caller)

    def _once_open(
        self, session: Session, method: Callable[[Caller, Arguments], Result | Later], caller: Caller, given: Arguments
    ) -> Later:
        """What a method answers when the session has been read from the store."""

        async def wait() -> Result:
            begun, timeout = anyio.current_time(), given.timeout
            await self._keeper.opened(session, min(READ_PATIENCE, timeout))
            if session.is_locked:
                raise locked(session.account.name, session.reason or "")
            given.timeout = max(0.0, timeout - (anyio.current_time() - begun))
            result = method(caller, given)
            return await result() if callable(result) else result

        return wait

    # ---- tokens

    def _token(self, caller: Caller, given: Arguments) -> Result | Later:
        session = self._table.session(given.text("account"))
        if session.is_locked:
            return self._once_open(session, self._token, caller, given)
        key = session.key(given.text("audience"), given.text("scope"))
        min_ttl = given.demand("min_ttl")
        if session.ask(min_ttl):
            self._table.publish(session.account.name)
            self._refresher.reschedule()
        if given.flag("force"):
            return self._later(caller, session, session.force(key), given)
        token = session.token(key, min_ttl, self._table.clock.now())
        if token is not None:
            return _answer(session, token)
        return self._later(caller, session, Demand(key, min_ttl), given)

    def _rejected(self, caller: Caller, given: Arguments) -> Later:
        session = self._table.session(given.text("account"))
        if session.is_locked:
            return self._once_open(session, self._rejected, caller, given)
        key = session.key(given.text("audience"), given.text("scope"))
        demand = session.reject(key, given.text("access_token") or "", self._table.clock.now())
        if isinstance(demand, errors.AgentError):
            raise demand
        return self._later(caller, session, demand, given)

    def _later(self, caller: Caller, session: Session, demand: Demand, given: Arguments) -> Later:
        async def wait() -> Result:
            return _answer(session, await self._refresher.token(session, demand, caller.allowance, given.timeout))

        return wait

    def _refresh(self, caller: Caller, given: Arguments) -> Later:
        session = self._table.session(given.text("account"))
        if session.is_locked:
            return self._once_open(session, self._refresh, caller, given)

        async def wait() -> Result:
            return _answer(session, await self._refresher.refresh(session, caller.allowance, given.timeout))

        return wait

    def _has_valid(self, caller: Caller, given: Arguments) -> Result | Later:
        session = self._table.session(given.text("account"))
        if session.is_locked:
            return self._once_open(session, self._has_valid, caller, given)
        key = session.key(given.text("audience"), given.text("scope"))
        token = session.token(key, given.seconds("min_ttl"), self._table.clock.now())
        return {"valid": token is not None, "renewable": session.renewable}

    # ---- sessions

    def _login(self, caller: Caller, given: Arguments) -> Later:
        session = self._table.session(given.text("account"))
        if session.is_locked:
            return self._once_open(session, self._login, caller, given)
        self._refresher.charge(session.import_allowance, caller.allowance)

        async def begin() -> Result:
            return await self._logins.begin(
                session,
                caller,
                given.text("flow") or "",
                switch_user=given.flag("switch_user"),
                client_secret=given.secret("client_secret"),
            )

        return begin

    def _login_redirect(self, _: Caller, given: Arguments) -> Result:
        self._logins.redirect(given.text("login_id") or "", given.text("url") or "")
        return True

    def _login_result(self, _: Caller, given: Arguments) -> Later:
        async def wait() -> Result:
            with limit(given.timeout):
                return await self._logins.result(given.text("login_id") or "")

        return wait

    def _login_cancel(self, _: Caller, given: Arguments) -> Result:
        self._logins.cancel(given.text("login_id") or "")
        return True

    def _import(self, caller: Caller, given: Arguments) -> Later:
        session = self._table.session(given.text("account"))
        if session.is_locked:
            return self._once_open(session, self._import, caller, given)
        self._refresher.charge(session.import_allowance, caller.allowance)
        refresh_token = given.secret("refresh_token") or Secret("")
        switch_user, client_secret = given.flag("switch_user"), given.secret("client_secret")

        async def work() -> Result:
            return await self._logins.import_refresh_token(
                session, refresh_token, switch_user=switch_user, client_secret=client_secret
            )

        return lambda: self._refresher.to_its_end(work)

    def _logout(self, _: Caller, given: Arguments) -> Later:
        session = self._table.session(given.text("account"))
        revoke = given.flag("revoke", default=True)

        async def work() -> Result:
            return {"revoked": await self._refresher.log_out(session, revoke=revoke)}

        return lambda: self._refresher.to_its_end(work)

    # ---- the agent

    def _hello(self, caller: Caller, given: Arguments) -> Result:
        _log.debug("hello pid=%d client=%r", caller.peer.pid, printable(given.text("client"), _MAX_CLIENT_NAME))
        return {
            "protocol": PROTOCOL,
            "version": self._about["version"],
            "features": sorted(self._methods),
            "pid": self._about["pid"],
            "agent_id": self._about["agent_id"],
        }

    def _status(self, _: Caller, given: Arguments) -> Result:
        name = given.text("account")
        names = None if name is None else [self._table.session(name).account.name]
        config = self._table.config
        about = {
            **self._about,
            "config": printable(os.fspath(config.path), _LONGEST_PATH),
            "default": None if config.default is None else config.default.name,
            "store": self._keeper.about(),
        }
        return {"agent": about, "accounts": self._table.records(names)}

    def _reread(self, _: Caller, _given: Arguments) -> Result:
        return dict[str, object](self._reload())

    def _watch(self, caller: Caller, given: Arguments) -> Result:
        names = given.texts("accounts")
        if names is not None and not (len(names) <= _MOST_WATCHED and all(map(is_account_name, names))):
            raise errors.InvalidRequest(
                f"watch: accounts must be names of accounts, {_MOST_WATCHED} at most; all are watched without it",
                parameter="accounts",
            )
        self._table.watch(caller)
        caller.watch(None if names is None else frozenset(names))
        return {"agent_id": self._about["agent_id"], "accounts": self._table.records(names)}


def _answer(session: Session, token: AccessToken) -> dict[str, object]:
    return {
        "account": session.account.name,
        "access_token": token.value.reveal(),
        "token_type": token.token_type,
        "expires_at": token.served_until.wall,
        "scope": token.scope,
        "audience": token.audience,
    }
