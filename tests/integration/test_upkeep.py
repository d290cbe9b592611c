"""What the agent put into the file system goes away while it runs: it notices, and makes it anew."""

import json
import os
import shutil
import signal
import socket
from collections.abc import Callable

import pytest

from auth_agent import remedies
from auth_agent_client import Agent
from tests.integration.agent_process import PATIENCE, AgentProcess, until
from tests.integration.conftest import account, log_in
from tests.op.provider import OpenIDProvider

OTHER_USER = 65534


def remove_socket(agent: AgentProcess) -> None:
    agent.socket.unlink()


def remove_directory(agent: AgentProcess) -> None:
    shutil.rmtree(agent.socket.parent)


def empty_directory(agent: AgentProcess) -> None:
    for path in agent.socket.parent.iterdir():
        path.unlink()


@pytest.mark.parametrize("lose", [remove_socket, remove_directory, empty_directory])
def test_an_agent_whose_socket_is_gone_listens_again_with_its_sessions(
    lose: Callable[[AgentProcess], None], agent: AgentProcess, client: Agent, provider: OpenIDProvider
) -> None:
    log_in(client, provider)
    token = client.token().access_token
    agent.process.send_signal(signal.SIGSTOP)  # it does not look before the commands do
    lose(agent)
    assert agent.run("status").returncode == 3
    # Nothing is lost meanwhile: no other agent takes the place, and this one's connections live on.
    refused = agent.run("run", "--store", "memory")
    assert refused.returncode == 1
    assert remedies.end_agent(agent.process.pid).line in refused.stderr
    assert remedies.end_agent(agent.process.pid).line in agent.run("doctor").stdout
    agent.process.send_signal(signal.SIGCONT)
    assert client.token().access_token == token
    until(agent.answers)
    with agent.client() as other:
        assert other.token().access_token == token
        assert other.status().agent.socket_problem is None
    assert client.token().access_token == token
    assert agent.socket.parent.stat().st_mode & 0o777 == 0o700
    assert agent.socket.stat().st_mode & 0o777 == 0o600
    assert len(agent.until_logged("warning socket .*listening again")) == 1
    assert agent.terminate() == 0
    assert not agent.socket.exists()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a directory away")
def test_a_directory_of_another_user_is_not_used_and_is_told_of(agent: AgentProcess, client: Agent) -> None:
    assert client.status().agent.socket_problem is None
    agent.process.send_signal(signal.SIGSTOP)  # it does not look in between
    remove_directory(agent)
    agent.socket.parent.mkdir(mode=0o700)
    os.chown(agent.socket.parent, OTHER_USER, OTHER_USER)
    agent.process.send_signal(signal.SIGCONT)
    problem = until(lambda: client.status().agent.socket_problem)
    assert problem is not None
    assert remedies.another_socket() in problem.remedy
    assert list(agent.socket.parent.iterdir()) == []
    os.chown(agent.socket.parent, 0, 0)
    until(lambda: client.status().agent.socket_problem is None)
    assert agent.answers()
    assert len(agent.until_logged("warning socket ", 2)) == 2  # once what is wrong, once that it is over


def test_an_agent_of_another_system_with_the_same_home_excludes_none(agent: AgentProcess) -> None:
    (lock,) = (agent.home / ".local" / "state" / "auth-agent").glob("socket-*.lock")
    lock.write_text(json.dumps({**json.loads(lock.read_text()), "kernel": "a container"}))
    shutil.rmtree(agent.socket.parent)  # which a container does not have
    agent.process.send_signal(signal.SIGSTOP)
    with AgentProcess(environment=agent.environment, started=False) as other:
        other.spawn()
        other.until_logged(" listening ")
        assert other.terminate() == 0


def test_locks_that_are_gone_are_locked_anew(provider: OpenIDProvider) -> None:
    with AgentProcess({"work": account(provider)}, store="file") as agent:
        state = agent.home / ".local" / "state" / "auth-agent"
        locks = [state / "sealed.lock", *state.glob("socket-*.lock")]
        assert len(locks) == 2
        for lock in locks:
            lock.unlink()
        until(lambda: all(lock.exists() for lock in locks))
        agent.until_logged("warning lock .*locked again", 2)
        assert agent.run("run", "--store", "file").returncode == 1


def test_of_two_agents_with_one_store_the_one_whose_locks_went_away_ends(provider: OpenIDProvider) -> None:
    with AgentProcess({"work": account(provider)}, store="file") as agent:
        agent.process.send_signal(signal.SIGSTOP)  # it can't look
        shutil.rmtree(agent.home / ".local")
        remove_directory(agent)
        with AgentProcess(environment=agent.environment, started=False, store="file") as other:
            other.spawn()
            other.until_logged(" listening ")
            agent.process.send_signal(signal.SIGCONT)
            assert agent.process.wait(PATIENCE) == 0
            assert agent.logged("warning lock .*another agent")
            assert agent.answers()  # the other one's socket is still there
            assert other.terminate() == 0


def test_in_place_of_a_passed_socket_whose_file_is_gone_the_agent_has_its_own(provider: OpenIDProvider) -> None:
    with (
        AgentProcess({"work": account(provider)}, started=False) as agent,
        socket.socket(socket.AF_UNIX) as passed,
    ):
        agent.socket.parent.mkdir(mode=0o700)
        passed.bind(str(agent.socket))
        passed.listen()
        agent.inherit(passed)
        agent.start()
        with agent.client() as client:
            log_in(client, provider)
            remove_directory(agent)
            until(agent.answers)
            problem = client.status().agent.socket_problem
            assert problem is not None
            assert remedies.restart_socket_unit() in problem.remedy
            assert remedies.restart_socket_unit().line in agent.run("status").stdout
        before = len(agent.logged(" listening "))
        agent.process.send_signal(signal.SIGUSR1)
        agent.until_logged(" listening ", before + 1)
        until(agent.answers)
