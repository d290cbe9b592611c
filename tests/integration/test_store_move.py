"""`auth-agent store move` with a real keyring and a real sealed file: the next agent needs no login."""

from collections.abc import Generator

import pytest

from auth_agent_client import Agent, Denied, InvalidRequest, Locked
from tests.integration.agent_process import COMMAND, AgentProcess, until
from tests.integration.conftest import account, log_in, record
from tests.integration.keyring_session import KeyringSession
from tests.integration.terminal import Terminal
from tests.op.provider import OpenIDProvider

PASSPHRASE = "correct horse"


@pytest.fixture
def keyring() -> Generator[KeyringSession, None, None]:
    with KeyringSession() as session:
        yield session


@pytest.fixture
def agent(provider: OpenIDProvider, keyring: KeyringSession) -> Generator[AgentProcess, None, None]:
    """An agent that was not told its store, with a session in the keyring."""
    with AgentProcess({"work": account(provider)}, environment=keyring.environment, store=None) as process:
        log_in_and_save(process, provider)
        yield process


def log_in_and_save(agent: AgentProcess, provider: OpenIDProvider) -> None:
    with agent.client() as client:
        until(lambda: record(client).state != "locked")
        log_in(client, provider)
        until(lambda: record(client).saved)


def restart_by_command(agent: AgentProcess) -> None:
    assert agent.run("restart").returncode == 0


def restart_after_kill(agent: AgentProcess) -> None:
    agent.kill()
    agent.start()


def store_of(client: Agent) -> str | None:
    return client.status().agent.store.name


@pytest.mark.parametrize("restart", [restart_by_command, restart_after_kill])
def test_sessions_move_to_the_file_and_back(
    agent: AgentProcess, keyring: KeyringSession, provider: OpenIDProvider, restart: object
) -> None:
    assert callable(restart)
    with agent.client() as client:
        token, requests = client.token("work").access_token, provider.count(provider.token_path)
        moved = client.move_store("file", PASSPHRASE)
        assert (moved.accounts, moved.left) == (("work",), ())
        assert (store_of(client), keyring.read()) == ("file", None)
        assert client.token("work").access_token == token
    restart(agent)
    with agent.client() as client:
        client.unlock(PASSPHRASE)
        assert (store_of(client), client.token("work").access_token) == ("file", token)
        client.move_store("keyring")
        assert keyring.read() is not None
        assert provider.count(provider.token_path) == requests
    restart(agent)
    with agent.client() as client:
        assert (store_of(client), client.token("work").access_token) == ("keyring", token)
        assert client.refresh("work").access_token
    sealed = agent.home / ".local" / "state" / "auth-agent" / "sealed"
    assert not list(sealed.glob("*.sealed"))


@pytest.mark.parametrize("restart", [restart_by_command, restart_after_kill])
def test_sessions_in_memory_can_be_kept(provider: OpenIDProvider, keyring: KeyringSession, restart: object) -> None:
    assert callable(restart)
    with AgentProcess({"work": account(provider)}, environment=keyring.environment) as agent:
        log_in_and_save(agent, provider)
        with agent.client() as client:
            client.move_store("keyring")
            token = client.token("work").access_token
        agent.store = None  # which the agent of a command, or a service, was told
        restart(agent)
        with agent.client() as client:
            assert (store_of(client), client.token("work").access_token) == ("keyring", token)


def test_a_move_that_can_not_be_done_changes_nothing(agent: AgentProcess, keyring: KeyringSession) -> None:
    with agent.client() as client:
        token, entry = client.token("work").access_token, keyring.read()
        for store, passphrase, parameter in (
            ("memory", None, "store"),
            ("keyring", None, "store"),
            ("file", None, "passphrase"),
        ):
            with pytest.raises(InvalidRequest) as caught:
                client.move_store(store, passphrase)
            assert caught.value.parameter == parameter
        state = agent.home / ".local" / "state" / "auth-agent"
        (state / "sealed").write_text("in the way")
        with pytest.raises(Locked):
            client.move_store("file", PASSPHRASE)
        (state / "sealed").unlink()
        client.lock(keep_alive=True)
        with pytest.raises(Locked):
            client.move_store("file", PASSPHRASE)
        client.unlock()
        assert (store_of(client), keyring.read()) == ("keyring", entry)
        assert client.token("work").access_token == token
        client.move_store("file", PASSPHRASE)
        client.move_store("keyring")
        with pytest.raises(Denied):
            client.move_store("file", "another")
        assert store_of(client) == "keyring"
        assert client.refresh("work").access_token


def test_a_store_that_another_agent_uses_is_not_taken(
    agent: AgentProcess, provider: OpenIDProvider, keyring: KeyringSession
) -> None:
    beside = AgentProcess({"work": account(provider)}, environment=keyring.environment, store="memory")
    with beside, beside.client() as client:
        with pytest.raises(Locked) as caught:
            client.move_store("keyring")
        assert str(agent.socket) in str([item.command for item in caught.value.remedy])
        assert store_of(client) == "memory"


def test_an_agent_beside_the_main_one_does_not_take_the_next_agents_store(
    agent: AgentProcess, provider: OpenIDProvider
) -> None:
    beside = AgentProcess({"work": account(provider)}, environment={"HOME": str(agent.home)}, store="memory")
    with beside, beside.client() as client:
        with pytest.raises(Locked):
            client.move_store("file", PASSPHRASE)
        assert store_of(client) == "memory"
    restart_by_command(agent)
    with agent.client() as client:
        assert store_of(client) == "keyring"


def test_a_person_moves_sessions(agent: AgentProcess) -> None:
    with Terminal([*COMMAND, "store", "move", "file"], agent.environment) as terminal:
        for prompt in ("without it.(?s:.*)Passphrase: ", "Passphrase again: "):
            terminal.until(prompt)
            terminal.type(f"{PASSPHRASE}\n")
        assert terminal.end() == 0
        assert "Moved to a sealed file: work" in terminal.shown
        assert "auth-agent unlock" in terminal.shown
    result = agent.run("store", "move", "file")
    assert (result.returncode, "there already" in result.stderr) == (0, True)
    result = agent.run("store", "move", "keyring")
    assert (result.returncode, "Moved to the system keyring" in result.stderr) == (0, True)
    with Terminal([*COMMAND, "store", "move", "file"], agent.environment) as terminal:
        terminal.until("Passphrase: ")
        terminal.type("wrong\n")
        terminal.until("The passphrase is wrong. Try again.(?s:.*)Passphrase: ")
        terminal.type(f"{PASSPHRASE}\n")
        assert terminal.end() == 0
    assert agent.run("store", "move", "keyring").returncode == 0
    result = agent.run("store", "move", "file", "--passphrase-fd", "0", stdin=f"{PASSPHRASE}\n")
    assert (result.returncode, "Moved to a sealed file: work" in result.stderr) == (0, True)
    result = agent.run("store", "move", "memory")
    assert result.returncode == 2
