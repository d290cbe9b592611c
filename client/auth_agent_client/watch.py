"""A watch: the records of the accounts, then each record that changes, across restarts of the agent."""

import os
import time
from collections.abc import Callable, Collection, Generator, Mapping

from .call import Call
from .errors import AgentError, ConnectionLost, Internal
from .link import Link, connect
from .record import Record
from .values import mapping, string
from .waiting import Waits, finish

# Seconds before connecting again: short for an agent that is restarting; doubled each time, so that an agent that
# closes connections at once, or is away for a week, costs little.
_SHORTEST_PAUSE = 0.1
_LONGEST_PAUSE = 2.0


class Watch:
    """One watch, on its own connection; it opens another one when the agent went away.

    In a forked child it goes on over the child's own connection; the parent keeps its connection.
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
        """Watch the accounts, or all; the connection is opened when the first record is requested.

        Raises:
            InvalidRequest: `accounts` are not strings.

        """
        self._path = path
        self._waits = waits
        self._reconnect = reconnect
        self._on_gap = on_gap
        self._gone = False  # the last argument of `on_gap`
        # A string is a collection of strings too: passed on as it is, it is rejected.
        self._parameters = {"accounts": accounts if accounts is None or isinstance(accounts, str) else [*accounts]}
        Call("watch", self._parameters)  # raises for invalid names
        self._link: Link | None = None
        self._ended = False
        self._begun = False  # a snapshot was received
        self._since: float | None = None  # when this connection's snapshot arrived, on the monotonic clock
        self._pause = _SHORTEST_PAUSE
        self._ready: list[Record] = []  # to be returned, in this order
        self._newest: dict[str, Record] = {}  # the last record of each account

    def close(self) -> None:
        """End the watch: `next` then returns None."""
        self._ended = True
        self._hang_up()

    async def next(self) -> Record | None:
        """Wait for the next record; return None if the watch has ended.

        Raises:
            AgentError: as for `Agent.watch`; the watch has ended then.

        """
        try:
            while not self._ended and not self._ready:
                await self._advance()
        except BaseException:
            self.close()
            raise
        return None if self._ended else Record(self._ready.pop(0))

    async def _advance(self) -> None:
        """Connect, read one notification, or wait before connecting again."""
        try:
            if self._link is None:
                self._link = await connect(self._path, self._waits)
                await self._read_snapshot(self._link)
            elif self._link.pid == os.getpid():
                await self._read_change(self._link)
            else:
                raise ConnectionLost("the connection belongs to the parent process", sent=True)
        except AgentError as error:
            if not self._goes_on_after(error):
                raise
        else:
            self._report_gap(gone=False)
            return
        if self._link is None or self._link.pid == os.getpid():  # a fork is not a gap
            self._report_gap(gone=True)
        self._hang_up()
        if self._since is not None and time.monotonic() - self._since > _LONGEST_PAUSE:
            self._pause = _SHORTEST_PAUSE
        self._since = None
        await self._waits.pause(self._pause)
        self._pause = min(2 * self._pause, _LONGEST_PAUSE)

    async def _read_snapshot(self, link: Link) -> None:
        snapshot = _snapshot(await link.call(Call("watch", self._parameters)))
        # Revisions start again with each agent: another revision alone is not a change.
        self._ready = [record for name, record in snapshot.items() if not _is_the_same(record, self._newest.get(name))]
        # A removed account is forgotten, so that it counts as a change if it comes back.
        self._newest = snapshot
        self._begun = True
        self._since = time.monotonic()

    async def _read_change(self, link: Link) -> None:
        notification = await link.notification()
        if notification.method == "changed":
            name, record = _record(notification.values[0] if notification.values else None)
            if record != self._newest.get(name):  # a reload may notify of all accounts
                self._newest[name] = record
                self._ready.append(record)

    def _goes_on_after(self, error: AgentError) -> bool:
        """Return whether to reconnect: the agent went away or isn't back yet; it did not reject the request."""
        if not self._reconnect or isinstance(error, ConnectionLost):
            return self._reconnect
        return self._begun and (error.retryable or (self._link is not None and self._link.hung_up))

    def _report_gap(self, *, gone: bool) -> None:
        if gone != self._gone:
            self._gone = gone
            if self._on_gap is not None:
                self._on_gap(gone)

    def _hang_up(self) -> None:
        if self._link is not None:
            self._link.close()
            self._link = None


def records_of(watch: Watch) -> Generator[Record, None, None]:
    """Yield the records of a watch that waits with `Blocking`, and close it at the end."""
    try:
        while (record := finish(watch.next()).value) is not None:
            yield record
    finally:
        watch.close()


def _snapshot(response: Mapping[str, object]) -> dict[str, Record]:
    records = response.get("accounts")
    if not isinstance(records, list):
        raise Internal("the result of watch has no records")
    return dict(map(_record, records))  # pyright: ignore[reportUnknownArgumentType] -- any list from the wire


def _record(value: object) -> tuple[str, Record]:
    """Return the name of the account, and its record."""
    record = Record(mapping(value))
    if string(record.get("account")) is None:
        raise Internal("the agent sent a change without a record")
    return record.account, record


def _is_the_same(record: Record, before: Record | None) -> bool:
    return before is not None and {**record, "revision": None} == {**before, "revision": None}
