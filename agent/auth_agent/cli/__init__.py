"""The command line. Commands that must start fast are dispatched before click is imported."""

import gc
import os
import sys
from collections.abc import Callable

try:
    gc.disable()  # what is imported stays: looking for garbage in it would take a light command 5 % of its time
    from auth_agent_client import __version__ as __version__
except ImportError:  # both distributions have the package: uninstalling the client library's removed the agent's
    sys.exit(
        "auth-agent: its package auth_agent_client is missing; was the client library uninstalled from this "
        "environment?\n  install auth-agentd again, in an environment of its own"
    )

from auth_agent.cli import light
from auth_agent.cli.exits import ERROR, INTERRUPTED, USAGE, print_error
from auth_agent.cli.global_options import GlobalOptionError, Report, Verbosity, take
from auth_agent.cli.output import OUTPUT, lose_messages, name_output
from auth_agent.printable import printable

# As if what was imported had survived some collections already; else the first one would look at all of it.
gc.freeze()
gc.unfreeze()
gc.enable()


def main() -> int:
    """Run the command that the process's arguments name, and return its exit code; end the process if it is light."""
    return end(run_command(sys.argv[1:]))


def run_command(arguments: list[str]) -> int:
    """Run the command that the arguments name, and return its exit code."""
    return run_program(_run, arguments)


def end(code: int) -> int:
    """End the process with that exit code, after `run_program`; return it if click's commands were loaded.

    Those may have threads and handlers of the exit. A light program has neither, has written its output and closed its
    connections; that Python takes apart what it imported would take a sixth of its time.
    """
    if "auth_agent.cli.commands" not in sys.modules:
        os._exit(code)
    return code


def run_program(run: Callable[[list[str]], int], arguments: list[str]) -> int:
    """Run a program with its arguments, and return its exit code; what ends it is told in one line."""
    _open_closed_streams()
    name_output()
    lose_messages()
    try:
        code = run(arguments)
        sys.stdout.flush()
    except KeyboardInterrupt:
        return INTERRUPTED
    except OSError as error:  # that no command expects, or of standard output
        # The interpreter would flush once more, and report an error once more.
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        if not (isinstance(error, BrokenPipeError) and error.filename == OUTPUT):
            _print_os_error(error)
        return ERROR
    return code


def _print_os_error(error: OSError) -> None:
    """Print what the system said, of which file, and what helps."""
    from auth_agent import remedies  # noqa: PLC0415 -- a light command has no time for it, unless it failed

    name = error.filename if isinstance(error.filename, str) else None
    if name is None:
        print_error(str(error.strerror or error))
    else:
        print_error(f"{printable(name, 1000)}: {error.strerror}", remedies.for_file(error, name))


def _run(all_arguments: list[str]) -> int:
    report = Report()
    try:
        options = take(all_arguments)
    except GlobalOptionError as error:
        print_error(str(error))
        return USAGE
    Verbosity.quiet = options.quiet
    code = _dispatch(options.arguments)
    if options.verbose:
        report.write(code, sys.stderr.write)
    return code


def _dispatch(arguments: list[str]) -> int:
    if arguments and arguments[0] in light.COMMANDS:
        code: int = light.module(arguments[0]).main(arguments[1:])
        return code
    from auth_agent.cli import commands  # noqa: PLC0415 -- click and all it imports would double a light command's time

    return commands.main(arguments)


def _open_closed_streams() -> None:
    """Open /dev/null for each closed descriptor from 0 to 2, before a socket takes its number."""
    for descriptor, name in enumerate(("stdin", "stdout", "stderr")):
        if getattr(sys, name) is None:
            # A closed standard output is opened read-only: writing a token there must fail, not succeed silently.
            mode = os.O_RDONLY if name != "stderr" else os.O_WRONLY
            os.open(os.devnull, mode)  # takes the lowest free descriptor: this one, since those below are open by now
            setattr(sys, name, os.fdopen(descriptor, "w" if descriptor else "r", closefd=False))
