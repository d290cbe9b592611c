"""The methods of the protocol: each takes a request and returns its result, or a `Later` to await for it."""

import logging
import os
from collections.abc import Callable, Hashable
from typing import Final, NamedTuple

import anyio

from auth_agent.files.keeper import FileKeeper
from auth_agent.ipc.arguments import Arguments
from auth_agent.ipc.connection import Caller, Later, Result
from auth_agent.ipc.policy import Policy
from auth_agent.ipc.replies import Repeatable, Replies
from auth_agent.ipc.url import resolve_url
from auth_agent.ipc.usage import Usage
from auth_agent.printable import printable
from auth_agent.secret import Secret
from auth_agent.sessions.advice import TOKEN_REJECTED, locked
from auth_agent.sessions.background import deadline, no_answer
from auth_agent.sessions.decision import Demand
from auth_agent.sessions.heart import Heart
from auth_agent.sessions.identity import IDToken, id_token_unavailable, usable_id_token
from auth_agent.sessions.profile import ProfileResult
from auth_agent.sessions.saver import READ_PATIENCE
from auth_agent.sessions.session import Session
from auth_agent.sessions.state import MAIN, AccessToken, Locked, TokenKey
from auth_agent.sessions.store_move import StoreMove
from auth_agent_client import errors
from auth_agent_client.messages import PROFILE_MAX_AGE, PROTOCOL, is_account_name
from auth_agent_client.wire import REQUEST, Request, head_length

_log = logging.getLogger(__name__)

_MAX_CLIENT_NAME: Final = 64
_MAX_PATH: Final = 4096  # bytes, on Linux
_BEFORE_ID: Final = len(REQUEST)


class SessionMethod(NamedTuple):
    """A method about one session.

    `counted`: it returns a token or data about the user. `while_locked`: it works before the store has been read.
    `replaces`: it replaces the session, also one that the store does not have any more.
    """

    call: Callable[[Caller, Session, Arguments], Result | Repeatable | Later]
    counted: bool = False
    while_locked: bool = False
    replaces: bool = False


class Handlers:
    """The agent's methods."""

    def __init__(
        self,
        heart: Heart,
        policy: Policy,
        usage: Usage,
        store_move: StoreMove,
        files: FileKeeper,
        about: dict[str, object],
        reload: Callable[[], dict[str, list[str]]],
    ) -> None:
        """Answer requests with these.

        Args:
            heart: what acts on the live sessions.
            policy: decides who may call a method of a session.
            usage: counts the programs that got something.
            store_move: moves the sessions to another store.
            files: keeps the files that hold tokens.
            about: what `status` shows about the agent itself.
            reload: reads the configuration again and returns what changed; raises `Misconfigured`.

        """
        self._table = heart.table
        self._refresher = heart.refresher
        self._background = heart.background
        self._logins = heart.logins
        self._saver = heart.saver
        self._profiles = heart.profiles
        self._users = heart.users
        self._prover = heart.prover
        self._lock = heart.lock
        self._policy = policy
        self._usage = usage
        self._replies = Replies(heart.table)
        self._store_move = store_move
        self._files = files
        self._about = about
        self._reload = reload
        self._session_methods: dict[str, SessionMethod] = {
            "token": SessionMethod(self._token, counted=True),
            "rejected": SessionMethod(self._rejected, counted=True),
            "id_token": SessionMethod(self._id_token, counted=True),
            "has_valid": SessionMethod(self._has_valid),
            "profile": SessionMethod(self._profile, counted=True),
            "user": SessionMethod(self._user, counted=True),
            "user_metadata": SessionMethod(self._user_metadata, counted=True),
            "update_user_metadata": SessionMethod(self._update_user_metadata, counted=True),
            "login": SessionMethod(self._login, replaces=True),
            "import": SessionMethod(self._import, replaces=True),
            "logout": SessionMethod(self._logout, while_locked=True),
            "refresh": SessionMethod(self._refresh, counted=True),
            "rename": SessionMethod(self._rename, while_locked=True),
        }
        self._agent_methods: dict[str, Callable[[Caller, Arguments], Result | Later]] = {
            "hello": self._hello,
            "status": self._status,
            "login_redirect": self._login_redirect,
            "login_result": self._login_result,
            "login_cancel": self._login_cancel,
            "lock": self._lock_agent,
            "unlock": self._unlock,
            "change_passphrase": self._change_passphrase,
            "adopt": self._adopt,
            "move_store": self._move_store,
            "reload": self._reread,
            "watch": self._watch,
        }

    # ---- what a connection calls

    def repeat(self, caller: Caller, data: bytes) -> bytes | None:
        """Return the response to those bytes, if they are a request whose answer is at hand; else None."""
        start, now = head_length(data, REQUEST), self._table.clock.now()
        reply = self._replies.find(data[start:], now) if start else None
        if reply is None:
            return None
        session = reply.session
        name = session.account.name
        try:
            self._policy.check(caller, "token", session)
            self._lock.check(name)
        except errors.AgentError:
            return None  # `answer` raises it again
        self._usage.count(caller, "token", name, now.wall)
        return reply.to(data[_BEFORE_ID:start], now)

    def keep(self, request: Request, response: bytes, basis: Repeatable) -> None:
        """Keep the response for the same request again."""
        self._replies.keep(request, response, basis)

    def answer(self, caller: Caller, request: Request) -> Result | Repeatable | Later:
        """Return the result, or a `Later` for it. Raises an `AgentError` for an error."""
        args = Arguments(request)
        method = self._session_methods.get(request.method)
        if method is None:
            return self._agent_methods[request.method](caller, args)
        resolve_url(args, self._table.config)
        session = self._table.session(args.string("account"))
        self._policy.check(caller, args.method, session)
        self._lock.check(session.account.name)
        if session.is_locked and not method.while_locked:
            return self._when_loaded(method, caller, session, request)
        return self._call(method, caller, session, args)

    def _call(
        self, method: SessionMethod, caller: Caller, session: Session, args: Arguments
    ) -> Result | Repeatable | Later:
        """Call the method, which the policy has allowed, and count it if it returns a token or data about the user."""
        now = self._table.clock.now()
        if session.look(now):
            self._table.publish(session.account.name)
            self._refresher.reschedule(session)
        result = method.call(caller, session, args)
        if not method.counted:
            return result
        if not callable(result):
            self._usage.count(caller, args.method, session.account.name, now.wall)
            return result
        later = result

        async def wait() -> Result:
            result = await later()
            self._lock.check(session.account.name)  # it may have been locked meanwhile
            self._usage.count(caller, args.method, session.account.name, self._table.clock.now().wall)
            return result

        return wait

    def record(self, account: str) -> dict[str, object] | None:
        """Return the current record of an account."""
        return self._table.record(account)

    def leave(self, caller: Caller) -> None:
        """Forget a client that disconnected."""
        self._table.unwatch(caller)
        self._logins.leave(caller)

    def _when_loaded(self, method: SessionMethod, caller: Caller, session: Session, request: Request) -> Later:
        """Call the method once the session has been loaded from the store."""

        async def wait() -> Result:
            args, begun = Arguments(request), anyio.current_time()
            timeout = args.timeout
            await self._saver.wait_until_loaded(session, min(READ_PATIENCE, timeout))
            self._lock.check(session.account.name)  # it may have been locked meanwhile
            self._table.session(session.account.name)  # raises if it was removed from the configuration meanwhile
            resolve_url(args, self._table.config, session.account.name)  # raises if the rule has changed meanwhile
            if isinstance(session.state, Locked) and not (method.replaces and session.is_replaceable):
                raise locked(session.account.name, session.state)
            args.timeout = max(0.0, timeout - (anyio.current_time() - begun))
            result = self._call(method, caller, session, args)
            if isinstance(result, Repeatable):
                return result.result
            return await result() if callable(result) else result

        return wait

    # ---- tokens

    def _token(self, caller: Caller, session: Session, args: Arguments) -> Result | Repeatable | Later:
        key = _key(session, args)
        min_ttl, now = args.demand("min_ttl"), self._table.clock.now()
        if session.record_demand(key, min_ttl, now):
            if key == MAIN:  # only this one's refresh time is in the record
                self._table.publish(session.account.name)
            self._refresher.reschedule(session)
        if args.flag("force"):
            return self._later(caller, session, session.demand_newer(key), args)
        token = session.token(key, min_ttl, now)
        if token is not None:
            result, term = _token_result(session, token, args), session.term(token, min_ttl)
            return result if term is None else Repeatable(result, session, term, session.interest(key))
        return self._later(caller, session, Demand(key, min_ttl), args)

    def _rejected(self, caller: Caller, session: Session, args: Arguments) -> Later:
        key = _key(session, args)
        access_token, challenge = Secret(args.string("access_token") or ""), args.string("challenge") or ""
        self._prover.look(session, access_token)
        demand = session.reject(key, access_token, self._table.clock.now(), challenge)
        if isinstance(demand, errors.LoginRequired) and demand.reason == TOKEN_REJECTED:
            return self._end_if_refused(caller, session, key, access_token, args)
        if isinstance(demand, errors.AgentError):
            raise demand
        return self._later(caller, session, demand, args)

    def _end_if_refused(
        self, caller: Caller, session: Session, key: TokenKey, access_token: Secret, args: Arguments
    ) -> Later:
        asker = caller.asker

        async def wait() -> Result:
            with deadline(args.timeout, no_answer(session.account)):
                error = await self._prover.end_if_refused(session, access_token, asker)
                if error is not None:
                    raise error
                token = await self._refresher.token(session, Demand(key), asker, args.timeout)
                return _token_result(session, token, args)

        return wait

    def _later(self, caller: Caller, session: Session, demand: Demand, args: Arguments) -> Later:
        asker = caller.asker

        async def wait() -> Result:
            return _token_result(session, await self._refresher.token(session, demand, asker, args.timeout), args)

        return wait

    def _refresh(self, caller: Caller, session: Session, args: Arguments) -> Later:
        asker = caller.asker

        async def wait() -> Result:
            return _token_result(session, await self._refresher.refresh(session, asker, args.timeout), args)

        return wait

    def _has_valid(self, _: Caller, session: Session, args: Arguments) -> Result | Later:
        key = _key(session, args)
        token = session.token(key, args.seconds("min_ttl"), self._table.clock.now())
        return {"valid": token is not None, "renewable": session.refreshable}

    def _id_token(self, caller: Caller, session: Session, args: Arguments) -> Result | Later:
        min_ttl = args.demand("min_ttl")
        id_token = usable_id_token(session, min_ttl, self._table.clock.now())
        if id_token is not None:
            return _id_token_result(session, id_token)
        asker = caller.asker

        async def wait() -> Result:
            # An ID token comes only with an access token.
            await self._refresher.token(session, session.demand_newer(is_patient=True), asker, args.timeout)
            now = self._table.clock.now()
            id_token = usable_id_token(session, min_ttl, now)
            if id_token is None:
                raise id_token_unavailable(session, now)
            return _id_token_result(session, id_token)

        return wait

    # ---- users

    def _profile(self, _: Caller, session: Session, args: Arguments) -> Result | Later:
        max_age = args.seconds("max_age", PROFILE_MAX_AGE)
        profile = self._profiles.cached(session, max_age)
        if profile is not None:
            return _profile_result(session, profile)

        async def wait() -> Result:
            return _profile_result(session, await self._profiles.get(session, max_age, args.timeout))

        return wait

    def _user(self, caller: Caller, session: Session, args: Arguments) -> Later:
        fields = args.strings("fields") or []
        if not all(map(_is_field, fields)):
            raise errors.InvalidRequest("user: fields must be names of the user's members", parameter="fields")
        asker = caller.asker

        async def wait() -> Result:
            with deadline(args.timeout, no_answer(session.account)):
                return {"user": await self._users.user(session, fields, asker)}

        return wait

    def _user_metadata(self, caller: Caller, session: Session, args: Arguments) -> Later:
        asker = caller.asker

        async def wait() -> Result:
            with deadline(args.timeout, no_answer(session.account)):
                return {"user_metadata": await self._users.metadata(session, asker)}

        return wait

    def _update_user_metadata(self, caller: Caller, session: Session, args: Arguments) -> Later:
        changes, clear = args.map("user_metadata"), args.flag("clear")
        if not changes and not clear:  # the provider would take that as a request to clear everything
            raise errors.InvalidRequest(
                "update_user_metadata: there is nothing to change; set clear to delete everything",
                parameter="user_metadata",
            )
        asker = caller.asker

        async def work() -> Result:
            return {"user_metadata": await self._users.update_metadata(session, changes, asker, clear=clear)}

        return self._background.detached(_owner(caller, args, session), work, args.timeout, no_answer(session.account))

    # ---- sessions

    def _login(self, caller: Caller, session: Session, args: Arguments) -> Later:
        session.login_limit.charge(self._table.clock.now().boot, caller.asker)
        program = caller.asker.program

        async def begin() -> Result:
            return await self._logins.begin(
                session,
                caller,
                args.string("flow") or "",
                program=program,
                switch_user=args.flag("switch_user"),
                client_secret=args.secret("client_secret"),
                parameters=args.parameters("parameters"),
            )

        return begin

    def _login_redirect(self, _: Caller, args: Arguments) -> Result:
        self._logins.redirect(args.string("login_id") or "", args.string("url") or "")
        return True

    def _login_result(self, _: Caller, args: Arguments) -> Later:
        async def wait() -> Result:
            with deadline(args.timeout, "the login is not over"):
                return await self._logins.result(args.string("login_id") or "")

        return wait

    def _login_cancel(self, _: Caller, args: Arguments) -> Result:
        self._logins.cancel(args.string("login_id") or "")
        return True

    def _import(self, caller: Caller, session: Session, args: Arguments) -> Later:
        session.login_limit.charge(self._table.clock.now().boot, caller.asker)
        refresh_token = args.secret("refresh_token") or Secret("")
        switch_user, client_secret = args.flag("switch_user"), args.secret("client_secret")

        async def work() -> Result:
            return await self._logins.import_refresh_token(
                session, refresh_token, switch_user=switch_user, client_secret=client_secret
            )

        return self._background.detached(_owner(caller, args, session), work)

    def _logout(self, caller: Caller, session: Session, args: Arguments) -> Later:
        revoke, shared = args.flag("revoke", default=True), args.flag("revoke_shared")

        async def work() -> Result:
            revocation = await self._logins.log_out(session, revoke=revoke, shared=shared)
            await self._files.wait_until_gone(session.account.name)
            page = await self._logins.end_session_url(session)
            result: dict[str, object] = {"revoked": revocation.revoked}
            more = {"reason": revocation.reason, "end_session_url": page}
            return {**result, **{key: value for key, value in more.items() if value is not None}}

        return self._background.detached(_owner(caller, args, session), work)

    def _rename(self, _: Caller, session: Session, args: Arguments) -> Later:
        old, new = session.account.name, args.string("name") or ""
        if not self._table.is_free(new):
            raise errors.InvalidRequest(f"rename: there is an account {new} already", parameter="name")

        async def announce() -> Result:
            if not await self._saver.announce_move(session, new):
                raise errors.Unavailable(f"{old} can't be renamed to {new} now: its session can't be moved")
            self._table.renames[new] = old
            return True

        return announce

    # ---- the agent

    def _hello(self, caller: Caller, args: Arguments) -> Result:
        _log.debug("hello pid=%d client=%r", caller.peer.pid, printable(args.string("client"), _MAX_CLIENT_NAME))
        return {
            "protocol": PROTOCOL,
            "version": self._about["version"],
            "features": sorted((*self._session_methods, *self._agent_methods)),
            "pid": self._about["pid"],
            "agent_id": self._about["agent_id"],
        }

    def _status(self, _: Caller, args: Arguments) -> Result:
        name = args.string("account")
        names = None if name is None else [self._table.session(name).account.name]
        config, lock = self._table.config, self._lock.about()
        about = {
            **self._about,
            "config": printable(os.fspath(config.path), _MAX_PATH),
            "config_digest": config.digest,
            "default": None if config.default is None else config.default.name,
            "store": self._saver.about(),
            "locked": lock is not None,
            "lock": lock,
            "files": self._files.rows(name),
        }
        clients = {"clients": self._usage.rows(name)} if args.flag("clients") else {}
        return {"agent": about, "accounts": self._table.records(names), **clients}

    def _lock_agent(self, _: Caller, args: Arguments) -> Later:
        passphrase, keep_alive = args.secret("passphrase"), args.flag("keep_alive")

        async def work() -> Result:
            self._store_move.check()
            result = await self._lock.lock(passphrase, keep_alive=keep_alive)
            await self._files.wait_until_gone()
            return result._asdict()

        return work

    def _unlock(self, caller: Caller, args: Arguments) -> Later:
        passphrase = args.secret("passphrase")

        async def work() -> Result:
            return (await self._lock.unlock(passphrase))._asdict()

        # Detached: a client that leaves must not free the way for the next guess.
        return self._background.detached(_owner(caller, args), work)

    def _change_passphrase(self, caller: Caller, args: Arguments) -> Later:
        passphrase, new = args.secret("passphrase") or Secret(""), args.secret("new_passphrase") or Secret("")

        async def work() -> Result:
            unlocked = await self._lock.change_passphrase(passphrase, new)
            return {"memory": unlocked.memory, "weak": unlocked.weak}

        return self._background.detached(_owner(caller, args), work)

    def _adopt(self, caller: Caller, args: Arguments) -> Later:
        async def work() -> Result:
            return {"accounts": await self._lock.adopt()}

        return self._background.detached(_owner(caller, args), work)

    def _move_store(self, caller: Caller, args: Arguments) -> Later:
        store, passphrase = args.string("store") or "", args.secret("passphrase")

        async def work() -> Result:
            return (await self._store_move.move(store, passphrase))._asdict()

        return self._background.detached(_owner(caller, args), work)

    def _reread(self, _: Caller, _args: Arguments) -> Result:
        return dict[str, object](self._reload())

    def _watch(self, caller: Caller, args: Arguments) -> Result:
        names = args.strings("accounts")
        if names is not None and not all(map(is_account_name, names)):
            raise errors.InvalidRequest(
                "watch: accounts must be names of accounts; all are watched without it", parameter="accounts"
            )
        caller.watch(None if names is None else frozenset(names))
        self._table.watch(caller)
        return {"agent_id": self._about["agent_id"], "accounts": self._table.records(names)}


def _owner(caller: Caller, args: Arguments, session: Session | None = None) -> tuple[Hashable, ...]:
    """Return whose detached work it is: a program's, of one method, for one session."""
    return caller.asker.program, args.method, session


def _is_field(name: str) -> bool:
    return name != "" and name.isprintable() and "," not in name


def _id_token_result(session: Session, token: IDToken) -> dict[str, object]:
    return {
        "account": session.account.name,
        "id_token": token.value.reveal(),
        "expires_at": token.expires_at,
    }


def _profile_result(session: Session, profile: ProfileResult) -> dict[str, object]:
    return {
        "account": session.account.name,
        "claims": dict(profile.claims),
        "fetched_at": profile.fetched_at,
        "stale": profile.stale,
    }


def _key(session: Session, args: Arguments) -> TokenKey:
    """Return the key of the requested token. Raises an `AgentError` if the session can't have one."""
    scope, only = args.string("scope"), args.flag("only")
    if only and not (scope or "").strip():
        raise errors.InvalidRequest(f"{args.method}: only needs a scope", parameter="only")
    return session.token_key(args.string("audience"), scope, only=only)


def _token_result(session: Session, token: AccessToken, args: Arguments) -> dict[str, object]:
    result: dict[str, object] = {
        "account": session.account.name,
        "access_token": token.value.reveal(),
        "token_type": token.token_type,
        "expires_at": token.expires_at,
        "scope": token.scope,
        "audience": token.audience,
        "audience_verified": token.audience_verified,
    }
    username = args.string("username")  # of the URL's rule
    return result if username is None else {**result, "username": username}
