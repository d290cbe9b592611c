"""A client's secret, from a person or a descriptor: not from an argument or the environment, which others can read."""

import os
import sys
from collections.abc import Callable
from functools import wraps
from typing import Any, Final

import click

# More than any secret; a descriptor may lead to something that never ends.
_LONGEST: Final = 65_536


def client_secret_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Give a command those options; it gets `client_secret`, a text or None."""

    @wraps(command)
    def read(*, ask_for_secret: bool, secret_descriptor: int | None, **given: object) -> object:
        if ask_for_secret and secret_descriptor is not None:
            raise click.UsageError("--client-secret asks for it, and --client-secret-fd reads it: give one of them.")
        secret = None
        if secret_descriptor is not None:
            secret = _read(secret_descriptor)
        elif ask_for_secret:
            secret = ask()
        return command(client_secret=secret, **given)

    for option in (
        click.option(
            "--client-secret-fd",
            "secret_descriptor",
            type=click.IntRange(min=0),
            metavar="FD",
            help="Read the client's secret from that descriptor, to its end.",
        ),
        click.option(
            "--client-secret", "ask_for_secret", is_flag=True, help="Ask for the client's secret, where it has one."
        ),
    ):
        read = option(read)
    return read


def can_ask() -> bool:
    """Whether there is a person to ask."""
    return sys.stdin.isatty() and sys.stderr.isatty()


def ask() -> str:
    """Let a person enter it, unseen."""
    if not can_ask():
        raise click.UsageError("There is nobody here to ask for the client's secret: give it by --client-secret-fd.")
    secret: str = click.prompt("Client secret", hide_input=True, err=True)
    return secret.strip()


def _read(descriptor: int) -> str:
    read = b""
    try:
        while len(read) <= _LONGEST and (more := os.read(descriptor, _LONGEST)):
            read += more
        secret = read.decode().strip()
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is no text"
        raise click.UsageError(f"Descriptor {descriptor} can't be read: {reason}.") from None
    if not secret or len(read) > _LONGEST:
        raise click.UsageError(f"There is no secret on descriptor {descriptor}.")
    return secret
