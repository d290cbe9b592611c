"""The saver where several things go wrong at once: each of these once lost something, or told something untrue."""

import json
import math
from pathlib import Path

import anyio
import anyio.to_thread
import pytest
import trio.testing

from auth_agent.cli.stake import accounts_at_stake
from auth_agent.oauth.client import Client
from auth_agent.oauth.outcome import Failure, TokenResponse, Unsent
from auth_agent.oauth.token_request import TokenRequest
from auth_agent.secret import Secret
from auth_agent.storage import journal
from auth_agent_client import errors
from tests.agent.test_saver import FAILING, LOCKED, MISSING, Disk, Heart, Machine
from tests.agent.world import ALICE, account, config, token_response

pytestmark = pytest.mark.anyio


@pytest.fixture
def anyio_backend() -> tuple[str, dict[str, object]]:
    return "trio", {"clock": trio.testing.MockClock(autojump_threshold=0)}


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Machine:
    monkeypatch.setattr(anyio.to_thread, "run_sync", Disk().run_sync)
    return Machine(tmp_path)


async def until_it_rests(heart: Heart, seconds: float) -> None:
    """Wait until the failing store was not asked for so long: then it isn't going to be for as long again."""
    calls = heart.machine.store.calls
    asked = -1
    while asked != len(calls):
        asked = len(calls)
        await anyio.sleep(seconds)


async def test_a_logout_right_after_the_start_reads_what_it_revokes(machine: Machine) -> None:
    await machine.has_a_session()
    async with machine.agent() as heart:
        assert await heart.logins.log_out(heart.session, revoke=True)
        assert machine.provider.revoked == ["rt-2"]


async def test_an_imported_refresh_token_is_not_presented_again_by_the_next_agent(machine: Machine) -> None:
    await machine.has_a_session()  # by importing rt-1
    async with machine.agent() as heart:
        await heart.saver.wait_until_loaded(heart.session)
        with pytest.raises(errors.InvalidRequest) as caught:
            await heart.log_in("rt-1")
        assert caught.value.parameter == "refresh_token"
    assert machine.provider.presented == []


async def test_what_was_presented_is_dead_though_the_agent_died_between_the_save_and_its_note(
    machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def die(*_: object) -> None:
        await anyio.sleep_forever()

    with monkeypatch.context() as patch:
        patch.setattr(journal.Journal, "saved", die)
        async with machine.agent() as heart:
            await heart.saver.wait_until_loaded(heart.session)
            await heart.log_in()
            assert machine.store.refresh_token() == "rt-2"
    async with machine.agent() as heart:
        await heart.saver.wait_until_loaded(heart.session)
        with pytest.raises(errors.InvalidRequest) as caught:
            await heart.log_in()
        assert caught.value.parameter == "refresh_token"
    assert machine.provider.presented == ["rt-1"]


async def test_an_import_that_was_lost_with_the_agent_may_be_done_again(machine: Machine) -> None:
    await machine.has_a_session()
    machine.provider.live = "rt-10"
    async with machine.agent() as heart:
        await heart.saver.wait_until_loaded(heart.session)
        machine.fails(LOCKED)
        await heart.log_in("rt-10")
    machine.is_mended()
    machine.provider.live = "rt-10"  # by its overlap
    async with machine.agent() as heart:
        await heart.saver.wait_until_loaded(heart.session)
        await heart.log_in("rt-10")
    assert machine.provider.presented == ["rt-10", "rt-10"]


@pytest.mark.parametrize("failure", [FAILING, LOCKED], ids=["failing", "locked"])
async def test_what_a_login_replaces_is_revoked_when_the_store_has_its_successor_and_not_before(
    machine: Machine, failure: Exception
) -> None:
    await machine.has_a_session()
    async with machine.agent() as heart:
        await heart.saver.wait_until_loaded(heart.session)
        machine.fails(failure)
        machine.provider.live, machine.provider.subject = "rt-10", "auth0|bob"
        await heart.log_in("rt-10", switch_user=True)
        await anyio.sleep(100)
        assert machine.provider.revoked == []
        assert machine.store.refresh_token() == "rt-2"
        machine.is_mended()
        await anyio.sleep(20)
        assert machine.store.refresh_token() != "rt-2"
        assert machine.provider.revoked == ["rt-2"]


async def test_without_a_keyring_what_a_login_replaces_is_revoked_at_once(machine: Machine) -> None:
    machine.fails(MISSING)
    async with machine.agent() as heart:
        await anyio.sleep(100)
        await heart.log_in()
        machine.provider.live, machine.provider.subject = "rt-10", "auth0|bob"
        await heart.log_in("rt-10", switch_user=True)
        assert machine.provider.revoked == ["rt-2"]


async def test_what_was_to_be_revoked_later_is_not_when_another_session_may_end_with_it_by_then(
    machine: Machine,
) -> None:
    await machine.has_a_session()
    machine.accounts.append("home")
    async with machine.agent() as heart:
        await heart.saver.wait_until_loaded(heart.session)
        await heart.saver.wait_until_loaded(heart.table.session("home"))
        machine.fails(LOCKED)
        machine.provider.live, machine.provider.subject = "rt-10", "auth0|bob"
        await heart.log_in("rt-10", switch_user=True)
        machine.provider.live, machine.provider.subject = "rt-20", ALICE
        await heart.log_in("rt-20", "home")
        machine.is_mended()
        await anyio.sleep(100)
        assert machine.store.refresh_token() != "rt-2"
        assert machine.provider.revoked == []


async def test_without_a_keyring_an_account_that_is_added_can_be_used_at_once(machine: Machine) -> None:
    machine.fails(MISSING)
    async with machine.agent() as heart:
        await anyio.sleep(100)
        await heart.log_in()
        await anyio.sleep(1000)
        heart.table.configure(config(account("work"), account("home")))
        heart.saver.read_all()
        assert heart.state("home") == "logged_out"


async def test_an_account_that_is_added_while_the_keyring_is_locked_says_so(machine: Machine) -> None:
    await machine.has_a_session()
    machine.fails(LOCKED)
    async with machine.agent() as heart:
        await anyio.sleep(100)
        heart.table.configure(config(account("work"), account("home")))
        heart.saver.read_all()
        assert str(LOCKED) in (heart.table.session("home").reason or "")


@pytest.mark.parametrize("failure", [FAILING, LOCKED], ids=["failing", "locked"])
async def test_an_entry_that_can_not_be_read_keeps_no_other_from_being_saved(
    machine: Machine, failure: Exception
) -> None:
    machine.accounts = ["bad", "work"]
    await machine.has_a_session()
    machine.store.failing = {"read bad": failure}
    async with machine.agent() as heart:
        for _ in range(40):
            await anyio.sleep(97.3)
            await heart.refresh()
            await anyio.sleep(0 if heart.session.saved else 1.5)
            assert heart.session.saved


async def test_a_disk_that_is_full_at_a_login_after_a_logout_does_not_end_that_login(
    machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    await machine.has_a_session()
    async with machine.agent() as heart:
        await anyio.sleep(1)
        machine.fails(FAILING)
        await heart.log_out()
        machine.provider.live = "rt-10"
        with monkeypatch.context() as patch:
            patch.setattr(journal, "write_note", full)
            machine.is_mended()
            await heart.log_in("rt-10")
            await anyio.sleep(3700)
    async with machine.agent() as heart:
        await anyio.sleep(1)
        assert heart.state() == "ready"


async def test_a_client_does_not_wait_behind_all_that_is_to_be_saved(
    machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def token(_: Client, request: TokenRequest) -> TokenResponse | Failure:
        await anyio.sleep(3)
        return token_response("at", refresh_token=f"{request.secrets['refresh_token'].reveal()}x")

    machine.accounts = [*(f"number-{number}" for number in range(600)), "work"]
    await machine.has_a_session()
    entry = json.loads(machine.store.entries["work"].reveal())
    for name in machine.accounts[:-1]:
        entry["login"]["refresh_token"] = f"rt-of-{name}"
        machine.store.entries[name] = Secret(json.dumps({**entry, "account": name}))
    machine.clock.advance(4000)  # all have expired
    monkeypatch.setattr(machine.provider, "token", token)
    machine.store.latency = 0.05
    async with machine.agent() as heart:
        await anyio.sleep(3.3)
        session = heart.table.session("work")
        assert session.is_locked
        with anyio.fail_after(1):
            await heart.saver.wait_until_loaded(session, math.inf)
        assert not session.is_locked


async def test_an_ending_agent_tries_on_until_the_store_takes_it(machine: Machine) -> None:
    async def mend() -> None:
        await anyio.sleep(1.5)
        machine.is_mended()

    await machine.has_a_session()
    async with machine.agent() as heart:
        await anyio.sleep(1)
        machine.fails(FAILING)
        await heart.refresh()
        await until_it_rests(heart, 5)
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(mend)
            await heart.background.drain()
        assert machine.store.refresh_token() == "rt-3"


async def test_an_ending_agent_saves_while_it_waits_for_a_provider(machine: Machine) -> None:
    machine.accounts = ["work", "slow"]
    await machine.has_a_session()
    machine.provider.script = [token_response("at-of-slow", refresh_token="rt-of-slow")]
    await machine.has_a_session("slow", "rt-from-elsewhere")
    async with machine.agent() as heart:
        await anyio.sleep(1)
        machine.fails(FAILING)
        await heart.refresh()
        machine.is_mended()
        machine.provider.delay = 1000
        slow = heart.table.session("slow")
        slow.forget_failures()
        heart.refresher.start(slow)
        begun = anyio.current_time()
        await heart.background.drain()
        assert anyio.current_time() - begun <= 12.1
        assert machine.store.refresh_token() == "rt-3"


async def test_a_refresh_succeeds_where_no_thread_can_be_started(
    machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def run_sync(*_: object, **__: object) -> None:
        raise RuntimeError("can't start new thread")

    await machine.has_a_session()
    async with machine.agent() as heart:
        await anyio.sleep(1)
        monkeypatch.setattr(anyio.to_thread, "run_sync", run_sync)
        assert await heart.refresh() == "at-3"


async def test_an_agent_begins_where_no_thread_can_be_started(
    machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def run_sync(*_: object, **__: object) -> None:
        raise RuntimeError("can't start new thread")

    await machine.has_a_session()
    monkeypatch.setattr(anyio.to_thread, "run_sync", run_sync)
    async with machine.agent() as heart:
        await anyio.sleep(1)
        assert heart.state() == "ready"


async def test_a_token_that_was_not_replaced_may_come_back_after_a_logout(machine: Machine) -> None:
    machine.provider.rotates = False
    await machine.has_a_session()
    async with machine.agent() as heart:
        await anyio.sleep(1)
        machine.provider.script = [Unsent("down")]
        await heart.refresh()
        await heart.log_out()
        await anyio.sleep(1)
    async with machine.agent() as heart:
        await heart.saver.wait_until_loaded(heart.session)
        await heart.log_in("rt-1")
        assert heart.state() == "ready"


async def test_after_a_logout_nothing_is_at_stake(machine: Machine) -> None:
    machine.fails(FAILING)
    async with machine.agent() as heart:
        await anyio.sleep(10)
        machine.is_mended()
        await anyio.sleep(30)
        await heart.log_in()
        machine.fails(FAILING)
        await heart.log_out()
        assert not heart.session.saved
        told: dict[str, object] = {"agent": {"store": heart.saver.about()}, "accounts": heart.table.records()}
        assert accounts_at_stake(told) == []
