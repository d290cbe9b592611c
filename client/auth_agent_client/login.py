"""A login under way.

A login ends with the connection that began it, so it has its own connection. One of the client's pool could be closed
at any time: by `close`, by an interrupted call, or by the agent, which closes idle connections to make room.
`login_result` is sent at once on that connection. So the connection is never idle, and becomes readable when the login
is over: a caller can wait for it and for other things with `select`, and wait again after an interruption.
"""

import os
import time
from collections.abc import Callable, Mapping
from types import TracebackType

from .call import LONGEST, Call
from .errors import AgentError, ConnectionLost, Internal, Timeout
from .link import Link
from .pool import Pool
from .record import Record
from .values import number, string
from .waiting import Late, finish

# Seconds for redeeming the code, the checks and the keyring, after a login at the last moment.
_LAST_STEPS = 120.0


class BaseLogin:
    """The common part of the logins of both clients.

    `expires_at` is Unix time in seconds: when the login ends if nobody logs in. In a browser, a person logs in at
    `authorization_url`. To open it by a program, pass `start_url` to the program: all users of the machine can read a
    program's arguments, and `start_url` leads there for this user alone. If the agent has none, it is the same URL. On
    another device, the person opens `verification_uri` and enters `user_code`, or opens
    `verification_uri_complete`, which contains the code, if the provider has it. A login with client credentials needs
    no person, and has none of these.
    """

    def __init__(self, link: Link, result_call: Call, response: Mapping[str, object]) -> None:
        self.login_id = string(response.get("login_id")) or ""
        self.expires_at = number(response.get("expires_at")) or 0.0
        self.authorization_url = string(response.get("authorization_url"))
        self.start_url = string(response.get("start_url")) or self.authorization_url
        self.verification_uri = string(response.get("verification_uri"))
        self.verification_uri_complete = string(response.get("verification_uri_complete"))
        self.user_code = string(response.get("user_code"))
        self._link = link
        # On the monotonic clock: by then the agent must have sent the result.
        self.deadline = result_call.deadline
        self._result_call = result_call
        self._is_awaited = False
        self._outcome: Record | AgentError | None = None

    def fileno(self) -> int:
        """Return the descriptor that becomes readable when the login is over, for `select`."""
        return self._link.fileno()

    def __repr__(self) -> str:
        # Without the URLs and codes: anybody who has them can log in.
        return f"{type(self).__name__}(login_id={self.login_id!r}, expires_at={self.expires_at!r})"

    def __del__(self) -> None:
        self._link.close()

    async def _result(self, timeout: float | None) -> Record:
        if self._is_awaited:
            raise RuntimeError("another thread or task waits for this login's result")
        self._is_awaited = True
        try:
            if self._outcome is None:
                self._outcome = await self._wait_for_outcome(timeout)
        finally:
            self._is_awaited = False
        if isinstance(self._outcome, AgentError):
            raise self._outcome.with_traceback(None)
        return self._outcome

    async def _wait_for_outcome(self, timeout: float | None) -> Record | AgentError:
        if self._link.pid != os.getpid() or self._link.fileno() == -1:
            raise ConnectionLost("this login was closed, or belongs to the parent process", sent=True)
        deadline = self.deadline if timeout is None else min(self.deadline, time.monotonic() + timeout)
        try:
            return Record(await self._link.result(self._result_call, deadline))
        except Late as error:
            if deadline == self.deadline:
                return self._result_call.timeout_error()
            raise Timeout(f"the login is not over within {timeout:g} s; it goes on") from error
        except AgentError as error:
            return error


async def begin(pool: Pool, parameters: Mapping[str, object]) -> tuple[Link, Call, dict[str, object]]:
    """Begin a login, and return its connection, the `login_result` call sent on it, and the result of `login`.

    Raises:
        AgentError: the login can't begin.

    """
    link, response = await pool.take(Call("login", parameters))
    try:
        result_call = _call_for_result(response)
        await link.send(result_call)
    except BaseException:
        link.close()
        raise
    return link, result_call, response


def _call_for_result(response: Mapping[str, object]) -> Call:
    """Return the call that waits for the end of the login."""
    login_id, expires_at = string(response.get("login_id")), number(response.get("expires_at"))
    if not login_id or expires_at is None:
        raise Internal("the result of login is not a login")
    timeout = min(LONGEST, max(0.0, expires_at - time.time()) + _LAST_STEPS)
    return Call("login_result", {"login_id": login_id, "timeout": timeout})


class Login(BaseLogin):
    """A login under way; use it as a context manager, or call `close`, which cancels it if it is not over.

    One thread at a time may wait for the result. Any thread may call `redirect` or `cancel`.
    """

    def __init__(
        self,
        call: Callable[[str, Mapping[str, object]], object],
        link: Link,
        result_call: Call,
        response: Mapping[str, object],
    ) -> None:
        super().__init__(link, result_call, response)
        self._call = call

    def __enter__(self) -> "Login":  # noqa: PYI034 -- Self is typing's, which this package does not import
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the connection; if the login is not over, the agent cancels it."""
        self._link.close()

    def result(self, *, timeout: float | None = None) -> Record:
        """Wait until the login is over, and return the account's record.

        Args:
            timeout: how long to wait, in seconds; by default until the login is over.

        Raises:
            Timeout: the login is not over yet; it continues, and the caller may wait again.
            AgentError: the login failed; the message says why.

        """
        record: Record = finish(self._result(timeout)).value
        return record

    def redirect(self, url: str) -> None:
        """Send the URL that the browser ended on, if the browser is on another machine.

        Raises:
            InvalidRequest: the URL does not belong to this login; the login continues.

        """
        self._call("login_redirect", {"login_id": self.login_id, "url": url})

    def cancel(self) -> None:
        """Cancel the login: `result` then raises `Denied`, unless the login had succeeded already."""
        self._call("login_cancel", {"login_id": self.login_id})
