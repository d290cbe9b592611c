"""Entries in the Secret Service (GNOME Keyring, KWallet, KeePassXC), without dialogs unless `ask` is called.

They have the attributes and the label that the keyring library gives them, so that earlier versions and other programs
find them. The library's own backend is not used: it shows a dialog in each call to a locked keyring, replaces items by
`CreateItem`, at which KeePassXC hangs, and reads and deletes the first match in the default collection.

Several items may match: another program copied one, or another collection became the default one. All of them are read,
since only the agent can tell which one is current; all are overwritten, so that no old copy stays; all are deleted.
"""

from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Final, TypeVar

from auth_agent.json_object import JsonObjectError, parse_object
from auth_agent.worker.failure import CallFailure
from auth_agent.worker.secret_session import COLLECTION, ITEM, SecretSession
from auth_agent.worker.vocabulary import FAILED, LOCKED

_Result = TypeVar("_Result")

# How often what is read as garbage is read again, each time in a new session, of which one in 130 is bad.
_READINGS: Final = 4
_WRITES: Final = 3
# Nobody has so many copies of an entry.
_MOST_ITEMS: Final = 16
# Bytes; more than an entry has, whose tokens may be as long as a provider's response, and less than the worker's own.
_LONGEST: Final = 768 * 1024


class SecretService:
    """The keyring of the D-Bus session, over one connection while that works."""

    def __init__(self) -> None:
        self.session: SecretSession | None = None

    def read(self, service: str, username: str) -> list[str]:
        """Return the entries of that username, in any order; "" stands for one that is not a JSON object.

        Raises:
            CallFailure: they could not be read, or there may be one in a locked collection.

        """
        return self._call(lambda session: _read(session, _attributes(service, username)))

    def write(self, service: str, username: str, entry: str) -> None:
        """Write the entry of that username, in place of all that it has.

        Raises:
            CallFailure: it may not have been written.

        """
        attributes = _attributes(service, username)
        label = f"Password for '{username}' on '{service}'"
        self._call(lambda session: _write(session, attributes, label, entry.encode()))

    def delete(self, service: str, username: str) -> bool:
        """Delete all entries of that username; return whether there was one.

        Raises:
            CallFailure: one may still be there.

        """
        return self._call(lambda session: _delete(session, _attributes(service, username)))

    def ask(self) -> None:
        """Let the service ask the user to unlock the default collection; return when the user has answered.

        Raises:
            CallFailure: it is still locked, or there is none.

        """
        self._call(lambda session: _open_default(session, ask=True))

    def _call(self, call: Callable[[SecretSession], _Result]) -> _Result:
        """Call once more on a new connection if the old one fails: the service or the bus may have been restarted.

        Each call may be done twice.
        """
        session, self.session = self.session, None
        if session is not None:
            try:
                if session.is_current():
                    result = call(session)
                    self.session = session
                    return result
            except Exception as error:
                if isinstance(error, CallFailure) and error.kind == LOCKED:
                    raise
                # Whatever else is wrong with the old connection: it is tried on a new one.
            finally:
                if self.session is None:
                    session.close()
        session = SecretSession()
        try:
            result = call(session)
        except BaseException:
            session.close()
            raise
        self.session = session
        return result


def _attributes(service: str, username: str) -> dict[str, str]:
    return {"username": username, "service": service}


def _read(session: SecretSession, attributes: Mapping[str, str]) -> list[str]:
    return [_entry(session, item) for item in _find(session, attributes)[:_MOST_ITEMS]]


def _entry(session: SecretSession, item: str) -> str:
    """Return an item's secret; "" if it is not a JSON object, as entries are, or longer than any."""
    for reading in range(_READINGS):
        if reading:
            session.renew()
        secret = session.secret(item)
        with suppress(UnicodeDecodeError, JsonObjectError):
            entry = secret.decode() if len(secret) <= _LONGEST else ""
            parse_object(entry)
            return entry
    return ""


def _write(session: SecretSession, attributes: Mapping[str, str], label: str, entry: bytes) -> None:
    for _ in range(_WRITES):
        items = _find(session, attributes)
        if items:
            _entry(session, items[0])  # renews a bad session, which would store garbage
        for item in items:
            session.set_secret(item, entry)
        if not items:
            collection = _open_default(session)
            session.create_item(collection, label, {**attributes, "application": "Python keyring library"}, entry)
        items = _find(session, attributes)
        if items and all(_holds(session, item, entry) for item in items):
            return
    raise CallFailure(FAILED, "the keyring does not have what was written to it", session.program)


def _holds(session: SecretSession, item: str, entry: bytes) -> bool:
    """Return whether another session than the present one finds that entry."""
    for _ in range(_READINGS):
        session.renew()
        if session.secret(item) == entry:
            return True
    return False


def _delete(session: SecretSession, attributes: Mapping[str, str]) -> bool:
    items = _find(session, attributes)
    for item in items:
        session.delete_item(item)
    unlocked, locked = session.search(attributes)
    if unlocked:
        raise CallFailure(FAILED, "the keyring still has an entry that was deleted", session.program)
    if locked:
        raise _locked(session)
    return bool(items)


def _find(session: SecretSession, attributes: Mapping[str, str]) -> list[str]:
    """Return the unlocked items with those attributes; raise a `CallFailure` if one may be locked."""
    unlocked, locked = session.search(attributes)
    if locked:
        collections = sorted({item.rpartition("/")[0] for item in locked})
        # KeePassXC's items may be locked in an open collection.
        session.unlock(collections, COLLECTION)
        session.unlock(locked, ITEM)
        unlocked, locked = session.search(attributes)
    if unlocked:
        return unlocked
    if locked:
        raise _locked(session)
    _open_default(session)  # KWallet and KeePassXC find nothing in a locked collection
    unlocked, _ = session.search(attributes)
    return unlocked


def _open_default(session: SecretSession, *, ask: bool = False) -> str:
    """Return the default collection, unlocked."""
    collection = session.default_collection()
    if not session.unlock([collection], COLLECTION, ask=ask):
        raise _locked(session)
    return collection


def _locked(session: SecretSession) -> CallFailure:
    return CallFailure(LOCKED, "the keyring is locked", session.program)
