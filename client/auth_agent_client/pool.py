"""The connections of one client: a call takes an idle one, or opens one, so that no call waits for another."""

import os

from .errors import AgentNotRunning, ConnectionLost
from .link import Link, connect
from .question import Question
from .waiting import Waits
from .wire import WireError


class Pool:
    """The connections to the agent at one path. Threads may share it: it needs no lock.

    `most_idle`: as many as are kept, those of calls at the same moment; more are closed after use.
    """

    def __init__(self, path: str, waits: Waits, *, most_idle: int) -> None:
        self.path = path
        self._waits = waits
        self._most_idle = most_idle
        self._idle: list[Link] = []

    def close(self) -> None:
        """Close those that are idle; a call opens a new one."""
        while (link := self._popped()) is not None:
            link.close()

    async def call(self, question: Question) -> dict[str, object]:
        """The result of a question, asked again where the agent was restarted and that does no harm."""
        link, result = await self.take(question)
        self._give_back(link)
        return result

    async def take(self, question: Question) -> tuple[Link, dict[str, object]]:
        """The result of a question, and the connection that it came over, which is the caller's from now on."""
        repeated = False
        while True:
            link = self._idle_link() or await connect(self.path, self._waits)
            used_before = link.used
            try:
                result = await link.call(question)
            except ConnectionLost as error:
                link.close()
                # The agent was restarted since the connection was last used; or is just leaving, and let a new one go
                # unheard: that is believed once, and not of what speaks another protocol.
                unheard = not repeated and not isinstance(error.__cause__, WireError)
                if (used_before or unheard) and (question.repeatable or not error.details["sent"]):
                    repeated = repeated or not used_before
                    continue
                raise
            except BaseException:
                # An error that the agent answered leaves the connection good; a call that was cancelled, or
                # interrupted, does not: its reply would be the next one's.
                link.close() if link.waiting else self._give_back(link)
                raise
            return link, result

    async def wait_for_end(self, timeout: float) -> bool:
        """Wait until the agent ends; whether it did within `timeout` seconds."""
        try:
            link = self._idle_link() or await connect(self.path, self._waits)
        except AgentNotRunning:
            return True
        try:
            if not link.used:  # one that never spoke would be hung up on
                await link.call(Question("hello", {}))
            return await link.wait_for_end(timeout)
        except ConnectionLost:
            return True
        finally:
            link.close()

    def _idle_link(self) -> Link | None:
        pid = os.getpid()
        while True:
            link = self._popped()
            if link is None:
                return None
            if link.pid == pid and not link.is_over():
                return link
            # The agent's end of it is closed; or it is the parent's, whose descriptor stays open when ours is closed.
            link.close()

    def _popped(self) -> Link | None:
        try:
            return self._idle.pop()
        except IndexError:  # there is none; or another thread took it
            return None

    def _give_back(self, link: Link) -> None:
        if len(self._idle) < self._most_idle:
            self._idle.append(link)
        else:
            link.close()
