"""The system keyring, as the worker calls it. Any of these calls may block for as long as it likes."""

import contextlib
import importlib
import os
from collections.abc import Generator
from pathlib import Path

from keyring import errors
from keyring.backend import KeyringBackend

from auth_agent.printable import printable
from auth_agent.worker.failure import KeyringFailure
from auth_agent.worker.vocabulary import FAILED, LOCKED, MISSING, SECRET_SERVICE


class Keyrings:
    """Keyrings by the names of their classes, each made when it is first called for."""

    def __init__(self) -> None:
        self._made: dict[str, KeyringBackend] = {}

    def read(self, backend: str, service: str, username: str) -> str | None:
        """The password of that name; None when there is none.

        Raises:
            KeyringFailure: it can't be told.

        """
        with _failures():
            try:
                return self._keyring(backend).get_password(service, username)
            except UnicodeDecodeError:
                return ""  # somebody put it there that isn't us

    def write(self, backend: str, service: str, username: str, password: str) -> None:
        """Keep a password under that name.

        Raises:
            KeyringFailure: it may not be kept.

        """
        with _failures():
            self._keyring(backend).set_password(service, username, password)  # pyright: ignore[reportUnknownMemberType] -- wrapped by the library, which types it so

    def delete(self, backend: str, service: str, username: str) -> None:
        """Keep none under that name.

        Raises:
            KeyringFailure: it may still be there.

        """
        with _failures():
            keyring = self._keyring(backend)
            # Each backend tells its own way that there was nothing to delete.
            if keyring.get_password(service, username) is not None:
                keyring.delete_password(service, username)

    def ask(self, backend: str) -> None:
        """Let the person be asked to unlock it, where there is somebody to ask.

        Raises:
            KeyringFailure: it is as locked as before.

        """
        with _failures():
            keyring = self._keyring(backend)
            ask = getattr(keyring, "ask", None)
            if ask is not None:
                ask()

    def _keyring(self, name: str) -> KeyringBackend:
        """The keyring of that class, by name: the library's own choice might be a file of plain text."""
        if name not in self._made:
            self._made[name] = _secret_service() if name == SECRET_SERVICE else _of_class(name)
        return self._made[name]


def _of_class(name: str) -> KeyringBackend:
    module, _, class_name = name.rpartition(".")
    found: object = getattr(importlib.import_module(module), class_name)()
    if not isinstance(found, KeyringBackend):
        raise KeyringFailure(MISSING, f"{name} is no keyring")
    return found


def _secret_service() -> KeyringBackend:
    address = "DBUS_SESSION_BUS_ADDRESS"
    runtime = os.environ.get("XDG_RUNTIME_DIR")
    if not os.environ.get(address) and runtime and Path(runtime, "bus").exists():
        # systemd's: a service, or a login by ssh, may lack the variable though the bus is there.
        os.environ[address] = f"unix:path={runtime}/bus"
    try:
        from auth_agent.worker.secret_service import PatientKeyring  # noqa: PLC0415 -- Linux's; imports cryptography
    except ImportError as error:
        raise KeyringFailure(MISSING, "the library for the Secret Service isn't installed") from error
    return PatientKeyring()  # type: ignore[no-untyped-call]  # keyring's constructors have no types


@contextlib.contextmanager
def _failures() -> Generator[None, None, None]:
    """Turns what a keyring raises into a `KeyringFailure`.

    Of an error that isn't the keyring library's, only the type is told: its text could hold what was to be kept.
    """
    try:
        yield
    except KeyringFailure:
        raise
    except errors.KeyringLocked as error:
        raise KeyringFailure(LOCKED, "the keyring is locked") from error
    except (errors.InitError, errors.NoKeyringError) as error:
        raise KeyringFailure(MISSING, printable(str(error))) from error
    except errors.KeyringError as error:
        raise KeyringFailure(FAILED, printable(str(error))) from error
    except Exception as error:
        raise KeyringFailure(FAILED, f"the keyring failed: {type(error).__name__}") from error
