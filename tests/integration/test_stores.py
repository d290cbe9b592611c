"""What every store does, each of them the real one."""

import json
from collections.abc import AsyncGenerator, Callable, Generator
from contextlib import asynccontextmanager
from pathlib import Path

import anyio
import pytest

from auth_agent.json_object import parse_object
from auth_agent.secret import Secret
from auth_agent.storage.keyring import KeyringStore
from auth_agent.storage.memory import MemoryStore
from auth_agent.storage.store import Store
from auth_agent.worker.process import Worker
from tests.integration.keyring_session import KeyringSession

pytestmark = pytest.mark.anyio

NAMES = ["work", ".", "a", "A", "x" * 64]


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

    def __init__(self, make: Callable[[], Store]) -> None:
        self._make = make
        self._open: Store | None = None

    async def open(self) -> Store:
        """Open it anew, as the next agent does; the one before has ended."""
        await self.close()
        self._open = self._make()
        return self._open

    async def at_hand(self) -> Store:
        """The one that is open; a worker takes its time to start."""
        return self._open or await self.open()

    async def close(self) -> None:
        if self._open is not None:
            await self._open.rest()


@pytest.fixture(scope="module", params=["memory", "keyring", "keyring with two slots"])
async def place(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> AsyncGenerator[Place]:
    if request.param == "memory":
        memory = MemoryStore()  # the same to the next, or there would be nothing to find
        yield Place(lambda: memory)
        return
    request.getfixturevalue("keyring")
    directory, slots = tmp_path_factory.mktemp("state"), 2 if "two" in str(request.param) else 1
    one = Place(lambda: KeyringStore(directory, slots=slots))
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
    found = await store.read(account)
    return None if found is None else parse_object(found.reveal())["text"]


async def test_where_nothing_was_written_nothing_is_read(store: Store) -> None:
    assert await store.read("work") is None


@pytest.mark.parametrize(
    "what", ["x", "", "täxt \U0001f511 \x00\n\u202e", "x" * 12_000], ids=["short", "empty", "odd", "long"]
)
async def test_what_was_written_is_read(store: Store, what: str) -> None:
    await store.write("work", entry(what))
    assert await text(store) == what


async def test_what_is_written_takes_the_place_of_what_was_there(store: Store) -> None:
    for number in range(4):
        await store.write("work", entry(str(number)))
        assert await text(store) == str(number)


async def test_what_was_deleted_is_not_there_and_may_be_deleted_again(store: Store) -> None:
    await store.delete("work")
    for _ in range(2):
        await store.write("work", entry("first"))
        await store.write("work", entry("second"))
        await store.delete("work")
        await store.delete("work")
        assert await store.read("work") is None


async def test_accounts_do_not_mix(store: Store) -> None:
    for name in NAMES:
        await store.write(name, entry(name))
    assert [await text(store, name) for name in NAMES] == NAMES
    for number, name in enumerate(NAMES, 1):
        await store.delete(name)
        assert [await text(store, name) for name in NAMES] == [None] * number + NAMES[number:]


async def test_the_next_agent_finds_what_the_one_before_left(store: Store, place: Place) -> None:
    await store.write("work", entry("one"))
    await store.write("work", entry("two"))
    later = await place.open()
    assert await text(later) == "two"
    await later.write("work", entry("three"))
    assert await text(await place.open()) == "three"


@pytest.mark.usefixtures("store")
async def test_the_next_agent_may_write_and_delete_before_it_reads(place: Place) -> None:
    for number in range(2):
        await (await place.open()).write("work", entry(str(number)))
    assert await text(await place.open()) == "1"
    await (await place.open()).delete("work")
    assert await (await place.open()).read("work") is None


async def test_calls_from_many_tasks_do_not_mix(store: Store) -> None:
    found: dict[str, object] = {}

    async def one(name: str) -> None:
        for number in range(2):
            await store.write(name, entry(f"{name} {number}"))
        found[name] = await text(store, name)

    async with anyio.create_task_group() as tasks:
        for name in NAMES:
            tasks.start_soon(one, name)
    assert found == {name: f"{name} 1" for name in NAMES}
    for name in NAMES:
        await store.delete(name)


async def test_it_may_rest_at_any_time(store: Store) -> None:
    await store.rest()
    await store.rest()
    await store.write("work", entry("x"))
    await store.rest()
    assert await text(store) == "x"


async def test_nobody_is_asked_for_what_is_open(store: Store) -> None:
    await store.ask()


# ---- two slots


@pytest.fixture
async def slots(keyring: KeyringSession, tmp_path: Path) -> AsyncGenerator[KeyringStore]:
    """One where a crash may come between the two steps of a write."""
    assert keyring.is_locked() is False
    one = KeyringStore(tmp_path, slots=2)
    yield one
    await one.delete("work")
    await one.rest()


@asynccontextmanager
async def another(directory: Path, slots: int = 2) -> AsyncGenerator[KeyringStore]:
    """Another agent's, with a state directory of its own: it need not wait for the first one's worker."""
    elsewhere = directory / "elsewhere"
    elsewhere.mkdir(exist_ok=True)
    one = KeyringStore(elsewhere, slots=slots)
    yield one
    await one.rest()


def slot_of(keyring: KeyringSession, what: str) -> str:
    """Which slot has that text."""
    (found,) = [name for name in ("work", "work/1") if f'"text": "{what}"' in (keyring.read(name) or "")]
    return found


async def test_two_slots_are_written_in_turn(slots: KeyringStore, keyring: KeyringSession) -> None:
    for number in range(4):
        await slots.write("work", entry(str(number)))
        assert number == 0 or slot_of(keyring, str(number)) != slot_of(keyring, str(number - 1))


@pytest.mark.parametrize("writes", [2, 3])
async def test_a_crash_in_the_middle_of_a_write_leaves_the_entry_before(
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


async def test_garbage_in_the_newer_slot_leaves_the_entry_before(
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
