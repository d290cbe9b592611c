"""Becomes another program, whose signals, terminal and exit code then need no help."""

import os
import signal
from collections.abc import Mapping, Sequence

from auth_agent.printable import printable

# As shells return them (POSIX, Shell Command Language, 2.8.2).
_NOT_EXECUTABLE = 126
_NOT_FOUND = 127
_LONGEST = 1000  # characters of a name in an error


class ExecutionFailure:
    """Why a command can't be run; `code` is the exit code that a shell would return."""

    def __init__(self, message: str, code: int) -> None:
        self.message = message
        self.code = code


def become(command: Sequence[str], environment: Mapping[str, str] = os.environ) -> ExecutionFailure:
    """Execute a command in place of this process; its first word is looked up on PATH. Return only if that fails."""
    # Python ignores these for itself, and the program would inherit that.
    for signum in (signal.SIGPIPE, signal.SIGXFSZ):
        signal.signal(signum, signal.SIG_DFL)
    try:
        os.execvpe(command[0], list(command), environment)  # noqa: S606 -- no shell is wanted
    except OSError as error:
        is_missing = isinstance(error, FileNotFoundError | NotADirectoryError)
        message = f"{printable(command[0], _LONGEST)} can't be run: {error.strerror}"
        return ExecutionFailure(message, _NOT_FOUND if is_missing else _NOT_EXECUTABLE)
