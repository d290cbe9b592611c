"""The agent as a service: a passed socket, notifications to its manager, and a restart in place."""

import os
import shutil
import signal
import socket
import sys
import threading
import time
from collections.abc import Generator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

import auth_agent
from auth_agent import remedies
from auth_agent_client import Agent, Timeout
from auth_agent_client.call import Call
from auth_agent_client.link import Link, connect
from auth_agent_client.waiting import Blocking, finish
from tests.integration.agent_process import PATIENCE, AgentProcess, until
from tests.integration.conftest import account, log_in, record
from tests.op.provider import HELD, OpenIDProvider

# In this order: what the old agent lets finish, what closing connections takes, and what the resolver is waited for.
RESTARTS_WITHIN = 10 + 3 + 2 + 30
SOCKET_ACTIVATE = shutil.which("systemd-socket-activate")


class Manager:
    """Receives the agent's notifications to its service manager."""

    def __init__(self, name: str) -> None:
        self.name = name
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind(name.replace("@", "\0"))
        self._socket.settimeout(PATIENCE)

    def close(self) -> None:
        self._socket.close()

    def next_message(self) -> str:
        """Wait for the next notification, and return it; a status, which is for people, does not count."""
        while (message := self._socket.recv(1000).decode()).startswith("STATUS="):
            pass
        return message


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


def connect_early(agent: AgentProcess) -> "closing[Link]":
    """A client that has connected, whether an agent runs or not."""
    link: Link = finish(connect(str(agent.socket), Blocking())).value
    return closing(link)


def hello(link: Link) -> dict[str, object]:
    """Return the agent's response to `hello` on that connection."""
    hello: dict[str, object] = finish(link.call(Call("hello", {}))).value
    return hello


def agent_id(agent: AgentProcess) -> object:
    """Return the id of the agent that responds now."""
    with agent.client() as client:
        return client.hello()["agent_id"]


# ---- a socket that was passed


def test_clients_that_connected_before_the_start_are_served(service: AgentProcess) -> None:
    with connect_early(service) as one, connect_early(service) as other:
        service.spawn()
        assert {hello(link)["pid"] for link in (one, other)} == {service.process.pid}


def test_clients_that_connected_between_a_crash_and_the_next_start_are_served(service: AgentProcess) -> None:
    service.start()
    before = agent_id(service)
    service.kill()
    with connect_early(service) as link:
        service.spawn()
        assert hello(link)["agent_id"] != before


def test_the_kernel_names_the_agent_and_not_who_passed_the_socket(service: AgentProcess) -> None:
    service.start()
    for _ in range(2):
        with connect_early(service) as link:
            assert hello(link)["pid"] == link.peer_process()[0] == service.process.pid
        assert service.run("restart").returncode == 0


@pytest.mark.parametrize("end", ["stop", "kill"])
def test_a_passed_socket_is_unchanged_after_the_agents_end(end: str, service: AgentProcess) -> None:
    before = service.socket.lstat()
    service.start()
    assert [path.name for path in service.socket.parent.iterdir()] == [service.socket.name]  # and no lock either
    if end == "stop":
        result = service.run("stop")
        assert (result.returncode, result.stderr) == (0, "stopped\n")
        assert service.process.wait(PATIENCE) == 0
    else:
        service.kill()
    after = service.socket.lstat()
    assert (after.st_ino, after.st_mode) == (before.st_ino, before.st_mode)


def test_status_shows_the_path_of_the_passed_socket(service: AgentProcess) -> None:
    place = service.environment.pop("AUTH_AGENT_SOCK")
    service.environment["XDG_RUNTIME_DIR"] = str(service.home / "elsewhere")
    service.start()
    with Agent(place) as client:
        about = client.status()["agent"]
    assert isinstance(about, dict)
    assert about["socket"] == place
    assert not (service.home / "elsewhere").exists()


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ("datagrams", "not ListenDatagram="),
        ("TCP", "ListenStream= must be a path"),
        ("not listening", "Accept=yes"),
        ("two", "2 sockets were passed"),
        ("an open directory", "DirectoryMode=0700"),
    ],
)
def test_a_socket_that_cannot_be_served_is_an_error_with_a_remedy(
    wrong: str, message: str, service: AgentProcess
) -> None:
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
    assert message in service.log
    assert "Traceback" not in service.log


def test_an_agent_started_by_hand_leaves_a_service_managers_socket_alone(service: AgentProcess) -> None:
    service.start()
    second = service.run("run")
    assert second.returncode == 1
    assert str(service.socket) in second.stderr
    assert agent_id(service)


@pytest.mark.skipif(SOCKET_ACTIVATE is None, reason="needs systemd-socket-activate, of Debian's package systemd")
def test_systemd_starts_the_agent_for_the_first_client(provider: OpenIDProvider) -> None:
    with AgentProcess({"work": account(provider)}, started=False) as agent:
        agent.socket.parent.mkdir(mode=0o700)
        variables = [f"--setenv={name}" for name in agent.environment if name.startswith("AUTH_AGENT")]
        agent.launch_with("systemd-socket-activate", f"--listen={agent.socket}", *variables)
        agent.spawn()
        until(lambda: "Listening on" in agent.log)
        assert agent.logged(" listening ") == []
        result = agent.run("status")
        assert result.returncode == 0, result.stderr
        assert f", process {agent.process.pid}, " in result.stdout
        assert "  socket   ~/run/agent.sock\n" in result.stdout
        restarted = agent.run("restart")
        assert restarted.returncode == 0, restarted.stderr
        assert agent.run("stop").returncode == 0
        assert agent.socket.exists()


# ---- notifications to its manager


@pytest.fixture(params=["a path", "an abstract address"])
def manager(request: pytest.FixtureRequest, agent: AgentProcess) -> Generator[Manager]:
    """A manager that the agent notifies after its next start."""
    agent.terminate()
    with closing(Manager(str(agent.home / "notify") if request.param == "a path" else f"@{agent.home}")) as one:
        agent.environment["NOTIFY_SOCKET"] = one.name
        yield one


def test_the_manager_is_notified_of_ready_reloading_and_stopping(manager: Manager, agent: AgentProcess) -> None:
    agent.spawn()
    assert manager.next_message() == "READY=1"
    assert agent_id(agent)
    before = time.clock_gettime_ns(time.CLOCK_MONOTONIC)
    agent.process.send_signal(signal.SIGHUP)
    reloading, _, microseconds = manager.next_message().partition("\nMONOTONIC_USEC=")
    assert reloading == "RELOADING=1"
    assert before <= int(microseconds) * 1000 + 999 <= time.clock_gettime_ns(time.CLOCK_MONOTONIC) + 999
    assert manager.next_message() == "READY=1"
    agent.config.write_text("nonsense")
    agent.process.send_signal(signal.SIGHUP)
    assert manager.next_message().startswith("RELOADING=1\n")
    assert manager.next_message() == "READY=1"
    assert agent.terminate() == 0
    assert manager.next_message() == "STOPPING=1"


def test_the_agent_notifies_its_manager_only_of_the_end_of_a_restart(manager: Manager, agent: AgentProcess) -> None:
    agent.spawn()
    assert manager.next_message() == "READY=1"
    assert agent.run("restart").returncode == 0
    assert manager.next_message() == "READY=1"
    assert agent.terminate() == 0
    assert manager.next_message() == "STOPPING=1"


def test_an_agent_serves_though_its_manager_does_not_listen(agent: AgentProcess) -> None:
    agent.terminate()
    agent.environment["NOTIFY_SOCKET"] = str(agent.home / "nobody")
    agent.start()
    assert agent_id(agent)
    agent.until_logged("warning notify state='READY=1'")
    assert agent.terminate() == 0


# ---- a restart


def test_a_restart_keeps_the_process_and_changes_the_agent_id(
    agent: AgentProcess, client: Agent, provider: OpenIDProvider
) -> None:
    before = client.hello()["agent_id"]
    agent.configure({"work": account(provider), "home": account(provider)})
    result = agent.run("restart")
    assert result.returncode == 0, result.stderr
    assert result.stderr == f"restarted: process {agent.process.pid}, version {client.hello()['version']}\n"
    assert client.hello()["agent_id"] != before
    assert client.hello()["pid"] == agent.process.pid
    status = client.status()["accounts"]
    assert isinstance(status, list)
    assert [record["account"] for record in status] == ["work", "home"]  # pyright: ignore[reportUnknownVariableType] -- any list from the wire
    assert len(agent.until_logged(" listening ", 2)) == 2  # the log goes on
    assert agent.socket.stat().st_mode & 0o777 == 0o600
    assert agent.terminate() == 0
    assert not agent.socket.exists()


def test_a_restart_keeps_arguments_and_environment() -> None:
    def read_process() -> list[bytes]:
        process = Path(f"/proc/{agent.process.pid}")
        return [(process / name).read_bytes() for name in ("cmdline", "environ")]

    if not Path("/proc/self/environ").exists() or os.geteuid() != 0:
        pytest.skip("needs Linux and root, to look into a process that hides from its user")
    with AgentProcess(executed=True) as agent:
        before = read_process()
        assert agent.run("restart").returncode == 0
        assert read_process() == before


def test_a_restart_that_would_lose_sessions_needs_force(
    agent: AgentProcess, client: Agent, provider: OpenIDProvider
) -> None:
    log_in(client, provider)
    before = client.hello()["agent_id"]
    result = agent.run("restart")
    assert result.returncode == 1
    assert " work:" in result.stderr
    assert "auth-agent restart --force" in result.stderr
    assert client.hello()["agent_id"] == before
    assert agent.run("restart", "--force").returncode == 0
    assert client.hello()["agent_id"] != before
    assert agent.run("token").returncode == 4


def test_a_restart_waits_for_a_refresh_and_keeps_the_socket(
    agent: AgentProcess, client: Agent, provider: OpenIDProvider
) -> None:
    log_in(client, provider)
    provider.reset()
    provider.fault("delay-after", ms=HELD, grant_type="refresh_token")
    responses: list[str] = []
    waiting = threading.Thread(target=lambda: responses.append(client.refresh(timeout=PATIENCE).access_token))
    waiting.start()
    until(lambda: provider.count(provider.token_path))
    restarting: list[int] = []
    asking = threading.Thread(target=lambda: restarting.append(agent.run("restart", "--force").returncode))
    asking.start()
    agent.until_logged("stopping signal=SIGUSR1")
    assert str(agent.socket) in agent.run("run").stderr
    provider.release()
    waiting.join()
    assert provider.userinfo(responses[0]).status_code == 200
    asking.join()
    assert restarting == [0]
    assert [row.succeeded for row in provider.ledger().values()] == [1]
    order = [line.split()[2] for line in agent.until_logged("outcome=ok|restarting| listening ", 4)]
    assert order == ["listening", "refresh", "restarting", "listening"]


@pytest.mark.parametrize("signum", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_to_end_prevents_a_restart_that_has_begun(
    signum: signal.Signals, agent: AgentProcess, client: Agent, provider: OpenIDProvider
) -> None:
    log_in(client, provider)
    provider.fault("delay-after", ms=HELD, grant_type="refresh_token")
    waiting = threading.Thread(target=client.refresh, kwargs={"timeout": PATIENCE})
    waiting.start()
    until(lambda: record(client)["renewal"] == "running")
    agent.process.send_signal(signal.SIGUSR1)
    agent.until_logged("stopping signal=SIGUSR1")
    agent.process.send_signal(signum)
    provider.release()
    assert agent.process.wait(PATIENCE) == 0
    waiting.join()
    assert agent.logged("outcome=ok refreshes=1")
    assert agent.logged(" stopped$")
    assert not agent.logged(" restarting$")
    assert not agent.socket.exists()


def test_a_signal_to_end_right_after_a_restart_ends_the_agent(agent: AgentProcess) -> None:
    agent.process.send_signal(signal.SIGUSR1)
    agent.until_logged(" restarting$")
    assert agent.terminate() in {0, -signal.SIGTERM}
    assert not agent.answers()


def test_restarts_at_any_moment_kill_no_agent(agent: AgentProcess) -> None:
    def has_restarted_often() -> bool:
        agent.process.send_signal(signal.SIGUSR1)
        agent.process.send_signal(signal.SIGHUP)
        return len(agent.logged(" restarting$")) >= 3

    until(has_restarted_often)
    until(agent.answers)
    assert agent.process.poll() is None


def test_clients_can_connect_while_a_service_restarts(service: AgentProcess) -> None:
    service.start()
    ids: list[object] = []
    failed: list[Exception] = []
    over = threading.Event()

    def ask() -> None:
        while not over.is_set():
            try:
                ids.append(agent_id(service))
            except Exception as error:  # noqa: BLE001 -- asserted below
                failed.append(error)

    clients = [threading.Thread(target=ask) for _ in range(4)]
    for one in clients:
        one.start()
    restarts = [service.run("restart") for _ in range(3)]
    over.set()
    for one in clients:
        one.join()
    assert [(result.returncode, result.stderr.partition(":")[0]) for result in restarts] == [(0, "restarted")] * 3
    assert failed == []
    assert len(dict.fromkeys(ids)) == 4
    assert service.process.poll() is None


def test_a_restarted_service_keeps_its_socket(service: AgentProcess) -> None:
    before = service.socket.lstat().st_ino
    service.start()
    for _ in range(2):
        assert service.run("restart").returncode == 0
    assert service.socket.lstat().st_ino == before
    service.kill()
    with connect_early(service) as link:
        service.spawn()
        assert hello(link)["pid"] == service.process.pid


def test_a_restart_that_could_not_serve_again_is_refused_and_the_agent_continues(
    provider: OpenIDProvider,
) -> None:
    with AgentProcess({"work": account(provider)}) as agent:
        before = agent_id(agent)
        good = agent.config.read_text()
        agent.config.write_text("[accounts.work]\nissuer = 7\n")
        result = agent.run("restart")
        assert result.returncode == 1
        assert "client_id" in result.stderr
        assert agent_id(agent) == before
        agent.config.write_text(good)
        assert agent.run("restart").returncode == 0
        assert agent_id(agent) != before


def test_an_agent_serves_until_it_restarts(provider: OpenIDProvider) -> None:
    with AgentProcess({"work": account(provider), "home": account(provider, "second-app")}) as agent:
        with agent.client() as client:
            log_in(client, provider)
            log_in(client, provider, "home", client_id="second-app")
            provider.fault("delay-after", ms=HELD, client_id="native-app", grant_type="refresh_token")
            with pytest.raises(Timeout):
                client.refresh("work", timeout=0.1)
        with agent.begin("restart", "--force") as restarting:
            agent.until_logged(" stopping signal=SIGUSR1")
            with agent.client() as client:  # a new connection
                assert client.token("home").account == "home"
            provider.release()
            assert restarting.process.wait(PATIENCE) == 0


def launched(setup: str) -> tuple[str, ...]:
    """Return a command of the agent that runs `setup` first."""
    launcher = f"import sys; sys.argv[0] = 'auth-agent'; {setup}\nfrom auth_agent.cli import main; sys.exit(main())"
    return (sys.executable, "-c", launcher)


def test_a_restart_without_its_interpreter_is_rejected(provider: OpenIDProvider) -> None:
    with AgentProcess({"work": account(provider)}, command=launched("sys.executable = '/nowhere/python'")) as agent:
        result = agent.run("restart")
        assert result.returncode == 1
        assert "/nowhere/python" in result.stderr
        assert agent.answers()


def test_a_failed_restart_is_reported_by_agent_and_command(provider: OpenIDProvider, tmp_path: Path) -> None:
    interpreter = tmp_path / "python"
    interpreter.write_text(f'#!/bin/sh\nexec {sys.executable} "$@"\n')
    interpreter.chmod(0o755)
    with AgentProcess({"work": account(provider)}, command=launched(f"sys.executable = {str(interpreter)!r}")) as agent:
        with agent.client() as client:
            log_in(client, provider)
            provider.fault("delay-after", ms=HELD, grant_type="refresh_token")
            with pytest.raises(Timeout):
                client.refresh(timeout=0.1)
        with agent.begin("restart", "--force") as restarting:
            agent.until_logged("stopping signal=SIGUSR1")
            interpreter.unlink()  # after it was tried, and before it is executed
            provider.release()
            assert restarting.process.wait(PATIENCE) == 1
            assert f"process {agent.process.pid}," in restarting.output()
        assert agent.process.wait(PATIENCE) == 1
        assert agent.logged("error restart executable=.* error=")


@pytest.mark.parametrize("damage", ["gone", "broken"])
def test_an_agent_whose_package_is_damaged_goes_on_and_does_not_restart(
    damage: str, provider: OpenIDProvider, tmp_path: Path
) -> None:
    package = tmp_path / "auth_agent"
    shutil.copytree(Path(auth_agent.__file__).parent, package)
    environment = {"PYTHONPATH": str(tmp_path)}
    command = (sys.executable, "-P", "-m", "auth_agent")
    with AgentProcess({"work": account(provider)}, environment=environment, command=command) as agent:
        before = agent_id(agent)
        with agent.client() as client:
            log_in(client, provider)
            for file in package.rglob("[!_]*.py"):
                file.rename(file.with_suffix(".away"))
            if damage == "broken":
                (package / "daemon.py").write_text("from auth_agent import nothing_of_that_name\n")
            assert client.refresh().access_token
            agent.process.send_signal(signal.SIGUSR1)
            refused = until(lambda: client.status().agent.restart_refused)
            assert refused is not None
            assert remedies.repair_and_restart() in refused.remedy
            assert client.token().access_token
        for file in package.rglob("*.away"):
            file.rename(file.with_suffix(".py"))
        assert agent.run("restart", "--force").returncode == 0
        assert agent_id(agent) != before


def test_a_stop_while_the_program_is_tried_ends_the_agent(agent: AgentProcess) -> None:
    for _ in range(3):
        agent.process.send_signal(signal.SIGUSR1)
    assert agent.terminate() == 0
    assert not agent.logged(" restarting$")


def test_an_endless_name_lookup_does_not_delay_a_restart() -> None:
    command = launched(
        "import socket, time; socket.getaddrinfo = "
        "lambda *_, **__: (print('looked up', file=sys.stderr, flush=True), time.sleep(60))"
    )
    accounts = {"work": {"issuer": "https://acme.example/", "client_id": "x"}}
    with AgentProcess(accounts, command=command) as agent:
        waiting = threading.Thread(target=agent.run, args=("import",), kwargs={"stdin": "some-token"})
        waiting.start()
        agent.until_logged("looked up")
        start = time.monotonic()
        result = agent.run("restart")
        assert result.returncode == 0, result.stderr
        assert time.monotonic() - start < RESTARTS_WITHIN
        waiting.join()
        assert agent.terminate() == 0
