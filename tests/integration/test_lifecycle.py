"""Starting, stopping and reloading, as real processes."""

import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

import pytest

from auth_agent_client import Agent, LoginRequired, Misconfigured
from tests.integration.agent_process import PATIENCE, AgentProcess, until
from tests.integration.conftest import account, is_served, log_in, record
from tests.op.provider import HELD, OpenIDProvider

UNPRIVILEGED = 65534  # nobody
# Ten seconds for refreshes in flight, three for farewells, and slack for a busy machine.
ENDS_WITHIN = 10 + 3 + 30


def refresh(agent: AgentProcess, tokens: list[str]) -> None:
    with agent.client() as client:
        tokens.append(client.refresh(timeout=PATIENCE).access_token)


def test_a_stop_waits_for_a_refresh(agent: AgentProcess, client: Agent, provider: OpenIDProvider) -> None:
    log_in(client, provider)
    before = client.token().access_token
    provider.reset()
    provider.fault("delay-after", ms=HELD, grant_type="refresh_token")
    responses: list[str] = []
    waiting = threading.Thread(target=refresh, args=(agent, responses))
    waiting.start()
    until(lambda: provider.count(provider.token_path))
    agent.process.send_signal(signal.SIGTERM)
    until(lambda: not agent.socket.exists())
    assert agent.process.poll() is None
    provider.release()
    assert agent.process.wait(PATIENCE) == 0
    waiting.join()
    assert agent.logged("outcome=ok refreshes=1")
    assert [row.succeeded for row in provider.ledger().values()] == [1]
    assert responses != [before]  # who waited for it has got it
    assert provider.userinfo(responses[0]).status_code == 200


def test_a_stopping_agent_accepts_no_connection_and_ignores_a_second_signal(
    agent: AgentProcess, client: Agent, provider: OpenIDProvider
) -> None:
    log_in(client, provider)
    provider.fault("delay-after", ms=HELD, grant_type="refresh_token")
    waiting = threading.Thread(target=refresh, args=(agent, []))
    waiting.start()
    until(lambda: record(client)["renewal"] == "running")
    agent.process.send_signal(signal.SIGTERM)
    until(lambda: not agent.socket.exists())
    agent.process.send_signal(signal.SIGTERM)
    assert client.token().access_token  # who is connected is served to the end
    provider.release()
    assert agent.process.wait(PATIENCE) == 0
    waiting.join()
    assert agent.logged("outcome=ok refreshes=1")


def test_the_socket_and_its_directory_are_private(agent: AgentProcess) -> None:
    assert agent.socket.stat().st_mode & 0o777 == 0o600
    assert agent.socket.parent.stat().st_mode & 0o777 == 0o700
    agent.terminate()
    assert not agent.socket.exists()


def test_a_second_agent_at_the_same_socket_fails_and_the_first_continues(agent: AgentProcess, client: Agent) -> None:
    second = agent.run("run")
    assert second.returncode == 1
    assert str(agent.socket) in second.stderr
    assert client.hello()["pid"] == agent.process.pid


def test_only_one_of_several_agents_started_at_once_runs(provider: OpenIDProvider) -> None:
    with AgentProcess({"work": account(provider)}) as first:
        first.kill()
        with ExitStack() as stack:
            rivals = [stack.enter_context(AgentProcess(environment=first.environment, started=False)) for _ in range(6)]
            for rival in rivals:
                rival.spawn()
            until(lambda: sum(rival.process.poll() is None for rival in rivals) == 1)
            until(first.socket.exists)
            (winner,) = [rival for rival in rivals if rival.process.poll() is None]
            with first.client() as client:
                assert client.hello()["pid"] == winner.process.pid
            assert [rival.process.wait() for rival in rivals if rival is not winner] == [1] * 5


def test_the_socket_of_a_killed_agent_is_taken_over(agent: AgentProcess) -> None:
    agent.kill()
    assert agent.socket.exists()
    agent.start()
    with agent.client() as client:
        assert client.hello()["pid"] == agent.process.pid


@pytest.mark.parametrize("what", ["a file", "a symbolic link", "somebody else's socket"])
def test_a_file_that_is_not_the_agents_socket_is_left_alone(what: str, agent: AgentProcess) -> None:
    agent.terminate()
    foreign = socket.socket(socket.AF_UNIX)
    if what == "a file":
        agent.socket.write_text("precious")
    elif what == "a symbolic link":
        agent.socket.symlink_to(agent.config)
    else:
        foreign.bind(str(agent.socket))
        foreign.listen()
    before = agent.socket.lstat()
    result = agent.run("run")
    foreign.close()
    assert result.returncode == 1
    assert str(agent.socket) in result.stderr
    assert (agent.socket.lstat().st_ino, agent.socket.lstat().st_mode) == (before.st_ino, before.st_mode)


def test_an_agent_does_not_start_if_others_can_enter_the_directory(agent: AgentProcess) -> None:
    agent.terminate()
    agent.socket.parent.chmod(0o755)
    result = agent.run("run")
    assert result.returncode == 1
    assert f"chmod 700 {agent.socket.parent}" in result.stderr


def test_a_mistake_in_the_configuration_is_reported_with_its_line(agent: AgentProcess) -> None:
    agent.terminate()
    agent.config.write_text('[accounts.work]\nissuer = "https://acme.example/"\nclient_id = "x"\naudiense = "y"\n')
    result = agent.run("run")
    assert result.returncode == 1
    assert f"{agent.config}:4: accounts.work.audiense: " in result.stderr


def test_a_reload_of_a_wrong_configuration_changes_nothing(
    agent: AgentProcess, client: Agent, provider: OpenIDProvider
) -> None:
    log_in(client, provider)
    agent.config.write_text("[accounts.work]\nclient_id = 'x'\n")
    with pytest.raises(Misconfigured, match="issuer"):
        client.reload()
    agent.process.send_signal(signal.SIGHUP)
    agent.until_logged("reload error")
    assert client.token().access_token


def test_a_reload_returns_what_changed(agent: AgentProcess, client: Agent, provider: OpenIDProvider) -> None:
    own = account(provider)
    agent.configure({"work": {**own, "scope": "openid"}, "home": own})
    assert client.reload() == {"added": ["home"], "changed": ["work"], "removed": []}
    agent.configure({"home": own})
    agent.process.send_signal(signal.SIGHUP)
    agent.until_logged("reload .*removed=work")


def test_an_account_that_is_removed_and_added_again_has_its_session(
    agent: AgentProcess, client: Agent, provider: OpenIDProvider
) -> None:
    log_in(client, provider)
    good = client.token("work").access_token
    agent.configure({})
    client.reload()
    assert agent.run("token", "work").returncode == 1
    agent.configure({"work": account(provider)})
    client.reload()
    assert client.token("work").access_token == good


def test_a_session_is_not_refreshed_after_its_account_was_changed(
    start_provider: Callable[..., OpenIDProvider],
) -> None:
    provider, other = start_provider(access_token_lifetime=2), start_provider()
    accounts = {"work": account(provider), "witness": account(provider, "second-app")}
    with AgentProcess(accounts) as agent, agent.client() as client:
        log_in(client, provider, "work")
        log_in(client, provider, "witness", client_id="second-app")
        for change in ({"issuer": other.issuer}, {"client_id": "someone-else"}):
            agent.configure({**accounts, "work": {**accounts["work"], **change}})
            client.reload()
            until(lambda: record(client, "work")["renewal"] != "running")
            provider.reset()
            # As long as the witness is refreshed three times, the other session would have been too.
            until(lambda: len(provider.requests(provider.token_path)) >= 3)
            with pytest.raises(LoginRequired) as raised:
                client.token("work")
            assert raised.value.reason == "account_changed"
            with pytest.raises(LoginRequired):
                client.refresh("work")
            assert {request.client_id for request in provider.requests(provider.token_path)} == {"second-app"}
            assert other.requests() == []
        agent.configure(accounts)
        client.reload()
        until(lambda: is_served(client, provider))


def test_the_agents_memory_can_not_be_read_or_dumped(agent: AgentProcess) -> None:
    limits = Path(f"/proc/{agent.process.pid}/limits").read_text()
    assert re.search(r"Max core file size +0 +0", limits)
    # In the eyes of /proc a process that isn't dumpable belongs to root, and its memory to nobody else.
    reader = subprocess.run(
        ["python3", "-c", f"open('/proc/{agent.process.pid}/mem', 'rb')"],
        capture_output=True,
        text=True,
        check=False,
        user=UNPRIVILEGED if os.geteuid() == 0 else None,
    )
    assert "PermissionError" in reader.stderr


def test_an_endless_name_lookup_does_not_delay_the_agents_end() -> None:
    # What a resolver does on a network that swallows its questions.
    launcher = (
        "import socket, sys, time; sys.argv[0] = 'auth-agent'\n"
        "socket.getaddrinfo = lambda *_, **__: (print('looked up', file=sys.stderr, flush=True), time.sleep(60))\n"
        "from auth_agent.cli import main; sys.exit(main())"
    )
    accounts = {"work": {"issuer": "https://acme.example/", "client_id": "x"}}
    with AgentProcess(accounts, command=(sys.executable, "-c", launcher)) as agent:
        waiting = threading.Thread(target=agent.run, args=("import",), kwargs={"stdin": "some-token"})
        waiting.start()
        agent.until_logged("looked up")
        start = time.monotonic()
        assert agent.terminate() == 0
        assert time.monotonic() - start < ENDS_WITHIN
        waiting.join()
