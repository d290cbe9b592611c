"""Sessions in a real keyring: what restarts, crashes, freezes and other programs do to them."""

import hashlib
import json
import random
import shutil
import signal
import time
import tomllib
from collections.abc import Callable, Generator
from contextlib import ExitStack
from typing import Any

import pytest

from auth_agent.host.machine import machine_digest
from auth_agent.sessions.saver import READ_PATIENCE
from auth_agent_client import Agent, AgentError, InvalidRequest, Locked, LoginRequired, Timeout, Token, UnknownAccount
from tests.integration import conftest
from tests.integration.agent_process import PATIENCE, AgentProcess, until
from tests.integration.conftest import account, is_served, record
from tests.integration.keyring_session import KeyringSession
from tests.op.provider import HELD, OpenIDProvider, fingerprint


@pytest.fixture
def keyring() -> Generator[KeyringSession, None, None]:
    with KeyringSession() as session:
        yield session


@pytest.fixture
def start_agent(keyring: KeyringSession) -> Generator[Callable[..., AgentProcess], None, None]:
    """Starts agents that keep their sessions in that keyring."""
    with ExitStack() as stack:

        def start(provider: OpenIDProvider, *, started: bool = True) -> AgentProcess:
            accounts = {"work": account(provider)}
            environment = keyring.environment
            return stack.enter_context(
                AgentProcess(accounts, environment=environment, store="keyring", started=started)
            )

        yield start


def store(client: Agent) -> dict[str, Any]:
    about: Any = client.status()["agent"]
    result: dict[str, Any] = about["store"]
    return result


def assert_the_keyring_has_its_time(client: Agent) -> None:
    """Assert that nobody has waited for a keyring that hangs: it counts as failing after five seconds."""
    assert store(client)["state"] != "failing"


def log_in(client: Agent, provider: OpenIDProvider) -> None:
    """Log in, and wait until that is in the keyring: on a busy machine it may take longer than a client waits."""
    conftest.log_in(client, provider)
    until(lambda: record(client)["saved"] is True)


def refresh(client: Agent) -> Token:
    """Refresh, and wait likewise."""
    token = client.refresh("work")
    until(lambda: record(client)["saved"] is True)
    return token


def is_ready(client: Agent) -> bool:
    return record(client)["state"] == "ready"


def entry(keyring: KeyringSession, username: str = "work") -> dict[str, Any]:
    text = keyring.read(username)
    assert text is not None
    result: dict[str, Any] = json.loads(text)
    return result


# ---- restarts and crashes


def test_after_a_crash_the_same_token_is_served_without_the_provider(start_agent: Callable[..., AgentProcess]) -> None:
    with OpenIDProvider(access_token_lifetime=3600) as provider:
        agent = start_agent(provider)
        with agent.client() as client:
            log_in(client, provider)
            refresh(client)
            token, before = client.token("work"), record(client)
            assert before["saved"] is True
        agent.kill()
    agent.start()
    with agent.client() as client:
        again = client.token("work")
        assert (again.access_token, again.expires_at) == (token.access_token, token.expires_at)
        after = record(client)
        same = ("issuer", "subject", "name", "state", "saved", "expires_at", "last_refresh_at", "refreshes", "epoch")
        assert {key: after[key] for key in same} == {key: before[key] for key in same}
        assert store(client)["state"] == "ready"


@pytest.mark.skipif(not machine_digest(), reason="this machine has no id, so it compares none")
def test_a_session_that_another_machine_stored_is_used_only_once_a_person_says_so(
    start_agent: Callable[..., AgentProcess], keyring: KeyringSession
) -> None:
    with OpenIDProvider(access_token_lifetime=3600) as provider:
        agent = start_agent(provider)
        with agent.client() as client:
            assert client.adopt() == ()
            log_in(client, provider)
        agent.kill()
        own = entry(keyring)["machine"]
        keyring.write(json.dumps({**entry(keyring), "machine": "f" * 64}))
        before = entry(keyring)
        agent.start()
        sent = len(provider.requests(grant_type="refresh_token"))
        with agent.client() as client:
            with pytest.raises(LoginRequired, match="was written by another machine") as caught:
                client.token("work")
            assert [item.command[1:] for item in caught.value.remedy] == [("login", "work"), ("store", "adopt")]
            with pytest.raises(LoginRequired):
                client.refresh("work")
            assert "store adopt" in agent.run("status").stdout
            assert entry(keyring) == before
            assert agent.run("store", "adopt").stderr == "Adopted: work\n"
            assert client.token("work").access_token
            until(lambda: entry(keyring)["machine"] == own)
            assert len(provider.requests(grant_type="refresh_token")) == sent
            assert client.refresh("work").access_token
            assert agent.run("store", "adopt").stderr == "There is no old copy, and none of another machine.\n"


@pytest.mark.parametrize("running", [True, False], ids=["the agent runs", "no agent runs"])
def test_a_session_is_there_under_its_account_s_new_name(
    running: bool, start_agent: Callable[..., AgentProcess], keyring: KeyringSession
) -> None:
    with OpenIDProvider(access_token_lifetime=3600) as provider:
        agent = start_agent(provider)
        with agent.client() as client:
            log_in(client, provider)
            token = client.token("work")
        if not running:
            agent.kill()
        result = agent.run("account", "rename", "work", "acme")
        assert result.returncode == 0, result.stderr
        if running:
            agent.kill()
        agent.start()
        with agent.client() as client:
            assert client.token("acme").access_token == token.access_token
            until(lambda: keyring.read("work") is None)
            until(lambda: record(client, "acme")["saved"] is True)
            assert client.refresh("acme").access_token != token.access_token
            with pytest.raises(UnknownAccount):
                client.token("work")
        assert entry(keyring, "acme")["account"] == "acme"


@pytest.mark.slow
def test_an_agent_that_is_killed_at_any_moment_of_a_rename_loses_no_session(
    start_agent: Callable[..., AgentProcess],
) -> None:
    seed = random.randrange(1 << 32)
    moments = random.Random(seed)
    with OpenIDProvider(access_token_lifetime=3600, overlap=30) as provider:
        agent, name, other = start_agent(provider), "work", "acme"
        with agent.client() as client:
            log_in(client, provider)
        for number in range(6):
            with agent.begin("account", "rename", name, other) as command:
                time.sleep(moments.uniform(0, 0.5))  # the moment of the crash, not a wait for anything
                agent.kill()
                command.process.wait(PATIENCE)
            agent.start()
            if other in tomllib.loads(agent.config.read_text())["accounts"]:
                name, other = other, name
            with agent.client() as client:
                assert client.token(name).access_token, f"round {number}, seed {seed}"
                assert client.refresh(name).access_token, f"round {number}, seed {seed}"
                until(lambda: record(client, name)["saved"] is True)  # noqa: B023 -- called at once


def test_no_session_is_renamed_while_an_agent_elsewhere_has_the_store(start_agent: Callable[..., AgentProcess]) -> None:
    with OpenIDProvider(access_token_lifetime=3600) as provider:
        agent = start_agent(provider)
        before = agent.config.read_text()
        agent.environment["AUTH_AGENT_SOCK"] = str(agent.home / "elsewhere.sock")
        result = agent.run("account", "rename", "work", "acme")
        assert result.returncode == 1
        assert "another agent" in result.stderr
        assert agent.config.read_text() == before
        agent.environment["AUTH_AGENT_SOCK"] = str(agent.socket)


@pytest.mark.slow
@pytest.mark.soak
def test_killed_at_random_moments_the_agent_keeps_its_session(
    start_agent: Callable[..., AgentProcess], request: pytest.FixtureRequest
) -> None:
    rounds = 50 if request.config.getoption("--soak") else 5
    seed = random.randrange(1 << 32)
    moments = random.Random(seed)
    with OpenIDProvider(access_token_lifetime=2, overlap=30) as provider:
        agent = start_agent(provider)
        with agent.client() as client:
            log_in(client, provider)
        for number in range(rounds):
            until_moment = time.monotonic() + moments.uniform(0, 1.5)
            with agent.client() as client:
                while time.monotonic() < until_moment:
                    is_served(client, provider)
            agent.kill()
            agent.start()
            with agent.client() as client:
                try:
                    until(lambda: is_served(client, provider))
                except (AssertionError, AgentError) as error:
                    error.add_note(f"seed {seed}, after kill {number}")
                    raise


def test_a_stop_waits_until_the_session_is_saved(
    keyring: KeyringSession, start_agent: Callable[..., AgentProcess]
) -> None:
    with OpenIDProvider(access_token_lifetime=3600) as provider:
        agent = start_agent(provider)
        with agent.client() as client:
            log_in(client, provider)
            keyring.freeze()
            token = client.refresh("work")
            until(lambda: record(client)["saved"] is False)
            agent.process.send_signal(signal.SIGTERM)
            agent.until_logged(" stopping ")
            keyring.thaw()
            assert agent.process.wait(PATIENCE) == 0
        assert entry_token(keyring) == token.access_token


def test_a_write_is_completed_though_the_agent_was_killed(
    keyring: KeyringSession, start_agent: Callable[..., AgentProcess]
) -> None:
    with OpenIDProvider(access_token_lifetime=3600) as provider:
        agent = start_agent(provider)
        with agent.client() as client:
            log_in(client, provider)
            before = entry_token(keyring)
            keyring.freeze()
            token = client.refresh("work")
        agent.kill()
        keyring.thaw()
        until(lambda: entry_token(keyring) != before)
        assert entry_token(keyring) == token.access_token
        agent.start()
        with agent.client() as client:
            assert client.token("work").access_token == token.access_token
            assert client.refresh("work").access_token != token.access_token
        assert tokens_granted_twice(provider) == []


def test_an_ended_session_stays_ended_after_a_restart(
    keyring: KeyringSession, start_agent: Callable[..., AgentProcess], provider: OpenIDProvider
) -> None:
    agent = start_agent(provider)
    with agent.client() as client:
        log_in(client, provider)
        provider.fault("status", status=403, body={"error": "invalid_grant"})
        with pytest.raises(LoginRequired):
            client.refresh("work")
        over = record(client)
        assert over["state"] == "login_required"
        until(lambda: refresh_token(keyring) is None)
    agent.kill()
    agent.start()
    with agent.client() as client:
        with pytest.raises(LoginRequired, match="invalid_grant"):
            client.token("work")
        same = ("state", "reason", "subject", "name")
        assert {key: record(client)[key] for key in same} == {key: over[key] for key in same}


def test_a_logout_is_completed_after_the_keyring_hung(
    keyring: KeyringSession, start_agent: Callable[..., AgentProcess], provider: OpenIDProvider
) -> None:
    agent = start_agent(provider)
    with agent.client() as client:
        log_in(client, provider)
        keyring.freeze()
        assert client.logout("work").revoked
        assert_the_keyring_has_its_time(client)
    agent.kill()
    keyring.thaw()
    # Whatever the killed agent's worker came to: the entry may be there still, and is put back if not.
    agent.start()
    with agent.client() as client:
        until(lambda: record(client)["state"] == "logged_out")
        # That worker may still be at it, and the next one's attempts come further and further apart.
        until(lambda: record(client)["saved"] is True, 2 * PATIENCE)
        assert keyring.read() is None
        log_in(client, provider)
        assert record(client)["saved"] is True
    agent.kill()
    agent.start()
    with agent.client() as client:
        until(lambda: is_ready(client))


def test_an_agent_killed_during_a_refresh_refreshes_after_its_start(
    keyring: KeyringSession, start_agent: Callable[..., AgentProcess]
) -> None:
    with OpenIDProvider(access_token_lifetime=3600, overlap=60) as provider:
        agent = start_agent(provider)
        with agent.client() as client:
            log_in(client, provider)
            old, presented = client.token("work").access_token, refresh_token(keyring)
            assert presented is not None
            provider.fault("delay-after", ms=10_000, grant_type="refresh_token")
            with pytest.raises(Timeout):
                client.refresh("work", timeout=0.1)
            until(lambda: len(provider.requests(provider.token_path, "refresh_token")) == 2)
        agent.kill()
        provider.fault("delay", ms=HELD, grant_type="refresh_token")
        agent.start()
        with agent.client() as client:
            assert client.token("work").access_token == old
            provider.release()
            until(lambda: client.token("work").access_token != old)
            assert record(client)["saved"] is True
        assert provider.ledger()[fingerprint(presented)].presented == 2


def test_a_token_from_the_future_is_not_served(
    keyring: KeyringSession, start_agent: Callable[..., AgentProcess], provider: OpenIDProvider
) -> None:
    agent = start_agent(provider)
    with agent.client() as client:
        log_in(client, provider)
        old = client.token("work").access_token
    agent.kill()
    content = entry(keyring)
    content["token"]["obtained_at"] += 3600  # the clock was ahead when it was obtained, or is behind now
    keyring.write(json.dumps(content))
    agent.start()
    with agent.client() as client:
        assert client.token("work").access_token != old


def test_the_session_of_another_client_id_is_never_used(
    start_agent: Callable[..., AgentProcess], provider: OpenIDProvider
) -> None:
    agent = start_agent(provider)
    with agent.client() as client:
        log_in(client, provider)
    agent.kill()
    provider.reset()
    agent.configure({"work": account(provider, "second-app")})
    agent.start()
    with agent.client() as client:
        with pytest.raises(LoginRequired) as raised:
            client.token("work")
        assert raised.value.reason == "account_changed"
        assert provider.requests(provider.token_path) == []
        agent.configure({"work": account(provider)})
        client.reload()
        assert client.token("work").account == "work"


def test_an_account_that_is_added_again_has_its_session(
    start_agent: Callable[..., AgentProcess], provider: OpenIDProvider
) -> None:
    agent = start_agent(provider)
    with agent.client() as client:
        log_in(client, provider)
        token = client.token("work").access_token
    agent.kill()
    agent.configure({"home": account(provider)})
    agent.start()
    with agent.client() as client:
        agent.configure({"home": account(provider), "work": account(provider)})
        client.reload()
        assert client.token("work").access_token == token


# ---- a keyring in trouble


def test_a_keyring_that_freezes_during_a_refresh_delays_clients_by_a_second_at_most(
    keyring: KeyringSession, start_agent: Callable[..., AgentProcess]
) -> None:
    with OpenIDProvider(access_token_lifetime=3600) as provider:
        agent = start_agent(provider)
        with agent.client() as client, agent.client() as other:
            log_in(client, provider)
            old = client.token("work").access_token
            client.reload()  # the connections are open, and the worker is awake
            keyring.freeze()
            token = client.refresh("work")
            assert token.access_token != old
            assert_the_keyring_has_its_time(client)
            assert other.token("work").access_token == token.access_token
            assert record(client)["saved"] is False
            refreshes = record(client)["refreshes"]
            # Longer than the worker's limit: it is killed, and another one hangs.
            until(lambda: store(client)["state"] == "failing")
            assert record(client)["saved"] is False
            keyring.thaw()
            until(lambda: record(client)["saved"] is True)
            assert record(client)["refreshes"] == refreshes
            assert store(client)["problem"] is None
        assert entry_token(keyring) == token.access_token
        assert len(provider.requests(provider.token_path, "refresh_token")) == 2  # the import's, and the one


def test_a_keyring_that_hangs_does_not_delay_the_start(
    keyring: KeyringSession, start_agent: Callable[..., AgentProcess], provider: OpenIDProvider
) -> None:
    agent = start_agent(provider)
    with agent.client() as client:
        log_in(client, provider)
    agent.kill()
    keyring.freeze()
    agent.start()
    with agent.client() as client:
        assert record(client)["state"] == "locked"
        assert_the_keyring_has_its_time(client)
        with pytest.raises(Locked):
            client.token("work")
        keyring.thaw()
        until(lambda: is_ready(client))


def test_a_locked_keyring_is_reported_at_once_and_read_when_it_is_unlocked(
    keyring: KeyringSession, start_agent: Callable[..., AgentProcess], provider: OpenIDProvider
) -> None:
    agent = start_agent(provider)
    with agent.client() as client:
        log_in(client, provider)
        token = client.token("work")
    agent.kill()
    keyring.lock()
    agent.start()
    with agent.client() as client:
        with pytest.raises(Locked) as locked:
            client.token("work")
        assert locked.value.failure == "locked"
        assert "--unlock" in locked.value.remedy[-1].line
        for call in (client.has_valid, client.refresh):
            start = time.monotonic()
            with pytest.raises(Locked):
                call("work")
            assert time.monotonic() - start < READ_PATIENCE
        account_record = record(client)
        assert (account_record["state"], account_record["renewal"]) == ("locked", "none")
        assert store(client)["unread"] == 1
        with pytest.raises(Locked):  # nobody knows whose session it would replace
            log_in(client, provider)
        keyring.unlock()
        until(lambda: is_ready(client))
        assert client.token("work").access_token == token.access_token
        assert store(client)["unread"] == 0
    assert agent.run("status").returncode == 0


def test_a_killed_keyring_gets_the_session_after_its_return(
    keyring: KeyringSession, start_agent: Callable[..., AgentProcess], provider: OpenIDProvider
) -> None:
    agent = start_agent(provider)
    with agent.client() as client:
        log_in(client, provider)
        keyring.kill()
        token = client.refresh("work")  # D-Bus has started another one by now, which is locked
        until(lambda: store(client)["state"] == "locked")
        assert record(client)["saved"] is False
        assert client.token("work").access_token == token.access_token
        keyring.unlock()
        until(lambda: record(client)["saved"] is True)
    assert entry_token(keyring) == token.access_token


def test_a_logout_with_a_locked_keyring_deletes_the_entry_later(
    keyring: KeyringSession, start_agent: Callable[..., AgentProcess], provider: OpenIDProvider
) -> None:
    agent = start_agent(provider)
    with agent.client() as client:
        log_in(client, provider)
    agent.kill()
    keyring.lock()
    agent.start()
    with agent.client() as client:
        until(lambda: store(client)["state"] == "locked")
        assert client.logout("work").revoked is False  # nobody could read what was to be revoked
        assert record(client)["state"] == "logged_out"
        keyring.unlock()
        until(lambda: record(client)["saved"] is True)
    assert keyring.read() is None


def test_without_a_keyring_sessions_live_in_memory_and_status_shows_that(provider: OpenIDProvider) -> None:
    with KeyringSession(keyring=False) as bus:
        agent = AgentProcess({"work": account(provider)}, environment=bus.environment, store="keyring")
        with agent, agent.client() as client:
            until(lambda: store(client)["state"] == "missing")
            conftest.log_in(client, provider)
            assert record(client)["state"] == "ready"
            assert record(client)["saved"] is False
            assert "in memory" in agent.run("status").stdout
            # The agent tries again and again.
            provider.fault("status", status=403, body={"error": "invalid_grant"})
            with pytest.raises(LoginRequired):  # and nothing in a keyring that isn't there keeps a session alive
                client.refresh("work")


def test_the_agent_waits_for_a_keyring_that_held_sessions(
    start_agent: Callable[..., AgentProcess], provider: OpenIDProvider
) -> None:
    agent = start_agent(provider)
    with agent.client() as client:
        log_in(client, provider)
    agent.kill()
    bus = agent.environment.pop("DBUS_SESSION_BUS_ADDRESS")
    agent.start()
    with agent.client() as client:
        with pytest.raises(Locked, match="D-Bus"):
            client.token("work")
        assert record(client)["state"] == "locked"
        assert client.status()["accounts"] != []
    agent.kill()
    agent.environment["DBUS_SESSION_BUS_ADDRESS"] = bus
    agent.start()
    with agent.client() as client:
        assert client.token("work").account == "work"
        assert store(client)["backend"] == "keyring.backends.SecretService.Keyring"


# ---- others


def test_a_second_agent_on_the_same_keyring_prints_where_the_first_one_listens(
    start_agent: Callable[..., AgentProcess], provider: OpenIDProvider
) -> None:
    first = start_agent(provider)
    second = start_agent(provider, started=False)
    second.environment.update(HOME=first.environment["HOME"])
    result = second.run("run")
    assert result.returncode == 1
    assert str(first.socket) in result.stderr
    assert str(first.process.pid) in result.stderr
    assert "--store memory" in result.stderr
    assert not second.socket.exists()
    memory = AgentProcess({"work": account(provider)}, environment={"HOME": first.environment["HOME"]})
    with memory, memory.client() as client:
        assert client.hello()
    first.kill()
    second.start()


def test_a_restart_with_a_locked_keyring_is_rejected(
    keyring: KeyringSession, start_agent: Callable[..., AgentProcess], provider: OpenIDProvider
) -> None:
    agent = start_agent(provider)
    with agent.client() as client:
        log_in(client, provider)
        keyring.lock()
        result = agent.run("restart")
        assert result.returncode == 1
        assert "locked" in result.stderr
        assert client.token("work").account == "work"
        keyring.unlock()
        assert agent.run("restart").returncode == 0
        until(lambda: is_ready(client))


def test_agents_with_two_state_directories_do_not_share_a_keyring(
    start_agent: Callable[..., AgentProcess], provider: OpenIDProvider
) -> None:
    first = start_agent(provider)
    second = start_agent(provider, started=False)  # with a home of its own, on the same D-Bus session
    result = second.run("run")
    assert result.returncode == 1
    assert str(first.socket) in result.stderr


def test_a_used_refresh_token_is_rejected_after_a_restart_too(
    start_agent: Callable[..., AgentProcess], provider: OpenIDProvider
) -> None:
    agent = start_agent(provider)
    imported = provider.login().refresh_token
    assert imported is not None
    with agent.client() as client:
        client.import_refresh_token(imported, "work")
        agent.run("restart")
        until(lambda: is_ready(client))
        with pytest.raises(InvalidRequest, match="used before"):
            client.import_refresh_token(imported, "work")
        assert refresh(client).account == "work"
    assert tokens_granted_twice(provider) == []


def test_an_unreadable_entry_requires_a_login_which_replaces_it(
    keyring: KeyringSession, start_agent: Callable[..., AgentProcess], provider: OpenIDProvider
) -> None:
    keyring.write(b"\xff\xfe garbage")
    agent = start_agent(provider)
    with agent.client() as client:
        until(lambda: record(client)["state"] == "login_required")  # it is read several times before that is believed
        with pytest.raises(LoginRequired) as raised:
            client.token("work")
        assert raised.value.failure == "store_failed"
        log_in(client, provider)
        assert record(client)["saved"] is True
    assert entry(keyring)["account"] == "work"


def test_a_removed_state_directory_is_created_again(
    keyring: KeyringSession, start_agent: Callable[..., AgentProcess], provider: OpenIDProvider
) -> None:
    agent = start_agent(provider)
    with agent.client() as client:
        log_in(client, provider)
        shutil.rmtree(agent.home / ".local")
        token = client.refresh("work")
        until(lambda: record(client)["saved"] is True)
    assert entry_token(keyring) == token.access_token


def test_an_old_copy_restored_while_the_agent_runs_is_not_used(
    keyring: KeyringSession, start_agent: Callable[..., AgentProcess], provider: OpenIDProvider
) -> None:
    agent = start_agent(provider)
    with agent.client() as client:
        log_in(client, provider)
        backup = keyring.read()
        assert backup is not None
        refresh(client)
        keyring.write(backup)
        newest = refresh(client)
        assert entry_token(keyring) == newest.access_token
        # Put back again, and this time the provider refuses: the old copy's token is no way out.
        keyring.write(backup)
        provider.fault("status", status=403, body={"error": "invalid_grant"})
        with pytest.raises(LoginRequired):
            client.refresh("work")
    assert tokens_granted_twice(provider) == []


def test_an_old_copy_restored_while_no_agent_runs_is_never_sent(
    keyring: KeyringSession, start_agent: Callable[..., AgentProcess], provider: OpenIDProvider
) -> None:
    agent = start_agent(provider)
    with agent.client() as client:
        log_in(client, provider)
        backup = keyring.read()
        assert backup is not None
        refresh(client)
    agent.kill()
    keyring.write(backup)
    agent.start()
    with agent.client() as client, pytest.raises(LoginRequired, match="old copy"):
        client.token("work")
    assert tokens_granted_twice(provider) == []


def test_a_session_continues_after_another_process_rotated_its_token(
    keyring: KeyringSession, start_agent: Callable[..., AgentProcess], provider: OpenIDProvider
) -> None:
    agent = start_agent(provider)
    with agent.client() as client:
        log_in(client, provider)
        # The other one rotates the token, and keeps the new one where both keep theirs.
        content = entry(keyring)
        login: dict[str, str] = content["login"]
        tokens = provider.refresh(login["refresh_token"]).raise_for_status().json()
        login["refresh_token"] = tokens["refresh_token"]
        keyring.write(json.dumps(content))
        # A provider without reuse detection only calls the old one dead.
        provider.fault("status", status=403, body={"error": "invalid_grant"})
        token = refresh(client)
        assert provider.userinfo(token.access_token).status_code == 200
        assert record(client)["state"] == "ready"
        assert refresh(client).access_token != token.access_token
    assert max(row.presented for row in provider.ledger().values()) == 2  # the one that both held, once each
    assert tokens_granted_twice(provider) == []


def test_the_state_directory_has_fingerprints_and_no_secret(
    keyring: KeyringSession, start_agent: Callable[..., AgentProcess], provider: OpenIDProvider
) -> None:
    agent = start_agent(provider)
    secrets: set[str] = set()
    with agent.client() as client:
        log_in(client, provider)
        for _ in range(3):
            secrets.add(refresh(client).access_token)
            secrets.add(refresh_token(keyring) or "")
        content = keyring.read()
    notes = [path for path in agent.home.rglob("*") if path.is_file()]
    texts = {path: path.read_text("utf-8", "replace") for path in notes}
    assert [path for path, text in texts.items() for secret in secrets if secret in text] == []
    fingerprints = [hashlib.sha256(secret.encode()).hexdigest() for secret in secrets]
    assert any(one in text for one in fingerprints for text in texts.values())
    assert content is not None
    assert len(content) < 8192
    state = agent.home / ".local" / "state" / "auth-agent"
    assert [path for path in [state, *state.rglob("*")] if path.stat().st_mode & 0o077] == []


# ---- many


def test_a_thousand_sessions_are_served_as_they_are_read_the_last_used_first() -> None:
    names = [f"number-{number}" for number in range(1000)]
    last_used, asked_for = names[700], names[900]
    with OpenIDProvider(access_token_lifetime=3600) as provider, ExitStack() as stack:
        entries = {name: stored(provider, name) for name in names}
        keyring = stack.enter_context(KeyringSession(entries=entries))
        accounts = {name: account(provider) for name in names}
        agent = AgentProcess(accounts, environment=keyring.environment, store="keyring")
        with stack.enter_context(agent).client() as client, pytest.raises(LoginRequired):
            client.refresh(last_used)  # the provider never granted it, but it was used
        agent.kill()
        first_start = len(agent.logged(" restored "))
        agent.start()
        with agent.client() as client:
            assert client.token(asked_for).access_token == f"at-of-{asked_for}"
            assert store(client)["unread"] > 500
            assert client.token(names[500]).access_token == f"at-of-{names[500]}"
        lines = agent.until_logged(" restored ", first_start + 3)[first_start:]
        restored = [line.partition("account=")[2].partition(" ")[0] for line in lines]
        assert last_used in restored[:3]  # but for those that were requested meanwhile
        assert len(restored) < 500


def stored(provider: OpenIDProvider, name: str) -> str:
    """A session as the agent stores it, with tokens that were never granted."""
    login = {"issuer": provider.issuer, "client_id": "native-app", "audience": None, "subject": "auth0|alice"}
    token = {"access_token": f"at-of-{name}", "token_type": "Bearer", "lifetime": 86400, "obtained_at": time.time()}
    return json.dumps(
        {"version": 1, "account": name, "login": {**login, "refresh_token": f"rt-of-{name}"}, "token": token}
    )


def entry_token(keyring: KeyringSession) -> str:
    token: dict[str, str] = entry(keyring)["token"]
    return token["access_token"]


def refresh_token(keyring: KeyringSession) -> str | None:
    login: dict[str, str | None] = entry(keyring)["login"]
    return login["refresh_token"]


def tokens_granted_twice(provider: OpenIDProvider) -> list[str]:
    """Return the fingerprints of the refresh tokens that the provider accepted more than once."""
    return [fingerprint for fingerprint, row in provider.ledger().items() if row.succeeded > 1]
