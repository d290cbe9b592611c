"""The files of the sealed store: its header, a record for each account, and the note of their counters.

What a passphrase seals in the agent's memory has the same format, without files.

Theory of operation. An old copy of a record holds a refresh token that has been replaced since: sending it would end
the session at the provider. So each write has a counter, and the highest of each account is noted beside the store,
where a copy of the store alone does not overwrite it. A record that is older than the note is read only after `adopt`,
which a person asks for.

The record is written before its counter is noted: after a crash in between it is newer than the note, which is well. A
deletion is noted first.
"""

import errno
import json
from collections.abc import Callable, Generator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import lru_cache
from hashlib import sha256
from pathlib import Path
from typing import Final

from auth_agent.host.memory import available_memory
from auth_agent.host.private_directory import NotPrivateError, PrivateDirectory
from auth_agent.json_object import JsonObjectError, parse_object
from auth_agent.printable import printable
from auth_agent.worker import sealing
from auth_agent.worker.failure import CallFailure
from auth_agent.worker.vocabulary import DAMAGED, FAILED, FULL, MISSING, WRONG_PASSPHRASE

DIRECTORY: Final = "sealed"
HEADER: Final = "store.json"
NOTE: Final = "sealed.json"
_SUFFIX: Final = ".sealed"
# Bytes. A record is an entry of at most 256 Ki characters, twice encoded; the note has a line for each account.
_MAX_HEADER: Final = 1 << 14
_MAX_RECORD: Final = 1 << 21
_MAX_NOTE: Final = 1 << 22
# A key derivation may take this share of the memory that is available.
_MEMORY_SHARE: Final = 0.5
# Writes with one data key, after which nothing is written any more. The key is replaced at an unlock, long before.
_LAST_WRITE: Final = 1 << 31
# Characters of a path in a message.
_MAX_PATH: Final = 500


def unlock(state: str, passphrase: str) -> dict[str, object]:
    """Open the store in that state directory by its passphrase; create it if there is none, and never was.

    Returns:
        `opened`, which the other calls take, and holds the data key; `created`; `memory`, the MiB that each guess of
        the passphrase takes; `weak`, whether that is less than it should be.

    Raises:
        CallFailure: the passphrase is wrong, or the store is damaged, missing or can't be read.

    """
    with _files(state) as files:
        header = files.header()
        if header is None:
            files.check_that_there_never_was_one()
            made = files.create(passphrase)
            return {"opened": made.dump(), "created": True, **_cost(made.header)}
        passphrase_key = _derived(header.derivation, passphrase)
        store = _unwrapped(header, passphrase_key)
        files.doubt_unnoted(header.store)
        opened = files.renewed(store, passphrase_key)
        return {"opened": opened.dump(), "created": False, **_cost(header)}


def change_passphrase(state: str, opened: str, passphrase: str) -> dict[str, object]:
    """Seal the data key with another passphrase; no record is touched. Returns what `unlock` does.

    Raises:
        CallFailure: the passphrase is the old one.

    """
    with _files(state) as files:
        store = _Opened.load(opened)
        files.restore_header(store.header)
        header = sealing.with_passphrase(store.header, store.keys, *_new_key(passphrase))
        try:
            files.write_header(header)
        except OSError:
            if files.header() != header:  # else it was written, and is not on the disk for sure
                raise
        return {"opened": replace(store, header=header).dump(), "created": False, **_cost(header)}


def read(state: str, opened: str, account: str) -> dict[str, object]:
    """Return the account's `entry`, None if there is none; `old`: there is one that must not be used.

    Raises:
        CallFailure: the record is damaged, or can't be read.

    """
    with _files(state) as files:
        found = files.open(_Opened.load(opened), account)
        if found is None:
            return {"entry": None, "old": False}
        head, entry = found
        old = files.is_old(head)
        return {"entry": None if old else entry, "old": old}


def write(state: str, opened: str, account: str, entry: str) -> None:
    """Replace the account's record.

    Raises:
        CallFailure: it may not have been replaced.

    """
    with _files(state) as files:
        store = _Opened.load(opened)
        files.restore_header(store.header)
        files.seal(store, account, entry)


def delete(state: str, opened: str, account: str) -> None:
    """Delete the account's record, if there is one.

    Raises:
        CallFailure: it may still be there.

    """
    with _files(state) as files:
        files.delete(_Opened.load(opened), account)


def adopt(state: str, opened: str) -> list[str]:
    """Make old copies the newest records; return their accounts.

    Raises:
        CallFailure: not all of them could be written.

    """
    with _files(state) as files:
        store, adopted = _Opened.load(opened), list[str]()
        for head in filter(files.is_old, files.heads()):
            try:
                found = files.open(store, head.account)
            except CallFailure:  # it is damaged, and stays so
                continue
            if found is not None:
                files.seal(store, head.account, found[1])
                adopted.append(head.account)
        return adopted


def new_key(passphrase: str) -> dict[str, object]:
    """Make a header, as a store has it, for records that are in no file; return what `unlock` does.

    Raises:
        CallFailure: there is too little memory, or the passphrase is empty or too long.

    """
    header, key = sealing.new_header(sealing.new_store_id(), *_new_key(passphrase))
    return {"opened": _Opened(header, {header.keys[-1].id: key}).dump(), "created": True, **_cost(header)}


def open_key(header: str, passphrase: str) -> dict[str, object]:
    """Open such a header by its passphrase; return what `unlock` does.

    Raises:
        CallFailure: the passphrase is wrong.

    """
    parsed = sealing.parse_header(header.encode())
    opened = _unwrapped(parsed, _derived(parsed.derivation, passphrase))
    return {"opened": opened.dump(), "created": False, **_cost(opened.header)}


def seal(opened: str, account: str, entry: str) -> str:
    """Return an entry as a sealed record."""
    store = _Opened.load(opened)
    key, header = store.header.keys[-1].id, store.header
    return sealing.seal_record(sealing.RecordHead(header.store, key, account, 0), store.keys[key], entry).decode()


def unseal(opened: str, account: str, record: str) -> str:
    """Return the entry in such a record."""
    store = _Opened.load(opened)
    return sealing.open_record(record.encode(), store.keys, store.header.store, account)[1]


CALLS: Final[tuple[Callable[..., object], ...]] = (
    unlock,
    change_passphrase,
    read,
    write,
    delete,
    adopt,
    new_key,
    open_key,
    seal,
    unseal,
)


# ---- keys


@dataclass(frozen=True, slots=True)
class _Opened:
    """A store whose data keys are known."""

    header: sealing.Header
    keys: dict[int, bytes]

    def dump(self) -> str:
        """Return it as a string, for the agent to keep."""
        keys = {str(id_): key.hex() for id_, key in self.keys.items()}
        return json.dumps({"header": sealing.dump_header(self.header).decode(), "keys": keys})

    @classmethod
    def load(cls, string: str) -> "_Opened":
        """Return it from that string."""
        members = json.loads(string)
        keys = {int(id_): bytes.fromhex(key) for id_, key in members["keys"].items()}
        return cls(sealing.parse_header(members["header"].encode()), keys)


def _cost(header: sealing.Header) -> dict[str, object]:
    return {"memory": header.derivation.memory >> 20, "weak": header.derivation.log_n < sealing.LOG_N}


def _unwrapped(header: sealing.Header, passphrase_key: bytes) -> _Opened:
    """Return the store of that header; raise a `CallFailure` if the key is another passphrase's."""
    try:
        return _Opened(header, sealing.unwrap(header, passphrase_key))
    except sealing.WrongPassphraseError as error:
        raise CallFailure(WRONG_PASSPHRASE, "the passphrase is wrong") from error


def _derived(derivation: sealing.Derivation, passphrase: str) -> bytes:
    try:
        return derivation.key(passphrase)
    except sealing.WrongPassphraseError as error:
        raise CallFailure(WRONG_PASSPHRASE, "the passphrase is empty or too long") from error
    except MemoryError as error:
        needed = derivation.memory >> 20
        raise CallFailure(FAILED, f"there is too little memory to derive its key: it takes {needed} MiB") from error


def _new_key(passphrase: str) -> tuple[sealing.Derivation, bytes]:
    """Return a new derivation, of full cost unless there is too little memory, and the passphrase's key by it."""
    derivation, available = sealing.new_derivation(), available_memory()
    while available is not None and derivation.memory > available * _MEMORY_SHARE:
        if derivation.log_n == sealing.LOG_N_LEAST:
            break
        derivation = replace(derivation, log_n=derivation.log_n - 1)
    return derivation, _derived(derivation, passphrase)


# ---- files


@contextmanager
def _files(path: str) -> Generator["_Files", None, None]:
    """Open the store's directories, and convert exceptions to `CallFailure`."""
    state = Path(path).resolve()  # the state directory may be a link of the user's; the store in it may not
    try:
        with PrivateDirectory(state) as beside, PrivateDirectory(state / DIRECTORY) as directory:
            yield _Files(state, directory, beside)
    except CallFailure:
        raise
    except OSError as error:
        reason, where = printable(error.strerror or str(error)), printable(str(state / DIRECTORY), _MAX_PATH)
        kind = FULL if error.errno in (errno.ENOSPC, errno.EDQUOT) else FAILED
        raise CallFailure(kind, f"the files in {where} can't be used: {reason}") from error
    except Exception as error:  # its message could hold a secret
        raise CallFailure(FAILED, f"the sealed store failed: {type(error).__name__}") from error


class _Files:
    """The files of a store."""

    def __init__(self, state: Path, directory: PrivateDirectory, beside: PrivateDirectory) -> None:
        self._path = state / DIRECTORY
        self._directory = directory
        self._beside = beside

    # ---- the header

    def header(self) -> sealing.Header | None:
        """Return the header, None if there is none. Raises a `CallFailure` if it is damaged."""
        data = self._directory.read(HEADER, _MAX_HEADER)
        if data is None:
            return None
        try:
            return sealing.parse_header(data)
        except sealing.DamagedError as error:
            raise self._damaged(HEADER, error) from error

    def write_header(self, header: sealing.Header) -> None:
        self._directory.write(HEADER, sealing.dump_header(header))

    def restore_header(self, header: sealing.Header) -> None:
        """Write the header if it is gone or damaged: without it, no record can be opened any more.

        Raises:
            CallFailure: there is another store now.

        """
        try:
            present = self.header()
        except CallFailure:
            present = None
        if present is not None and present.store != header.store:
            raise CallFailure(FAILED, f"another store was put into {self._shown()}")
        if present is None or present.keys[-1].id < header.keys[-1].id:
            self.write_header(header)

    def check_that_there_never_was_one(self) -> None:
        """Raise a `CallFailure` if there are records, or the note of a store."""
        if self._records() or self._note() is not None:
            raise CallFailure(MISSING, f"{self._shown(HEADER)} is missing, without which nobody can open the sessions")

    def create(self, passphrase: str) -> _Opened:
        """Make a new store."""
        header, key = sealing.new_header(sealing.new_store_id(), *_new_key(passphrase))
        self.write_header(header)
        # After the header: a note without a store would look like a store that has been lost.
        self._write_note(_Note(header.store, {}))
        return _Opened(header, {header.keys[-1].id: key})

    def renewed(self, store: _Opened, passphrase_key: bytes) -> _Opened:
        """Replace a data key that has been used often, and complete a replacement that was interrupted."""
        counter = min(self._highest(store.header.store), sealing.MAX_COUNTER)
        if len(store.keys) == 1:
            if counter - store.header.keys[-1].since < sealing.WRITES_PER_KEY:
                return store
            header, key = sealing.with_new_key(store.header, passphrase_key, counter)
            self.write_header(header)  # before any record has the new key
            store = _Opened(header, {**store.keys, header.keys[-1].id: key})
        newest = store.header.keys[-1].id
        try:
            heads = self.heads()
            for head in heads:
                found = self.open(store, head.account)
                if found is not None and found[0].key != newest:
                    record = sealing.seal_record(replace(found[0], key=newest), store.keys[newest], found[1])
                    self._directory.write(_name(head.account), record)
            if len(heads) < len(self._records()):
                return store  # a damaged record may be put back, and has the old key
            header = sealing.with_newest_key(store.header)
            self.write_header(header)
        except (OSError, CallFailure):
            return store  # with both keys; the next unlock completes it
        return _Opened(header, {newest: store.keys[newest]})

    # ---- records

    def heads(self) -> list[sealing.RecordHead]:
        """Return the heads of all records but the damaged ones."""
        return self._heads(self._records())

    def open(self, store: _Opened, account: str) -> tuple[sealing.RecordHead, str] | None:
        """Return an account's record, None if there is none. Raises a `CallFailure` if it is damaged."""
        name = _name(account)
        data = self._directory.read(name, _MAX_RECORD)
        if data is None:
            return None
        try:
            return sealing.open_record(data, store.keys, store.header.store, account)
        except sealing.DamagedError as error:
            raise self._damaged(name, error) from error

    def seal(self, store: _Opened, account: str, entry: str) -> None:
        """Replace an account's record by one with a higher counter."""
        header = store.header
        counter, newest = self._next_counter(header.store, account), header.keys[-1]
        if counter - newest.since > _LAST_WRITE:
            raise CallFailure(FAILED, "the store's data key was used too often: start the agent again")
        head = sealing.RecordHead(header.store, newest.id, account, counter)
        self._directory.write(_name(account), sealing.seal_record(head, store.keys[newest.id], entry))
        self._note_counter(header.store, account, counter)

    def delete(self, store: _Opened, account: str) -> None:
        """Delete an account's record: a copy of it is old from now on."""
        identity = store.header.store
        try:
            self._note_counter(identity, account, self._next_counter(identity, account))
        finally:
            self._directory.delete(_name(account))  # also on a full disk

    def is_old(self, head: sealing.RecordHead) -> bool:
        """Return whether a record is an older copy than the note has, and must not be used."""
        note = self._note()
        noted = note.counters.get(head.account, 0) if note is not None and note.store == head.store else 0
        return head.counter < noted

    def doubt_unnoted(self, store: str) -> None:
        """Doubt all records if there is no note of this store: nobody knows whether they are the newest."""
        note = self._note()
        if note is None or note.store != store:
            self._write_note(_Note(store, self._doubtful()))

    def _doubtful(self) -> dict[str, int]:
        """Return counters by which every record is an old copy."""
        return {head.account: head.counter + 1 for head in self.heads()}

    def _heads(self, names: list[str]) -> list[sealing.RecordHead]:
        heads: list[sealing.RecordHead] = []
        for name in names:
            try:
                data = self._directory.read(name, _MAX_RECORD)
                heads += [] if data is None else [sealing.read_head(data)]
            except (NotPrivateError, sealing.DamagedError):
                continue
        return heads

    def _records(self) -> list[str]:
        return [name for name in self._directory.names() if name.endswith(_SUFFIX)]

    def _damaged(self, name: str, error: sealing.DamagedError) -> CallFailure:
        return CallFailure(DAMAGED, f"{self._shown(name)} {error}")

    def _shown(self, name: str = "") -> str:
        return printable(str(self._path / name), _MAX_PATH)

    # ---- the note

    def _highest(self, store: str) -> int:
        """Return the highest counter of the store."""
        note = self._note()
        if note is not None and note.store == store and note.counters:
            return max(note.counters.values())
        return max((head.counter for head in self.heads()), default=0)

    def _next_counter(self, store: str, account: str) -> int:
        # The record may be newer than the note.
        own = [head.counter for head in self._heads([_name(account)]) if head.store == store]
        counter = max([self._highest(store), *own]) + 1
        if counter > sealing.MAX_COUNTER:
            raise CallFailure(FAILED, f"the counter in {self._shown()} or beside it was changed: it has no successor")
        return counter

    def _note_counter(self, store: str, account: str, counter: int) -> None:
        note = self._note()
        counters = note.counters if note is not None and note.store == store else self._doubtful()
        self._write_note(_Note(store, {**counters, account: counter}))

    def _note(self) -> "_Note | None":
        data = self._beside.read(NOTE, _MAX_NOTE)
        return None if data is None else _parsed_note(data)

    def _write_note(self, note: "_Note") -> None:
        self._beside.write(NOTE, note.dump())


@dataclass(frozen=True, slots=True)
class _Note:
    """The highest counter that was written for each account of a store."""

    store: str
    counters: Mapping[str, int]

    def dump(self) -> bytes:
        return json.dumps({"version": 1, "store": self.store, "counters": self.counters}).encode()


@lru_cache(maxsize=1)  # it is read in each call, and has a line for each account
def _parsed_note(data: bytes) -> _Note:
    """Return the note; one that can't be read is the note of no store, so that all records are doubtful."""
    try:
        members = parse_object(data)
    except JsonObjectError:
        return _Note("", {})
    store, counters = members.get("store"), members.get("counters")
    listed: dict[object, object] = counters if isinstance(counters, dict) else {}  # pyright: ignore[reportUnknownVariableType] -- a JSON object
    return _Note(
        store if isinstance(store, str) else "",
        {
            str(name): number
            for name, number in listed.items()
            if type(number) is int and 0 <= number <= sealing.MAX_COUNTER + 1
        },
    )


def _name(account: str) -> str:
    # File names on macOS ignore case; the digest tells accounts apart that differ only in case.
    return f"{account}.{sha256(account.encode()).hexdigest()[:8]}{_SUFFIX}"
