"""Token files in a fake world, whose clock jumps from event to event: what each holds, and until when."""

import math
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace

import anyio
import pytest
import trio.testing

from auth_agent.config import Account
from auth_agent.files.keeper import LOOK, FileKeeper
from auth_agent.files.plan import plan
from auth_agent.files.problem import FileProblem
from auth_agent.oauth.outcome import InvalidGrant, Refusal, Transient
from auth_agent.secret import Secret
from auth_agent.sessions.decision import Demand
from auth_agent.sessions.state import MAIN, Locked, LoggedOut
from auth_agent.token_files import TokenFile
from tests.agent.heart import World, running
from tests.agent.world import NOON, FakeProvider, account, config, jwt, token_response

pytestmark = pytest.mark.anyio

PATH = "/run/token"
FILE = TokenFile(PATH, PATH, "work")
ID_FILE = replace(FILE, kind="id")
API_FILE = replace(FILE, audience="https://api.example")
FULL = FileProblem("the disk is full")


@pytest.fixture
def anyio_backend() -> tuple[str, dict[str, object]]:
    return "trio", {"clock": trio.testing.MockClock(autojump_threshold=0)}


@dataclass
class FakeDisk:
    """Files by path; each call takes `latency` seconds. `put_problem` and `remove_problem` are raised."""

    latency: float = 0.01
    files: dict[str, str] = field(default_factory=dict[str, str])
    put_problem: FileProblem | None = None
    remove_problem: FileProblem | None = None
    writes: int = 0
    inherited: dict[str, float] = field(default_factory=dict[str, float])
    left: Mapping[str, float] | None = None

    @property
    def paths(self) -> tuple[str, ...]:
        return tuple(self.files)

    async def put(self, file: TokenFile, token: Secret) -> bool:
        await anyio.sleep(self.latency)
        if self.put_problem is not None:
            raise self.put_problem
        is_change = self.files.get(file.path) != token.reveal()
        self.files[file.path] = token.reveal()
        self.writes += is_change
        return is_change

    async def remove(self, path: str) -> bool:
        await anyio.sleep(self.latency)
        if self.remove_problem is not None:
            raise self.remove_problem
        return self.files.pop(path, None) is not None

    async def take_over(self) -> None:
        await anyio.sleep(self.latency)
        self.left = {}

    async def close(self, patience: float, left: Mapping[str, float]) -> None:
        assert patience > 0
        self.left = left
        self.files = {path: content for path, content in self.files.items() if path in left}


class Files:
    """A keeper that runs in a world."""

    def __init__(self, world: World, disk: FakeDisk) -> None:
        self.world = world
        self.disk = disk
        self.events: list[Mapping[str, object]] = []
        self.command_takes = 0.0
        self.keeper = FileKeeper(world.table, world.refresher, disk, self.tell)

    async def tell(self, command: Sequence[str], event: Mapping[str, object]) -> None:
        assert command == ("reload",)
        self.events.append(event)
        await anyio.sleep(self.command_takes)
        raise OSError("reload ended with 1")  # which changes nothing

    def configure(self, *files: TokenFile) -> None:
        self.world.table.configure(replace(self.world.table.config, files=files))
        self.keeper.configure()

    @property
    def content(self) -> str | None:
        return self.disk.files.get(PATH)

    @property
    def row(self) -> dict[str, object]:
        (row,) = self.keeper.rows()
        return row

    async def settle(self) -> str | None:
        """Return what the file holds when all is quiet."""
        await anyio.sleep(0.5)
        return self.content

    def is_good(self) -> bool:
        """Return whether the file holds a token that has not ended."""
        now = self.world.clock.now()
        tokens = [self.world.session.current(MAIN), self.world.session.current(API_KEY)]
        return any(one is not None and one.value.reveal() == self.content and one.remaining(now) > 0 for one in tokens)


API_KEY = Demand().key._replace(audience="https://api.example")


@asynccontextmanager
async def keeping(
    *files: TokenFile, provider: FakeProvider | None = None, disk: FakeDisk | None = None, **how: Account | bool
) -> AsyncGenerator[Files]:
    work = how.pop("work", account())
    assert isinstance(work, Account)
    async with running(provider, work, logged_in=bool(how.pop("logged_in", True))) as world:
        kept = Files(world, disk or FakeDisk())
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(kept.keeper.run)
            await anyio.wait_all_tasks_blocked()
            kept.configure(*files)
            await kept.settle()
            yield kept
            tasks.cancel_scope.cancel()
        assert kept.disk.files.keys() == (kept.disk.left or {}).keys()  # it is gone at the end, whatever was before


# ---- a day


async def test_for_a_day_the_file_always_holds_a_token_that_has_not_ended() -> None:
    async with keeping(FILE) as files:
        for _ in range(24 * 60):
            await anyio.sleep(60)
            assert files.is_good()
        refreshes = files.world.session.refreshes
        assert refreshes > 20
        assert files.disk.writes == refreshes + 1  # each token once


async def test_tokens_of_seconds_are_fresh_whenever_one_looks() -> None:
    async with keeping(FILE, provider=FakeProvider(lifetime=5)) as files:
        for _ in range(2000):
            await anyio.sleep(0.03)
            assert files.content is not None
            # The new one is on its way for as long as the disk takes.
            now, current = files.world.clock.now(), files.world.session.current()
            assert current is not None
            assert files.is_good() or now.wall - (files.world.session.last_refresh_at or 0) <= 0.02


async def test_the_token_of_another_api_is_kept_fresh_too() -> None:
    async with keeping(API_FILE, provider=FakeProvider(lifetime=100)) as files:
        for _ in range(60):
            await anyio.sleep(20)
            assert files.is_good()
            assert files.content is not None
            assert "." in files.content  # a JWT, for that API
        requests = [audience for audience, _ in files.world.provider.refresh_requests]
        assert 15 < requests.count(API_FILE.audience) < 40


async def test_an_id_token_that_ends_first_is_replaced_by_a_refresh_of_its_own() -> None:
    provider = FakeProvider(lifetime=10_000)
    async with keeping(ID_FILE, provider=provider) as files:  # ID tokens of an hour
        for _ in range(300):
            await anyio.sleep(60)
            token = files.world.session.credentials
            assert token is not None
            assert token.id_token is not None
            assert files.content == token.id_token.reveal()
            assert plan(ID_FILE, files.world.session, files.world.clock.now()).token is not None
        assert 4 <= len(provider.presented) <= 8


async def test_a_provider_that_gives_no_new_id_token_is_asked_for_one_twice_at_most() -> None:
    provider = FakeProvider(lifetime=100_000)
    async with keeping(ID_FILE, provider=provider) as files:
        provider.script = [
            token_response(f"at-{n}", refresh_token=None, lifetime=100_000, subject=None) for n in range(9)
        ]
        before = len(provider.presented)
        await anyio.sleep(20_000)
        assert files.content is None
        assert len(provider.presented) - before <= 2
        assert "no new ID token" in str(files.row["reason"])
        assert files.row["failure"] == "reauthentication_required"


# ---- when it goes


async def test_it_is_removed_at_a_logout_and_comes_back_with_a_login() -> None:
    async with keeping(FILE) as files:
        assert (files.row["present"], files.row["reason"]) == (True, None)
        await files.world.logins.log_out(files.world.session, revoke=True)
        assert await files.settle() is None
        assert files.row["present"] is False
        assert files.row["failure"] == "reauthentication_required"
        files.world.provider.live = "rt-9"
        await files.world.log_in("rt-9")
        assert await files.settle() is not None


async def test_it_is_removed_while_the_agent_is_locked() -> None:
    for keep_alive in (False, True):
        async with keeping(FILE) as files:
            await files.world.lock.lock(Secret("passphrase"), keep_alive=keep_alive)
            assert await files.settle() is None
            assert files.row["failure"] == "locked"
            await files.world.lock.unlock(Secret("passphrase"))
            await anyio.sleep(60)
            assert files.is_good()


async def test_it_is_removed_when_the_provider_ends_the_session() -> None:
    provider = FakeProvider()
    async with keeping(FILE, provider=provider) as files:
        provider.script = [InvalidGrant("invalid_grant")]
        await anyio.sleep(4000)
        assert files.content is None
        assert files.row["failure"] == "reauthentication_required"


async def test_it_is_removed_when_it_leaves_the_configuration() -> None:
    async with keeping(FILE) as files:
        files.configure()
        await files.settle()
        assert (files.content, files.keeper.rows()) == (None, [])
        files.configure(FILE)
        assert await files.settle() is not None


async def test_it_is_removed_when_it_leaves_the_configuration_while_it_is_written() -> None:
    async with keeping(FILE) as files:
        files.disk.latency = 1
        await files.world.token(files.world.session.demand_newer())
        await anyio.sleep(0.5)
        files.configure()
        assert files.keeper.rows() == []
        await anyio.sleep(10)
        assert files.content is None


async def test_it_is_removed_when_its_account_does() -> None:
    async with keeping(FILE) as files:
        files.world.table.configure(replace(config(account("home")), files=(FILE,)))
        files.keeper.configure()
        assert await files.settle() is None


async def test_it_is_another_accounts_when_the_configuration_says_so() -> None:
    async with keeping(FILE) as files:
        files.world.table.configure(replace(config(account(), account("home")), files=(FILE,)))
        before = await files.settle()
        assert before is not None
        files.configure(replace(FILE, account="home"))
        assert await files.settle() is None  # nobody is logged in there


async def test_what_an_agent_before_left_is_removed_first() -> None:
    disk = FakeDisk(files={PATH: "at-old", "/run/other": "at-old"})
    async with keeping(FILE, disk=disk, logged_in=False) as files:
        assert files.disk.files == {}
        assert files.keeper.rows()[0]["path"] == PATH


@pytest.mark.parametrize("lifetime", [5, 3600])
async def test_at_a_restart_it_is_left_to_the_agent_that_follows_if_it_outlasts_that(lifetime: int) -> None:
    disk = FakeDisk()
    async with keeping(FILE, disk=disk, provider=FakeProvider(lifetime=lifetime)) as files:
        end, before = files.row["expires_at"], files.content
        files.keeper.hand_over()
    assert disk.left == ({PATH: end} if lifetime == 3600 else {})
    assert disk.files == ({PATH: before} if lifetime == 3600 else {})


@pytest.mark.parametrize("is_read", [False, True])
async def test_what_was_left_stays_until_the_session_is_read_and_no_longer_than_its_token(*, is_read: bool) -> None:
    disk = FakeDisk(files={PATH: "at-left"}, inherited={PATH: NOON + 100})
    async with running() as world:
        read, world.session.state = world.session.state, Locked("not read yet")
        world.table.configure(replace(world.table.config, files=(FILE,)))
        keeper = FileKeeper(world.table, world.refresher, disk)
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(keeper.run)
            await anyio.sleep(50)
            assert disk.files == {PATH: "at-left"}
            assert disk.left == {}  # a crash from here on removes it
            if is_read:
                world.session.state = read
                world.table.publish("work")
            await anyio.sleep(60)
            current = world.session.current()
            assert disk.files == ({} if current is None else {PATH: current.value.reveal()})
            tasks.cancel_scope.cancel()


async def test_in_an_outage_the_token_stays_until_its_end_and_no_longer() -> None:
    provider = FakeProvider(lifetime=100)
    async with keeping(FILE, provider=provider) as files:
        provider.script = [Transient("down")] * 1000
        for _ in range(150):
            await anyio.sleep(1)
            current = files.world.session.current()
            assert current is not None
            if current.remaining(files.world.clock.now()) > 1:
                assert files.is_good()
        assert files.content is None
        assert files.row["reason"] == "down"
        provider.script = []
        await anyio.sleep(60)
        assert files.is_good()


@pytest.mark.parametrize("clock", ["wall", "boot"])
async def test_a_clock_that_jumps_ends_it_within_a_look(clock: str) -> None:
    provider = FakeProvider()
    async with keeping(FILE, provider=provider) as files:
        provider.script = [Transient("down")] * 1000
        setattr(files.world.clock, clock, getattr(files.world.clock, clock) + 7200)
        await anyio.sleep(LOOK + 0.1)
        assert files.content is None


async def test_a_wall_clock_that_was_set_back_leaves_a_token_of_unknown_age_nowhere() -> None:
    provider = FakeProvider()
    async with keeping(FILE, provider=provider) as files:
        provider.script = [Transient("down")] * 1000
        files.world.clock.wall -= 7200
        await anyio.sleep(LOOK + 0.1)
        assert files.content is None


async def test_after_a_suspension_it_is_fresh_again() -> None:
    async with keeping(FILE) as files:
        files.world.clock.suspended += 8 * 3600
        await anyio.sleep(31)
        assert files.is_good()


# ---- providers whose refresh ends the token from before


async def test_the_token_is_promised_to_those_who_read_the_file() -> None:
    async with keeping(FILE, work=account(refresh_ends_access_token=True)) as files:
        assert files.world.session.decide(Demand(), files.world.clock.now()) is not None
        assert files.world.session.used_at > NOON
        await anyio.sleep(24 * 3600)
        assert files.is_good()


async def test_the_new_token_is_there_as_soon_as_the_disk_takes_it() -> None:
    work = account(refresh_ends_access_token=True)
    async with keeping(FILE, provider=FakeProvider(lifetime=100), work=work) as files:
        for _ in range(10_000):
            await anyio.sleep(0.1)
            refreshed = files.world.session.last_refresh_at or 0
            assert files.is_good() or files.world.clock.now().wall - refreshed <= 0.02


async def test_a_token_that_a_refresh_has_ended_does_not_stay_on_a_full_disk() -> None:
    work = account(refresh_ends_access_token=True)
    async with keeping(FILE, work=work) as files:
        files.disk.put_problem = FULL
        assert files.content is not None
        await files.world.token(files.world.session.demand_newer())
        assert await files.settle() is None


async def test_another_apis_token_is_refused_there_since_each_refresh_would_end_the_others() -> None:
    provider = FakeProvider()
    async with keeping(API_FILE, provider=provider, work=account(refresh_ends_access_token=True)) as files:
        await anyio.sleep(600)
        assert files.content is None
        assert files.row["failure"] == "unsupported"
        assert len(provider.presented) == 1  # the login's


async def test_a_main_token_that_another_one_ended_is_asked_for() -> None:
    async with keeping(FILE, work=account(refresh_ends_access_token=True)) as files:
        await files.world.token(Demand(API_KEY))
        await anyio.sleep(60)
        assert files.is_good()


# ---- what goes wrong


async def test_a_refused_token_is_asked_for_every_half_minute_and_after_a_login() -> None:
    provider = FakeProvider()
    async with keeping(FILE, provider=provider) as files:
        provider.script = [Refusal("not for you")] * 1000
        before = len(provider.presented)
        files.configure(API_FILE)
        await anyio.sleep(600)
        assert "not for you" in str(files.row["reason"])
        assert files.row["failure"] == "refused"
        assert len(provider.presented) - before <= 21
        provider.script = []
        provider.live = "rt-9"
        await files.world.log_in("rt-9")
        assert await files.settle() is not None


async def test_tokens_for_one_use_are_not_for_a_file() -> None:
    provider = FakeProvider()
    async with keeping(FILE, provider=provider) as files:
        response = token_response(jwt(aud=API_FILE.audience).reveal(), is_single_use=True, scope="openid")
        provider.script = [response] * 1000
        before = len(provider.presented)
        files.configure(API_FILE)
        await anyio.sleep(600)
        assert files.content is None
        assert files.row["failure"] == "unsupported"
        assert len(provider.presented) - before <= 2


async def test_a_full_disk_keeps_the_old_token_while_it_is_good_and_gets_the_new_one_when_there_is_room() -> None:
    provider = FakeProvider(lifetime=100)
    async with keeping(FILE, provider=provider) as files:
        before = files.content
        files.disk.put_problem = FULL
        await anyio.sleep(65)
        assert files.world.session.refreshes > 0
        assert files.content == before
        assert files.row["reason"] == FULL.reason
        assert files.row["present"] is True
        await anyio.sleep(100)
        assert files.content is None  # it has ended
        files.disk.put_problem = None
        await anyio.sleep(LOOK + 1)
        assert files.is_good()
        assert files.row["reason"] is None


async def test_a_token_of_the_login_before_does_not_stay_on_a_full_disk() -> None:
    provider = FakeProvider()
    async with keeping(FILE, provider=provider) as files:
        files.disk.put_problem = FULL
        provider.live, provider.subject = "rt-9", "auth0|bob"
        await files.world.log_in("rt-9", switch_user=True)
        assert await files.settle() is None


async def test_a_file_that_was_removed_comes_back() -> None:
    async with keeping(FILE) as files:
        files.disk.files.clear()
        await anyio.sleep(LOOK + 1)
        assert files.is_good()


async def test_a_file_that_can_not_be_removed_is_tried_again_even_if_it_is_in_no_configuration() -> None:
    async with keeping(FILE) as files:
        files.disk.remove_problem = FileProblem("read-only")
        files.configure()
        await anyio.sleep(60)
        assert files.content is not None
        files.disk.remove_problem = None
        await anyio.sleep(LOOK + 1)
        assert files.content is None


async def test_a_logout_while_the_disk_is_slow_wins() -> None:
    async with keeping(FILE) as files:
        files.disk.latency = 100
        await files.world.token(files.world.session.demand_newer())
        reasons: list[object] = []
        for seconds in (1, 10):  # the new one is being written
            await anyio.sleep(seconds)
            reasons.append(files.row["reason"])
        assert reasons == [None, "its file system does not answer"]
        await files.world.logins.log_out(files.world.session, revoke=False)
        await anyio.sleep(250)
        assert files.content is None


async def test_a_logout_waits_until_the_file_is_gone_but_not_for_a_disk_that_hangs() -> None:
    for latency, is_gone in ((0.5, True), (100, False)):
        async with keeping(FILE) as files:
            files.disk.latency = latency
            await files.world.logins.log_out(files.world.session, revoke=False)
            before = anyio.current_time()
            await files.keeper.wait_until_gone("work")
            assert (files.content is None) is is_gone
            assert anyio.current_time() - before <= 1
            await files.keeper.wait_until_gone("another")
            await anyio.sleep(200)


async def test_a_slow_disk_delays_no_other_file() -> None:
    other = replace(FILE, path="/run/other")

    class SlowDisk(FakeDisk):
        async def put(self, file: TokenFile, token: Secret) -> bool:
            await anyio.sleep(1000 if file.path == PATH else 0)
            return await super().put(file, token)

    async with keeping(FILE, other, disk=SlowDisk()) as files:
        await files.settle()
        assert files.disk.files.keys() == {"/run/other"}


async def test_a_defect_with_one_file_ends_nothing(caplog: pytest.LogCaptureFixture) -> None:
    other = replace(FILE, path="/run/other")

    class DefectiveDisk(FakeDisk):
        async def put(self, file: TokenFile, token: Secret) -> bool:
            if file.path == PATH:
                raise ZeroDivisionError(token.reveal())
            return await super().put(file, token)

    async with keeping(FILE, other, disk=DefectiveDisk()) as files:
        assert files.disk.files.keys() == {"/run/other"}
        assert files.keeper.rows()[0]["failure"] == "defect"
        assert "ZeroDivisionError" in caplog.text
        assert files.disk.files["/run/other"] not in caplog.text


# ---- the user's command


async def test_the_command_is_told_of_each_change_and_never_twice_at_once() -> None:
    file = replace(FILE, command=("reload",))
    async with keeping(file) as files:
        (first,) = files.events
        assert first == {
            "event": "file_changed",
            "path": PATH,
            "account": "work",
            "expires_at": files.row["expires_at"],
        }
        files.command_takes = 3600
        for _ in range(5):
            await files.world.token(files.world.session.demand_newer())
            await anyio.sleep(11)
        assert len(files.events) == 2
        await files.world.logins.log_out(files.world.session, revoke=False)
        await anyio.sleep(3 * 3600)
        assert [event["event"] for event in files.events] == ["file_changed", "file_changed", "file_removed"]
        tokens = [files.world.provider.live]
        assert not [token for token in tokens if token in str(files.events)]


# ---- the plan


async def test_a_token_without_a_known_end_stays_until_it_is_rejected() -> None:
    async with running() as world:
        assert world.session.credentials is not None
        credentials, now = replace(world.session.credentials, refresh_token=None), world.clock.now()
        token = world.session.access_token(token_response(lifetime=None, refresh_token=None), credentials, now)
        assert token.lifetime is None
        world.session.log_in(credentials, token, now)
        planned = plan(FILE, world.session, world.clock.now())
        assert (planned.token, planned.until, planned.seconds(world.clock.now())) == (token.value, None, math.inf)
        assert planned.expires_at is None
        world.session.end_by_rejection()
        assert plan(FILE, world.session, world.clock.now()).token is None


async def test_an_account_without_a_user_has_no_id_token() -> None:
    async with running(None, account(scope="offline_access"), logged_in=False) as world:
        assert isinstance(world.session.state, LoggedOut)
        planned = plan(ID_FILE, world.session, world.clock.now())
        assert planned.problem is not None
        assert planned.problem.remedy[0].command == ("auth-agent", "login", "work")


def test_a_problem_is_the_same_as_an_equal_one() -> None:
    assert {FileProblem("a"), FileProblem("a"), FileProblem("b")} == {FileProblem("a"), FileProblem("b")}
