"""The system keyring, as the worker calls it. Each call may block forever."""

import contextlib
import importlib
from collections.abc import Generator
from typing import Protocol

from keyring import errors
from keyring.backend import KeyringBackend

from auth_agent.printable import printable
from auth_agent.worker.failure import CallFailure
from auth_agent.worker.vocabulary import FAILED, LOCKED, MISSING, SECRET_SERVICE


class Keyring(Protocol):
    """A keyring, as the Secret Service and the keyring library's backends are called."""

    def read(self, service: str, username: str) -> list[str]:
        """Return the entries of that username; usually there is one at most."""
        ...

    def write(self, service: str, username: str, entry: str) -> None:
        """Write the entry of that username."""
        ...

    def delete(self, service: str, username: str) -> bool:
        """Delete all entries of that username; return whether there was one."""
        ...

    def ask(self) -> None:
        """Ask the user to unlock the keyring, if it can ask."""
        ...


class Keyrings:
    """Keyrings by class name, each created when it is first used. Each call may raise a `CallFailure`."""

    def __init__(self) -> None:
        self._keyrings: dict[str, Keyring] = {}

    def entries(self, backend: str, service: str, username: str) -> list[str]:
        """Return the entries of that username."""
        with _failures():
            return self._keyring(backend).read(service, username)

    def read(self, backend: str, service: str, username: str) -> str | None:
        """Return the first entry of that username: an agent that was started before an upgrade calls this."""
        return next(iter(self.entries(backend, service, username)), None)

    def write(self, backend: str, service: str, username: str, password: str) -> None:
        """Write the entry of that username."""
        with _failures():
            self._keyring(backend).write(service, username, password)

    def delete(self, backend: str, service: str, username: str) -> bool:
        """Delete the entries of that username; return whether there was one."""
        with _failures():
            return self._keyring(backend).delete(service, username)

    def ask(self, backend: str) -> None:
        """Ask the user to unlock the keyring, if the backend can ask."""
        with _failures():
            self._keyring(backend).ask()

    def _keyring(self, name: str) -> Keyring:
        """Return the keyring of that class; the library's own choice might be a plaintext file."""
        if name not in self._keyrings:
            self._keyrings[name] = _secret_service() if name == SECRET_SERVICE else _create_keyring(name)
        return self._keyrings[name]


class LibraryKeyring:
    """A backend of the keyring library, such as that of macOS."""

    def __init__(self, backend: KeyringBackend) -> None:
        self._backend = backend

    def read(self, service: str, username: str) -> list[str]:
        """Return the password of that username, if there is one."""
        try:
            password = self._backend.get_password(service, username)
        except UnicodeDecodeError:
            return [""]  # another program wrote it
        return [] if password is None else [password]

    def write(self, service: str, username: str, entry: str) -> None:
        """Set the password of that username."""
        self._backend.set_password(service, username, entry)  # pyright: ignore[reportUnknownMemberType] -- wrapped by the library, which types it so

    def delete(self, service: str, username: str) -> bool:
        """Delete the password of that username, and check that it is gone; return whether there was one."""
        # Backends raise different errors when there is nothing to delete.
        if not self.read(service, username):
            return False
        self._backend.delete_password(service, username)
        if self.read(service, username):
            raise CallFailure(FAILED, "the keyring still has an entry that was deleted")
        return True

    def ask(self) -> None:
        """Do nothing: each call asks."""


def _create_keyring(name: str) -> Keyring:
    module, _, class_name = name.rpartition(".")
    backend: object = getattr(importlib.import_module(module), class_name)()
    if not isinstance(backend, KeyringBackend):
        raise CallFailure(MISSING, f"{name} is not a keyring backend")
    return LibraryKeyring(backend)


def _secret_service() -> Keyring:
    try:
        from auth_agent.worker.secret_service import SecretService  # noqa: PLC0415 -- Linux's; imports cryptography
    except ImportError as error:
        raise CallFailure(MISSING, "the library for the Secret Service isn't installed") from error
    return SecretService()


@contextlib.contextmanager
def _failures() -> Generator[None, None, None]:
    """Convert exceptions to `CallFailure`.

    Of an unexpected exception only the type is reported: its message could hold the secret.
    """
    try:
        yield
    except CallFailure:
        raise
    except errors.KeyringLocked as error:
        raise CallFailure(LOCKED, "the keyring is locked") from error
    except (errors.InitError, errors.NoKeyringError) as error:
        raise CallFailure(MISSING, printable(str(error))) from error
    except errors.KeyringError as error:
        raise CallFailure(FAILED, printable(str(error))) from error
    except Exception as error:
        raise CallFailure(FAILED, f"the keyring failed: {type(error).__name__}") from error
