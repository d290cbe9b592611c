"""Saver and refresher on a fake store, in a world whose clock jumps: restarts, outages and logouts in no time."""

import itertools
import json
import logging
from collections import Counter
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path

import anyio
import anyio.lowlevel
import anyio.to_thread
import pytest
import trio.testing

from auth_agent import remedies
from auth_agent.oauth.outcome import InteractionRequired, InvalidGrant, Unsent
from auth_agent.secret import Secret
from auth_agent.sessions import heart
from auth_agent.sessions.decision import Demand
from auth_agent.sessions.profile import ProfileResult
from auth_agent.sessions.rate_limit import RateLimit
from auth_agent.sessions.record import state_name
from auth_agent.sessions.recovery import INTERRUPTED, OLD_COPY
from auth_agent.sessions.saver import UNREAD, Saver
from auth_agent.sessions.session import Session
from auth_agent.sessions.table import Table
from auth_agent.storage.journal import Journal
from auth_agent.storage.store import StoreError, StoreLocked, StoreMissing
from auth_agent_client import errors
from auth_agent_client.remedy import remedies_to_wire
from tests.agent.world import FakeClock, FakeProvider, FakeSignatures, FakeStore, account, config, token_response

pytestmark = pytest.mark.anyio

LOCKED = StoreLocked("the keyring is locked", *remedies.unlock_keyring())
MISSING = StoreMissing("there is no keyring")
FAILING = StoreError("the keyring hangs")
DEFECT = RuntimeError("canary of what was being kept")
EVERY_FAILURE = pytest.mark.parametrize(
    "failure", [LOCKED, MISSING, FAILING, DEFECT], ids=["locked", "missing", "failing", "defect"]
)


@pytest.fixture
def anyio_backend() -> tuple[str, dict[str, object]]:
    return "trio", {"clock": trio.testing.MockClock(autojump_threshold=0)}


class Disk:
    """Writes notes when it says so: while a thread did it, the virtual clock would jump to the patience's end."""

    delay = 0.0

    async def run_sync(self, call: Callable[..., object], *arguments: object, **_: object) -> object:
        """Stands for anyio's, which calls in a thread."""
        await anyio.sleep(self.delay)
        return call(*arguments)


@pytest.fixture(autouse=True)
def disk(monkeypatch: pytest.MonkeyPatch) -> Disk:
    one = Disk()
    monkeypatch.setattr(anyio.to_thread, "run_sync", one.run_sync)
    return one


class Heart(heart.Heart):
    """An agent's heart, from its start to its crash."""

    def __init__(self, machine: "Machine") -> None:
        self.machine = machine
        table = Table(config(*map(account, machine.accounts)), machine.clock, lambda: 0.5, unread=UNREAD)
        self.journal = Journal(machine.notes)
        saver = Saver(table, machine.store, self.journal)
        super().__init__(table, saver, lambda _: machine.provider, FakeSignatures(), lambda: 0.5)
        self.session: Session = table.session("work")

    def state(self, name: str = "work") -> str:
        return state_name(self.table.session(name), self.machine.clock.now())

    def states(self) -> dict[str, str]:
        return {name: self.state(name) for name in self.table.sessions}

    async def log_in(self, refresh_token: str = "rt-1", name: str = "work", *, switch_user: bool = False) -> None:
        session = self.table.session(name)
        await self.logins.import_refresh_token(session, Secret(refresh_token), switch_user=switch_user)

    async def token(self, demand: Demand | None = None, name: str = "work") -> str:
        """What a client gets, as the handlers have it: a token, or an error's code."""
        session = self.table.session(name)
        try:
            if session.is_locked:
                await self.saver.wait_until_loaded(session)
            found = await self.refresher.token(session, demand or Demand(), RateLimit(), 15)
        except errors.AgentError as error:
            return error.code
        return found.value.reveal()

    async def refresh(self) -> str:
        return await self.token(self.session.demand_newer())

    async def log_out(self) -> None:
        await self.logins.log_out(self.session, revoke=False)

    async def profile(self) -> ProfileResult:
        return await self.profiles.get(self.session, 300, 15)


class Machine:
    """What outlives an agent: the store, the notes beside it, the clock, and the provider."""

    def __init__(self, notes: Path) -> None:
        self.accounts = ["work"]
        self.notes = notes
        self.store = FakeStore()
        self.clock = FakeClock(running=True)
        self.provider = FakeProvider()

    @asynccontextmanager
    async def agent(self) -> AsyncGenerator[Heart]:
        """An agent that ends as a crash has it: nothing is waited for."""
        heart = Heart(self)
        async with anyio.create_task_group() as tasks:
            heart.run_in(tasks)
            tasks.start_soon(heart.refresher.run)
            await anyio.lowlevel.checkpoint()
            heart.saver.read_all()
            yield heart
            tasks.cancel_scope.cancel()

    async def has_a_session(self, name: str = "work", refresh_token: str | None = None) -> None:
        """Let the store have one, from an agent before; the provider's token that is good is its own."""
        async with self.agent() as heart:
            await heart.saver.wait_until_loaded(heart.table.session(name))
            await heart.log_in(refresh_token or self.provider.live, name)
        self.provider.presented.clear()
        self.provider.at.clear()
        self.store.calls.clear()
        self.store.at.clear()

    def fails(self, failure: Exception) -> None:
        self.store.failing["all"] = failure

    def is_mended(self) -> None:
        self.store.failing.clear()


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    return Machine(tmp_path)


class Watcher:
    """Writes down what each change of a record shows."""

    def __init__(self, heart: Heart, field: str) -> None:
        self.seen: list[object] = []
        self._heart = heart
        self._field = field
        heart.table.watch(self)

    def changed(self, account: str) -> None:
        record = self._heart.table.record(account)
        assert record is not None
        self.seen.append(record[self._field])


async def seconds(call: Callable[[], Awaitable[object]]) -> float:
    """How long that takes, on the clock that jumps."""
    begun = anyio.current_time()
    await call()
    return anyio.current_time() - begun


# ---- reading


async def test_a_session_is_there_again_after_a_restart_with_its_token_and_without_a_refresh(machine: Machine) -> None:
    await machine.has_a_session()
    async with machine.agent() as heart:
        assert heart.state() == "locked"
        assert await heart.token() == "at-2"
        assert (heart.session.epoch, heart.session.last_refresh_at is None) == (1, False)
        assert machine.provider.presented == []
        await anyio.sleep(3600)
        assert machine.provider.presented == ["rt-2"]
        assert machine.store.refresh_token() == "rt-3"


async def test_a_profile_is_there_again_after_a_restart_and_the_provider_is_not_asked(machine: Machine) -> None:
    await machine.has_a_session()
    async with machine.agent() as heart:
        await heart.saver.wait_until_loaded(heart.session)
        told = await heart.profile()
        await anyio.sleep(1)
    async with machine.agent() as heart:
        await heart.saver.wait_until_loaded(heart.session)
        assert await heart.profile() == told
    assert len(machine.provider.profiles) == 1


async def test_a_profile_that_comes_while_a_refresh_is_in_flight_is_saved_at_its_end(machine: Machine) -> None:
    await machine.has_a_session()
    machine.provider.delay = 5
    async with machine.agent() as heart:
        await heart.saver.wait_until_loaded(heart.session)
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(heart.profile)
            await anyio.sleep(1)
            tasks.start_soon(heart.refresh)  # ends a second after the profile has come
        await anyio.sleep(1)
    entry = machine.store.entry()
    assert entry["profile"]["claims"]["name"] == "Alice"
    assert entry["token"]["access_token"] == "at-3"


async def test_the_session_that_was_used_last_is_read_first(machine: Machine) -> None:
    machine.accounts = ["a", "work", "b", "c"]
    for name in ("b", "work", "a"):  # the last one of these was used last
        async with machine.agent() as heart:
            await anyio.sleep(10)
            session = heart.table.session(name)
            session.used_at = machine.clock.now().wall
            await heart.saver.record_sent(session, Secret("rt"))
    machine.store.calls.clear()
    async with machine.agent():
        await anyio.sleep(1)
    assert machine.store.calls == ["read a", "read work", "read b", "read c"]


async def test_a_session_whose_refresh_was_interrupted_is_read_before_all_others(machine: Machine) -> None:
    machine.accounts = ["a", "work", "b"]
    for name in ("work", "b", "a"):
        async with machine.agent() as heart:
            await anyio.sleep(10)
            session = heart.table.session(name)
            session.used_at = machine.clock.now().wall
            await heart.saver.record_sent(session, Secret("rt"))
            if name != "work":
                await heart.journal.saved(name, "its successor's", None, heart.journal.note(name).sent)
    machine.store.calls.clear()
    async with machine.agent():
        await anyio.sleep(1)
    assert machine.store.calls == ["read work", "read a", "read b"]


async def test_a_session_that_a_client_waits_for_is_read_next(machine: Machine) -> None:
    machine.accounts = [*(f"account-{number}" for number in range(500)), "work"]
    await machine.has_a_session()
    async with machine.agent() as heart:
        await anyio.sleep(0.1)
        assert await seconds(heart.token) < 0.05
        assert len(machine.store.calls) < 20
        assert Counter(heart.states().values())["locked"] > 400
        await anyio.sleep(10)
        assert Counter(heart.states().values()) == {"ready": 1, "logged_out": 500}
        assert len(machine.store.calls) == 501  # each was read once


async def test_sessions_are_read_however_much_there_is_to_be_saved(machine: Machine) -> None:
    machine.accounts = [*(f"account-{number}" for number in range(30)), "work"]
    await machine.has_a_session()
    async with machine.agent() as heart, anyio.create_task_group() as tasks:
        await heart.saver.wait_until_loaded(heart.session)

        async def save_without_end() -> None:
            while True:
                heart.saver.save_soon(heart.session)
                await anyio.sleep(machine.store.latency / 2)

        tasks.start_soon(save_without_end)
        await anyio.sleep(1)
        assert Counter(heart.states().values()) == {"ready": 1, "logged_out": 30}
        assert machine.store.calls.count("write work") >= 30
        tasks.cancel_scope.cancel()


async def test_an_account_that_a_reload_adds_is_read(machine: Machine) -> None:
    machine.accounts = ["work", "home"]
    await machine.has_a_session("home")
    machine.accounts = ["work"]
    async with machine.agent() as heart:
        await anyio.sleep(1)
        heart.table.configure(config(account("work"), account("home")))
        heart.saver.read_all()
        assert heart.state("home") == "locked"
        assert await heart.token(name="home") == "at-2"


async def test_while_it_is_locked_clients_are_told_at_once_and_it_goes_on_by_itself(machine: Machine) -> None:
    await machine.has_a_session()
    machine.fails(LOCKED)
    async with machine.agent() as heart:
        await anyio.sleep(0.1)
        assert await seconds(heart.token) == 0
        assert await heart.token() == "locked"
        assert heart.session.reason == "the keyring is locked"
        assert (heart.session.failure, heart.session.remedy) == ("locked", remedies.unlock_keyring())
        about = heart.saver.about()
        assert (about["state"], about["problem"], about["remedy"]) == (
            "locked",
            LOCKED.reason,
            remedies_to_wire(remedies.unlock_keyring()),
        )
        await anyio.sleep(600)
        machine.is_mended()
        await anyio.sleep(5.1)
        assert heart.state() == "ready"
        assert (heart.saver.about()["state"], heart.saver.about()["unread"]) == ("ready", 0)


@pytest.mark.parametrize("persistent", [True, False])
async def test_the_status_says_what_the_store_is_able_to_do(machine: Machine, *, persistent: bool) -> None:
    machine.store.persistent = persistent
    async with machine.agent() as heart:
        assert (heart.saver.about()["name"], heart.saver.about()["persistent"]) == ("fake", persistent)


async def test_a_client_brings_the_look_at_an_unlocked_keyring_forward(machine: Machine) -> None:
    await machine.has_a_session()
    machine.fails(LOCKED)
    async with machine.agent() as heart:
        await anyio.sleep(60)
        until_next = 5 - (anyio.current_time() - machine.store.at[-1])
        machine.is_mended()
        assert await heart.token() == "locked"
        await anyio.sleep(min(1.1, until_next + 0.1))
        assert await heart.token() == "at-2"


async def test_a_storm_of_clients_makes_one_attempt_a_second(machine: Machine) -> None:
    await machine.has_a_session()
    machine.fails(LOCKED)
    async with machine.agent() as heart:
        await anyio.sleep(60)
        before = machine.store.calls.count("read work")
        for _ in range(1000):
            assert await heart.token() == "locked"
            await anyio.sleep(0.01)
        assert machine.store.calls.count("read work") - before <= 11


async def test_without_a_keyring_that_ever_was_the_sessions_begin_empty(machine: Machine) -> None:
    machine.accounts = ["work", "home"]
    machine.fails(MISSING)
    async with machine.agent() as heart:
        await anyio.sleep(1)
        assert set(heart.states().values()) == {"logged_out"}
        assert heart.saver.about()["state"] == "missing"
        assert await seconds(heart.log_in) == 0  # nobody waits for a keyring that isn't there
        assert await heart.token() == "at-2"
        assert not heart.session.saved
        machine.is_mended()
        await anyio.sleep(300)
        assert (heart.session.saved, machine.store.refresh_token()) == (True, "rt-2")


async def test_an_entry_that_can_not_be_read_is_no_logout_and_is_left_alone(machine: Machine) -> None:
    machine.store.entries["work"] = Secret('{"version": 2, "canary": 1}')
    async with machine.agent() as heart:
        assert await heart.token() == "login_required"
        assert heart.session.reason == "the store's entry is of a newer version of auth-agent"
        await anyio.sleep(3600)
        assert machine.store.entries["work"] == Secret('{"version": 2, "canary": 1}')
        await heart.log_in()
        assert machine.store.refresh_token() == "rt-2"


async def test_one_entry_that_hangs_or_fails_keeps_no_other_from_being_read(machine: Machine) -> None:
    machine.accounts = ["a", "work", "b"]
    await machine.has_a_session()
    machine.store.failing = {"read a": FAILING, "read b": DEFECT}
    async with machine.agent() as heart:
        await anyio.sleep(5)
        assert heart.states() == {"a": "locked", "work": "ready", "b": "locked"}


async def test_one_entry_that_can_not_be_written_keeps_no_other_from_being_read(machine: Machine) -> None:
    machine.accounts = ["a", "work"]
    await machine.has_a_session()
    async with machine.agent() as heart:
        machine.store.failing = {"write a": FAILING, "read work": FAILING}
        await anyio.sleep(2)
        machine.provider.script = [token_response("at-a", refresh_token="rt-a")]
        await heart.log_in("rt-of-a", "a")
        assert heart.states() == {"a": "ready", "work": "locked"}
        del machine.store.failing["read work"]
        await anyio.sleep(60)
        assert heart.states() == {"a": "ready", "work": "ready"}
        assert not heart.table.session("a").saved


# ---- saving


async def test_a_refresh_is_saved_before_its_token_is_served(machine: Machine) -> None:
    await machine.has_a_session()
    machine.store.latency = 0.5
    async with machine.agent() as heart:
        await anyio.sleep(1)
        assert await seconds(heart.refresh) == pytest.approx(0.5)
        assert machine.store.refresh_token() == "rt-3"
        assert heart.session.saved


async def test_a_slow_store_is_waited_for_a_second_and_the_session_is_shown_unsaved_until_it_is(
    machine: Machine,
) -> None:
    await machine.has_a_session()
    async with machine.agent() as heart:
        await anyio.sleep(1)
        watcher = Watcher(heart, "saved")
        machine.store.latency = 3
        assert await seconds(heart.refresh) == pytest.approx(1)
        assert (heart.session.saved, machine.store.refresh_token()) == (False, "rt-2")
        assert heart.saver.about()["unsaved"] == 1
        await anyio.sleep(2.1)
        assert (heart.session.saved, machine.store.refresh_token()) == (True, "rt-3")
        assert heart.saver.about()["unsaved"] == 0
        # The refresh's start, unsaved, the refresh's end, saved.
        assert watcher.seen == [True, False, False, True]


@EVERY_FAILURE
async def test_while_the_store_fails_nobody_waits_for_it(machine: Machine, failure: Exception) -> None:
    await machine.has_a_session()
    async with machine.agent() as heart:
        await anyio.sleep(1)
        machine.fails(failure)
        watcher = Watcher(heart, "saved")
        assert await seconds(heart.refresh) <= 1  # who meets the failure first
        for _ in range(3):
            assert await seconds(heart.refresh) == 0
        assert await heart.token() == "at-6"
        machine.is_mended()
        await anyio.sleep(300)
        assert (heart.session.saved, machine.store.refresh_token()) == (True, "rt-6")
        assert watcher.seen.count(True) == 2  # the first refresh's start, and the end of it all
        assert await seconds(heart.log_out) < 0.1


async def test_a_logout_waits_for_a_failing_store_no_longer_than_a_refresh_does(machine: Machine) -> None:
    await machine.has_a_session()
    async with machine.agent() as heart:
        await anyio.sleep(1)
        machine.fails(FAILING)
        await heart.refresh()
        assert await seconds(heart.log_out) == 0
        assert not heart.session.saved


async def test_when_saves_overlap_the_newest_state_is_what_stays(machine: Machine) -> None:
    await machine.has_a_session()
    async with machine.agent() as heart:
        await anyio.sleep(1)
        machine.store.latency = 3
        for _ in range(3):
            await heart.refresh()
        await anyio.sleep(7)
        assert machine.store.refresh_token() == "rt-5"
        assert heart.session.saved
        assert machine.store.calls.count("write work") <= 3
        await anyio.sleep(10)
        assert machine.store.refresh_token() == "rt-5"


async def test_the_end_of_a_session_is_kept_without_the_dead_refresh_token(machine: Machine) -> None:
    await machine.has_a_session()
    async with machine.agent() as heart:
        await anyio.sleep(1)
        machine.provider.script = [InvalidGrant("invalid_grant")]
        assert await heart.refresh() == "login_required"
        await anyio.sleep(1)
        assert machine.store.refresh_token() is None
        assert machine.store.entry()["ended"] == {
            "reason": "invalid_grant",
            "failure": "reauthentication_required",
            "quarantined": False,
        }
    async with machine.agent() as heart:
        assert await heart.token() == "login_required"
        assert heart.session.reason == "invalid_grant"


async def test_a_session_that_needs_a_person_keeps_its_refresh_token_over_a_restart(machine: Machine) -> None:
    await machine.has_a_session()
    async with machine.agent() as heart:
        await anyio.sleep(1)
        machine.provider.script = [InteractionRequired("mfa_required")]
        assert await heart.refresh() == "login_required"
        await anyio.sleep(1)
    async with machine.agent() as heart:
        assert await heart.token() == "login_required"
        assert (heart.session.reason, heart.session.can_retry) == ("mfa_required", True)
        assert machine.provider.presented == ["rt-2"]


async def test_a_store_with_expensive_writes_is_written_when_the_refresh_token_changes_and_only_then(
    machine: Machine,
) -> None:
    machine.store.expensive_writes = True
    machine.provider.rotates = False
    await machine.has_a_session()
    async with machine.agent() as heart:
        await anyio.sleep(1)
        for _ in range(3):
            await heart.refresh()
        assert machine.store.calls.count("write work") == 0
        machine.provider.rotates = True
        await heart.refresh()
        assert machine.store.calls.count("write work") == 1
        assert heart.session.saved


async def test_an_entry_is_as_long_as_the_store_takes_it(machine: Machine) -> None:
    await machine.has_a_session()
    assert machine.store.entry()["token"] is not None
    machine.store.max_length = len(machine.store.entries["work"].reveal()) - 1
    async with machine.agent() as heart:
        await anyio.sleep(1)
        await heart.refresh()
        assert (machine.store.refresh_token(), machine.store.entry()["login"]["id_token"]) == ("rt-3", None)


async def test_a_logout_from_a_store_that_never_held_anything_is_done(machine: Machine) -> None:
    machine.fails(MISSING)
    async with machine.agent() as heart:
        await anyio.sleep(1)
        await heart.log_in()
        assert heart.saver.about()["unsaved"] == 1
        await heart.log_out()
        await anyio.sleep(10)
        about = heart.saver.about()
        assert (about["unsaved"], about["state"]) == (0, "missing")
        assert heart.session.saved


async def test_an_ending_agent_waits_until_all_is_saved(machine: Machine) -> None:
    await machine.has_a_session()
    async with machine.agent() as heart:
        await anyio.sleep(1)
        machine.fails(FAILING)
        await heart.refresh()
        await anyio.sleep(3)
        machine.is_mended()
        assert await seconds(partial(heart.saver.drain, 10)) <= 1.1
        assert machine.store.refresh_token() == "rt-3"


# ---- logouts


async def test_a_logout_during_a_save_has_the_last_word(machine: Machine) -> None:
    await machine.has_a_session()
    async with machine.agent() as heart:
        await anyio.sleep(1)
        machine.store.latency = 3
        await heart.refresh()
        await heart.log_out()
        await anyio.sleep(10)
        assert machine.store.entries == {}
        assert heart.session.saved
    async with machine.agent() as heart:
        assert await heart.token() == "login_required"


@EVERY_FAILURE
async def test_what_was_logged_out_never_comes_back_though_it_could_not_be_deleted(
    machine: Machine, failure: Exception
) -> None:
    await machine.has_a_session()
    async with machine.agent() as heart:
        await anyio.sleep(1)
        machine.fails(failure)
        await heart.log_out()
    for _ in range(2):
        machine.store.failing = {"delete": failure}
        async with machine.agent() as heart:
            assert await heart.token() == "login_required"
            assert heart.state() == "logged_out"
            await anyio.sleep(60)
            assert machine.store.refresh_token() == "rt-2"  # still there, and dead
    machine.is_mended()
    async with machine.agent() as heart:
        assert await heart.token() == "login_required"
        await anyio.sleep(1)
        assert machine.store.entries == {}


async def test_what_was_still_to_be_saved_at_a_logout_is_not_saved_in_the_name_of_that_logout(
    machine: Machine, disk: Disk
) -> None:
    await machine.has_a_session()
    async with machine.agent() as heart:
        await anyio.sleep(1)
        machine.fails(FAILING)
        await heart.refresh()  # unsaved
        machine.store.failing = {"delete": FAILING}
        disk.delay = 1.5
        await heart.log_out()
        await anyio.sleep(10)
    disk.delay = 0
    async with machine.agent() as heart:
        assert await heart.token() == "login_required"


async def test_a_login_after_a_logout_before_its_deletion_lives_on(machine: Machine) -> None:
    await machine.has_a_session()
    async with machine.agent() as heart:
        await anyio.sleep(1)
        machine.fails(FAILING)
        await heart.log_out()
        await heart.log_in("rt-2")
        assert await heart.token() == "at-3"
        machine.is_mended()
        await anyio.sleep(20)
        assert machine.store.refresh_token() == "rt-3"
        assert "delete work" not in machine.store.calls[-1:]
        assert heart.journal.note("work").tombstone is None
    async with machine.agent() as heart:
        assert await heart.token() == "at-3"


async def test_a_crash_between_a_login_and_the_end_of_the_logout_before_it_loses_neither(machine: Machine) -> None:
    await machine.has_a_session()
    async with machine.agent() as heart:
        await anyio.sleep(1)
        machine.store.failing = {"delete": FAILING}
        await heart.log_out()
        await heart.log_in("rt-2")
        await anyio.sleep(1)
        # As if it had crashed after the write, before that was noted.
        tombstone = machine.store.entry()["after"]
        assert tombstone is not None
    await Journal(machine.notes).mark_deleted("work", tombstone)
    async with machine.agent() as heart:
        assert await heart.token() == "at-3"
        await heart.log_out()
    async with machine.agent() as heart:
        assert await heart.token() == "login_required"  # that was another logout


async def test_a_crash_before_a_login_is_saved_does_not_bring_the_session_before_the_logout_back(
    machine: Machine,
) -> None:
    await machine.has_a_session()
    async with machine.agent() as heart:
        await anyio.sleep(1)
        machine.fails(FAILING)
        await heart.log_out()
        await heart.log_in("rt-2")
    machine.is_mended()
    async with machine.agent() as heart:
        assert await heart.token() == "login_required"


async def test_a_deletion_is_tried_until_it_is_done(machine: Machine) -> None:
    await machine.has_a_session()
    async with machine.agent() as heart:
        await anyio.sleep(1)
        machine.store.failing = {"delete": FAILING}
        await heart.log_out()
        await anyio.sleep(3600)
        assert machine.store.refresh_token() == "rt-2"
        machine.is_mended()
        await anyio.sleep(15.1)
        assert machine.store.entries == {}
        assert heart.journal.note("work").tombstone is None
        assert heart.session.saved


async def test_a_session_may_be_logged_out_before_it_was_read(machine: Machine) -> None:
    await machine.has_a_session()
    machine.fails(LOCKED)
    async with machine.agent() as heart:
        await anyio.sleep(1)
        await heart.log_out()
        assert heart.state() == "logged_out"
        machine.is_mended()
        await anyio.sleep(6)
        assert machine.store.entries == {}


# ---- what was interrupted, replaced, or changed by another


async def test_a_refresh_that_a_crash_interrupted_is_done_at_once_while_the_old_token_is_served(
    machine: Machine,
) -> None:
    await machine.has_a_session()
    async with machine.agent() as heart, anyio.create_task_group() as tasks:
        await anyio.sleep(1)
        machine.provider.delay = 10
        tasks.start_soon(heart.refresh)
        await anyio.sleep(1)
        tasks.cancel_scope.cancel()
    async with machine.agent() as heart:
        await anyio.sleep(0.1)
        assert heart.session.reason == INTERRUPTED
        assert await seconds(heart.token) == 0
        assert await heart.token() == "at-2"
        assert machine.provider.presented == ["rt-2", "rt-2"]
        await anyio.sleep(10)
        assert await heart.token() == "at-3"
    async with machine.agent() as heart:
        await anyio.sleep(100)
        assert machine.provider.presented == ["rt-2", "rt-2"]  # that was settled


async def test_a_refresh_is_known_to_be_interrupted_also_where_the_save_before_it_came_late(machine: Machine) -> None:
    await machine.has_a_session()
    async with machine.agent() as heart:
        await anyio.sleep(1)
        machine.store.latency = 3
        await heart.refresh()  # rt-3 is being saved, for two seconds more
        async with anyio.create_task_group() as tasks:
            machine.provider.delay = 60
            tasks.start_soon(heart.refresh)  # rt-3 is out
            await anyio.sleep(10)
            assert (machine.store.refresh_token(), heart.session.saved) == ("rt-3", True)
            tasks.cancel_scope.cancel()
    machine.provider.delay = 0
    async with machine.agent() as heart:
        await anyio.sleep(10)
        assert machine.provider.presented == ["rt-2", "rt-3", "rt-3"]


async def test_an_old_copy_of_an_entry_is_never_presented(machine: Machine) -> None:
    await machine.has_a_session()
    old = machine.store.entries["work"]
    async with machine.agent() as heart:
        await anyio.sleep(1)
        await heart.refresh()
    machine.store.entries["work"] = old  # a backup was restored
    async with machine.agent() as heart:
        assert await heart.token() == "login_required"
        assert heart.session.reason == OLD_COPY
        await anyio.sleep(86_400)
        assert machine.provider.presented == ["rt-2"]


async def test_a_crash_before_the_save_is_tried_with_what_the_store_has(machine: Machine) -> None:
    await machine.has_a_session()
    async with machine.agent() as heart:
        await anyio.sleep(1)
        machine.fails(FAILING)
        await heart.refresh()
    machine.is_mended()
    machine.provider.live = "rt-2"  # as with a rotation overlap
    async with machine.agent() as heart:
        await anyio.sleep(1)
        assert machine.provider.presented == ["rt-2", "rt-2"]
        assert await heart.token() == "at-4"
        assert machine.store.refresh_token() == "rt-4"


def put(machine: Machine, refresh_token: str, **changes: object) -> None:
    """Another process changes the entry."""
    entry = machine.store.entry()
    entry["login"].update({"refresh_token": refresh_token, **changes})
    machine.store.entries["work"] = Secret(json.dumps(entry))


async def test_what_another_process_put_there_is_adopted_when_the_provider_calls_ours_dead(machine: Machine) -> None:
    await machine.has_a_session()
    async with machine.agent() as heart:
        await anyio.sleep(1)
        put(machine, "rt-theirs")
        machine.provider.live = "rt-theirs"
        assert await heart.refresh() == "at-3"
        assert machine.provider.presented == ["rt-2", "rt-theirs"]
        assert machine.store.refresh_token() == "rt-3"


@pytest.mark.parametrize(
    "changes", [{"issuer": "https://evil.example/"}, {"client_id": "another"}, {"subject": "auth0|bob"}]
)
async def test_what_is_another_session_is_not_adopted(machine: Machine, changes: dict[str, object]) -> None:
    await machine.has_a_session()
    async with machine.agent() as heart:
        await anyio.sleep(1)
        put(machine, "rt-theirs", **changes)
        machine.provider.live = "rt-theirs"
        assert await heart.refresh() == "login_required"
        assert machine.provider.presented == ["rt-2"]


async def test_what_was_sent_or_replaced_before_is_not_adopted(machine: Machine) -> None:
    await machine.has_a_session()
    async with machine.agent() as heart:
        await anyio.sleep(1)
        await heart.refresh()
        await heart.refresh()
        put(machine, "rt-2")
        machine.provider.script = [InvalidGrant("invalid_grant")]
        assert await heart.refresh() == "login_required"
        assert machine.provider.presented == ["rt-2", "rt-3", "rt-4"]


async def test_what_a_logout_made_dead_is_not_adopted(machine: Machine) -> None:
    await machine.has_a_session()
    async with machine.agent() as heart:
        await anyio.sleep(1)
        before = machine.store.entries["work"]
        await heart.log_out()
        await heart.log_in("rt-2")
        await heart.journal.mark_deleted("work", "a logout since")
        machine.store.entries["work"] = before
        machine.provider.script = [InvalidGrant("invalid_grant")]
        assert await heart.refresh() == "login_required"
        assert machine.provider.presented == ["rt-2", "rt-3"]


@pytest.mark.parametrize("failure", [LOCKED, FAILING, DEFECT], ids=["locked", "failing", "defect"])
async def test_a_session_does_not_end_while_the_store_can_not_be_read(machine: Machine, failure: Exception) -> None:
    await machine.has_a_session()
    async with machine.agent() as heart:
        await anyio.sleep(1)
        machine.fails(failure)
        machine.provider.script = [InvalidGrant("invalid_grant")] * 3
        assert await heart.refresh() == "unavailable"
        assert await heart.token() == "at-2"
        assert heart.session.credentials is not None
        assert heart.session.credentials.refresh_token == Secret("rt-2")
        await anyio.sleep(60)
        machine.provider.script.clear()
        machine.is_mended()
        await anyio.sleep(60)
        assert heart.session.reason is None
        assert machine.store.refresh_token() == "rt-3"


async def test_a_hanging_store_delays_no_verdict_for_long(machine: Machine) -> None:
    await machine.has_a_session()
    async with machine.agent() as heart:
        await anyio.sleep(1)
        machine.store.hanging = True
        machine.provider.script = [InvalidGrant("invalid_grant")]
        assert await seconds(heart.refresh) <= 7
        assert heart.state() == "ready"


# ---- asking a person


async def test_a_person_is_asked_only_when_a_client_wants_it(machine: Machine) -> None:
    await machine.has_a_session()
    machine.fails(LOCKED)
    async with machine.agent() as heart:
        await anyio.sleep(3600)
        assert "unlock" not in machine.store.calls
        await heart.token()
        await anyio.sleep(2)
        assert machine.store.calls.count("unlock") == 1


async def test_a_client_that_left_has_a_person_asked_no_second_time(machine: Machine) -> None:
    await machine.has_a_session()
    machine.fails(LOCKED)
    async with machine.agent() as heart:
        await anyio.sleep(1)
        await heart.token()
        await anyio.sleep(60)
        await heart.token()  # too soon for another dialog
        await anyio.sleep(7200)
        assert machine.store.calls.count("unlock") == 1


async def test_a_person_is_not_asked_twice_within_five_minutes(machine: Machine) -> None:
    await machine.has_a_session()
    machine.fails(LOCKED)
    async with machine.agent() as heart:
        for _ in range(360):
            await heart.token()
            await anyio.sleep(10)
        asked = [at for at, call in zip(machine.store.at, machine.store.calls, strict=True) if call == "unlock"]
        assert 10 <= len(asked) <= 12
        assert min(later - earlier for earlier, later in itertools.pairwise(asked)) >= 300


async def test_a_person_that_unlocks_it_is_noticed_at_once(machine: Machine) -> None:
    await machine.has_a_session()
    machine.fails(LOCKED)
    machine.store.on_unlock = machine.is_mended
    async with machine.agent() as heart:
        await anyio.sleep(60)
        await heart.token()
        await anyio.sleep(1.1)
        assert await heart.token() == "at-2"
        assert heart.saver.about()["state"] == "ready"


async def test_a_dialog_that_nobody_answers_ends_when_it_was_unlocked_otherwise(machine: Machine) -> None:
    await machine.has_a_session()
    machine.fails(LOCKED)
    async with machine.agent() as heart:
        await anyio.sleep(1)
        machine.store.on_unlock = lambda: setattr(machine.store, "latency", 1e6)
        await heart.token()
        await anyio.sleep(2)
        assert machine.store.calls.count("unlock") == 1
        # The look for it, which went on beside the dialog, is what is slow now.
        machine.store.latency = 0.01
        assert await heart.token() == "locked"


# ---- no failure ends it, and none makes it run hot


async def test_no_defect_in_a_store_ends_the_keeping(machine: Machine, caplog: pytest.LogCaptureFixture) -> None:
    await machine.has_a_session()
    machine.fails(DEFECT)
    with caplog.at_level(logging.DEBUG):
        async with machine.agent() as heart:
            await anyio.sleep(1)
            assert await heart.token() == "locked"
            machine.fails(LOCKED)
            machine.store.failing["unlock"] = DEFECT
            await anyio.sleep(20)
            await heart.token()
            await anyio.sleep(5)
            machine.store.failing = {"rest": DEFECT, "write": DEFECT, "delete": DEFECT}
            await anyio.sleep(60)
            assert await heart.token() == "at-2"
            assert "rest" in machine.store.calls
            await heart.refresh()
            await heart.log_out()
            machine.is_mended()
            await anyio.sleep(60)
            assert machine.store.entries == {}
    assert "canary" not in caplog.text
    assert "rt-" not in caplog.text


@pytest.mark.parametrize(
    ("failure", "most"), [(LOCKED, 730), (MISSING, 25), (FAILING, 250), (DEFECT, 250)], ids=lambda what: repr(what)[:12]
)
async def test_a_failing_store_is_not_asked_without_end(machine: Machine, failure: Exception, most: int) -> None:
    machine.accounts = ["work", "home"]
    await machine.has_a_session()
    async with machine.agent() as heart:
        await anyio.sleep(1)
        machine.fails(failure)
        machine.provider.script = [token_response("at-home", refresh_token="rt-home")]
        await heart.log_in("rt-of-home", "home")
        await heart.log_out()
        before = len(machine.store.calls)
        await anyio.sleep(3600)
        assert len(machine.store.calls) - before <= most


async def test_failures_that_take_turns_are_waited_out_as_one(machine: Machine) -> None:
    machine.accounts = ["a", "b", "c"]
    machine.accounts.append("work")
    machine.store.failing = {"read a": FAILING, "read b": DEFECT, "read c": LOCKED, "read work": StoreError("another")}
    async with machine.agent():
        await anyio.sleep(3600)
        assert len(machine.store.calls) <= 730


async def test_a_store_with_nothing_to_do_is_left_alone(machine: Machine) -> None:
    await machine.has_a_session()
    async with machine.agent():
        await anyio.sleep(2000)
        assert machine.store.calls == ["read work", "rest"]


async def test_a_hanging_store_is_given_its_time(machine: Machine) -> None:
    await machine.has_a_session()
    machine.store.hanging = True
    async with machine.agent() as heart:
        assert await seconds(heart.token) == pytest.approx(5)
        assert heart.state() == "locked"
        await anyio.sleep(3600)
        assert len(machine.store.calls) <= 190
        machine.store.hanging = False
        await anyio.sleep(21)
        assert heart.state() == "ready"


async def test_an_outage_of_the_provider_and_the_store_ends_in_one_refresh_each(machine: Machine) -> None:
    await machine.has_a_session()
    async with machine.agent() as heart:
        await anyio.sleep(1)
        machine.fails(FAILING)
        machine.provider.script = [Unsent("no route")] * 3
        await anyio.sleep(3600)
        machine.is_mended()
        await anyio.sleep(60)
        assert heart.state() == "ready"
        assert machine.store.refresh_token() == heart.machine.provider.live
