"""The connections of one client: a call takes an idle one or opens one, so that no call waits for another."""

import os

from .call import Call
from .errors import AgentNotRunning, ConnectionLost
from .link import Link, connect
from .waiting import Waits, check_origin
from .wire import WireError

# After these methods no token from before may stay in memory.
_ENDING = ("lock", "logout")


class Pool:
    """The connections to the agent at one path. Threads may share it: it needs no lock.

    `most_idle`: how many idle connections are kept; further ones are closed after use.
    """

    def __init__(self, path: str, waits: Waits, *, most_idle: int) -> None:
        self.path = path
        self._waits = waits
        self._most_idle = most_idle
        self._idle: list[Link] = []

    def close(self) -> None:
        """Close the idle connections. A later call opens a new one."""
        while (link := self._pop_idle()) is not None:
            link.close()

    async def call(self, call: Call, begun: Link | None = None) -> dict[str, object]:
        """Return the result of a call, repeated if the agent was restarted and that does no harm.

        `begun`: the connection on which `call_at_once` has sent it.
        """
        try:
            link, result = await self.take(call, begun)
        finally:
            if call.method in _ENDING:
                for idle in tuple(self._idle):
                    idle.forget()
        self._give_back(link)
        return result

    def call_at_once(self, call: Call) -> tuple[dict[str, object] | None, Link | None]:
        """Return the result of a repeatable call if there is an idle connection, and the response comes at once.

        It blocks a moment. Otherwise `call` does the rest, on the connection that is returned, or on another one.
        """
        link = self._idle_link(look=False)
        if link is None:
            return None, None
        try:
            result = link.call_at_once(call)
        except (ConnectionLost, WireError, OSError) as error:
            link.close()
            if isinstance(error, OSError):
                check_origin(error)
            return None, None
        except BaseException:
            link.close() if link.waiting else self._give_back(link)
            raise
        if result is None:
            return None, link
        self._give_back(link)
        return result, None

    async def take(self, call: Call, begun: Link | None = None) -> tuple[Link, dict[str, object]]:
        """Return the connection of a call, which the caller then owns, and its result."""
        repeated = False
        while True:
            link = begun or self._idle_link(look=not call.repeatable) or await connect(self.path, self._waits)
            begun = None
            used_before = link.used
            try:
                result = await link.call(call)
            except ConnectionLost as error:
                link.close()
                # The agent was restarted since the connection was last used; or it is just ending, and closed a new
                # one without a response. The latter is repeated once, but not with a peer that breaks the protocol.
                may_repeat_once = not repeated and not isinstance(error.__cause__, WireError)
                if (used_before or may_repeat_once) and (call.repeatable or not error.details["sent"]):
                    repeated = repeated or not used_before
                    continue
                raise
            except BaseException:
                # After an error of the agent the connection can be used again. After a cancelled or interrupted call
                # it can't: the next call would read the response to this one.
                link.close() if link.waiting else self._give_back(link)
                raise
            return link, result

    async def wait_for_end(self, timeout: float) -> bool:
        """Wait until the agent ends, and return whether it did within `timeout` seconds."""
        try:
            link = self._idle_link(look=True) or await connect(self.path, self._waits)
        except AgentNotRunning:
            return True
        try:
            if not link.used:  # the agent closes a connection without a request
                await link.call(Call("hello", {}))
            return await link.wait_for_end(timeout)
        except ConnectionLost:
            return True
        finally:
            link.close()

    def _idle_link(self, *, look: bool) -> Link | None:
        """Return an idle connection of this process. `look`: whether to look if the agent has closed it.

        A call that may be repeated needs no look, which takes a system call: it finds out.
        """
        pid = os.getpid()
        while True:
            link = self._pop_idle()
            if link is None:
                return None
            if link.pid == pid and not (look and link.is_over()):
                return link
            # The agent closed it; or it belongs to the parent process, whose descriptor stays open.
            link.close()

    def _pop_idle(self) -> Link | None:
        try:
            return self._idle.pop()
        except IndexError:  # there is none, or another thread took it
            return None

    def _give_back(self, link: Link) -> None:
        if len(self._idle) < self._most_idle:
            self._idle.append(link)
        else:
            link.close()
