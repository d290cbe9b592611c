"""A new agent in the same process: where, and as what, the old one was started."""

import logging
import os
import sys
from pathlib import Path
from typing import NoReturn

from auth_agent import remedies
from auth_agent.errors import StartupError
from auth_agent.logs import log_to_stderr

_log = logging.getLogger(__name__)


def check_program() -> None:
    """Whether there is still a program to begin anew.

    Raises:
        StartupError: there isn't: the interpreter or the script was removed, or moved by an upgrade.

    """
    script = sys.orig_argv[1] if len(sys.orig_argv) > 1 else ""
    if not os.access(sys.executable, os.X_OK):
        raise StartupError(f"its interpreter {sys.executable} is gone", remedies.stop_old_agent())
    if "/" in script and not Path(script).exists():
        raise StartupError(f"its program {script} is gone", remedies.stop_old_agent())


def restart() -> NoReturn:
    """Begin the program anew with its arguments, environment, streams and process id; ends the process if it can't.

    A service manager or a terminal sees the process that it started go on. What the old agent had open and did not
    make inheritable is closed by that, and its locks are released, at that moment.
    """
    logging.shutdown()  # what still waits to be written would go with the threads
    try:
        os.execv(sys.executable, [sys.executable, *sys.orig_argv[1:]])  # noqa: S606 -- no shell is wanted
    except (OSError, ValueError) as error:  # ValueError: an interpreter that doesn't know its own path
        log_to_stderr()
        _log.error("restart executable=%r error=%r", sys.executable, str(error))
        logging.shutdown()
        os._exit(1)
