"""Where the user's D-Bus session is."""

import os
from pathlib import Path
from typing import Final

VARIABLE: Final = "DBUS_SESSION_BUS_ADDRESS"


def session_bus_address() -> str | None:
    """Return the address of the D-Bus session, None if there is none.

    That is the variable's or, since a service or an ssh login may lack it, the socket of systemd's user bus.
    """
    address, runtime = os.environ.get(VARIABLE), os.environ.get("XDG_RUNTIME_DIR")
    if address:
        return address
    return f"unix:path={runtime}/bus" if runtime and Path(runtime, "bus").exists() else None
