"""The agent on a machine where the look-up of some names never ends, such as those of a VPN that is down.

`launcher.py` runs it with `--wrap tests.faults.hanging_names:on_such_a_machine`.
"""

import socket
import threading
from collections.abc import Callable
from typing import Any

from auth_agent.config import Account
from auth_agent.oauth.provider import Provider

# Names below this one are looked up for ever.
DOMAIN = ".corp.example"


def on_such_a_machine(providers: Callable[[Account], Provider]) -> Callable[[Account], Provider]:
    """Return the providers unchanged; from now on, such look-ups hang in this process."""
    real = socket.getaddrinfo

    def getaddrinfo(host: Any, *args: Any, **more: Any) -> Any:
        name = host.decode() if isinstance(host, bytes) else host
        if isinstance(name, str) and name.endswith(DOMAIN):
            threading.Event().wait()
        return real(host, *args, **more)

    socket.getaddrinfo = getaddrinfo
    return providers
