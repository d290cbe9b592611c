"""The command line. What must start fast is dispatched before click is imported."""

import os
import sys

from auth_agent.cli import light
from auth_agent.cli.exits import ERROR, INTERRUPTED, complain


def main() -> int:
    """Run the command that the arguments name; its exit code."""
    arguments = sys.argv[1:]
    _open_what_is_closed()
    try:
        code = _run(arguments)
        sys.stdout.flush()
    except KeyboardInterrupt:
        return INTERRUPTED
    except OSError as error:  # of standard output: what else can fail has an answer of its own
        # The interpreter would flush once more, and complain once more.
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        if not isinstance(error, BrokenPipeError):
            complain(f"standard output: {error.strerror}")
        return ERROR
    return code


def _run(arguments: list[str]) -> int:
    if arguments and arguments[0] in light.COMMANDS:
        code: int = light.module(arguments[0]).main(arguments[1:])
        return code
    from auth_agent.cli import commands  # noqa: PLC0415 -- click and all it imports would double a light command's time

    return commands.main(arguments)


def _open_what_is_closed() -> None:
    """Give the descriptors 0 to 2 something to be, before a socket becomes one of them."""
    for descriptor, name in enumerate(("stdin", "stdout", "stderr")):
        if getattr(sys, name) is None:
            # For a closed standard output, one that can't be written to: a token must not vanish without a word.
            mode = os.O_RDONLY if name != "stderr" else os.O_WRONLY
            os.open(os.devnull, mode)  # the lowest that is free: this one, since those below are open by now
            setattr(sys, name, os.fdopen(descriptor, "w" if descriptor else "r", closefd=False))
