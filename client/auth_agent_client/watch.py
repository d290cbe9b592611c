"""What a watch yields: the records as they are, then each that changes, across restarts of the agent."""

import os
import time
from collections.abc import Callable, Collection, Mapping

from .errors import AgentError, ConnectionLost, Internal
from .link import Link, connect
from .question import Question
from .record import Record
from .values import mapping, string
from .waiting import Waits

# Seconds before connecting again: little for an agent that is being restarted; twice as many each time, so that one
# which hangs up at once, or is away for a week, costs next to nothing.
_SHORTEST_PAUSE = 0.1
_LONGEST_PAUSE = 2.0


class Watch:
    """One watch, over a connection of its own, and another one whenever the agent went away.

    In a forked child it goes on over the child's own connection; the parent's stays the parent's.
    """

    def __init__(
        self,
        path: str,
        waits: Waits,
        accounts: Collection[str] | None,
        *,
        reconnect: bool,
        on_gap: Callable[[bool], object] | None = None,
    ) -> None:
        """Watch those accounts, or all; the connection is opened when the first record is asked for.

        Raises:
            InvalidRequest: `accounts` are no texts.

        """
        self._path = path
        self._waits = waits
        self._reconnect = reconnect
        self._on_gap = on_gap
        self._gone = False  # what `on_gap` was told last
        # One text is a collection of texts too, and never what is meant.
        self._parameters = {"accounts": accounts if accounts is None or isinstance(accounts, str) else [*accounts]}
        Question("watch", self._parameters)  # a mistake is told at once
        self._link: Link | None = None
        self._ended = False
        self._begun = False  # there was a snapshot
        self._since: float | None = None  # when this connection's came, on the monotonic clock
        self._pause = _SHORTEST_PAUSE
        self._ready: list[Record] = []  # to be yielded, the first one first
        self._newest: dict[str, Record] = {}  # what was yielded, or is to be, by account

    def close(self) -> None:
        """End it: there will be no more records."""
        self._ended = True
        self._hang_up()

    async def next(self) -> Record | None:
        """The next record; None when the watch has ended.

        Raises:
            AgentError: as `Agent.watch` says; the watch has then ended.

        """
        try:
            while not self._ended and not self._ready:
                await self._hear()
        except BaseException:
            self.close()
            raise
        return None if self._ended else Record(self._ready.pop(0))

    async def _hear(self) -> None:
        """Hear what may be to be yielded, or get a step nearer to it."""
        try:
            if self._link is None:
                self._link = await connect(self._path, self._waits)
                await self._hear_all(self._link)
            elif self._link.pid == os.getpid():
                await self._hear_change(self._link)
            else:
                raise ConnectionLost("the connection is that of the process which was forked", sent=True)
        except AgentError as error:
            if not self._goes_on_after(error):
                raise
        else:
            self._tell_gap(gone=False)
            return
        if self._link is None or self._link.pid == os.getpid():  # a fork is not a gap
            self._tell_gap(gone=True)
        self._hang_up()
        if self._since is not None and time.monotonic() - self._since > _LONGEST_PAUSE:
            self._pause = _SHORTEST_PAUSE
        self._since = None
        await self._waits.pause(self._pause)
        self._pause = min(2 * self._pause, _LONGEST_PAUSE)

    async def _hear_all(self, link: Link) -> None:
        snapshot = _snapshot(await link.call(Question("watch", self._parameters)))
        # Revisions are an agent's own and start again with a new one: alone they are no news.
        self._ready = [one for name, one in snapshot.items() if not _is_the_same(one, self._newest.get(name))]
        # Of an account that vanished nothing is kept: should it come back, that is news.
        self._newest = snapshot
        self._begun = True
        self._since = time.monotonic()

    async def _hear_change(self, link: Link) -> None:
        told = await link.notification()
        if told.method == "changed":
            name, record = _record(told.values[0] if told.values else None)
            self._newest[name] = record
            self._ready.append(record)

    def _goes_on_after(self, error: AgentError) -> bool:
        """Whether it is the agent that went away, or isn't back yet, rather than an answer to who watches."""
        if not self._reconnect or isinstance(error, ConnectionLost):
            return self._reconnect
        return self._begun and (error.retryable or (self._link is not None and self._link.hung_up))

    def _tell_gap(self, *, gone: bool) -> None:
        if gone != self._gone:
            self._gone = gone
            if self._on_gap is not None:
                self._on_gap(gone)

    def _hang_up(self) -> None:
        if self._link is not None:
            self._link.close()
            self._link = None


def _snapshot(answer: Mapping[str, object]) -> dict[str, Record]:
    records = answer.get("accounts")
    if not isinstance(records, list):
        raise Internal("the agent answered watch with no records")
    return dict(map(_record, records))  # pyright: ignore[reportUnknownArgumentType] -- any list from the wire


def _record(value: object) -> tuple[str, Record]:
    """A record, and the name of its account."""
    record = Record(mapping(value))
    if string(record.get("account")) is None:
        raise Internal("the agent told of a change with no record")
    return record.account, record


def _is_the_same(record: Record, before: Record | None) -> bool:
    return before is not None and {**record, "revision": None} == {**before, "revision": None}
