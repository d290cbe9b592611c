"""The path of the agent's socket, for the agent, its commands and every client."""

import os
import sys

from .errors import Misconfigured

# `sun_path` holds 108 bytes on Linux and 104 on macOS, the terminating zero included.
SUN_PATH = 104 if sys.platform == "darwin" else 108


def socket_path() -> str:
    """Return the socket's absolute path.

    `$AUTH_AGENT_SOCK`, else `$XDG_RUNTIME_DIR/auth-agent/agent.sock`, else in the user's directory below the platform's
    runtime directory or, if there is none, its state directory.

    Raises:
        Misconfigured: the path is relative, or too long for a socket.

    """
    path = os.environ.get("AUTH_AGENT_SOCK") or os.path.join(_directory(), "agent.sock")  # noqa: PTH118 -- pathlib would double a client's start
    if not os.path.isabs(path):  # noqa: PTH117 -- as above
        raise Misconfigured(f"the socket's path must be absolute: {path!r} (from {_variable()})")
    if len(os.fsencode(path)) >= SUN_PATH:
        raise Misconfigured(
            f"the socket's path is longer than {SUN_PATH - 1} bytes: {path!r}; set AUTH_AGENT_SOCK to a shorter path"
        )
    return path


def _variable() -> str:
    """Return the environment variable that the path comes from."""
    first = ("AUTH_AGENT_SOCK", "XDG_RUNTIME_DIR", "XDG_STATE_HOME")
    return next((name for name in first if os.environ.get(name)), "HOME")


def _directory() -> str:
    runtime = os.environ.get("XDG_RUNTIME_DIR")
    if runtime:
        return f"{runtime}/auth-agent"
    home = os.path.expanduser("~")  # noqa: PTH111 -- as above
    if sys.platform == "darwin":
        return f"{home}/Library/Application Support/auth-agent"
    runtime = f"/run/user/{os.getuid()}"  # systemd's, also where a service or cron job lacks the variable
    if os.access(runtime, os.W_OK):
        return f"{runtime}/auth-agent"
    return f"{os.environ.get('XDG_STATE_HOME') or home + '/.local/state'}/auth-agent"
