"""What every store does; each store of the table is tested here."""

import json
import os
from collections.abc import AsyncGenerator, Callable, Generator
from contextlib import asynccontextmanager
from pathlib import Path

import anyio
import pytest

from auth_agent.errors import StartupError
from auth_agent.json_object import parse_object
from auth_agent.secret import Secret
from auth_agent.storage.keyring import KeyringStore
from auth_agent.storage.lock import StoreLock
from auth_agent.storage.store import Store, StoreLocked, WrongPassphrase
from auth_agent.storage.stores import DEFAULT, NAMES, open_store
from auth_agent.worker.process import Worker
from tests.integration.keyring_session import KeyringSession

pytestmark = [pytest.mark.anyio, pytest.mark.usefixtures("patient_stores")]

ACCOUNTS = ["work", ".", "a", "A", "x" * 64]
SOCKET = Path("/run/user/1000/auth-agent/agent.sock")
# What each is able to do: persistent, max_length, expensive_writes, and whether a passphrase unlocks it.
ABILITIES = {
    "keyring": (True, 12 * 1024, False, False),
    "file": (True, 256 * 1024, False, True),
    "memory": (False, 1 << 20, False, False),
}
PASSPHRASE = Secret("correct horse")
# The keyring as macOS has it: an item is replaced by deleting it first.
TWO_SLOTS = "keyring with two slots"


@pytest.fixture(scope="module")
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(scope="module")
def keyring() -> Generator[KeyringSession, None, None]:
    with KeyringSession() as session, pytest.MonkeyPatch.context() as patch:
        for name, value in session.environment.items():
            patch.setenv(name, value)
        yield session


class Place:
    """Where a store is kept, and the one agent at a time that has it open."""

    def __init__(self, name: str, make: Callable[[], tuple[Store, tuple[StoreLock, ...]]]) -> None:
        self.name = name
        self._make = make
        self._open: Store | None = None
        self._locks: tuple[StoreLock, ...] = ()

    async def open(self) -> Store:
        """Open it anew, as the next agent does; the one before has ended."""
        await self.close()
        self._open, self._locks = self._make()
        if self._open.sealed is not None:
            await self._open.sealed.unlock_by(PASSPHRASE)
        return self._open

    async def at_hand(self) -> Store:
        """Return the open store, because a worker takes long to start."""
        return self._open or await self.open()

    async def close(self) -> None:
        if self._open is not None:
            await self._open.release()
        for lock in self._locks:
            lock.close()
        self._open, self._locks = None, ()


@pytest.fixture(scope="module", params=[*NAMES, TWO_SLOTS])
async def place(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> AsyncGenerator[Place]:
    name, directory = str(request.param), tmp_path_factory.mktemp("state")
    if "keyring" in name:
        request.getfixturevalue("keyring")

    def make() -> tuple[Store, tuple[StoreLock, ...]]:
        if name == TWO_SLOTS:
            return KeyringStore(directory, slots=2), ()
        opened = open_store(name, directory, SOCKET)
        return opened.store, opened.locks

    one = Place(name.partition(" ")[0], make)
    yield one
    await one.close()


@pytest.fixture
async def store(place: Place) -> AsyncGenerator[Store]:
    """The store, with nothing in it."""
    yield await place.at_hand()
    await (await place.at_hand()).delete("work")


def entry(text: str) -> Secret:
    """An entry, which is a JSON map."""
    return Secret(json.dumps({"text": text}))


async def text(store: Store, account: str = "work") -> object:
    entries = await store.read(account)
    assert len(entries) <= 1
    return parse_object(entries[0].reveal())["text"] if entries else None


async def test_a_read_without_an_entry_returns_none(store: Store) -> None:
    assert await store.read("work") == []


@pytest.mark.parametrize("what", ["x", "", "täxt \U0001f511 \x00\n\u202e"], ids=["short", "empty", "odd"])
async def test_a_read_returns_what_was_written(store: Store, what: str) -> None:
    await store.write("work", entry(what))
    assert await text(store) == what


async def test_an_entry_of_the_maximum_length_is_read_as_it_was_written(store: Store) -> None:
    longest = entry("x" * (store.max_length - len(entry("").reveal())))
    assert len(longest.reveal()) == store.max_length
    await store.write("work", longest)
    assert await text(store) == parse_object(longest.reveal())["text"]


async def test_a_write_replaces_the_entry(store: Store) -> None:
    for number in range(4):
        await store.write("work", entry(str(number)))
        assert await text(store) == str(number)


async def test_a_deleted_entry_is_gone_and_may_be_deleted_again(store: Store) -> None:
    await store.delete("work")
    for _ in range(2):
        await store.write("work", entry("first"))
        await store.write("work", entry("second"))
        await store.delete("work")
        await store.delete("work")
        assert await store.read("work") == []


async def test_accounts_have_separate_entries(store: Store) -> None:
    for name in ACCOUNTS:
        await store.write(name, entry(name))
    assert [await text(store, name) for name in ACCOUNTS] == ACCOUNTS
    for number, name in enumerate(ACCOUNTS, 1):
        await store.delete(name)
        assert [await text(store, name) for name in ACCOUNTS] == [None] * number + ACCOUNTS[number:]


async def test_the_next_agent_reads_the_entries_of_a_persistent_store(store: Store, place: Place) -> None:
    await store.write("work", entry("one"))
    await store.write("work", entry("two"))
    later = await place.open()
    assert await text(later) == ("two" if later.persistent else None)
    await later.write("work", entry("three"))
    latest = await place.open()
    assert await text(latest) == ("three" if latest.persistent else None)


@pytest.mark.usefixtures("store")
async def test_the_next_agent_may_write_and_delete_before_it_reads(place: Place) -> None:
    for number in range(2):
        await (await place.open()).write("work", entry(str(number)))
    latest = await place.open()
    assert await text(latest) == ("1" if latest.persistent else None)
    await (await place.open()).delete("work")
    assert await (await place.open()).read("work") == []


async def test_calls_from_many_tasks_do_not_disturb_each_other(store: Store) -> None:
    result: dict[str, object] = {}

    async def one(name: str) -> None:
        for number in range(2):
            await store.write(name, entry(f"{name} {number}"))
        result[name] = await text(store, name)

    async with anyio.create_task_group() as tasks:
        for name in ACCOUNTS:
            tasks.start_soon(one, name)
    assert result == {name: f"{name} 1" for name in ACCOUNTS}
    for name in ACCOUNTS:
        await store.delete(name)


async def test_a_store_may_be_released_at_any_time(store: Store) -> None:
    await store.release()
    await store.release()
    await store.write("work", entry("x"))
    await store.release()
    assert await text(store) == "x"


async def test_an_unlocked_store_does_not_ask(store: Store) -> None:
    await store.unlock()


# ---- by name


async def test_each_store_has_its_name_and_capabilities(store: Store, place: Place) -> None:
    assert store.name == place.name
    abilities = store.persistent, store.max_length, store.expensive_writes, store.sealed is not None
    assert abilities == ABILITIES[place.name]


async def test_a_store_that_takes_a_passphrase_says_that_it_is_locked_until_it_has_it(store: Store) -> None:
    await store.write("work", entry("x"))
    sealed = store.sealed
    if sealed is None:
        return
    assert (sealed.locked, sealed.is_new) == (None, False)
    sealed.lock()
    for call in (store.read("work"), store.write("work", entry("y")), store.delete("work"), store.unlock()):
        with pytest.raises(StoreLocked, match="the sealed file is locked"):
            await call
    with pytest.raises(WrongPassphrase):
        await sealed.unlock_by(Secret("wrong"))
    assert sealed.locked is not None
    await sealed.unlock_by(PASSPHRASE)
    assert await text(store) == "x"


def test_every_store_is_tested_here() -> None:
    assert set(ABILITIES) == set(NAMES)
    assert DEFAULT == "keyring"


@pytest.mark.usefixtures("keyring")
@pytest.mark.parametrize("name", NAMES)
async def test_a_persistent_store_is_locked_and_has_its_notes_on_disk(name: str, tmp_path: Path) -> None:
    state_path = tmp_path / "state"
    opened = open_store(name, state_path, SOCKET)
    await opened.journal.record_sent("work", "a fingerprint", 1.0)
    if not opened.store.persistent:
        again = open_store(name, state_path, SOCKET)
        assert (again.journal.note("work").sent, again.locks, state_path.exists()) == ([], (), False)
        return
    with pytest.raises(StartupError, match=rf"\b{os.getpid()}\b"):
        open_store(name, state_path, SOCKET)
    for lock in opened.locks:
        lock.close()
    again = open_store(name, state_path, SOCKET)
    assert again.journal.note("work").sent == ["a fingerprint"]
    for lock in again.locks:
        lock.close()


# ---- two slots


@pytest.fixture
async def slots(keyring: KeyringSession, tmp_path: Path) -> AsyncGenerator[KeyringStore]:
    """One where a crash may come between the two steps of a write."""
    assert keyring.is_locked() is False
    one = KeyringStore(tmp_path, slots=2)
    yield one
    await one.delete("work")
    await one.release()


@asynccontextmanager
async def another(directory: Path, slots: int = 2) -> AsyncGenerator[KeyringStore]:
    """Another agent's, with a state directory of its own: it need not wait for the first one's worker."""
    elsewhere = directory / "elsewhere"
    elsewhere.mkdir(exist_ok=True)
    one = KeyringStore(elsewhere, slots=slots)
    yield one
    await one.release()


def slot_of(keyring: KeyringSession, what: str) -> str:
    """Return the slot that has that text."""
    (result,) = [name for name in ("work", "work/1") if f'"text": "{what}"' in (keyring.read(name) or "")]
    return result


async def test_two_slots_are_written_alternately(slots: KeyringStore, keyring: KeyringSession) -> None:
    for number in range(4):
        await slots.write("work", entry(str(number)))
        assert number == 0 or slot_of(keyring, str(number)) != slot_of(keyring, str(number - 1))


@pytest.mark.parametrize("writes", [2, 3])
async def test_a_crash_during_a_write_leaves_the_old_entry(
    slots: KeyringStore, keyring: KeyringSession, tmp_path: Path, writes: int
) -> None:
    for number in range(writes):
        await slots.write("work", entry(str(number)))
    older, newer = slot_of(keyring, str(writes - 2)), slot_of(keyring, str(writes - 1))
    async with another(tmp_path, slots=1) as bare:
        await bare.delete(newer)
    async with another(tmp_path) as again:
        assert await text(again) == str(writes - 2)
        await again.write("work", entry("next"))
        assert (slot_of(keyring, str(writes - 2)), slot_of(keyring, "next")) == (older, newer)
        assert await text(again) == "next"


async def test_garbage_in_the_newer_slot_leaves_the_old_entry(
    slots: KeyringStore, keyring: KeyringSession, tmp_path: Path
) -> None:
    await slots.write("work", entry("older"))
    await slots.write("work", entry("newer"))
    newer = slot_of(keyring, "newer")
    for garbage in ("", "garbage", '{"text": "half', '{"text": "x", "number": "9"}'):
        keyring.write(garbage, newer)
        async with another(tmp_path) as again:
            assert await text(again) == "older"
            await again.write("work", entry("newer"))
        assert slot_of(keyring, "newer") == newer


async def test_the_newest_slot_is_deleted_last_also_by_an_agent_that_has_not_read_it(
    slots: KeyringStore, keyring: KeyringSession, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    deleted: list[object] = []
    call = Worker.call

    async def stop(worker: Worker, name: str, limit: float, /, **arguments: object) -> dict[str, object]:
        if name != "delete":
            return await call(worker, name, limit, **arguments)
        deleted.append(arguments["username"])
        return {}

    await slots.write("work", entry("older"))
    for newest in ("newest", "newest of all"):
        await slots.write("work", entry(newest))
        deleted.clear()
        with monkeypatch.context() as patch:
            patch.setattr(Worker, "call", stop)
            async with another(tmp_path) as again:
                await again.delete("work")
        assert (len(deleted), deleted[-1]) == (2, slot_of(keyring, newest))
    await slots.delete("work")
    assert (keyring.read("work"), keyring.read("work/1")) == (None, None)
