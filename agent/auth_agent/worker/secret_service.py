"""The Secret Service (GNOME Keyring, KWallet, KeePassXC), so that it never asks a person unless told to.

keyring's own backend unlocks what is locked whenever it is called, which shows a dialog; an agent that looks every few
seconds whether the keyring was unlocked would show it again and again.
"""

from collections.abc import Generator
from contextlib import ExitStack, closing, contextmanager
from typing import Final

import secretstorage
from keyring import errors
from keyring.backends import SecretService
from secretstorage import exceptions

from auth_agent.worker.failure import KeyringFailure
from auth_agent.worker.vocabulary import FAILED, MISSING

# The bus gave up on a service that had begun to answer: it is there.
_NO_REPLY: Final = "org.freedesktop.DBus.Error.NoReply"


class PatientKeyring(SecretService.Keyring):
    """The default collection, as long as it is unlocked."""

    def get_preferred_collection(self) -> secretstorage.Collection:
        """The default collection; keyring's methods call this, and close its connection.

        Raises:
            KeyringLocked: it is locked.
            KeyringFailure: there is none, or no service.

        """
        collection = _collection()
        with ExitStack() as end:
            end.callback(collection.connection.close)
            _check(collection)
            end.pop_all()
        return collection

    def unlock(self, item: secretstorage.Item) -> None:
        """Refuse a locked item; KeePassXC may ask a person, and answers once it has an answer."""
        _check(item)

    def ask(self) -> None:
        """Let the service ask for the keyring's password; comes back when it was given or refused.

        Raises:
            KeyringLocked: it is as locked as before.
            KeyringFailure: there is none, or no service.

        """
        collection = _collection()
        with closing(collection.connection):
            collection.unlock()
            _check(collection)


def _collection() -> secretstorage.Collection:
    """The default collection, on a connection of its own."""
    try:
        connection = secretstorage.dbus_init()
    except (exceptions.SecretStorageException, OSError, KeyError, RuntimeError, ValueError) as error:
        # The last two are said of an address that the library doesn't know how to use.
        raise KeyringFailure(MISSING, "there is no D-Bus session, and so no keyring") from error
    with ExitStack() as end, _told():
        end.callback(connection.close)
        collection = secretstorage.Collection(connection)
        end.pop_all()
    return collection


def _check(what: secretstorage.Collection | secretstorage.Item) -> None:
    with _told():
        if what.is_locked():
            raise errors.KeyringLocked


@contextmanager
def _told() -> Generator[None, None, None]:
    """Turns what the service raises into the words of this house."""
    try:
        yield
    except exceptions.ItemNotFoundException as error:
        raise KeyringFailure(MISSING, "the keyring service has no default keyring yet") from error
    except exceptions.SecretServiceNotAvailableException as error:
        if getattr(error.__cause__, "name", "") == _NO_REPLY:
            raise KeyringFailure(FAILED, "the keyring service went away while it was asked") from error
        raise KeyringFailure(MISSING, "there is no keyring service on the D-Bus session") from error
