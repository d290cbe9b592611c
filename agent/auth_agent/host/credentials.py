"""Credentials that a service manager passes: systemd.exec(5), `LoadCredential=`."""

import os
from pathlib import Path
from typing import Final

from auth_agent.secret import Secret

_VARIABLE: Final = "CREDENTIALS_DIRECTORY"
_MAX_LENGTH: Final = 65_536  # bytes


class CredentialError(Exception):
    """The credential can't be used; the message says why (printable)."""


def credential(name: str) -> Secret | None:
    """Return the credential of that name, without a newline at its end; None if none was passed.

    Raises:
        CredentialError: it can't be read, or is not text.

    """
    directory = os.environ.get(_VARIABLE)
    if not directory:
        return None
    try:
        with Path(directory, name).open("rb") as file:
            data = file.read(_MAX_LENGTH + 1)
        text = data.decode()
    except FileNotFoundError:
        return None
    except OSError as error:
        raise CredentialError(f"the credential {name} can't be read: {error.strerror}") from error
    except UnicodeDecodeError:
        raise CredentialError(f"the credential {name} is not UTF-8") from None
    if len(data) > _MAX_LENGTH:
        raise CredentialError(f"the credential {name} is too long")
    return Secret(text.removesuffix("\n"))
