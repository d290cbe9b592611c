"""Commands that start without click, since programs and shells run them in loops.

Neither this module nor one in `COMMANDS` may import click, typing, dataclasses or re.
"""

import sys
from collections.abc import Callable
from types import ModuleType

from auth_agent.cli.exits import OK, USAGE, exit_code, print_error
from auth_agent.printable import printable
from auth_agent_client.errors import AgentError

# The module of each command: it has `COMMAND`, and `main`, which takes the arguments and returns the exit code.
COMMANDS = {
    "aws": "auth_agent.cli.aws",
    "completion": "auth_agent.cli.completion",
    "exec": "auth_agent.cli.exec",
    "header": "auth_agent.cli.header",
    "kubectl": "auth_agent.cli.kubectl",
    "token": "auth_agent.cli.token",
}


def module(name: str) -> ModuleType:
    """Import and return the module of a light command."""
    # Like `importlib.import_module`, without the import of importlib.
    return __import__(COMMANDS[name], fromlist=["main"])


class UsageError(Exception):
    """The command doesn't accept the arguments; the message is worded like click's."""


def seconds(string: str) -> float:
    """Parse an option's value as a number of seconds. Raises a `ValueError` if it is not one."""
    try:
        number = float(string)
    except ValueError:
        number = -1.0
    if not number >= 0:  # a NaN fails the comparison too
        raise ValueError(f"{string!r} is not a number of seconds.")
    return number


class Option:
    """An option: its `name`, the `metavar` of its value, and its help. Without a metavar it is a flag.

    `read` parses the value, and raises a `ValueError` with a sentence for the user.
    """

    __slots__ = ("help", "metavar", "name", "read")

    def __init__(self, name: str, metavar: str, description: str, *, read: Callable[[str], object] = str) -> None:
        self.name = name
        self.metavar = metavar
        self.help = description
        self.read = read

    @property
    def usage(self) -> str:
        """The option as the help shows it, such as `--audience TEXT`."""
        return f"{'-h, ' if self is HELP_OPTION else ''}{self.name} {self.metavar}".rstrip()


class Arguments:
    """The parsed arguments: the positional words, the values of the options, and the `command` after a `--`."""

    __slots__ = ("_values", "command", "words")

    def __init__(self, words: list[str], values: dict[str, object], command: list[str]) -> None:
        self.words = words
        self.command = command
        self._values = values

    @property
    def first(self) -> str | None:
        """The first positional argument; None if there is none."""
        return self.words[0] if self.words else None

    def string(self, option: str) -> str | None:
        """Return the option's value; None if it was not given."""
        value = self._values.get(option)
        return value if isinstance(value, str) else None

    def seconds(self, option: str) -> float | None:
        """Return the option's value; None if it was not given."""
        value = self._values.get(option)
        return value if isinstance(value, float) else None

    def flag(self, option: str) -> bool:
        """Return whether the flag was given."""
        return self._values.get(option) is True


HELP_OPTION = Option("--help", "", "Show this message and exit.")


class Command:
    """A light command: its name, help, arguments and options."""

    __slots__ = ("_examples", "_most", "_takes_command", "arguments", "name", "options", "summary")

    def __init__(
        self,
        name: str,
        summary: str,
        *,
        arguments: str = "",
        most: int = 0,
        options: tuple[Option, ...] = (),
        examples: tuple[str, ...] = (),
        takes_command: bool = False,
    ) -> None:
        """Declare a command.

        Args:
            name: its name.
            summary: one sentence, also for the list of commands.
            arguments: the positional arguments, as in a usage line, such as `[ACCOUNT]`.
            most: how many positional arguments it accepts.
            options: its options; `--help` is added.
            examples: command lines that show it in use.
            takes_command: whether a command may follow a `--`, rather than more positional arguments.

        """
        self.name = name
        self.summary = summary
        self.arguments = arguments
        self.options = (*options, HELP_OPTION)
        self._most = most
        self._examples = examples
        self._takes_command = takes_command

    @property
    def help(self) -> str:
        """The output of `--help`, laid out like click's."""
        width = max(len(option.usage) for option in self.options)
        usage = " ".join(filter(None, ("auth-agent", self.name, "[OPTIONS]", self.arguments)))
        return "\n".join(
            [
                f"Usage: {usage}\n",
                f"  {self.summary}\n",
                *(f"  Example: {example}\n" for example in self._examples),
                "Options:",
                *(f"  {option.usage:{width}}  {option.help}" for option in self.options),
                "",
            ]
        )

    def run(self, arguments: list[str], action: Callable[[Arguments], int | None]) -> int:
        """Call `action` with the parsed arguments, or print the help, and return the exit code: its own, or 0."""
        if not {"--help", "-h"}.isdisjoint(arguments[: _end_of_options(arguments)]):
            sys.stdout.write(self.help)
            return OK
        try:
            return action(self.parse(arguments)) or OK
        except UsageError as error:
            print_error(f"{error}\nTry 'auth-agent {self.name} --help' for help.")
            return USAGE
        except AgentError as error:
            print_error(printable(error.message, 1000), error.remedy)
            return exit_code(error)

    def parse(self, arguments: list[str]) -> Arguments:
        """Parse the arguments; options may stand anywhere before a `--`.

        Raises:
            UsageError: the command doesn't accept them.

        """
        options = {option.name: option for option in self.options}
        words: list[str] = []
        command: list[str] = []
        values: dict[str, object] = {}
        rest = iter(arguments)
        for argument in rest:
            if argument == "--":
                (command if self._takes_command else words).extend(rest)
                break
            name, equals, value = argument.partition("=")
            option = options.get(name)
            if option is None and not (argument.startswith("-") and argument != "-"):
                words.append(argument)
            elif option is None:
                raise UsageError(f"No such option: {name}")
            elif not option.metavar:
                if equals:
                    raise UsageError(f"Option '{name}' does not take a value.")
                values[name] = True
            else:
                values[name] = _value(option, value if equals else next(rest, None))
        if len(words) > self._most:
            raise UsageError(f"Got unexpected extra argument ({words[self._most]})")
        return Arguments(words, values, command)


def _end_of_options(arguments: list[str]) -> int:
    return arguments.index("--") if "--" in arguments else len(arguments)


def _value(option: Option, string: str | None) -> object:
    if string is None:
        raise UsageError(f"Option '{option.name}' requires an argument.")
    try:
        return option.read(string)
    except ValueError as error:
        raise UsageError(f"Invalid value for '{option.name}': {error}") from error
