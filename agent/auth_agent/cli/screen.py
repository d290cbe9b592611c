"""What is said to a person, on standard error: standard output is for programs."""

import sys
from pathlib import Path

import click

from auth_agent.cli.terminal import Piece, Terminal, terminal


def say(text: str = "", style: str = "", *, whole: bool = False) -> None:
    """Write a text in that style of `Terminal`, in lines as wide as the terminal; of one that is `whole`, as it is."""
    look = terminal(sys.stderr)
    if look.width is None or whole:
        lines = [look.styled(text, style)]
    else:
        lines = [line for paragraph in text.split("\n") for line in _wrapped(paragraph, style, look)]
    for line in lines:
        click.echo(look.shown(line), err=True, color=look.colour)


def shown_path(path: Path) -> str:
    """A path as a person writes it."""
    try:
        return f"~/{path.relative_to(Path.home())}"
    except (ValueError, RuntimeError):  # elsewhere; or nobody knows where a home is
        return str(path)


def _wrapped(text: str, style: str, look: Terminal) -> list[str]:
    bare = text.lstrip()
    return look.wrap(text[: len(text) - len(bare)], [Piece(bare, style)])
