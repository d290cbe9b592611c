"""A login under way: what a person needs for it, and how it ends.

A login ends with the connection that began it, so it has one of its own: in a client's pool it could be closed at any
time, by `close`, by a call that is interrupted, or by the agent, which makes room by closing what is idle. The question
how the login ends is sent at once on that connection, which therefore is never idle, and becomes readable at the end:
whoever waits for a person can wait for other things too. To wait again after an interruption loses nothing.
"""

import os
import time
from collections.abc import Callable, Mapping
from types import TracebackType

from .errors import AgentError, ConnectionLost, Internal, Timeout
from .link import Link
from .pool import Pool
from .question import LONGEST, Question
from .record import Record
from .values import number, string
from .waiting import finish

# Seconds for what comes after a person has logged in at the last moment: the exchange, the checks, the keyring.
_LAST_STEPS = 120.0


class BegunLogin:
    """What the logins of both clients have: what a person needs, and the connection that the login belongs to.

    `expires_at` is Unix time in seconds: when it ends if nobody logs in. In a browser, a person logs in at
    `authorization_url`. On another device, the person opens `verification_uri` and enters `user_code`, or opens
    `verification_uri_complete`, which has the code in it, where the provider has such an address. An account that is
    its client's own needs nobody, and has none of these.
    """

    def __init__(self, link: Link, result: Question, begun: Mapping[str, object]) -> None:
        self.login_id = string(begun.get("login_id")) or ""
        self.expires_at = number(begun.get("expires_at")) or 0.0
        self.authorization_url = string(begun.get("authorization_url"))
        self.verification_uri = string(begun.get("verification_uri"))
        self.verification_uri_complete = string(begun.get("verification_uri_complete"))
        self.user_code = string(begun.get("user_code"))
        self._link = link
        # On the monotonic clock: when nobody waits for its end any more, since the agent must have told it.
        self.deadline = result.deadline
        self._question = result
        self._is_awaited = False
        self._outcome: Record | AgentError | None = None

    def fileno(self) -> int:
        """The descriptor that becomes readable when `result` has something to tell, for `select`."""
        return self._link.fileno()

    def __repr__(self) -> str:
        # Not the addresses and codes: they log in whoever has them.
        return f"{type(self).__name__}(login_id={self.login_id!r}, expires_at={self.expires_at!r})"

    def __del__(self) -> None:
        self._link.close()

    async def _result(self, timeout: float | None) -> Record:
        if self._is_awaited:
            raise RuntimeError("another thread or task waits for this login's result")
        self._is_awaited = True
        try:
            if self._outcome is None:
                self._outcome = await self._ended(timeout)
        finally:
            self._is_awaited = False
        if isinstance(self._outcome, AgentError):
            raise self._outcome.with_traceback(None)
        return self._outcome

    async def _ended(self, timeout: float | None) -> Record | AgentError:
        """How it ended."""
        if self._link.pid != os.getpid() or self._link.fileno() == -1:
            raise ConnectionLost("this login was closed, or is that of the process which was forked", sent=True)
        deadline = self.deadline if timeout is None else min(self.deadline, time.monotonic() + timeout)
        try:
            return Record(await self._link.answer(self._question, deadline))
        except TimeoutError as error:
            if deadline == self.deadline:
                return self._question.unanswered()
            raise Timeout(f"the login is not over within {timeout:g} s; it goes on") from error
        except AgentError as error:
            return error


async def begin(pool: Pool, parameters: Mapping[str, object]) -> tuple[Link, Question, dict[str, object]]:
    """Begin a login: its connection, the question how it ends, which was sent, and what the agent answered.

    Raises:
        AgentError: it can't begin.

    """
    link, begun = await pool.take(Question("login", parameters))
    try:
        result = _question(begun)
        await link.ask(result)
    except BaseException:
        link.close()
        raise
    return link, result, begun


def _question(begun: Mapping[str, object]) -> Question:
    """The question how a login ends, which waits as long as that may take."""
    login_id, expires_at = string(begun.get("login_id")), number(begun.get("expires_at"))
    if not login_id or expires_at is None:
        raise Internal("the agent answered with no login")
    timeout = min(LONGEST, max(0.0, expires_at - time.time()) + _LAST_STEPS)
    return Question("login_result", {"login_id": login_id, "timeout": timeout})


class Login(BegunLogin):
    """A login under way; use it as a context manager, or call `close`: where it is not over by then, it is cancelled.

    One thread at a time waits for the result. Any may hand in the address, or cancel.
    """

    def __init__(
        self,
        call: Callable[[str, Mapping[str, object]], object],
        link: Link,
        result: Question,
        begun: Mapping[str, object],
    ) -> None:
        super().__init__(link, result, begun)
        self._call = call

    def __enter__(self) -> "Login":  # noqa: PYI034 -- Self is typing's, which this package does not import
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close its connection; where the login is not over, the agent ends it."""
        self._link.close()

    def result(self, *, timeout: float | None = None) -> Record:
        """Wait until the login is over; the account's record.

        Args:
            timeout: how long to wait, in seconds; as long as the login may take when left out.

        Raises:
            Timeout: it is not over yet; it goes on, and may be waited for again.
            AgentError: no session came of it; the text says why.

        """
        record: Record = finish(self._result(timeout)).value
        return record

    def redirect(self, url: str) -> None:
        """Hand in the address that the browser ended on, where that is on another machine.

        Raises:
            InvalidRequest: it is not the address of this login's end; the login goes on.

        """
        self._call("login_redirect", {"login_id": self.login_id, "url": url})

    def cancel(self) -> None:
        """Cancel it: `result` raises `Denied` then, unless it was too late."""
        self._call("login_cancel", {"login_id": self.login_id})
