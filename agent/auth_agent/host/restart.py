"""Restarts the agent in the same process, with the same command line."""

import logging
import os
import sys
from pathlib import Path
from typing import NoReturn

from auth_agent import remedies
from auth_agent.errors import StartupError
from auth_agent.host.activation import place_handed_over
from auth_agent.logs import log_to_stderr

_log = logging.getLogger(__name__)


def check_program() -> None:
    """Check that the program to restart still exists.

    Raises:
        StartupError: the interpreter or the script was removed, or moved by an upgrade.

    """
    script = sys.orig_argv[1] if len(sys.orig_argv) > 1 else ""
    if not os.access(sys.executable, os.X_OK):
        raise StartupError(f"its interpreter {sys.executable} is gone", remedies.stop_old_agent())
    if "/" in script and not Path(script).exists():
        raise StartupError(f"its program {script} is gone", remedies.stop_old_agent())


def drop_option(name: str) -> None:
    """Have a restart leave out that option of the command line, and its value."""
    arguments = sys.orig_argv
    for index in reversed(range(1, len(arguments))):
        if arguments[index] == name:
            del arguments[index : index + 2]
        elif arguments[index].startswith(f"{name}="):
            del arguments[index]


def restart() -> NoReturn:
    """Execute the program again with its arguments, environment, streams and process id; exit if that fails.

    For a service manager or a terminal, the same process goes on. The exec closes all descriptors that are not
    inheritable, and thereby releases the locks.
    """
    logging.shutdown()  # lines that wait to be written would be lost with the threads
    place_handed_over()
    try:
        os.execv(sys.executable, [sys.executable, *sys.orig_argv[1:]])  # noqa: S606 -- no shell is wanted
    except (OSError, ValueError) as error:  # ValueError: an interpreter that doesn't know its own path
        log_to_stderr()
        _log.error("restart executable=%r error=%r", sys.executable, str(error))
        logging.shutdown()
        os._exit(1)
