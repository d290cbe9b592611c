"""The directory where a program runs, for the rules of `[hosts]` that are limited to one."""

import os

from .messages import MAX_DIRECTORY


def working_directory() -> str | None:
    """Return its real path; None if it was removed, or can't be told to the agent: then no such rule fits."""
    try:
        path = os.getcwd()  # noqa: PTH109 -- light commands have no time for pathlib
        path.encode()
    except (OSError, UnicodeEncodeError):
        return None
    return path if len(path) <= MAX_DIRECTORY else None
