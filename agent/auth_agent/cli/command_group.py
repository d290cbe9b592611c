"""A group of commands: its help has sections and whole sentences; a mistyped command is answered with the right one."""

from collections.abc import Mapping
from importlib import import_module
from typing import ClassVar

import click

from auth_agent.cli.suggestions import instead_of_command

_WHOLE = 1000  # characters; click cuts a summary after so many


class CommandGroup(click.Group):
    """A click group with these differences.

    `sections`: the commands by heading; all others are below the last one. `lazy`: commands that are imported on
    demand, to keep the others fast; each as `module:attribute`.
    """

    sections: ClassVar[Mapping[str, tuple[str, ...]]] = {}
    lazy: ClassVar[Mapping[str, str]] = {}

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the names of all commands."""
        return sorted([*super().list_commands(ctx), *self.lazy])

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Return the command of that name, None if there is none."""
        if cmd_name not in self.lazy:
            return super().get_command(ctx, cmd_name)
        module, _, attribute = self.lazy[cmd_name].partition(":")
        command: click.Command = getattr(import_module(module), attribute)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """List the commands, with summaries that are wrapped and not cut."""
        named = {name for names in self.sections.values() for name in names}
        others = tuple(name for name in self.list_commands(ctx) if name not in named)
        for heading, names in {**self.sections, "Commands": others}.items():
            commands = [(name, command) for name in names if (command := self.get_command(ctx, name)) is not None]
            if commands:
                with formatter.section(heading):
                    formatter.write_dl([(name, command.get_short_help_str(_WHOLE)) for name, command in commands])

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Return the command that the arguments name; an error says what to type instead."""
        word = args[0]
        if not word.startswith("-") and self.get_command(ctx, word) is None:
            instead = instead_of_command(word, ctx.command_path, self.list_commands(ctx))
            raise click.UsageError(f"No such command '{word}'. {instead}".rstrip(), ctx)
        return super().resolve_command(ctx, args)
