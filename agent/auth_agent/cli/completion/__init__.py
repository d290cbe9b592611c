"""`auth-agent completion`: print a shell's completion script, and answer that script.

A light command, since a shell runs it each time that TAB is pressed.
"""

import os
import sys

from auth_agent.cli.exits import OK
from auth_agent.cli.light import Arguments, Command, UsageError

SHELLS = ("bash", "zsh", "fish")
# A script calls `auth-agent completion --complete SHELL WORD...`; the last word is the one being typed.
_COMPLETE = "--complete"

COMMAND = Command(
    "completion",
    "Print a shell script that completes commands, options and accounts.",
    arguments="|".join(SHELLS),
    most=1,
    examples=('eval "$(auth-agent completion bash)"',),
)


def main(arguments: list[str]) -> int:
    """Run the command, and return its exit code."""
    if arguments[:1] == [_COMPLETE]:
        _complete(arguments[1:])
        return OK
    return COMMAND.run(arguments, _print)


def _print(arguments: Arguments) -> None:
    shell = arguments.first
    if shell is None:
        raise UsageError(f"Missing argument '{COMMAND.arguments}'.")
    if shell not in SHELLS:
        raise UsageError(f"Invalid value for '{COMMAND.arguments}': {shell!r} is not one of {', '.join(SHELLS)}.")
    with open(f"{os.path.dirname(__file__)}/auth-agent.{shell}", encoding="ascii") as script:  # noqa: PTH120, PTH123 -- pathlib would slow down the start
        sys.stdout.write(script.read())


def _complete(arguments: list[str]) -> None:
    """Print each candidate for the last word on a line; for zsh and fish with a tab and its help."""
    from auth_agent.cli.completion.accounts import account_names  # noqa: PLC0415 -- not needed to print the script
    from auth_agent.cli.completion.candidates import candidates, whole_words  # noqa: PLC0415 -- as above

    shell, words = arguments[0], arguments[1:]
    whole, lead = whole_words(words) if shell == "bash" else (words, "")
    for value, text in candidates(whole, account_names):
        shown = value.removeprefix(lead)
        sys.stdout.write(f"{shown}\n" if shell == "bash" else f"{shown}\t{text}\n")
