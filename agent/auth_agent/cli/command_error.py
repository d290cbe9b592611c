"""The error of a command, which is printed with its remedies, like an error of the agent."""

import click

from auth_agent_client.remedy import Remedy


class CommandError(click.ClickException):
    """A command failed; `remedy` says what helps."""

    def __init__(self, message: str, *remedy: Remedy) -> None:
        super().__init__(message)
        self.remedy = remedy
