"""Sessions of accounts that are renamed: in a fake world, with a crash after each step, and a store that fails."""

import json
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import anyio
import pytest
import trio.testing
from anyio.abc import TaskGroup

from auth_agent.config import Config
from auth_agent.secret import Secret
from auth_agent.storage.store import StoreError, StoreLocked
from auth_agent_client import errors
from tests.agent.test_saver import Disk, Heart, Machine, disk
from tests.agent.world import account, config

pytestmark = pytest.mark.anyio

__all__ = ["disk"]  # a fixture of test_saver's: notes are written without a thread


@pytest.fixture
def anyio_backend() -> tuple[str, dict[str, object]]:
    return "trio", {"clock": trio.testing.MockClock(autojump_threshold=0)}


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    return Machine(tmp_path)


NEW = config(account("new"))


def rename(heart: Heart, new: Config = NEW) -> None:
    """The new configuration is read."""
    heart.machine.accounts = list(new.accounts)
    heart.table.configure(new)
    heart.saver.read_all()


async def announce(heart: Heart, name: str = "new") -> None:
    """What the method `rename` does before the configuration is written."""
    session = heart.table.session("work")
    assert await heart.saver.announce_move(session, name)
    heart.table.renames[name] = "work"


@asynccontextmanager
async def with_session(machine: Machine) -> AsyncGenerator[Heart]:
    """An agent with a session of `work` that is saved."""
    await machine.store_session()
    async with machine.agent() as heart:
        await heart.saver.wait_until_loaded(heart.session)
        yield heart


async def rename_in_flight(heart: Heart, tasks: TaskGroup) -> None:
    """Rename the account a second after its refresh has begun; return while the refresh is still under way."""
    await announce(heart)
    tasks.start_soon(heart.refresh)
    await anyio.sleep(1)
    rename(heart)
    await anyio.sleep(1)


async def all_saved(heart: Heart) -> None:
    await anyio.sleep(1)
    assert heart.saver.about()["unsaved"] == 0


async def check_moved(machine: Machine) -> None:
    """The session is that of `new` alone, for this agent and for the next, and refreshes."""
    machine.accounts = ["new"]
    async with machine.agent() as heart:
        assert await heart.token(name="new") == "at-2"
        await all_saved(heart)
        assert list(machine.store.entries) == ["new"]
        session = heart.table.session("new")
        assert await heart.token(session.demand_newer(), "new") == "at-3"
        assert machine.provider.presented == ["rt-2"]
        await all_saved(heart)
        assert machine.store.refresh_token("new") == "rt-3"
    machine.accounts = ["work", "new"]
    async with machine.agent() as heart:
        assert await heart.token(name="new") == "at-3"
        assert await heart.token() == "login_required"


async def test_a_session_moves_to_the_new_name_without_a_login_or_a_refresh(machine: Machine) -> None:
    async with with_session(machine) as heart:
        await announce(heart)
        session, revision = heart.session, heart.session.revision
        rename(heart)
        assert heart.table.session("new") is session
        assert session.revision > revision
        assert await heart.token(name="new") == "at-2"
        with pytest.raises(errors.UnknownAccount):
            heart.table.session("work")
        await all_saved(heart)
        assert machine.store.entry("new")["account"] == "new"
        assert list(machine.store.entries) == ["new"]
    assert machine.provider.presented == []
    await check_moved(machine)


async def test_a_rename_that_the_configuration_never_has_changes_nothing(machine: Machine) -> None:
    async with with_session(machine) as heart:
        await announce(heart)
        assert await heart.refresh() == "at-3"
    machine.accounts = ["work", "new"]
    async with machine.agent() as heart:
        assert await heart.token() == "at-3"
        assert await heart.token(name="new") == "login_required"
        await all_saved(heart)
    assert list(machine.store.entries) == ["work"]


async def test_the_next_agent_moves_it_if_this_one_ends_before_it_reads_the_configuration(machine: Machine) -> None:
    async with with_session(machine) as heart:
        await announce(heart)
    await check_moved(machine)


@pytest.mark.parametrize("steps", range(12))
async def test_a_crash_at_any_step_leaves_one_session(machine: Machine, disk: Disk, steps: int) -> None:
    disk.delay = 0.01
    async with with_session(machine) as heart:
        await announce(heart)
        rename(heart)
        await anyio.sleep(steps * 0.005)
    await check_moved(machine)


@pytest.mark.parametrize("steps", range(12))
async def test_a_crash_at_any_step_of_the_next_agent_leaves_one_session(
    machine: Machine, disk: Disk, steps: int
) -> None:
    disk.delay = 0.01
    async with with_session(machine) as heart:
        await announce(heart)
    machine.accounts = ["new"]
    async with machine.agent():
        await anyio.sleep(steps * 0.005)
    await check_moved(machine)


async def test_a_refresh_in_flight_is_saved_under_the_new_name(machine: Machine) -> None:
    async with with_session(machine) as heart:
        machine.provider.delay = 5
        async with anyio.create_task_group() as tasks:
            await rename_in_flight(heart, tasks)
            assert heart.journal.note("new").sent == [Secret("rt-2").fingerprint()]
        assert await heart.token(name="new") == "at-3"
        await all_saved(heart)
    assert machine.store.refresh_token("new") == "rt-3"
    assert list(machine.store.entries) == ["new"]
    assert json.loads(next(machine.notes.glob("new.*")).read_text())["sent"] == []


async def test_a_refresh_that_a_crash_interrupts_is_repeated_under_the_new_name(machine: Machine) -> None:
    async with with_session(machine) as heart:
        machine.provider.delay = 5
        async with anyio.create_task_group() as tasks:
            await rename_in_flight(heart, tasks)
            tasks.cancel_scope.cancel()
    machine.provider.delay = 0
    machine.accounts = ["new"]
    async with machine.agent() as heart:
        await heart.saver.wait_until_loaded(heart.table.session("new"))
        await anyio.sleep(1)
        assert machine.provider.presented == ["rt-2", "rt-2"]


async def test_a_write_under_the_old_name_that_is_under_way_is_repeated_under_the_new_one(machine: Machine) -> None:
    machine.store.expensive_writes = True
    async with with_session(machine) as heart:
        await announce(heart)
        machine.store.latency = 1
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(heart.refresh)
            await anyio.sleep(0.5)
            rename(heart)
        await anyio.sleep(5)
        assert list(machine.store.entries) == ["new"]
        assert machine.store.refresh_token("new") == "rt-3"
        assert machine.store.calls[-3:] == ["write work", "write new", "delete work"]


async def test_a_locked_session_is_moved_when_it_can_be_read(machine: Machine) -> None:
    await machine.store_session()
    machine.break_store(StoreLocked("the keyring is locked"))
    async with machine.agent() as heart:
        await anyio.sleep(0.1)
        await announce(heart)
        rename(heart)
        assert heart.state("new") == "locked"
        machine.mend_store()
        await anyio.sleep(6)
        assert await heart.token(name="new") == "at-2"
        assert list(machine.store.entries) == ["new"]


async def test_a_session_that_is_read_while_its_account_is_renamed_is_read_again(machine: Machine) -> None:
    await machine.store_session()
    machine.store.latency = 1
    async with machine.agent() as heart:
        await announce(heart)
        await anyio.sleep(0.5)
        rename(heart)
        await anyio.sleep(10)
        assert await heart.token(name="new") == "at-2"
        assert list(machine.store.entries) == ["new"]


async def test_the_old_entry_stays_until_the_new_one_is_written(machine: Machine) -> None:
    async with with_session(machine) as heart:
        await announce(heart)
        machine.store.failing["write new"] = StoreError("the store hangs")
        rename(heart)
        await anyio.sleep(30)
        assert list(machine.store.entries) == ["work"]
        assert not await heart.saver.announce_move(heart.table.session("new"), "third")
        machine.mend_store()
        await anyio.sleep(30)
        assert list(machine.store.entries) == ["new"]
        assert await heart.saver.announce_move(heart.table.session("new"), "third")


async def test_an_old_entry_that_can_not_be_deleted_is_dead_and_deleted_later(machine: Machine) -> None:
    async with with_session(machine) as heart:
        await announce(heart)
        machine.store.failing["delete work"] = StoreError("the store hangs")
        rename(heart)
        await anyio.sleep(30)
        assert sorted(machine.store.entries) == ["new", "work"]
    machine.mend_store()
    await check_moved(machine)


async def test_an_account_that_gets_the_old_name_meanwhile_does_not_get_the_session(machine: Machine) -> None:
    async with with_session(machine) as heart:
        await announce(heart)
        machine.store.failing["write new"] = StoreError("the store hangs")
        rename(heart)
        await anyio.sleep(1)
        rename(heart, config(account("new"), account("work")))
        machine.mend_store()
        await anyio.sleep(30)
        assert (heart.state("new"), heart.state("work")) == ("ready", "logged_out")
        assert list(machine.store.entries) == ["new"]


async def test_a_logout_wins_over_a_move(machine: Machine) -> None:
    async with with_session(machine) as heart:
        await announce(heart)
        machine.break_store(StoreError("the store hangs"))
        rename(heart)
        await heart.logins.log_out(heart.session, revoke=False)
    machine.mend_store()
    machine.accounts = ["new"]
    async with machine.agent() as heart:
        assert await heart.token(name="new") == "login_required"
        await all_saved(heart)
    assert machine.store.entries == {}


async def test_an_entry_of_an_earlier_account_of_the_new_name_is_dead(machine: Machine) -> None:
    async with with_session(machine) as heart:
        theirs: dict[str, Any] = {**machine.store.entry(), "account": "new"}
        theirs["login"]["refresh_token"] = "theirs"
        machine.store.entries["new"] = Secret(json.dumps(theirs))
        await announce(heart)
    await check_moved(machine)


async def test_an_entry_of_a_newer_version_is_left_where_it_is(machine: Machine) -> None:
    await machine.store_session()
    newer = Secret(machine.store.entries["work"].reveal().replace('"version": 1', '"version": 2'))
    machine.store.entries["work"] = newer
    async with machine.agent() as heart:
        await heart.saver.wait_until_loaded(heart.session)
        await announce(heart)
        rename(heart)
        await anyio.sleep(5)
        assert heart.state("new") == "login_required"
    machine.accounts = ["new"]
    async with machine.agent() as heart:
        await heart.saver.wait_until_loaded(heart.table.session("new"))
        await anyio.sleep(5)
    assert machine.store.entries == {"work": newer}


async def test_an_account_that_is_not_logged_in_is_renamed_too(machine: Machine) -> None:
    async with machine.agent() as heart:
        await heart.saver.wait_until_loaded(heart.session)
        await announce(heart)
        rename(heart)
        await all_saved(heart)
        assert heart.state("new") == "logged_out"
        await heart.log_in("rt-1", "new")
        await all_saved(heart)
    assert list(machine.store.entries) == ["new"]


async def test_a_login_ends_the_move_of_a_session_whose_entry_is_gone(machine: Machine) -> None:
    await machine.store_session()
    old, machine.store.entries = machine.store.entries, {}
    async with machine.agent() as heart:
        assert await heart.token() == "locked"
        await announce(heart)
        rename(heart)
        assert await heart.token(name="new") == "locked"
        await heart.log_in("rt-2", "new")
        await all_saved(heart)
        assert await heart.saver.announce_move(heart.session, "newer")
    machine.store.entries.update(old)
    machine.accounts = ["work", "new"]
    async with machine.agent() as heart:
        assert await heart.token() == "login_required"
        assert await heart.token(name="new") == "at-3"


async def test_a_deletion_under_the_new_name_that_is_pending_does_not_meet_the_session(machine: Machine) -> None:
    machine.accounts = ["work", "new"]
    await machine.store_session("new")
    await machine.store_session()
    async with machine.agent() as heart:
        await heart.token()
        await heart.token(name="new")
        machine.store.failing["delete new"] = StoreError("it can't be deleted")
        await heart.logins.log_out(heart.table.session("new"), revoke=False)
        heart.table.configure(config(account("work")))
        assert not await heart.saver.announce_move(heart.session, "new")
        machine.mend_store()
        await anyio.sleep(60)
        await announce(heart)
        rename(heart)
        await all_saved(heart)
    machine.accounts = ["new"]
    async with machine.agent() as heart:
        assert (await heart.token(name="new")).startswith("at-")


async def test_a_session_that_was_logged_out_does_not_come_back_under_the_new_name(machine: Machine) -> None:
    machine.accounts = ["work", "new"]
    await machine.store_session("new")
    theirs = machine.store.entry("new")
    theirs["login"]["refresh_token"] = "theirs"
    machine.store.entries.clear()
    await machine.store_session()
    async with machine.agent() as heart:
        assert await heart.token(name="new") == "locked"
        await heart.logins.log_out(heart.table.session("new"), revoke=False)
        await all_saved(heart)
        heart.table.configure(config(account("work")))
        await announce(heart)
        rename(heart)
        await all_saved(heart)
    machine.accounts = ["new"]
    machine.store.entries = {"new": Secret(json.dumps(theirs))}
    async with machine.agent() as heart:
        assert await heart.token(name="new") == "locked"


async def test_once_a_rename_is_over_the_old_name_may_be_given_again(machine: Machine) -> None:
    async with with_session(machine) as heart:
        await announce(heart)
        rename(heart)
        await anyio.sleep(1)
        assert set(machine.store.entries) == {"new"}
        assert await heart.saver.announce_move(heart.session, "work")
