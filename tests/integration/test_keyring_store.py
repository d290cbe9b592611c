"""The keyring as a store, when it is locked, frozen, killed, or not there at all."""

import os
import subprocess
import sys
import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Generator
from contextlib import asynccontextmanager, contextmanager
from importlib import import_module
from pathlib import Path
from typing import Any

import anyio
import pytest

from auth_agent import remedies
from auth_agent.secret import Secret
from auth_agent.storage import keyring as module
from auth_agent.storage.keyring import KeyringStore
from auth_agent.storage.store import StoreError, StoreLocked, StoreMissing
from tests.integration.agent_process import PATIENCE, until
from tests.integration.keyring_session import KeyringSession, open_bus
from tests.integration.test_worker import children, is_gone, workers_of

pytestmark = [pytest.mark.anyio, pytest.mark.usefixtures("patient_stores")]

TEXT = Secret('{"text": "canary"}')
BUS = "DBUS_SESSION_BUS_ADDRESS"
PROMPTER = "org.gnome.keyring.SystemPrompter"
# Without types, all of it.
jeepney: Any = import_module("jeepney")


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@contextmanager
def use(session: KeyringSession) -> Generator[KeyringSession]:
    """Have this process's workers use that session."""
    with session, pytest.MonkeyPatch.context() as patch:
        patch.delenv("DISPLAY", raising=False)
        patch.delenv("WAYLAND_DISPLAY", raising=False)
        for name, value in session.environment.items():
            patch.setenv(name, value)
        yield session


@pytest.fixture
def keyring() -> Generator[KeyringSession, None, None]:
    with use(KeyringSession()) as session:
        yield session


@asynccontextmanager
async def open_store(directory: Path) -> AsyncGenerator[KeyringStore]:
    store = KeyringStore(directory)
    try:
        yield store
    finally:
        await store.release()


async def failure_of(call: Callable[[], Awaitable[object]]) -> StoreError:
    with pytest.raises(StoreError) as raised:
        await call()
    return raised.value


@contextmanager
def monitor(keyring: KeyringSession, output: Path) -> Generator[Callable[[], str]]:
    """Record the calls of the keyring's service meanwhile; the yielded function returns them."""
    with (
        output.open("w") as file,
        subprocess.Popen(
            ["dbus-monitor", "--session", "destination=org.freedesktop.secrets"],
            env={**os.environ, **keyring.environment},
            stdout=file,
        ) as process,
    ):
        try:
            until(lambda: output.stat().st_size > 0)  # its own signal: it has begun
            yield output.read_text
        finally:
            process.kill()


class Prompter:
    """Owns the name at which gnome-keyring opens its dialogs, and never responds."""

    def __init__(self) -> None:
        self._connection = open_bus()
        bus = jeepney.DBusAddress("/org/freedesktop/DBus", "org.freedesktop.DBus", "org.freedesktop.DBus")
        self._connection.send_and_get_reply(jeepney.new_method_call(bus, "RequestName", "su", (PROMPTER, 0)))

    def is_called(self, timeout: float) -> bool:
        """Return whether a dialog is requested within that time."""
        deadline = time.monotonic() + timeout
        while (left := deadline - time.monotonic()) > 0:
            try:
                message = self._connection.receive(timeout=left)
            except TimeoutError:
                return False
            header = message.header
            called = header.message_type is jeepney.MessageType.method_call
            if called and "Prompter" in header.fields.get(jeepney.HeaderFields.interface, ""):
                return True
        return False

    def close(self) -> None:
        self._connection.close()


@pytest.fixture
def prompter(keyring: KeyringSession) -> Generator[Prompter, None, None]:
    assert keyring.is_locked() is False
    one = Prompter()
    yield one
    one.close()


# ---- locked


async def test_a_locked_keyring_fails_without_a_dialog_and_works_when_unlocked(
    keyring: KeyringSession, prompter: Prompter, tmp_path: Path
) -> None:
    async with open_store(tmp_path) as store:
        await store.write("work", TEXT)
        keyring.lock()
        for call in (lambda: store.read("work"), lambda: store.write("work", TEXT), lambda: store.delete("work")):
            failure = await failure_of(call)
            assert isinstance(failure, StoreLocked)
            assert failure.remedy == remedies.unlock_keyring()
        assert not prompter.is_called(0.2)
        keyring.unlock()
        assert await store.read("work") == [TEXT]


async def test_a_first_write_to_a_locked_keyring_leaves_no_note(keyring: KeyringSession, tmp_path: Path) -> None:
    keyring.lock()
    async with open_store(tmp_path) as store:
        assert isinstance(await failure_of(lambda: store.write("work", TEXT)), StoreLocked)
    assert not (tmp_path / "keyring.json").exists()


# ---- asking


async def test_a_dialog_that_nobody_answers_ends_at_its_timeout(
    keyring: KeyringSession, prompter: Prompter, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    keyring.lock()
    is_asked, seconds = False, 1.5
    async with open_store(tmp_path) as store:
        while not is_asked:  # that long takes the start of a process on a busy machine
            monkeypatch.setattr(module, "_ASK_LIMIT", seconds)
            failure = await failure_of(store.unlock)
            assert isinstance(failure, StoreLocked)
            assert failure.remedy == remedies.unlock_keyring()
            assert children() == []
            is_asked, seconds = prompter.is_called(0.1), 2 * seconds


async def test_a_cancelled_unlock_ends_its_process_and_does_not_block_other_calls(
    keyring: KeyringSession, prompter: Prompter, tmp_path: Path
) -> None:
    async with open_store(tmp_path) as store:
        await store.write("work", TEXT)
        keyring.lock()
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(store.unlock)
            assert await anyio.to_thread.run_sync(prompter.is_called, PATIENCE)
            assert isinstance(await failure_of(lambda: store.read("work")), StoreLocked)
            keyring.unlock()
            assert await store.read("work") == [TEXT]
            assert len(children()) == 2
            tasks.cancel_scope.cancel()
        assert len(children()) == 1
        assert await store.read("work") == [TEXT]


async def test_an_unlock_without_a_dialog_fails_at_once(keyring: KeyringSession, tmp_path: Path) -> None:
    keyring.lock()
    async with open_store(tmp_path) as store:
        assert isinstance(await failure_of(store.unlock), StoreLocked)
        assert children() == []


# ---- frozen and killed


async def test_a_frozen_keyring_fails_within_the_timeout_and_works_when_thawed(
    keyring: KeyringSession, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with open_store(tmp_path) as store:
        await store.write("work", TEXT)
        keyring.freeze()
        with monkeypatch.context() as patch:
            patch.setattr(store, "_limit", 1.5)
            failure = await failure_of(lambda: store.read("work"))
        assert "1.5 s" in failure.reason
        assert children() == []
        keyring.thaw()
        assert await store.read("work") == [TEXT]


async def test_a_keyring_that_is_killed_during_a_call_is_not_a_missing_one(
    keyring: KeyringSession, tmp_path: Path
) -> None:
    async with open_store(tmp_path) as store:
        await store.write("work", TEXT)
        keyring.freeze()
        failures: list[StoreError] = []

        async def read() -> None:
            failures.append(await failure_of(lambda: store.read("work")))

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(read)
            await anyio.sleep(0.2)  # until the call is with it; earlier it would find the next one, which is locked
            keyring.kill()
        assert type(failures[0]) in {StoreError, StoreLocked}
        # D-Bus has started another one by now, which nobody has unlocked.
        assert isinstance(await failure_of(lambda: store.read("work")), StoreLocked)
        keyring.unlock()
        assert await store.read("work") == [TEXT]


WRITER = """
import anyio, anyio.lowlevel, sys
from pathlib import Path
from auth_agent.secret import Secret
from auth_agent.storage.keyring import KeyringStore

async def main():
    store = KeyringStore(Path(sys.argv[1]))
    await store.write("work", Secret('{"text": "first"}'))
    print("written", flush=True)
    sys.stdin.readline()
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(store.write, "work", Secret('{"text": "second"}'))
        for _ in range(100):  # many more than it takes until the request is in the worker's socket
            await anyio.lowlevel.checkpoint()
        print("sent", flush=True)

anyio.run(main)
"""


def test_a_write_to_a_frozen_keyring_is_completed_though_the_agent_was_killed(
    keyring: KeyringSession, tmp_path: Path
) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", WRITER, str(tmp_path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, bufsize=0
    ) as process:
        assert process.stdout is not None
        assert process.stdin is not None
        assert process.stdout.readline() == b"written\n"
        (worker,) = workers_of(process.pid)
        keyring.freeze()
        process.stdin.write(b"\n")
        assert process.stdout.readline() == b"sent\n"
        process.kill()
    assert not is_gone(worker)
    keyring.thaw()
    until(lambda: keyring.read() == '{"text": "second"}')
    until(lambda: is_gone(worker))


# ---- not there


async def test_without_a_bus_the_keyring_is_missing_and_no_note_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(BUS, f"unix:path={tmp_path}/nobody")
    async with open_store(tmp_path) as store:
        for call in (lambda: store.read("work"), lambda: store.write("work", TEXT), lambda: store.delete("work")):
            failure = await failure_of(call)
            assert isinstance(failure, StoreMissing)
            assert failure.remedy == (remedies.move_to_file(), remedies.run_with_keyring())
    assert not (tmp_path / "keyring.json").exists()


async def test_a_missing_keyring_that_once_held_an_entry_may_come_back(
    keyring: KeyringSession, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with open_store(tmp_path) as store:
        await store.write("work", TEXT)
    with monkeypatch.context() as patch:
        patch.setenv(BUS, f"unix:path={tmp_path}/nobody")
        async with open_store(tmp_path) as store:
            failure = await failure_of(lambda: store.read("work"))
            assert type(failure) is StoreError
            assert failure.remedy == (remedies.run_with_keyring(), remedies.run_in_memory())
    async with open_store(tmp_path) as store:
        assert await store.read("work") == [TEXT]
        assert keyring.is_locked() is False


async def test_an_entry_of_another_installation_is_noted_when_it_is_read(
    keyring: KeyringSession, tmp_path: Path
) -> None:
    keyring.write('{"text": "theirs"}')
    async with open_store(tmp_path) as store:
        assert await store.read("another") == []
        assert not (tmp_path / "keyring.json").exists()
        assert await store.read("work") == [Secret('{"text": "theirs"}')]
        assert (tmp_path / "keyring.json").exists()


async def test_a_bus_without_its_variable_is_found_where_systemd_puts_it(
    keyring: KeyringSession, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bus = keyring.environment[BUS].removeprefix("unix:path=").partition(",")[0]
    (tmp_path / "bus").symlink_to(bus)
    monkeypatch.delenv(BUS)
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    async with open_store(tmp_path) as store:
        await store.write("work", TEXT)
    assert keyring.read() == TEXT.reveal()


async def test_a_bus_without_a_keyring_service_has_no_keyring(tmp_path: Path) -> None:
    with use(KeyringSession(keyring=False)):
        async with open_store(tmp_path) as store:
            failure = await failure_of(lambda: store.write("work", TEXT))
            assert isinstance(failure, StoreMissing)
            assert failure.remedy == (remedies.start_keyring(), remedies.move_to_file())
            assert isinstance(await failure_of(store.unlock), StoreLocked)
    assert not (tmp_path / "keyring.json").exists()


async def test_a_service_without_a_default_keyring_has_no_keyring_yet(keyring: KeyringSession, tmp_path: Path) -> None:
    assert keyring.is_locked() is False
    keyring.delete_default()
    async with open_store(tmp_path) as store:
        failure = await failure_of(lambda: store.write("work", TEXT))
        assert isinstance(failure, StoreMissing)
        assert failure.remedy == (remedies.start_keyring(), remedies.move_to_file())


async def test_no_call_goes_by_the_path_of_the_alias(keyring: KeyringSession, tmp_path: Path) -> None:
    """GNOME Keyring may abort at one, while other programs connect."""
    with monitor(keyring, tmp_path / "calls") as calls:
        async with open_store(tmp_path) as store:
            await store.write("work", TEXT)
            assert await store.read("work") == [TEXT]
            await store.unlock()
            await store.delete("work")
        until(lambda: "member=Delete" in calls())
    assert "path=/org/freedesktop/secrets/collection/login; " in calls()
    assert "path=/org/freedesktop/secrets/aliases" not in calls()


async def test_one_connection_serves_all_calls(keyring: KeyringSession, tmp_path: Path) -> None:
    """KeePassXC asks the user for each connection."""
    with monitor(keyring, tmp_path / "calls") as calls:
        async with open_store(tmp_path) as store:
            for _ in range(3):
                await store.write("work", TEXT)
                assert await store.read("work") == [TEXT]
            await store.delete("work")
        until(lambda: "member=Delete" in calls())
    searches = [line for line in calls().splitlines() if "member=SearchItems" in line]
    assert len(searches) >= 8
    assert len({word for line in searches for word in line.split() if word.startswith("sender=")}) == 1


# ---- the note


async def test_a_note_that_can_not_be_written_is_written_with_a_later_entry(
    keyring: KeyringSession, tmp_path: Path
) -> None:
    async with open_store(tmp_path) as store:
        (tmp_path / "keyring.json.new").mkdir()
        await store.write("work", TEXT)
        assert keyring.read() == TEXT.reveal()
        (tmp_path / "keyring.json.new").rmdir()
        await store.write("work", TEXT)
        assert (tmp_path / "keyring.json").exists()


@pytest.mark.parametrize("text", ["", "canary", "[]", '{"backend": 7}'])
def test_an_invalid_note_does_not_change_the_backend(text: str, tmp_path: Path) -> None:
    (tmp_path / "keyring.json").write_text(text)
    assert KeyringStore(tmp_path).backend == KeyringStore(tmp_path / "elsewhere").backend


@pytest.mark.parametrize("backend", ["os.getcwd", "no_such_module.Keyring"])
async def test_a_class_that_is_not_a_backend_is_an_error(backend: str, tmp_path: Path) -> None:
    store = KeyringStore(tmp_path, backend)
    assert type(await failure_of(lambda: store.read("work"))) in {StoreError, StoreMissing}
    await store.release()
    assert not (tmp_path / "keyring.json").exists()
