"""`auth-agent setup`: let other tools get their tokens from the agent, and undo that."""

from collections.abc import Mapping
from typing import ClassVar

import click

from auth_agent.cli.command_group import CommandGroup


class _Tools(CommandGroup):
    """The tools, of which each has its module."""

    lazy: ClassVar[Mapping[str, str]] = {
        "cargo": "auth_agent.cli.setup.cargo:cargo",
        "docker": "auth_agent.cli.setup.docker:docker",
        "git": "auth_agent.cli.setup.git:git",
        "kubectl": "auth_agent.cli.setup.kubectl:kubectl",
        "pip": "auth_agent.cli.setup.pip:pip",
        "pnpm": "auth_agent.cli.setup.pnpm:pnpm",
    }


@click.group(cls=_Tools)
def setup() -> None:
    """Let another tool get its tokens from the agent; --undo takes that back."""
