"""The note of the store in use: the name of the persistent store that the next agent uses, too."""

import json
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from auth_agent.json_object import parse_object
from auth_agent.storage.state_directory import read_note, write_note

_VERSION: Final = 1


class StoreNoteError(ValueError):
    """The note has no store in it; the message is a predicate that follows the note's path."""


class StoreNote:
    """The note in a state directory; it may not exist yet."""

    def __init__(self, state_path: Path) -> None:
        self.path: Final = state_path / "store-in-use.json"

    def read(self) -> str | None:
        """Return the noted name, which may not be a store's; None if there is no note.

        Raises:
            OSError: the note can't be read.
            ValueError: it is not valid; the message is a predicate that follows the note's path.

        """
        content = read_note(self.path)
        if content is None:
            return None
        note = parse_object(content)
        name = note.get("store")
        if note.get("version") != _VERSION or not isinstance(name, str):
            raise StoreNoteError("is not a note that this version can read")
        return name

    def write(self, name: str) -> None:
        """Note that store, atomically and durably.

        Raises:
            OSError: it could not be written; the old note stays.

        """
        write_note(self.path, _content(name))

    @contextmanager
    def replaced(self, name: str) -> Generator[None, None, None]:
        """Note that store; if the block fails, the note is as before.

        Raises:
            OSError: it could not be written, and the block was not run.

        """
        before = read_note(self.path)
        if before != _content(name):
            self.write(name)
        try:
            yield
        except BaseException:
            if before is None:
                self.path.unlink(missing_ok=True)
            elif before != _content(name):
                write_note(self.path, before)
            raise


def _content(name: str) -> str:
    return json.dumps({"version": _VERSION, "store": name})
