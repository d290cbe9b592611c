"""Read a secret from a prompt or a descriptor: other users can read arguments and the environment."""

import os
import sys
from typing import Final

import click

# Bytes, more than any secret has; the descriptor may belong to an endless stream.
_MAX_LENGTH: Final = 65_536


def can_ask() -> bool:
    """Return whether a person can be prompted: standard input and error are a terminal."""
    return sys.stdin.isatty() and sys.stderr.isatty()


def prompt(label: str, option: str, *, twice: bool = False) -> str:
    """Prompt for a secret without echo, and return it as it was typed.

    Args:
        label: what is asked for, with a capital letter.
        option: the option that reads it from a descriptor, for a caller without a terminal.
        twice: whether it has to be typed again.

    """
    if not can_ask():
        raise click.UsageError(f"No terminal to prompt for the {label.lower()}: pass it with {option}.")
    again = f"{label} again" if twice else False
    secret: str = click.prompt(label, hide_input=True, err=True, confirmation_prompt=again)
    return secret


def read_descriptor(descriptor: int, what: str) -> str:
    """Return the text of a descriptor, read to its end; `what` it should be, for an error. It may be empty."""
    data = b""
    try:
        while len(data) <= _MAX_LENGTH and (more := os.read(descriptor, _MAX_LENGTH)):
            data += more
        text = data.decode()
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8"
        raise click.UsageError(f"Descriptor {descriptor} can't be read: {reason}.") from None
    if not text.strip() or len(data) > _MAX_LENGTH:
        raise click.UsageError(f"Descriptor {descriptor} has no {what}, or more than {_MAX_LENGTH} bytes.")
    return text
