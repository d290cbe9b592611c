"""A reading of the store is not a verdict: an entry that is not found, or is garbage, is looked for again."""

import errno
from itertools import pairwise

import anyio
import pytest
import trio.testing

from auth_agent import remedies
from auth_agent.secret import Secret
from auth_agent.sessions.doubts import Doubts
from auth_agent.sessions.entry import GARBAGE
from auth_agent.sessions.recovery import GONE, READ_AGAIN, doubt, unreadable
from auth_agent.sessions.session import Session
from auth_agent.storage import journal
from auth_agent.storage.store import StoreLocked
from auth_agent_client import errors
from tests.agent import test_saver
from tests.agent.test_recovery import stored
from tests.agent.test_saver import Heart, Machine
from tests.agent.world import account

pytestmark = pytest.mark.anyio

disk = test_saver.disk
machine = test_saver.machine
GARBLED = Secret("")


@pytest.fixture
def anyio_backend() -> tuple[str, dict[str, object]]:
    return "trio", {"clock": trio.testing.MockClock(autojump_threshold=0)}


# ---- when


def test_a_session_without_a_doubt_is_due_at_once() -> None:
    doubts, session = Doubts(), Session(account("work"), 0.5)
    assert doubts.is_due(session, 0)
    assert doubts.pause([session], 0) == float("inf")


def test_the_pauses_between_two_readings_grow_up_to_a_minute() -> None:
    doubts, session, now = Doubts(), Session(account("work"), 0.5), 0.0
    pauses: list[float] = []
    for number in range(12):
        assert doubts.readings(session) == number
        doubts.add(session, now)
        pauses.append(doubts.pause([session], now))
        assert not doubts.is_due(session, now + pauses[-1] - 0.01)
        now += pauses[-1]
        assert doubts.is_due(session, now)
    assert all(first <= second for first, second in pairwise(pauses))
    assert max(pauses) == 60


def test_a_session_that_is_not_to_be_read_shortens_no_pause() -> None:
    doubts, first, second = Doubts(), Session(account("work"), 0.5), Session(account("home"), 0.5)
    doubts.add(first, 0)
    assert doubts.pause([second], 100) == float("inf")
    assert doubts.pause([first, second], 0) < 1


def test_a_client_has_a_session_read_again_once_a_second() -> None:
    doubts, session = Doubts(), Session(account("work"), 0.5)
    assert not doubts.was_just_read(session, 0)
    doubts.add(session, 0)
    assert doubts.was_just_read(session, 0.9)
    assert not doubts.was_just_read(session, 1)


# ---- what


def test_an_entry_that_was_held_is_gone_and_not_logged_out() -> None:
    lock = doubt(None, "work", 99, is_held=True)
    assert lock is not None
    assert (lock.reason, lock.failure, lock.is_replaceable) == (GONE, "store_failed", True)
    assert lock.remedy == remedies.find_entry("work")
    assert doubt(None, "work", 0, is_held=False) is None


def test_garbage_is_read_several_times_before_it_is_believed() -> None:
    garbage = unreadable(account("work"), GARBAGE)
    reasons = [getattr(doubt(garbage, "work", readings, is_held=True), "reason", None) for readings in range(6)]
    assert reasons == [READ_AGAIN] * 4 + [None] * 2
    assert doubt(unreadable(account("work"), "of a newer version"), "work", 0, is_held=True) is None
    assert doubt(stored(), "work", 0, is_held=True) is None


# ---- an agent


def shown(heart: Heart) -> tuple[object, object, object]:
    record = heart.table.record("work")
    assert record is not None
    return record["state"], record["failure"], record["reason"]


async def test_a_session_whose_entry_is_gone_comes_back_with_it(machine: Machine) -> None:
    await machine.store_session()
    keyring, machine.store.entries = machine.store.entries, {}
    async with machine.agent() as heart:
        assert await heart.token() == "locked"
        assert shown(heart) == ("locked", "store_failed", GONE)
        assert heart.saver.about()["state"] == "ready"
        await anyio.sleep(900)
        assert shown(heart) == ("locked", "store_failed", GONE)
        calls = len(machine.store.calls)
        await anyio.sleep(600)
        assert len(machine.store.calls) - calls <= 2 * 11
        machine.store.entries = keyring
        await anyio.sleep(61)
        assert await heart.token() == "at-2"


async def test_a_client_finds_an_entry_that_is_back(machine: Machine) -> None:
    await machine.store_session()
    keyring, machine.store.entries = machine.store.entries, {}
    async with machine.agent() as heart:
        await anyio.sleep(900)
        machine.store.entries = keyring
        assert await heart.token() == "at-2"


async def test_many_clients_of_a_session_that_is_gone_cause_one_reading_a_second(machine: Machine) -> None:
    await machine.store_session()
    machine.store.entries = {}
    async with machine.agent() as heart:
        await anyio.sleep(60)
        calls = machine.store.calls.count("read work")
        for _ in range(100):
            assert await heart.token() == "locked"
            await anyio.sleep(0.05)
        assert machine.store.calls.count("read work") - calls <= 7


async def test_a_session_that_was_logged_out_is_not_missed(machine: Machine) -> None:
    await machine.store_session()
    async with machine.agent() as heart:
        await anyio.sleep(1)
        await heart.log_out()
        await anyio.sleep(1)
    for _ in range(2):
        async with machine.agent() as heart:
            assert await heart.token() == "login_required"
            assert shown(heart)[0] == "logged_out"
            assert heart.journal.note("work").tombstone is None


async def test_an_account_that_never_had_a_session_is_not_missed(machine: Machine) -> None:
    async with machine.agent() as heart:
        assert await heart.token() == "login_required"
        assert shown(heart)[0] == "logged_out"


async def test_an_entry_of_an_earlier_version_is_missed_once_it_was_read(machine: Machine) -> None:
    await machine.store_session()
    for note in machine.notes.iterdir():
        note.unlink()
    async with machine.agent() as heart:
        assert await heart.token() == "at-2"
    machine.store.entries = {}
    async with machine.agent() as heart:
        assert await heart.token() == "locked"


async def test_a_login_replaces_a_session_that_is_gone_for_good(machine: Machine) -> None:
    await machine.store_session()
    old, machine.store.entries = machine.store.entries, {}
    async with machine.agent() as heart:
        assert await heart.token() == "locked"
        await heart.log_in("rt-2")
        assert await heart.token() == "at-3"
        await anyio.sleep(100)
        assert heart.saver.about()["unread"] == 0
    new = machine.store.entries
    # The keyring from before is back: with the new entry beside, and alone.
    machine.store.copies = {"work": [old["work"]]}
    async with machine.agent() as heart:
        assert await heart.token() == "at-3"
    machine.store.entries, machine.store.copies = dict(old), {}
    async with machine.agent() as heart:
        assert await heart.token() == "locked"
        machine.store.entries = new
        await anyio.sleep(61)
        assert await heart.token() == "at-3"


async def test_a_refresh_token_that_was_replaced_is_not_imported_in_place_of_a_session_that_is_gone(
    machine: Machine,
) -> None:
    await machine.store_session()  # by the import of rt-1
    machine.store.entries = {}
    async with machine.agent() as heart:
        assert await heart.token() == "locked"
        with pytest.raises(errors.InvalidRequest) as caught:
            await heart.log_in("rt-1")
        assert caught.value.parameter == "refresh_token"
    assert machine.provider.presented == []


async def test_a_login_during_which_the_store_begins_to_fail_is_saved_later(machine: Machine) -> None:
    await machine.store_session()
    machine.store.entries = {}
    machine.provider.delay = 20
    async with machine.agent() as heart, anyio.create_task_group() as tasks:
        assert await heart.token() == "locked"
        tasks.start_soon(heart.log_in, "rt-2")
        await anyio.sleep(1)
        machine.break_store(StoreLocked("the keyring is locked"))
        await anyio.sleep(60)
        assert await heart.token() == "at-3"
        machine.mend_store()
        await heart.saver.drain(60)
        assert machine.store.refresh_token() == "rt-3"


async def test_a_login_is_refused_while_an_entry_that_came_back_is_garbled(machine: Machine) -> None:
    await machine.store_session()
    machine.store.entries = {}
    machine.provider.delay = 0.7
    async with machine.agent() as heart, anyio.create_task_group() as tasks:
        assert await heart.token() == "locked"
        codes: list[str] = []

        async def log_in() -> None:
            try:
                await heart.log_in("rt-2")
            except errors.AgentError as error:
                codes.append(error.code)

        machine.store.entries = {"work": GARBLED}
        tasks.start_soon(log_in)
        await anyio.sleep(5)
        assert codes == ["locked"]


@pytest.mark.parametrize("garbled", [True, False])
async def test_an_entry_that_can_not_be_read_is_not_taken_for_one_that_is_gone(
    machine: Machine, *, garbled: bool
) -> None:
    await machine.store_session()
    machine.store.entries = {}
    async with machine.agent() as heart:
        assert await heart.token() == "locked"
        await heart.log_in("rt-2")  # it has a tombstone from now on
    newer = Secret(machine.store.entries["work"].reveal().replace('"version": 1', '"version": 2'))
    machine.store.entries["work"] = GARBLED if garbled else newer
    async with machine.agent() as heart:
        await anyio.sleep(60)
        assert shown(heart)[0] == "login_required"


async def test_a_session_that_was_gone_at_its_logout_does_not_come_back(machine: Machine) -> None:
    await machine.store_session()
    old, machine.store.entries = machine.store.entries, {}
    async with machine.agent() as heart:
        assert await heart.token() == "locked"
        await heart.log_out()
        await anyio.sleep(1)
        assert shown(heart)[0] == "logged_out"
        await heart.log_in("rt-2")
        await heart.log_out()
        await anyio.sleep(1)
    machine.store.entries = old
    async with machine.agent() as heart:
        assert await heart.token() == "login_required"
        assert shown(heart)[0] == "logged_out"
        await anyio.sleep(1)
        assert machine.store.entries == {}


async def test_a_session_whose_entry_vanished_before_its_logout_does_not_come_back(machine: Machine) -> None:
    await machine.store_session()
    async with machine.agent() as heart:
        await anyio.sleep(1)
        old, machine.store.entries = machine.store.entries, {}
        await heart.log_out()
        await anyio.sleep(1)
    machine.store.entries = old
    async with machine.agent() as heart:
        assert await heart.token() == "login_required"
        assert shown(heart)[0] == "logged_out"


async def test_one_garbled_reading_ends_no_session(machine: Machine) -> None:
    await machine.store_session()
    keyring, machine.store.entries = machine.store.entries, {"work": GARBLED}
    async with machine.agent() as heart:
        assert await heart.token() == "locked"
        assert shown(heart) == ("locked", "store_failed", READ_AGAIN)
        machine.store.entries = keyring
        await anyio.sleep(1)
        assert await heart.token() == "at-2"


async def test_an_entry_that_stays_garbled_needs_a_login_and_stays(machine: Machine) -> None:
    machine.store.entries = {"work": GARBLED}
    async with machine.agent() as heart:
        await anyio.sleep(10)
        assert shown(heart) == ("login_required", "store_failed", GARBAGE)
        assert machine.store.entries == {"work": GARBLED}


async def test_a_good_copy_beside_one_that_is_garbled_is_used(machine: Machine) -> None:
    await machine.store_session()
    machine.store.copies = {"work": [GARBLED]}
    async with machine.agent() as heart:
        assert await heart.token() == "at-2"


async def test_a_restart_leaves_the_session_in_the_keyring_that_is_there(machine: Machine) -> None:
    await machine.store_session()
    async with machine.agent() as heart:
        await anyio.sleep(1)
        before, machine.store.entries = machine.store.entries, {}
        await heart.saver.check()
        assert machine.store.entries.keys() == before.keys()
    async with machine.agent() as heart:
        assert await heart.token() == "at-2"


async def test_a_restart_leaves_no_old_copy_in_the_keyring_that_is_there(machine: Machine) -> None:
    await machine.store_session()
    old = dict(machine.store.entries)
    async with machine.agent() as heart:
        await heart.token()
        assert await heart.refresh() == "at-3"
        machine.store.entries = old
        await heart.saver.check()
    async with machine.agent() as heart:
        assert await heart.token() == "at-3"


async def test_a_second_login_in_a_changed_keyring_survives_a_full_disk(
    machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise OSError(errno.ENOSPC, "no space")

    await machine.store_session()
    machine.store.entries = {}
    async with machine.agent() as heart:
        assert await heart.token() == "locked"
        await heart.log_in("rt-2")
    machine.store.entries = {}
    async with machine.agent() as heart:
        assert await heart.token() == "locked"
        with monkeypatch.context() as patch:
            patch.setattr(journal, "write_note", fail)
            await heart.log_in("rt-3")
            assert await heart.token() == "at-4"
    async with machine.agent() as heart:
        assert await heart.token() == "at-4"


async def test_a_locked_agent_does_not_look_for_a_session_that_is_gone(machine: Machine) -> None:
    await machine.store_session()
    machine.store.entries = {}
    async with machine.agent() as heart:
        assert await heart.token() == "locked"
        await heart.lock.lock(None, keep_alive=False)
        await anyio.sleep(100)
        calls = len(machine.store.calls)
        await anyio.sleep(1000)
        assert len(machine.store.calls) - calls <= 1
