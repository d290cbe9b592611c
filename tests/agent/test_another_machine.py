"""Sessions that another machine stored: told of, neither sent nor changed until a login, a logout or an adoption."""

import json
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path

import anyio
import pytest
import trio.testing

from auth_agent import remedies
from auth_agent.oauth.outcome import InvalidGrant
from auth_agent.secret import Secret
from auth_agent.sessions.recovery import ELSEWHERE, OLD_COPY
from auth_agent.sessions.saver import UNREAD
from auth_agent.sessions.state import Locked, LoginRequired
from auth_agent.storage.store import StoreError, StoreLocked, StoreMissing, Unlocked, UnusableEntry
from tests.agent.heart import running
from tests.agent.test_rename import announce, rename
from tests.agent.test_saver import Heart, Machine, disk

pytestmark = pytest.mark.anyio

__all__ = ["disk"]  # a fixture of test_saver's: notes are written without a thread


@pytest.fixture
def anyio_backend() -> tuple[str, dict[str, object]]:
    return "trio", {"clock": trio.testing.MockClock(autojump_threshold=0)}


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    return Machine(tmp_path)


async def bring_entries(machine: Machine, *names: str) -> dict[str, Secret]:
    """Store sessions of those accounts on another machine, from where the entries alone come to this one."""
    machine.digest, machine.notes, own = "another machine", machine.notes / "there", machine.notes
    machine.notes.mkdir()
    for name in names or ("work",):
        await machine.store_session(name)
    machine.digest, machine.notes = "this machine", own
    return dict(machine.store.entries)


@asynccontextmanager
async def agent(machine: Machine) -> AsyncGenerator[Heart]:
    """An agent that has read everything."""
    async with machine.agent() as heart:
        for session in heart.table.sessions.values():
            await heart.saver.wait_until_loaded(session)
        yield heart


async def saved(heart: Heart, name: str = "work") -> None:
    await heart.saver.drain(60)
    assert heart.table.session(name).saved


# ---- not used


async def test_a_session_of_another_machine_is_told_of_and_not_used(machine: Machine) -> None:
    entries = await bring_entries(machine)
    async with agent(machine) as heart:
        assert (await heart.token(), await heart.refresh()) == ("login_required", "login_required")
        record = heart.table.record("work")
        assert record is not None
        assert (record["state"], record["reason"], record["failure"]) == ("login_required", ELSEWHERE, "store_failed")
        assert isinstance(heart.session.state, LoginRequired)
        assert heart.session.state.remedy == (remedies.adopt(),)
        await anyio.sleep(7200)
    async with agent(machine) as heart:
        assert await heart.token() == "login_required"
    assert machine.provider.presented == []
    assert machine.store.entries == entries
    assert not [call for call in machine.store.calls if not call.startswith(("read", "rest"))]


@pytest.mark.parametrize("digests", [("", "b"), ("a", ""), ("a", "a")])
async def test_a_session_is_used_if_either_machine_is_unknown_or_both_are_the_same(
    machine: Machine, digests: tuple[str, str]
) -> None:
    machine.digest, after = digests
    await machine.store_session()
    machine.digest = after
    async with agent(machine) as heart:
        assert await heart.token() == "at-2"
        await heart.refresh()
        await saved(heart)
    assert machine.store.entry()["machine"] == after


async def test_a_refresh_token_of_another_machine_is_not_sent_after_invalid_grant(machine: Machine) -> None:
    await machine.store_session()
    async with agent(machine) as heart:
        theirs = machine.store.entry()
        theirs["machine"], theirs["login"]["refresh_token"] = "another machine", "theirs"
        machine.store.entries["work"] = Secret(json.dumps(theirs))
        machine.provider.script = [InvalidGrant("invalid_grant")]
        assert await heart.refresh() == "login_required"
    assert machine.provider.presented == ["rt-2"]


# ---- what a person decides


async def test_a_login_replaces_it(machine: Machine) -> None:
    await bring_entries(machine)
    machine.provider.live = "rt-10"
    async with agent(machine) as heart:
        await heart.log_in("rt-10")
        await saved(heart)
        assert await heart.saver.adopt() == []
    assert machine.store.entry()["machine"] == "this machine"
    async with agent(machine) as heart:
        assert heart.state() == "ready"


async def test_a_logout_deletes_it_and_sends_nothing(machine: Machine) -> None:
    await bring_entries(machine)
    async with agent(machine) as heart:
        await heart.logins.log_out(heart.session, revoke=True)
        await saved(heart)
        assert await heart.saver.adopt() == []
    assert (machine.store.entries, machine.provider.revoked) == ({}, [])


async def test_a_logout_that_a_crash_interrupts_deletes_it_later(machine: Machine) -> None:
    await bring_entries(machine)
    async with agent(machine) as heart:
        machine.store.failing = {"delete work": StoreError("full")}
        await heart.log_out()
    machine.store.failing.clear()
    async with agent(machine) as heart:
        await saved(heart)
        assert heart.state() == "logged_out"
    assert machine.store.entries == {}


@pytest.mark.parametrize("expensive", [False, True])
async def test_it_is_this_machines_once_it_is_adopted(machine: Machine, expensive: bool) -> None:
    machine.accounts = ["work", "home", "own"]
    machine.store.expensive_writes = expensive
    await bring_entries(machine, "work", "home")
    machine.provider.live = "rt-own"
    await machine.store_session("own")
    own = machine.store.entries["own"]
    async with agent(machine) as heart:
        assert heart.states() == {"work": "login_required", "home": "login_required", "own": "ready"}
        assert await heart.saver.adopt() == ["home", "work"]
        assert set(heart.states().values()) == {"ready"}
        await saved(heart)
        assert await heart.saver.adopt() == []
    assert machine.provider.presented == []
    assert {entry["machine"] for entry in map(machine.store.entry, machine.accounts)} == {"this machine"}
    assert machine.store.entries["own"] == own
    async with agent(machine) as heart:
        assert set(heart.states().values()) == {"ready"}


async def test_what_is_adopted_right_after_the_start_is_read_first(machine: Machine) -> None:
    machine.accounts = ["work", "home"]
    await bring_entries(machine, "work", "home")
    async with machine.agent() as heart:
        assert await heart.saver.adopt() == ["home", "work"]
        assert set(heart.states().values()) == {"ready"}


async def test_a_locked_store_is_not_taken_for_one_with_nothing_to_adopt(machine: Machine) -> None:
    await bring_entries(machine)
    machine.break_store(StoreLocked("the keyring is locked"))
    async with machine.agent() as heart:
        await anyio.sleep(1)
        with pytest.raises(StoreLocked):
            await heart.saver.adopt()


async def test_without_a_store_there_is_nothing_to_adopt(machine: Machine) -> None:
    machine.break_store(StoreMissing("there is no keyring"))
    async with machine.agent() as heart:
        await anyio.sleep(1)
        assert await heart.saver.adopt() == []


async def test_a_store_without_other_machines_has_nothing_to_adopt() -> None:
    async with running() as world:
        assert await world.lock.adopt() == []


async def test_a_store_that_fails_meanwhile_adopts_it_once_it_works(machine: Machine) -> None:
    entries = await bring_entries(machine)
    async with agent(machine) as heart:
        machine.break_store(StoreError("the keyring hangs"))
        with pytest.raises(StoreError):
            await heart.saver.adopt()
        assert (await heart.token(), machine.store.entries) == ("locked", entries)
        machine.mend_store()
        await anyio.sleep(60)
        await saved(heart)
        assert await heart.token() == "at-2"
    assert machine.store.entry()["machine"] == "this machine"


async def test_a_logout_wins_over_an_adoption_that_waits(machine: Machine) -> None:
    entries = await bring_entries(machine)
    async with agent(machine) as heart:
        machine.break_store(StoreError("the keyring hangs"))
        with pytest.raises(StoreError):
            await heart.saver.adopt()
        await heart.log_out()
        machine.mend_store()
        await anyio.sleep(60)
        await saved(heart)
        assert (heart.state(), machine.store.entries) == ("logged_out", {})
        machine.store.entries = dict(entries)  # it comes again
        heart.session.state = Locked(UNREAD)
        heart.saver.read_all()
        await heart.saver.wait_until_loaded(heart.session)
        assert heart.session.reason == ELSEWHERE
    assert machine.store.entries == entries


async def test_it_refuses_no_restart(machine: Machine) -> None:
    machine.accounts = ["work", "home"]
    await bring_entries(machine)
    await machine.store_session("home")
    async with agent(machine) as heart:
        assert heart.states() == {"work": "login_required", "home": "ready"}
        await heart.saver.check()


async def test_an_adopted_refresh_token_that_this_machine_replaced_is_not_sent(machine: Machine) -> None:
    await machine.store_session()
    old = {**machine.store.entry(), "machine": "another machine"}
    async with agent(machine) as heart:
        await heart.refresh()
        await saved(heart)
    machine.provider.presented.clear()
    machine.store.entries["work"] = Secret(json.dumps(old))
    async with agent(machine) as heart:
        assert heart.session.reason == ELSEWHERE
        assert await heart.saver.adopt() == ["work"]
        assert await heart.refresh() == "login_required"
        assert heart.session.reason == OLD_COPY
    assert machine.provider.presented == []


async def test_an_adoption_keeps_the_note_of_a_refresh_that_a_crash_interrupted(machine: Machine) -> None:
    """Of a machine that was cloned with its notes."""
    await machine.store_session()
    machine.provider.delay = 100
    async with agent(machine) as heart, anyio.create_task_group() as tasks:
        tasks.start_soon(heart.refresh)
        await anyio.sleep(1)
        tasks.cancel_scope.cancel()
    machine.digest = "a clone"
    async with agent(machine) as heart:
        await anyio.sleep(1)
        assert machine.provider.presented == ["rt-2"]
        await heart.saver.adopt()
        await saved(heart)
        assert heart.journal.note("work").sent == [Secret("rt-2").fingerprint()]


async def test_an_entry_that_can_not_be_read_is_not_adopted(machine: Machine) -> None:
    await bring_entries(machine)
    newer = Secret(machine.store.entries["work"].reveal().replace('"version": 1', '"version": 2'))
    machine.store.entries["work"] = newer
    async with agent(machine) as heart:
        assert await heart.saver.adopt() == []
        await anyio.sleep(60)
    assert machine.store.entries == {"work": newer}


# ---- renamed accounts


@pytest.mark.parametrize("restarts", [False, True])
async def test_a_renamed_account_keeps_it_under_the_old_name_until_it_is_adopted(
    machine: Machine, restarts: bool
) -> None:
    entries = await bring_entries(machine)
    async with agent(machine) as heart:
        await announce(heart)
        rename(heart)
        await anyio.sleep(60)
        assert (heart.state("new"), machine.store.entries) == ("login_required", entries)
        if not restarts:
            assert await heart.saver.adopt() == ["new"]
            await saved(heart, "new")
    if restarts:
        async with agent(machine) as heart:
            assert (heart.state("new"), machine.store.entries) == ("login_required", entries)
            assert await heart.saver.adopt() == ["new"]
            await saved(heart, "new")
    assert list(machine.store.entries) == ["new"]
    assert machine.store.entry("new")["machine"] == "this machine"
    async with agent(machine) as heart:
        assert await heart.token(name="new") == "at-2"


# ---- old copies


class OldCopies:
    """What a passphrase does to a store that is unlocked, and has an old copy of an entry until it is adopted."""

    is_new = False
    locked = None

    def __init__(self, machine: Machine, name: str) -> None:
        self._failing, self._name = machine.store.failing, name
        self._failing[f"read {name}"] = UnusableEntry("the store's entry is an older copy", remedies.adopt())

    async def unlock_by(self, passphrase: Secret) -> Unlocked:
        raise NotImplementedError

    async def change_passphrase(self, passphrase: Secret, new: Secret) -> Unlocked:
        raise NotImplementedError

    def lock(self) -> None:
        raise NotImplementedError

    async def adopt(self) -> list[str]:
        await anyio.sleep(0.01)
        return [self._name] if self._failing.pop(f"read {self._name}", None) else []


async def test_an_old_copy_of_another_machine_is_adopted_at_once(machine: Machine) -> None:
    await bring_entries(machine)
    machine.store.sealed = OldCopies(machine, "work")
    async with agent(machine) as heart:
        assert await heart.saver.adopt() == ["work"]
        await saved(heart)
        assert heart.state() == "ready"
    assert machine.store.entry()["machine"] == "this machine"


async def test_an_old_copy_of_a_newer_version_is_left_as_it_is(machine: Machine) -> None:
    await machine.store_session()
    newer = Secret(machine.store.entries["work"].reveal().replace('"version": 1', '"version": 2'))
    machine.store.entries["work"] = newer
    machine.store.sealed = OldCopies(machine, "work")
    async with agent(machine) as heart:
        assert await heart.saver.adopt() == []
        await anyio.sleep(60)
    assert machine.store.entries == {"work": newer}


async def test_an_old_copy_of_a_renamed_account_is_adopted(machine: Machine) -> None:
    await machine.store_session()
    machine.store.sealed = OldCopies(machine, "work")
    async with agent(machine) as heart:
        await announce(heart)
        rename(heart)
        assert heart.state("new") == "login_required"
        assert "new" in await heart.saver.adopt()
        await saved(heart, "new")
    assert list(machine.store.entries) == ["new"]
