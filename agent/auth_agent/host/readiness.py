"""How an agent that a command started in the background tells that command that it serves."""

import logging
import os
from typing import Final

_log = logging.getLogger(__name__)

# The number of the descriptor to write to. Removed once it was, so that no restart and no child finds it.
VARIABLE: Final = "AUTH_AGENT_READY_FD"


def tell() -> None:
    """Tell whoever started this process that the agent serves, if it wants to know; never fails."""
    number = os.environ.pop(VARIABLE, None)
    if number is None:
        return
    try:
        with open(int(number), "wb", buffering=0) as pipe:  # noqa: PTH123 -- a descriptor has no path
            pipe.write(b"\n")
    except (ValueError, OSError) as error:  # the command has ended meanwhile
        _log.warning("ready %s=%r error=%r", VARIABLE, number, str(error))
