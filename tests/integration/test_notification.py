"""A person is notified when a session ends: a real D-Bus session with a recorder in place of the desktop."""

import json
import queue
import sys
import threading
from collections.abc import Generator
from contextlib import AbstractContextManager
from importlib import import_module
from types import TracebackType
from typing import Any, Self

import pytest

from auth_agent_client import LoginRequired
from tests.integration.agent_process import PATIENCE, AgentProcess
from tests.integration.conftest import account, log_in, record
from tests.integration.keyring_session import KeyringSession, open_bus
from tests.op.provider import OpenIDProvider

NAME = "org.freedesktop.Notifications"


class Desktop(AbstractContextManager["Desktop"]):
    """A notification service on a D-Bus session that records what it would show."""

    def __init__(self, address: str) -> None:
        """Own the service's name on the session with that address."""
        self._jeepney: Any = import_module("jeepney")  # it has no types
        self._connection = open_bus(address)
        bus = self._jeepney.DBusAddress("/org/freedesktop/DBus", "org.freedesktop.DBus", "org.freedesktop.DBus")
        request = self._jeepney.new_method_call(bus, "RequestName", "su", (NAME, 0))
        assert self._connection.send_and_get_reply(request).body == (1,)
        self.shown: queue.Queue[tuple[str, str]] = queue.Queue()
        self._thread = threading.Thread(target=self._serve, daemon=True)

    def _serve(self) -> None:
        while True:
            try:
                message = self._connection.receive()
            except (OSError, EOFError):
                return
            if message.header.message_type.name == "method_call":
                _, _, _, summary, body, *_ = message.body
                # The reply first: who has seen it in the queue may close the connection.
                self._connection.send(self._jeepney.new_method_return(message, "u", (self.shown.qsize() + 1,)))
                self.shown.put((summary, body))

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._connection.sock.shutdown(2)
        self._thread.join(PATIENCE)
        self._connection.close()


@pytest.fixture
def session() -> Generator[KeyringSession, None, None]:
    """A D-Bus session."""
    with KeyringSession(keyring=False) as bus:
        yield bus


def end_sessions(agent: AgentProcess, provider: OpenIDProvider, *names: str) -> None:
    """Log in to these accounts, and let the provider end their sessions at the next refresh."""
    with agent.client() as client:
        for name in names:
            log_in(client, provider, name)
        provider.fault("status", status=400, body={"error": "invalid_grant"}, grant_type="refresh_token", times=None)
        for name in names:  # soon after each other: those of three seconds are told of together
            with pytest.raises(LoginRequired):
                client.refresh(name)
        assert {record(client, name).state for name in names} == {"login_required"}


def test_the_desktop_shows_one_notification_for_sessions_that_end_together(
    session: KeyringSession, provider: OpenIDProvider
) -> None:
    accounts = {name: account(provider) for name in ("work", "home")}
    with (
        Desktop(session.environment["DBUS_SESSION_BUS_ADDRESS"]) as desktop,
        AgentProcess(accounts, environment=session.environment) as agent,
    ):
        end_sessions(agent, provider, "work", "home")
        summary, body = desktop.shown.get(timeout=PATIENCE)
        agent.until_logged("notification accounts=work,home")
        assert desktop.shown.empty()
    assert summary == "Log in to 2 accounts again"
    assert sorted(body.splitlines()) == ["auth-agent login home", "auth-agent login work"]


def test_a_command_of_the_users_own_gets_the_record_and_no_secret(
    session: KeyringSession, provider: OpenIDProvider
) -> None:
    with (
        Desktop(session.environment["DBUS_SESSION_BUS_ADDRESS"]) as desktop,
        AgentProcess({"work": account(provider)}, environment=session.environment) as agent,
    ):
        output = agent.home / "event"
        script = agent.home / "hook.py"
        script.write_text(
            f"import os, sys; open({str(output)!r}, 'w').write(sys.stdin.read() + chr(10) + repr(sorted(os.environ)))"
        )
        command = json.dumps([sys.executable, str(script)])
        agent.config.write_text(f"{agent.config.read_text()}\n[notify]\ncommand = {command}\n")
        assert agent.run("reload").returncode == 0
        end_sessions(agent, provider, "work")
        agent.until_logged("notification accounts=work")
        event, environment = output.read_text().splitlines()
        assert desktop.shown.empty()
        secrets = [secret for kind in provider.secrets().values() for secret in kind]
    fields = json.loads(event)
    assert fields["event"] == "login_required"
    assert [one["account"] for one in fields["accounts"]] == ["work"]
    assert fields["accounts"][0]["remedy"][0]["command"] == ["auth-agent", "login", "work"]
    assert secrets
    assert not [secret for secret in secrets if secret in event]
    assert "AUTH_AGENT_LOG" not in environment


@pytest.mark.parametrize("command", [["/nonexistent"], ["false"]])
def test_a_command_that_fails_is_logged_and_nothing_else_happens(
    command: list[str], session: KeyringSession, provider: OpenIDProvider
) -> None:
    with AgentProcess({"work": account(provider)}, environment=session.environment) as agent:
        agent.config.write_text(f"{agent.config.read_text()}\n[notify]\ncommand = {json.dumps(command)}\n")
        assert agent.run("reload").returncode == 0
        end_sessions(agent, provider, "work")
        agent.until_logged("warning notification accounts=work")
        assert agent.run("status").returncode == 0


def test_without_a_notification_service_the_agent_logs_that(session: KeyringSession, provider: OpenIDProvider) -> None:
    with AgentProcess({"work": account(provider)}, environment=session.environment) as agent:
        end_sessions(agent, provider, "work")
        agent.until_logged("warning notification accounts=work .*no notification service")


def test_notifications_can_be_switched_off(session: KeyringSession, provider: OpenIDProvider) -> None:
    with (
        Desktop(session.environment["DBUS_SESSION_BUS_ADDRESS"]) as desktop,
        AgentProcess({"work": account(provider)}, environment=session.environment) as agent,
    ):
        agent.config.write_text(f"{agent.config.read_text()}\n[notify]\ndesktop = false\n")
        assert agent.run("reload").returncode == 0
        end_sessions(agent, provider, "work")
        agent.until_logged("notification accounts=work switched off")
        assert desktop.shown.empty()
