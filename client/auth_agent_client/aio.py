"""The asynchronous client: `AsyncAgent`, on anyio, so under asyncio and trio.

The package doesn't import this module, so that other programs need no anyio. Calls, connections and results are those
of the blocking client; only the waiting is different.
"""

import itertools
import socket
import time
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Generator, Mapping
from contextlib import contextmanager
from types import TracebackType
from typing import Final, Self

import anyio
import anyio.lowlevel
from anyio.lowlevel import RunVar

from .call import Call, Calls
from .errors import Timeout
from .link import Link
from .lock import Lock, Unlock
from .login import BaseLogin, begin
from .logout import Logout, logout_from
from .paths import socket_path
from .pool import Pool
from .profile import Profile, map_from, profile_from
from .record import Record
from .status import Hello, Reload, Status
from .store_move import StoreMove
from .token import IDToken, Token, id_token_from, token_from
from .values import strings
from .waiting import CONNECT_TIMEOUT, Late, Waits
from .watch import Watch

__all__ = ["AsyncAgent", "AsyncLogin", "AsyncWatch"]

# The share of the agent's 1,200 connections that one program may use; further calls wait.
MAX_CONNECTIONS: Final = 256
# For the name of each client's `RunVar`.
_clients = itertools.count()
# Seconds between attempts to connect to an agent that is too busy to accept.
_SHORTEST_PAUSE: Final = 0.005
_LONGEST_PAUSE: Final = 0.1


class AsyncAgent:
    """A client of this user's agent; use it as an async context manager, or call `close`.

    It has the methods, results and errors of `Agent`, for tasks. Cancelling a call ends the wait, not the agent's work.
    It may be used in several event loops, also at the same time, and in a forked child.

    Args:
        path: the socket's path; by default that of `socket_path`.

    Every method can raise an `AgentError`: the subclass for the agent's error code, `AgentNotRunning` if
    no agent listens, `ConnectionLost` if the agent went away and the call could not be repeated,
    `UntrustedAgent` if another user listens there, or could.

    """

    def __init__(self, path: str | None = None) -> None:
        self._waits = _Yielding()
        self._pool = Pool(path if path is not None else socket_path(), self._waits, most_idle=MAX_CONNECTIONS)
        self._made_calls = Calls()
        # One for each event loop: the calls of a loop that ended, or was left by a fork, never give their turns back.
        self._turns = RunVar[_Turns](f"auth_agent_client.AsyncAgent-{next(_clients)}")

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """Close the idle connections. A later call opens new ones."""
        self._pool.close()

    # ---- methods of the protocol

    async def token(
        self,
        account: str | None = None,
        *,
        url: str | None = None,
        directory: str | None = None,
        audience: str | None = None,
        scope: str | None = None,
        only: bool | None = None,
        min_ttl: float | None = None,
        force: bool | None = None,
        timeout: float | None = None,
    ) -> Token:
        """Return a valid access token.

        Args:
            account: the account's name; by default the default account.
            url: the URL to be called; `[hosts]` in the configuration maps it to an account.
            directory: the absolute path of the directory where the program runs: a rule for the URL may want one.
            audience: the API that the token is for, if not the account's own.
            scope: the scopes that the token must at least have, separated by spaces, if not the account's own.
            only: whether it must have no other scopes than these.
            min_ttl: how many seconds the token must remain valid.
            force: whether to get a newer token than the current one.
            timeout: how long to wait, in seconds (15).

        Raises:
            Denied: no account, or another one than `account`, is configured for the URL; or the provider refuses the
                API.
            LoginRequired, Unavailable, Timeout, LifetimeTooShort, Locked: there is no such token now.

        """
        return token_from(
            await self.call(
                "token",
                {
                    "account": account,
                    "url": url,
                    "directory": directory,
                    "audience": audience,
                    "scope": scope,
                    "only": only,
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
        url: str | None = None,
        directory: str | None = None,
        audience: str | None = None,
        scope: str | None = None,
        only: bool | None = None,
        challenge: str | None = None,
        timeout: float | None = None,
    ) -> Token:
        """Return a token to use instead of one that an API rejected with 401, or with 403 and a challenge.

        Args:
            access_token: the token that it rejected.
            account: the account's name; by default the default account.
            url: as of `token`.
            directory: as of `token`.
            audience: as of `token`.
            scope: as of `token`.
            only: as of `token`.
            challenge: the response's WWW-Authenticate, of at most 4096 characters.
            timeout: how long to wait, in seconds (15).

        Raises:
            LoginRequired: by the challenge, the API wants another login, with more scopes, or a stronger or newer one.

        """
        return token_from(
            await self.call(
                "rejected",
                {
                    "account": account,
                    "url": url,
                    "directory": directory,
                    "audience": audience,
                    "scope": scope,
                    "only": only,
                    "access_token": access_token,
                    "challenge": challenge,
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
        only: bool | None = None,
        min_ttl: float = 0,
    ) -> bool:
        """Return whether there is a token that is valid for `min_ttl` seconds, without a request to the provider."""
        params = {"account": account, "audience": audience, "scope": scope, "only": only, "min_ttl": min_ttl}
        return (await self.call("has_valid", params)).get("valid") is True

    async def refresh(self, account: str | None = None, *, timeout: float | None = None) -> Token:
        """Refresh now, and return the new token, even if the current one is still valid."""
        return token_from(await self.call("refresh", {"account": account, "timeout": timeout}))

    async def login(
        self,
        account: str | None = None,
        *,
        flow: str = "browser",
        switch_user: bool = False,
        client_secret: str | None = None,
        parameters: Mapping[str, str] | None = None,
    ) -> "AsyncLogin":
        """Begin a login on its own connection; use it as a context manager.

        A person then logs in, at its URL or with its code, while the caller waits for its `result`. The login ends with
        the context, with `close`, or when it is garbage-collected. If it fails, an existing session stays as it is.

        Args:
            account: the account's name; by default the default account.
            flow: "browser" for a browser on this machine, or "device" for a code on any other device (RFC 8628).
            switch_user: whether another user than before may log in.
            client_secret: the client secret, if the client has one that the agent doesn't know yet.
            parameters: further parameters of this login alone, such as `{"prompt": "login"}`; `scope` is in place of
                the account's.

        Raises:
            InvalidRequest: with the `parameter` `client_secret`: the client needs one.
            Misconfigured: the account, or the client at the provider, must be corrected.
            Unavailable: the provider can't be reached, or too many logins are under way.

        """
        params = {
            "account": account,
            "flow": flow,
            "switch_user": switch_user,
            "client_secret": client_secret,
            "parameters": parameters,
        }
        await anyio.lowlevel.checkpoint_if_cancelled()  # a call that is cancelled already is not sent
        return AsyncLogin(self.call, *await begin(self._pool, params))

    async def import_refresh_token(
        self,
        refresh_token: str,
        account: str | None = None,
        *,
        switch_user: bool = False,
        client_secret: str | None = None,
    ) -> Record:
        """Import a refresh token, which the agent checks by a refresh, and return the account's record.

        From then on only the agent may use the token.

        Args:
            refresh_token: the token.
            account: the account's name; by default the default account.
            switch_user: whether the token may be another user's than before.
            client_secret: the client secret, if the client has one that the agent doesn't know yet.

        """
        params = {
            "account": account,
            "refresh_token": refresh_token,
            "switch_user": switch_user,
            "client_secret": client_secret,
        }
        return Record(await self.call("import", params))

    async def id_token(
        self,
        account: str | None = None,
        *,
        url: str | None = None,
        directory: str | None = None,
        min_ttl: float | None = None,
        timeout: float | None = None,
    ) -> IDToken:
        """Return the ID token of the session: who logged in, signed by the provider.

        If the current one is not valid for `min_ttl` seconds, the agent refreshes: some providers then issue another.

        Args:
            account: the account's name; by default the default account.
            url: as of `token`.
            directory: as of `token`.
            min_ttl: how many seconds the token must remain valid.
            timeout: how long to wait, in seconds (15).

        Raises:
            Unsupported: the account uses client credentials, or its scope lacks `openid`: there are no ID tokens.
            Denied: there is no valid one, and a refresh returned none.
            LifetimeTooShort: the provider's ID tokens are never valid for `min_ttl` seconds.
            LoginRequired, Unavailable, Timeout, Locked: as for an access token.

        """
        params = {"account": account, "url": url, "directory": directory, "min_ttl": min_ttl, "timeout": timeout}
        return id_token_from(await self.call("id_token", params))

    async def profile(
        self, account: str | None = None, *, max_age: float | None = None, timeout: float | None = None
    ) -> Profile:
        """Return what the provider says of the user, cached by the agent.

        If the provider can't be reached, the last known profile is returned, marked `stale`.

        Args:
            account: the account's name; by default the default account.
            max_age: the maximum age of the profile, in seconds (300); at least 60.
            timeout: how long to wait, in seconds (15).

        Raises:
            LoginRequired: there is no session.
            Unavailable, Timeout: the provider can't be reached, and no profile is cached.
            ProviderError: its response must not be used, such as another user's claims.
            Unsupported: the provider has no UserInfo endpoint, or the account uses client credentials.

        """
        params = {"account": account, "max_age": max_age, "timeout": timeout}
        return profile_from(await self.call("profile", params))

    async def user(
        self, account: str | None = None, *, fields: Collection[str] | None = None, timeout: float | None = None
    ) -> dict[str, object]:
        """Return the user from the provider's Management API.

        Args:
            account: the account's name; by default the default account.
            fields: the names of the fields to return; all when left out or empty.
            timeout: how long to wait, in seconds (15).

        Raises:
            Unsupported: the provider has no Management API that the agent knows.
            Misconfigured: no access token is for that API; the error's `remedy` has the command that changes that.
            Denied: the access token's scopes don't allow it.
            LoginRequired, Unavailable, Timeout, ProviderError: as for a profile.

        """
        # A string is a collection of strings too: passed on as it is, it is rejected.
        names = fields if fields is None or isinstance(fields, str) else [*fields]
        params = {"account": account, "fields": names, "timeout": timeout}
        return map_from(await self.call("user", params), "user")

    async def user_metadata(self, account: str | None = None, *, timeout: float | None = None) -> dict[str, object]:
        """Return the user's metadata, which applications keep with the user at the provider: a JSON object.

        Args:
            account: the account's name; by default the default account.
            timeout: how long to wait, in seconds (15).

        Raises:
            AgentError: as for `user`.

        """
        params = {"account": account, "timeout": timeout}
        return map_from(await self.call("user_metadata", params), "user_metadata")

    async def update_user_metadata(
        self,
        account: str | None,
        changes: Mapping[str, object],
        *,
        clear: bool = False,
        timeout: float | None = None,
    ) -> dict[str, object]:
        """Change the user's metadata, and return all of it.

        Args:
            account: the account's name; None for the default account.
            changes: the new JSON values by their names; None deletes a name, and other names stay. Only the first level
                is merged: a map replaces the whole old value.
            clear: delete all other names; `changes` may then be empty.
            timeout: how long to wait, in seconds (15).

        Raises:
            InvalidRequest: `changes` is not valid JSON, or is empty without `clear`; nothing was changed.
            ConnectionLost, Timeout: the metadata may have been changed, or not.
            AgentError: as for `user`.

        """
        params = {"account": account, "user_metadata": dict(changes), "clear": clear, "timeout": timeout}
        return map_from(await self.call("update_user_metadata", params), "user_metadata")

    async def logout(self, account: str | None = None, *, revoke: bool = True, revoke_shared: bool = False) -> Logout:
        """Delete the session; the result is true if its refresh token was revoked at the provider.

        The session is deleted even if the provider can't be reached.

        Args:
            account: the account's name; by default the default account.
            revoke: whether to revoke the refresh token; if not, the session stays valid at the provider.
            revoke_shared: whether to revoke even if that may end the session of another account with the same client
                and user; if not, the token is not revoked then, and the result's `reason` says so.

        """
        # Sent only if it is true: an older agent doesn't know the parameter.
        params = {"account": account, "revoke": revoke, "revoke_shared": revoke_shared or None}
        return logout_from(await self.call("logout", params))

    async def status(self, account: str | None = None, *, clients: bool = False) -> Status:
        """Return the state of the agent, and the record of the account or of each account.

        With `clients`, also which programs took tokens or the user's data, and when last: see docs/protocol.md.
        """
        return Status(await self.call("status", {"account": account, "clients": clients or None}))

    async def hello(self, client: str | None = None) -> Hello:
        """Return the agent's version, pid and features; `client` is a name for its log."""
        return Hello(await self.call("hello", {"client": client}))

    async def lock(self, passphrase: str | None = None, *, keep_alive: bool = False) -> Lock:
        """Lock the agent: it answers every request for a session with `Locked`, and its secrets leave the memory.

        Args:
            passphrase: what unlocks it; without one, any program of the user can. Needed if the agent stores sessions
                only in memory; not for a store with a passphrase of its own.
            keep_alive: keep the secrets in memory, and go on refreshing sessions.

        Raises:
            Locked: it is locked already, and can't be given another passphrase.
            Unsupported: the sessions are only in memory, and there is no passphrase that seals them.
            Unavailable: the passphrase could not be set; the agent is not locked.

        """
        return Lock(await self.call("lock", {"passphrase": passphrase, "keep_alive": keep_alive}))

    async def unlock(self, passphrase: str | None = None) -> Unlock:
        """Unlock the agent, or its store, by its passphrase, if it has one; the first time, make the store.

        Raises:
            Denied: the passphrase is wrong.
            InvalidRequest: the passphrase is missing.
            Locked: the store can't be unlocked; the error's `reason` says why.

        """
        return Unlock(await self.call("unlock", {"passphrase": passphrase}))

    async def change_passphrase(self, passphrase: str, new: str) -> Unlock:
        """Change the passphrase of the agent's store.

        Raises:
            Denied: `passphrase` is wrong.
            Locked: the store is locked, or can't be used; it has the old passphrase.
            Unsupported: the store has no passphrase of auth-agent's, as a keyring has none.

        """
        parameters = {"passphrase": passphrase, "new_passphrase": new}
        return Unlock(await self.call("change_passphrase", parameters))

    async def move_store(self, store: str, passphrase: str | None = None) -> StoreMove:
        """Move all sessions to another store, `keyring` or `file`, without a login; the next agent uses it, too.

        Args:
            store: the other store's name.
            passphrase: the sealed file's; if there is none yet, this passphrase makes it.

        Raises:
            Denied: the passphrase is wrong.
            InvalidRequest: the sessions are there already, no store has that name, or the passphrase is missing.
            Locked: one of the stores can't be used; the sessions stay where they are.

        """
        return StoreMove(await self.call("move_store", {"store": store, "passphrase": passphrase}))

    async def adopt(self) -> tuple[str, ...]:
        """Use sessions in the store that are old copies or another machine's; return their accounts.

        A person has to decide that: if the provider has replaced a session's refresh token since, this ends it.

        Raises:
            Locked: the store is locked, or can't be used.

        """
        return strings((await self.call("adopt", {})).get("accounts"))

    async def reload(self) -> Reload:
        """Make the agent read its configuration again, and return which accounts changed."""
        return Reload(await self.call("reload", {}))

    async def wait_for_end(self, timeout: float) -> bool:
        """Wait until the agent ends, and return whether it did within `timeout` seconds."""
        return await self._pool.wait_for_end(timeout)

    def watch(
        self,
        accounts: Collection[str] | None = None,
        *,
        reconnect: bool = True,
        on_gap: Callable[[bool], object] | None = None,
    ) -> "AsyncWatch":
        """Yield the record of each account, then each record that changes, without end; never a token.

        It has a connection of its own, which closes with the iterator: by its `aclose`, when nobody refers to it any
        more, as after a `break`, or when the wait for a record is cancelled. In a forked child it goes on over the
        child's own connection.

        Args:
            accounts: the accounts' names; all when left out.
            reconnect: whether to wait for the agent to come back if it goes away, and go on with the records that
                changed meanwhile (an account that was removed from the configuration has no record).
            on_gap: called with True when the agent is gone, and with False when it is back, before any record.

        Raises:
            InvalidRequest: `accounts` are not names of accounts; raised at once if they are not strings.
            AgentNotRunning: no agent listens when the first record is requested.
            UntrustedAgent, or an error of the agent: at any time, also with `reconnect`.
            ConnectionLost: the agent went away; only without `reconnect`.

        """
        return AsyncWatch(Watch(self._pool.path, self._waits, accounts, reconnect=reconnect, on_gap=on_gap))

    # ---- calls

    async def call(self, method: str, parameters: Mapping[str, object]) -> dict[str, object]:
        """Call a method of the protocol by its name, and return its result. Parameters that are None are not sent.

        A method without a result returns an empty map.
        """
        call = self._made_calls.call(method, parameters)
        await anyio.lowlevel.checkpoint_if_cancelled()  # a call that is cancelled already is not sent
        turns = self._turns.get(None)
        if turns is None:
            turns = _Turns(MAX_CONNECTIONS)
            self._turns.set(turns)
        try:
            await turns.take(call.deadline)
        except Late as error:
            raise Timeout(f"{method} was not sent: {MAX_CONNECTIONS} calls of this client are still waiting") from error
        try:
            return await self._pool.call(call)
        finally:
            turns.give_back()


class AsyncWatch(AsyncIterator[Record]):
    """The records of `AsyncAgent.watch`.

    It is not an async generator: only its event loop could close one that is garbage-collected, and trio warns then.
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
        """Close the connection. No task may be waiting for a record."""
        self._claim()
        self._is_awaited = False
        self._watch.close()

    def __del__(self) -> None:
        self._watch.close()

    def _claim(self) -> None:
        if self._is_awaited:
            raise RuntimeError("another task waits for this watch's next record; cancel that one first")
        self._is_awaited = True


class AsyncLogin(BaseLogin):
    """A login under way, like `Login`, for tasks; use it as an async context manager, or call `close`.

    Cancelling the wait for its result doesn't cancel the login.
    """

    def __init__(
        self,
        call: Callable[[str, Mapping[str, object]], Awaitable[object]],
        link: Link,
        result_call: Call,
        response: Mapping[str, object],
    ) -> None:
        super().__init__(link, result_call, response)
        self._call = call

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """Close the connection; if the login is not over, the agent cancels it."""
        self._link.close()

    async def result(self, *, timeout: float | None = None) -> Record:
        """Wait until the login is over, and return the account's record.

        Args:
            timeout: how long to wait, in seconds; by default until the login is over.

        Raises:
            Timeout: the login is not over yet; it continues, and the caller may wait again.
            AgentError: the login failed; the message says why.

        """
        return await self._result(timeout)

    async def redirect(self, url: str) -> None:
        """Send the URL that the browser ended on, if the browser is on another machine.

        Raises:
            InvalidRequest: the URL does not belong to this login; the login continues.

        """
        await self._call("login_redirect", {"login_id": self.login_id, "url": url})

    async def cancel(self) -> None:
        """Cancel the login: `result` then raises `Denied`, unless the login had succeeded already."""
        await self._call("login_cancel", {"login_id": self.login_id})


class _Turns:
    """A fair semaphore.

    Unlike anyio's, it loses no turn if asyncio cancels a task that has just got one.
    """

    def __init__(self, free: int) -> None:
        self._free = free
        self._waiting: deque[anyio.Event] = deque()

    async def take(self, deadline: float) -> None:
        """Wait for a turn. Raises `Late` at the deadline."""
        if self._free:
            self._free -= 1
            return
        turn = anyio.Event()
        self._waiting.append(turn)
        try:
            with _until(deadline):
                await turn.wait()
        except BaseException:
            if turn.is_set():  # the turn came at the moment of the cancellation
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
    """Waits with the event loop, while other tasks run."""

    async def connect(self, path: str) -> socket.socket:
        connection = socket.socket(socket.AF_UNIX)
        try:
            connection.setblocking(False)
            with _until(time.monotonic() + CONNECT_TIMEOUT):
                pause = _SHORTEST_PAUSE
                while True:
                    try:
                        connection.connect(path)
                    except BlockingIOError:
                        # The backlog is full, and Linux has no event for a free place.
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


@contextmanager
def _until(deadline: float | None) -> Generator[None, None, None]:
    """Return a context that raises `Late` at the deadline, if there is one."""
    with anyio.move_on_after(None if deadline is None else deadline - time.monotonic()):
        yield
        return
    raise Late
