"""The process at the other end of a Unix socket, as the kernel reports it. Used by both sides."""

import errno
import socket
import struct
import sys

# macOS, <sys/un.h>: the level and options that Python lacks. LOCAL_PEERCRED returns a `struct xucred`, which begins
# with a version and the uid.
_SOL_LOCAL = 0
_LOCAL_PEERCRED = 1
_LOCAL_PEERPID = 2
_XUCRED_SIZE = 76
# Linux, `struct ucred`: pid, uid and gid.
_UCRED = struct.Struct("3i")
# Linux 6.5, <asm-generic/socket.h>.
_SO_PEERPIDFD = 77


def peer_credentials(connection: socket.socket) -> tuple[int, int]:
    """Return the pid and uid of the peer at the time of connect(2) or listen(2).

    The pid is 0 for a process that is in none of this process's PID namespaces, as outside of a container.

    Raises:
        OSError: the kernel doesn't know them; the peer may have gone.

    """
    if sys.platform == "darwin":
        credentials = connection.getsockopt(_SOL_LOCAL, _LOCAL_PEERCRED, _XUCRED_SIZE)
        _, uid = struct.unpack_from("2I", credentials)
        return connection.getsockopt(_SOL_LOCAL, _LOCAL_PEERPID), uid
    credentials = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _UCRED.size)
    pid, uid, _ = _UCRED.unpack(credentials)
    return pid, uid


def peer_pidfd(connection: socket.socket) -> int | None:
    """Return a descriptor of that process; None where the system has none to give: macOS, and Linux before 6.5.

    Raises:
        OSError: the process has ended.

    """
    if sys.platform != "linux":
        return None
    try:
        return connection.getsockopt(socket.SOL_SOCKET, _SO_PEERPIDFD)
    except OSError as error:
        if error.errno == errno.ENOPROTOOPT:
            return None
        raise
