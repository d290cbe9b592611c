"""The blocking client: `Agent`.

A call takes an idle connection, or opens one, so threads never wait for each other and need no lock. A connection
belongs to the process that opened it: after a fork the child opens its own, and replies never cross processes.
"""

from collections.abc import Callable, Collection, Generator, Mapping
from types import TracebackType

from .login import Login, begin
from .logout import Logout, logout_from
from .paths import socket_path
from .pool import Pool
from .profile import Profile, map_from, profile_from
from .question import Question
from .record import Record
from .status import Hello, Reload, Status
from .token import IDToken, Token, id_token_from, token_from
from .waiting import Blocking, finish
from .watch import Watch

__all__ = ["Agent", "IDToken", "Logout", "Profile", "Token"]

# As many as a program has threads that ask at the same moment.
_MAX_IDLE = 16


class Agent:
    """The agent of this user, asked over its socket; use it as a context manager, or call `close`.

    Args:
        path: the socket's path; by default where the agent listens (see `socket_path`).

    Every method raises an `AgentError`: the protocol's code for what the agent refused, `AgentNotRunning` where
    nobody listens, `ConnectionLost` where the agent went away and the call could not be repeated,
    `UntrustedAgent` where another user listens, or could.

    """

    def __init__(self, path: str | None = None) -> None:
        self._waits = Blocking()
        self._pool = Pool(path if path is not None else socket_path(), self._waits, most_idle=_MAX_IDLE)

    def __enter__(self) -> "Agent":  # noqa: PYI034 -- Self is typing's, which this package does not import
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the idle connections; the agent may be used again, and opens new ones."""
        self._pool.close()

    # ---- what can be asked

    def token(
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
            self.call(
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

    def rejected(
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
            self.call(
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

    def has_valid(
        self,
        account: str | None = None,
        *,
        audience: str | None = None,
        scope: str | None = None,
        min_ttl: float = 0,
    ) -> bool:
        """Whether there is a token, good for `min_ttl` seconds, without asking the provider."""
        asked = {"account": account, "audience": audience, "scope": scope, "min_ttl": min_ttl}
        return self.call("has_valid", asked).get("valid") is True

    def refresh(self, account: str | None = None, *, timeout: float | None = None) -> Token:
        """A token from a refresh now, whatever the current one is good for."""
        return token_from(self.call("refresh", {"account": account, "timeout": timeout}))

    def login(
        self,
        account: str | None = None,
        *,
        flow: str = "browser",
        switch_user: bool = False,
        client_secret: str | None = None,
    ) -> Login:
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
        return Login(self.call, *finish(begin(self._pool, asked)).value)

    def import_refresh_token(
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
        return Record(self.call("import", asked))

    def id_token(
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
        return id_token_from(self.call("id_token", asked))

    def profile(
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
        return profile_from(self.call("profile", asked))

    def user(
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
        return map_from(self.call("user", asked), "user")

    def user_metadata(self, account: str | None = None, *, timeout: float | None = None) -> dict[str, object]:
        """The user's metadata: what applications keep with the user at the provider, by name, of JSON's types.

        Args:
            account: the account's name; the default one when left out.
            timeout: how long to wait for it, in seconds (15).

        Raises:
            AgentError: as `user` says.

        """
        asked = {"account": account, "timeout": timeout}
        return map_from(self.call("user_metadata", asked), "user_metadata")

    def update_user_metadata(
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
        return map_from(self.call("update_user_metadata", asked), "user_metadata")

    def logout(self, account: str | None = None, *, revoke: bool = True, revoke_shared: bool = False) -> Logout:
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
        return logout_from(self.call("logout", asked))

    def status(self, account: str | None = None, *, clients: bool = False) -> Status:
        """What the agent is, and the record of each account, or of that one.

        With `clients`, which programs took tokens or the user's data, and when they did last: see docs/protocol.md.
        """
        return Status(self.call("status", {"account": account, "clients": clients or None}))

    def hello(self, client: str | None = None) -> Hello:
        """The agent's version, pid and features; `client` is a name for its log."""
        return Hello(self.call("hello", {"client": client}))

    def reload(self) -> Reload:
        """Let the agent read its configuration again; which accounts that added, changed and removed."""
        return Reload(self.call("reload", {}))

    def wait_for_end(self, timeout: float) -> bool:
        """Wait until the agent ends; whether it did within `timeout` seconds."""
        return finish(self._pool.wait_for_end(timeout)).value is True

    def watch(
        self,
        accounts: Collection[str] | None = None,
        *,
        reconnect: bool = True,
        on_gap: Callable[[bool], object] | None = None,
    ) -> Generator[Record, None, None]:
        """The record of each account as it is now, then, without end, each that changed; never a token.

        It has a connection of its own, which closes with the generator: by its `close`, or when nobody refers to it
        any more, as after a `break`. In a forked child it goes on over the child's own connection.

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
        return _records(Watch(self._pool.path, self._waits, accounts, reconnect=reconnect, on_gap=on_gap))

    # ---- how it is asked

    def call(self, method: str, parameters: Mapping[str, object]) -> dict[str, object]:
        """Call a method of the protocol by its name; a parameter that is None is left out.

        Where it answers `true` and no more, that is an empty map here.
        """
        result: dict[str, object] = finish(self._pool.call(Question(method, parameters))).value
        return result


def _records(watch: Watch) -> Generator[Record, None, None]:
    try:
        while (record := finish(watch.next()).value) is not None:
            yield record
    finally:
        watch.close()
