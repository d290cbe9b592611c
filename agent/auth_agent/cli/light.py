"""Commands that start without click, since programs and shells run them in loops: which there are, and what they share.

Imports no click, typing, dataclasses or re, and neither may a module in the table.
"""

import sys
from collections.abc import Callable
from types import ModuleType

from auth_agent.cli.exits import OK, USAGE, complain, exit_code
from auth_agent.printable import printable
from auth_agent_client.errors import AgentError

# Where each is: a module with `COMMAND`, and `main`, which takes the arguments and returns the exit code.
COMMANDS = {
    "completion": "auth_agent.cli.completion",
    "token": "auth_agent.cli.token",
}


def module(name: str) -> ModuleType:
    """The module of that light command."""
    # As `importlib.import_module` does, which is a module more to load.
    return __import__(COMMANDS[name], fromlist=["main"])


class UsageError(Exception):
    """The arguments are not what the command takes; the text says so as click would."""


def seconds(text: str) -> float:
    """The number of seconds that an option's value says. Raises a `ValueError` where it says none."""
    try:
        number = float(text)
    except ValueError:
        number = -1.0
    if not number >= 0:  # a NaN fails the comparison too
        raise ValueError(f"{text!r} is not a number of seconds.")
    return number


class Option:
    """An option: its `name`, what its value is called, and its help. Without a `metavar` it is a flag.

    `read` turns the text into the value, and raises a `ValueError` that says what is wrong with it.
    """

    __slots__ = ("help", "metavar", "name", "read")

    def __init__(self, name: str, metavar: str, text: str, *, read: Callable[[str], object] = str) -> None:
        self.name = name
        self.metavar = metavar
        self.help = text
        self.read = read

    @property
    def usage(self) -> str:
        """How it is written, such as `--audience TEXT`."""
        return f"{self.name} {self.metavar}".rstrip()


class Given:
    """The arguments of a call: those without a name, and the values of the options."""

    __slots__ = ("_values", "words")

    def __init__(self, words: list[str], values: dict[str, object]) -> None:
        self.words = words
        self._values = values

    @property
    def word(self) -> str | None:
        """The first argument without a name, None when there is none."""
        return self.words[0] if self.words else None

    def text(self, option: str) -> str | None:
        """That option's value, None when it was left out."""
        value = self._values.get(option)
        return value if isinstance(value, str) else None

    def seconds(self, option: str) -> float | None:
        """That option's value, None when it was left out."""
        value = self._values.get(option)
        return value if isinstance(value, float) else None

    def flag(self, option: str) -> bool:
        """Whether that option stands there."""
        return self._values.get(option) is True


HELP_OPTION = Option("--help", "", "Show this message and exit.")


class Command:
    """What a light command is called, says of itself, and takes."""

    __slots__ = ("_examples", "_most", "arguments", "name", "options", "summary")

    def __init__(
        self,
        name: str,
        summary: str,
        *,
        arguments: str = "",
        most: int = 0,
        options: tuple[Option, ...] = (),
        examples: tuple[str, ...] = (),
    ) -> None:
        """Declare a command.

        Args:
            name: its name.
            summary: one sentence, for the list of commands too.
            arguments: what it takes without a name, as a usage line has it, such as `[ACCOUNT]`.
            most: how many of those there may be.
            options: its options; `--help` is added.
            examples: command lines that show it in use.

        """
        self.name = name
        self.summary = summary
        self.arguments = arguments
        self.options = (*options, HELP_OPTION)
        self._most = most
        self._examples = examples

    @property
    def help(self) -> str:
        """What `--help` shows, laid out as click does it."""
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

    def run(self, arguments: list[str], action: Callable[[Given], None]) -> int:
        """Do that with the arguments, or show the help; the exit code."""
        if not {"--help", "-h"}.isdisjoint(arguments[: _end_of_options(arguments)]):
            sys.stdout.write(self.help)
            return OK
        try:
            action(self.parse(arguments))
        except UsageError as error:
            complain(f"{error}\nTry 'auth-agent {self.name} --help' for help.")
            return USAGE
        except AgentError as error:
            complain(printable(error.message, 1000), error.remedy)
            return exit_code(error)
        return OK

    def parse(self, arguments: list[str]) -> Given:
        """Read the arguments; options may stand anywhere before a `--`.

        Raises:
            UsageError: the command doesn't take them.

        """
        options = {option.name: option for option in self.options}
        words: list[str] = []
        values: dict[str, object] = {}
        rest = iter(arguments)
        for argument in rest:
            if argument == "--":
                words.extend(rest)
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
        return Given(words, values)


def _end_of_options(arguments: list[str]) -> int:
    return arguments.index("--") if "--" in arguments else len(arguments)


def _value(option: Option, text: str | None) -> object:
    if text is None:
        raise UsageError(f"Option '{option.name}' requires an argument.")
    try:
        return option.read(text)
    except ValueError as error:
        raise UsageError(f"Invalid value for '{option.name}': {error}") from error
