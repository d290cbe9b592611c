"""A configuration file of another tool: read, and replaced by an edited one with the same mode."""

from pathlib import Path
from typing import Final

from auth_agent import remedies
from auth_agent.cli.command_error import CommandError
from auth_agent.host.private_directory import make_directory
from auth_agent.host.replaced_file import replace_file

_NEW_MODE: Final = 0o600


def read(path: Path) -> str:
    """Return the content of the file, "" if there is none. Raises a `CommandError` if it can't be read."""
    try:
        return path.read_bytes().decode()
    except FileNotFoundError:
        return ""
    except OSError as error:
        raise CommandError(f"{path} can't be read: {error.strerror}", *remedies.for_file(error, path)) from error
    except UnicodeDecodeError as error:
        raise CommandError(f"{path} can't be read: it is not UTF-8") from error


def write(path: Path, text: str, new_mode: int = _NEW_MODE) -> None:
    """Replace the file, or where a link points, atomically; a new one has that mode.

    Raises:
        CommandError: it can't be written; it is unchanged.

    """
    try:
        target = path.resolve()
        make_directory(target.parent)
        replace_file(target, text.encode(), new_mode)
    except OSError as error:
        raise CommandError(f"{path} can't be written: {error.strerror}", *remedies.for_file(error, path)) from error
