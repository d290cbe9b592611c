"""`auth-agent lock` and `unlock`, with each store: who gets what in between, and where the sessions are."""

import re
import shutil
from collections.abc import Callable, Generator
from contextlib import ExitStack, closing
from pathlib import Path

import pytest

from auth_agent.worker import sealed_files
from auth_agent_client import Agent, Denied, InvalidRequest, Locked, Unsupported
from tests.integration.agent_process import COMMAND, AgentProcess, until
from tests.integration.conftest import account, log_in, record
from tests.integration.keyring_session import KeyringSession
from tests.integration.terminal import Terminal
from tests.op.provider import OpenIDProvider

PASSPHRASE = "correct horse"


@pytest.fixture
def start(provider: OpenIDProvider) -> Generator[Callable[..., AgentProcess], None, None]:
    """Starts an agent with the account `work`, logged in and saved."""
    with ExitStack() as stack:

        def start(store: str, keyring: KeyringSession | None = None) -> AgentProcess:
            environment = {} if keyring is None else keyring.environment
            process = AgentProcess({"work": account(provider)}, environment=environment, store=store)
            agent = stack.enter_context(process)
            with agent.client() as client:
                if store == "file":
                    client.unlock(PASSPHRASE)
                until(lambda: record(client).state != "locked")
                log_in(client, provider)
                until(lambda: record(client).saved)
            return agent

        yield start


@pytest.fixture
def keyring() -> Generator[KeyringSession, None, None]:
    with KeyringSession() as session:
        yield session


@pytest.fixture
def kept(start: Callable[..., AgentProcess], keyring: KeyringSession) -> AgentProcess:
    return start("keyring", keyring)


def assert_nothing_is_served(client: Agent) -> None:
    for ask in (client.token, client.refresh, client.profile, client.id_token, client.login, client.logout):
        with pytest.raises(Locked) as caught:
            ask("work")
        assert [item.command for item in caught.value.remedy] == [("auth-agent", "unlock")]
    with pytest.raises(Locked):
        client.has_valid("work")


def test_a_keyring_keeps_the_sessions_of_a_locked_agent(kept: AgentProcess, provider: OpenIDProvider) -> None:
    with kept.client() as client:
        token, requests = client.token("work").access_token, provider.count(provider.token_path)
        assert client.lock().pending == ()
        assert_nothing_is_served(client)
        status = client.status()
        assert (status.agent.locked, status.accounts[0].state) == (True, "locked")
        client.unlock()
        assert client.status().agent.lock is None
        assert client.token("work").access_token == token
        assert provider.count(provider.token_path) == requests
        assert client.refresh("work").access_token != token


def test_a_watching_client_sees_the_lock_and_the_unlock(kept: AgentProcess) -> None:
    with kept.client() as client, closing(client.watch()) as changes:
        assert next(changes).state == "ready"
        client.lock(keep_alive=True)
        assert next(changes).state == "locked"
        client.unlock()
        assert next(changes).state == "ready"


def test_what_a_locked_keyring_lacks_stays_in_memory_until_it_is_unlocked(
    kept: AgentProcess, keyring: KeyringSession
) -> None:
    with kept.client() as client:
        keyring.lock()
        client.refresh("work")
        assert client.lock().pending == ("work",)
        assert_nothing_is_served(client)
        shown = kept.run("status").stdout
        assert re.search(r"locked\s+serves nobody; not in the store yet, and so in memory: work", shown)
        keyring.unlock()
        until(lambda: (lock := client.status().agent.lock) is not None and lock.pending == ())
        client.unlock()
        assert client.refresh("work").access_token


def test_the_next_agent_is_not_locked(kept: AgentProcess) -> None:
    with kept.client() as client:
        token = client.token("work").access_token
        client.lock(PASSPHRASE)
    kept.kill()
    kept.start()
    with kept.client() as client:
        assert client.token("work").access_token == token


def test_memory_is_sealed_by_the_passphrase(start: Callable[..., AgentProcess]) -> None:
    agent = start("memory")
    with agent.client() as client:
        token = client.token("work").access_token
        with pytest.raises(Unsupported):
            client.lock()
        assert client.lock(PASSPHRASE).pending == ()
        assert_nothing_is_served(client)
        with pytest.raises(Denied):
            client.unlock("wrong")
        with pytest.raises(InvalidRequest):
            client.unlock()
        client.unlock(PASSPHRASE)
        assert client.token("work").access_token == token
        assert client.refresh("work").access_token
    assert not agent.logged("horse")


@pytest.mark.parametrize("keep_alive", [False, True])
def test_a_sealed_file_is_unlocked_by_its_own_passphrase(
    start: Callable[..., AgentProcess], *, keep_alive: bool
) -> None:
    agent = start("file")
    with agent.client() as client:
        token = client.token("work").access_token
        with pytest.raises(InvalidRequest):
            client.lock("another")
        client.lock(keep_alive=keep_alive)
        assert_nothing_is_served(client)
        with pytest.raises(Locked):
            client.adopt()
        with pytest.raises(InvalidRequest):
            client.unlock()
        with pytest.raises(Denied):
            client.unlock("wrong")
        client.unlock(PASSPHRASE)
        assert client.token("work").access_token == token


@pytest.mark.parametrize("change", ["another file", "no file"])
def test_another_file_in_the_place_of_the_sealed_one_unlocks_nothing(
    start: Callable[..., AgentProcess], tmp_path: Path, change: str
) -> None:
    agent = start("file")
    state = agent.home / ".local" / "state" / "auth-agent"
    with agent.client() as client:
        client.lock(keep_alive=True)
        if change == "another file":
            sealed_files.unlock(str(tmp_path), "another")
            shutil.copy(tmp_path / "sealed" / "store.json", state / "sealed" / "store.json")
        else:
            shutil.rmtree(state / "sealed")
            (state / "sealed.json").unlink()
        with pytest.raises(Denied):
            client.unlock("another")
        assert_nothing_is_served(client)
        client.unlock(PASSPHRASE)
        assert client.token("work").access_token


def test_long_profiles_are_no_obstacle(start: Callable[..., AgentProcess], provider: OpenIDProvider) -> None:
    agent = start("memory")
    provider.change_user("auth0|alice", claims={"note": "\u00e9" * 100_000})
    with agent.client() as client:
        client.profile("work", max_age=0)
        assert client.lock(PASSPHRASE).pending == ()
        client.unlock(PASSPHRASE)
        assert client.refresh("work").access_token


# ---- the commands


def test_a_person_locks_and_unlocks_with_a_passphrase(kept: AgentProcess) -> None:
    with Terminal([*COMMAND, "lock", "--passphrase"], kept.environment) as terminal:
        for prompt in ("Passphrase: ", "Passphrase again: "):
            terminal.until(prompt)
            terminal.type(f"{PASSPHRASE}\n")
        assert terminal.end() == 0
        assert "Locked." in terminal.shown
        assert "Nothing is refreshed meanwhile" in terminal.shown
    result = kept.run("token", "work")
    assert (result.returncode, result.stdout) == (6, "")
    assert "work: the agent is locked" in result.stderr
    assert "unlock it: auth-agent unlock" in result.stderr
    assert re.search(r"locked\s+serves nobody, and has no secret in memory", kept.run("status").stdout)
    with Terminal([*COMMAND, "unlock"], kept.environment) as terminal:
        terminal.until("Passphrase: ")
        terminal.type("wrong\n")
        terminal.until("The passphrase is wrong. Try again.(?s:.*)Passphrase: ")
        terminal.type(f"{PASSPHRASE}\n")
        assert terminal.end() == 0
    assert kept.run("token", "work").returncode == 0


def test_without_a_passphrase_no_question_is_asked(kept: AgentProcess) -> None:
    assert kept.run("lock", "--keep-alive").returncode == 0
    assert re.search(r"locked\s+serves nobody; sessions are refreshed", kept.run("status").stdout)
    result = kept.run("lock")
    assert "To let them go, unlock it first." in " ".join(result.stderr.split())
    assert (result.returncode, "Locked already" in result.stderr, "refreshed" in result.stderr) == (0, True, False)
    result = kept.run("unlock")
    assert (result.returncode, "Unlocked." in result.stderr) == (0, True)
    result = kept.run("unlock")
    assert (result.returncode, "The agent is not locked." in result.stderr) == (0, True)


def test_a_program_passes_the_passphrase_by_a_descriptor(start: Callable[..., AgentProcess]) -> None:
    agent = start("memory")
    result = agent.run("lock")
    assert result.returncode == 1
    assert "auth-agent lock --passphrase" in result.stderr
    assert agent.run("lock", "--passphrase-fd", "0", stdin=f"{PASSPHRASE}\n").returncode == 0
    assert agent.run("unlock", "--passphrase-fd", "0", stdin="wrong\n").returncode == 6
    assert agent.run("unlock", "--passphrase-fd", "0", stdin=f"{PASSPHRASE}\n").returncode == 0
    assert agent.run("token", "work").returncode == 0


def test_two_sources_of_a_passphrase_are_an_error(start: Callable[..., AgentProcess]) -> None:
    agent = start("memory")
    result = agent.run("lock", "--passphrase", "--passphrase-fd", "0", stdin="x")
    assert (result.returncode, "not both" in result.stderr) == (2, True)


def test_a_passphrase_that_could_not_be_set_is_not_asked_for(start: Callable[..., AgentProcess]) -> None:
    agent = start("memory")
    agent.run("lock", "--keep-alive")
    with Terminal([*COMMAND, "lock", "--passphrase"], agent.environment) as terminal:
        assert terminal.end() != 0
        assert "the agent is locked" in terminal.shown
        assert "Passphrase" not in terminal.shown


def test_the_sealed_files_own_passphrase_is_enough(start: Callable[..., AgentProcess]) -> None:
    agent = start("file")
    result = agent.run("lock", "--passphrase")
    assert (result.returncode, "own passphrase" in result.stderr, "Locked." in result.stderr) == (0, True, True)
    assert agent.run("token", "work").returncode == 6
    assert agent.run("unlock", "--passphrase-fd", "0", stdin=PASSPHRASE).returncode == 0
