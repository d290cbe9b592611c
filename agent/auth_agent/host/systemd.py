"""The protocols between a service manager and the agent: sd_notify(3), and the socket of sd_listen_fds(3).

Implemented without systemd's library, so any service manager that sets the variables works.
"""

import logging
import os
import socket
import time
from collections.abc import Mapping
from typing import Final

from auth_agent import remedies
from auth_agent.errors import StartupError
from auth_agent.printable import printable

_log = logging.getLogger(__name__)

FIRST_DESCRIPTOR: Final = 3  # SD_LISTEN_FDS_START

_MAX_STATUS: Final = 300  # characters
_MAX_DIGITS: Final = 18

READY: Final = "READY=1"
STOPPING: Final = "STOPPING=1"


def notify(state: str) -> None:
    """Send the agent's state to the service manager, if `NOTIFY_SOCKET` is set; never waits, never fails."""
    name = os.environ.get("NOTIFY_SOCKET")
    if not name:
        return
    address = os.fsencode(name)
    if address.startswith(b"@"):
        address = b"\0" + address[1:]  # an abstract socket
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as notifying:
            notifying.setblocking(False)
            notifying.sendto(state.encode(), address)
    except OSError as error:
        _log.warning("notify state=%r error=%r", state, error.strerror or str(error))


def reloading() -> str:
    """Return the state to send before the configuration is read again; `READY` follows afterwards."""
    # Type=notify-reload matches this to its request by the time.
    return f"RELOADING=1\nMONOTONIC_USEC={time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000}"


def status(text: str) -> str:
    """Return the state that shows a line of text in `systemctl status`; a line break would begin another state."""
    return f"STATUS={printable(text, _MAX_STATUS)}"


def watchdog_interval(environ: Mapping[str, str], pid: int) -> float | None:
    """Return within how many seconds the service manager wants a sign of life, None if it wants none.

    See sd_watchdog_enabled(3): the variables may be left over from another process.
    """
    if environ.get("WATCHDOG_PID", str(pid)) != str(pid):
        return None
    microseconds = environ.get("WATCHDOG_USEC", "")
    if not (microseconds.isascii() and microseconds.isdigit()):
        return None
    return int(microseconds[:_MAX_DIGITS]) / 1_000_000 or None


def inherited_socket() -> socket.socket | None:
    """Return the listening socket that this process was started with, else None; children don't inherit it.

    Raises:
        StartupError: there are several, or the agent can't serve it.

    """
    # Variables for another pid are left over from that process.
    if os.environ.get("LISTEN_PID") != str(os.getpid()):
        return None
    count = os.environ.get("LISTEN_FDS", "0")
    if count == "0":
        return None
    if count != "1":
        raise StartupError(f"{count} sockets were passed to the agent, which serves one", remedies.one_listen_stream())
    try:
        os.set_inheritable(FIRST_DESCRIPTOR, False)
        inherited = socket.socket(fileno=FIRST_DESCRIPTOR)
    except OSError as error:
        raise StartupError(
            f"descriptor {FIRST_DESCRIPTOR} should be the agent's socket, by LISTEN_FDS, and can't be used: "
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
    """Return what is wrong with a socket and how to correct the .socket unit, else None."""
    if inherited.family != socket.AF_UNIX:
        return "is not a Unix socket: ListenStream= must be a path in the .socket unit, as %t/auth-agent/agent.sock"
    if inherited.type != socket.SOCK_STREAM:
        return "is not a stream socket: it must be ListenStream= in the .socket unit, not ListenDatagram= or another"
    if not inherited.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN):
        return "does not listen: it may be one client's connection, if the .socket unit has Accept=yes; remove that"
    return None
