"""A file of a person, replaced by an edited one."""

import os
import stat
import tempfile
from pathlib import Path


def replace_file(target: Path, content: bytes, new_mode: int) -> None:
    """Replace the file atomically: a crash leaves the old content or the new. Its mode stays; a new one has `new_mode`.

    Raises:
        OSError: it can't be written.

    """
    try:
        mode = stat.S_IMODE(target.stat().st_mode)
    except FileNotFoundError:
        mode = new_mode
    descriptor, name = tempfile.mkstemp(prefix=f".{target.name}.", dir=target.parent)
    try:
        with os.fdopen(descriptor, "wb") as file:
            os.fchmod(descriptor, mode)
            file.write(content)
            file.flush()
            os.fsync(descriptor)
        Path(name).replace(target)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise
    directory = os.open(target.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(directory)
    finally:
        os.close(directory)
