"""What was read about clients' processes a moment ago: reading it again would take longer than to serve them.

A pid may be another process's by then, or its program another one. So nobody gets anything for what is remembered here:
the kernel tells the user of each connection anew. It is for people, and for the shares of what programs use.
"""

import socket
import time
from collections.abc import Callable
from typing import Final, Generic, TypeVar

from auth_agent.ipc.peer import Peer

_Read = TypeVar("_Read")
# Seconds for which a process is known, and how many of them.
_KNOWN: Final = 1.0
_MOST_KNOWN: Final = 256


class Recent(Generic[_Read]):
    """Reads something about clients' processes, at most once a second for each."""

    def __init__(self, read: Callable[[socket.socket, Peer], _Read]) -> None:
        """Read it by that function of a connection and its peer."""
        self._read = read
        # By pid, and until when.
        self._known: dict[int, tuple[_Read, float]] = {}

    def of(self, connection: socket.socket, peer: Peer) -> _Read:
        """Return what was read of the peer's process within the last second, or else read it."""
        now = time.monotonic()
        known = self._known.get(peer.pid)
        if known is not None and now < known[1]:
            return known[0]
        if len(self._known) >= _MOST_KNOWN:
            self._known.clear()
        found = self._read(connection, peer)
        self._known[peer.pid] = found, now + _KNOWN
        return found
