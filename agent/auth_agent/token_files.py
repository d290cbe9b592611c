"""The rules of `[files]`: which token which file is to hold."""

import os
import re
from dataclasses import dataclass
from typing import Final

from auth_agent_client.errors import Misconfigured
from auth_agent_client.paths import default_directory

ACCESS: Final = "access"
ID: Final = "id"
KINDS: Final = (ACCESS, ID)

OWNER_ONLY: Final = 0o600
# The owner may write, the group may read: a token is for nobody else.
_MOST: Final = 0o640
_OWNER_READS: Final = 0o400
_OCTAL: Final = re.compile(r"0?[0-7]{3}")


@dataclass(frozen=True, slots=True)
class TokenFile:
    """A file that the agent keeps a token in, as long as there is one.

    `path` is absolute, and `key` is how the configuration has it. `kind` is one of `KINDS`. `audience` and `scope` are
    those of an access token; None: the account's. `command` is the user's own, which runs after each change.
    """

    key: str
    path: str
    account: str
    kind: str = ACCESS
    audience: str | None = None
    scope: str | None = None
    mode: int = OWNER_ONLY
    command: tuple[str, ...] = ()

    @property
    def is_default_directory(self) -> bool:
        """Whether it is in the agent's own directory, which the agent makes."""
        return not self.key.startswith(("/", "~"))


def read_path(key: str) -> str:
    """Return the absolute path of a file; a relative one is below the agent's directory of the session.

    Raises:
        ValueError: it can't be one.

    """
    if not key.isprintable() or not key.strip() or key.endswith("/"):
        raise ValueError("must be the path of a file, without control characters")
    if {".", ".."} & set(key.split("/")):
        raise ValueError("must be a path without . and ..")
    path = os.path.expanduser(key)  # noqa: PTH111 -- a string; `Path` raises for an unknown user
    if path.startswith("~"):
        raise ValueError("begins with the home directory of an unknown user")
    try:
        absolute = path if path.startswith("/") else f"{default_directory()}/{path}"
    except Misconfigured as error:
        raise ValueError(f"is relative, and {error.message}") from error
    return re.sub("/+", "/", absolute)


def read_mode(value: object) -> int:
    """Return the mode of a file from "0640" or 0o640.

    Raises:
        ValueError: it is not one, or gives others more than the group may have.

    """
    mode = int(value, 8) if isinstance(value, str) and _OCTAL.fullmatch(value) else value
    if isinstance(mode, bool) or not isinstance(mode, int) or mode & ~_MOST or not mode & _OWNER_READS:
        raise ValueError('must be "0600", or "0640" for a file that the group may read')
    return mode
