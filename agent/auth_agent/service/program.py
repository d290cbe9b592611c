"""Which command a service manager is to start, for whatever way the agent was installed."""

import os
import shutil
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

from auth_agent.proxies import EXCEPTION_VARIABLES, PROXY_VARIABLES
from auth_agent.service.manager import Program
from auth_agent_client.paths import socket_path

_NAME: Final = "auth-agent"
# Read by the agent, its libraries and its workers. A proxy's may hold a password, so they are not copied into a file.
_CHANGES_AGENT: Final = (*PROXY_VARIABLES, *EXCEPTION_VARIABLES, "SSL_CERT_DIR", "SSL_CERT_FILE")


_STORE: Final = "--store"


def installed_program(store: str | None, environ: Mapping[str, str] = os.environ) -> Program:
    """Return the command that runs this installation of the agent, and what it needs in its environment.

    Args:
        store: the store to use; None: the one that is remembered.
        environ: AUTH_AGENT_CONFIG in it is kept, with an absolute path.

    """
    arguments = [] if store is None else [_STORE, store]
    config = environ.get("AUTH_AGENT_CONFIG")
    environment = {"AUTH_AGENT_CONFIG": os.path.abspath(config)} if config else {}  # noqa: PTH100 -- links stay
    return Program((*_command(), "run", *arguments), environment)


def named_store(command: Sequence[str]) -> str | None:
    """Return the store that a command of `installed_program` names, if it names one."""
    after = command[command.index(_STORE) + 1 :] if _STORE in command else ()
    return after[0] if after else None


def _command() -> tuple[str, ...]:
    """Return the command: the one on PATH if it is this installation's, since an upgrade keeps that path."""
    script = Path(sys.executable).with_name(_NAME)
    if not script.exists():
        return (sys.executable, "-P", "-m", "auth_agent")
    on_path = shutil.which(_NAME)
    if on_path is not None and os.path.isabs(on_path) and Path(on_path).resolve() == script.resolve():  # noqa: PTH117 -- a string
        return (on_path,)
    return (str(script),)


def missing_variables(environ: Mapping[str, str]) -> list[str]:
    """Return which variables of this shell change what an agent does, and are not set for a service."""
    return [name for name in sorted(environ) if name in _CHANGES_AGENT and environ[name]]


def default_socket() -> str:
    """Return the socket's path as a service manager's agent has it: AUTH_AGENT_SOCK of this shell doesn't count."""
    own = os.environ.pop("AUTH_AGENT_SOCK", None)
    try:
        return socket_path()
    finally:
        if own is not None:
            os.environ["AUTH_AGENT_SOCK"] = own
