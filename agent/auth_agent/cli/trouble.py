"""What a command could not do, and what helps: said with its remedies, as the agent's errors are."""

import click

from auth_agent_client.remedy import Remedy


class Trouble(click.ClickException):
    """A command's own failure; `remedy` is what helps."""

    def __init__(self, message: str, *remedy: Remedy) -> None:
        super().__init__(message)
        self.remedy = remedy
