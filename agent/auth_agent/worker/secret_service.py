"""The Secret Service (GNOME Keyring, KWallet, KeePassXC), without dialogs unless `ask` is called.

The keyring library's own backend unlocks the keyring in each call, which shows a dialog. The agent checks every few
seconds whether the keyring was unlocked, and would show the dialog again and again.
"""

from collections.abc import Generator
from contextlib import ExitStack, closing, contextmanager
from importlib import import_module
from typing import Any, Final

import secretstorage
from keyring import errors
from keyring.backends import SecretService
from secretstorage import exceptions
from secretstorage.util import add_match_rules

from auth_agent.host.session_bus import session_bus_address
from auth_agent.worker.failure import CallFailure
from auth_agent.worker.vocabulary import FAILED, MISSING, NO_BUS

# The service disconnected before it replied: it exists.
_NO_REPLY: Final = "org.freedesktop.DBus.Error.NoReply"
# GNOME Keyring sometimes denies its default collection to a program that has just connected, and has it the next time.
_LOOKUPS: Final = 3


class PatientKeyring(SecretService.Keyring):
    """The default collection; a locked one raises instead of showing a dialog."""

    def get_preferred_collection(self) -> secretstorage.Collection:
        """Return the default collection. The base class calls this, and closes its connection.

        Raises:
            KeyringLocked: it is locked.
            CallFailure: there is none, or no service.

        """
        collection = _collection()
        with ExitStack() as end:
            end.callback(collection.connection.close)
            _check(collection)
            end.pop_all()
        return collection

    def unlock(self, item: secretstorage.Item) -> None:
        """Raise `KeyringLocked` for a locked item. KeePassXC may ask the user first, and replies after that."""
        _check(item)

    def ask(self) -> None:
        """Let the service ask the user for the keyring's password; return when the user has answered.

        Raises:
            KeyringLocked: it is still locked.
            CallFailure: there is none, or no service.

        """
        collection = _collection()
        with closing(collection.connection):
            collection.unlock()
            _check(collection)


def _collection() -> secretstorage.Collection:
    """Open the default collection on a new connection.

    By its own path, not by the alias's: GNOME Keyring (42 to 50) reads the alias in one thread when a call comes by
    that path, replaces it in another whenever a program connects, and aborts where the two meet: a locked keyring.
    """
    connection = _connection()
    with ExitStack() as end, _translated_errors():
        end.callback(connection.close)
        collection, lookups = None, 0
        while collection is None:
            lookups += 1
            try:
                collection = secretstorage.get_collection_by_alias(connection, "default")
            except exceptions.ItemNotFoundException:
                if lookups == _LOOKUPS:
                    raise
        end.pop_all()
    return collection


def _connection() -> Any:
    """Connect to the D-Bus session, wherever it is now; secretstorage's own way knows the variable alone."""
    blocking: Any = import_module("jeepney.io.blocking")  # it has no types
    with ExitStack() as end:
        try:
            connection = blocking.open_dbus_connection(session_bus_address() or "")
            end.callback(connection.close)
            add_match_rules(connection)
        except (exceptions.SecretStorageException, OSError, RuntimeError, ValueError) as error:
            # The last two are raised for a D-Bus address that the library can't parse, such as "".
            raise CallFailure(NO_BUS, "there is no D-Bus session, and so no keyring") from error
        end.pop_all()
    return connection


def _check(what: secretstorage.Collection | secretstorage.Item) -> None:
    with _translated_errors():
        if what.is_locked():
            raise errors.KeyringLocked


@contextmanager
def _translated_errors() -> Generator[None, None, None]:
    """Convert secretstorage's exceptions to `CallFailure`."""
    try:
        yield
    except exceptions.ItemNotFoundException as error:
        raise CallFailure(MISSING, "the keyring service has no default keyring yet") from error
    except exceptions.SecretServiceNotAvailableException as error:
        if getattr(error.__cause__, "name", "") == _NO_REPLY:
            raise CallFailure(FAILED, "the keyring service ended during the call") from error
        raise CallFailure(MISSING, "there is no keyring service on the D-Bus session") from error
