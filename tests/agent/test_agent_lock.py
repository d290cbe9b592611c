"""The lock of the agent: what it answers, which secrets go when, and that nothing is lost."""

from dataclasses import replace

import anyio
import pytest
import trio.testing

from auth_agent.secret import Secret
from auth_agent.sessions.decision import Demand
from auth_agent.sessions.saver import Saver
from auth_agent.sessions.state import MAIN, Active, TokenKey
from auth_agent.storage.store import StoreError, StoreLocked, StoreMissing
from auth_agent_client import errors
from tests.agent import test_saver
from tests.agent.test_saver import Heart, Machine, Watcher
from tests.agent.world import FakeSealedEntries, FakeStore, account, config

pytestmark = pytest.mark.anyio

disk = test_saver.disk
machine = test_saver.machine
PASSPHRASE = Secret("correct horse")
HOUR = 3600.0


@pytest.fixture
def anyio_backend() -> tuple[str, dict[str, object]]:
    return "trio", {"clock": trio.testing.MockClock(autojump_threshold=0)}


@pytest.fixture
def memory(machine: Machine) -> Machine:
    """A machine whose agents keep sessions in memory."""
    machine.store.persistent = False
    return machine


async def lock(heart: Heart, passphrase: Secret | None = None, *, keep_alive: bool = False) -> list[str]:
    """Lock the agent; return the accounts that are pending."""
    return (await heart.lock.lock(passphrase, keep_alive=keep_alive)).pending


def secrets_of(heart: Heart) -> list[str]:
    """Return the accounts with a secret in memory: in the session, or in what is to be written."""
    written = heart.saver._pending_writes  # noqa: SLF001 -- no public name shows what is forgotten  # pyright: ignore[reportPrivateUsage]
    return [
        name
        for name, session in heart.table.all()
        if session.credentials is not None
        or session.profile is not None
        or (session in written and written[session].wanted is not None)
    ]


def answer(heart: Heart) -> str:
    """Return what `check` says to a request."""
    try:
        heart.lock.check("work")
    except errors.Locked as error:
        return error.code
    return "served"


# ---- a store that keeps sessions


async def test_a_locked_agent_has_no_secret_and_refreshes_nothing(machine: Machine) -> None:
    await machine.store_session()
    async with machine.agent() as heart:
        assert await heart.token() == "at-2"
        assert await lock(heart) == []
        assert answer(heart) == "locked"
        assert secrets_of(heart) == []
        assert heart.table.records()[0]["state"] == "locked"
        assert heart.table.records()[0]["remedy"] == [{"text": "unlock it", "command": ["auth-agent", "unlock"]}]
        await anyio.sleep(3 * HOUR)
        assert machine.provider.presented == []
        assert machine.store.refresh_token() == "rt-2"
        assert machine.store.calls.count("read work") == 2  # at the start, and to look whether it is there


async def test_unlocked_it_is_where_it_was(machine: Machine) -> None:
    await machine.store_session()
    async with machine.agent() as heart:
        await heart.token()
        await lock(heart)
        await heart.lock.unlock(None)
        assert answer(heart) == "served"
        assert await heart.token() == "at-2"
        assert machine.provider.presented == []
        await anyio.sleep(HOUR)
        assert machine.provider.presented == ["rt-2"]


async def test_each_record_changes_at_a_lock_and_at_an_unlock(machine: Machine) -> None:
    machine.accounts = ["work", "home"]
    await machine.store_session()
    async with machine.agent() as heart:
        await heart.token()
        await anyio.sleep(1)
        watcher = Watcher(heart, "state")
        await heart.lock.lock(None, keep_alive=True)
        assert watcher.seen == ["locked", "locked"]
        await heart.lock.unlock(None)
        assert watcher.seen[2:] == ["ready", "logged_out"]


async def test_a_session_that_was_not_read_yet_stays_unread(machine: Machine) -> None:
    await machine.store_session()
    async with machine.agent() as heart:
        await lock(heart)
        await anyio.sleep(10)
        assert secrets_of(heart) == []
        machine.store.calls.clear()
        heart.table.configure(config(account("work", audience="https://api.example/")))
        heart.saver.read_all()  # as a reload does
        await anyio.sleep(10)
        assert "read work" not in machine.store.calls
        await heart.lock.unlock(None)
        await anyio.sleep(1)
        assert heart.session.credentials is not None


async def test_a_refresh_in_flight_ends_and_is_saved_before_its_secrets_go(machine: Machine) -> None:
    await machine.store_session()
    machine.provider.delay = 5
    async with machine.agent() as heart:
        await heart.token()
        heart.refresher.start(heart.session)
        await anyio.sleep(1)
        assert await lock(heart) == ["work"]
        assert answer(heart) == "locked"
        await anyio.sleep(5)
        assert (secrets_of(heart), machine.store.refresh_token()) == ([], "rt-3")
        assert heart.lock.about() == {"takes_passphrase": False, "keep_alive": False, "pending": []}
        await heart.lock.unlock(None)
        assert await heart.token() == "at-3"
        assert machine.provider.presented == ["rt-2"]


async def test_a_client_that_waits_for_its_turn_gets_no_refresh(machine: Machine) -> None:
    await machine.store_session()
    machine.provider.delay = 5
    async with machine.agent() as heart:
        await heart.token()
        heart.refresher.start(heart.session)
        results: list[str] = []

        async def ask() -> None:
            results.append(await heart.token(Demand(TokenKey("https://api.example/", ""))))

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(ask)
            await anyio.sleep(1)
            await lock(heart)
        assert results == ["locked"]
        assert machine.provider.presented == ["rt-2"]


@pytest.mark.parametrize("failure", [StoreLocked("the keyring is locked"), StoreError("the keyring hangs")])
async def test_what_the_store_lacks_stays_in_memory_until_it_is_written(machine: Machine, failure: StoreError) -> None:
    await machine.store_session()
    async with machine.agent() as heart:
        await heart.token()
        machine.break_store(failure)
        await heart.refresh()
        assert await lock(heart) == ["work"]
        await anyio.sleep(2 * HOUR)
        assert machine.provider.presented == ["rt-2"]  # no timer
        assert secrets_of(heart) == ["work"]
        assert answer(heart) == "locked"
        machine.mend_store()
        await anyio.sleep(300)
        assert (secrets_of(heart), machine.store.refresh_token()) == ([], "rt-3")


async def test_an_unlock_before_the_secrets_have_gone_keeps_them(machine: Machine) -> None:
    await machine.store_session()
    async with machine.agent() as heart:
        await heart.token()
        machine.break_store(StoreError("the keyring hangs"))
        await heart.refresh()
        assert await lock(heart) == ["work"]
        await heart.lock.unlock(None)
        assert await heart.token() == "at-3"
        machine.mend_store()
        await anyio.sleep(300)
        assert (machine.store.refresh_token(), heart.state()) == ("rt-3", "ready")


async def test_kept_alive_it_refreshes_and_serves_nobody(machine: Machine) -> None:
    await machine.store_session()
    async with machine.agent() as heart:
        await heart.token()
        assert await lock(heart, keep_alive=True) == []
        await anyio.sleep(2 * HOUR)
        assert machine.provider.presented == ["rt-2", "rt-3"]
        assert answer(heart) == "locked"
        assert heart.table.records()[0]["state"] == "locked"
        await heart.lock.unlock(None)
        assert await heart.token() == "at-4"


async def test_secrets_of_an_account_that_was_removed_go_too(machine: Machine) -> None:
    machine.accounts = ["work", "home"]
    await machine.store_session("home")
    async with machine.agent() as heart:
        await heart.token(name="home")
        heart.table.configure(config(account("work")))
        await lock(heart)
        assert secrets_of(heart) == []
        await heart.lock.unlock(None)
        heart.table.configure(config(account("work"), account("home")))
        heart.saver.read_all()
        assert await heart.token(name="home") == "at-2"


async def test_a_session_that_has_ended_stays_as_it_was(machine: Machine) -> None:
    async with machine.agent() as heart:
        await anyio.sleep(1)
        await lock(heart)
        await heart.lock.unlock(None)
        await anyio.sleep(1)
        assert heart.state() == "logged_out"


async def test_a_session_whose_entry_is_gone_is_written_before_its_secrets_go(machine: Machine) -> None:
    await machine.store_session()
    async with machine.agent() as heart:
        await heart.token()
        machine.store.entries.clear()
        assert await lock(heart) == []
        assert machine.store.refresh_token() == "rt-2"
        await heart.lock.unlock(None)
        assert await heart.token() == "at-2"


async def test_an_entry_that_can_be_read_again_is_not_overwritten(machine: Machine) -> None:
    await machine.store_session()
    good, machine.store.entries["work"] = machine.store.entries["work"], Secret("garbage")
    async with machine.agent() as heart:
        await anyio.sleep(100)
        assert await heart.token() == "login_required"
        machine.store.entries["work"] = good
        assert await lock(heart) == []
        await heart.lock.unlock(None)
        assert await heart.token() == "at-2"


async def test_an_entry_that_came_back_in_place_of_an_old_copy_is_not_overwritten(machine: Machine) -> None:
    await machine.store_session()
    old = machine.store.entries["work"]
    async with machine.agent() as heart:
        await heart.token()
        assert await heart.refresh() == "at-3"
    newest, machine.store.entries["work"] = machine.store.entries["work"], old
    async with machine.agent() as heart:
        assert await heart.token() == "login_required"
        machine.store.entries["work"] = newest
        assert await lock(heart) == []
        await heart.lock.unlock(None)
        assert await heart.token() == "at-3"


async def test_a_store_that_keeps_nothing_gets_no_session(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    async def forget(_: object, __: str) -> None:
        return None

    await machine.store_session()
    async with machine.agent() as heart:
        await heart.token()
        monkeypatch.setattr(FakeStore, "read", forget)
        assert await lock(heart) == ["work"]
        await anyio.sleep(60)
        assert secrets_of(heart) == ["work"]
        await heart.lock.unlock(None)
        assert await heart.token() == "at-2"


async def test_a_login_whose_provider_is_still_being_asked_ends_too(machine: Machine) -> None:
    machine.accounts = ["work", "home"]
    await machine.store_session()
    async with machine.agent() as heart:
        await heart.token()
        machine.provider.preparation = 3
        codes: list[str] = []

        async def log_in() -> None:
            session = heart.table.session("home")
            try:
                await heart.logins.begin(session, heart, "browser", switch_user=False, client_secret=None)
            except errors.AgentError as error:
                codes.append(error.code)

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(log_in)
            await anyio.sleep(1)
            assert await lock(heart) == []
        assert codes == ["locked"]


async def test_a_login_that_began_before_the_lock_does_not_fill_a_logged_out_session(machine: Machine) -> None:
    async with machine.agent() as heart:
        await anyio.sleep(1)
        epoch = heart.session.epoch
        await lock(heart)
        assert heart.session.epoch > epoch  # what was granted for the epoch before is forgotten


async def test_a_defect_in_between_ends_neither_the_agent_nor_the_lock(
    machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    failures = [RuntimeError("canary"), RuntimeError("canary")]
    look = Saver.find_all

    async def fail_twice(saver: Saver) -> bool:
        if failures:
            raise failures.pop()
        return await look(saver)

    monkeypatch.setattr(Saver, "find_all", fail_twice)
    await machine.store_session()
    async with machine.agent() as heart:
        await heart.token()
        assert await lock(heart) == ["work"]
        await anyio.sleep(60)
        assert secrets_of(heart) == []
        await heart.lock.unlock(None)
        assert await heart.token() == "at-2"


@pytest.mark.parametrize("passphrase", [None, PASSPHRASE])
async def test_a_keyring_that_turns_out_to_be_missing_costs_no_session(
    machine: Machine, passphrase: Secret | None
) -> None:
    async with machine.agent() as heart:
        await anyio.sleep(1)
        machine.break_store(StoreLocked("the keyring is locked"))
        await heart.log_in()
        assert await lock(heart, passphrase) == ["work"]
        machine.break_store(StoreMissing("there is no keyring"))
        await anyio.sleep(HOUR)
        assert (secrets_of(heart) == ["work"]) is (passphrase is None)
        await heart.lock.unlock(passphrase)
        assert (await heart.token()).startswith("at-")


# ---- passphrases


@pytest.mark.parametrize("keep_alive", [False, True])
async def test_only_its_passphrase_unlocks_it(machine: Machine, *, keep_alive: bool) -> None:
    await machine.store_session()
    async with machine.agent() as heart:
        await heart.token()
        await lock(heart, PASSPHRASE, keep_alive=keep_alive)
        with pytest.raises(errors.Denied):
            await heart.lock.unlock(Secret("wrong"))
        with pytest.raises(errors.InvalidRequest):
            await heart.lock.unlock(None)
        assert answer(heart) == "locked"
        await heart.lock.unlock(PASSPHRASE)
        assert await heart.token() == "at-2"


async def test_one_passphrase_is_checked_at_a_time(machine: Machine) -> None:
    async with machine.agent() as heart:
        await lock(heart, PASSPHRASE)
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(heart.lock.unlock, PASSPHRASE)
            await anyio.sleep(0.1)
            with pytest.raises(errors.Unavailable):
                await heart.lock.unlock(PASSPHRASE)


async def test_a_guess_before_the_passphrase_is_set_does_not_become_it(machine: Machine) -> None:
    async with machine.agent() as heart, anyio.create_task_group() as tasks:
        tasks.start_soon(lock, heart, PASSPHRASE)
        await anyio.sleep(0.1)
        assert answer(heart) == "locked"
        with pytest.raises(errors.Denied):
            await heart.lock.unlock(Secret("guess"))
        await heart.lock.unlock(PASSPHRASE)
        assert answer(heart) == "served"


async def test_a_second_lock_changes_no_passphrase(machine: Machine) -> None:
    async with machine.agent() as heart:
        await lock(heart, PASSPHRASE)
        assert await lock(heart) == []
        with pytest.raises(errors.Locked):
            await lock(heart, Secret("another"))
        await heart.lock.unlock(PASSPHRASE)


async def test_it_is_not_locked_if_the_passphrase_can_not_be_set(
    machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def fail(_: object, __: Secret) -> None:
        raise StoreError("the worker process failed")

    monkeypatch.setattr(FakeSealedEntries, "unlock_by", fail)
    await machine.store_session()
    async with machine.agent() as heart:
        await heart.token()
        with pytest.raises(errors.Unavailable):
            await lock(heart, PASSPHRASE)
        assert answer(heart) == "served"
        assert await heart.refresh() == "at-3"


async def test_an_agent_that_is_not_locked_needs_no_unlock(machine: Machine) -> None:
    async with machine.agent() as heart:
        assert (await heart.lock.unlock(None)).created is False
        assert (await heart.lock.unlock(PASSPHRASE)).created is False
        assert heart.lock.about() is None


# ---- sessions that are only in memory


async def test_sessions_in_memory_are_sealed_by_the_passphrase(memory: Machine) -> None:
    async with memory.agent() as heart:
        await anyio.sleep(1)
        await heart.log_in()
        assert await lock(heart, PASSPHRASE) == []
        assert (secrets_of(heart), memory.store.entries) == ([], {})
        with pytest.raises(errors.Denied):
            await heart.lock.unlock(Secret("wrong"))
        await heart.lock.unlock(PASSPHRASE)
        assert await heart.token() == "at-2"
        assert await heart.refresh() == "at-3"
        assert memory.provider.presented == ["rt-1", "rt-2"]


async def test_a_keyring_that_is_missing_keeps_nothing(machine: Machine) -> None:
    machine.break_store(StoreMissing("there is no keyring"))
    async with machine.agent() as heart:
        await anyio.sleep(1)
        await heart.log_in()
        with pytest.raises(errors.Unsupported):
            await lock(heart)
        assert await lock(heart, PASSPHRASE) == []
        assert secrets_of(heart) == []
        await heart.lock.unlock(PASSPHRASE)
        assert await heart.token() == "at-2"
        machine.mend_store()
        await anyio.sleep(HOUR / 2)
        assert machine.store.refresh_token() == "rt-2"


async def test_without_a_passphrase_sessions_in_memory_are_only_kept_alive(memory: Machine) -> None:
    async with memory.agent() as heart:
        await anyio.sleep(1)
        await heart.log_in()
        with pytest.raises(errors.Unsupported) as caught:
            await lock(heart)
        assert [" ".join(remedy.command or ()) for remedy in caught.value.remedy] == [
            "auth-agent lock --passphrase",
            "auth-agent lock --keep-alive",
        ]
        assert answer(heart) == "served"
        await lock(heart, keep_alive=True)
        await heart.lock.unlock(None)
        assert await heart.token() == "at-2"


async def test_sessions_are_sealed_once_the_worker_works_again(
    memory: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    write, failures = FakeSealedEntries.write, [StoreError("the worker process failed")]

    async def fail_once(self: FakeSealedEntries, name: str, entry: Secret) -> None:
        if failures:
            raise failures.pop()
        await write(self, name, entry)

    monkeypatch.setattr(FakeSealedEntries, "write", fail_once)
    async with memory.agent() as heart:
        await anyio.sleep(1)
        await heart.log_in()
        assert await lock(heart, PASSPHRASE) == ["work"]
        await anyio.sleep(10)
        assert secrets_of(heart) == []
        await heart.lock.unlock(PASSPHRASE)
        assert await heart.token() == "at-2"


async def test_a_session_in_memory_is_found_under_its_new_name(memory: Machine) -> None:
    async with memory.agent() as heart:
        await anyio.sleep(1)
        await heart.log_in()
        heart.table.renames["acme"] = "work"
        await lock(heart, PASSPHRASE)
        heart.table.configure(config(account("acme")))
        heart.saver.read_all()
        await heart.lock.unlock(PASSPHRASE)
        assert await heart.token(name="acme") == "at-2"


async def test_an_entry_that_can_not_be_opened_does_not_keep_the_agent_locked(
    memory: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def fail(_: object, __: str) -> Secret:
        raise StoreError("the worker process failed")

    monkeypatch.setattr(FakeSealedEntries, "read", fail)
    async with memory.agent() as heart:
        await anyio.sleep(1)
        await heart.log_in()
        await lock(heart, PASSPHRASE)
        await heart.lock.unlock(PASSPHRASE)
        assert answer(heart) == "served"
        assert await heart.token() == "login_required"


# ---- what a lock says


async def test_a_lock_says_which_sessions_end_meanwhile(machine: Machine) -> None:
    await machine.store_session()
    async with machine.agent() as heart:
        await heart.token()
        state = heart.session.state
        assert isinstance(state, Active)
        end = machine.clock.now().wall + 90
        heart.session.state = replace(state, credentials=replace(state.credentials, ceiling=end))
        assert (await heart.lock.lock(None, keep_alive=False)).ends == [{"account": "work", "at": end}]


async def test_a_lock_says_that_a_session_without_a_refresh_token_ends_with_its_token(machine: Machine) -> None:
    await machine.store_session()
    async with machine.agent() as heart:
        await heart.token()
        state, token = heart.session.state, heart.session.current()
        assert isinstance(state, Active)
        assert token is not None
        heart.session.state = replace(state, credentials=replace(state.credentials, refresh_token=None))
        expected = [{"account": "work", "at": token.served_until.wall}]
        assert (await heart.lock.lock(None, keep_alive=True)).ends == expected


async def test_a_lock_says_when_a_session_ends_whose_token_has_no_known_end(machine: Machine) -> None:
    await machine.store_session()
    async with machine.agent() as heart:
        await heart.token()
        state, token = heart.session.state, heart.session.current()
        assert isinstance(state, Active)
        assert token is not None
        end = machine.clock.now().wall + 90
        credentials = replace(state.credentials, refresh_token=None, ceiling=end)
        heart.session.state = Active(credentials, {MAIN: replace(token, lifetime=None)})
        assert (await heart.lock.lock(None, keep_alive=True)).ends == [{"account": "work", "at": end}]
