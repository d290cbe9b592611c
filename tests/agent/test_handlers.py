"""Requests before their method runs: the account they are about, the policy, the lock and the count."""

import contextlib
import math
import os
from collections.abc import AsyncGenerator
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import anyio
import pytest

from auth_agent.errors import StartupError
from auth_agent.files.disk import TokenDisk
from auth_agent.files.keeper import FileKeeper
from auth_agent.files.ledger import Ledger
from auth_agent.host.program import Program
from auth_agent.hosts import HostRule, read_key
from auth_agent.ipc.connection import Caller, Later, Result
from auth_agent.ipc.handlers import Handlers
from auth_agent.ipc.peer import Peer
from auth_agent.ipc.policy import Policy
from auth_agent.ipc.replies import Repeatable
from auth_agent.ipc.usage import Usage
from auth_agent.oauth.discovery import Metadata
from auth_agent.oauth.outcome import Busy, Failure, Refusal, Rejected, Unusable
from auth_agent.sessions.rate_limit import BURST, Asker
from auth_agent.sessions.session import Session
from auth_agent.sessions.state import Active, Locked
from auth_agent.sessions.store_move import StoreMove
from auth_agent.storage.journal import Journal
from auth_agent.storage.memory import MemoryStore
from auth_agent.storage.stores import OpenStore
from auth_agent_client import errors
from auth_agent_client.messages import METHODS
from auth_agent_client.wire import Request
from tests.agent.heart import World, running
from tests.agent.world import ALICE, ISSUER, METADATA, FakeProvider, account, config, token_response

pytestmark = pytest.mark.anyio

NOWHERE = Path("/nonexistent")
# Auth0 has users with metadata.
AUTH0 = Metadata(ISSUER, f"{ISSUER}oauth/token", authorization_endpoint=f"{ISSUER}authorize")
WORK = account(audience=f"{ISSUER}api/v2/")
PARAM_VALUES: dict[str, object] = {
    "access_token": "at-1",
    "user_metadata": {"color": "red"},
    "flow": "browser",
    "login_id": "1",
    "url": "http://127.0.0.1/",
    "refresh_token": "rt-9",
    "store": "keyring",
    "passphrase": "old",
    "new_passphrase": "new",
    "name": "acme",
}
# About the agent, or about a login, whose id only its client knows.
NOT_ABOUT_A_SESSION = {
    "hello",
    "status",
    "reload",
    "watch",
    "login_redirect",
    "login_result",
    "login_cancel",
    "lock",
    "unlock",
    "adopt",
    "change_passphrase",
    "move_store",
}
ABOUT_A_SESSION = sorted(METHODS.keys() - NOT_ABOUT_A_SESSION)
# Their results contain no token and no data of the user.
NOT_COUNTED = {"has_valid", "login", "import", "logout", "rename"}


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


class Client:
    """A caller."""

    def __init__(self) -> None:
        self.peer = Peer(os.getpid(), os.getuid())
        self.asker = Asker(self)
        self.program: Program | None = Program("test", None, None)

    def watch(self, accounts: frozenset[str] | None) -> None:
        pass

    def changed(self, account: str) -> None:
        pass


class RecordingPolicy(Policy):
    """Records its calls; `denies` makes it refuse them."""

    def __init__(self) -> None:
        self.calls: list[tuple[Caller, str, str, bool]] = []
        self.denies = False

    def check(self, caller: Caller, method: str, session: Session) -> None:
        self.calls.append((caller, method, session.account.name, session.is_locked))
        if self.denies:
            raise errors.Denied("not you")


class Harness:
    """Handlers of a running agent, and what they need."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.policy = RecordingPolicy()
        self.usage = Usage()
        self.client = Client()
        about: dict[str, object] = {"version": "1", "pid": 1, "agent_id": "1"}
        self.handlers = Handlers(
            world,
            self.policy,
            self.usage,
            StoreMove(
                world.table,
                world.saver,
                world.refresher,
                OpenStore(MemoryStore(), Journal(None), ()),
                self.open_target,
                lambda _: None,
            ),
            FileKeeper(world.table, world.refresher, TokenDisk(Ledger(NOWHERE, NOWHERE / "agent.sock"))),
            about,
            dict[str, list[str]],
        )

    def open_target(self, name: str, _: str) -> OpenStore:
        raise StartupError(f"there is no store {name} here")

    def answer(self, method: str, **parameters: object) -> Result | Later:
        result = self.handlers.answer(self.client, Request(1, method, parameters))
        return result.result if isinstance(result, Repeatable) else result

    async def result(self, method: str, **parameters: object) -> Any:
        result = self.answer(method, **parameters)
        return await result() if callable(result) else result

    @property
    def counted(self) -> dict[object, object]:
        """The counted calls of each account."""
        rows = self.usage.rows()
        assert all((row["program"], row["pid"]) == ("test", os.getpid()) for row in rows)
        return {row["account"]: row["methods"] for row in rows}

    def lock(self) -> None:
        """Lock the session, as before its entry has been read."""
        self.world.session.state = Locked("not read yet")


@pytest.fixture
async def harness() -> AsyncGenerator[Harness]:
    provider = FakeProvider(metadata=AUTH0)
    async with running(provider, WORK, account("home")) as world:
        yield Harness(world)


def params_of(method: str) -> dict[str, object]:
    return {"account": "work"} | {name: PARAM_VALUES[name] for name in METHODS[method].required}


def test_methods_with_an_account_are_those_about_a_session() -> None:
    assert {name for name, method in METHODS.items() if "account" in method.parameters} == {*ABOUT_A_SESSION, "status"}


async def test_hello_lists_all_methods(harness: Harness) -> None:
    assert (await harness.result("hello"))["features"] == sorted(METHODS)


@pytest.mark.parametrize("locked", [False, True], ids=["open", "locked"])
@pytest.mark.parametrize("method", ABOUT_A_SESSION)
async def test_a_denied_caller_gets_nothing_and_changes_nothing(harness: Harness, method: str, locked: bool) -> None:
    if locked:
        harness.lock()
    harness.policy.denies = True
    before, requests = harness.world.table.record("work"), len(harness.world.provider.presented)
    with pytest.raises(errors.Denied, match="not you"):
        harness.answer(method, **params_of(method))
    assert harness.policy.calls == [(harness.client, method, "work", locked)]
    await anyio.wait_all_tasks_blocked()
    assert (harness.world.table.record("work"), len(harness.world.provider.presented)) == (before, requests)
    assert harness.counted == {}


@pytest.mark.parametrize("method", sorted(NOT_ABOUT_A_SESSION))
async def test_the_policy_is_not_asked_about_other_methods(harness: Harness, method: str) -> None:
    parameters = {name: PARAM_VALUES[name] for name in METHODS[method].required}
    try:
        await harness.result(method, **parameters)
    except errors.InvalidRequest as error:
        assert error.parameter == "login_id"  # noqa: PT017 -- some raise it, since there is no such login
    except errors.Unsupported as error:
        assert method in {"lock", "change_passphrase"}, error  # noqa: PT017 -- the store is the memory
    except errors.Locked as error:
        assert "there is no store" in error.message  # noqa: PT017 -- nothing to move to
    assert harness.policy.calls == []


async def test_a_malformed_request_is_refused_before_the_policy_is_asked(harness: Harness) -> None:
    with pytest.raises(errors.InvalidRequest):
        harness.answer("token", account="work", min_ttl="soon")
    with pytest.raises(errors.UnknownAccount):
        harness.answer("token", account="wrok")
    with pytest.raises(errors.InvalidRequest):  # there is no default account
        harness.answer("token")
    assert harness.policy.calls == []


async def test_for_a_url_the_policy_is_asked_about_the_account_of_its_rule(harness: Harness) -> None:
    rule = HostRule("git.example.com", read_key("git.example.com"), "work")
    harness.world.table.configure(replace(config(WORK, account("home", default=True)), hosts=(rule,)))
    assert (await harness.result("token", url="https://git.example.com/project"))["account"] == "work"
    with pytest.raises(errors.Denied, match=r"other\.example"):
        harness.answer("token", url="https://other.example")
    assert harness.policy.calls == [(harness.client, "token", "work", False)]


@pytest.mark.parametrize("new_account", ["", "home"], ids=["none", "another account's"])
async def test_a_url_whose_rule_changes_while_its_session_is_read_gets_no_token(
    harness: Harness, new_account: str
) -> None:
    accounts = config(WORK, account("home", default=True))
    rule = HostRule("git.example.com", read_key("git.example.com"), "work")
    harness.world.table.configure(replace(accounts, hosts=(rule,)))
    harness.lock()
    wait = harness.answer("token", url="https://git.example.com/project")
    assert callable(wait)
    harness.world.table.configure(replace(accounts, hosts=(replace(rule, account=new_account),) if new_account else ()))
    harness.world.saver.read_all()
    with pytest.raises(errors.Denied, match=r"git\.example\.com"):
        await wait()
    assert harness.counted == {}


async def test_a_valid_token_is_returned_without_waiting(harness: Harness) -> None:
    result = harness.answer("token", account="work")
    assert isinstance(result, dict)
    assert result["access_token"] == "at-2"


@pytest.mark.parametrize("method", ["token", "rejected", "has_valid"])
@pytest.mark.parametrize("scope", [{}, {"scope": " "}])
async def test_only_needs_a_scope(harness: Harness, method: str, scope: dict[str, str]) -> None:
    with pytest.raises(errors.InvalidRequest) as caught:
        await harness.result(method, only=True, **params_of(method), **scope)
    assert caught.value.parameter == "only"


async def test_for_a_locked_session_the_policy_is_asked_once_and_the_method_waits(harness: Harness) -> None:
    harness.lock()
    wait = harness.answer("token", account="work")
    assert callable(wait)
    harness.world.saver.read_all()
    assert cast("dict[str, object]", await wait())["access_token"] == "at-2"
    assert harness.policy.calls == [(harness.client, "token", "work", True)]


async def test_a_session_that_stays_locked_is_an_error(harness: Harness) -> None:
    harness.lock()
    for method in ABOUT_A_SESSION:
        if method not in {"logout", "rename"}:
            with pytest.raises(errors.Locked, match="not read yet"):
                await harness.result(method, **params_of(method))


@pytest.mark.parametrize("method", ABOUT_A_SESSION)
async def test_a_locked_agent_answers_every_request_for_a_session_with_locked(harness: Harness, method: str) -> None:
    await harness.result("lock", keep_alive=True)
    before = harness.world.table.record("work")
    with pytest.raises(errors.Locked) as caught:
        harness.answer(method, **params_of(method))
    assert caught.value.failure == "locked"
    assert [remedy.command for remedy in caught.value.remedy] == [("auth-agent", "unlock")]
    assert (harness.world.table.record("work"), harness.counted) == (before, {})


async def test_what_was_asked_before_the_lock_is_answered_with_locked(harness: Harness) -> None:
    harness.world.provider.delay = 0.05
    wait = harness.answer("refresh", account="work")
    assert callable(wait)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(lambda: harness.result("lock", keep_alive=True))
        with pytest.raises(errors.Locked):
            await wait()
    assert len(harness.world.provider.presented) == 2
    assert harness.counted == {}


async def test_what_waits_for_its_session_to_be_read_is_answered_with_locked(harness: Harness) -> None:
    harness.lock()
    wait = harness.answer("token", account="work")
    assert callable(wait)
    await harness.result("lock", keep_alive=True)
    harness.world.saver.read_all()
    with pytest.raises(errors.Locked) as caught:
        await wait()
    assert [remedy.command for remedy in caught.value.remedy] == [("auth-agent", "unlock")]
    assert harness.counted == {}


async def test_a_login_in_progress_ends_at_a_lock(harness: Harness) -> None:
    login = await harness.result("login", account="home", flow="browser")
    await harness.result("lock", keep_alive=True)
    with pytest.raises(errors.Locked):
        await harness.result("login_result", login_id=login["login_id"])


async def test_a_locked_agent_still_says_how_it_is(harness: Harness) -> None:
    await harness.result("lock", keep_alive=True)
    status = await harness.result("status")
    assert status["agent"]["locked"] is True
    assert status["agent"]["lock"] == {"takes_passphrase": False, "keep_alive": True, "pending": []}
    assert {record["state"] for record in status["accounts"]} == {"locked"}
    assert {record["state"] for record in (await harness.result("watch"))["accounts"]} == {"locked"}
    assert "version" in await harness.result("hello")
    await harness.result("reload")
    await harness.result("unlock")
    status = await harness.result("status")
    assert (status["agent"]["locked"], status["agent"]["lock"]) == (False, None)


async def test_a_locked_session_can_be_logged_out(harness: Harness) -> None:
    harness.lock()
    assert "revoked" in await harness.result("logout", account="work")
    assert not harness.world.session.is_locked


async def test_an_account_that_is_removed_while_its_session_is_read_is_unknown(harness: Harness) -> None:
    harness.lock()
    wait = harness.answer("token", account="work")
    assert callable(wait)
    harness.world.saver.read_all()
    harness.world.table.configure(config(account("home")))
    with pytest.raises(errors.UnknownAccount, match="work"):
        await wait()


async def test_a_new_default_account_does_not_change_a_waiting_request(harness: Harness) -> None:
    harness.world.table.configure(config(replace(WORK, default=True), account("home")))
    harness.lock()
    wait = harness.answer("token")
    assert callable(wait)
    harness.world.table.configure(config(WORK, account("home", default=True)))
    harness.world.saver.read_all()
    assert cast("dict[str, object]", await wait())["account"] == "work"


# ---- counting


@pytest.mark.parametrize("locked", [False, True], ids=["open", "locked"])
@pytest.mark.parametrize("method", sorted(set(ABOUT_A_SESSION) - NOT_COUNTED))
async def test_a_result_with_a_token_or_user_data_is_counted_once(harness: Harness, method: str, locked: bool) -> None:
    if locked:
        harness.lock()
        harness.world.saver.read_all()
    await harness.result(method, **params_of(method))
    assert harness.counted == {"work": {method: 1}}


@pytest.mark.parametrize("method", sorted(NOT_COUNTED))
async def test_other_results_are_not_counted(harness: Harness, method: str) -> None:
    with contextlib.suppress(errors.AgentError):
        await harness.result(method, **params_of(method))
    assert harness.counted == {}


async def test_an_error_is_not_counted(harness: Harness) -> None:
    await harness.result("logout", account="work")
    for method in sorted(set(ABOUT_A_SESSION) - {"login", "import", "logout", "has_valid", "rename"}):
        with pytest.raises(errors.AgentError):
            await harness.result(method, **params_of(method))
    assert harness.counted == {}


async def test_status_lists_the_programs_if_clients_is_true(harness: Harness) -> None:
    await harness.result("token", account="work")
    await harness.result("token", account="work", force=True)
    assert "clients" not in await harness.result("status")
    (row,) = (await harness.result("status", clients=True))["clients"]
    assert (row["account"], row["methods"]) == ("work", {"token": 2})
    assert len((await harness.result("status", account="work", clients=True))["clients"]) == 1
    assert (await harness.result("status", account="home", clients=True))["clients"] == []


async def test_logins_and_imports_share_a_limit_and_a_logout_has_none(harness: Harness) -> None:
    calls: list[tuple[str, dict[str, object]]] = [("login", {"flow": "browser"}), ("import", {"refresh_token": "rt-9"})]
    for number in range(BURST):
        method, parameters = calls[number % 2]
        harness.answer(method, account="work", **parameters)
    for method, parameters in calls:
        with pytest.raises(errors.Unavailable):
            harness.answer(method, account="work", **parameters)
    harness.client.asker = Asker("another program")
    for method, parameters in calls:
        assert callable(harness.answer(method, account="work", **parameters))
    for _ in range(3 * BURST):
        await harness.result("logout", account="work")


# ---- the ends that a provider sets


@pytest.mark.parametrize("method", sorted({*ABOUT_A_SESSION} - {"login", "import", "logout", "rename"}))
async def test_no_method_serves_or_sends_anything_after_the_ceiling(harness: Harness, method: str) -> None:
    session, provider = harness.world.session, harness.world.provider
    assert isinstance(session.state, Active)
    ceiling = harness.world.clock.now().wall + 1000
    session.state = replace(session.state, credentials=replace(session.state.credentials, ceiling=ceiling))
    harness.world.clock.wall += 1000
    before = len(provider.presented), len(provider.profiles), len(provider.user_requests)
    if method == "has_valid":
        assert await harness.result(method, **params_of(method)) == {"valid": False, "renewable": False}
    else:
        with pytest.raises(errors.LoginRequired) as refused:
            await harness.result(method, **params_of(method))
        assert refused.value.failure == "session_expired"
    assert (len(provider.presented), len(provider.profiles), len(provider.user_requests)) == before
    harness.world.clock.wall -= 1000
    assert (await harness.result("token", account="work"))["access_token"]


async def test_a_superseded_token_that_is_rejected_is_looked_into_while_its_client_is_answered(
    harness: Harness,
) -> None:
    old = (await harness.result("token", account="work"))["access_token"]
    new = (await harness.result("token", account="work", force=True))["access_token"]
    harness.world.provider.metadata, harness.world.provider.delay = METADATA, math.inf
    assert (await harness.result("rejected", account="work", access_token=old))["access_token"] == new
    await anyio.wait_all_tasks_blocked()
    assert harness.world.provider.profiles == [old]


def hold_endless_token(harness: Harness) -> None:
    """Let the session have a token that has no known end, and nothing renews."""
    session, now = harness.world.session, harness.world.clock.now()
    assert session.credentials is not None
    credentials = replace(session.credentials, refresh_token=None)
    response = token_response("at-1", refresh_token=None, lifetime=None)
    session.log_in(credentials, session.access_token(response, credentials, now), now)


async def test_a_session_whose_only_token_is_rejected_needs_a_login(harness: Harness) -> None:
    hold_endless_token(harness)
    token = await harness.result("token", account="work", min_ttl=1e9)
    assert (token["access_token"], token["expires_at"]) == ("at-1", None)
    with pytest.raises(errors.Denied):
        await harness.result("rejected", **params_of("rejected"))
    assert (await harness.result("rejected", account="work", access_token="another"))["access_token"] == "at-1"
    harness.world.clock.advance(61)
    harness.world.provider.profile_script = [Rejected("401")]
    with pytest.raises(errors.LoginRequired) as refused:
        await harness.result("rejected", **params_of("rejected"))
    assert (refused.value.reason, bool(refused.value.remedy)) == ("token_rejected", True)
    with pytest.raises(errors.LoginRequired):
        await harness.result("token", account="work")


async def test_without_userinfo_the_api_is_believed(harness: Harness) -> None:
    hold_endless_token(harness)
    harness.world.clock.advance(61)
    harness.world.provider.profile_script = [Refusal("it has no UserInfo endpoint")]
    with pytest.raises(errors.LoginRequired):
        await harness.result("rejected", **params_of("rejected"))


@pytest.mark.parametrize(
    ("answer", "error"),
    [({"sub": ALICE}, errors.Denied), (Unusable("no sub"), errors.Denied), (Busy("HTTP 503"), errors.Unavailable)],
)
async def test_the_only_token_of_a_session_is_not_given_up_while_its_provider_takes_it(
    harness: Harness, answer: dict[str, object] | Failure, error: type[errors.AgentError]
) -> None:
    hold_endless_token(harness)
    harness.world.clock.advance(61)
    harness.world.provider.profile_script = [answer]
    with pytest.raises(error):
        await harness.result("rejected", **params_of("rejected"))
    assert (await harness.result("token", account="work"))["access_token"] == "at-1"


async def test_programs_that_reject_the_only_token_of_a_session_again_and_again_are_limited(harness: Harness) -> None:
    hold_endless_token(harness)
    harness.world.clock.advance(61)
    for _ in range(20):
        with pytest.raises((errors.Denied, errors.Unavailable)):
            await harness.result("rejected", **params_of("rejected"))
    assert len(harness.world.provider.profiles) <= 2 * BURST


async def test_a_challenge_does_not_end_a_session_whose_token_has_no_known_end(harness: Harness) -> None:
    hold_endless_token(harness)
    harness.world.clock.advance(61)
    challenge = 'Bearer error="insufficient_scope", scope="admin"'
    with pytest.raises(errors.LoginRequired) as refused:
        await harness.result("rejected", **{**params_of("rejected"), "challenge": challenge})
    assert refused.value.reason != "token_rejected"
    assert (await harness.result("token", account="work"))["access_token"] == "at-1"
    assert harness.world.provider.profiles == []


async def test_a_login_meanwhile_is_not_ended_by_the_token_before(harness: Harness) -> None:
    hold_endless_token(harness)
    harness.world.clock.advance(61)
    harness.world.provider.profile_script = [Rejected("401")]
    harness.world.provider.delay = 0.3
    async with anyio.create_task_group() as tasks:

        async def reject() -> None:
            result = await harness.result("rejected", **params_of("rejected"))
            assert result["access_token"] != "at-1"

        tasks.start_soon(reject)
        await anyio.wait_all_tasks_blocked()
        harness.world.provider.delay = 0
        await harness.world.log_in(harness.world.provider.live)
