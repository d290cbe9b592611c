"""What is said to a person, on standard error: standard output is for what was asked for."""

import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Final

import click

from auth_agent.cli.terminal import Piece, Terminal, columns, terminal
from auth_agent.printable import printable
from auth_agent_client.remedy import Remedy

_LONGEST: Final = 1000  # characters of what is said
_LONGEST_COMMAND: Final = 4096


def say(text: str = "", style: str = "", *, whole: bool = False) -> None:
    """Write a text in that style of `Terminal`, in lines as wide as the terminal; of one that is `whole`, as it is."""
    look = terminal(sys.stderr)
    if look.width is None or whole:
        lines = [look.styled(text, style)]
    else:
        lines = [line for paragraph in text.split("\n") for line in _wrapped(paragraph, style, look)]
    for line in lines:
        click.echo(look.shown(line), err=True, color=look.colour)


def say_error(text: str, remedy: Iterable[Remedy] = ()) -> None:
    """Say what went wrong, and below that what helps. Whatever the text says, a command is only in a remedy."""
    say(f"auth-agent: {printable(text, _LONGEST)}")
    say_remedies(remedy)


def say_remedies(remedy: Iterable[Remedy]) -> None:
    """Say what helps, a line each; a command that no line can hold stands on one of its own, to be copied whole."""
    look = terminal(sys.stderr)
    for one in remedy:
        text, line = printable(one.text, _LONGEST), printable(one.line, _LONGEST_COMMAND)
        if look.width is not None and columns(f"{_INDENT}{text}: {line}") > look.width:
            say(f"{_INDENT}{text}{':' if line else ''}")
            if line:
                say(f"{_INDENT}{_INDENT}{line}", "strong", whole=True)
        else:
            shown = f"{_INDENT}{text}: {look.styled(line, 'strong')}" if line else f"{_INDENT}{text}"
            say(shown, whole=True)


_INDENT: Final = "  "


def say_address(address: str) -> None:
    """Alone on its line, whole, however narrow the terminal is; on standard output where a program reads that."""
    if sys.stdout.isatty():
        say(address, "strong", whole=True)
    else:
        click.echo(address)


def show(lines: Iterable[str], look: Terminal, *, err: bool = False) -> None:
    """Write lines as they are: whether there are colours in them is decided already."""
    click.echo("\n".join(map(look.shown, lines)), err=err, color=True)


def shown_path(path: Path) -> str:
    """A path as a person writes it."""
    try:
        return f"~/{path.relative_to(Path.home())}"
    except (ValueError, RuntimeError):  # elsewhere; or nobody knows where a home is
        return str(path)


def _wrapped(text: str, style: str, look: Terminal) -> list[str]:
    bare = text.lstrip()
    return look.wrap(text[: len(text) - len(bare)], [Piece(bare, style)])
