"""Read a client secret from a prompt or a descriptor: other users can read arguments and the environment."""

import os
import sys
from collections.abc import Callable
from functools import wraps
from typing import Any, Final

import click

# Bytes, more than any secret has; the descriptor may belong to an endless stream.
_MAX_LENGTH: Final = 65_536


def client_secret_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add the options to a command, which receives `client_secret`, a string or None."""

    @wraps(command)
    def with_secret(*, ask_for_secret: bool, secret_descriptor: int | None, **arguments: object) -> object:
        if ask_for_secret and secret_descriptor is not None:
            raise click.UsageError("Use either --client-secret or --client-secret-fd, not both.")
        secret = None
        if secret_descriptor is not None:
            secret = _read(secret_descriptor)
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


def can_ask() -> bool:
    """Return whether a person can be prompted: standard input and error are a terminal."""
    return sys.stdin.isatty() and sys.stderr.isatty()


def ask() -> str:
    """Prompt for the client secret without echo, and return it."""
    if not can_ask():
        raise click.UsageError("No terminal to prompt for the client secret: pass it with --client-secret-fd.")
    secret: str = click.prompt("Client secret", hide_input=True, err=True)
    return secret.strip()


def _read(descriptor: int) -> str:
    data = b""
    try:
        while len(data) <= _MAX_LENGTH and (more := os.read(descriptor, _MAX_LENGTH)):
            data += more
        secret = data.decode().strip()
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8"
        raise click.UsageError(f"Descriptor {descriptor} can't be read: {reason}.") from None
    if not secret or len(data) > _MAX_LENGTH:
        raise click.UsageError(f"Descriptor {descriptor} has no client secret, or more than {_MAX_LENGTH} bytes.")
    return secret
