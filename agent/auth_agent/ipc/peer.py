"""Who is on the other end of a connection, as the kernel says."""

import os
import select
import socket
import sys
from collections.abc import Callable
from typing import NamedTuple, TypeVar

from auth_agent.host.program import Program, read_program, read_start_time
from auth_agent.host.program_id import ELSEWHERE, ENDED, Origin, read_origin
from auth_agent_client.peer import peer_credentials, peer_pidfd

_Read = TypeVar("_Read")


class Peer(NamedTuple):
    """The process that connected, at that time; decisions use `uid` alone, `pid` is for logs and people.

    `pid` is 0 for a process in another pid namespace, such as a container's.
    """

    pid: int
    uid: int


def peer_of(connection: socket.socket) -> Peer:
    """Return the process that connected.

    Raises:
        OSError: the kernel doesn't tell; the peer may have disconnected.

    """
    return Peer(*peer_credentials(connection))


def is_this_user(peer: Peer) -> bool:
    """Whether the peer runs as the agent's user; not even root gets another user's tokens."""
    return peer.uid == os.geteuid()


def program_of(connection: socket.socket, peer: Peer) -> Program | None:
    """Return the program that connected; None if the system doesn't tell, or its process has ended.

    Call this before responding to the peer: a command ends as soon as it has its token.
    """
    if sys.platform != "linux" or peer.pid == 0:
        return None
    return _read_living(connection, peer, read_program)


def origin_of(connection: socket.socket, peer: Peer) -> Origin:
    """Return the program that connected, as its share is counted; an inherited connection is its parent's."""
    if peer.pid == 0:
        return ELSEWHERE
    if sys.platform != "linux":
        try:
            return read_origin(peer.pid)
        except OSError:
            return ENDED
    return _read_living(connection, peer, read_origin) or ENDED


def _read_living(connection: socket.socket, peer: Peer, read: Callable[[int], _Read]) -> _Read | None:
    """Return what `read` returns for the peer's pid; None if its process has ended."""
    try:
        pidfd = peer_pidfd(connection)
    except OSError:
        return None
    if pidfd is None:
        return _read_by_start_time(peer.pid, read)
    try:
        result = read(peer.pid)
    except OSError:
        return None
    else:  # while the process lives, its pid is not reused
        return None if _has_ended(pidfd) else result
    finally:
        os.close(pidfd)


def _read_by_start_time(pid: int, read: Callable[[int], _Read]) -> _Read | None:
    """The same on an older kernel: the pid may have been reused since the connect, but not between the two reads."""
    try:
        before = read_start_time(pid)
        result = read(pid)
        return result if before == read_start_time(pid) else None
    except OSError:
        return None


def _has_ended(pidfd: int) -> bool:
    poll = select.poll()
    poll.register(pidfd, select.POLLIN)
    return bool(poll.poll(0))
