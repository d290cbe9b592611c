"""The blocking client: `Agent`.

A call takes an idle connection, or opens one, so threads never wait for each other and need no lock. A connection
belongs to the process that opened it: after a fork the child opens its own, and replies never cross processes.
"""

import os
from collections.abc import Mapping
from types import TracebackType

from .errors import ConnectionLost, Internal
from .link import Link
from .messages import METHODS
from .paths import socket_path

__all__ = ["Agent", "Token"]

# As many as a program has threads that ask at the same moment; more are closed after use.
_MAX_IDLE = 16


class Token:
    """An access token that was valid when it was handed out, and what to send it as.

    `expires_at` is Unix time in seconds. `audience` and `scope` are what the token was granted for, as far as the
    provider said.
    """

    __slots__ = ("access_token", "account", "audience", "expires_at", "scope", "token_type")

    def __init__(
        self,
        account: str,
        access_token: str,
        token_type: str,
        expires_at: float,
        scope: str | None,
        audience: str | None,
    ) -> None:
        self.account = account
        self.access_token = access_token
        self.token_type = token_type
        self.expires_at = expires_at
        self.scope = scope
        self.audience = audience

    @property
    def authorization(self) -> str:
        """The value of an HTTP request's `Authorization` header (RFC 6750, section 2.1)."""
        # Providers write `bearer` too, and some APIs take only the RFC's spelling.
        scheme = "Bearer" if self.token_type.lower() == "bearer" else self.token_type
        return f"{scheme} {self.access_token}"

    def __repr__(self) -> str:
        return f"Token(account={self.account!r}, access_token=…, expires_at={self.expires_at!r})"


class Agent:
    """The agent of this user, asked over its socket; use it as a context manager, or call `close`.

    Args:
        path: the socket's path; by default where the agent listens (see `socket_path`).

    Every method raises an `AgentError`: the protocol's code for what the agent refused, `AgentNotRunning` where
    nobody listens, `ConnectionLost` where the agent went away and the call could not be repeated,
    `UntrustedAgent` where another user listens.

    """

    def __init__(self, path: str | None = None) -> None:
        self._path = path if path is not None else socket_path()
        self._idle: list[Link] = []

    def __enter__(self) -> "Agent":  # noqa: PYI034 -- Self is typing's, which this package does not import
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the idle connections; the agent may be used again, and opens new ones."""
        while self._idle:
            self._idle.pop().close()

    # ---- what can be asked

    def token(
        self,
        account: str | None = None,
        *,
        audience: str | None = None,
        scope: str | None = None,
        min_ttl: float | None = None,
        force: bool | None = None,
        timeout: float | None = None,
    ) -> Token:
        """An access token that is valid now.

        Args:
            account: the account's name; the default one when left out.
            audience: the API it is for, where that isn't the account's own.
            scope: the scopes it must have, separated by spaces, where those aren't the account's own.
            min_ttl: for how many seconds it must be valid still.
            force: a token newer than the current one.
            timeout: how long to wait for it, in seconds (15).

        """
        return _token(
            self.call(
                "token",
                {
                    "account": account,
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
        return _token(
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
        return _token(self.call("refresh", {"account": account, "timeout": timeout}))

    def import_refresh_token(
        self, refresh_token: str, account: str | None = None, *, switch_user: bool = False
    ) -> dict[str, object]:
        """Hand a refresh token over to the agent, which proves it by a refresh; the account's record.

        The token is used up by that: nobody else may use it from then on.
        """
        asked = {"account": account, "refresh_token": refresh_token, "switch_user": switch_user}
        return self.call("import", asked)

    def logout(self, account: str | None = None, *, revoke: bool = True) -> bool:
        """Forget the session; whether its refresh token was revoked at the provider as well."""
        return self.call("logout", {"account": account, "revoke": revoke}).get("revoked") is True

    def status(self, account: str | None = None) -> dict[str, object]:
        """What the agent is, and the record of each account, or of that one."""
        return self.call("status", {"account": account})

    def hello(self, client: str | None = None) -> dict[str, object]:
        """The agent's version, pid and features; `client` is a name for its log."""
        return self.call("hello", {"client": client})

    def reload(self) -> dict[str, object]:
        """Let the agent read its configuration again; which accounts that added, changed and removed."""
        return self.call("reload", {})

    def wait_for_end(self, timeout: float) -> bool:
        """Wait until the agent ends; whether it did within `timeout` seconds."""
        link = self._take()
        try:
            return link.wait_for_end(timeout)
        finally:
            link.close()

    # ---- how it is asked

    def call(self, method: str, parameters: Mapping[str, object]) -> dict[str, object]:
        """Call a method of the protocol by its name; a parameter that is None is left out."""
        given = {name: value for name, value in parameters.items() if value is not None}
        while True:
            link = self._take()
            used_before = link.used
            try:
                result = link.call(method, given)
            except ConnectionLost as error:
                link.close()
                # The agent was restarted since the connection was last used. Once only: a new one has no past.
                if used_before and (METHODS[method].repeatable or not error.details["sent"]):
                    continue
                raise
            except BaseException:
                # An error that the agent answered leaves the connection good; an interrupted call does not.
                link.close() if link.waiting else self._give_back(link)
                raise
            self._give_back(link)
            return result

    def _take(self) -> "Link":
        pid = os.getpid()
        while self._idle:
            try:
                link = self._idle.pop()
            except IndexError:  # another thread took it
                break
            if link.pid == pid and not link.is_over():
                return link
            # The agent's end of it is closed; or it is the parent's, whose descriptor stays open when ours is closed.
            link.close()
        return Link(self._path)

    def _give_back(self, link: "Link") -> None:
        if len(self._idle) < _MAX_IDLE:
            self._idle.append(link)
        else:
            link.close()


def _token(result: Mapping[str, object]) -> Token:
    account, access_token = result.get("account"), result.get("access_token")
    token_type, expires_at = result.get("token_type"), result.get("expires_at")
    scope, audience = result.get("scope"), result.get("audience")
    if not (
        isinstance(account, str)
        and isinstance(access_token, str)
        and isinstance(token_type, str)
        and isinstance(expires_at, (int, float))
    ):
        raise Internal("the agent answered with no token")
    return Token(
        account,
        access_token,
        token_type,
        float(expires_at),
        scope if isinstance(scope, str) else None,
        audience if isinstance(audience, str) else None,
    )
