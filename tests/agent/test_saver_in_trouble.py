"""The saver when several things fail at once: each of these once lost something, or reported something wrong."""

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


async def wait_for_pause(heart: Heart, seconds: float) -> None:
    """Wait until the failing store was not called for that long: by its backoff, the next pause is as long."""
    calls = heart.machine.store.calls
    count = -1
    while count != len(calls):
        count = len(calls)
        await anyio.sleep(seconds)


async def test_a_logout_right_after_the_start_reads_what_it_revokes(machine: Machine) -> None:
    await machine.store_session()
    async with machine.agent() as heart:
        assert await heart.logins.log_out(heart.session, revoke=True)
        assert machine.provider.revoked == ["rt-2"]


async def test_an_imported_refresh_token_is_not_presented_again_by_the_next_agent(machine: Machine) -> None:
    await machine.store_session()  # by the import of rt-1
    async with machine.agent() as heart:
        await heart.saver.wait_until_loaded(heart.session)
        with pytest.raises(errors.InvalidRequest) as caught:
            await heart.log_in("rt-1")
        assert caught.value.parameter == "refresh_token"
    assert machine.provider.presented == []


async def test_a_presented_token_is_dead_even_if_the_agent_died_between_the_save_and_its_note(
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


async def test_an_import_that_was_lost_with_the_agent_can_be_repeated(machine: Machine) -> None:
    await machine.store_session()
    machine.provider.live = "rt-10"
    async with machine.agent() as heart:
        await heart.saver.wait_until_loaded(heart.session)
        machine.break_store(LOCKED)
        await heart.log_in("rt-10")
    machine.mend_store()
    machine.provider.live = "rt-10"  # by its rotation overlap
    async with machine.agent() as heart:
        await heart.saver.wait_until_loaded(heart.session)
        await heart.log_in("rt-10")
    assert machine.provider.presented == ["rt-10", "rt-10"]


async def test_who_waits_until_all_is_saved_waits_for_a_failing_store(machine: Machine) -> None:
    saved: list[bool] = []
    async with machine.agent() as heart, anyio.create_task_group() as tasks:
        await heart.saver.wait_until_loaded(heart.session)
        machine.break_store(FAILING)
        await heart.log_in()

        async def wait() -> None:
            await heart.saver.wait_until_saved()
            saved.append(True)

        tasks.start_soon(wait)
        await anyio.sleep(100)
        assert saved == []
        machine.mend_store()
    assert saved == [True]
    assert machine.store.refresh_token() == "rt-2"


@pytest.mark.parametrize("failure", [FAILING, LOCKED], ids=["failing", "locked"])
async def test_a_replaced_session_is_revoked_only_when_its_successor_is_stored(
    machine: Machine, failure: Exception
) -> None:
    await machine.store_session()
    async with machine.agent() as heart:
        await heart.saver.wait_until_loaded(heart.session)
        machine.break_store(failure)
        machine.provider.live, machine.provider.subject = "rt-10", "auth0|bob"
        await heart.log_in("rt-10", switch_user=True)
        await anyio.sleep(100)
        assert machine.provider.revoked == []
        assert machine.store.refresh_token() == "rt-2"
        machine.mend_store()
        await anyio.sleep(20)
        assert machine.store.refresh_token() != "rt-2"
        assert machine.provider.revoked == ["rt-2"]


async def test_without_a_keyring_a_replaced_session_is_revoked_at_once(machine: Machine) -> None:
    machine.break_store(MISSING)
    async with machine.agent() as heart:
        await anyio.sleep(100)
        await heart.log_in()
        machine.provider.live, machine.provider.subject = "rt-10", "auth0|bob"
        await heart.log_in("rt-10", switch_user=True)
        assert machine.provider.revoked == ["rt-2"]


async def test_a_delayed_revocation_is_dropped_if_it_may_end_another_session_by_then(
    machine: Machine,
) -> None:
    await machine.store_session()
    machine.accounts.append("home")
    async with machine.agent() as heart:
        await heart.saver.wait_until_loaded(heart.session)
        await heart.saver.wait_until_loaded(heart.table.session("home"))
        machine.break_store(LOCKED)
        machine.provider.live, machine.provider.subject = "rt-10", "auth0|bob"
        await heart.log_in("rt-10", switch_user=True)
        machine.provider.live, machine.provider.subject = "rt-20", ALICE
        await heart.log_in("rt-20", "home")
        machine.mend_store()
        await anyio.sleep(100)
        assert machine.store.refresh_token() != "rt-2"
        assert machine.provider.revoked == []


async def test_without_a_keyring_an_added_account_can_be_used_at_once(machine: Machine) -> None:
    machine.break_store(MISSING)
    async with machine.agent() as heart:
        await anyio.sleep(100)
        await heart.log_in()
        await anyio.sleep(1000)
        heart.table.configure(config(account("work"), account("home")))
        heart.saver.read_all()
        assert heart.state("home") == "logged_out"


async def test_an_account_added_while_the_keyring_is_locked_has_that_reason(machine: Machine) -> None:
    await machine.store_session()
    machine.break_store(LOCKED)
    async with machine.agent() as heart:
        await anyio.sleep(100)
        heart.table.configure(config(account("work"), account("home")))
        heart.saver.read_all()
        assert str(LOCKED) in (heart.table.session("home").reason or "")


@pytest.mark.parametrize("failure", [FAILING, LOCKED], ids=["failing", "locked"])
async def test_an_unreadable_entry_does_not_block_saving_others(machine: Machine, failure: Exception) -> None:
    machine.accounts = ["bad", "work"]
    await machine.store_session()
    machine.store.failing = {"read bad": failure}
    async with machine.agent() as heart:
        for _ in range(40):
            await anyio.sleep(97.3)
            await heart.refresh()
            await anyio.sleep(0 if heart.session.saved else 1.5)
            assert heart.session.saved


async def test_a_full_disk_at_a_login_after_a_logout_does_not_end_that_login(
    machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    await machine.store_session()
    async with machine.agent() as heart:
        await anyio.sleep(1)
        machine.break_store(FAILING)
        await heart.log_out()
        machine.provider.live = "rt-10"
        with monkeypatch.context() as patch:
            patch.setattr(journal, "write_note", full)
            machine.mend_store()
            await heart.log_in("rt-10")
            await anyio.sleep(3700)
    async with machine.agent() as heart:
        await anyio.sleep(1)
        assert heart.state() == "ready"


async def test_a_waiting_client_is_served_before_pending_saves(
    machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def token(_: Client, request: TokenRequest) -> TokenResponse | Failure:
        await anyio.sleep(3)
        return token_response("at", refresh_token=f"{request.secrets['refresh_token'].reveal()}x")

    machine.accounts = [*(f"number-{number}" for number in range(600)), "work"]
    await machine.store_session()
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


async def test_a_stopping_agent_retries_until_the_session_is_saved(machine: Machine) -> None:
    async def mend() -> None:
        await anyio.sleep(1.5)
        machine.mend_store()

    await machine.store_session()
    async with machine.agent() as heart:
        await anyio.sleep(1)
        machine.break_store(FAILING)
        await heart.refresh()
        await wait_for_pause(heart, 5)
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(mend)
            await heart.background.drain()
        assert machine.store.refresh_token() == "rt-3"


async def test_a_stopping_agent_saves_while_it_waits_for_a_provider(machine: Machine) -> None:
    machine.accounts = ["work", "slow"]
    await machine.store_session()
    machine.provider.script = [token_response("at-of-slow", refresh_token="rt-of-slow")]
    await machine.store_session("slow", "rt-from-elsewhere")
    async with machine.agent() as heart:
        await anyio.sleep(1)
        machine.break_store(FAILING)
        await heart.refresh()
        machine.mend_store()
        machine.provider.delay = 1000
        slow = heart.table.session("slow")
        slow.forget_failures()
        heart.refresher.start(slow)
        start = anyio.current_time()
        await heart.background.drain()
        assert anyio.current_time() - start <= 12.1
        assert machine.store.refresh_token() == "rt-3"


async def test_a_refresh_succeeds_if_no_thread_can_be_started(
    machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def run_sync(*_: object, **__: object) -> None:
        raise RuntimeError("can't start new thread")

    await machine.store_session()
    async with machine.agent() as heart:
        await anyio.sleep(1)
        monkeypatch.setattr(anyio.to_thread, "run_sync", run_sync)
        assert await heart.refresh() == "at-3"


async def test_an_agent_starts_if_no_thread_can_be_started(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    async def run_sync(*_: object, **__: object) -> None:
        raise RuntimeError("can't start new thread")

    await machine.store_session()
    monkeypatch.setattr(anyio.to_thread, "run_sync", run_sync)
    async with machine.agent() as heart:
        await anyio.sleep(1)
        assert heart.state() == "ready"


async def test_a_token_that_was_not_replaced_can_be_imported_after_a_logout(machine: Machine) -> None:
    machine.provider.rotates = False
    await machine.store_session()
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
    machine.break_store(FAILING)
    async with machine.agent() as heart:
        await anyio.sleep(10)
        machine.mend_store()
        await anyio.sleep(30)
        await heart.log_in()
        machine.break_store(FAILING)
        await heart.log_out()
        assert not heart.session.saved
        status: dict[str, object] = {"agent": {"store": heart.saver.about()}, "accounts": heart.table.records()}
        assert accounts_at_stake(status) == []
