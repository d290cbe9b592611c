"""What is decided of a request before its method runs: whose session it is about, and whether the caller may."""

import contextlib
import os
from collections.abc import AsyncGenerator
from dataclasses import replace
from typing import Any, cast

import anyio
import pytest

from auth_agent.host.program import Program
from auth_agent.hosts import HostRule, read_key
from auth_agent.ipc.connection import Caller, Later, Result
from auth_agent.ipc.handlers import Handlers
from auth_agent.ipc.peer import Peer
from auth_agent.ipc.policy import Policy
from auth_agent.ipc.usage import Usage
from auth_agent.oauth.discovery import Metadata
from auth_agent.sessions.rate_limit import RateLimit
from auth_agent.sessions.session import Session
from auth_agent.sessions.state import Locked
from auth_agent_client import errors
from auth_agent_client.messages import METHODS
from auth_agent_client.wire import Request
from tests.agent.heart import World, running
from tests.agent.world import ISSUER, FakeProvider, account, config

pytestmark = pytest.mark.anyio

# It has users with metadata.
AUTH0 = Metadata(ISSUER, f"{ISSUER}oauth/token", authorization_endpoint=f"{ISSUER}authorize")
WORK = account(audience=f"{ISSUER}api/v2/")
NEEDED: dict[str, object] = {
    "access_token": "at-1",
    "user_metadata": {"color": "red"},
    "flow": "browser",
    "login_id": "1",
    "url": "http://127.0.0.1/",
    "refresh_token": "rt-9",
}
# They are about the agent, or about a login, which whoever began it knows the id of.
NOT_ABOUT_A_SESSION = {"hello", "status", "reload", "watch", "login_redirect", "login_result", "login_cancel"}
ABOUT_A_SESSION = sorted(METHODS.keys() - NOT_ABOUT_A_SESSION)
# Of these a program gets nothing that it could use, nor anything of the user.
NOT_COUNTED = {"has_valid", "login", "import", "logout"}


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


class Client:
    """Who asks."""

    def __init__(self) -> None:
        self.peer = Peer(os.getpid(), os.getuid())
        self.rate_limit = RateLimit()
        self.program: Program | None = Program("test", None, None)

    def watch(self, accounts: frozenset[str] | None) -> None:
        pass

    def changed(self, account: str) -> None:
        pass


class Recorder(Policy):
    """Notes what it is asked; `denies` makes it say no."""

    def __init__(self) -> None:
        self.asked: list[tuple[Caller, str, str, bool]] = []
        self.denies = False

    def check(self, caller: Caller, method: str, session: Session) -> None:
        self.asked.append((caller, method, session.account.name, session.is_locked))
        if self.denies:
            raise errors.Denied("not you")


class Desk:
    """Handlers of a running heart."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.policy = Recorder()
        self.usage = Usage()
        self.client = Client()
        about: dict[str, object] = {"version": "1", "pid": 1, "agent_id": "1"}
        self.handlers = Handlers(
            world.table,
            world.refresher,
            world.background,
            world.logins,
            world.saver,
            world.profiles,
            world.users,
            self.policy,
            self.usage,
            about,
            dict[str, list[str]],
        )

    def answer(self, method: str, **parameters: object) -> Result | Later:
        return self.handlers.answer(self.client, Request(1, method, parameters))

    async def result(self, method: str, **parameters: object) -> Any:
        answer = self.answer(method, **parameters)
        return await answer() if callable(answer) else answer

    @property
    def counted(self) -> dict[object, object]:
        """What each account's tokens and data were taken by."""
        rows = self.usage.rows()
        assert all((row["program"], row["pid"]) == ("test", os.getpid()) for row in rows)
        return {row["account"]: row["methods"] for row in rows}

    def lock(self) -> None:
        """As if the session's entry had not been read yet."""
        self.world.session.state = Locked("not read yet")


@pytest.fixture
async def desk() -> AsyncGenerator[Desk]:
    provider = FakeProvider(metadata=AUTH0)
    async with running(provider, WORK, account("home")) as world:
        yield Desk(world)


def needed(method: str) -> dict[str, object]:
    return {"account": "work"} | {name: NEEDED[name] for name in METHODS[method].required}


def test_every_method_is_about_a_session_or_is_known_not_to_be() -> None:
    assert {name for name, method in METHODS.items() if "account" in method.parameters} == {*ABOUT_A_SESSION, "status"}


async def test_what_a_client_may_call_is_the_vocabulary(desk: Desk) -> None:
    assert (await desk.result("hello"))["features"] == sorted(METHODS)


@pytest.mark.parametrize("locked", [False, True], ids=["open", "locked"])
@pytest.mark.parametrize("method", ABOUT_A_SESSION)
async def test_a_caller_that_may_not_gets_nothing_and_changes_nothing(desk: Desk, method: str, locked: bool) -> None:
    if locked:
        desk.lock()
    desk.policy.denies = True
    before, sent = desk.world.table.record("work"), len(desk.world.provider.presented)
    with pytest.raises(errors.Denied, match="not you"):
        desk.answer(method, **needed(method))
    assert desk.policy.asked == [(desk.client, method, "work", locked)]
    await anyio.wait_all_tasks_blocked()
    assert (desk.world.table.record("work"), len(desk.world.provider.presented)) == (before, sent)
    assert desk.counted == {}


@pytest.mark.parametrize("method", sorted(NOT_ABOUT_A_SESSION))
async def test_what_is_about_no_session_is_not_asked(desk: Desk, method: str) -> None:
    parameters = {name: NEEDED[name] for name in METHODS[method].required}
    try:
        await desk.result(method, **parameters)
    except errors.InvalidRequest as error:
        assert error.parameter == "login_id"  # noqa: PT017 -- some raise, as there is no such login
    assert desk.policy.asked == []


async def test_a_malformed_request_is_refused_before_anybody_is_asked(desk: Desk) -> None:
    with pytest.raises(errors.InvalidRequest):
        desk.answer("token", account="work", min_ttl="soon")
    with pytest.raises(errors.UnknownAccount):
        desk.answer("token", account="wrok")
    with pytest.raises(errors.InvalidRequest):  # none is the default
        desk.answer("token")
    assert desk.policy.asked == []


async def test_of_a_url_the_policy_is_asked_about_the_account_that_it_belongs_to(desk: Desk) -> None:
    rule = HostRule("git.example.com", read_key("git.example.com"), "work")
    desk.world.table.configure(replace(config(WORK, account("home", default=True)), hosts=(rule,)))
    assert (await desk.result("token", url="https://git.example.com/project"))["account"] == "work"
    with pytest.raises(errors.Denied, match="no account is configured"):
        desk.answer("token", url="https://other.example")
    assert desk.policy.asked == [(desk.client, "token", "work", False)]


@pytest.mark.parametrize("now", ["", "home"], ids=["none", "another account's"])
async def test_a_url_whose_rule_changes_while_its_session_is_read_gets_no_token(desk: Desk, now: str) -> None:
    accounts = config(WORK, account("home", default=True))
    rule = HostRule("git.example.com", read_key("git.example.com"), "work")
    desk.world.table.configure(replace(accounts, hosts=(rule,)))
    desk.lock()
    answer = desk.answer("token", url="https://git.example.com/project")
    assert callable(answer)
    desk.world.table.configure(replace(accounts, hosts=(replace(rule, account=now),) if now else ()))
    desk.world.saver.read_all()
    with pytest.raises(errors.Denied, match=r"git\.example\.com"):
        await answer()
    assert desk.counted == {}


async def test_a_token_at_hand_is_answered_at_once(desk: Desk) -> None:
    answer = desk.answer("token", account="work")
    assert isinstance(answer, dict)
    assert answer["access_token"] == "at-2"


async def test_of_a_locked_session_the_policy_is_asked_once_and_the_method_sees_what_was_read(desk: Desk) -> None:
    desk.lock()
    answer = desk.answer("token", account="work")
    assert callable(answer)
    desk.world.saver.read_all()
    assert cast("dict[str, object]", await answer())["access_token"] == "at-2"
    assert desk.policy.asked == [(desk.client, "token", "work", True)]


async def test_a_locked_session_that_stays_so_is_locked(desk: Desk) -> None:
    desk.lock()
    for method in ABOUT_A_SESSION:
        if method != "logout":
            with pytest.raises(errors.Locked, match="not read yet"):
                await desk.result(method, **needed(method))


async def test_a_locked_session_can_be_logged_out(desk: Desk) -> None:
    desk.lock()
    assert "revoked" in await desk.result("logout", account="work")
    assert not desk.world.session.is_locked


async def test_an_account_that_vanishes_while_its_session_is_read_is_unknown(desk: Desk) -> None:
    desk.lock()
    answer = desk.answer("token", account="work")
    assert callable(answer)
    desk.world.saver.read_all()
    desk.world.table.configure(config(account("home")))
    with pytest.raises(errors.UnknownAccount, match="there is no account work"):
        await answer()


async def test_another_default_does_not_change_whose_token_a_waiting_client_gets(desk: Desk) -> None:
    desk.world.table.configure(config(replace(WORK, default=True), account("home")))
    desk.lock()
    answer = desk.answer("token")
    assert callable(answer)
    desk.world.table.configure(config(WORK, account("home", default=True)))
    desk.world.saver.read_all()
    assert cast("dict[str, object]", await answer())["account"] == "work"


# ---- what is counted


@pytest.mark.parametrize("locked", [False, True], ids=["open", "locked"])
@pytest.mark.parametrize("method", sorted(set(ABOUT_A_SESSION) - NOT_COUNTED))
async def test_who_gets_a_token_or_the_users_data_is_counted_once(desk: Desk, method: str, locked: bool) -> None:
    if locked:
        desk.lock()
        desk.world.saver.read_all()
    await desk.result(method, **needed(method))
    assert desk.counted == {"work": {method: 1}}


@pytest.mark.parametrize("method", sorted(NOT_COUNTED))
async def test_who_gets_neither_is_not(desk: Desk, method: str) -> None:
    with contextlib.suppress(errors.AgentError):
        await desk.result(method, **needed(method))
    assert desk.counted == {}


async def test_who_gets_an_error_is_not_counted(desk: Desk) -> None:
    await desk.result("logout", account="work")
    for method in sorted(set(ABOUT_A_SESSION) - {"login", "import", "logout", "has_valid"}):
        with pytest.raises(errors.AgentError):
            await desk.result(method, **needed(method))
    assert desk.counted == {}


async def test_status_tells_who_took_what_where_that_is_asked_for(desk: Desk) -> None:
    await desk.result("token", account="work")
    await desk.result("token", account="work", force=True)
    assert "clients" not in await desk.result("status")
    (row,) = (await desk.result("status", clients=True))["clients"]
    assert (row["account"], row["methods"]) == ("work", {"token": 2})
    assert len((await desk.result("status", account="work", clients=True))["clients"]) == 1
    assert (await desk.result("status", account="home", clients=True))["clients"] == []
