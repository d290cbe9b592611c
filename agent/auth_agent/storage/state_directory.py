"""The state directory: notes beside the store, never a secret, written so that a crash leaves the old or the new."""

import contextlib
import os
import stat
from pathlib import Path

import platformdirs

from auth_agent import remedies
from auth_agent.errors import StartupError


def state_path() -> Path:
    """Where the platform keeps a user's state: `$XDG_STATE_HOME/auth-agent`, `~/.local/state/auth-agent`."""
    return platformdirs.user_state_path("auth-agent")


def prepare(directory: Path) -> None:
    """Make the directory, for this user alone.

    Raises:
        StartupError: it can't be made, or is another user's.

    """
    try:
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        found = directory.stat()
        if found.st_uid != os.geteuid():
            raise StartupError(f"{directory} belongs to the user {found.st_uid}, not to you")
        if stat.S_IMODE(found.st_mode) & 0o077:
            directory.chmod(0o700)
    except OSError as error:
        raise StartupError(
            f"{directory} can't be used: {error.strerror}",
            remedies.set_variable("XDG_STATE_HOME"),
            remedies.run_in_memory(),
        ) from error


def read_note(path: Path) -> str | None:
    """A note's text; None when there is none.

    Raises:
        OSError: it is there, and can't be read.

    """
    try:
        return path.read_text("utf-8", "replace")
    except FileNotFoundError:
        return None


def write_note(path: Path, text: str) -> None:
    """Write a note; when this comes back it is on the disk, whatever happens to the machine.

    Raises:
        OSError: it isn't.

    """
    beside = path.with_name(f"{path.name}.new")
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)  # somebody may have "reset" it
    descriptor = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(text.encode())
            file.flush()
            os.fsync(file.fileno())
        beside.replace(path)
    except OSError:
        with contextlib.suppress(OSError):
            beside.unlink()
        raise
    directory = os.open(path.parent, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(directory)
    finally:
        os.close(directory)
