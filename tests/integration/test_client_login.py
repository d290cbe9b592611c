"""Logins by either client: what they show, what ends them, and what doesn't."""

import contextlib
import os
import select
import socket
import threading
import time
from collections.abc import Generator
from pathlib import Path
from types import TracebackType
from typing import Any, Self
from urllib.parse import parse_qs, urlsplit

import anyio
import anyio.to_thread
import pytest

from auth_agent_client import (
    Agent,
    AgentError,
    ConnectionLost,
    Denied,
    Internal,
    InvalidRequest,
    Login,
    Record,
    Timeout,
)
from auth_agent_client.aio import AsyncAgent, AsyncLogin
from tests.integration.agent_process import AgentProcess, until
from tests.integration.conftest import account, record
from tests.integration.impostor import listening, scripted
from tests.op.login import provider_url
from tests.op.provider import OpenIDProvider


class Driven:
    """A client's login; an asynchronous one's, each call in an event loop of its own."""

    def __init__(self, login: Login | AsyncLogin, kind: str) -> None:
        self.login = login
        self._kind = kind

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._do("close")

    @property
    def address(self) -> str:
        assert self.login.authorization_url is not None
        return self.login.authorization_url

    def result(self, timeout: float | None = None) -> Record:
        record = self._do("result", timeout=timeout)
        assert isinstance(record, Record)
        return record

    def redirect(self, url: str) -> None:
        self._do("redirect", url)

    def cancel(self) -> None:
        self._do("cancel")

    def _do(self, name: str, *arguments: str, **more: float | None) -> object:
        method = getattr(self.login, name)
        if self._kind == "blocking":
            result: object = method(*arguments, **more)
            return result

        async def done() -> object:
            return await method(*arguments, **more)

        return anyio.run(done, backend=self._kind)


class Driving:
    """Logs in by the blocking client, or by the asynchronous one in loops of that kind."""

    def __init__(self, kind: str, path: str | Path) -> None:
        self.kind = kind
        self._blocking, self._asynchronous = Agent(str(path)), AsyncAgent(str(path))

    def login(self, name: str | None = "work", **how: Any) -> Driven:
        if self.kind == "blocking":
            return Driven(self._blocking.login(name, **how), self.kind)

        async def begun() -> AsyncLogin:
            return await self._asynchronous.login(name, **how)

        return Driven(anyio.run(begun, backend=self.kind), self.kind)

    def close(self) -> None:
        """Close all that the clients keep."""
        self._blocking.close()
        anyio.run(self._asynchronous.close)


@pytest.fixture(params=["blocking", "asyncio", "trio"])
def kind(request: pytest.FixtureRequest) -> str:
    """Which client."""
    return str(request.param)


@pytest.fixture
def agent(provider: OpenIDProvider) -> Generator[AgentProcess, None, None]:
    """An agent that knows the account `work`, not logged in."""
    with AgentProcess({"work": account(provider, redirect_ports=[0])}) as process:
        yield process


@pytest.fixture
def driving(kind: str, agent: AgentProcess) -> Generator[Driving, None, None]:
    """Logs in at that agent."""
    with contextlib.closing(Driving(kind, agent.socket)) as one:
        yield one


@pytest.fixture
def impostor(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Generator[socket.socket, None, None]:
    """Listens at `agent.sock`, in a directory of its own."""
    monkeypatch.chdir(tmp_path)
    with listening(Path("agent.sock")) as server:
        yield server


def is_awaited(address: str) -> bool:
    """Return whether the agent still waits for the browser of the login that has that address."""
    redirect = urlsplit(parse_qs(urlsplit(address).query)["redirect_uri"][0])
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", redirect.port or 0)) == 0


# ---- how it ends


def test_a_login_of_a_person_returns_the_record_of_the_session(driving: Driving, provider: OpenIDProvider) -> None:
    with driving.login() as login:
        assert time.time() + 60 < login.login.expires_at < time.time() + 3600
        assert (login.login.user_code, login.login.verification_uri) == (None, None)
        with pytest.raises(Timeout):
            login.result(timeout=0.05)
        assert provider.enter(login.address).status_code == 200
        assert (login.result().state, login.result().account) == ("ready", "work")
        assert login.result().subject == "auth0|alice"


def test_a_login_on_another_device_has_a_user_code(driving: Driving, provider: OpenIDProvider) -> None:
    with driving.login(flow="device") as login:
        assert login.login.authorization_url is None
        assert login.login.user_code
        assert login.login.verification_uri
        provider.deny(login.login.verification_uri, user_code=login.login.user_code)
        with pytest.raises(AgentError, match="access_denied"):
            login.result()


def test_a_redirect_url_may_be_handed_in(driving: Driving, provider: OpenIDProvider) -> None:
    with driving.login() as login:
        with pytest.raises(InvalidRequest):
            login.redirect("https://example.com/")
        login.redirect(provider.visit(login.address))
        assert login.result().state == "ready"


def test_the_result_of_a_cancelled_login_is_denied(driving: Driving, agent: AgentProcess) -> None:
    with driving.login() as login:
        login.cancel()
        for _ in range(2):
            with pytest.raises(Denied):
                login.result()
    with agent.client() as client:
        assert record(client).state == "logged_out"


def test_a_login_ends_with_its_context_manager(driving: Driving) -> None:
    with driving.login() as login:
        assert is_awaited(login.address)
    until(lambda: not is_awaited(login.address))
    with pytest.raises(ConnectionLost):
        login.result()


def test_a_login_ends_when_nothing_refers_to_it(agent: AgentProcess) -> None:
    with agent.client() as client:
        login = client.login("work")
        address = login.authorization_url or ""
        assert is_awaited(address)
        del login
        until(lambda: not is_awaited(address))


@pytest.mark.parametrize("backend", ["asyncio", "trio"])
def test_an_asynchronous_login_ends_when_nothing_refers_to_it(backend: str, agent: AgentProcess) -> None:
    async def main() -> None:
        async with AsyncAgent(str(agent.socket)) as client:
            login = await client.login("work")
            address = login.authorization_url or ""
            assert is_awaited(address)
            del login
            until(lambda: not is_awaited(address))

    anyio.run(main, backend=backend)


# ---- what doesn't end it


def test_a_login_survives_the_end_of_the_clients_other_connections(driving: Driving, provider: OpenIDProvider) -> None:
    with driving.login() as login:
        driving.close()
        assert provider.enter(login.address).status_code == 200
        assert login.result().state == "ready"


def test_a_login_can_be_awaited_again_after_a_cancelled_wait(agent: AgentProcess, provider: OpenIDProvider) -> None:
    async def main() -> Record:
        async with AsyncAgent(str(agent.socket)) as client, await client.login("work") as login:
            with anyio.move_on_after(0.05) as scope:
                await login.result()
            assert scope.cancelled_caught
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(login.result)
                await anyio.wait_all_tasks_blocked()
                with pytest.raises(RuntimeError):
                    await login.result()
                tasks.cancel_scope.cancel()
            assert login.authorization_url is not None
            await anyio.to_thread.run_sync(provider.enter, login.authorization_url)
            return await login.result()

    assert anyio.run(main).state == "ready"


def test_a_forked_child_neither_uses_nor_ends_the_parents_login(agent: AgentProcess, provider: OpenIDProvider) -> None:
    with agent.client() as client, client.login("work") as login:
        child = os.fork()
        if child == 0:  # no pytest in here: whatever happens, this process ends
            code = 1
            try:
                with contextlib.suppress(ConnectionLost):
                    login.result(timeout=0.0)
                    os._exit(2)
                login.close()
                code = 0
            finally:
                os._exit(code)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
        provider.enter(login.authorization_url or "")
        assert login.result().state == "ready"


def test_a_login_works_with_select(agent: AgentProcess, provider: OpenIDProvider) -> None:
    with agent.client() as client, client.login("work") as login:
        assert select.select([login], [], [], 0) == ([], [], [])
        assert provider_url(login.start_url or "") == login.authorization_url
        provider.enter(login.authorization_url or "")
        assert select.select([login], [], [], 30) == ([login], [], [])
        assert login.result().state == "ready"


# ---- what is sent


def test_login_result_is_sent_once_with_a_longer_timeout_than_the_logins(kind: str, impostor: socket.socket) -> None:
    login_response = {
        "login_id": "hush",
        "expires_at": time.time() + 600,
        "authorization_url": "https://id.example/hush",
    }
    record = {"account": "work", "state": "ready"}
    with (
        scripted(impostor, login_response, record) as requests,
        drive(kind).login(switch_user=True, client_secret="hush") as login,
    ):
        assert login.result() == record
        assert login.login.start_url == "https://id.example/hush"  # this agent has no other
        assert "id.example" not in repr(login.login)
    assert [request.method for request in requests] == ["login", "login_result"]
    params = {"account": "work", "flow": "browser", "switch_user": True, "client_secret": "hush"}
    assert requests[0].parameters == params
    timeout = requests[1].parameters["timeout"]
    assert requests[1].parameters == {"login_id": "hush", "timeout": timeout}
    assert isinstance(timeout, float)
    assert 600 + 10 < timeout < 600 + 300


@pytest.mark.parametrize("response", [{}, {"login_id": 7, "expires_at": 4e9}, {"login_id": "id", "expires_at": None}])
def test_an_invalid_response_to_login_is_an_error(
    kind: str, response: dict[str, object], impostor: socket.socket
) -> None:
    with scripted(impostor, response), pytest.raises(Internal):
        drive(kind).login()


def test_an_agent_that_ends_meanwhile_ends_the_login(kind: str, impostor: socket.socket) -> None:
    gone = threading.Event()
    with scripted(impostor, {"login_id": "id", "expires_at": time.time()}, gone), drive(kind).login() as login:
        gone.set()
        for _ in range(2):
            with pytest.raises(ConnectionLost):
                login.result()


def drive(kind: str) -> Driving:
    return Driving(kind, "agent.sock")
