"""Who is on the other end of a connection, as the kernel says."""

import os
import socket
from typing import NamedTuple

from auth_agent_client.peer import peer_credentials


class Peer(NamedTuple):
    """The process that connected, as it was then; `pid` is advice, `uid` is a boundary."""

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
