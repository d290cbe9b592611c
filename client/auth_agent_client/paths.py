"""Where this user's files are: the agent's socket, and the directories that the environment names.

The one place that reads HOME and the XDG_ variables, for the agent, its commands and every client.
"""

import os
import sys

from .errors import Misconfigured
from .remedy import another_socket, set_variable

# `sun_path` holds 108 bytes on Linux and 104 on macOS, the terminating zero included.
SUN_PATH = 104 if sys.platform == "darwin" else 108
_NAME = "auth-agent"
_LIBRARY = "Library/Application Support"  # of macOS


def socket_path() -> str:
    """Return the socket's absolute path.

    `$AUTH_AGENT_SOCK`, else `auth-agent/agent.sock` in the runtime directory or, if there is none, in the state
    directory.

    Raises:
        Misconfigured: the path, or the directory that a variable names, is relative, or too long for a socket.

    """
    path = _absolute("AUTH_AGENT_SOCK") or f"{default_directory()}/agent.sock"
    if len(os.fsencode(path)) >= SUN_PATH:
        raise Misconfigured(
            f"the socket's path is longer than {SUN_PATH - 1} bytes: {path!r}; set AUTH_AGENT_SOCK to a shorter path"
        )
    return path


def default_directory() -> str:
    """Return the agent's own directory of the user's sessions, where its socket is unless `$AUTH_AGENT_SOCK` is set.

    `auth-agent` in the runtime directory or, if there is none, in the state directory.

    Raises:
        Misconfigured: the directory that a variable names is relative.

    """
    runtime = runtime_directory()
    if runtime is not None:
        return f"{runtime}/{_NAME}"
    return f"{home_directory()}/{_LIBRARY}/{_NAME}" if sys.platform == "darwin" else state_directory()


def runtime_directory() -> str | None:
    """Return the directory of sockets and locks of this user's sessions; None if there is none, as on macOS.

    `$XDG_RUNTIME_DIR`, else systemd's directory for the user: a cron job, or a login by su or ssh, may lack the
    variable.

    Raises:
        Misconfigured: the variable is not an absolute path.

    """
    path = _absolute("XDG_RUNTIME_DIR")
    if path or sys.platform == "darwin":
        return path
    path = f"/run/user/{os.getuid()}"
    return path if os.access(path, os.W_OK) else None


def state_directory() -> str:
    """Return the directory for the agent's state: `auth-agent` in `$XDG_STATE_HOME`, `~/.local/state`.

    Raises:
        Misconfigured: a variable is not an absolute path, or there is no home directory.

    """
    return f"{_base_directory('XDG_STATE_HOME', '.local/state')}/{_NAME}"


def config_directory() -> str:
    """Return the directory for the agent's configuration: `auth-agent` in `$XDG_CONFIG_HOME`, `~/.config`.

    Raises:
        Misconfigured: as `state_directory`.

    """
    return f"{_base_directory('XDG_CONFIG_HOME', '.config')}/{_NAME}"


def home_directory() -> str:
    """Return the user's home directory: `$HOME`, else the one in the system's list of users.

    Raises:
        Misconfigured: there is none, as for a user that only a container's command line knows.

    """
    home = _absolute("HOME")
    if home is None:
        import pwd  # noqa: PLC0415 -- HOME is nearly always set, and each module slows down a client's start

        try:
            home = pwd.getpwuid(os.getuid()).pw_dir
        except KeyError:
            text = f"HOME is not set, and the system has no user {os.getuid()}"
            raise Misconfigured(text, remedy=(set_variable("HOME"),)) from None
    return home.rstrip("/")


def variable_of(path: str) -> str | None:
    """Return the environment variable that chose this path or a directory above it; None if none did."""
    for name in (
        "AUTH_AGENT_SOCK",
        "AUTH_AGENT_CONFIG",
        "XDG_RUNTIME_DIR",
        "XDG_STATE_HOME",
        "XDG_CONFIG_HOME",
        "HOME",
    ):
        value = os.environ.get(name, "")
        directory = value.rpartition("/")[0] if name == "AUTH_AGENT_SOCK" else value.rstrip("/")
        if value and f"{path}/".startswith(f"{directory}/"):
            return name
    return None


def _base_directory(variable: str, default: str) -> str:
    """Return the directory that the variable names, else the platform's: `default` is Linux's, below the home."""
    return _absolute(variable) or f"{home_directory()}/{_LIBRARY if sys.platform == 'darwin' else default}"


def _absolute(variable: str) -> str | None:
    """Return the variable's value, None if it is not set or empty; raise `Misconfigured` if it is relative.

    The XDG specification ignores a relative one. Then the files would be elsewhere than the user wants, without a word.
    """
    path = os.environ.get(variable) or None
    if path is not None and not path.startswith("/"):
        remedy = another_socket() if variable == "AUTH_AGENT_SOCK" else set_variable(variable)
        raise Misconfigured(f"{variable} is not an absolute path: {path!r}", remedy=(remedy,))
    return path
