"""What a service manager and the agent tell each other: sd_notify(3), and the socket of sd_listen_fds(3).

By the protocols alone, without systemd's library: whoever sets the variables is answered.
"""

import logging
import os
import socket
import time
from typing import Final

from auth_agent import remedies
from auth_agent.errors import StartupError

_log = logging.getLogger(__name__)

_FIRST_DESCRIPTOR: Final = 3  # SD_LISTEN_FDS_START
# Said to the agent alone: a child that took them over could speak in its name.
_OURS: Final = frozenset(
    {"LISTEN_FDNAMES", "LISTEN_FDS", "LISTEN_PID", "LISTEN_PIDFDID", "NOTIFY_SOCKET", "WATCHDOG_PID", "WATCHDOG_USEC"}
)

READY: Final = "READY=1"
STOPPING: Final = "STOPPING=1"


def notify(state: str) -> None:
    """Tell the service manager how the agent is, if there is one that wants to know; never waits, never fails."""
    name = os.environ.get("NOTIFY_SOCKET")
    if not name:
        return
    address = os.fsencode(name)
    if address.startswith(b"@"):
        address = b"\0" + address[1:]  # an abstract address, written down
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as notifying:
            notifying.setblocking(False)
            notifying.sendto(state.encode(), address)
    except OSError as error:
        _log.warning("notify state=%r error=%r", state, error.strerror or str(error))


def reloading() -> str:
    """The state to notify before the configuration is read again; `READY` follows when it was."""
    # Type=notify-reload tells by the time which request this is the answer to.
    return f"RELOADING=1\nMONOTONIC_USEC={time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000}"


def children_environment() -> dict[str, str]:
    """The environment for processes that the agent starts: its own, without what a service manager said to it."""
    return {name: value for name, value in os.environ.items() if name not in _OURS}


def inherited_socket() -> socket.socket | None:
    """The listening socket that this process was started with, None where there is none; children don't inherit it.

    Raises:
        StartupError: there are several, or it isn't one that the agent can serve.

    """
    # The variables of a process that isn't this one were meant for it, and only left behind.
    if os.environ.get("LISTEN_PID") != str(os.getpid()):
        return None
    count = os.environ.get("LISTEN_FDS", "0")
    if count == "0":
        return None
    if count != "1":
        raise StartupError(f"{count} sockets were passed to the agent, which serves one", remedies.one_listen_stream())
    try:
        os.set_inheritable(_FIRST_DESCRIPTOR, False)
        inherited = socket.socket(fileno=_FIRST_DESCRIPTOR)
    except OSError as error:
        raise StartupError(
            f"descriptor {_FIRST_DESCRIPTOR} should be the agent's socket, by LISTEN_FDS, and can't be used: "
            f"{error.strerror}",
            remedies.one_listen_stream(),
        ) from error
    mistake = _mistake(inherited)
    if mistake is not None:
        inherited.close()
        raise StartupError(f"the socket that was passed to the agent {mistake}")
    inherited.setblocking(False)
    return inherited


def _mistake(inherited: socket.socket) -> str | None:
    """What is wrong with a socket, and what to write into the .socket unit."""
    if inherited.family != socket.AF_UNIX:
        return "is no Unix socket: ListenStream= must be a path in the .socket unit, as %t/auth-agent/agent.sock"
    if inherited.type != socket.SOCK_STREAM:
        return "carries no streams: it must be ListenStream= in the .socket unit, not ListenDatagram= or another"
    if not inherited.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN):
        return "does not listen: it may be one client's connection, if the .socket unit has Accept=yes; remove that"
    return None
