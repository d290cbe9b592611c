"""The agent as a service: a socket that was passed to it, what it tells its manager."""

import shutil
import signal
import socket
import time
from collections.abc import Generator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from auth_agent_client import Agent
from auth_agent_client.link import Link
from tests.integration.agent_process import PATIENCE, AgentProcess, until
from tests.integration.conftest import account
from tests.op.provider import OpenIDProvider

# In this order: what the old agent lets finish, what closing connections takes, and what the resolver is waited for.
RESTARTS_WITHIN = 10 + 3 + 2 + 10
SOCKET_ACTIVATE = shutil.which("systemd-socket-activate")


class Manager:
    """Receives what the agent tells its service manager."""

    def __init__(self, name: str) -> None:
        self.name = name
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind(name.replace("@", "\0"))
        self._socket.settimeout(PATIENCE)

    def close(self) -> None:
        self._socket.close()

    def told(self) -> str:
        """The next thing that it is told, waiting for it."""
        return self._socket.recv(1000).decode()


@contextmanager
def listening(path: Path, kind: socket.SocketKind = socket.SOCK_STREAM) -> Generator[socket.socket]:
    """A socket there, as a service manager makes it."""
    path.parent.mkdir(mode=0o700)
    with socket.socket(socket.AF_UNIX, kind) as one:
        one.bind(str(path))
        if kind == socket.SOCK_STREAM:
            one.listen()
        yield one


@pytest.fixture
def service(provider: OpenIDProvider) -> Generator[AgentProcess]:
    """An agent that is going to be started with a socket that was there before it."""
    with AgentProcess({"work": account(provider)}, started=False) as agent, listening(agent.socket) as inherited:
        agent.inherit(inherited)
        yield agent


def queued(agent: AgentProcess) -> "closing[Link]":
    """A client that has connected, whether an agent runs or not."""
    return closing(Link(str(agent.socket)))


def agent_id(agent: AgentProcess) -> object:
    """The identity of the agent that answers now."""
    with agent.client() as client:
        return client.hello()["agent_id"]


# ---- a socket that was passed


def test_clients_that_came_before_the_agent_are_served(service: AgentProcess) -> None:
    with queued(service) as one, queued(service) as other:
        service.spawn()
        assert {link.call("hello", {})["pid"] for link in (one, other)} == {service.process.pid}


def test_clients_that_came_between_a_power_cut_and_the_next_start_are_served(service: AgentProcess) -> None:
    service.start()
    before = agent_id(service)
    service.kill()
    with queued(service) as link:
        service.spawn()
        assert link.call("hello", {})["agent_id"] != before


@pytest.mark.parametrize("end", ["stop", "kill"])
def test_the_socket_is_there_after_the_end_as_it_was_before(end: str, service: AgentProcess) -> None:
    before = service.socket.lstat()
    service.start()
    assert [path.name for path in service.socket.parent.iterdir()] == [service.socket.name]  # and no lock either
    if end == "stop":
        done = service.run("stop")
        assert (done.returncode, done.stderr) == (0, "stopped\n")
        assert service.process.wait(PATIENCE) == 0
    else:
        service.kill()
    after = service.socket.lstat()
    assert (after.st_ino, after.st_mode) == (before.st_ino, before.st_mode)


def test_status_tells_where_the_socket_is_and_not_where_it_would_have_been(service: AgentProcess) -> None:
    place = service.environment.pop("AUTH_AGENT_SOCK")
    service.environment["XDG_RUNTIME_DIR"] = str(service.home / "elsewhere")
    service.start()
    with Agent(place) as client:
        about = client.status()["agent"]
    assert isinstance(about, dict)
    assert about["socket"] == place
    assert not (service.home / "elsewhere").exists()


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ("datagrams", "not ListenDatagram="),
        ("TCP", "ListenStream= must be a path"),
        ("not listening", "Accept=yes"),
        ("two", "2 sockets were passed"),
        ("an open directory", "DirectoryMode=0700"),
    ],
)
def test_a_socket_that_cannot_be_served_is_told_with_what_to_do(wrong: str, said: str, service: AgentProcess) -> None:
    if wrong == "datagrams":
        passed = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    elif wrong == "TCP":
        passed = socket.create_server(("127.0.0.1", 0))
    elif wrong == "not listening":
        passed = socket.socket(socket.AF_UNIX)
    else:
        passed = socket.socket(socket.AF_UNIX)
        place = service.home / "other" / "agent.sock"
        place.parent.mkdir(mode=0o755 if wrong == "an open directory" else 0o700)
        passed.bind(str(place))
        passed.listen()
    with passed:
        service.inherit(passed, count=2 if wrong == "two" else 1)
        service.spawn()
        assert service.process.wait(PATIENCE) == 1
    assert said in service.log
    assert "Traceback" not in service.log


def test_an_agent_that_is_started_by_hand_leaves_a_service_managers_socket_alone(service: AgentProcess) -> None:
    service.start()
    second = service.run("run")
    assert second.returncode == 1
    assert f"something else listens at {service.socket}" in second.stderr
    assert agent_id(service)


@pytest.mark.skipif(SOCKET_ACTIVATE is None, reason="needs systemd-socket-activate, of Debian's package systemd")
def test_systemd_starts_it_for_the_first_client(provider: OpenIDProvider) -> None:
    with AgentProcess({"work": account(provider)}, started=False) as agent:
        agent.socket.parent.mkdir(mode=0o700)
        variables = [f"--setenv={name}" for name in agent.environment if name.startswith("AUTH_AGENT")]
        agent.launch_with("systemd-socket-activate", f"--listen={agent.socket}", *variables)
        agent.spawn()
        until(lambda: "Listening on" in agent.log)
        assert agent.logged(" listening ") == []
        done = agent.run("status")
        assert done.returncode == 0, done.stderr
        assert f"agent {agent.process.pid}, " in done.stdout
        assert f"socket: {agent.socket}" in done.stdout
        assert agent.run("stop").returncode == 0
        assert agent.socket.exists()


# ---- what it tells its manager


@pytest.fixture(params=["a path", "an abstract address"])
def manager(request: pytest.FixtureRequest, agent: AgentProcess) -> Generator[Manager]:
    """A manager that the agent, when it is started again, tells how it is."""
    agent.terminate()
    with closing(Manager(str(agent.home / "notify") if request.param == "a path" else f"@{agent.home}")) as one:
        agent.environment["NOTIFY_SOCKET"] = one.name
        yield one


def test_it_tells_that_it_is_ready_that_it_reloads_and_that_it_stops(manager: Manager, agent: AgentProcess) -> None:
    agent.spawn()
    assert manager.told() == "READY=1"
    assert agent_id(agent)
    before = time.clock_gettime_ns(time.CLOCK_MONOTONIC)
    agent.process.send_signal(signal.SIGHUP)
    reloading, _, microseconds = manager.told().partition("\nMONOTONIC_USEC=")
    assert reloading == "RELOADING=1"
    assert before <= int(microseconds) * 1000 + 999 <= time.clock_gettime_ns(time.CLOCK_MONOTONIC) + 999
    assert manager.told() == "READY=1"
    agent.config.write_text("nonsense")
    agent.process.send_signal(signal.SIGHUP)
    assert manager.told().startswith("RELOADING=1\n")
    assert manager.told() == "READY=1"
    assert agent.terminate() == 0
    assert manager.told() == "STOPPING=1"


def test_a_manager_that_does_not_listen_is_no_reason_not_to_serve(agent: AgentProcess) -> None:
    agent.terminate()
    agent.environment["NOTIFY_SOCKET"] = str(agent.home / "nobody")
    agent.start()
    assert agent_id(agent)
    assert agent.logged("warning notify state='READY=1'")
    assert agent.terminate() == 0
