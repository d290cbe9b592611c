"""Hostile clients beside a well-behaved one: that one is served, and the agent's memory stays within its bounds.

`make fuzz` measures how fast it is served; here each of its calls has a time-out that suits any machine.
"""

import os
import resource
import socket
import stat
import subprocess
import time
from collections.abc import Generator

import pytest

from auth_agent_client import Agent
from tests.faults.bystander import Bystander, descriptors
from tests.faults.hostility import GUARDED, HOSTILITIES, VICTIM, hostile
from tests.fuzz.mutation import VICTIMS, Known, Mutator
from tests.fuzz.worker import Worker
from tests.integration.agent_process import AgentProcess, until
from tests.integration.conftest import account, log_in
from tests.integration.impostor import UNPRIVILEGED
from tests.op.provider import OpenIDProvider

# Seconds for each hostile client.
EACH = 1.5
FEW_DESCRIPTORS = 64


@pytest.fixture(scope="module")
def provider() -> Generator[OpenIDProvider]:
    """Start a provider with long-lived tokens."""
    with OpenIDProvider(access_token_lifetime=3600) as one:
        yield one


@pytest.fixture(scope="module")
def agent(provider: OpenIDProvider) -> Generator[AgentProcess]:
    """Start one agent for all of them, with a session for the well-behaved client, and others."""
    accounts = {name: account(provider, redirect_ports=[0]) for name in (GUARDED, *VICTIMS)}
    accounts[VICTIM]["default"] = True
    with AgentProcess(accounts, environment={"AUTH_AGENT_LOG": "info"}) as process:
        with process.client() as client:
            for name in (GUARDED, *VICTIMS):
                log_in(client, provider, name)
        yield process
        assert process.logged("defect|Traceback") == []
        assert process.terminate() == 0


@pytest.mark.parametrize("name", HOSTILITIES)
def test_beside_a_hostile_client_another_one_is_served_and_the_agent_stays_small(
    name: str, agent: AgentProcess
) -> None:
    pid = agent.process.pid
    before = descriptors(pid)
    with Bystander(agent.socket, pid, GUARDED) as bystander, hostile(name, agent.socket):
        end = time.monotonic() + EACH
        bystander.call_until(lambda: time.monotonic() > end)
    assert bystander.grown < HOSTILITIES[name].growth, bystander
    until(
        lambda: before is None or (descriptors(pid) or 0) <= before + 2
    )  # two connections to the provider are kept open


def test_a_storm_of_force_and_rejected_causes_few_refreshes(agent: AgentProcess, provider: OpenIDProvider) -> None:
    before, start = len(provider.requests(provider.token_path, "refresh_token")), time.monotonic()
    with hostile("force and rejected", agent.socket):
        time.sleep(EACH)
    refreshes = len(provider.requests(provider.token_path, "refresh_token")) - before
    assert refreshes <= 5 + 1 + (time.monotonic() - start) / 10  # a burst of five, then one in ten seconds


def test_thousands_of_mutated_messages_are_answered_as_the_protocol_defines(
    agent: AgentProcess, provider: OpenIDProvider
) -> None:
    tokens = provider.login()
    with agent.client() as client, Bystander(agent.socket, agent.process.pid, GUARDED) as bystander:
        known = Known(client.token(GUARDED).access_token, tokens.refresh_token or "", "unknown", "http://127.0.0.1/")
        worker = Worker(str(agent.socket), Mutator("the suite's", known))
        worker.send(10_000)
        bystander.call_until(lambda: len(bystander.connected.seconds) > 10)
    assert worker.tally.messages >= 10_000
    assert worker.tally.replies["closing"] > 100
    assert {"result", "invalid_request", "unknown_method"} < set(worker.tally.replies)


def test_the_same_seed_makes_the_same_messages() -> None:
    known = Known("access", "refresh", "login", "url")
    streams = [[Mutator(seed, known).stream() for _ in range(20)] for seed in ("1", "1", "2")]
    assert streams[0] == streams[1] != streams[2]


@pytest.mark.parametrize("name", ["a crowd", "a thousand silent connections", "half messages"])
def test_with_few_descriptors_a_client_is_served_and_refreshes_continue(name: str, provider: OpenIDProvider) -> None:
    def limit() -> None:
        resource.setrlimit(resource.RLIMIT_NOFILE, (FEW_DESCRIPTORS, FEW_DESCRIPTORS))

    accounts = {GUARDED: account(provider, default=True)}
    with AgentProcess(accounts, environment={"AUTH_AGENT_LOG": "info"}, preexec=limit) as limited_agent:
        with limited_agent.client() as client:
            log_in(client, provider)
            with (
                Bystander(limited_agent.socket, limited_agent.process.pid) as bystander,
                hostile(name, limited_agent.socket),
            ):
                end = time.monotonic() + EACH
                bystander.call_until(lambda: time.monotonic() > end)
                assert provider.userinfo(client.refresh().access_token).status_code == 200
        assert limited_agent.logged("defect|Traceback") == []


# ---- another user


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root, to be two users")
def test_a_storm_of_another_users_connections_delays_nobody(agent: AgentProcess) -> None:
    script = (
        "import socket, sys\n"
        "print('begun', flush=True)\n"
        "while True:\n"
        "    s = socket.socket(socket.AF_UNIX); s.connect(sys.argv[1])\n"
        "    try: s.sendall(b'\\x94\\x00\\x01\\xa5token\\x90'); assert s.recv(100) == b''\n"
        "    except (BrokenPipeError, ConnectionResetError): pass\n"
    )
    command = ["/usr/bin/python3", "-c", script, str(agent.socket)]
    places = {agent.home: 0o755, agent.socket.parent: 0o755, agent.socket: 0o666}
    modes = {path: stat.S_IMODE(path.stat().st_mode) for path in places}
    with Bystander(agent.socket, agent.process.pid, GUARDED) as bystander:
        for path, mode in places.items():
            path.chmod(mode)
        with subprocess.Popen(command, user=UNPRIVILEGED, stdout=subprocess.PIPE) as storm:
            assert storm.stdout is not None
            assert storm.stdout.readline() == b"begun\n"
            for path, mode in modes.items():
                path.chmod(mode)  # the connected process keeps its access; clients check the modes
            until(lambda: agent.logged(f"refused uid={UNPRIVILEGED}") or storm.poll() is not None)
            end = time.monotonic() + EACH
            bystander.call_until(lambda: time.monotonic() > end)
            storm.kill()


# ---- other files in place of the socket


@pytest.mark.parametrize("kind", ["a directory", "a pipe", "a link to nothing", "another user's file"])
def test_any_other_file_in_place_of_the_socket_is_not_changed(kind: str, provider: OpenIDProvider) -> None:
    if kind == "another user's file" and os.geteuid() != 0:
        pytest.skip("needs root, to be two users")
    with AgentProcess({"work": account(provider)}, started=False) as agent:
        agent.socket.parent.mkdir(mode=0o700)
        if kind == "a directory":
            agent.socket.mkdir()
        elif kind == "a pipe":
            os.mkfifo(agent.socket)
        elif kind == "a link to nothing":
            agent.socket.symlink_to(agent.home / "nothing")
        else:
            agent.socket.write_text("precious")
            os.chown(agent.socket, UNPRIVILEGED, UNPRIVILEGED)
        before = agent.socket.lstat()
        process = agent.run("run", "--store", "memory")
        assert (process.returncode, "was not changed" in process.stderr) == (1, True), process.stderr
        after = agent.socket.lstat()
        assert (after.st_ino, after.st_mode, after.st_uid) == (before.st_ino, before.st_mode, before.st_uid)
        assert not (agent.home / "nothing").exists()


@pytest.mark.parametrize("kind", ["the directory", "the lock"])
def test_no_symbolic_link_in_the_path_of_the_socket_is_followed(kind: str, provider: OpenIDProvider) -> None:
    with AgentProcess({"work": account(provider)}, started=False) as agent:
        elsewhere = agent.home / "elsewhere"
        if kind == "the directory":
            elsewhere.mkdir(mode=0o700)
            agent.socket.parent.symlink_to(elsewhere)
        else:
            elsewhere.write_text("precious")
            agent.socket.parent.mkdir(mode=0o700)
            agent.socket.with_name("agent.sock.lock").symlink_to(elsewhere)
        process = agent.run("run", "--store", "memory")
        assert (process.returncode, str(agent.socket.parent) in process.stderr) == (1, True), process.stderr
        assert elsewhere.is_dir() or elsewhere.read_text() == "precious"
        assert not (elsewhere / "agent.sock").exists()


def test_a_socket_that_replaced_the_agents_is_not_removed_at_its_end(provider: OpenIDProvider) -> None:
    with AgentProcess({"work": account(provider)}) as replaced, Agent(str(replaced.socket)) as client:
        assert client.hello()
        replaced.socket.unlink()
        with socket.socket(socket.AF_UNIX) as foreign:
            foreign.bind(str(replaced.socket))
            before = replaced.socket.lstat().st_ino
            assert client.hello()["pid"] == replaced.process.pid  # connected clients are served
            assert replaced.terminate() == 0
            assert replaced.socket.lstat().st_ino == before
