"""The error of a command, which is printed with its remedies, like an error of the agent."""

import click

from auth_agent.cli import exits
from auth_agent_client.remedy import Remedy


class CommandError(click.ClickException):
    """A command failed: `remedy` says what helps, and `code` is the command's exit code."""

    def __init__(self, message: str, *remedy: Remedy, code: int = exits.ERROR) -> None:
        super().__init__(message)
        self.remedy = remedy
        self.code = code
