"""The state directory: notes beside the store, without secrets, written atomically."""

import contextlib
import os
import stat
from pathlib import Path

from auth_agent import remedies
from auth_agent.errors import StartupError
from auth_agent.host.private_directory import ForeignDirectoryError, make_directory
from auth_agent_client.paths import state_directory


def state_path() -> Path:
    """Return the user's state directory; raise `Misconfigured` if an environment variable can't be used."""
    return Path(state_directory())


def log_path() -> Path:
    """Return the log of an agent in the background."""
    return state_path() / "agent.log"


def prepare(directory: Path) -> None:
    """Create the directory if it is missing, with mode 0700.

    Raises:
        StartupError: it can't be created, or belongs to another user.

    """
    try:
        make_directory(directory)
        status = directory.stat()
        if status.st_uid != os.geteuid():
            text = f"{directory} belongs to the user {status.st_uid}, not to you"
            raise StartupError(text, *remedies.for_path(directory))
        if stat.S_IMODE(status.st_mode) & 0o077:
            directory.chmod(0o700)
    except OSError as error:
        memory = () if isinstance(error, ForeignDirectoryError) else (remedies.run_in_memory(),)
        text = f"{directory} can't be used: {error.strerror}"
        raise StartupError(text, *remedies.for_file(error, directory), *memory) from error


def read_note(path: Path) -> str | None:
    """Return the content of a note, or None if the file does not exist.

    Raises:
        OSError: the file exists but can't be read.

    """
    try:
        return path.read_text("utf-8", "replace")
    except FileNotFoundError:
        return None


def write_note(path: Path, content: str) -> None:
    """Write a note atomically and durably: after a crash the file has the old content or the new one.

    Raises:
        OSError: the note could not be written; the old one stays.

    """
    beside = path.with_name(f"{path.name}.new")
    make_directory(path.parent)  # the user may have deleted it
    descriptor = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(content.encode())
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
