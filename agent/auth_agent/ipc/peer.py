"""Who is on the other end of a connection, as the kernel says."""

import errno
import os
import select
import socket
import sys
from typing import Final, NamedTuple

from auth_agent.host.program import Program, read_program, read_start_time
from auth_agent_client.peer import peer_credentials

# Linux 6.5, which Python has no name for: a descriptor of the process that connected.
_SO_PEERPIDFD: Final = 77


class Peer(NamedTuple):
    """The process that connected, as it was then; `pid` is advice, `uid` is a boundary.

    `pid` is 0 for a process that this one can't see, as of another container.
    """

    pid: int
    uid: int


def peer_of(connection: socket.socket) -> Peer:
    """Who connected.

    Raises:
        OSError: the kernel doesn't say; the peer may have gone.

    """
    return Peer(*peer_credentials(connection))


def is_this_user(peer: Peer) -> bool:
    """Whether that is the user whose agent this is; not even root is served another user's tokens."""
    return peer.uid == os.geteuid()


def program_of(connection: socket.socket, peer: Peer) -> Program | None:
    """Return which program connected; None where the system doesn't say, or its process has ended.

    To be asked before the peer is answered: a command that has its token ends at once.
    """
    if sys.platform != "linux" or peer.pid == 0:
        return None
    try:
        pidfd = connection.getsockopt(socket.SOL_SOCKET, _SO_PEERPIDFD)
    except OSError as error:
        return _program_by_start_time(peer.pid) if error.errno == errno.ENOPROTOOPT else None
    try:
        program = read_program(peer.pid)
    except OSError:
        return None
    else:  # its pid can't have become another's while it lived
        return None if _has_ended(pidfd) else program
    finally:
        os.close(pidfd)


def _program_by_start_time(pid: int) -> Program | None:
    """The same on an older kernel: the pid may be another's since the connect, but not since the first look."""
    try:
        before = read_start_time(pid)
        program = read_program(pid)
        return program if before == read_start_time(pid) else None
    except OSError:
        return None


def _has_ended(pidfd: int) -> bool:
    poll = select.poll()
    poll.register(pidfd, select.POLLIN)
    return bool(poll.poll(0))
