"""The saver and the refresher with a fake store and a clock that jumps: restarts, outages and logouts."""

import itertools
import json
import logging
from collections import Counter
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import anyio
import anyio.lowlevel
import anyio.to_thread
import pytest
import trio.testing

from auth_agent import remedies
from auth_agent.oauth.outcome import DoubtfulRefusal, InteractionRequired, InvalidGrant, RefusedForNow, Unsent
from auth_agent.secret import Secret
from auth_agent.sessions import heart
from auth_agent.sessions.decision import Demand
from auth_agent.sessions.profile import ProfileResult
from auth_agent.sessions.rate_limit import Asker
from auth_agent.sessions.record import state_name
from auth_agent.sessions.recovery import INTERRUPTED, OLD_COPY
from auth_agent.sessions.saver import UNREAD, Saver
from auth_agent.sessions.session import Session
from auth_agent.sessions.state import Active
from auth_agent.sessions.table import Table
from auth_agent.storage.journal import Journal
from auth_agent.storage.store import StoreError, StoreLocked, StoreMissing
from auth_agent_client import errors
from auth_agent_client.remedy import remedies_to_wire
from tests.agent.world import (
    ALICE,
    CLIENT,
    ISSUER,
    NOON,
    FakeClock,
    FakeProvider,
    FakeSealedEntries,
    FakeSignatures,
    FakeStore,
    account,
    config,
    jwt,
    token_response,
)

pytestmark = pytest.mark.anyio

LOCKED = StoreLocked("the keyring is locked", *remedies.unlock_keyring())
MISSING = StoreMissing("there is no keyring")
FAILING = StoreError("the keyring hangs")
DEFECT = RuntimeError("canary of what was being saved")
EVERY_FAILURE = pytest.mark.parametrize(
    "failure", [LOCKED, MISSING, FAILING, DEFECT], ids=["locked", "missing", "failing", "defect"]
)


@pytest.fixture
def anyio_backend() -> tuple[str, dict[str, object]]:
    return "trio", {"clock": trio.testing.MockClock(autojump_threshold=0)}


class Disk:
    """Writes notes on the virtual clock: while a thread wrote them, that clock would jump to the next deadline."""

    delay = 0.0

    async def run_sync(self, call: Callable[..., object], *arguments: object, **_: object) -> object:
        """Replace anyio's, which calls in a thread."""
        await anyio.sleep(self.delay)
        return call(*arguments)


@pytest.fixture(autouse=True)
def disk(monkeypatch: pytest.MonkeyPatch) -> Disk:
    fake_disk = Disk()
    monkeypatch.setattr(anyio.to_thread, "run_sync", fake_disk.run_sync)
    return fake_disk


class Heart(heart.Heart):
    """The sessions of an agent, from its start to its crash."""

    def __init__(self, machine: "Machine") -> None:
        self.machine = machine
        table = Table(config(*map(account, machine.accounts)), machine.clock, lambda: 0.5, unread=UNREAD)
        self.journal = Journal(machine.notes)
        saver = Saver(table, machine.store, self.journal, machine=machine.digest)
        super().__init__(table, saver, lambda _: machine.provider, FakeSignatures(), FakeSealedEntries, lambda: 0.5)
        self.session: Session = table.session("work" if "work" in machine.accounts else machine.accounts[0])

    def state(self, name: str = "work") -> str:
        return state_name(self.table.session(name), self.machine.clock.now())

    def states(self) -> dict[str, str]:
        return {name: self.state(name) for name in self.table.sessions}

    async def log_in(self, refresh_token: str = "rt-1", name: str = "work", *, switch_user: bool = False) -> None:
        session = self.table.session(name)
        await self.logins.import_refresh_token(session, Secret(refresh_token), switch_user=switch_user)

    async def token(self, demand: Demand | None = None, name: str = "work") -> str:
        """Return what a client gets from the handlers: a token, or an error's code."""
        session = self.table.session(name)
        try:
            if session.is_locked:
                await self.saver.wait_until_loaded(session)
            result = await self.refresher.token(session, demand or Demand(), Asker(), 15)
        except errors.AgentError as error:
            return error.code
        return result.value.reveal()

    async def refresh(self) -> str:
        return await self.token(self.session.demand_newer())

    async def log_out(self) -> None:
        await self.logins.log_out(self.session, revoke=False)

    async def profile(self) -> ProfileResult:
        return await self.profiles.get(self.session, 300, 15)


class Machine:
    """What outlives an agent: the store, the notes, the clock and the provider. `digest`: which machine this is."""

    def __init__(self, notes: Path) -> None:
        self.accounts = ["work"]
        self.notes = notes
        self.digest = "this machine"
        self.store = FakeStore()
        self.clock = FakeClock(running=True)
        self.provider = FakeProvider()

    @asynccontextmanager
    async def agent(self) -> AsyncGenerator[Heart]:
        """Run an agent that ends as by a crash: it waits for nothing."""
        heart = Heart(self)
        async with anyio.create_task_group() as tasks:
            heart.run_in(tasks)
            tasks.start_soon(heart.refresher.run)
            await anyio.lowlevel.checkpoint()
            heart.saver.read_all()
            yield heart
            tasks.cancel_scope.cancel()

    async def store_session(self, name: str = "work", refresh_token: str | None = None) -> None:
        """Store a session from an earlier agent; by default with the provider's valid refresh token."""
        async with self.agent() as heart:
            await heart.saver.wait_until_loaded(heart.table.session(name))
            await heart.log_in(refresh_token or self.provider.live, name)
        self.provider.presented.clear()
        self.provider.at.clear()
        self.store.calls.clear()
        self.store.at.clear()

    def break_store(self, failure: Exception) -> None:
        self.store.failing["all"] = failure

    def mend_store(self) -> None:
        self.store.failing.clear()


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    return Machine(tmp_path)


class Watcher:
    """Records a field of an account's record at each change."""

    def __init__(self, heart: Heart, field: str) -> None:
        self.seen: list[object] = []
        self._heart = heart
        self._field = field
        heart.table.watch(self)

    def changed(self, account: str) -> None:
        record = self._heart.table.record(account)
        assert record is not None
        self.seen.append(record[self._field])


async def seconds_taken_by(call: Callable[[], Awaitable[object]]) -> float:
    """Return how long the call takes on the virtual clock."""
    start = anyio.current_time()
    await call()
    return anyio.current_time() - start


# ---- reading


async def test_a_session_and_its_token_survive_a_restart_without_a_refresh(machine: Machine) -> None:
    await machine.store_session()
    async with machine.agent() as heart:
        assert heart.state() == "locked"
        assert await heart.token() == "at-2"
        assert (heart.session.epoch, heart.session.last_refresh_at is None) == (1, False)
        assert machine.provider.presented == []
        await anyio.sleep(3600)
        assert machine.provider.presented == ["rt-2"]
        assert machine.store.refresh_token() == "rt-3"


async def test_a_profile_survives_a_restart_without_a_request(machine: Machine) -> None:
    await machine.store_session()
    async with machine.agent() as heart:
        await heart.saver.wait_until_loaded(heart.session)
        first_profile = await heart.profile()
        await anyio.sleep(1)
    async with machine.agent() as heart:
        await heart.saver.wait_until_loaded(heart.session)
        assert await heart.profile() == first_profile
    assert len(machine.provider.profiles) == 1


async def test_a_profile_that_arrives_during_a_refresh_is_saved_with_it(machine: Machine) -> None:
    await machine.store_session()
    machine.provider.delay = 5
    async with machine.agent() as heart:
        await heart.saver.wait_until_loaded(heart.session)
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(heart.profile)
            await anyio.sleep(1)
            tasks.start_soon(heart.refresh)  # ends a second after the profile arrives
        await anyio.sleep(1)
    entry = machine.store.entry()
    assert entry["profile"]["claims"]["name"] == "Alice"
    assert entry["token"]["access_token"] == "at-3"


async def test_the_most_recently_used_session_is_read_first(machine: Machine) -> None:
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


async def test_a_session_with_an_interrupted_refresh_is_read_first(machine: Machine) -> None:
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
    await machine.store_session()
    async with machine.agent() as heart:
        await anyio.sleep(0.1)
        assert await seconds_taken_by(heart.token) < 0.05
        assert len(machine.store.calls) < 20
        assert Counter(heart.states().values())["locked"] > 400
        await anyio.sleep(10)
        assert Counter(heart.states().values()) == {"ready": 1, "logged_out": 500}
        assert len(machine.store.calls) == 501  # each was read once


async def test_sessions_are_read_while_others_are_saved_continuously(machine: Machine) -> None:
    machine.accounts = [*(f"account-{number}" for number in range(30)), "work"]
    await machine.store_session()
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


async def store_two_sessions(machine: Machine) -> None:
    """Have accounts named `home` and `work`, with a session each."""
    machine.accounts = ["home", "work"]
    await machine.store_session("home")
    await machine.store_session()


async def test_a_session_is_saved_while_another_one_changes_during_each_write(machine: Machine) -> None:
    await store_two_sessions(machine)
    async with machine.agent() as heart, anyio.create_task_group() as tasks:
        await heart.saver.wait_until_loaded(heart.session)
        await anyio.sleep(1)

        async def save_without_end() -> None:
            while True:
                heart.saver.save_soon(heart.table.session("home"))
                await anyio.sleep(machine.store.latency / 2)

        tasks.start_soon(save_without_end)
        await anyio.sleep(1)
        await heart.saver.save(heart.session, heart.session.snapshot())
        assert heart.saver.about()["unsaved"] == 1
        tasks.cancel_scope.cancel()


async def test_after_an_outage_an_entry_that_could_not_be_written_is_written_in_its_turn(machine: Machine) -> None:
    await store_two_sessions(machine)
    async with machine.agent() as heart:
        await heart.saver.wait_until_loaded(heart.session)
        await anyio.sleep(1)
        for failure in (FAILING, None):
            machine.store.failing = {} if failure is None else {"write": failure}
            heart.saver.save_soon(heart.session)
            await anyio.sleep(60)
        machine.store.calls.clear()
        heart.saver.save_soon(heart.session)
        heart.saver.save_soon(heart.table.session("home"))
        await anyio.sleep(1)
        assert machine.store.calls == ["write work", "write home"]


async def test_an_entry_is_not_read_for_who_has_left(machine: Machine) -> None:
    await store_two_sessions(machine)
    async with machine.agent() as heart:
        await heart.saver.wait_until_loaded(heart.session)
        await anyio.sleep(1)
        machine.store.latency = 60
        heart.saver.save_soon(heart.table.session("home"))
        await anyio.sleep(1)
        machine.store.calls.clear()
        with pytest.raises(StoreError):
            await heart.saver.reload(heart.session)
        await anyio.sleep(600)
        assert "read work" not in machine.store.calls


async def test_an_account_added_by_a_reload_is_read(machine: Machine) -> None:
    machine.accounts = ["work", "home"]
    await machine.store_session("home")
    machine.accounts = ["work"]
    async with machine.agent() as heart:
        await anyio.sleep(1)
        heart.table.configure(config(account("work"), account("home")))
        heart.saver.read_all()
        assert heart.state("home") == "locked"
        assert await heart.token(name="home") == "at-2"


async def test_with_a_locked_store_clients_get_an_error_at_once_and_reading_resumes_by_itself(machine: Machine) -> None:
    await machine.store_session()
    machine.break_store(LOCKED)
    async with machine.agent() as heart:
        await anyio.sleep(0.1)
        assert await seconds_taken_by(heart.token) == 0
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
        machine.mend_store()
        await anyio.sleep(5.1)
        assert heart.state() == "ready"
        assert (heart.saver.about()["state"], heart.saver.about()["unread"]) == ("ready", 0)


@pytest.mark.parametrize("persistent", [True, False])
async def test_the_status_says_whether_the_store_is_persistent(machine: Machine, *, persistent: bool) -> None:
    machine.store.persistent = persistent
    async with machine.agent() as heart:
        assert (heart.saver.about()["name"], heart.saver.about()["persistent"]) == ("fake", persistent)


async def test_a_client_advances_the_next_read_of_an_unlocked_keyring(machine: Machine) -> None:
    await machine.store_session()
    machine.break_store(LOCKED)
    async with machine.agent() as heart:
        await anyio.sleep(60)
        until_next = 5 - (anyio.current_time() - machine.store.at[-1])
        machine.mend_store()
        assert await heart.token() == "locked"
        await anyio.sleep(min(1.1, until_next + 0.1))
        assert await heart.token() == "at-2"


async def test_many_clients_cause_one_read_a_second(machine: Machine) -> None:
    await machine.store_session()
    machine.break_store(LOCKED)
    async with machine.agent() as heart:
        await anyio.sleep(60)
        before = machine.store.calls.count("read work")
        for _ in range(1000):
            assert await heart.token() == "locked"
            await anyio.sleep(0.01)
        assert machine.store.calls.count("read work") - before <= 11


async def test_without_a_keyring_the_sessions_are_empty_until_it_appears(machine: Machine) -> None:
    machine.accounts = ["work", "home"]
    machine.break_store(MISSING)
    async with machine.agent() as heart:
        await anyio.sleep(1)
        assert set(heart.states().values()) == {"logged_out"}
        assert heart.saver.about()["state"] == "missing"
        assert await seconds_taken_by(heart.log_in) == 0  # nobody waits for a missing keyring
        assert await heart.token() == "at-2"
        assert not heart.session.saved
        machine.mend_store()
        await anyio.sleep(300)
        assert (heart.session.saved, machine.store.refresh_token()) == (True, "rt-2")


async def test_an_unreadable_entry_requires_a_login_and_is_kept_until_then(machine: Machine) -> None:
    machine.store.entries["work"] = Secret('{"version": 2, "canary": 1}')
    async with machine.agent() as heart:
        assert await heart.token() == "login_required"
        assert heart.session.reason == "the store's entry is of a newer version of auth-agent"
        await anyio.sleep(3600)
        assert machine.store.entries["work"] == Secret('{"version": 2, "canary": 1}')
        await heart.log_in()
        assert machine.store.refresh_token() == "rt-2"


async def test_an_entry_that_cannot_be_read_does_not_block_reading_others(machine: Machine) -> None:
    machine.accounts = ["a", "work", "b"]
    await machine.store_session()
    machine.store.failing = {"read a": FAILING, "read b": DEFECT}
    async with machine.agent() as heart:
        await anyio.sleep(5)
        assert heart.states() == {"a": "locked", "work": "ready", "b": "locked"}


async def test_an_entry_that_cannot_be_written_does_not_block_reading_others(machine: Machine) -> None:
    machine.accounts = ["a", "work"]
    await machine.store_session()
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
    await machine.store_session()
    machine.store.latency = 0.5
    async with machine.agent() as heart:
        await anyio.sleep(1)
        assert await seconds_taken_by(heart.refresh) == pytest.approx(0.5)
        assert machine.store.refresh_token() == "rt-3"
        assert heart.session.saved


async def test_clients_wait_a_second_for_a_slow_store_and_the_session_is_unsaved_meanwhile(
    machine: Machine,
) -> None:
    await machine.store_session()
    async with machine.agent() as heart:
        await anyio.sleep(1)
        watcher = Watcher(heart, "saved")
        machine.store.latency = 3
        assert await seconds_taken_by(heart.refresh) == pytest.approx(1)
        assert (heart.session.saved, machine.store.refresh_token()) == (False, "rt-2")
        assert heart.saver.about()["unsaved"] == 1
        await anyio.sleep(2.1)
        assert (heart.session.saved, machine.store.refresh_token()) == (True, "rt-3")
        assert heart.saver.about()["unsaved"] == 0
        # The refresh's start, unsaved, the refresh's end, saved.
        assert watcher.seen == [True, False, False, True]


@EVERY_FAILURE
async def test_nobody_waits_for_a_failing_store(machine: Machine, failure: Exception) -> None:
    await machine.store_session()
    async with machine.agent() as heart:
        await anyio.sleep(1)
        machine.break_store(failure)
        watcher = Watcher(heart, "saved")
        assert await seconds_taken_by(heart.refresh) <= 1  # the first client meets the failure
        for _ in range(3):
            assert await seconds_taken_by(heart.refresh) == 0
        assert await heart.token() == "at-6"
        machine.mend_store()
        await anyio.sleep(300)
        assert (heart.session.saved, machine.store.refresh_token()) == (True, "rt-6")
        assert watcher.seen.count(True) == 2  # at the start of the first refresh, and at the end
        assert await seconds_taken_by(heart.log_out) < 0.1


async def test_a_logout_does_not_wait_for_a_failing_store(machine: Machine) -> None:
    await machine.store_session()
    async with machine.agent() as heart:
        await anyio.sleep(1)
        machine.break_store(FAILING)
        await heart.refresh()
        assert await seconds_taken_by(heart.log_out) == 0
        assert not heart.session.saved


async def test_of_overlapping_saves_the_newest_state_is_stored(machine: Machine) -> None:
    await machine.store_session()
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


async def test_a_restart_is_refused_if_the_next_agent_could_not_use_the_entry(machine: Machine) -> None:
    await machine.store_session()
    async with machine.agent() as heart:
        await heart.token()
        await heart.saver.check()
        machine.store.entries["work"] = Secret("{")
        with pytest.raises(StoreError):
            await heart.saver.check()


async def test_the_end_of_a_session_is_unsaved_until_the_store_has_it(machine: Machine) -> None:
    await machine.store_session()
    async with machine.agent() as heart:
        await anyio.sleep(1)
        machine.store.latency = 0.5
        machine.provider.script = [InvalidGrant("revoked")]
        assert await heart.refresh() == "login_required"
        assert not heart.session.saved
        await anyio.sleep(0.6)
        assert heart.session.saved


async def test_the_end_of_a_session_is_stored_without_the_dead_refresh_token(machine: Machine) -> None:
    await machine.store_session()
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


async def test_a_session_that_requires_interaction_keeps_its_refresh_token_over_a_restart(machine: Machine) -> None:
    await machine.store_session()
    async with machine.agent() as heart:
        await anyio.sleep(1)
        machine.provider.script = [InteractionRequired("mfa_required")]
        assert await heart.refresh() == "login_required"
        await anyio.sleep(1)
    async with machine.agent() as heart:
        assert await heart.token() == "login_required"
        assert (heart.session.reason, heart.session.can_retry) == ("mfa_required", True)
        assert machine.provider.presented == ["rt-2"]


@pytest.mark.parametrize("kind", [DoubtfulRefusal, RefusedForNow])
async def test_a_session_whose_refusal_was_believed_is_refused_after_a_restart_and_heals(
    machine: Machine, kind: type[DoubtfulRefusal]
) -> None:
    machine.provider.lifetime = 5
    await machine.store_session()
    async with machine.agent() as heart:
        machine.provider.script += 100 * [kind("go away")]
        await anyio.sleep(150)
        assert heart.state() == "login_required"
    async with machine.agent() as heart:
        await anyio.sleep(1)
        presented = len(machine.provider.presented)
        assert (heart.state(), heart.session.failure, heart.session.reason) == ("login_required", "refused", "go away")
        assert await heart.token() == "login_required"
        await anyio.sleep(600)
        assert len(machine.provider.presented) == presented  # as rarely as before
        machine.provider.script.clear()
        await anyio.sleep(600)
        assert heart.state() == "ready"
        assert machine.store.entry()["refused"] is None
    async with machine.agent() as heart:
        await anyio.sleep(1)
        assert (heart.state(), heart.session.failure) == ("ready", None)


async def test_a_refused_session_heals_at_once_in_the_next_agent(machine: Machine) -> None:
    machine.provider.lifetime = 5
    await machine.store_session()
    async with machine.agent():
        machine.provider.script += [RefusedForNow("not from here")]
        await anyio.sleep(10)
    async with machine.agent() as heart:
        await anyio.sleep(1)
        assert heart.state() == "ready"


async def test_a_store_with_expensive_writes_is_written_only_for_a_new_refresh_token(
    machine: Machine,
) -> None:
    machine.store.expensive_writes = True
    machine.provider.rotates = False
    await machine.store_session()
    async with machine.agent() as heart:
        await anyio.sleep(1)
        for _ in range(3):
            await heart.refresh()
        assert machine.store.calls.count("write work") == 0
        machine.provider.rotates = True
        await heart.refresh()
        assert machine.store.calls.count("write work") == 1
        assert heart.session.saved


@pytest.mark.parametrize(
    ("learned", "known"),
    [
        ({"id_token": jwt(iss=ISSUER, aud=CLIENT, sub=ALICE, session_expiry=NOON + 9_000)}, {"ceiling": NOON + 9_000}),
        ({"ends_access_token": True}, {"ends_access_token": True}),
        ({"scope": "openid"}, {"lost_scope": "read"}),
    ],
)
async def test_so_is_it_for_what_a_refresh_showed_once(
    machine: Machine, learned: dict[str, Any], known: dict[str, object]
) -> None:
    machine.store.expensive_writes = True
    machine.provider.rotates = False
    await machine.store_session()
    async with machine.agent() as heart:
        await anyio.sleep(1)
        state = heart.session.state
        assert isinstance(state, Active)
        heart.session.state = replace(state, credentials=replace(state.credentials, granted_scope="openid read"))
        for _ in range(2):
            machine.provider.script.append(token_response(refresh_token=None, **learned))
            await heart.refresh()
        assert machine.store.calls.count("write work") == 1
    async with machine.agent() as heart:
        await anyio.sleep(1)
        assert {name: getattr(heart.session.credentials, name) for name in known} == known


async def test_an_entry_fits_the_maximum_length_of_the_store(machine: Machine) -> None:
    await machine.store_session()
    assert machine.store.entry()["token"] is not None
    machine.store.max_length = len(machine.store.entries["work"].reveal()) - 1
    async with machine.agent() as heart:
        await anyio.sleep(1)
        await heart.refresh()
        assert (machine.store.refresh_token(), machine.store.entry()["login"]["id_token"]) == ("rt-3", None)


async def test_a_logout_is_complete_if_the_store_was_never_written(machine: Machine) -> None:
    machine.break_store(MISSING)
    async with machine.agent() as heart:
        await anyio.sleep(1)
        await heart.log_in()
        assert heart.saver.about()["unsaved"] == 1
        await heart.log_out()
        await anyio.sleep(10)
        about = heart.saver.about()
        assert (about["unsaved"], about["state"]) == (0, "missing")
        assert heart.session.saved


async def test_a_stopping_agent_waits_until_all_sessions_are_saved(machine: Machine) -> None:
    await machine.store_session()
    async with machine.agent() as heart:
        await anyio.sleep(1)
        machine.break_store(FAILING)
        await heart.refresh()
        await anyio.sleep(3)
        machine.mend_store()
        assert await seconds_taken_by(partial(heart.saver.drain, 10)) <= 1.1
        assert machine.store.refresh_token() == "rt-3"


# ---- logouts


async def test_a_logout_during_a_save_prevails(machine: Machine) -> None:
    await machine.store_session()
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
async def test_a_logged_out_session_never_returns_even_if_it_could_not_be_deleted(
    machine: Machine, failure: Exception
) -> None:
    await machine.store_session()
    async with machine.agent() as heart:
        await anyio.sleep(1)
        machine.break_store(failure)
        await heart.log_out()
    for _ in range(2):
        machine.store.failing = {"delete": failure}
        async with machine.agent() as heart:
            assert await heart.token() == "login_required"
            assert heart.state() == "logged_out"
            await anyio.sleep(60)
            assert machine.store.refresh_token() == "rt-2"  # still there, and dead
    machine.mend_store()
    async with machine.agent() as heart:
        assert await heart.token() == "login_required"
        await anyio.sleep(1)
        assert machine.store.entries == {}


async def test_a_pending_save_does_not_survive_a_logout(machine: Machine, disk: Disk) -> None:
    await machine.store_session()
    async with machine.agent() as heart:
        await anyio.sleep(1)
        machine.break_store(FAILING)
        await heart.refresh()  # unsaved
        machine.store.failing = {"delete": FAILING}
        disk.delay = 1.5
        await heart.log_out()
        await anyio.sleep(10)
    disk.delay = 0
    async with machine.agent() as heart:
        assert await heart.token() == "login_required"


async def test_a_login_before_the_deletion_of_a_logout_survives_it(machine: Machine) -> None:
    await machine.store_session()
    async with machine.agent() as heart:
        await anyio.sleep(1)
        machine.break_store(FAILING)
        await heart.log_out()
        await heart.log_in("rt-2")
        assert await heart.token() == "at-3"
        machine.mend_store()
        await anyio.sleep(20)
        assert machine.store.refresh_token() == "rt-3"
        assert "delete work" not in machine.store.calls[-1:]
        assert heart.journal.note("work").tombstone is None
    async with machine.agent() as heart:
        assert await heart.token() == "at-3"


async def test_a_crash_between_a_login_and_the_end_of_an_earlier_logout_loses_neither(machine: Machine) -> None:
    await machine.store_session()
    async with machine.agent() as heart:
        await anyio.sleep(1)
        machine.store.failing = {"delete": FAILING}
        await heart.log_out()
        await heart.log_in("rt-2")
        await anyio.sleep(1)
        # As if it had crashed after the write and before the note.
        tombstone = machine.store.entry()["after"]
        assert tombstone is not None
    await Journal(machine.notes).mark_deleted("work", tombstone)
    async with machine.agent() as heart:
        assert await heart.token() == "at-3"
        await heart.log_out()
    async with machine.agent() as heart:
        assert await heart.token() == "login_required"  # that was another logout


async def test_a_crash_before_a_login_is_saved_does_not_restore_the_logged_out_session(
    machine: Machine,
) -> None:
    await machine.store_session()
    async with machine.agent() as heart:
        await anyio.sleep(1)
        machine.break_store(FAILING)
        await heart.log_out()
        await heart.log_in("rt-2")
    machine.mend_store()
    async with machine.agent() as heart:
        assert await heart.token() == "login_required"


async def test_a_deletion_is_retried_until_it_succeeds(machine: Machine) -> None:
    await machine.store_session()
    async with machine.agent() as heart:
        await anyio.sleep(1)
        machine.store.failing = {"delete": FAILING}
        await heart.log_out()
        await anyio.sleep(3600)
        assert machine.store.refresh_token() == "rt-2"
        machine.mend_store()
        await anyio.sleep(15.1)
        assert machine.store.entries == {}
        assert heart.journal.note("work").tombstone is None
        assert heart.session.saved


async def test_a_session_can_be_logged_out_before_it_is_read(machine: Machine) -> None:
    await machine.store_session()
    machine.break_store(LOCKED)
    async with machine.agent() as heart:
        await anyio.sleep(1)
        await heart.log_out()
        assert heart.state() == "logged_out"
        machine.mend_store()
        await anyio.sleep(6)
        assert machine.store.entries == {}


# ---- interrupted refreshes, old copies, other processes


async def test_an_interrupted_refresh_is_repeated_at_once_while_the_old_token_is_served(
    machine: Machine,
) -> None:
    await machine.store_session()
    async with machine.agent() as heart, anyio.create_task_group() as tasks:
        await anyio.sleep(1)
        machine.provider.delay = 10
        tasks.start_soon(heart.refresh)
        await anyio.sleep(1)
        tasks.cancel_scope.cancel()
    async with machine.agent() as heart:
        await anyio.sleep(0.1)
        assert heart.session.reason == INTERRUPTED
        assert await seconds_taken_by(heart.token) == 0
        assert await heart.token() == "at-2"
        assert machine.provider.presented == ["rt-2", "rt-2"]
        await anyio.sleep(10)
        assert await heart.token() == "at-3"
    async with machine.agent() as heart:
        await anyio.sleep(100)
        assert machine.provider.presented == ["rt-2", "rt-2"]  # that was settled


async def test_an_interrupted_refresh_is_recognized_after_a_late_save(machine: Machine) -> None:
    await machine.store_session()
    async with machine.agent() as heart:
        await anyio.sleep(1)
        machine.store.latency = 3
        await heart.refresh()  # rt-3 is being saved, for two seconds more
        async with anyio.create_task_group() as tasks:
            machine.provider.delay = 60
            tasks.start_soon(heart.refresh)  # rt-3 is sent
            await anyio.sleep(10)
            assert (machine.store.refresh_token(), heart.session.saved) == ("rt-3", True)
            tasks.cancel_scope.cancel()
    machine.provider.delay = 0
    async with machine.agent() as heart:
        await anyio.sleep(10)
        assert machine.provider.presented == ["rt-2", "rt-3", "rt-3"]


async def test_the_refresh_token_of_an_old_copy_is_never_presented(machine: Machine) -> None:
    await machine.store_session()
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


async def test_after_a_crash_before_the_save_the_stored_token_is_tried(machine: Machine) -> None:
    await machine.store_session()
    async with machine.agent() as heart:
        await anyio.sleep(1)
        machine.break_store(FAILING)
        await heart.refresh()
    machine.mend_store()
    machine.provider.live = "rt-2"  # as with a rotation overlap
    async with machine.agent() as heart:
        await anyio.sleep(1)
        assert machine.provider.presented == ["rt-2", "rt-2"]
        assert await heart.token() == "at-4"
        assert machine.store.refresh_token() == "rt-4"


def put_in_store(machine: Machine, refresh_token: str, **changes: object) -> None:
    """Change the entry as another process would."""
    entry = machine.store.entry()
    entry["login"].update({"refresh_token": refresh_token, **changes})
    machine.store.entries["work"] = Secret(json.dumps(entry))


async def test_a_token_stored_by_another_process_is_adopted_after_invalid_grant(machine: Machine) -> None:
    await machine.store_session()
    async with machine.agent() as heart:
        await anyio.sleep(1)
        put_in_store(machine, "rt-theirs")
        machine.provider.live = "rt-theirs"
        assert await heart.refresh() == "at-3"
        assert machine.provider.presented == ["rt-2", "rt-theirs"]
        assert machine.store.refresh_token() == "rt-3"


@pytest.mark.parametrize(
    "changes", [{"issuer": "https://evil.example/"}, {"client_id": "another"}, {"subject": "auth0|bob"}]
)
async def test_another_session_in_the_store_is_not_adopted(machine: Machine, changes: dict[str, object]) -> None:
    await machine.store_session()
    async with machine.agent() as heart:
        await anyio.sleep(1)
        put_in_store(machine, "rt-theirs", **changes)
        machine.provider.live = "rt-theirs"
        assert await heart.refresh() == "login_required"
        assert machine.provider.presented == ["rt-2"]


async def test_a_token_that_was_sent_or_replaced_is_not_adopted(machine: Machine) -> None:
    await machine.store_session()
    async with machine.agent() as heart:
        await anyio.sleep(1)
        await heart.refresh()
        await heart.refresh()
        put_in_store(machine, "rt-2")
        machine.provider.script = [InvalidGrant("invalid_grant")]
        assert await heart.refresh() == "login_required"
        assert machine.provider.presented == ["rt-2", "rt-3", "rt-4"]


async def test_a_token_from_before_a_logout_is_not_adopted(machine: Machine) -> None:
    await machine.store_session()
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
async def test_a_session_does_not_end_while_the_store_cannot_be_read(machine: Machine, failure: Exception) -> None:
    await machine.store_session()
    async with machine.agent() as heart:
        await anyio.sleep(1)
        machine.break_store(failure)
        machine.provider.script = [InvalidGrant("invalid_grant")] * 3
        assert await heart.refresh() == "unavailable"
        assert await heart.token() == "at-2"
        assert heart.session.credentials is not None
        assert heart.session.credentials.refresh_token == Secret("rt-2")
        await anyio.sleep(60)
        machine.provider.script.clear()
        machine.mend_store()
        await anyio.sleep(60)
        assert heart.session.reason is None
        assert machine.store.refresh_token() == "rt-3"


async def test_a_hanging_store_delays_a_refusal_only_briefly(machine: Machine) -> None:
    await machine.store_session()
    async with machine.agent() as heart:
        await anyio.sleep(1)
        machine.store.hanging = True
        machine.provider.script = [InvalidGrant("invalid_grant")]
        assert await seconds_taken_by(heart.refresh) <= 7
        assert heart.state() == "ready"


# ---- the unlock dialog


async def test_the_unlock_dialog_opens_only_for_a_client(machine: Machine) -> None:
    await machine.store_session()
    machine.break_store(LOCKED)
    async with machine.agent() as heart:
        await anyio.sleep(3600)
        assert "unlock" not in machine.store.calls
        await heart.token()
        await anyio.sleep(2)
        assert machine.store.calls.count("unlock") == 1


async def test_a_client_that_left_opens_no_second_dialog(machine: Machine) -> None:
    await machine.store_session()
    machine.break_store(LOCKED)
    async with machine.agent() as heart:
        await anyio.sleep(1)
        await heart.token()
        await anyio.sleep(60)
        await heart.token()  # too soon for another dialog
        await anyio.sleep(7200)
        assert machine.store.calls.count("unlock") == 1


async def test_the_unlock_dialog_opens_at_most_every_five_minutes(machine: Machine) -> None:
    await machine.store_session()
    machine.break_store(LOCKED)
    async with machine.agent() as heart:
        for _ in range(360):
            await heart.token()
            await anyio.sleep(10)
        opened_at = [at for at, call in zip(machine.store.at, machine.store.calls, strict=True) if call == "unlock"]
        assert 10 <= len(opened_at) <= 12
        assert min(later - earlier for earlier, later in itertools.pairwise(opened_at)) >= 300


async def test_unlocking_in_the_dialog_is_noticed_at_once(machine: Machine) -> None:
    await machine.store_session()
    machine.break_store(LOCKED)
    machine.store.on_unlock = machine.mend_store
    async with machine.agent() as heart:
        await anyio.sleep(60)
        await heart.token()
        await anyio.sleep(1.1)
        assert await heart.token() == "at-2"
        assert heart.saver.about()["state"] == "ready"


async def test_a_dialog_ends_when_the_store_is_unlocked_in_another_way(machine: Machine) -> None:
    await machine.store_session()
    machine.break_store(LOCKED)
    async with machine.agent() as heart:
        await anyio.sleep(1)
        machine.store.on_unlock = lambda: setattr(machine.store, "latency", 1e6)
        await heart.token()
        await anyio.sleep(2)
        assert machine.store.calls.count("unlock") == 1
        # Reading, which continued beside the dialog, is slow now.
        machine.store.latency = 0.01
        assert await heart.token() == "locked"


# ---- failures of the store


async def test_no_defect_in_a_store_ends_the_saver(machine: Machine, caplog: pytest.LogCaptureFixture) -> None:
    await machine.store_session()
    machine.break_store(DEFECT)
    with caplog.at_level(logging.DEBUG):
        async with machine.agent() as heart:
            await anyio.sleep(1)
            assert await heart.token() == "locked"
            machine.break_store(LOCKED)
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
            machine.mend_store()
            await anyio.sleep(60)
            assert machine.store.entries == {}
    assert "canary" not in caplog.text
    assert "rt-" not in caplog.text


@pytest.mark.parametrize(
    ("failure", "most"), [(LOCKED, 730), (MISSING, 25), (FAILING, 250), (DEFECT, 250)], ids=lambda what: repr(what)[:12]
)
async def test_a_failing_store_is_called_less_and_less_often(machine: Machine, failure: Exception, most: int) -> None:
    machine.accounts = ["work", "home"]
    await machine.store_session()
    async with machine.agent() as heart:
        await anyio.sleep(1)
        machine.break_store(failure)
        machine.provider.script = [token_response("at-home", refresh_token="rt-home")]
        await heart.log_in("rt-of-home", "home")
        await heart.log_out()
        before = len(machine.store.calls)
        await anyio.sleep(3600)
        assert len(machine.store.calls) - before <= most


async def test_alternating_failures_share_one_backoff(machine: Machine) -> None:
    machine.accounts = ["a", "b", "c"]
    machine.accounts.append("work")
    machine.store.failing = {"read a": FAILING, "read b": DEFECT, "read c": LOCKED, "read work": StoreError("another")}
    async with machine.agent():
        await anyio.sleep(3600)
        assert len(machine.store.calls) <= 730


async def test_an_idle_store_is_not_called(machine: Machine) -> None:
    await machine.store_session()
    async with machine.agent():
        await anyio.sleep(2000)
        assert machine.store.calls == ["read work", "rest"]


async def test_a_hanging_store_is_retried_after_its_timeout(machine: Machine) -> None:
    await machine.store_session()
    machine.store.hanging = True
    async with machine.agent() as heart:
        assert await seconds_taken_by(heart.token) == pytest.approx(5)
        assert heart.state() == "locked"
        await anyio.sleep(3600)
        assert len(machine.store.calls) <= 190
        machine.store.hanging = False
        await anyio.sleep(21)
        assert heart.state() == "ready"


async def test_sessions_recover_from_an_outage_of_the_provider_and_the_store(machine: Machine) -> None:
    await machine.store_session()
    async with machine.agent() as heart:
        await anyio.sleep(1)
        machine.break_store(FAILING)
        machine.provider.script = [Unsent("no route")] * 3
        await anyio.sleep(3600)
        machine.mend_store()
        await anyio.sleep(60)
        assert heart.state() == "ready"
        assert machine.store.refresh_token() == heart.machine.provider.live
