"""Who is on the other end of a connection, as the kernel says."""

import os
import socket
import struct
import sys
from typing import NamedTuple

# macOS, <sys/un.h>: the level, and options that Python does not name.
_SOL_LOCAL = 0
_LOCAL_PEERCRED = 1
_LOCAL_PEERPID = 2
_XUCRED_SIZE = 76


class Peer(NamedTuple):
    """The process that connected, as it was then; `pid` is advice, `uid` is a boundary."""

    pid: int
    uid: int


def peer_of(connection: socket.socket) -> Peer:
    """Who connected.

    Raises:
        OSError: the kernel doesn't say; the peer may have gone.

    """
    if sys.platform == "darwin":
        credentials = connection.getsockopt(_SOL_LOCAL, _LOCAL_PEERCRED, _XUCRED_SIZE)
        _, uid = struct.unpack_from("2I", credentials)
        return Peer(connection.getsockopt(_SOL_LOCAL, _LOCAL_PEERPID), uid)
    credentials = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i"))
    pid, uid, _ = struct.unpack("3i", credentials)
    return Peer(pid, uid)


def is_this_user(peer: Peer) -> bool:
    """Whether that is the user whose agent this is; not even root is served another user's tokens."""
    return peer.uid == os.geteuid()
