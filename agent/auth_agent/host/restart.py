"""Restarts the agent in the same process, with the same command line."""

import logging
import os
import subprocess
import sys
from collections.abc import Sequence
from typing import Final, NoReturn

import anyio

from auth_agent import remedies
from auth_agent.errors import StartupError
from auth_agent.host.activation import place_handed_over
from auth_agent.host.environment import background_environment
from auth_agent.logs import log_to_stderr
from auth_agent.printable import printable

_log = logging.getLogger(__name__)

# Seconds; a busy machine imports slowly.
_PATIENCE: Final = 15.0
_LONGEST_REASON: Final = 300  # characters
# What `run` imports only when it begins; a name that every version has.
_IMPORT: Final = "import auth_agent.daemon"


async def check_program() -> None:
    """Check that the program to restart still starts, by starting it in child processes that end at once.

    An upgrade may have removed or broken the interpreter, the script or the package, for good or for a moment.

    Raises:
        StartupError: it does not start.

    """
    own = sys.orig_argv[1:]
    trials = (
        [*own[: len(own) - len(sys.argv[1:])], "run", "--help"],
        [*interpreter_options(own), "-c", _IMPORT],
    )
    problems: list[str] = []

    async def try_to_start(arguments: Sequence[str]) -> None:
        problem = await _problem_of(arguments)
        if problem is not None:
            problems.append(problem)

    try:
        with anyio.fail_after(_PATIENCE):
            async with anyio.create_task_group() as trying:
                for arguments in trials:
                    trying.start_soon(try_to_start, arguments)
    except TimeoutError:
        problems.append(f"it did not start within {_PATIENCE:.0f} s")
    if problems:
        text = f"its program does not start any more: {problems[0]}"
        raise StartupError(text, remedies.repair_and_restart(), remedies.stop_old_agent())


def interpreter_options(arguments: Sequence[str]) -> list[str]:
    """Return the interpreter's own options, with which it finds the modules that the program finds.

    Args:
        arguments: those of the interpreter, with the program's at the end.

    """
    options: list[str] = []
    rest = iter(arguments)
    for option in rest:
        if option in ("-m", "-c"):
            return options
        if not option.startswith("-"):  # a script, which looks in its directory instead of the current one
            return [*options, "-P"]
        options.append(option)
        if option in ("-W", "-X"):
            options.append(next(rest, ""))
    return options


async def _problem_of(arguments: Sequence[str]) -> str | None:
    """Start the interpreter with these arguments; return why that fails, or None."""
    try:
        done = await anyio.run_process(
            [sys.executable, *arguments],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            env=background_environment(),
            check=False,
            start_new_session=True,  # Ctrl-C must only reach the agent
        )
    # ValueError: an interpreter that doesn't know its own path; RuntimeError: no thread can be started to wait for it.
    except (OSError, ValueError, RuntimeError) as error:
        return f"{sys.executable}: {getattr(error, 'strerror', None) or error}"
    if done.returncode == 0:
        return None
    lines = done.stderr.decode(errors="replace").split("\n")
    last = next((line for line in reversed(lines) if line.strip()), f"exit code {done.returncode}")
    return printable(last, _LONGEST_REASON)


def drop_option(name: str) -> None:
    """Have a restart leave out that option of the command line, and its value."""
    for arguments in (sys.orig_argv, sys.argv):
        for index in reversed(range(1, len(arguments))):
            if arguments[index] == name:
                del arguments[index : index + 2]
            elif arguments[index].startswith(f"{name}="):
                del arguments[index]


def restart() -> NoReturn:
    """Execute the program again with its arguments, environment, streams and process id; exit if that fails.

    For a service manager or a terminal, the same process goes on. The exec closes all descriptors that are not
    inheritable, and thereby releases the locks.
    """
    logging.shutdown()  # lines that wait to be written would be lost with the threads
    place_handed_over()
    try:
        os.execv(sys.executable, [sys.executable, *sys.orig_argv[1:]])  # noqa: S606 -- no shell is wanted
    except (OSError, ValueError) as error:  # ValueError: an interpreter that doesn't know its own path
        log_to_stderr()
        _log.error("restart executable=%r error=%r", sys.executable, str(error))
        logging.shutdown()
        os._exit(1)
