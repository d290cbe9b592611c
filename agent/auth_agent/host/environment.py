"""Which part of the agent's environment its children get: what they need, and nothing that happens to be there.

The agent is started from whatever shell there is. Its variables may hold secrets, or change what Python or a library
does.
"""

import os
from typing import Final

from auth_agent.host.session_bus import VARIABLE, session_bus_address
from auth_agent_client.paths import runtime_directory

# Whose process it is, its language, where temporary files and the desktop are.
_USERS: Final = frozenset(
    {
        *("HOME", "LOGNAME", "SHELL", "TMPDIR", "TZ", "USER"),
        *("LANG", "LANGUAGE", "LC_ALL", "LC_CTYPE", "LC_MESSAGES", "LC_TIME"),
        *("DISPLAY", "WAYLAND_DISPLAY", "XAUTHORITY", "XDG_CURRENT_DESKTOP", "XDG_SESSION_TYPE"),
        *(VARIABLE, "PATH", "XDG_RUNTIME_DIR"),
        "__CF_USER_TEXT_ENCODING",  # macOS's language
    }
)
# Where Python and the libraries are: a worker must import what its agent imports.
_PYTHONS: Final = frozenset(
    {"DYLD_LIBRARY_PATH", "LD_LIBRARY_PATH", "PYTHONHOME", "PYTHONNOUSERSITE", "PYTHONPATH", "PYTHONUSERBASE"}
)


def worker_environment() -> dict[str, str]:
    """Return the environment of the agent's worker. It looks for the D-Bus session itself, each time."""
    return _only(_USERS | _PYTHONS)


def command_environment() -> dict[str, str]:
    """Return the environment of a command of the user's, with the D-Bus session where it is now."""
    found = {VARIABLE: session_bus_address(), "XDG_RUNTIME_DIR": runtime_directory()}
    return {**_only(_USERS), **{name: value for name, value in found.items() if value is not None}}


def background_environment() -> dict[str, str]:
    """Return the environment of an agent in the background: this one's, but for what is meant for this process alone.

    That is what a service manager tells the service that this command is a part of, and how its Python is to behave.
    """
    own = ("LISTEN_", "NOTIFY_SOCKET", "PYTHON", "WATCHDOG_")
    return {name: value for name, value in os.environ.items() if not name.startswith(own) or name in _PYTHONS}


def _only(names: frozenset[str]) -> dict[str, str]:
    return {name: os.environ[name] for name in sorted(names) if name in os.environ}
