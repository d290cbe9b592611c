"""A port of the loopback interface, on all addresses to which a browser may connect for a host name.

A browser takes `localhost` for 127.0.0.1 or for ::1. If only one of them were the agent's, another user could hold the
same port of the other one, and the browser would bring the code there (RFC 8252, section 8.3). So the agent has both,
or neither.
"""

import errno
import socket
from typing import Final

LOCALHOST: Final = "localhost"
_ADDRESSES: Final = {LOCALHOST: ("127.0.0.1", "::1"), "[::1]": ("::1",)}
_BACKLOG: Final = 64
# On a machine without IPv6: no such family, or no such address.
_NO_IPV6: Final = frozenset({errno.EAFNOSUPPORT, errno.EADDRNOTAVAIL})
# The system chose a port of 127.0.0.1 that is taken on ::1.
_MAX_CHOICES: Final = 20


def listen(host: str, port: int) -> list[socket.socket]:
    """Return sockets that listen on that port of each address of the host; 0 stands for any free port.

    Raises:
        OSError: the port is taken on one of them; nothing listens then.

    """
    for _ in range(_MAX_CHOICES - 1):
        try:
            return _listen(host, port)
        except OSError as error:
            if port != 0 or error.errno != errno.EADDRINUSE:
                raise
    return _listen(host, port)


def _listen(host: str, port: int) -> list[socket.socket]:
    listening: list[socket.socket] = []
    try:
        for address in _ADDRESSES.get(host, (host,)):
            try:
                listening.append(_listen_at(address, port))
            except OSError as error:
                if not listening or error.errno not in _NO_IPV6:
                    raise
            port = listening[0].getsockname()[1]
    except BaseException:
        for one in listening:
            one.close()
        raise
    return listening


def _listen_at(address: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    listening = socket.socket(family, socket.SOCK_STREAM)
    try:
        listening.setblocking(False)
        # Allows a port that an earlier login left in TIME_WAIT; a port on which somebody listens stays taken.
        # SO_REUSEPORT, which would share it, is never set.
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            listening.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        listening.bind((address, port))
        listening.listen(_BACKLOG)  # of two that bound at the same moment, one fails here
    except BaseException:
        listening.close()
        raise
    return listening
