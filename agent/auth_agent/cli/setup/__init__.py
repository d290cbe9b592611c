"""`auth-agent setup`: let other tools get their tokens from the agent, and undo that."""

from importlib import import_module
from typing import Final

import click

from auth_agent.cli.command_group import CommandGroup

_TOOLS: Final = {
    "cargo": "auth_agent.cli.setup.cargo:cargo",
    "docker": "auth_agent.cli.setup.docker:docker",
    "git": "auth_agent.cli.setup.git:git",
    "kubectl": "auth_agent.cli.setup.kubectl:kubectl",
    "pip": "auth_agent.cli.setup.pip:pip",
    "pnpm": "auth_agent.cli.setup.pnpm:pnpm",
}


class _Tools(CommandGroup):
    """The tools, of which each has its module."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return sorted([*super().list_commands(ctx), *_TOOLS])

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in _TOOLS:
            return super().get_command(ctx, cmd_name)
        module, _, attribute = _TOOLS[cmd_name].partition(":")
        command: click.Command = getattr(import_module(module), attribute)
        return command


@click.group(cls=_Tools)
def setup() -> None:
    """Let another tool get its tokens from the agent; --undo takes that back."""
