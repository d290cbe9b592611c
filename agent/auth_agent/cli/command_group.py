"""A group of commands: its help has whole sentences, and a mistyped command is answered with the right one."""

import click

from auth_agent.cli.suggestions import instead_of_command

_WHOLE = 1000  # characters; click cuts a summary after so many


class CommandGroup(click.Group):
    """A click group with these two differences."""

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """List the commands, with summaries that are wrapped and not cut."""
        commands = {name: self.get_command(ctx, name) for name in self.list_commands(ctx)}
        with formatter.section("Commands"):
            formatter.write_dl(
                [(name, command.get_short_help_str(_WHOLE)) for name, command in commands.items() if command]
            )

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Return the command that the arguments name; an error says what to type instead."""
        word = args[0]
        if not word.startswith("-") and self.get_command(ctx, word) is None:
            instead = instead_of_command(word, ctx.command_path, self.list_commands(ctx))
            raise click.UsageError(f"No such command '{word}'. {instead}".rstrip(), ctx)
        return super().resolve_command(ctx, args)
