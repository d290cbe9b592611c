"""The asynchronous client: `AsyncAgent`, on anyio, so under asyncio and trio.

Imported only when asked for: a program that doesn't needs no anyio. What is asked, over which connection, and what
an answer means is the blocking client's own; here is how it waits.
"""

import itertools
import socket
import time
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Mapping
from contextlib import AbstractContextManager
from types import TracebackType
from typing import Final, Self

import anyio
import anyio.lowlevel
from anyio.lowlevel import RunVar

from .errors import Timeout
from .link import Link
from .login import BegunLogin, begin
from .logout import Logout, logout_from
from .paths import socket_path
from .pool import Pool
from .profile import Profile, map_from, profile_from
from .question import Question
from .record import Record
from .status import Hello, Reload, Status
from .token import IDToken, Token, id_token_from, token_from
from .waiting import CONNECT_TIMEOUT, Waits
from .watch import Watch

__all__ = ["AsyncAgent", "AsyncLogin", "AsyncWatch"]

# Of the agent's 1,200 connections, what the calls of one program may take; more at the same moment wait their turn.
MAX_CONNECTIONS: Final = 256
# For the names of what each client keeps an event loop.
_clients = itertools.count()
# Seconds between attempts to connect to an agent that is too busy to accept.
_SHORTEST_PAUSE: Final = 0.005
_LONGEST_PAUSE: Final = 0.1


class AsyncAgent:
    """The agent of this user, asked over its socket; use it as an async context manager, or call `close`.

    What `Agent` is to threads, for tasks: the same methods, results and errors. A call that is cancelled ends its
    wait, never the agent's work. It belongs to no event loop, and may be used in one after the other (in a forked
    child, too), but not in two at once.

    Args:
        path: the socket's path; by default where the agent listens (see `socket_path`).

    Every method raises an `AgentError`: the protocol's code for what the agent refused, `AgentNotRunning` where
    nobody listens, `ConnectionLost` where the agent went away and the call could not be repeated,
    `UntrustedAgent` where another user listens, or could.

    """

    def __init__(self, path: str | None = None) -> None:
        self._waits = _Yielding()
        self._pool = Pool(path if path is not None else socket_path(), self._waits, most_idle=MAX_CONNECTIONS)
        # By event loop: of one that ended, or was left behind by a fork, no call gives its turn back.
        self._turns = RunVar[_Turns](f"auth_agent_client.AsyncAgent-{next(_clients)}")

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """Close the idle connections; the agent may be used again, and opens new ones."""
        self._pool.close()

    # ---- what can be asked

    async def token(
        self,
        account: str | None = None,
        *,
        url: str | None = None,
        audience: str | None = None,
        scope: str | None = None,
        min_ttl: float | None = None,
        force: bool | None = None,
        timeout: float | None = None,
    ) -> Token:
        """An access token that is valid now.

        Args:
            account: the account's name; the default one when left out.
            url: what the token is for, where that says whose it is: the configuration's `[hosts]` name the account.
            audience: the API it is for, where that isn't the account's own.
            scope: the scopes it must have, separated by spaces, where those aren't the account's own.
            min_ttl: for how many seconds it must be valid still.
            force: a token newer than the current one.
            timeout: how long to wait for it, in seconds (15).

        Raises:
            Denied: no account is configured for the URL, or another one than `account`; or the API is refused.
            LoginRequired, Unavailable, Timeout, LifetimeTooShort, Locked: there is no such token now.

        """
        return token_from(
            await self.call(
                "token",
                {
                    "account": account,
                    "url": url,
                    "audience": audience,
                    "scope": scope,
                    "min_ttl": min_ttl,
                    "force": force,
                    "timeout": timeout,
                },
            )
        )

    async def rejected(
        self,
        access_token: str,
        account: str | None = None,
        *,
        audience: str | None = None,
        scope: str | None = None,
        timeout: float | None = None,
    ) -> Token:
        """The token to use instead of one that an API answered with 401."""
        return token_from(
            await self.call(
                "rejected",
                {
                    "account": account,
                    "audience": audience,
                    "scope": scope,
                    "access_token": access_token,
                    "timeout": timeout,
                },
            )
        )

    async def has_valid(
        self,
        account: str | None = None,
        *,
        audience: str | None = None,
        scope: str | None = None,
        min_ttl: float = 0,
    ) -> bool:
        """Whether there is a token, good for `min_ttl` seconds, without asking the provider."""
        asked = {"account": account, "audience": audience, "scope": scope, "min_ttl": min_ttl}
        return (await self.call("has_valid", asked)).get("valid") is True

    async def refresh(self, account: str | None = None, *, timeout: float | None = None) -> Token:
        """A token from a refresh now, whatever the current one is good for."""
        return token_from(await self.call("refresh", {"account": account, "timeout": timeout}))

    async def login(
        self,
        account: str | None = None,
        *,
        flow: str = "browser",
        switch_user: bool = False,
        client_secret: str | None = None,
    ) -> "AsyncLogin":
        """Begin a login, over a connection of its own; use it as a context manager.

        A person then logs in, at the address or with the code that it has, while its `result` is waited for. It ends
        when the context does; without one, when its `close` is called, or nobody refers to it any more. Whatever fails,
        the session that there was stays.

        Args:
            account: the account's name; the default one when left out.
            flow: "browser", on this machine, or "device", on any other one, by a code.
            switch_user: whether another user than before may log in.
            client_secret: what the client authenticates with, where it has a secret that the agent doesn't know yet.

        Raises:
            InvalidRequest: its `parameter` is `client_secret`: the client needs one.
            Misconfigured: the account, or the client at the provider, must be corrected.
            Unavailable: the provider can't be reached, or too many logins were begun.

        """
        asked = {"account": account, "flow": flow, "switch_user": switch_user, "client_secret": client_secret}
        await anyio.lowlevel.checkpoint_if_cancelled()  # what was cancelled before is not even sent
        return AsyncLogin(self.call, *await begin(self._pool, asked))

    async def import_refresh_token(
        self,
        refresh_token: str,
        account: str | None = None,
        *,
        switch_user: bool = False,
        client_secret: str | None = None,
    ) -> Record:
        """Hand a refresh token over to the agent, which proves it by a refresh; the account's record.

        The token is used up by that: nobody else may use it from then on.

        Args:
            refresh_token: the token.
            account: the account's name; the default one when left out.
            switch_user: whether it may be another user's than before.
            client_secret: what the client authenticates with, where it has a secret that the agent doesn't know yet.

        """
        asked = {
            "account": account,
            "refresh_token": refresh_token,
            "switch_user": switch_user,
            "client_secret": client_secret,
        }
        return Record(await self.call("import", asked))

    async def id_token(
        self, account: str | None = None, *, min_ttl: float | None = None, timeout: float | None = None
    ) -> IDToken:
        """The ID token of the session: who logged in, as the provider signed it.

        Where the one there is has expired, or isn't good for so long, a refresh brings another, if the provider gives
        one then.

        Args:
            account: the account's name; the default one when left out.
            min_ttl: for how many seconds it must be valid still.
            timeout: how long to wait for it, in seconds (15).

        Raises:
            Unsupported: the account is its client's own, or its scope lacks `openid`: there are no ID tokens.
            Denied: there is none that is valid still, and the provider gave none at a refresh.
            LifetimeTooShort: its ID tokens never live as long as `min_ttl` asks for.
            LoginRequired, Unavailable, Timeout, Locked: as for an access token.

        """
        asked = {"account": account, "min_ttl": min_ttl, "timeout": timeout}
        return id_token_from(await self.call("id_token", asked))

    async def profile(
        self, account: str | None = None, *, max_age: float | None = None, timeout: float | None = None
    ) -> Profile:
        """What the provider says of the user, kept by the agent for a while.

        Where the provider can't be reached, what was known before is given, `stale`.

        Args:
            account: the account's name; the default one when left out.
            max_age: how many seconds ago it may have been fetched (300); less than 60 is 60.
            timeout: how long to wait for it, in seconds (15).

        Raises:
            LoginRequired: there is no session to ask with.
            Unavailable, Timeout: the provider can't be reached, and nothing is known from before.
            ProviderError: what it answers must not be used, such as another user's claims.
            Unsupported: it has no UserInfo, or the account belongs to a client and not to a user.

        """
        asked = {"account": account, "max_age": max_age, "timeout": timeout}
        return profile_from(await self.call("profile", asked))

    async def user(
        self, account: str | None = None, *, fields: Collection[str] | None = None, timeout: float | None = None
    ) -> dict[str, object]:
        """The user as the provider's Management API has it.

        Args:
            account: the account's name; the default one when left out.
            fields: the names of those of its fields that are wanted; all when left out, or empty.
            timeout: how long to wait for it, in seconds (15).

        Raises:
            Unsupported: the provider has no such API that the agent knows.
            Misconfigured: no access token is for that API; the text has the command that changes that.
            Denied: the access token's scopes don't allow it.
            LoginRequired, Unavailable, Timeout, ProviderError: as for a profile.

        """
        # One text is a collection of texts too, and never what is meant.
        wanted = fields if fields is None or isinstance(fields, str) else [*fields]
        asked = {"account": account, "fields": wanted, "timeout": timeout}
        return map_from(await self.call("user", asked), "user")

    async def user_metadata(self, account: str | None = None, *, timeout: float | None = None) -> dict[str, object]:
        """The user's metadata: what applications keep with the user at the provider, by name, of JSON's types.

        Args:
            account: the account's name; the default one when left out.
            timeout: how long to wait for it, in seconds (15).

        Raises:
            AgentError: as `user` says.

        """
        asked = {"account": account, "timeout": timeout}
        return map_from(await self.call("user_metadata", asked), "user_metadata")

    async def update_user_metadata(
        self,
        account: str | None,
        changes: Mapping[str, object],
        *,
        clear: bool = False,
        timeout: float | None = None,
    ) -> dict[str, object]:
        """Change the user's metadata; all of it, as it is afterwards.

        Args:
            account: the account's name; None: the default one.
            changes: new values by their names, of JSON's types; None deletes a name. What isn't named stays. A value
                that is a map replaces what was there: merged is the first level only.
            clear: let `changes`, which may then be empty, be all there is afterwards.
            timeout: how long to wait for it, in seconds (15).

        Raises:
            InvalidRequest: `changes` holds what JSON can't, or is empty without `clear`; nothing was changed.
            ConnectionLost, Timeout: it may be changed, or not.
            AgentError: as `user` says.

        """
        asked = {"account": account, "user_metadata": dict(changes), "clear": clear, "timeout": timeout}
        return map_from(await self.call("update_user_metadata", asked), "user_metadata")

    async def logout(self, account: str | None = None, *, revoke: bool = True, revoke_shared: bool = False) -> Logout:
        """Forget the session; true where its refresh token was revoked at the provider as well.

        It is forgotten in any case, also where the provider can't be reached.

        Args:
            account: the account's name; the default one when left out.
            revoke: whether the provider is asked to take the refresh token back; without, the session lives on there.
            revoke_shared: whether also where that may end the session of another account, of the same client and user;
                without, the provider is not asked there, and the result's `reason` says so.

        """
        # Left out where it isn't wanted: an older agent doesn't know it.
        asked = {"account": account, "revoke": revoke, "revoke_shared": revoke_shared or None}
        return logout_from(await self.call("logout", asked))

    async def status(self, account: str | None = None, *, clients: bool = False) -> Status:
        """What the agent is, and the record of each account, or of that one.

        With `clients`, which programs took tokens or the user's data, and when they did last: see docs/protocol.md.
        """
        return Status(await self.call("status", {"account": account, "clients": clients or None}))

    async def hello(self, client: str | None = None) -> Hello:
        """The agent's version, pid and features; `client` is a name for its log."""
        return Hello(await self.call("hello", {"client": client}))

    async def reload(self) -> Reload:
        """Let the agent read its configuration again; which accounts that added, changed and removed."""
        return Reload(await self.call("reload", {}))

    async def wait_for_end(self, timeout: float) -> bool:
        """Wait until the agent ends; whether it did within `timeout` seconds."""
        return await self._pool.wait_for_end(timeout)

    def watch(
        self,
        accounts: Collection[str] | None = None,
        *,
        reconnect: bool = True,
        on_gap: Callable[[bool], object] | None = None,
    ) -> "AsyncWatch":
        """The record of each account as it is now, then, without end, each that changed; never a token.

        It has a connection of its own, which closes with the iterator: by its `aclose`, when nobody refers to it any
        more, as after a `break`, or when the wait for a record is cancelled. In a forked child it goes on over the
        child's own connection.

        Args:
            accounts: the names of those to watch; all when left out.
            reconnect: when the agent goes away, wait for it to come back, and go on with what changed meanwhile
                (but not with an account that vanished from the configuration meanwhile: that has no record).
            on_gap: called with True when the agent has gone, and with False when it is back, before what changed.

        Raises:
            InvalidRequest: `accounts` are no names of accounts; at once, if they are no texts.
            AgentNotRunning: nobody listens when the first record is asked for.
            UntrustedAgent: at any time, also with `reconnect`; likewise what the agent refuses.
            ConnectionLost: the agent went away; without `reconnect`.

        """
        return AsyncWatch(Watch(self._pool.path, self._waits, accounts, reconnect=reconnect, on_gap=on_gap))

    # ---- how it is asked

    async def call(self, method: str, parameters: Mapping[str, object]) -> dict[str, object]:
        """Call a method of the protocol by its name; a parameter that is None is left out.

        Where it answers `true` and no more, that is an empty map here.
        """
        question = Question(method, parameters)
        await anyio.lowlevel.checkpoint_if_cancelled()  # what was cancelled before is not even sent
        turns = self._turns.get(None)
        if turns is None:
            turns = _Turns(MAX_CONNECTIONS)
            self._turns.set(turns)
        try:
            await turns.take(question.deadline)
        except TimeoutError as error:
            raise Timeout(f"{MAX_CONNECTIONS} calls of this client wait already; {method} was not sent") from error
        try:
            return await self._pool.call(question)
        finally:
            turns.give_back()


class AsyncWatch(AsyncIterator[Record]):
    """What `AsyncAgent.watch` gives: records.

    No generator, which only its event loop could close once nobody refers to it, and trio does so under protest.
    """

    def __init__(self, watch: Watch) -> None:
        self._watch = watch
        self._is_awaited = False

    async def __anext__(self) -> Record:
        self._claim()
        try:
            record = await self._watch.next()
        finally:
            self._is_awaited = False
        if record is None:
            raise StopAsyncIteration
        return record

    async def aclose(self) -> None:
        """Close the connection; there will be no more records. Nobody may be waiting for one."""
        self._claim()
        self._is_awaited = False
        self._watch.close()

    def __del__(self) -> None:
        self._watch.close()

    def _claim(self) -> None:
        if self._is_awaited:
            raise RuntimeError("another task waits for this watch's next record; cancel that one first")
        self._is_awaited = True


class AsyncLogin(BegunLogin):
    """What `Login` is to threads, for tasks; use it as an async context manager, or call `close`.

    A wait for its result that is cancelled ends the wait, never the login.
    """

    def __init__(
        self,
        call: Callable[[str, Mapping[str, object]], Awaitable[object]],
        link: Link,
        result: Question,
        begun: Mapping[str, object],
    ) -> None:
        super().__init__(link, result, begun)
        self._call = call

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """Close its connection; where the login is not over, the agent ends it."""
        self._link.close()

    async def result(self, *, timeout: float | None = None) -> Record:
        """Wait until the login is over; the account's record.

        Args:
            timeout: how long to wait, in seconds; as long as the login may take when left out.

        Raises:
            Timeout: it is not over yet; it goes on, and may be waited for again.
            AgentError: no session came of it; the text says why.

        """
        return await self._result(timeout)

    async def redirect(self, url: str) -> None:
        """Hand in the address that the browser ended on, where that is on another machine.

        Raises:
            InvalidRequest: it is not the address of this login's end; the login goes on.

        """
        await self._call("login_redirect", {"login_id": self.login_id, "url": url})

    async def cancel(self) -> None:
        """Cancel it: `result` raises `Denied` then, unless it was too late."""
        await self._call("login_cancel", {"login_id": self.login_id})


class _Turns:
    """Lets so many in at once, the others in the order in which they came.

    Unlike anyio's semaphore it loses no turn to asyncio's own way of cancelling.
    """

    def __init__(self, free: int) -> None:
        self._free = free
        self._waiting: deque[anyio.Event] = deque()

    async def take(self, deadline: float) -> None:
        """Wait for a turn. Raises a `TimeoutError` at the deadline."""
        if self._free:
            self._free -= 1
            return
        turn = anyio.Event()
        self._waiting.append(turn)
        try:
            with _until(deadline):
                await turn.wait()
        except BaseException:
            if turn.is_set():  # it came at the moment of giving up
                self.give_back()
            else:
                self._waiting.remove(turn)
            raise

    def give_back(self) -> None:
        """End a turn."""
        if self._waiting:
            self._waiting.popleft().set()
        else:
            self._free += 1


class _Yielding(Waits):
    """Waits by the event loop, and lets the other tasks run."""

    async def connect(self, path: str) -> socket.socket:
        connection = socket.socket(socket.AF_UNIX)
        try:
            connection.setblocking(False)
            with anyio.fail_after(CONNECT_TIMEOUT):
                pause = _SHORTEST_PAUSE
                while True:
                    try:
                        connection.connect(path)
                    except BlockingIOError:
                        # The backlog is full. Linux has no event for its having room again.
                        await anyio.sleep(pause)
                        pause = min(2 * pause, _LONGEST_PAUSE)
                    else:
                        return connection
        except BaseException:
            connection.close()
            raise

    async def readable(self, connection: socket.socket, deadline: float | None) -> None:
        with _until(deadline):
            await anyio.wait_readable(connection)

    async def writable(self, connection: socket.socket, deadline: float | None) -> None:
        with _until(deadline):
            await anyio.wait_writable(connection)

    async def pause(self, seconds: float) -> None:
        await anyio.sleep(seconds)


def _until(deadline: float | None) -> AbstractContextManager[object]:
    """Raises a `TimeoutError` where what is in it lasts longer; None: it may."""
    return anyio.fail_after(None if deadline is None else deadline - time.monotonic())
