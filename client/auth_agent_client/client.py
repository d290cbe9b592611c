"""The blocking client: `Agent`.

A call takes an idle connection, or opens one, so threads never wait for each other and need no lock. A connection
belongs to the process that opened it: after a fork the child opens its own, and replies never cross processes.
"""

import os
import socket
import struct
import sys
import time
from collections.abc import Mapping
from types import TracebackType

from .errors import AgentError, AgentNotRunning, ConnectionLost, Internal, Timeout, UntrustedAgent, from_wire
from .messages import METHODS, check
from .paths import socket_path
from .wire import Connection, Notification, Response, WireError

__all__ = ["Agent", "Token"]

# The agent answers by the request's `timeout`; this much later it is taken to hang.
_GRACE = 5.0
# Eleven days: more milliseconds than that, and the kernel's poll takes no more.
_LONGEST = 1_000_000.0
_CONNECT_TIMEOUT = 10.0
_READ_SIZE = 65536
# As many as a program has threads that ask at the same moment; more are closed after use.
_MAX_IDLE = 16

_LOCAL_PEERCRED = 1  # <sys/un.h> on macOS; the answer is a `struct xucred`: version, uid, groups
_SOL_LOCAL = 0


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
        self._idle: list[_Link] = []

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

    def _take(self) -> "_Link":
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
        return _Link(self._path)

    def _give_back(self, link: "_Link") -> None:
        if len(self._idle) < _MAX_IDLE:
            self._idle.append(link)
        else:
            link.close()


class _Link:
    """One connection to the agent; one call at a time."""

    def __init__(self, path: str) -> None:
        self.pid = os.getpid()
        self.used = False
        self.waiting = False
        self._wire = Connection()
        self._socket = _connect(path)

    def close(self) -> None:
        self._socket.close()

    def call(self, method: str, parameters: dict[str, object]) -> dict[str, object]:
        spec = check(method, parameters)
        longest = spec.longest
        if spec.timeout is not None:
            asked = parameters.get("timeout", spec.timeout)
            longest = min(_LONGEST, _GRACE + (float(asked) if isinstance(asked, (int, float)) else spec.timeout))
        _, request = self._wire.request(method, parameters)
        self.waiting = True
        try:
            self._socket.settimeout(longest)
            self._socket.sendall(request)
            response = self._answer(time.monotonic() + longest)
        except TimeoutError as error:
            raise Timeout(f"the agent has not answered {method} for {longest:g} s") from error
        except BrokenPipeError as error:
            raise self._last_words() or ConnectionLost("the agent hung up", sent=False) from error
        except OSError as error:
            raise ConnectionLost(f"the connection to the agent broke: {error.strerror}", sent=True) from error
        except WireError as error:
            raise ConnectionLost(f"the agent speaks another protocol: {error}", sent=True) from error
        self.waiting = False
        self.used = True
        if response.error is not None:
            raise response.error
        result = response.result
        if not isinstance(result, dict):
            raise Internal(f"the agent answered {method} with no map")
        return result  # pyright: ignore[reportUnknownVariableType] -- its keys are texts: the wire saw to that

    def is_over(self) -> bool:
        """Whether the agent has hung up since the last call: then there is something to read, or its end."""
        try:
            self._socket.setblocking(False)
            self._socket.recv(1, socket.MSG_PEEK)
        except BlockingIOError:
            return False
        except OSError:
            pass
        return True

    def wait_for_end(self, timeout: float) -> bool:
        deadline = time.monotonic() + timeout
        try:
            while True:
                self._read(deadline)
        except TimeoutError:
            return False
        except (ConnectionLost, OSError):
            return True

    def _answer(self, deadline: float) -> Response:
        while True:
            message = self._wire.next_message()
            if isinstance(message, Response):
                return message
            if isinstance(message, Notification) and message.method == "closing":
                raise from_wire(message.values[0] if message.values else None)
            if message is None:
                self._wire.receive_data(self._read(deadline))

    def _read(self, deadline: float) -> bytes:
        left = deadline - time.monotonic()
        if left <= 0:  # it talks without pause, and never answers
            raise TimeoutError
        self._socket.settimeout(left)
        data = self._socket.recv(_READ_SIZE)
        if not data:
            raise ConnectionLost("the agent hung up", sent=True)
        return data

    def _last_words(self) -> AgentError | None:
        """Why the agent hung up before anything was asked of it, if it said so.

        What it said to a connection that had been used before is of no interest: a new one may do better.
        """
        if self.used:
            return None
        try:
            self._answer(time.monotonic() + 1)
        except AgentError as error:
            return None if isinstance(error, ConnectionLost) else error
        except (OSError, WireError):
            return None
        return None


def _connect(path: str) -> socket.socket:
    deadline = time.monotonic() + _CONNECT_TIMEOUT
    while True:
        connection = _try_to_connect(path)
        try:
            connection.getpeername()
        except OSError as error:
            # A signal came while the backlog was full, and Python takes the interrupted connect for a finished one.
            connection.close()
            if time.monotonic() > deadline:
                raise AgentNotRunning(f"the agent at {path} is too busy to be reached") from error
            continue
        try:
            _check_server(connection, path)
        except BaseException:
            connection.close()
            raise
        return connection


def _try_to_connect(path: str) -> socket.socket:
    connection = socket.socket(socket.AF_UNIX)
    try:
        # A blocking connect with a limit of the kernel's: one without blocking fails at once on Linux when the
        # backlog is full, instead of waiting for its turn.
        limit = struct.pack("ll", int(_CONNECT_TIMEOUT), 0)
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, limit)
        connection.connect(path)
    except (FileNotFoundError, ConnectionRefusedError) as error:
        connection.close()
        raise AgentNotRunning(f"no agent listens at {path}; start one with: auth-agent run") from error
    except OSError as error:
        connection.close()
        raise AgentNotRunning(f"the agent at {path} can't be reached: {error.strerror}") from error
    except BaseException:
        connection.close()
        raise
    return connection


def _check_server(connection: socket.socket, path: str) -> None:
    uid = _peer_uid(connection)
    if uid != os.geteuid():
        raise UntrustedAgent(f"who listens at {path} is the user {uid}, not you: nothing was sent")


def _peer_uid(connection: socket.socket) -> int:
    if sys.platform == "darwin":
        credentials = connection.getsockopt(_SOL_LOCAL, _LOCAL_PEERCRED, 76)
        return int(struct.unpack_from("2I", credentials)[1])
    credentials = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i"))
    return int(struct.unpack("3i", credentials)[1])


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
