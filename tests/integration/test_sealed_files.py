"""The sealed files on a real disk: crashes, damage, copies from elsewhere, and what others could read of them."""

import json
import os
import signal
import stat
import subprocess
import sys
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import suppress
from functools import partial
from pathlib import Path
from shutil import copytree, rmtree

import pytest

from auth_agent.secret import Secret
from auth_agent.storage.sealed_file import SealedFileStore
from auth_agent.storage.store import StoreError, StoreLocked, UnusableEntry, WrongPassphrase
from auth_agent.worker import sealed_files, sealing
from auth_agent.worker.failure import CallFailure
from tests.integration.agent_process import until

pytestmark = [pytest.mark.anyio, pytest.mark.usefixtures("patient_stores")]

PASSPHRASE = Secret("correct horse")


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture
def state(tmp_path: Path) -> Path:
    """The state directory."""
    return tmp_path / "state"


@pytest.fixture(autouse=True)
def cheap_keys(monkeypatch: pytest.MonkeyPatch) -> None:
    """Derive keys as on a machine with little memory: in full they take most of a test's time."""
    monkeypatch.setattr(sealed_files, "available_memory", lambda: 1)


@pytest.fixture
async def store(state: Path) -> AsyncGenerator[SealedFileStore]:
    sealed_files.unlock(str(state), PASSPHRASE.reveal())  # with a cheap key, which its worker would not make
    one = SealedFileStore(state)
    await one.unlock_by(PASSPHRASE)
    yield one
    await one.release()


Reopen = Callable[[SealedFileStore], Awaitable[SealedFileStore]]


@pytest.fixture
async def next_agent(state: Path) -> AsyncGenerator[Reopen]:
    """Return the store as the next agent has it, before it is unlocked."""
    stores: list[SealedFileStore] = []

    async def open_anew(store: SealedFileStore) -> SealedFileStore:
        await store.release()  # one worker at a time has the files
        stores.append(SealedFileStore(state))
        return stores[-1]

    yield open_anew
    for store in stores:
        await store.release()


@pytest.fixture
async def reopened(next_agent: Reopen) -> Reopen:
    """Return the store as the next agent has it."""

    async def open_and_unlock(store: SealedFileStore) -> SealedFileStore:
        again = await next_agent(store)
        await again.unlock_by(PASSPHRASE)
        return again

    return open_and_unlock


def opened_in(state: Path, passphrase: str = "p") -> str:
    return str(sealed_files.unlock(str(state), passphrase)["opened"])


def record_of(state: Path, account: str) -> Path:
    (found,) = (state / "sealed").glob(f"{account}.*.sealed")
    return found


def header_of(state: Path) -> Path:
    return state / "sealed" / "store.json"


def key_ids(state: Path) -> list[int]:
    return [key.id for key in sealing.parse_header(header_of(state).read_bytes()).keys]


def flip(path: Path, at: int) -> None:
    """Change one bit of the file."""
    data = bytearray(path.read_bytes())
    data[at] ^= 1
    path.write_bytes(data)


def flip_sealed(path: Path) -> None:
    flip(path, path.read_bytes().index(b'"sealed":"') + 20)


# ---- what others can see


def test_nothing_is_readable_without_the_passphrase_nor_by_other_users(state: Path) -> None:
    sealed_files.write(str(state), opened_in(state), "work", '{"refresh_token": "v1.SECRET"}')
    files = [path for path in state.rglob("*") if path.is_file()]
    assert {path.name.partition(".")[0] for path in files} == {"store", "work", "sealed"}
    for path in files:
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        assert b"SECRET" not in path.read_bytes()
        assert b"refresh_token" not in path.read_bytes()
    assert stat.S_IMODE((state / "sealed").stat().st_mode) == 0o700


async def test_a_link_is_not_followed(store: SealedFileStore, state: Path, tmp_path: Path) -> None:
    await store.write("work", Secret("{}"))
    record, elsewhere = record_of(state, "work"), tmp_path / "elsewhere"
    record.rename(elsewhere)
    record.symlink_to(elsewhere)
    with pytest.raises(StoreError, match="symbolic link"):
        await store.read("work")
    before = elsewhere.read_bytes()
    await store.write("work", Secret("{}"))  # it replaces the link
    assert (elsewhere.read_bytes(), record.is_symlink()) == (before, False)
    (state / "sealed").rename(tmp_path / "moved")
    (state / "sealed").symlink_to(tmp_path / "moved")
    with pytest.raises(StoreError, match="can't be used"):
        await store.read("work")


async def test_a_directory_that_others_can_enter_is_refused(store: SealedFileStore, state: Path) -> None:
    (state / "sealed").chmod(0o750)
    with pytest.raises(StoreError, match="accessible to other users"):
        await store.write("work", Secret("{}"))
    assert [*(state / "sealed").glob("work.*")] == []


# ---- damage


@pytest.mark.parametrize("where", ['"salt":"', '"wrapped":"', '"checksum":"', '"log_n":'])
async def test_a_damaged_header_is_not_a_wrong_passphrase(
    store: SealedFileStore, state: Path, where: str, next_agent: Reopen
) -> None:
    header = header_of(state)
    whole = header.read_bytes()
    flip(header, whole.index(where.encode()) + len(where))
    again = await next_agent(store)
    with pytest.raises(StoreError, match=r"store\.json is damaged") as caught:
        await again.unlock_by(PASSPHRASE)
    assert not isinstance(caught.value, WrongPassphrase)
    header.write_bytes(whole)
    await again.unlock_by(PASSPHRASE)


async def test_a_wrong_passphrase_is_not_damage(store: SealedFileStore) -> None:
    store.lock()
    with pytest.raises(WrongPassphrase, match="the passphrase is wrong"):
        await store.unlock_by(Secret("wrong"))


async def test_a_damaged_record_costs_its_own_account_only(store: SealedFileStore, state: Path) -> None:
    for name in ("work", "home"):
        await store.write(name, Secret(json.dumps({"of": name})))
    flip_sealed(record_of(state, "work"))
    with pytest.raises(UnusableEntry, match=r"work\.\w+\.sealed is damaged"):
        await store.read("work")
    assert await store.read("home") == [Secret('{"of": "home"}')]
    await store.write("work", Secret('{"of": "a new login"}'))
    assert await store.read("work") == [Secret('{"of": "a new login"}')]


LOSSES: list[Callable[[Path], object]] = [
    Path.unlink,
    lambda path: path.write_text("{"),
    lambda path: rmtree(path.parent),
]


@pytest.mark.parametrize("lose", LOSSES, ids=["gone", "bad", "all"])
async def test_a_header_that_is_lost_while_the_store_is_open_is_written_again(
    store: SealedFileStore, state: Path, lose: Callable[[Path], object], reopened: Reopen
) -> None:
    lose(header_of(state))
    await store.write("work", Secret("{}"))
    assert await (await reopened(store)).read("work") == [Secret("{}")]


async def test_a_store_that_has_lost_its_header_is_not_made_anew(
    store: SealedFileStore, state: Path, next_agent: Reopen
) -> None:
    await store.write("work", Secret("{}"))
    header_of(state).unlink()
    again = await next_agent(store)
    with pytest.raises(StoreError, match=r"store\.json is missing"):
        await again.unlock_by(PASSPHRASE)
    rmtree(state / "sealed")  # the note says that there was one
    with pytest.raises(StoreError, match=r"store\.json is missing"):
        await again.unlock_by(PASSPHRASE)


async def test_another_store_in_its_place_is_not_written_to(
    store: SealedFileStore, state: Path, tmp_path: Path
) -> None:
    await store.write("work", Secret("{}"))
    opened_in(tmp_path / "other")
    header_of(state).write_bytes(header_of(tmp_path / "other").read_bytes())
    with pytest.raises(StoreError, match="another store"):
        await store.write("work", Secret("{}"))


# ---- copies


async def test_an_old_copy_is_used_only_after_somebody_adopts_it(
    store: SealedFileStore, state: Path, reopened: Reopen
) -> None:
    await store.write("work", Secret('{"number": 1}'))
    old = record_of(state, "work").read_bytes()
    await store.write("work", Secret('{"number": 2}'))
    await store.write("home", Secret("{}"))
    record_of(state, "work").write_bytes(old)
    store = await reopened(store)
    with pytest.raises(UnusableEntry, match="older copy") as caught:
        await store.read("work")
    assert [item.command for item in caught.value.remedy] == [("auth-agent", "store", "adopt")]
    assert await store.adopt() == ["work"]
    for _ in range(2):
        assert await store.read("work") == [Secret('{"number": 1}')]
        store = await reopened(store)
    assert await store.adopt() == []


async def test_an_old_copy_of_all_files_is_noticed(
    store: SealedFileStore, state: Path, tmp_path: Path, reopened: Reopen
) -> None:
    await store.write("work", Secret('{"number": 1}'))
    await store.write("home", Secret("{}"))
    copytree(state / "sealed", tmp_path / "backup")
    await store.write("work", Secret('{"number": 2}'))
    rmtree(state / "sealed")
    copytree(tmp_path / "backup", state / "sealed")
    store = await reopened(store)
    assert await store.read("home") == [Secret("{}")]  # it has not changed since
    with pytest.raises(UnusableEntry, match="older copy"):
        await store.read("work")


async def test_a_deleted_entry_that_comes_back_is_an_old_copy(
    store: SealedFileStore, state: Path, reopened: Reopen
) -> None:
    await store.write("work", Secret("{}"))
    record = record_of(state, "work")
    old = record.read_bytes()
    await store.delete("work")
    record.write_bytes(old)
    with pytest.raises(UnusableEntry, match="older copy"):
        await (await reopened(store)).read("work")


@pytest.mark.parametrize("content", [None, "garbage", '{"store": "another", "counters": {}}'])
async def test_without_its_note_nobody_knows_whether_a_store_is_the_newest(
    store: SealedFileStore, state: Path, content: str | None, reopened: Reopen
) -> None:
    await store.write("work", Secret("{}"))
    (state / "sealed.json").unlink()
    if content is not None:
        (state / "sealed.json").write_text(content)
    store = await reopened(store)
    await store.write("home", Secret("{}"))
    with pytest.raises(UnusableEntry, match="older copy"):
        await store.read("work")
    assert await store.adopt() == ["work"]
    assert await store.read("work") == [Secret("{}")]


async def test_after_a_lost_note_a_write_does_not_vouch_for_the_other_records(
    store: SealedFileStore, state: Path
) -> None:
    await store.write("home", Secret("{}"))
    record = record_of(state, "home")
    old = record.read_bytes()
    await store.write("home", Secret('{"newer": 1}'))
    (state / "sealed.json").unlink()
    await store.write("work", Secret("{}"))
    record.write_bytes(old)
    with pytest.raises(UnusableEntry, match="older copy"):
        await store.read("home")
    assert await store.read("work") == [Secret("{}")]


@pytest.mark.parametrize("counter", [2**53 - 2, 2**53 - 1, 2**53, 10**30])
async def test_a_counter_without_a_successor_in_the_note_damages_nothing(
    store: SealedFileStore, state: Path, counter: int, reopened: Reopen
) -> None:
    for name in ("work", "home"):
        await store.write(name, Secret("{}"))
    note = json.loads((state / "sealed.json").read_text())
    note["counters"]["another"] = counter
    (state / "sealed.json").write_text(json.dumps(note))
    again = await reopened(store)
    with suppress(StoreError):
        await again.write("work", Secret('{"newer": 1}'))
    again = await reopened(again)
    assert await again.read("work") in ([Secret("{}")], [Secret('{"newer": 1}')])
    assert await again.read("home") == [Secret("{}")]


# ---- keys


def test_a_new_passphrase_rewrites_the_header_alone(state: Path) -> None:
    path, opened = str(state), opened_in(state, "old")
    sealed_files.write(path, opened, "work", "{}")
    before = record_of(state, "work").read_bytes()
    sealed_files.change_passphrase(path, opened, "new")
    assert record_of(state, "work").read_bytes() == before
    with pytest.raises(CallFailure, match="wrong"):
        sealed_files.unlock(path, "old")
    assert sealed_files.read(path, opened_in(state, "new"), "work")["entry"] == "{}"


def test_a_data_key_that_was_used_often_is_replaced_at_an_unlock(state: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path, opened = str(state), opened_in(state)
    for name in ("work", "home"):
        sealed_files.write(path, opened, name, "{}")
    monkeypatch.setattr(sealing, "WRITES_PER_KEY", 2)
    again = opened_in(state)
    assert again != opened
    for name in ("work", "home"):
        assert sealing.read_head(record_of(state, name).read_bytes()).key == 2
        assert sealed_files.read(path, again, name) == {"entry": "{}", "old": False}
    assert key_ids(state) == [2]
    assert opened_in(state) == again


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:50])


@pytest.mark.parametrize("damage", [flip_sealed, cut])
def test_a_replacement_that_was_interrupted_is_completed(
    state: Path, monkeypatch: pytest.MonkeyPatch, damage: Callable[[Path], None]
) -> None:
    path, opened = str(state), opened_in(state)
    for name in ("work", "home"):
        sealed_files.write(path, opened, name, "{}")
    monkeypatch.setattr(sealing, "WRITES_PER_KEY", 2)
    damaged = record_of(state, "work")
    whole = damaged.read_bytes()
    damage(damaged)  # a record that can't be rewritten keeps the old key
    interrupted = opened_in(state)
    assert key_ids(state) == [1, 2]
    damaged.write_bytes(whole)
    assert sealed_files.read(path, interrupted, "work")["entry"] == "{}"
    again = opened_in(state)
    assert key_ids(state) == [2]
    assert {sealed_files.read(path, again, name)["entry"] for name in ("work", "home")} == {"{}"}


@pytest.mark.parametrize(
    ("available", "memory", "weak"),
    [(None, 128, False), (1 << 30, 128, False), (100 << 20, 32, True), (1, 16, True)],
)
def test_a_small_machine_gets_a_cheaper_key_and_is_told(
    state: Path, monkeypatch: pytest.MonkeyPatch, available: int | None, memory: int, weak: bool
) -> None:
    monkeypatch.setattr(sealed_files, "available_memory", lambda: available)
    for created in (True, False):
        found = sealed_files.unlock(str(state), "p")
        assert (found["memory"], found["weak"], found["created"]) == (memory, weak, created)


# ---- crashes, and a disk without room

WRITER = """
import sys
from auth_agent.worker import sealed_files
state, opened = sys.argv[1], sys.stdin.readline().rstrip("\\n")
for number in range(1, 10**6):
    sealed_files.write(state, opened, "work", str(number) + " " * 100_000)
    print(number, flush=True)
"""


def has_written(descriptor: int, size: int) -> bool:
    return os.fstat(descriptor).st_size > size


def test_a_kill_at_any_moment_of_a_write_leaves_the_old_entry_or_the_new_one(state: Path, tmp_path: Path) -> None:
    path, opened = str(state), opened_in(state)
    for turn in range(10):
        with (tmp_path / "acknowledged").open("w+") as output:
            command = [sys.executable, "-c", WRITER, path]
            writer = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=output, text=True)
            assert writer.stdin is not None
            writer.stdin.write(opened + "\n")
            writer.stdin.close()
            until(partial(has_written, output.fileno(), 4 * turn), every=0.0003)
            writer.send_signal(signal.SIGKILL)
            writer.wait()
            output.seek(0)
            acknowledged = int(output.read().splitlines()[-1])
        found = sealed_files.read(path, opened, "work")
        assert found["old"] is False
        assert int(str(found["entry"])) in (acknowledged, acknowledged + 1)
        sealed_files.write(path, opened, "work", "0")


def test_a_disk_without_room_leaves_the_old_entry(state: Path) -> None:
    path, opened = str(state), opened_in(state)
    sealed_files.write(path, opened, "work", "old")
    script = (
        "import resource, signal, sys; from auth_agent.worker import sealed_files; "
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN); resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096)); "
        "sealed_files.write(sys.argv[1], sys.stdin.read(), 'work', 'x' * 8192)"
    )
    command = [sys.executable, "-c", script, path]
    done = subprocess.run(command, input=opened, capture_output=True, text=True, check=False)
    assert "can't be used: File too large" in done.stderr
    assert sealed_files.read(path, opened, "work")["entry"] == "old"
    assert [*(state / "sealed").glob("*.new")] == []


async def test_a_store_without_files_says_that_it_has_no_passphrase_yet(state: Path) -> None:
    store = SealedFileStore(state)
    with pytest.raises(StoreLocked, match="no passphrase yet"):
        await store.read("work")
    assert (store.is_new, store.sealed) == (True, store)
