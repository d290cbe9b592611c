"""Exit codes and error lines. Light commands import this module, so it imports nothing slow."""

import sys
from collections.abc import Collection, Iterable

from auth_agent.printable import printable
from auth_agent_client import errors
from auth_agent_client.remedy import Remedy

OK = 0
ERROR = 1
USAGE = 2
NOT_RUNNING = 3
LOGIN_REQUIRED = 4
UNAVAILABLE = 5
DENIED = 6
INTERRUPTED = 130

_LONGEST = 4096  # characters of a remedy

_CODES: dict[type[errors.AgentError], int] = {
    errors.InvalidRequest: USAGE,
    errors.AgentNotRunning: NOT_RUNNING,
    errors.LoginRequired: LOGIN_REQUIRED,
    errors.Unavailable: UNAVAILABLE,
    errors.Timeout: UNAVAILABLE,
    errors.ConnectionLost: UNAVAILABLE,
    errors.Denied: DENIED,
    errors.Locked: DENIED,
}


def exit_code(error: errors.AgentError) -> int:
    """Return the exit code for an error of the agent."""
    return _CODES.get(type(error), ERROR)


# Of several failures, the one that most needs a person comes first.
_WORST_FIRST = (NOT_RUNNING, LOGIN_REQUIRED, DENIED, ERROR, USAGE, UNAVAILABLE)


def worst(codes: Collection[int]) -> int:
    """Return one exit code for a command with several results."""
    return next((code for code in _WORST_FIRST if code in codes), OK)


def print_error(message: str, remedy: Iterable[Remedy] = ()) -> None:
    """Print an error to standard error, and below it the remedies."""
    if sys.stderr.isatty():
        from auth_agent.cli.screen import print_error_message  # noqa: PLC0415 -- click, which only an interactive run has time for

        print_error_message(message, remedy)
        return
    # A path in a remedy may contain a line break, which would start a line of its own.
    helps = (printable(str(item), _LONGEST) for item in remedy)
    sys.stderr.write("".join([f"auth-agent: {message}\n", *(f"  {one}\n" for one in helps)]))
