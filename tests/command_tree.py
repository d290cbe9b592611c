"""Creates completion's tree of commands from the real ones: `make command-tree` writes it.

Completion must not import click, so the tree is stored in the package.
"""

import inspect
from pathlib import Path
from typing import Final

import click

from auth_agent.cli import completion, light
from auth_agent.cli.commands import cli
from auth_agent.cli.light import HELP_OPTION, Command

Node = tuple[str, str, dict[str, tuple[str, str]]]

FILE: Final = Path(completion.__file__).parent / "tree.py"
HEAD: Final = '''"""All commands, written by `make command-tree` for completion, which does without click.

By its name each has a summary, its arguments, and its options with their values' names ("": none) and help.
"""

TREE: dict[str, tuple[str, str, dict[str, tuple[str, str]]]] = '''


def tree() -> dict[str, Node]:
    """Return the commands, arguments and options of the command line."""
    return dict(_nodes(cli, ""))


def _nodes(command: click.Command, path: str) -> list[tuple[str, Node]]:
    if path in light.COMMANDS:
        return [(path, _light(light.module(path).COMMAND))]
    nodes = [(path, _node(command))]
    if isinstance(command, click.Group):
        context = click.Context(command)
        for name in command.list_commands(context):
            below = command.get_command(context, name)
            assert below is not None
            nodes.extend(_nodes(below, f"{path} {name}".lstrip()))
    return nodes


def _light(command: Command) -> Node:
    options = {option.name: (option.metavar, option.help) for option in command.options}
    return command.summary, _bare(command.arguments), options


def _node(command: click.Command) -> Node:
    options: dict[str, tuple[str, str]] = {}
    arguments: list[str] = []
    for parameter in command.params:
        if isinstance(parameter, click.Option):
            metavar = "" if parameter.is_flag else parameter.metavar or _choices(parameter) or "TEXT"
            for name in (*parameter.opts, *parameter.secondary_opts):
                options[name] = (metavar, parameter.help or "")
        else:
            arguments.append(_bare(parameter.metavar or _choices(parameter) or (parameter.name or "").upper()))
    options[HELP_OPTION.name] = (HELP_OPTION.metavar, HELP_OPTION.help)
    summary, _, _ = inspect.cleandoc(command.help or "").partition("\n\n")
    return " ".join(summary.split()), " ".join(arguments), options


def _choices(parameter: click.Parameter) -> str:
    return "|".join(map(str, parameter.type.choices)) if isinstance(parameter.type, click.Choice) else ""


def _bare(metavar: str) -> str:
    return metavar.replace("[", "").replace("]", "")


if __name__ == "__main__":
    FILE.write_text(f"{HEAD}{tree()!r}\n", "utf-8")
