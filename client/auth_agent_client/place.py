"""Whether the socket's place in the file system lets nobody else in: looked at before each connection."""

import os
import stat

from .errors import UntrustedAgent
from .remedy import another_socket, close_directory


def check_place(path: str) -> None:
    """Check the directory of a socket as the agent does before it listens there.

    In a directory that others may write to, any of them could put a socket in the agent's place. The kernel's word
    on who listens comes later, and is asked for as well.

    Raises:
        UntrustedAgent: it is no directory, another user's, or others may enter it.
        OSError: there is none, or it can't be looked at.

    """
    directory = os.path.dirname(path) or "."  # noqa: PTH120 -- pathlib would double a client's start
    found = os.lstat(directory)
    if not stat.S_ISDIR(found.st_mode):
        raise UntrustedAgent(
            f"{directory} is not a directory (a symbolic link to one won't do either): nothing was sent",
            remedy=(another_socket(),),
        )
    if found.st_uid != os.geteuid():
        raise UntrustedAgent(
            f"{directory} belongs to the user {found.st_uid}, not to you: nothing was sent", remedy=(another_socket(),)
        )
    if found.st_mode & 0o077:
        raise UntrustedAgent(
            f"others may enter {directory}: nothing was sent",
            remedy=(close_directory(directory), another_socket()),
        )
