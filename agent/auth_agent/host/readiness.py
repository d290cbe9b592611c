"""Tells the command that started the agent in the background that the agent accepts connections."""

import logging
import os
from typing import Final

_log = logging.getLogger(__name__)

# The number of the descriptor to write to. Removed at first use, so that neither a restart nor a child uses it.
VARIABLE: Final = "AUTH_AGENT_READY_FD"


def notify_ready() -> None:
    """Tell the starting command, if it set `AUTH_AGENT_READY_FD`, that the agent is ready; never fails."""
    number = os.environ.pop(VARIABLE, None)
    if number is None:
        return
    try:
        with open(int(number), "wb", buffering=0) as pipe:  # noqa: PTH123 -- a descriptor has no path
            pipe.write(b"\n")
    except (ValueError, OSError) as error:  # the command has ended meanwhile
        _log.warning("ready %s=%r error=%r", VARIABLE, number, str(error))
