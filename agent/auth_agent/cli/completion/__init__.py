"""`auth-agent completion`: the script that makes a shell complete this command line, and what that script asks.

A light command: a shell runs it each time that TAB is pressed.
"""

import os
import sys

from auth_agent.cli.exits import OK
from auth_agent.cli.light import Command, Given, UsageError

SHELLS = ("bash", "zsh", "fish")
# What a script calls: `auth-agent completion --complete SHELL WORD...`, up to the word that is being written.
_COMPLETE = "--complete"

COMMAND = Command(
    "completion",
    "Print the script by which a shell completes commands, options and accounts.",
    arguments="|".join(SHELLS),
    most=1,
    examples=('eval "$(auth-agent completion bash)"',),
)


def main(arguments: list[str]) -> int:
    """Run the command; its exit code."""
    if arguments[:1] == [_COMPLETE]:
        _complete(arguments[1:])
        return OK
    return COMMAND.run(arguments, _print)


def _print(given: Given) -> None:
    shell = given.word
    if shell is None:
        raise UsageError(f"Missing argument '{COMMAND.arguments}'.")
    if shell not in SHELLS:
        raise UsageError(f"Invalid value for '{COMMAND.arguments}': {shell!r} is none of {', '.join(SHELLS)}.")
    with open(f"{os.path.dirname(__file__)}/auth-agent.{shell}", encoding="ascii") as script:  # noqa: PTH120, PTH123 -- pathlib would slow the start down
        sys.stdout.write(script.read())


def _complete(arguments: list[str]) -> None:
    """Print what may stand in place of the last word, a line each; with a tab and its help, but for bash."""
    from auth_agent.cli.completion.accounts import account_names  # noqa: PLC0415 -- printing the script does without
    from auth_agent.cli.completion.candidates import candidates, whole_words  # noqa: PLC0415 -- as above

    shell, words = arguments[0], arguments[1:]
    whole, lead = whole_words(words) if shell == "bash" else (words, "")
    for value, text in candidates(whole, account_names):
        shown = value.removeprefix(lead)
        sys.stdout.write(f"{shown}\n" if shell == "bash" else f"{shown}\t{text}\n")
