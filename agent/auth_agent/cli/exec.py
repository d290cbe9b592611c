"""`auth-agent exec`: run a command with an access token in its environment."""

import os
import sys
import time

from auth_agent.cli.exits import print_error
from auth_agent.cli.global_options import Verbosity
from auth_agent.cli.light import Arguments, Command, Option, UsageError
from auth_agent.cli.token_options import TOKEN_OPTIONS, get_token
from auth_agent.host.execution import become

_VARIABLE = "BEARER_TOKEN"  # as in "WLCG Bearer Token Discovery"


def _variable(string: str) -> str:
    """Return the name of an environment variable. Raises a `ValueError` if it can't be one."""
    name = string.replace("_", "a")
    if not (name.isascii() and name.isalnum() and not name[0].isdigit()):
        raise ValueError(f"{string!r} can't be the name of an environment variable.")
    return string


COMMAND = Command(
    "exec",
    "Run a command with an access token in its environment.",
    arguments="[ACCOUNT] -- COMMAND [ARGUMENT]...",
    most=1,
    takes_command=True,
    options=(
        Option("--env", "NAME", f"The environment variable ({_VARIABLE}).", read=_variable),
        *TOKEN_OPTIONS,
    ),
    examples=("auth-agent exec work --env API_TOKEN -- make upload",),
)


def main(arguments: list[str]) -> int:
    """Run the command, and return its exit code; usually the other command takes this process's place."""
    return COMMAND.run(arguments, _run)


def _run(arguments: Arguments) -> int:
    if not arguments.command:
        raise UsageError("Missing the command to run, after --.")
    token = get_token(arguments, arguments.string("--url"))
    variable = arguments.string("--env") or _VARIABLE
    if token.expires_at is not None and sys.stderr.isatty() and not Verbosity.quiet:
        end = time.strftime("%H:%M:%S", time.localtime(token.expires_at))
        print_error(f"the token in {variable} ends at {end}, and the command gets no other")
    sys.stdout.flush()
    failure = become(arguments.command, {**os.environ, variable: token.access_token})
    print_error(failure.message)
    return failure.code
