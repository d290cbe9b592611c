"""Exit codes, and the one line that goes with them. Imported by light commands: nothing heavy here."""

import sys

from auth_agent_client import errors

OK = 0
ERROR = 1
USAGE = 2
NOT_RUNNING = 3
LOGIN_REQUIRED = 4
UNAVAILABLE = 5
DENIED = 6
INTERRUPTED = 130

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


def complain(message: str) -> None:
    """Say what went wrong, on standard error."""
    sys.stderr.write(f"auth-agent: {message}\n")
