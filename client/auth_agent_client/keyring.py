"""A backend of the keyring library: pip, uv and twine take an index's token for a password.

It has a password for a URL of `[hosts]` alone, and stores none. Anything else the other backends are asked for.
"""

import logging

from keyring import backend, credentials, errors

from .client import Agent
from .errors import AgentError, InvalidRequest
from .token import DEFAULT_USERNAME, Token
from .working_directory import working_directory

__all__ = ["AgentKeyring"]

_log = logging.getLogger(__name__)


class NotStoredError(NotImplementedError, errors.NoKeyringError):
    """The backend stores nothing: keyring then asks the next one, and if this is the only one, there is none."""


class AgentKeyring(backend.KeyringBackend):
    """Gives a URL that `[hosts]` has its token, to any program that asks keyring for the password."""

    # Above those that store passwords (5), so that an old one that was stored is not taken, and below the one that
    # asks all (10).
    priority = 9  # pyright: ignore[reportAssignmentType] -- a property of the class

    def get_password(self, service: str, username: str) -> str | None:
        """Return the token for a URL, None if it has no rule, or another user name."""
        token = _token(service)
        return token.access_token if token is not None and token.username in (None, username) else None

    def get_credential(self, service: str, username: str | None) -> credentials.Credential | None:
        """Return the user name and the token for a URL, None if it has no rule, or another user name."""
        token = _token(service)
        if token is None or (username is not None and token.username not in (None, username)):
            return None
        return credentials.SimpleCredential(username or token.username or DEFAULT_USERNAME, token.access_token)

    def set_password(self, service: str, username: str, password: str) -> None:  # noqa: ARG002 -- the base class's
        """Raise a `NotStoredError`."""
        raise NotStoredError("the agent stores no passwords")

    def delete_password(self, service: str, username: str) -> None:  # noqa: ARG002 -- as above
        """Raise a `NotStoredError`."""
        raise NotStoredError("the agent stores no passwords")


def _token(service: str) -> Token | None:
    """Return the token for a URL. None: there is none, and if the URL has a rule, the reason is logged."""
    if not service.startswith(("https://", "http://")):
        return None
    try:
        with Agent() as agent:
            return agent.token(url=service, directory=working_directory())
    except InvalidRequest:
        return None
    except AgentError as error:
        if error.failure != "unmapped":
            # No exception: it would keep every program from its own passwords.
            _log.warning("auth-agent: %s", "; ".join([error.message, *map(str, error.remedy)]))
        return None
