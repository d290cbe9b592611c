"""A connection to the Secret Service, and the encrypted session on it.

Theory of operation. A service may end, and another one take its name, while the connection to the bus stays: each has
sessions of its own, so the owner of the name is compared before each use. KeePassXC asks the user per connection before
it shows an entry, so a connection is used for as long as it works.

A session may be bad: KWallet, and it alone, derives another key than its client for about one session in 130 (that of a
shared secret that begins with a zero byte, and some others). Whatever goes through such a session is read as garbage,
and stored as garbage. So a session that gives garbage is renewed, and what was written is read by another session:
through the bad one it would look as it should.
"""

from collections.abc import Generator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from importlib import import_module
from typing import Any, Final

import secretstorage
from secretstorage import exceptions
from secretstorage.defines import SS_PATH, SS_PREFIX
from secretstorage.util import (
    SERVICE_IFACE,
    DBusAddressWrapper,
    add_match_rules,
    exec_prompt,
    format_secret,
    open_session,
)

from auth_agent.host.session_bus import session_bus_address
from auth_agent.printable import printable
from auth_agent.worker.failure import CallFailure
from auth_agent.worker.keyring_program import program_of
from auth_agent.worker.vocabulary import FAILED, KEEPASSXC, KSECRETD, KWALLETD5, KWALLETD6, LOCKED, MISSING, NO_BUS

_DBusError: Any = import_module("jeepney").DBusErrorResponse  # it has no types

# The interfaces of what can be unlocked.
COLLECTION: Final = "Collection"
ITEM: Final = "Item"

_NAME: Final = "org.freedesktop.secrets"
_IS_LOCKED: Final = "org.freedesktop.Secret.Error.IsLocked"
# The service disconnected before it replied: it exists.
_NO_REPLY: Final = "org.freedesktop.DBus.Error.NoReply"
# No prompt, or no object: D-Bus has no empty path.
_NOTHING: Final = "/"
# GNOME Keyring sometimes denies its default collection to a program that has just connected, and has it the next time.
_LOOKUPS: Final = 3
# Seconds for a prompt that shows no dialog, which takes milliseconds; less than the parent waits for a call.
_PROMPT_LIMIT: Final = 2.5
# Seconds until a bus counts as missing; longer than the parent waits for a call, since one that hangs is there.
_BUS_LIMIT: Final = 10.0
# KWallet's own interface, by the service's program.
_KWALLET: Final[Mapping[str, tuple[str, str]]] = {
    KWALLETD5: ("org.kde.kwalletd5", "/modules/kwalletd5"),
    KWALLETD6: ("org.kde.kwalletd6", "/modules/kwalletd6"),
    KSECRETD: ("org.kde.kwalletd6", "/modules/kwalletd6"),
}


def _connection() -> Any:
    """Connect to the D-Bus session, wherever it is now; secretstorage's own way knows the variable alone."""
    blocking: Any = import_module("jeepney.io.blocking")  # it has no types
    with ExitStack() as end:
        try:
            connection = blocking.open_dbus_connection(session_bus_address() or "", auth_timeout=_BUS_LIMIT)
            end.callback(connection.close)
            add_match_rules(connection)
        except (exceptions.SecretStorageException, OSError, RuntimeError, ValueError) as error:
            # The last two are raised for a D-Bus address that the library can't parse, such as "".
            raise CallFailure(NO_BUS, "there is no D-Bus session, and so no keyring") from error
        end.pop_all()
    return connection


class SecretSession:
    """A connection to the service, with a session. Every method raises `CallFailure`, or an `OSError` of the bus."""

    def __init__(self) -> None:
        """Connect, and start the service if it does not run."""
        self.program = ""
        self._connection = _connection()
        try:
            with self._translated():
                self._service = DBusAddressWrapper(SS_PATH, SERVICE_IFACE, self._connection)
                self._session = open_session(self._connection)
                self._owner = self._name_owner()
                self.program = program_of(self._bus("GetConnectionUnixProcessID", self._owner))
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """Close the connection."""
        with suppress(OSError):
            self._connection.close()

    def is_current(self) -> bool:
        """Return whether the service is still the one that the session is of."""
        with self._translated():
            return bool(self._bus("NameHasOwner", _NAME)) and self._name_owner() == self._owner

    def renew(self) -> None:
        """Use another session on the same connection."""
        with self._translated():
            path, self._session = self._session.object_path, open_session(self._connection)
            DBusAddressWrapper(str(path), SS_PREFIX + "Session", self._connection).call("Close", "")

    # ---- collections and items, by their paths

    def default_collection(self) -> str:
        """Return the default collection.

        Its own path, not the alias's: GNOME Keyring (42 to 50) reads the alias in one thread when a call comes by that
        path, replaces it in another whenever a program connects, and aborts where the two meet: a locked keyring.
        """
        with self._translated():
            for _ in range(_LOOKUPS):
                (path,) = self._service.call("ReadAlias", "s", "default")
                if path != _NOTHING:
                    return str(path)
        raise self._failure(MISSING, "the keyring service has no default keyring yet")

    def search(self, attributes: Mapping[str, str]) -> tuple[list[str], list[str]]:
        """Return the items with those attributes in all collections: those that are unlocked, and the others."""
        with self._translated():
            if self.program != KEEPASSXC:
                unlocked, locked = self._service.call("SearchItems", "a{ss}", dict(attributes))
                return unlocked, locked
            # At that, KeePassXC asks the user to unlock each database.
            items = [
                item.item_path
                for path in self._service.get_property("Collections")
                if not self._is_locked(path, COLLECTION)
                for item in secretstorage.Collection(self._connection, path).search_items(dict(attributes))
            ]
            locked = [item for item in items if self._is_locked(item, ITEM)]
            return [item for item in items if item not in locked], locked

    def unlock(self, paths: Sequence[str], interface: str, *, ask: bool = False) -> bool:
        """Unlock collections or items; return whether all of them are unlocked.

        `Unlock` never shows a dialog: it returns a prompt that can. So a keyring without a password is open at once.
        A prompt that is not used ends with the connection. `Dismiss` would end it too, but at that GNOME Keyring (42)
        aborts while another program's dialog is open.

        Args:
            paths: the collections or the items.
            interface: COLLECTION or ITEM.
            ask: whether the service may ask the user.

        """
        with self._translated():
            if self._are_unlocked(paths, interface):
                return True
            _, prompt = self._service.call("Unlock", "ao", list(paths))
            if prompt != _NOTHING and (ask or all(self._is_open_wallet(path, interface) for path in paths)):
                with suppress(TimeoutError):
                    exec_prompt(self._connection, prompt, timeout=None if ask else _PROMPT_LIMIT)
            return self._are_unlocked(paths, interface)

    def secret(self, item: str) -> bytes:
        """Return an item's secret; it may be garbage, and is empty where even that can't be told."""
        with self._translated():
            try:
                return secretstorage.Item(self._connection, item, self._session).get_secret()
            except (ValueError, IndexError):  # not a whole number of blocks, or none
                return b""

    def set_secret(self, item: str, secret: bytes) -> None:
        """Set an item's secret."""
        with self._translated():
            secretstorage.Item(self._connection, item, self._session).set_secret(secret)

    def create_item(self, collection: str, label: str, attributes: Mapping[str, str], secret: bytes) -> None:
        """Create an item in that collection, beside those with the same attributes."""
        with self._translated():
            secret_of_session = format_secret(self._session, secret, "text/plain")
            properties = {
                SS_PREFIX + "Item.Label": ("s", label),
                SS_PREFIX + "Item.Attributes": ("a{ss}", dict(attributes)),
            }
            wrapper = DBusAddressWrapper(collection, SS_PREFIX + COLLECTION, self._connection)
            _, prompt = wrapper.call("CreateItem", "a{sv}(oayays)b", properties, secret_of_session, False)
            self._complete(prompt)

    def delete_item(self, item: str) -> None:
        """Delete an item."""
        with self._translated():
            (prompt,) = DBusAddressWrapper(item, SS_PREFIX + ITEM, self._connection).call("Delete", "")
            self._complete(prompt)

    # ---- how

    def _is_locked(self, path: str, interface: str) -> bool:
        return bool(DBusAddressWrapper(path, SS_PREFIX + interface, self._connection).get_property("Locked"))

    def _are_unlocked(self, paths: Sequence[str], interface: str) -> bool:
        return not any(self._is_locked(path, interface) for path in paths)

    def _complete(self, prompt: str) -> None:
        """Let a prompt do its work: KeePassXC returns one for each change, also where it shows no dialog."""
        if prompt == _NOTHING:
            return
        try:
            dismissed, _ = exec_prompt(self._connection, prompt, timeout=_PROMPT_LIMIT)
        except TimeoutError:
            dismissed = True
        if dismissed:
            raise self._failure(LOCKED, "the keyring asks the user before it changes the entry")

    def _is_open_wallet(self, path: str, interface: str) -> bool:
        """Return whether that is a collection of KWallet whose prompt shows no dialog, because the wallet is open."""
        if self.program not in _KWALLET or interface != COLLECTION:
            return False
        label = DBusAddressWrapper(path, SS_PREFIX + COLLECTION, self._connection).get_property("Label")
        name, wallets = _KWALLET[self.program]
        wrapper = DBusAddressWrapper(wallets, "org.kde.KWallet", self._connection)
        wrapper.bus_name = name
        try:
            return bool(wrapper.call("isOpen", "s", label)[0])
        except (exceptions.SecretStorageException, _DBusError):
            return False

    def _name_owner(self) -> str:
        return str(self._bus("GetNameOwner", _NAME))

    def _bus(self, method: str, name: str) -> Any:
        wrapper = DBusAddressWrapper("/org/freedesktop/DBus", "org.freedesktop.DBus", self._connection)
        wrapper.bus_name = "org.freedesktop.DBus"
        return wrapper.call(method, "s", name)[0]

    def _failure(self, kind: str, message: str) -> CallFailure:
        return CallFailure(kind, message, self.program)

    @contextmanager
    def _translated(self) -> Generator[None, None, None]:
        """Convert the exceptions of secretstorage and D-Bus to `CallFailure`."""
        try:
            yield
        except exceptions.LockedException as error:
            raise self._failure(LOCKED, "the keyring is locked") from error
        except exceptions.ItemNotFoundException as error:
            raise self._failure(FAILED, "the keyring changed during the call") from error
        except exceptions.SecretServiceNotAvailableException as error:
            if getattr(error.__cause__, "name", "") == _NO_REPLY:
                raise self._failure(FAILED, "the keyring service ended during the call") from error
            raise CallFailure(MISSING, "there is no keyring service on the D-Bus session") from error
        except _DBusError as error:
            if error.name == _IS_LOCKED:
                raise self._failure(LOCKED, "the keyring is locked") from error
            # The service's own words: they may name a library that it lacks.
            arguments: Any = error.data
            text = printable(arguments[0] if arguments else "")
            raise self._failure(FAILED, f"the keyring failed: {text or printable(error.name)}") from error
