"""Check, before each connection, that nobody else may enter the socket's directory."""

import os
import stat

from .errors import UntrustedAgent
from .remedy import another_socket, close_directory


def check_place(path: str) -> None:
    """Check the directory of a socket, as the agent does before it listens there.

    In a directory that others may write to, they could replace the agent's socket. After the connection the uid of the
    listener is checked too.

    Raises:
        UntrustedAgent: it is not a directory, belongs to another user, or others may enter it.
        OSError: it doesn't exist or can't be examined.

    """
    directory = os.path.dirname(path) or "."  # noqa: PTH120 -- pathlib would double a client's start
    info = os.lstat(directory)
    if not stat.S_ISDIR(info.st_mode):
        raise UntrustedAgent(
            f"{directory} is not a directory (a symbolic link to one won't do either): nothing was sent",
            remedy=(another_socket(),),
        )
    if info.st_uid != os.geteuid():
        raise UntrustedAgent(
            f"{directory} belongs to the user {info.st_uid}, not to you: nothing was sent", remedy=(another_socket(),)
        )
    if info.st_mode & 0o077:
        raise UntrustedAgent(
            f"others may enter {directory}: nothing was sent",
            remedy=(close_directory(directory), another_socket()),
        )
