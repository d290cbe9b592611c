"""Where the user's D-Bus session is."""

import os
import socket
from typing import Final
from urllib.parse import unquote_to_bytes

from auth_agent_client.paths import runtime_directory

VARIABLE: Final = "DBUS_SESSION_BUS_ADDRESS"


def session_bus_address() -> str | None:
    """Return the address of the D-Bus session as it is now, None if there is none.

    That is the variable's or, if that is not set or its bus has ended, systemd's user bus. A service or an ssh login
    may lack the variable, and a bus may begin or move after this process has begun: call this before each connection.
    """
    given = os.environ.get(VARIABLE) or None
    # A list, whose entries are tried in turn (D-Bus Specification, Server Addresses); our library takes only the first.
    served = None if given is None else next(filter(_may_be_served, given.split(";")), None)
    if served is not None:
        return served
    runtime = runtime_directory()
    if runtime is not None and os.path.exists(f"{runtime}/bus"):  # noqa: PTH110 -- a string
        return f"unix:path={runtime}/bus"
    return given


def _may_be_served(address: str) -> bool:
    """Return whether a bus may listen at that address: False for a Unix socket that is missing or has no listener."""
    transport, _, pairs = address.partition(":")
    values = {key: value for key, _, value in (pair.partition("=") for pair in pairs.split(","))}
    path, abstract = (unquote_to_bytes(os.fsencode(values.get(key, ""))) for key in ("path", "abstract"))
    if transport != "unix" or not (path or abstract):
        return bool(address)
    with socket.socket(socket.AF_UNIX) as probe:
        probe.setblocking(False)
        try:
            probe.connect(path or b"\0" + abstract)
        except (ConnectionRefusedError, FileNotFoundError):
            return False
        except OSError:
            pass  # it is busy, or can't be used; the connection will show that
    return True
