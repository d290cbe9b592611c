"""Print messages for a person to standard error; standard output is for results."""

import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Final

import click

from auth_agent.cli.global_options import Verbosity
from auth_agent.cli.terminal import Piece, Terminal, columns, terminal_of
from auth_agent.printable import printable
from auth_agent_client.remedy import Remedy

_MAX_MESSAGE: Final = 1000  # characters of a message
_MAX_COMMAND: Final = 4096


def print_message(message: str = "", style: str = "", *, whole: bool = False) -> None:
    """Print a message in a style of `Terminal`, wrapped to the terminal's width unless it is `whole`.

    Like all but errors, results and URLs, it is not printed with `--quiet`.
    """
    if not Verbosity.quiet:
        _print(message, style, whole=whole)


def _print(message: str, style: str = "", *, whole: bool = False) -> None:
    terminal = terminal_of(sys.stderr)
    if terminal.width is None or whole:
        lines = [terminal.styled(message, style)]
    else:
        lines = [line for paragraph in message.split("\n") for line in _wrapped(paragraph, style, terminal)]
    for line in lines:
        click.echo(terminal.shown(line), err=True, color=terminal.colour)


def print_error_message(message: str, remedy: Iterable[Remedy] = ()) -> None:
    """Print an error, and below it the remedies: only they contain commands to run."""
    _print(f"auth-agent: {printable(message, _MAX_MESSAGE)}")
    _print_remedies(remedy)


def print_click_error(error: click.ClickException) -> None:
    """Print an error that was raised as click's, which may have several lines."""
    _print(f"auth-agent: {error.format_message()}")


def print_remedies(remedy: Iterable[Remedy]) -> None:
    """Print each remedy on a line; a command that doesn't fit has its own line, to be copied whole."""
    if not Verbosity.quiet:
        _print_remedies(remedy)


def _print_remedies(remedy: Iterable[Remedy]) -> None:
    terminal = terminal_of(sys.stderr)
    for item in remedy:
        text, command = printable(item.text, _MAX_MESSAGE), printable(item.line, _MAX_COMMAND)
        if terminal.width is not None and columns(f"{_INDENT}{text}: {command}") > terminal.width:
            _print(f"{_INDENT}{text}{':' if command else ''}")
            if command:
                _print(f"{_INDENT}{_INDENT}{command}", "strong", whole=True)
        else:
            shown = f"{_INDENT}{text}: {terminal.styled(command, 'strong')}" if command else f"{_INDENT}{text}"
            _print(shown, whole=True)


_INDENT: Final = "  "


def print_url(url: str) -> None:
    """Print a URL unwrapped on its own line; to standard output if that is not a terminal, for a program."""
    if sys.stdout.isatty():
        _print(url, "strong", whole=True)
    else:
        click.echo(url)


def print_lines(lines: Iterable[str], terminal: Terminal, *, err: bool = False) -> None:
    """Print lines that are already wrapped and coloured; `err`: to standard error, since they are not the result."""
    if err and Verbosity.quiet:
        return
    click.echo("\n".join(map(terminal.shown, lines)), err=err, color=True)


def shown_path(path: Path) -> str:
    """Return the path with `~` for the home directory."""
    try:
        return f"~/{path.relative_to(Path.home())}"
    except (ValueError, RuntimeError):  # the path is elsewhere, or there is no home directory
        return str(path)


def _wrapped(text: str, style: str, terminal: Terminal) -> list[str]:
    bare = text.lstrip()
    return terminal.wrap(text[: len(text) - len(bare)], [Piece(bare, style)])
