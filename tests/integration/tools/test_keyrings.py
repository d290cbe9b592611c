"""The keyrings that people have, each as a store and below an agent: GNOME Keyring, KeePassXC and KWallet."""

import json
from collections.abc import Generator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from auth_agent import remedies
from auth_agent.secret import Secret
from auth_agent.storage.store import StoreLocked
from auth_agent.worker.secret_service import SecretService
from auth_agent_client import Locked
from auth_agent_client.messages import MAX_TOKEN
from auth_agent_client.remedy import Remedy
from tests.integration.agent_process import AgentProcess, until
from tests.integration.conftest import account, log_in, record
from tests.integration.keyring_session import KeyringSession
from tests.integration.other_keyrings import (
    KEYRINGS,
    ConfirmingKeePassXCSession,
    KeePassXCSession,
    KWalletSession,
)
from tests.integration.test_keyring_store import failure_of, open_store, use
from tests.op.provider import OpenIDProvider

pytestmark = pytest.mark.anyio

FIRST, SECOND = Secret('{"text": "first"}'), Secret('{"text": "second"}')
UNLOCK: dict[type[KeyringSession], tuple[Remedy, ...]] = {
    KeyringSession: remedies.unlock_keyring(),
    KeePassXCSession: remedies.unlock_keepassxc(),
    KWalletSession: remedies.unlock_kwallet(),
}


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(params=list(KEYRINGS.values()), ids=list(KEYRINGS))
def keyring(request: pytest.FixtureRequest) -> Generator[KeyringSession, None, None]:
    with use(request.param()) as session:
        yield session


def restart(keyring: KeyringSession) -> None:
    """End the keyring's program, and start it again, unlocked."""
    if isinstance(keyring, KeePassXCSession | KWalletSession):
        keyring.restart()
    else:
        keyring.kill()
        keyring.start()


def assert_holds(keyring: KeyringSession, entries: list[str]) -> None:
    """Check what another program reads; more than once, since one session in 130 of KWallet's gives garbage."""
    until(lambda: keyring.entries() == entries)


async def test_an_entry_is_written_again_and_again_and_deleted(keyring: KeyringSession, tmp_path: Path) -> None:
    async with open_store(tmp_path) as store:
        for entry in (FIRST, SECOND, FIRST, SECOND):
            await store.write("work", entry)
            assert_holds(keyring, [entry.reveal()])
        assert await store.delete("work") is True
        assert_holds(keyring, [])
        assert await store.delete("work") is False
        assert await store.read("work") == []


@pytest.mark.usefixtures("keyring")
async def test_an_entry_with_long_tokens_is_no_garbage(tmp_path: Path) -> None:
    entry = Secret(json.dumps({"refresh_token": "r" * (1 << 19), "client_secret": "s" * MAX_TOKEN}))
    async with open_store(tmp_path) as store:
        await store.write("work", entry)
        await store.release()
        assert await store.read("work") == [entry]


async def test_an_entry_of_another_program_is_read_and_overwritten(keyring: KeyringSession, tmp_path: Path) -> None:
    keyring.write(FIRST.reveal())
    async with open_store(tmp_path) as store:
        assert await store.read("work") == [FIRST]
        await store.write("work", SECOND)
        assert_holds(keyring, [SECOND.reveal()])


async def test_a_worker_goes_on_after_the_keyring_was_restarted(keyring: KeyringSession, tmp_path: Path) -> None:
    async with open_store(tmp_path) as store:
        await store.write("work", FIRST)
        restart(keyring)
        assert await store.read("work") == [FIRST]
        restart(keyring)
        await store.write("work", SECOND)
        assert_holds(keyring, [SECOND.reveal()])
        restart(keyring)
        assert await store.delete("work") is True
        assert_holds(keyring, [])


async def test_a_locked_keyring_is_told_of_with_what_helps_there(keyring: KeyringSession, tmp_path: Path) -> None:
    async with open_store(tmp_path) as store:
        await store.write("work", FIRST)
        keyring.lock()
        for call in (lambda: store.read("work"), lambda: store.write("work", SECOND), lambda: store.delete("work")):
            failure = await failure_of(call)
            assert isinstance(failure, StoreLocked)
            assert failure.remedy == UNLOCK[type(keyring)]
        keyring.unlock()
        assert await store.read("work") == [FIRST]


async def test_copies_of_an_entry_are_read_overwritten_and_deleted(keyring: KeyringSession, tmp_path: Path) -> None:
    async with open_store(tmp_path) as store:
        await store.write("work", FIRST)
        keyring.copy(SECOND.reveal())
        assert {entry.reveal() for entry in await store.read("work")} == {FIRST.reveal(), SECOND.reveal()}
        newest = Secret('{"text": "newest"}')
        await store.write("work", newest)
        assert_holds(keyring, [newest.reveal()] * 2)
        assert await store.delete("work") is True
        assert_holds(keyring, [])


@pytest.mark.parametrize(
    "text",
    [b"\xff\xfe garbage", "{}".encode("utf-16"), b"", b"[]"],
    ids=["not text", "not UTF-8", "empty", "not an object"],
)
async def test_what_is_not_an_entry_is_read_as_none_of_ours_and_overwritten(
    text: bytes, keyring: KeyringSession, tmp_path: Path
) -> None:
    keyring.write(text)
    async with open_store(tmp_path) as store:
        assert await store.read("work") == [Secret("")]
        await store.write("work", FIRST)
        assert_holds(keyring, [FIRST.reveal()])


@pytest.mark.slow
def test_bad_sessions_of_the_service_change_no_reading_and_no_writing() -> None:
    """Of KWallet's, one in 130 is bad; here are some hundred."""
    with use(KWalletSession()):
        service = SecretService()
        for number in range(100):
            entry = json.dumps({"number": number})
            service.write("auth-agent", "work", entry)  # each ends with a new session
            for _ in range(3):
                assert service.read("auth-agent", "work") == [entry]
                assert service.session is not None
                service.session.renew()  # as a new worker does
        assert service.session is not None
        service.session.close()


async def test_a_keyring_without_a_password_is_never_locked(tmp_path: Path) -> None:
    with use(KeyringSession(entries={"work": FIRST.reveal()})) as keyring:
        keyring.lock()
        async with open_store(tmp_path) as store:
            assert keyring.is_locked() is True
            assert await store.read("work") == [FIRST]
            keyring.lock()
            await store.write("work", SECOND)
            assert await store.read("work") == [SECOND]


async def test_keepassxc_that_asks_before_it_shows_an_entry_says_what_to_clear(tmp_path: Path) -> None:
    with use(ConfirmingKeePassXCSession()) as keyring:
        async with open_store(tmp_path) as store:
            await store.write("work", FIRST)  # its own entry, over the connection that created it
            assert await store.read("work") == [FIRST]
            await store.write("work", SECOND)
            await store.release()
            failure = await failure_of(lambda: store.read("work"))
            assert isinstance(failure, StoreLocked)
            assert failure.remedy == remedies.unlock_keepassxc()
        assert keyring.is_locked() is False


# ---- below an agent


@contextmanager
def agent_of(keyring: KeyringSession, provider: OpenIDProvider) -> Generator[AgentProcess]:
    with ExitStack() as stack:
        accounts, environment = {"work": account(provider)}, keyring.environment
        yield stack.enter_context(AgentProcess(accounts, environment=environment, store="keyring"))


def test_a_session_outlives_restarts_of_the_keyring_and_of_the_agent(keyring: KeyringSession) -> None:
    with OpenIDProvider(access_token_lifetime=3600) as provider, agent_of(keyring, provider) as agent:
        with agent.client() as client:
            # Before anybody asks for it: a wallet that the login has opened needs no dialog.
            until(lambda: record(client)["state"] == "logged_out")
            log_in(client, provider)
            for number in range(1, 4):
                client.refresh("work")
                until(lambda: record(client)["saved"] is True)
                assert record(client)["refreshes"] == number
                if number == 2:
                    restart(keyring)
            token = client.token("work")
        agent.kill()
        restart(keyring)
        agent.start()
        with agent.client() as client:
            assert client.token("work").access_token == token.access_token
            client.refresh("work")
            until(lambda: record(client)["saved"] is True)
            client.logout("work")
            until(lambda: record(client)["saved"] is True)
        assert_holds(keyring, [])


def test_a_session_is_found_in_a_keyring_that_is_no_longer_the_default_one(provider: OpenIDProvider) -> None:
    with KeyringSession() as keyring, agent_of(keyring, provider) as agent:
        with agent.client() as client:
            log_in(client, provider)
            until(lambda: record(client)["saved"] is True)
            token = client.token("work")
        agent.kill()
        keyring.set_default("/org/freedesktop/secrets/collection/session")
        assert keyring.read() is None
        agent.start()
        with agent.client() as client:
            assert client.token("work").access_token == token.access_token
            client.refresh("work")
            until(lambda: record(client)["saved"] is True)
            assert keyring.read() is None  # it is overwritten where it is
            client.logout("work")
            until(lambda: record(client)["saved"] is True)
        keyring.set_default("/org/freedesktop/secrets/collection/login")
        assert keyring.read() is None


def test_another_keyring_is_told_of_and_the_first_one_is_used_when_it_is_back(provider: OpenIDProvider) -> None:
    with KeyringSession() as keyring, agent_of(keyring, provider) as agent:
        with agent.client() as client:
            log_in(client, provider)
            until(lambda: record(client)["saved"] is True)
            token = client.token("work")
        agent.kill()
        with keyring.swapped():
            agent.start()
            with agent.client() as client:
                with pytest.raises(Locked) as caught:
                    client.token("work")
                assert caught.value.failure == "store_failed"
                assert caught.value.remedy == remedies.find_entry("work")
                assert record(client)["state"] == "locked"
            status = agent.run("status").stdout
            assert "not logged in" not in status
            assert "not found in the store" in status
            assert agent.until_logged("no entry of this session")
        with agent.client() as client:
            until(lambda: record(client)["state"] == "ready")
            assert client.token("work").access_token == token.access_token
            assert client.refresh("work").access_token != token.access_token


def test_a_login_in_another_keyring_replaces_the_session_that_is_gone(provider: OpenIDProvider) -> None:
    with KeyringSession() as keyring, agent_of(keyring, provider) as agent:
        with agent.client() as client:
            log_in(client, provider)
            until(lambda: record(client)["saved"] is True)
        agent.kill()
        with keyring.swapped():
            agent.start()
            with agent.client() as client:
                until(lambda: record(client)["failure"] == "store_failed")
                log_in(client, provider)
                until(lambda: record(client)["saved"] is True)
                assert record(client)["state"] == "ready"
                client.logout("work")
                until(lambda: record(client)["saved"] is True)
            agent.kill()
        agent.start()
        with agent.client() as client:  # the old session was logged out with the new one
            until(lambda: record(client)["state"] == "logged_out")
            until(lambda: keyring.read() is None)
