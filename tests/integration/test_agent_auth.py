"""`AgentAuth`: each request gets a token, a 401 is reported and repeated once, and no other host gets the token."""

import os
import signal
import threading
from collections.abc import Generator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest

from auth_agent_client import AgentNotRunning, Denied, InvalidRequest, LoginRequired
from tests.integration.agent_process import AgentProcess
from tests.integration.api_server import ApiServer
from tests.integration.conftest import ProviderPool, account, log_in
from tests.integration.http_programs import (
    ASYNC_PROGRAMS,
    BODY,
    PROGRAMS,
    Aiohttp,
    Async,
    Httpx,
    Httpx2Async,
    Program,
    Requests,
    Sent,
)
from tests.op.provider import OpenIDProvider

MANY = 20


class World:
    """An agent with the accounts `work` and `home`, and three APIs, of which no rule names the last."""

    def __init__(self, agent: AgentProcess, provider: OpenIDProvider, apis: list[ApiServer]) -> None:
        self.agent = agent
        self.provider = provider
        self.client = agent.client()
        self.work, self.home, self.other = apis

    def clear(self) -> None:
        """Let all APIs take every token, and forget what arrived."""
        for api in (self.work, self.home, self.other):
            api.clear()

    def program(self, kind: type[Program], name: str | None = "work", **auth: Any) -> Program:
        """Return a program that uses this agent."""
        return kind(account=name, path=str(self.agent.socket), **auth)

    def reject_first(self, api: ApiServer) -> None:
        """Let the API reject the first token that it gets; by then a newer one is there, as after any refresh."""
        first: list[str | None] = []
        refreshing = threading.Lock()

        def rejects(token: str | None) -> bool:
            with refreshing:
                if not first:
                    first.append(token)
                    self.client.refresh("work")
            return token == first[0]

        api.rejects = rejects

    def reports(self) -> int:
        """Return how many tokens were reported and replaced."""
        return sum(one.methods.get("rejected", 0) for one in self.client.status(clients=True).clients)


@pytest.fixture(scope="module")
def apis() -> Generator[list[ApiServer]]:
    with ExitStack() as stack:
        yield [stack.enter_context(ApiServer()) for _ in range(3)]


@contextmanager
def _world(provider: OpenIDProvider, apis: list[ApiServer], *logged_in: str) -> Generator[World]:
    rules = [f'[hosts."{api.origin}"]\naccount = "{name}"' for api, name in zip(apis, ("work", "home"), strict=False)]
    with AgentProcess({"work": account(provider, default=True), "home": account(provider)}) as agent:
        agent.config.write_text("\n".join([agent.config.read_text(), *rules]))
        world = World(agent, provider, apis)
        with world.client:
            world.client.reload()
            for name in logged_in:
                log_in(world.client, provider, name)
            yield world


@pytest.fixture(scope="module")
def lasting_world(provider_pool: ProviderPool, apis: list[ApiServer]) -> Generator[World]:
    with provider_pool.lend(access_token_lifetime=3600) as provider, _world(provider, apis, "work", "home") as world:
        yield world


@pytest.fixture
def world(lasting_world: World) -> World:
    """An agent that is logged in, with a rule for each of the first two APIs; for tests that leave it as it is."""
    lasting_world.clear()
    return lasting_world


@pytest.fixture
def own_world(provider: OpenIDProvider, apis: list[ApiServer]) -> Generator[World]:
    """One for tests that change it, or refresh, which an agent does not do often."""
    with _world(provider, apis, "work") as world:
        world.clear()
        yield world


def redirect(api: ApiServer, to: str, status: int = 302) -> str:
    return f"{api.origin}/redirect?status={status}&to={quote(to)}"


every_library = pytest.mark.parametrize("kind", PROGRAMS)
# httpx and httpx2 have one flow for threads, and one for tasks.
every_flow = pytest.mark.parametrize("kind", [Requests, Httpx, Httpx2Async, Aiohttp])


# ---- a token for each request


@every_flow
def test_each_request_has_the_token_of_its_time(kind: type[Program], own_world: World) -> None:
    before = own_world.client.token("work").access_token
    # The second request is sent by the same client, after a refresh that the first one's arrival causes.
    refreshed: list[str] = []

    def rejects(_: str | None) -> bool:
        if not refreshed:
            refreshed.append(own_world.client.refresh("work").access_token)
        return False

    own_world.work.rejects = rejects
    url = f"{own_world.work.origin}/a?b=c"
    assert own_world.program(kind).send(("GET", url, None), ("GET", url, None)) == [Sent(200, "ok")] * 2
    assert own_world.work.tokens() == [before, *refreshed]


@every_library
def test_without_an_account_the_url_decides(kind: type[Program], world: World) -> None:
    world.program(kind, None).send(("GET", world.work.origin, None), ("GET", world.home.origin, None))
    assert world.work.tokens() == [world.client.token("work").access_token]
    assert world.home.tokens() == [world.client.token("home").access_token]


@every_flow
def test_many_requests_at_once_all_succeed_while_a_token_is_rejected(kind: type[Program], own_world: World) -> None:
    own_world.reject_first(own_world.work)
    assert own_world.program(kind).send_at_once(MANY, own_world.work.origin) == [Sent(200, "ok")] * MANY


@every_library
def test_one_auth_serves_threads_and_event_loops_at_the_same_time(kind: type[Program], world: World) -> None:
    program = world.program(kind)
    with ThreadPoolExecutor(4) as pool:
        results = list(pool.map(program.send_at_once, [MANY] * 4, [world.work.origin] * 4))
    assert results == [[Sent(200, "ok")] * MANY] * 4
    assert set(world.work.tokens()) == {world.client.token("work").access_token}


# ---- no token


@every_library
@pytest.mark.parametrize("name", ["work", None])
def test_a_url_that_no_rule_has_gets_no_request(kind: type[Program], name: str | None, world: World) -> None:
    for origin in (world.other.origin, world.work.origin.replace("127.0.0.1", "localhost")):
        with pytest.raises(Denied) as raised:
            world.program(kind, name).get(f"{origin}/?secret=hunter2")
        assert origin in raised.value.message
        assert "hunter2" not in world.agent.log
        assert str(world.agent.config) in raised.value.remedy[0].text
    assert world.other.requests == world.work.requests == []


@every_library
def test_another_accounts_url_gets_no_request(kind: type[Program], world: World) -> None:
    with pytest.raises(Denied, match="of the account home"):
        world.program(kind, "work").get(world.home.origin)
    assert world.home.requests == []


@every_flow
def test_a_rule_for_a_directory_is_for_programs_that_run_there(
    kind: type[Program], own_world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rule = f'[hosts."{own_world.other.origin}"]\naccount = "work"\ndirectory = "{tmp_path}"\n'
    own_world.agent.config.write_text(f"{own_world.agent.config.read_text()}\n{rule}")
    own_world.client.reload()
    program = own_world.program(kind)
    with pytest.raises(Denied, match="in this directory"):
        program.get(own_world.other.origin)
    monkeypatch.chdir(tmp_path)
    own_world.reject_first(own_world.other)
    assert program.get(own_world.other.origin).status == 200
    assert len(own_world.other.requests) == 2


@every_library
def test_named_origins_replace_the_rules(kind: type[Program], world: World) -> None:
    program = world.program(kind, None, origins=[world.other.origin])
    assert program.get(f"{world.other.origin}/a").status == 200
    assert world.other.tokens() == [world.client.token().access_token]
    with pytest.raises(Denied) as raised:
        program.get(world.work.origin)
    assert "origins" in raised.value.message
    assert raised.value.remedy
    assert world.work.requests == []


@every_library
def test_a_url_with_a_user_name_gets_no_request(kind: type[Program], world: World) -> None:
    url = world.work.origin.replace("//", "//alice:hunter2@")
    if kind is Aiohttp:
        assert world.program(kind).get(url).status == 200  # aiohttp has taken the user name out of the URL before
        assert world.work.tokens() == [world.client.token("work").access_token]
        return
    with pytest.raises(InvalidRequest) as raised:
        world.program(kind).get(url)
    assert "hunter2" not in str(raised.value)
    assert world.work.requests == []


@every_library
def test_without_an_agent_no_request_is_sent(kind: type[Program], world: World) -> None:
    with pytest.raises(AgentNotRunning) as raised:
        kind(account="work", path="/nonexistent/agent.sock").get(world.work.origin)
    assert raised.value.remedy[0].command == ("auth-agent", "start")
    assert world.work.requests == []


@every_flow
def test_without_a_session_no_request_is_sent(kind: type[Program], own_world: World) -> None:
    own_world.client.logout("work")
    with pytest.raises(LoginRequired) as raised:
        own_world.program(kind).get(own_world.work.origin)
    assert raised.value.remedy[0].command == ("auth-agent", "login", "work")
    assert own_world.work.requests == []


# ---- an API that rejects the token


@every_flow
def test_a_rejected_request_is_sent_once_more_with_another_token(kind: type[Program], own_world: World) -> None:
    for body in kind.repeatable:
        own_world.work.clear()
        own_world.reject_first(own_world.work)
        before = own_world.client.token("work").access_token
        assert own_world.program(kind).post(own_world.work.origin, body) == Sent(200, "ok")
        assert own_world.work.tokens() == [before, own_world.client.token("work").access_token]
        assert [one.body for one in own_world.work.requests] == [BODY, BODY]


@every_flow
def test_a_body_that_can_not_be_sent_again_is_not_and_the_token_is_reported(
    kind: type[Program], own_world: World
) -> None:
    for body in kind.unrepeatable:
        own_world.work.clear()
        own_world.reject_first(own_world.work)
        reports = own_world.reports()
        assert own_world.program(kind).post(own_world.work.origin, body) == Sent(401, "ok")
        assert [one.body for one in own_world.work.requests] == [BODY]
        assert own_world.reports() == reports + 1


@every_flow
def test_a_second_rejection_is_returned(kind: type[Program], own_world: World) -> None:
    own_world.reject_first(own_world.work)
    rejects_first = own_world.work.rejects
    own_world.work.rejects = lambda token: rejects_first(token) or True
    assert own_world.program(kind).get(own_world.work.origin) == Sent(401, "ok")
    assert len(own_world.work.requests) == 2


@every_library
def test_if_there_is_no_other_token_the_response_is_returned(kind: type[Program], own_world: World) -> None:
    own_world.work.rejects = lambda _: True  # the agent replaces no token that it has just got
    assert own_world.program(kind).get(own_world.work.origin) == Sent(401, "ok")
    assert len(own_world.work.requests) == 1


@every_library
def test_a_403_that_asks_for_another_login_raises_its_remedy(kind: type[Program], world: World) -> None:
    world.work.rejects = lambda _: True
    world.work.status, world.work.challenge = 403, 'Bearer error="insufficient_scope", scope="write:users"'
    with pytest.raises(LoginRequired) as raised:
        world.program(kind).get(world.work.origin)
    assert "insufficient_scope" in str(raised.value.reason)
    assert "write:users" in raised.value.remedy[0].line
    assert len(world.work.requests) == 1


@every_library
@pytest.mark.parametrize("challenge", ["", 'Bearer realm="api"', "x" * 5000])
def test_any_other_403_is_returned_and_not_reported(kind: type[Program], challenge: str, world: World) -> None:
    reports = world.reports()
    world.work.rejects = lambda _: True
    world.work.status, world.work.challenge = 403, challenge
    assert world.program(kind).get(world.work.origin) == Sent(403, "ok")
    assert world.reports() == reports


# ---- redirects


@every_library
@pytest.mark.parametrize("status", [302, 307])
def test_a_redirect_to_another_host_or_port_takes_no_token_along(
    kind: type[Program], status: int, world: World
) -> None:
    localhost = world.work.origin.replace("127.0.0.1", "localhost")
    for api, to in ((world.other, world.other.origin), (world.home, world.home.origin), (world.work, localhost)):
        world.work.clear()
        api.clear()
        assert world.program(kind).get(redirect(world.work, f"{to}/there", status)) == Sent(200, "ok")
        assert world.work.requests[0].token == world.client.token("work").access_token
        assert (api.requests[-1].path, api.requests[-1].token) == ("/there", None)


@every_library
def test_a_redirect_back_from_another_host_takes_no_token_along(kind: type[Program], world: World) -> None:
    there = redirect(world.other, f"{world.work.origin}/back")
    assert world.program(kind).get(redirect(world.work, there)) == Sent(200, "ok")
    assert [one.token is None for one in world.work.requests] == [False, True]
    assert world.other.tokens() == [None]


@every_library
def test_another_host_that_a_redirect_leads_to_rejects_no_token(kind: type[Program], world: World) -> None:
    reports = world.reports()
    world.other.rejects = lambda _: True
    assert world.program(kind).get(redirect(world.work, world.other.origin)) == Sent(401, "ok")
    assert (len(world.other.requests), world.reports()) == (1, reports)


@every_library
def test_a_request_after_such_a_redirect_has_a_token_again(kind: type[Program], world: World) -> None:
    program, there = world.program(kind, None), f"{world.home.origin}/there"
    program.send(("GET", redirect(world.work, there), None), ("GET", there, None), ("GET", world.work.origin, None))
    assert world.home.tokens() == [None, world.client.token("home").access_token]
    assert world.work.tokens() == [world.client.token("work").access_token] * 2


@every_library
def test_a_redirect_that_is_not_followed_changes_nothing_for_other_requests(kind: type[Program], world: World) -> None:
    program, other = world.program(kind, None), f"{world.home.origin}/other"
    program.follows = False
    sent = program.send(("GET", redirect(world.work, f"{world.home.origin}/there"), None), ("GET", other, None))
    assert [one.status for one in sent] == [302, 200]
    assert world.home.tokens() == [world.client.token("home").access_token]


@every_library
def test_a_redirect_within_the_origin_takes_the_token_along(kind: type[Program], world: World) -> None:
    assert world.program(kind).get(redirect(world.work, "/there")) == Sent(200, "ok")
    assert world.work.tokens() == [world.client.token("work").access_token] * 2


@every_flow
def test_only_the_request_that_was_rejected_is_repeated_after_a_redirect(kind: type[Program], own_world: World) -> None:
    own_world.reject_first(own_world.work)
    assert own_world.program(kind).post(redirect(own_world.work, "/there", 303)) == Sent(200, "ok")
    assert [(one.method, one.path) for one in own_world.work.requests[1:]] == [("GET", "/there")] * 2
    assert own_world.work.requests[0].method == "POST"


# ---- the agent


@every_flow
def test_if_the_agent_goes_away_the_rejection_is_returned(kind: type[Program], own_world: World) -> None:
    def rejects(_: str | None) -> bool:
        own_world.agent.kill()
        return True

    own_world.work.rejects = rejects
    assert own_world.program(kind).get(own_world.work.origin) == Sent(401, "ok")
    assert len(own_world.work.requests) == 1
    own_world.agent.start()


@every_library
def test_a_forked_child_asks_by_a_connection_of_its_own(kind: type[Program], world: World) -> None:
    program = world.program(kind)
    assert program.get(world.work.origin).status == 200
    child = os.fork()
    if child == 0:
        try:
            os._exit(0 if program.send_at_once(2, world.work.origin) == [Sent(200, "ok")] * 2 else 1)
        finally:
            os._exit(2)
    assert program.get(world.work.origin).status == 200
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


@pytest.mark.parametrize("kind", ASYNC_PROGRAMS)
def test_a_program_waits_for_the_agent_without_blocking_its_loop(kind: type[Async], world: World) -> None:
    program = world.program(kind)
    assert isinstance(program, Async)
    world.agent.process.send_signal(signal.SIGSTOP)
    # If the loop were blocked, nobody would continue the agent, and the wait for it would end in an error.
    sent = program.send_beside(world.work.origin, lambda: world.agent.process.send_signal(signal.SIGCONT))
    assert sent == [Sent(200, "ok")]
