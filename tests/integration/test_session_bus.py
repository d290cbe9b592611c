"""The D-Bus session begins after the agent, moves, or is named by no variable: the agent finds it."""

import os
import subprocess
from collections.abc import Generator
from pathlib import Path

import pytest

from tests.integration.agent_process import AgentProcess, until
from tests.integration.conftest import account, log_in, record
from tests.integration.keyring_session import KeyringSession
from tests.integration.test_notification import Desktop, end_sessions
from tests.op.provider import OpenIDProvider

VARIABLE = "DBUS_SESSION_BUS_ADDRESS"
# Runs a command where the runtime directory of this user is that of the keyring's session.
AS_IN_CRON = f"mount -t tmpfs tmpfs /run && mkdir /run/user && ln -s $KEYRING_RUN /run/user/{os.geteuid()} && exec "


@pytest.fixture
def keyring() -> Generator[KeyringSession, None, None]:
    with KeyringSession() as session:
        yield session


def store_state(agent: AgentProcess) -> str | None:
    with agent.client() as client:
        return client.status().agent.store.state


def is_saved(agent: AgentProcess) -> bool:
    with agent.client() as client:
        return record(client).saved is True


def test_an_agent_that_starts_before_its_bus_saves_its_sessions_once_there_is_one(
    keyring: KeyringSession, provider: OpenIDProvider
) -> None:
    environment = {name: value for name, value in keyring.environment.items() if name != VARIABLE}
    with AgentProcess({"work": account(provider)}, environment=environment, store="keyring") as agent:
        agent.environment.pop(VARIABLE, None)
        until(lambda: store_state(agent) == "missing")
        with agent.client() as client:
            log_in(client, provider)
        assert not is_saved(agent)
        keyring.move_bus()
        until(lambda: is_saved(agent))
        assert store_state(agent) == "ready"
    assert keyring.read() is not None


def test_an_agent_follows_its_keyring_to_the_user_bus(keyring: KeyringSession, provider: OpenIDProvider) -> None:
    accounts = {"work": account(provider)}
    with AgentProcess(accounts, environment=keyring.environment, store="keyring") as agent:
        with agent.client() as client:
            log_in(client, provider)
        until(lambda: is_saved(agent))
        before = keyring.read()
        keyring.move_bus()
        with agent.client() as client:
            client.refresh("work")
        until(lambda: is_saved(agent))
        assert keyring.read() not in {None, before}


def test_a_notification_goes_to_the_bus_that_began_after_the_agent(
    keyring: KeyringSession, provider: OpenIDProvider
) -> None:
    environment = {"XDG_RUNTIME_DIR": keyring.environment["XDG_RUNTIME_DIR"]}
    with AgentProcess({"work": account(provider)}, environment=environment) as agent:
        keyring.move_bus()
        with Desktop(keyring.environment[VARIABLE]) as desktop:
            end_sessions(agent, provider, "work")
            until(lambda: not desktop.shown.empty())


def test_the_keyring_is_found_without_any_variable_as_in_a_cron_job(
    keyring: KeyringSession, provider: OpenIDProvider
) -> None:
    if subprocess.run(["unshare", "--mount", "true"], capture_output=True, check=False).returncode != 0:
        pytest.skip("no mount namespace can be made: needs root")
    run = keyring.environment["XDG_RUNTIME_DIR"]
    keyring.move_bus()
    environment = {"XDG_DATA_HOME": keyring.environment["XDG_DATA_HOME"]}
    with AgentProcess({"work": account(provider)}, environment=environment, store="keyring", started=False) as agent:
        agent.environment.pop(VARIABLE, None)
        del agent.environment["XDG_RUNTIME_DIR"]
        agent.launch_with("unshare", "--mount", "env", f"KEYRING_RUN={run}", "sh", "-c", f'{AS_IN_CRON} "$@"', "sh")
        agent.start()
        with agent.client() as client:
            log_in(client, provider)
        until(lambda: is_saved(agent))
        assert keyring.read() is not None
        assert list(Path(run, "auth-agent").glob("keyring-*.lock"))
