"""The options by which a command gets a client secret."""

from collections.abc import Callable
from functools import wraps
from typing import Any

import click

from auth_agent.cli.secret_input import prompt, read_descriptor


def client_secret_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add the options to a command, which receives `client_secret`, a string or None."""

    @wraps(command)
    def with_secret(*, ask_for_secret: bool, secret_descriptor: int | None, **arguments: object) -> object:
        if ask_for_secret and secret_descriptor is not None:
            raise click.UsageError("Use either --client-secret or --client-secret-fd, not both.")
        secret = None
        if secret_descriptor is not None:
            secret = read_descriptor(secret_descriptor, "client secret").strip()
        elif ask_for_secret:
            secret = ask()
        return command(client_secret=secret, **arguments)

    for option in (
        click.option(
            "--client-secret-fd",
            "secret_descriptor",
            type=click.IntRange(min=0),
            metavar="FD",
            help="Read the client secret from this file descriptor until its end.",
        ),
        click.option("--client-secret", "ask_for_secret", is_flag=True, help="Prompt for the client secret."),
    ):
        with_secret = option(with_secret)
    return with_secret


def ask() -> str:
    """Prompt for the client secret without echo, and return it."""
    return prompt("Client secret", "--client-secret-fd").strip()
