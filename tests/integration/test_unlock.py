"""Sessions in a sealed file: what unlocks it, and what restarts, crashes, damage and old copies do to them."""

import json
import os
from collections.abc import Callable, Generator
from contextlib import ExitStack
from pathlib import Path

import anyio
import pytest

from auth_agent.host.machine import machine_digest
from auth_agent.worker import sealed_files
from auth_agent_client import Agent, Denied, InvalidRequest, Locked, LoginRequired, Unavailable, Unsupported
from auth_agent_client.aio import AsyncAgent
from tests.integration.agent_process import COMMAND, AgentProcess, until
from tests.integration.conftest import account, log_in, record
from tests.integration.terminal import Terminal
from tests.op.provider import OpenIDProvider

PASSPHRASE = "correct horse"
UNLOCK = ("auth-agent", "unlock")


@pytest.fixture
def start_agent(provider: OpenIDProvider) -> Generator[Callable[..., AgentProcess], None, None]:
    """Starts agents that keep their sessions in a sealed file."""
    with ExitStack() as stack:

        def start(*names: str, **environment: str) -> AgentProcess:
            accounts = {name: account(provider) for name in names or ("work",)}
            return stack.enter_context(AgentProcess(accounts, environment=environment, store="file"))

        yield start


@pytest.fixture
def sealed(start_agent: Callable[..., AgentProcess]) -> AgentProcess:
    return start_agent()


@pytest.fixture
def ready(sealed: AgentProcess, provider: OpenIDProvider) -> AgentProcess:
    """One that is unlocked and logged in."""
    with sealed.client() as client:
        client.unlock(PASSPHRASE)
        log_in_at(client, provider)
    return sealed


def log_in_at(client: Agent, provider: OpenIDProvider, name: str = "work") -> None:
    """Log in once the account has been read, and wait until the session is saved."""
    until(lambda: record(client, name).state != "locked")
    log_in(client, provider, name)
    until(lambda: record(client, name).saved)


def state_of(agent: AgentProcess) -> Path:
    return agent.home / ".local" / "state" / "auth-agent"


def record_of(agent: AgentProcess, name: str = "work") -> Path:
    (found,) = (state_of(agent) / "sealed").glob(f"{name}.*.sealed")
    return found


def restart_after_kill(agent: AgentProcess) -> None:
    agent.kill()
    agent.start()


# ---- what unlocks it


def test_everything_is_locked_until_the_passphrase_comes_and_says_what_helps(sealed: AgentProcess) -> None:
    with sealed.client() as client:
        for ask in (client.token, client.refresh, client.profile, client.id_token, client.login):
            with pytest.raises(Locked, match="work: the sealed file has no passphrase yet") as caught:
                ask("work")
            assert [item.command for item in caught.value.remedy] == [UNLOCK]
        store = client.status().agent.store
        assert (store.name, store.state, store.takes_passphrase, store.new) == ("file", "locked", True, True)
        assert client.unlock(PASSPHRASE).created is True
        until(lambda: record(client).state == "logged_out")
        store = client.status().agent.store
        assert (store.state, store.problem, store.new) == ("ready", None, False)


def test_each_guess_of_a_passphrase_takes_128_mib(provider: OpenIDProvider) -> None:
    # Executed: workers that are forked for the tests take less.
    with AgentProcess({"work": account(provider)}, store="file", executed=True) as agent, agent.client() as client:
        for created in (True, False):
            result = client.unlock(PASSPHRASE)
            assert (result.created, result.memory, result.weak) == (created, 128, False)


def test_after_a_crash_the_session_is_there_once_it_is_unlocked(ready: AgentProcess) -> None:
    with ready.client() as client:
        token = client.token("work").access_token
    restart_after_kill(ready)
    with ready.client() as client:
        with pytest.raises(Locked, match="the sealed file is locked"):
            client.token("work")
        with pytest.raises(Denied, match="the passphrase is wrong"):
            client.unlock("wrong")
        assert record(client).state == "locked"
        assert client.unlock(PASSPHRASE).created is False
        assert client.token("work").access_token == token
        client.refresh("work")
        until(lambda: record(client).saved)
    restart_after_kill(ready)
    with ready.client() as client:
        client.unlock(PASSPHRASE)
        assert client.refresh("work").access_token


def test_it_can_be_unlocked_without_any_account(
    start_agent: Callable[..., AgentProcess],
) -> None:
    agent = start_agent()
    agent.configure({})
    with agent.client() as client:
        client.reload()
        assert client.status().agent.store.state == "locked"
        client.unlock(PASSPHRASE)
        assert client.status().agent.store.state == "ready"


def test_one_passphrase_is_checked_at_a_time(sealed: AgentProcess) -> None:
    async def guess(outcomes: list[str]) -> None:
        async with AsyncAgent(str(sealed.socket)) as agent:
            try:
                await agent.unlock("wrong")
            except (Denied, Unavailable) as error:
                outcomes.append(error.code)

    async def guess_at_once(outcomes: list[str]) -> None:
        async with anyio.create_task_group() as tasks:
            for _ in range(8):
                tasks.start_soon(guess, outcomes)

    outcomes: list[str] = []
    with sealed.client() as client:
        client.unlock(PASSPHRASE)
        anyio.run(guess_at_once, outcomes)
        assert outcomes.count("unavailable") >= 1
        assert {*outcomes} == {"denied", "unavailable"}
        assert client.unlock(PASSPHRASE).created is False


def test_a_store_without_a_passphrase_needs_no_unlock(agent: AgentProcess) -> None:
    with agent.client() as client:
        assert client.unlock(PASSPHRASE).created is False
        assert client.status().agent.store.takes_passphrase is False


@pytest.mark.parametrize("passphrase", ["", "x" * 257, b"bytes", None])
def test_what_can_not_be_a_passphrase_is_an_error_of_the_request(sealed: AgentProcess, passphrase: object) -> None:
    with sealed.client() as client, pytest.raises(InvalidRequest) as caught:
        client.call("unlock", {"passphrase": passphrase})
    assert caught.value.parameter == "passphrase"


def test_the_passphrase_is_in_no_log(ready: AgentProcess) -> None:
    with ready.client() as client, pytest.raises(Denied):
        client.unlock("wrong battery")
    ready.until_logged(r"unlocked created=True memory=\d+MiB")
    ready.until_logged("unlock refused='the passphrase is wrong'")
    assert not ready.logged("horse|battery")


# ---- the command


def test_the_first_time_a_person_types_the_passphrase_twice(sealed: AgentProcess) -> None:
    with Terminal([*COMMAND, "unlock"], sealed.environment) as terminal:
        terminal.until(r"nobody can open the file\s+without it")
        terminal.until("Passphrase: ")
        terminal.type("correct horse\n")
        terminal.until("Passphrase again: ")
        terminal.type("correct hoarse\n")
        terminal.until("do not match")
        for prompt in ("match(?s:.*)Passphrase: ", "match(?s:.*)Passphrase again: "):
            terminal.until(prompt)
            terminal.type("correct horse\n")
        assert terminal.end() == 0
        assert "Sealed with this passphrase from now on." in terminal.shown
        assert "horse" not in terminal.shown


def test_a_person_may_mistype_it(ready: AgentProcess) -> None:
    restart_after_kill(ready)
    with Terminal([*COMMAND, "unlock"], ready.environment) as terminal:
        terminal.until("Passphrase: ")
        terminal.type("wrong\n")
        terminal.until("The passphrase is wrong. Try again.(?s:.*)Passphrase: ")
        terminal.type("correct horse\n")
        assert terminal.end() == 0
        assert "Unlocked." in terminal.shown


def test_a_program_passes_it_by_a_descriptor(ready: AgentProcess) -> None:
    restart_after_kill(ready)
    for text, code in (("wrong\n", 6), ("correct horse \n", 6)):
        assert ready.run("unlock", "--passphrase-fd", "0", stdin=text).returncode == code
    result = ready.run("unlock", "--passphrase-fd", "0", stdin="\n")
    assert (result.returncode, "has no passphrase" in result.stderr) == (2, True)
    result = ready.run("unlock")
    assert (result.returncode, "pass it with --passphrase-fd" in result.stderr) == (2, True)
    for text in ("correct horse\n", "correct horse"):
        assert ready.run("unlock", "--passphrase-fd", "0", stdin=text).returncode == 0
        restart_after_kill(ready)


def test_what_is_unlocked_needs_no_passphrase(ready: AgentProcess) -> None:
    result = ready.run("unlock")
    assert (result.returncode, "The agent is not locked." in result.stderr) == (0, True)


def test_a_file_without_its_header_is_not_called_new(ready: AgentProcess) -> None:
    ready.kill()
    header = state_of(ready) / "sealed" / "store.json"
    content = header.read_bytes()
    header.unlink()
    ready.start()
    result = ready.run("unlock", "--passphrase-fd", "0", stdin=PASSPHRASE)
    assert (result.returncode, "is missing" in result.stderr) == (6, True)
    assert "put back a copy" in result.stderr
    status = ready.run("status").stdout
    assert "is missing" in " ".join(status.split())
    assert "choose its passphrase" not in status
    header.write_bytes(content)
    assert ready.run("unlock", "--passphrase-fd", "0", stdin=PASSPHRASE).returncode == 0
    assert ready.run("token", "work").returncode == 0


def test_a_command_says_what_unlocks_it(ready: AgentProcess) -> None:
    restart_after_kill(ready)
    result = ready.run("token", "work")
    assert result.returncode == 6
    assert "unlock it: auth-agent unlock" in result.stderr
    status = ready.run("status").stdout
    assert "sessions are kept in a sealed file" in status
    assert "the sealed file is locked" in status


# ---- another passphrase


def test_another_passphrase_opens_the_file_and_the_old_one_does_not(ready: AgentProcess) -> None:
    with ready.client() as client:
        token = client.token("work").access_token
        with pytest.raises(Denied):
            client.change_passphrase("wrong", "battery staple")
        client.change_passphrase(PASSPHRASE, "battery staple")
        client.refresh("work")
        until(lambda: record(client).saved)
    restart_after_kill(ready)
    with ready.client() as client:
        with pytest.raises(Locked):
            client.change_passphrase("battery staple", "another")
        with pytest.raises(Denied):
            client.unlock(PASSPHRASE)
        client.unlock("battery staple")
        assert client.token("work").access_token != token
    assert not ready.logged("staple|horse")


def test_a_person_changes_the_passphrase(ready: AgentProcess) -> None:
    with Terminal([*COMMAND, "store", "passphrase"], ready.environment) as terminal:
        terminal.until("Passphrase: ")
        terminal.type(f"{PASSPHRASE}\n")
        for prompt in ("New passphrase: ", "New passphrase again: "):
            terminal.until(prompt)
            terminal.type("new\n")
        assert terminal.end() == 0
        assert "The passphrase is changed." in terminal.shown
    restart_after_kill(ready)
    assert ready.run("unlock", "--passphrase-fd", "0", stdin="new\n").returncode == 0


def test_a_store_without_a_passphrase_has_none_to_change(agent: AgentProcess) -> None:
    with agent.client() as client, pytest.raises(Unsupported):
        client.change_passphrase("old", "new")
    result = agent.run("store", "passphrase", "--passphrase-fd", "0", "--new-passphrase-fd", "0", stdin="x")
    assert (result.returncode, "no passphrase" in result.stderr) == (1, True)


# ---- a service's credential


def test_the_service_managers_credential_unlocks_it_at_the_start(
    start_agent: Callable[..., AgentProcess], tmp_path: Path, provider: OpenIDProvider
) -> None:
    (tmp_path / "auth-agent-passphrase").write_text(f"{PASSPHRASE}\n")
    agent = start_agent(CREDENTIALS_DIRECTORY=str(tmp_path))
    with agent.client() as client:
        log_in_at(client, provider)
        token = client.token("work").access_token
    restart_after_kill(agent)
    with agent.client() as client:
        until(lambda: record(client).state == "ready")
        assert client.token("work").access_token == token
        assert client.unlock(PASSPHRASE).created is False


@pytest.mark.parametrize(
    ("content", "problem"), [(b"wrong", "the passphrase is wrong"), (b"\xff", "is not UTF-8"), (b"", "empty")]
)
def test_a_wrong_credential_is_logged_and_the_file_stays_locked(
    ready: AgentProcess, tmp_path: Path, content: bytes, problem: str
) -> None:
    (tmp_path / "auth-agent-passphrase").write_bytes(content)
    ready.environment["CREDENTIALS_DIRECTORY"] = str(tmp_path)
    restart_after_kill(ready)
    ready.until_logged(f"credential name=auth-agent-passphrase error=.*{problem}")
    with ready.client() as client:
        assert record(client).state == "locked"
        client.unlock(PASSPHRASE)
        until(lambda: record(client).state == "ready")


# ---- damage, and old copies


def test_a_damaged_record_costs_its_own_session_only(
    start_agent: Callable[..., AgentProcess], provider: OpenIDProvider
) -> None:
    agent = start_agent("work", "home")
    with agent.client() as client:
        client.unlock(PASSPHRASE)
        for name in ("work", "home"):
            log_in_at(client, provider, name)
    agent.kill()
    data = bytearray(record_of(agent).read_bytes())
    data[data.index(b'"sealed":"') + 30] ^= 1
    record_of(agent).write_bytes(data)
    agent.start()
    with agent.client() as client:
        client.unlock(PASSPHRASE)
        assert client.token("home").access_token
        with pytest.raises(LoginRequired, match=r"work\.\w+\.sealed is damaged") as caught:
            client.token("work")
        assert caught.value.failure == "store_failed"
        log_in_at(client, provider)
        assert client.token("work").access_token
    restart_after_kill(agent)
    with agent.client() as client:
        client.unlock(PASSPHRASE)
        assert client.token("work").access_token


def test_a_damaged_header_is_told_from_a_wrong_passphrase(ready: AgentProcess) -> None:
    ready.kill()
    header = state_of(ready) / "sealed" / "store.json"
    whole = header.read_bytes()
    header.write_bytes(whole.replace(b'"salt":"', b'"salt":"A', 1))
    ready.start()
    result = ready.run("unlock", "--passphrase-fd", "0", stdin=PASSPHRASE)
    assert result.returncode == 6
    assert "store.json is damaged" in result.stderr
    header.write_bytes(whole)
    assert ready.run("unlock", "--passphrase-fd", "0", stdin=PASSPHRASE).returncode == 0


def test_an_old_copy_is_not_sent_from(ready: AgentProcess, provider: OpenIDProvider) -> None:
    old = record_of(ready).read_bytes()
    with ready.client() as client:
        client.refresh("work")
        until(lambda: record(client).saved)
    ready.kill()
    newest = record_of(ready).read_bytes()
    record_of(ready).write_bytes(old)
    ready.start()
    sent = len(provider.requests(grant_type="refresh_token"))
    with ready.client() as client:
        client.unlock(PASSPHRASE)
        with pytest.raises(LoginRequired, match="an older copy") as caught:
            client.token("work")
        assert [item.command[1:] for item in caught.value.remedy] == [("login", "work"), ("store", "adopt")]
        with pytest.raises(LoginRequired):
            client.refresh("work")
    assert len(provider.requests(grant_type="refresh_token")) == sent
    assert "store adopt" in ready.run("status").stdout
    ready.kill()
    record_of(ready).write_bytes(newest)  # it was not changed
    ready.start()
    with ready.client() as client:
        client.unlock(PASSPHRASE)
        assert client.token("work").access_token


def test_a_logout_while_it_is_locked_holds_once_it_is_unlocked(ready: AgentProcess) -> None:
    restart_after_kill(ready)
    with ready.client() as client:
        client.logout("work")
        client.unlock(PASSPHRASE)
        until(lambda: not [*(state_of(ready) / "sealed").glob("work.*")])
        assert record(client).state == "logged_out"


def test_a_second_agent_with_the_same_files_does_not_start(ready: AgentProcess) -> None:
    with AgentProcess(store="file", started=False) as other:
        other.environment["HOME"] = ready.environment["HOME"]
        result = other.run("run", "--store", "file")
        assert result.returncode == 1
        assert f"process {ready.process.pid}" in result.stderr
        assert os.path.exists(ready.socket)  # noqa: PTH110 -- a string


def test_a_copy_is_used_once_a_person_says_so(ready: AgentProcess, provider: OpenIDProvider) -> None:
    """The journal is older, too, so that only the note of counters tells that it is a copy."""
    ready.kill()
    note = state_of(ready) / "sealed.json"
    note.unlink()
    ready.start()
    assert ready.run("store", "adopt").returncode == 6
    with ready.client() as client:
        client.unlock(PASSPHRASE)
        with pytest.raises(LoginRequired, match="older copy"):
            client.token("work")
        sent = len(provider.requests(grant_type="refresh_token"))
        assert ready.run("store", "adopt").stderr == "Adopted: work\n"
        assert client.token("work").access_token
        assert len(provider.requests(grant_type="refresh_token")) == sent
        assert client.refresh("work").access_token
        assert client.adopt() == ()


def test_a_refresh_token_that_was_replaced_is_not_sent_even_if_its_copy_is_adopted(
    ready: AgentProcess, provider: OpenIDProvider
) -> None:
    old = record_of(ready).read_bytes()
    with ready.client() as client:
        client.refresh("work")
        until(lambda: record(client).saved)
    ready.kill()
    record_of(ready).write_bytes(old)
    ready.start()
    sent = len(provider.requests(grant_type="refresh_token"))
    with ready.client() as client:
        client.unlock(PASSPHRASE)
        assert client.adopt() == ("work",)
        with pytest.raises(LoginRequired, match="has been replaced since"):
            client.token("work")
    assert len(provider.requests(grant_type="refresh_token")) == sent


@pytest.mark.skipif(not machine_digest(), reason="this machine has no id, so it compares none")
def test_a_session_that_another_machine_stored_is_used_once_a_person_says_so(
    ready: AgentProcess, provider: OpenIDProvider
) -> None:
    ready.kill()
    state = str(state_of(ready))
    opened = str(sealed_files.unlock(state, PASSPHRASE)["opened"])
    entry = json.loads(str(sealed_files.read(state, opened, "work")["entry"]))
    sealed_files.write(state, opened, "work", json.dumps({**entry, "machine": "f" * 64}))
    before = record_of(ready).read_bytes()
    ready.start()
    sent = len(provider.requests(grant_type="refresh_token"))
    with ready.client() as client:
        client.unlock(PASSPHRASE)
        with pytest.raises(LoginRequired, match="was written by another machine"):
            client.token("work")
        assert record_of(ready).read_bytes() == before
        assert client.adopt() == ("work",)
        until(lambda: record(client).saved)
        assert client.token("work").access_token
    assert record_of(ready).read_bytes() != before
    assert len(provider.requests(grant_type="refresh_token")) == sent
    restart_after_kill(ready)
    with ready.client() as client:
        client.unlock(PASSPHRASE)
        assert client.token("work").access_token
