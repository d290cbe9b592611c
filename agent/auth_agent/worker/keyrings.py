"""The system keyring, as the worker calls it. Each call may block forever."""

import contextlib
import importlib
from collections.abc import Generator

from keyring import errors
from keyring.backend import KeyringBackend

from auth_agent.printable import printable
from auth_agent.worker.failure import CallFailure
from auth_agent.worker.vocabulary import FAILED, LOCKED, MISSING, SECRET_SERVICE


class Keyrings:
    """Keyrings by class name, each created when it is first used."""

    def __init__(self) -> None:
        self._keyrings: dict[str, KeyringBackend] = {}

    def read(self, backend: str, service: str, username: str) -> str | None:
        """Return the password of that username, or None if there is none.

        Raises:
            CallFailure: the keyring could not be read.

        """
        with _failures():
            try:
                return self._keyring(backend).get_password(service, username)
            except UnicodeDecodeError:
                return ""  # another program wrote it

    def write(self, backend: str, service: str, username: str, password: str) -> None:
        """Set the password of that username.

        Raises:
            CallFailure: it may not have been set.

        """
        with _failures():
            self._keyring(backend).set_password(service, username, password)  # pyright: ignore[reportUnknownMemberType] -- wrapped by the library, which types it so

    def delete(self, backend: str, service: str, username: str) -> None:
        """Delete the password of that username, if there is one.

        Raises:
            CallFailure: it may still be there.

        """
        with _failures():
            keyring = self._keyring(backend)
            # Backends raise different errors when there is nothing to delete.
            if keyring.get_password(service, username) is not None:
                keyring.delete_password(service, username)

    def ask(self, backend: str) -> None:
        """Ask the user to unlock the keyring, if the backend can ask.

        Raises:
            CallFailure: it is still locked.

        """
        with _failures():
            keyring = self._keyring(backend)
            ask = getattr(keyring, "ask", None)
            if ask is not None:
                ask()

    def _keyring(self, name: str) -> KeyringBackend:
        """Return the keyring of that class; the library's own choice might be a plaintext file."""
        if name not in self._keyrings:
            self._keyrings[name] = _secret_service() if name == SECRET_SERVICE else _create_keyring(name)
        return self._keyrings[name]


def _create_keyring(name: str) -> KeyringBackend:
    module, _, class_name = name.rpartition(".")
    keyring: object = getattr(importlib.import_module(module), class_name)()
    if not isinstance(keyring, KeyringBackend):
        raise CallFailure(MISSING, f"{name} is not a keyring backend")
    return keyring


def _secret_service() -> KeyringBackend:
    try:
        from auth_agent.worker.secret_service import PatientKeyring  # noqa: PLC0415 -- Linux's; imports cryptography
    except ImportError as error:
        raise CallFailure(MISSING, "the library for the Secret Service isn't installed") from error
    return PatientKeyring()  # type: ignore[no-untyped-call]  # keyring's constructors have no types


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
