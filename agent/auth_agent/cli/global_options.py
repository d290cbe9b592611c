"""Options of every command, taken out of the arguments before a command sees them. Light commands import this too."""

import os
import time
from collections.abc import Callable

# The options, with the environment variable that each one sets for this process.
SOCKET, CONFIG = "--socket", "--config"
VALUES = {SOCKET: "AUTH_AGENT_SOCK", CONFIG: "AUTH_AGENT_CONFIG"}
VERBOSE, QUIET = ("-v", "--verbose"), ("-q", "--quiet")
# What follows the command's own command is not for auth-agent.
_RUN = "run"


class GlobalOptions:
    """The result of `take`: the arguments for the command, and whether to print more, or only results and errors."""

    __slots__ = ("arguments", "quiet", "verbose")

    def __init__(self) -> None:
        self.arguments: list[str] = []
        self.verbose = False
        self.quiet = False


class Verbosity:
    """Whether this process prints only results and errors."""

    quiet = False


class GlobalOptionError(Exception):
    """An option has no value, or one that means nothing; the message is worded like click's."""


def take(arguments: list[str]) -> GlobalOptions:
    """Take the global options out of the arguments, wherever they stand before a `--`.

    `--socket` and `--config` are set in the environment, with absolute paths, and so is the log of `--verbose`: the
    client library, an agent that is started, and its children find them there.

    Raises:
        GlobalOptionError: an option has no value, or a relative one in a directory that was removed.

    """
    found = GlobalOptions()
    words = 0
    rest = iter(arguments)
    for argument in rest:
        name, equals, value = argument.partition("=")
        if argument == "--" or (words > 1 and found.arguments[0] == _RUN):
            found.arguments.extend((argument, *rest))
        elif name in VALUES:
            _set(name, value if equals else next(rest, ""))
        elif argument in VERBOSE:
            found.verbose = True
            os.environ["AUTH_AGENT_LOG"] = "debug"
        elif argument in QUIET:
            found.quiet = True
        else:
            # Each of run's own options takes a value.
            is_value = words == 1 and found.arguments[-1].startswith("--") and "=" not in found.arguments[-1]
            words += not (argument.startswith("-") or is_value)
            found.arguments.append(argument)
    return found


def _set(name: str, value: str) -> None:
    if not value:
        raise GlobalOptionError(f"Option '{name}' requires an argument.")
    try:
        os.environ[VALUES[name]] = os.path.abspath(value)  # noqa: PTH100 -- pathlib would slow down the start, and follow links
    except FileNotFoundError:
        text = f"{value!r} is relative to a working directory that was removed."
        raise GlobalOptionError(f"Invalid value for '{name}': {text}") from None


class Report:
    """What `--verbose` prints when the command has ended."""

    def __init__(self) -> None:
        self._began = time.monotonic()

    def write(self, code: int, write: Callable[[str], object]) -> None:
        """Write where the command looked, how long it took, and its exit code, by that function."""
        from auth_agent.config_path import config_path  # noqa: PLC0415 -- only --verbose needs it
        from auth_agent_client import __version__  # noqa: PLC0415 -- as above
        from auth_agent_client.errors import AgentError  # noqa: PLC0415 -- as above
        from auth_agent_client.paths import socket_path  # noqa: PLC0415 -- as above

        try:
            places = f"socket {socket_path()}, configuration {config_path()}"
        except AgentError as error:
            places = error.message
        took = (time.monotonic() - self._began) * 1000
        write(f"auth-agent: version {__version__}, {places}, {took:.0f} ms, exit code {code}\n")
