"""The listening socket that a service manager passes to the agent, and how it passes on to the next agent."""

import os
import socket
import sys
from typing import Final

from auth_agent.host.launchd import activated_socket
from auth_agent.host.systemd import FIRST_DESCRIPTOR, inherited_socket

# The descriptor of a socket that is handed over, until the next agent is executed.
_HANDED_OVER: Final = "AUTH_AGENT_HANDED_OVER_FD"


def passed_socket() -> socket.socket | None:
    """Return the socket that systemd, launchd or the agent before passed; None if there is none.

    Raises:
        StartupError: there are several, or the agent can't serve it.

    """
    inherited = inherited_socket()
    if inherited is None and sys.platform == "darwin":
        return activated_socket()
    return inherited


def hand_over(descriptor: int) -> None:
    """Keep a listening socket for the agent that this process is about to execute."""
    os.set_inheritable(descriptor, True)
    # launchd passes a socket once, and says nothing to a process that is executed again.
    os.environ.update({"LISTEN_PID": str(os.getpid()), "LISTEN_FDS": "1", _HANDED_OVER: str(descriptor)})


def place_handed_over() -> None:
    """Put the socket where the next agent looks. Call it right before the exec: until then, something else is there."""
    descriptor = os.environ.pop(_HANDED_OVER, None)
    if descriptor is not None and int(descriptor) != FIRST_DESCRIPTOR:
        os.dup2(int(descriptor), FIRST_DESCRIPTOR, inheritable=True)
