"""Ports that stay free until a test uses them: the system gives them to nobody who asks for any port."""

import errno
import random
import socket
from pathlib import Path
from typing import Final

# Where Linux has the range from which it chooses ports.
_RANGE: Final = Path("/proc/sys/net/ipv4/ip_local_port_range")
_FIRST: Final = 10_000


def free_ports(count: int) -> list[int]:
    """Return so many ports on which nobody listens at either loopback address."""
    end = int(_RANGE.read_text().split()[0]) if _RANGE.exists() else 49_152
    candidates = range(_FIRST, max(end, 2 * _FIRST))
    free = [port for port in random.SystemRandom().sample(candidates, 10 * count) if _is_free(port)]
    return free[:count]


def _is_free(port: int) -> bool:
    for address, family in (("127.0.0.1", socket.AF_INET), ("::1", socket.AF_INET6)):
        try:
            socket.create_server((address, port), family=family).close()
        except OSError as error:  # others: a machine without IPv6
            if error.errno == errno.EADDRINUSE:
                return False
    return True
