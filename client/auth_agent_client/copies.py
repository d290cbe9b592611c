"""Copies of tokens in this process: `Agent(watch=True)`.

Theory of operation. The agent notifies a connection with `watch` of each change of an account. A copy is returned only
if nothing has arrived on that connection. Each call looks, which is a system call; whatever is there, a notification or
the end of the connection, empties all copies before it is read. So a change counts from when it has arrived. A thread
that reads would be faster by that system call, but would have to wait for the interpreter's lock meanwhile.

A copy is good for a second. Then the agent is asked again, so that it knows which tokens are in use: it refreshes those
ahead of time, keeps its promises about those with `min_ttl`, shows who takes them, and stops at a session's end. An
agent that hangs is noticed then, too. The second is counted on the wall clock, as `expires_at` is: it goes on while the
machine sleeps, and a clock that was set back makes no copy good.

A copy belongs to the dict that had the copies when the agent was asked for it. Emptying is putting another dict in its
place, so that a token that was on its way meanwhile is not kept. That is one step, so threads need no lock. While a
thread reads what has arrived there is no dict, since it also reads what arrives meanwhile, which no other thread sees.
"""

import os
import select
import sys
from _thread import allocate_lock
from collections.abc import Callable
from time import monotonic, time

from .call import Call
from .errors import AgentError
from .link import Link, connect
from .messages import MAX_ACCOUNTS
from .token import Token
from .waiting import Blocking, check_origin, finish

# What was asked for: the parameters of `token`. Equal ones ask for the same token.
Key = tuple[object, ...]
# From when until when a copy is good, in Unix time; and the arguments of `Token`.
Copy = tuple[float, float, tuple[str, str, str, float | None, str | None, str | None, bool, str | None]]

# Seconds that a copy is good for; that the agent may take to let this client watch, while the caller waits for a token
# that is there; and before another attempt to watch.
_LIFE = 1.0
_PATIENCE = 1.0
_PAUSE = 5.0
# Different keys of a program that asks for a new URL each time; beyond, all copies are forgotten.
_MOST = 256

_forks = 0


class Copies:
    """The copies of one client, `kept` by their keys. Threads may share it; in a forked child it begins anew.

    `kept` is None while a thread reads what has arrived: there are no copies, and none is kept.
    """

    kept: dict[Key, Copy] | None
    _link: Link | None
    _has_arrived: Callable[[float, int], object]
    _watched: frozenset[str]

    def __init__(self, path: str) -> None:
        self._path = path
        self._begin()

    def get(self, key: Key) -> Token | None:
        """Return the token for that key if there is a copy that is good now."""
        try:
            if self._has_arrived(0, 1) or self._forks != _forks:
                self._read()
                return None
            kept = self.kept
            copy = None if kept is None else kept.get(key)
        except TypeError:  # a key that can't be hashed
            return None
        except OSError as error:  # the program has closed the descriptor
            check_origin(error)
            return None
        if copy is not None:
            since, until, values = copy
            if since <= time() < until:
                return Token(*values)
        return None

    def keep(self, kept: dict[Key, Copy], key: Key, token: Token, since: float, min_ttl: float | None) -> None:
        """Keep a copy of a token that was requested at `since`, in Unix time, when `kept` had the copies.

        A token is returned only after the agent has sent it twice: some are for one use, and come once.
        """
        if token.account not in self._watched or self._link is None:
            self._watch(token.account)
            return
        before = kept.get(key)
        until = since + _LIFE if before is not None and before[2][1] == token.access_token else since
        if token.expires_at is not None:
            until = min(until, token.expires_at - (min_ttl or 0.0))
        if len(kept) >= _MOST:
            kept.clear()
        kept[key] = since, until, _values(token)

    def empty(self) -> None:
        """Forget all copies."""
        if self.kept is not None:
            self.kept = {}

    def close(self) -> None:
        """Forget all copies, and close the connection. A later `keep` opens another one."""
        self.empty()
        link, self._link = self._link, None
        self._has_arrived = _never
        if link is not None:
            link.close()

    def _begin(self) -> None:
        self._forks = _forks
        self._link, self._has_arrived, self._watched = None, _never, frozenset()
        self._not_before = 0.0  # on the monotonic clock
        self._lock = allocate_lock()
        self.kept = {}

    def _read(self) -> None:
        """Forget all copies, since something has arrived, or since this is a forked child; then read it."""
        link = self._link
        if self._forks != _forks:
            if link is not None:
                link.close()  # the child's descriptor; the parent's connection goes on
            self._begin()
        elif link is not None and self._lock.acquire(False):  # otherwise another thread reads it
            try:
                self.kept = None
                link.discard()
            except AgentError:
                self._not_before = monotonic() + _PAUSE
                self.close()
            finally:
                self.kept = {}
                self._lock.release()

    def _watch(self, account: str) -> None:
        """Watch that account, too. While the agent doesn't let this client watch, it has no copies."""
        if monotonic() < self._not_before or len(self._watched) >= MAX_ACCOUNTS or not self._lock.acquire(False):
            return
        try:
            self._not_before = monotonic() + _PAUSE
            self.kept = None
            link: Link = self._link or finish(connect(self._path, Blocking())).value
            try:
                accounts = self._watched | {account}
                call = Call("watch", {"accounts": sorted(accounts)})
                call.deadline = monotonic() + _PATIENCE
                finish(link.call(call))
            except BaseException:
                self.close()
                link.close()
                raise
            if self._link is None:
                self._link, self._has_arrived = link, _arrival(link)
            self._watched, self._not_before = accounts, 0.0
        except (AgentError, ValueError):  # the latter: another thread has closed it
            pass  # the agent is asked each time
        except OSError as error:  # there are too many open files
            check_origin(error)
        finally:
            # From the next request on: what changed before the agent began to watch has not arrived.
            self.kept = {}
            self._lock.release()


def _values(token: Token) -> tuple[str, str, str, float | None, str | None, str | None, bool, str | None]:
    return (
        token.account,
        token.access_token,
        token.token_type,
        token.expires_at,
        token.scope,
        token.audience,
        token.audience_verified,
        token.username,
    )


def _never(_timeout: float, _most: int) -> None:
    """Say that nothing has arrived: there is no connection, and so there are no copies."""


def _arrival(link: Link) -> Callable[[float, int], object]:
    """Return a function that tells whether something has arrived, or the connection has ended; threads may share it.

    It is the fastest that the system has: poll(2) takes 1.5 times as long.
    """
    if sys.platform == "darwin":
        queue = select.kqueue()
        queue.control([select.kevent(link.fileno(), select.KQ_FILTER_READ, select.KQ_EV_ADD)], 0)
        return lambda timeout, most: queue.control(None, most, timeout)
    poll = select.epoll()
    poll.register(link.fileno(), select.EPOLLIN)
    return poll.poll


def _note_fork() -> None:
    global _forks  # noqa: PLW0603 -- a hook has no other way
    _forks += 1


os.register_at_fork(after_in_child=_note_fork)
