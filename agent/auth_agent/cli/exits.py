"""Exit codes, and the one line that goes with them. Imported by light commands: nothing heavy here."""

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

_LONGEST = 4096  # characters of what helps

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
    """The exit code for what went wrong."""
    return _CODES.get(type(error), ERROR)


# Of several failures, the one that most needs a person comes first.
_WORST_FIRST = (NOT_RUNNING, LOGIN_REQUIRED, DENIED, ERROR, USAGE, UNAVAILABLE)


def worst(codes: Collection[int]) -> int:
    """The exit code of a command that did several things, each of which has one."""
    return next((code for code in _WORST_FIRST if code in codes), OK)


def complain(message: str, remedy: Iterable[Remedy] = ()) -> None:
    """Say what went wrong, on standard error, and below that what helps."""
    if sys.stderr.isatty():
        from auth_agent.cli.screen import say_error  # noqa: PLC0415 -- click, which only a person has the time for

        say_error(message, remedy)
        return
    # A path in a remedy may have a line's end in it, which would begin a line of its own.
    helps = (printable(str(one), _LONGEST) for one in remedy)
    sys.stderr.write("".join([f"auth-agent: {message}\n", *(f"  {one}\n" for one in helps)]))
