"""Moving sessions to another store: what is where at each moment, and that a crash at none loses a session."""

import anyio
import pytest
import trio.testing

from auth_agent.errors import StartupError
from auth_agent.oauth.outcome import InvalidGrant
from auth_agent.secret import Secret
from auth_agent.sessions.store_move import Moved, StoreMove
from auth_agent.storage.journal import Journal
from auth_agent.storage.store import StoreError, StoreLocked, StoreMissing
from auth_agent.storage.stores import OpenStore
from auth_agent_client import errors
from tests.agent import test_saver
from tests.agent.test_saver import Heart, Machine
from tests.agent.world import FakeStore, account, config

pytestmark = pytest.mark.anyio

disk = test_saver.disk
machine = test_saver.machine


@pytest.fixture
def anyio_backend() -> tuple[str, dict[str, object]]:
    return "trio", {"clock": trio.testing.MockClock(autojump_threshold=0)}


class Place:
    """A machine with a second store, and the note of the store in use."""

    def __init__(self, machine: Machine) -> None:
        self.machine = machine
        self.source = machine.store
        self.target = FakeStore(name="file")
        self.in_use = machine.store
        self.refusal: Exception | None = None
        self.opened = 0

    def move_of(self, heart: Heart) -> StoreMove:
        source = OpenStore(self.source, heart.journal, ())
        return StoreMove(heart.table, heart.saver, heart.refresher, source, self._open, self._remember)

    def _open(self, _: str, __: str) -> OpenStore:
        if isinstance(self.refusal, StartupError):
            raise self.refusal
        self.opened += 1
        return OpenStore(self.target, Journal(self.machine.notes), (), self.machine.digest)

    def _remember(self, _: str) -> None:
        if isinstance(self.refusal, OSError):
            raise self.refusal
        self.in_use = self.target

    def begin_next(self) -> None:
        """Have the next agent use the store that is noted."""
        self.machine.store = self.in_use


@pytest.fixture
def place(machine: Machine) -> Place:
    return Place(machine)


async def test_sessions_move_without_a_refresh(place: Place) -> None:
    place.machine.accounts = ["work", "home"]
    await place.machine.store_session()
    async with place.machine.agent() as heart:
        await heart.token()
        await anyio.sleep(1)
        assert await place.move_of(heart).move("file", None) == Moved(["work"], [], [])
        assert (place.source.entries, place.target.refresh_token()) == ({}, "rt-2")
        assert place.machine.provider.presented == []
        assert heart.saver.about()["name"] == "file"
        assert await heart.refresh() == "at-3"
        assert (place.source.entries, place.target.refresh_token()) == ({}, "rt-3")
    place.begin_next()
    async with place.machine.agent() as heart:
        assert await heart.token() == "at-3"


async def test_a_session_of_a_removed_account_that_is_not_known_stays_where_it_is(place: Place) -> None:
    place.machine.accounts = ["work", "home"]
    await place.machine.store_session()
    await place.machine.store_session("home")
    entry = place.source.entries["home"]
    async with place.machine.agent() as heart:
        await heart.token()
        await heart.token(name="home")
        heart.table.configure(config(account("work")))
        await heart.lock.lock(None, keep_alive=False)
        await heart.lock.unlock(None)
        await heart.token()
        assert await place.move_of(heart).move("file", None) == Moved(["work"], [], [])
        assert place.source.entries == {"home": entry}
        heart.table.configure(config(account("work"), account("home")))
        heart.saver.read_all()
        assert await heart.token(name="home") == "locked"


@pytest.mark.parametrize("keeps", ["in memory", "in memory, since the keyring is missing"])
async def test_sessions_move_out_of_the_memory(place: Place, keeps: str) -> None:
    place.source.persistent = keeps != "in memory"
    if place.source.persistent:
        place.machine.break_store(StoreMissing("there is no keyring"))
    async with place.machine.agent() as heart:
        await anyio.sleep(1)
        await heart.log_in()
        assert await place.move_of(heart).move("file", None) == Moved(["work"], [], [])
        assert place.target.refresh_token() == "rt-2"
        assert heart.session.saved
        assert await heart.refresh() == "at-3"
    place.begin_next()
    async with place.machine.agent() as heart:
        assert await heart.token() == "at-3"


async def test_what_the_other_store_had_of_a_session_that_has_ended_does_not_come_back(place: Place) -> None:
    await place.machine.store_session()
    place.target.entries = dict(place.source.entries)
    async with place.machine.agent() as heart:
        await heart.token()
        await heart.log_out()
        await place.move_of(heart).move("file", None)
        assert place.target.entries == {}


async def test_a_refresh_whose_result_is_being_saved_is_not_overwritten(place: Place) -> None:
    await place.machine.store_session()
    async with place.machine.agent() as heart:
        await heart.token()
        place.source.latency = 0.5
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(heart.refresh)
            await anyio.sleep(0.1)
            await place.move_of(heart).move("file", None)
        await anyio.sleep(5)
        assert (heart.state(), place.target.refresh_token()) == ("ready", "rt-3")


async def test_a_rename_during_a_save_does_not_store_the_refresh_token_from_before(machine: Machine) -> None:
    await machine.store_session()
    async with machine.agent() as heart:
        await heart.token()
        machine.store.latency = 0.5
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(heart.refresh)
            await anyio.sleep(0.1)
            heart.table.renames["acme"] = "work"
            heart.table.configure(config(account("acme")))
        await anyio.sleep(5)
        assert machine.store.refresh_token("acme") == "rt-3"


async def test_what_happens_during_a_move_is_in_the_new_store(place: Place) -> None:
    await place.machine.store_session()
    place.source.latency = place.target.latency = 1
    async with place.machine.agent() as heart:
        await heart.token()
        move = place.move_of(heart)
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(move.move, "file", None)
            await anyio.sleep(0.5)
            with pytest.raises(errors.Unavailable):
                await move.move("file", None)
            assert await heart.refresh() == "at-3"
        assert place.target.refresh_token() == "rt-3"
        assert place.source.entries == {}


async def test_a_refresh_waits_only_for_what_has_changed_since_the_first_copy(place: Place) -> None:
    await place.machine.store_session()
    async with place.machine.agent() as heart:
        await heart.token()
        place.target.latency = 1
        place.machine.provider.delay = 0.5
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(place.move_of(heart).move, "file", None)
            await anyio.sleep(1.9)  # it was unlocked, and is being written to
            assert await heart.refresh() == "at-3"
            await anyio.sleep(0.2)
            assert await heart.refresh() == "unavailable"
            assert await heart.token() == "at-3"
        assert place.target.refresh_token() == "rt-3"
        assert await heart.refresh() == "at-4"


async def test_an_account_that_comes_during_a_move_moves_too(place: Place) -> None:
    await place.machine.store_session()
    place.machine.accounts = ["home"]
    await place.machine.store_session("home", "rt-2")
    async with place.machine.agent() as heart:
        await heart.token(name="home")
        place.target.latency = 1
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(place.move_of(heart).move, "file", None)
            await anyio.sleep(0.5)
            heart.table.configure(config(account("home"), account("work")))
            heart.saver.read_all()
        assert set(place.target.entries) == {"home", "work"}
        assert place.source.entries == {}


async def test_a_keyring_that_turns_out_to_be_missing_is_no_end_of_the_copy(place: Place) -> None:
    await place.machine.store_session()
    async with place.machine.agent() as heart:
        await heart.token()
        place.target.failing["write"] = StoreMissing("there is no keyring")
        with pytest.raises(errors.Locked):
            await place.move_of(heart).move("file", None)
        assert place.source.refresh_token() == "rt-2"
        assert place.in_use is place.source


async def test_a_store_that_was_not_unlocked_is_left_as_it_is(place: Place) -> None:
    await place.machine.store_session()
    place.target.entries = {"work": Secret("an earlier one's")}
    place.target.failing["unlock"] = StoreLocked("the person refused")
    async with place.machine.agent() as heart:
        await heart.token()
        with pytest.raises(errors.Locked):
            await place.move_of(heart).move("file", None)
        assert place.target.entries == {"work": Secret("an earlier one's")}


async def test_the_note_of_a_lost_response_moves_too(place: Place) -> None:
    place.source.persistent = False
    async with place.machine.agent() as heart:
        await anyio.sleep(1)
        await heart.log_in()
        heart.journal.note("work").sent.append("a fingerprint")
        move = StoreMove(
            heart.table,
            heart.saver,
            heart.refresher,
            OpenStore(place.source, heart.journal, ()),
            lambda _, __: OpenStore(place.target, Journal(place.machine.notes), ()),
            lambda _: None,
        )
        await move.move("file", None)
    assert Journal(place.machine.notes).note("work").sent == ["a fingerprint"]


async def test_a_target_that_hangs_does_not_hold_up_the_agent(place: Place) -> None:
    await place.machine.store_session()
    async with place.machine.agent() as heart:
        await heart.token()
        place.target.hanging = True
        start = anyio.current_time()
        with pytest.raises(errors.Locked):
            await place.move_of(heart).move("file", None)
        assert anyio.current_time() - start < 90
        assert await heart.refresh() == "at-3"


@pytest.mark.parametrize(
    "refusal",
    [StartupError("another agent uses it"), OSError(28, "No space left on device"), None],
    ids=["another agent's", "no note", "failing"],
)
async def test_a_move_that_fails_changes_nothing(place: Place, refusal: Exception | None) -> None:
    await place.machine.store_session()
    place.refusal = refusal
    if refusal is None:
        place.target.failing["write"] = StoreError("the disk is full")
    async with place.machine.agent() as heart:
        await heart.token()
        move = place.move_of(heart)
        with pytest.raises(errors.Locked):
            await move.move("file", None)
        assert (place.source.refresh_token(), place.target.entries) == ("rt-2", {})
        assert await heart.refresh() == "at-3"
        assert (place.source.refresh_token(), heart.saver.about()["name"]) == ("rt-3", "fake")
        place.refusal = None
        place.target.failing.clear()
        await move.move("file", None)
        assert place.target.refresh_token() == "rt-3"


@pytest.mark.parametrize("unusable", ["unread", "damaged"])
async def test_sessions_that_are_not_known_are_not_left_behind(place: Place, unusable: str) -> None:
    await place.machine.store_session()
    if unusable == "damaged":
        place.source.entries["work"] = Secret("{")
    else:
        place.source.failing["read"] = StoreError("the keyring hangs")
    async with place.machine.agent() as heart:
        await anyio.sleep(1)
        with pytest.raises(errors.Locked, match="work"):
            await place.move_of(heart).move("file", None)
        assert (place.opened, place.target.entries) == (0, {})


@pytest.mark.parametrize("name", ["fake", "memory", "", "another"])
async def test_a_store_to_which_nothing_can_move_is_an_error(place: Place, name: str) -> None:
    place.source.name = "keyring"
    async with place.machine.agent() as heart:
        with pytest.raises(errors.InvalidRequest) as caught:
            await place.move_of(heart).move("keyring" if name == "fake" else name, None)
        assert caught.value.parameter == "store"
        assert place.opened == 0


async def test_entries_that_can_not_be_deleted_are_named_and_never_sent_from_again(place: Place) -> None:
    await place.machine.store_session()
    async with place.machine.agent() as heart:
        await heart.token()
        place.source.failing["delete"] = StoreError("the keyring hangs")
        assert await place.move_of(heart).move("file", None) == Moved(["work"], ["work"], [])
        await heart.refresh()
    place.machine.provider.presented.clear()
    async with place.machine.agent() as heart:  # with the old store, as somebody may start it
        assert await heart.token() == "login_required"
        assert place.machine.provider.presented == []


async def test_an_ended_session_stays_ended(place: Place) -> None:
    await place.machine.store_session()
    async with place.machine.agent() as heart:
        await heart.token()
        place.machine.provider.script = [InvalidGrant("invalid_grant")]
        await heart.refresh()
        await place.move_of(heart).move("file", None)
    place.begin_next()
    async with place.machine.agent() as heart:
        assert await heart.token() == "login_required"


class Snapshot:
    """What is on the disk at one moment."""

    def __init__(self, place: Place) -> None:
        self._place = place
        self._in_use = place.in_use
        self._entries = dict(place.source.entries), dict(place.target.entries)
        self._notes = {path: path.read_bytes() for path in place.machine.notes.iterdir()}

    def restore(self) -> None:
        """Have it be on the disk again, whatever was done since."""
        self._place.in_use = self._in_use
        self._place.source.entries, self._place.target.entries = self._entries
        for path in self._place.machine.notes.iterdir():
            path.unlink()
        for path, content in self._notes.items():
            path.write_bytes(content)


@pytest.mark.parametrize("moment", range(30))
async def test_an_agent_killed_at_any_moment_of_a_move_loses_nothing(place: Place, moment: int) -> None:
    """The agent is killed during a move and a refresh; the next one uses the store that is noted."""
    await place.machine.store_session()
    place.source.latency = place.target.latency = 0.1
    snapshots: list[Snapshot] = []
    async with place.machine.agent() as heart:
        await heart.token()
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(place.move_of(heart).move, "file", None)
            tasks.start_soon(heart.refresh)
            await anyio.sleep(0.02 * moment)
            snapshots.append(Snapshot(place))
            tasks.cancel_scope.cancel()
    snapshots[0].restore()
    place.begin_next()
    live = place.machine.provider.live
    if live not in {place.source.refresh_token(), place.target.refresh_token()}:
        return  # killed before anything was saved, as may happen without a move
    place.source.latency = place.target.latency = 0.01
    async with place.machine.agent() as heart:
        assert await heart.token() == f"at-{live.removeprefix('rt-')}"
        assert (await heart.refresh()).startswith("at-")
