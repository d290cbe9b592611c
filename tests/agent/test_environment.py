"""What the agent's children get of its environment."""

import os
from pathlib import Path

import pytest

from auth_agent.host.environment import background_environment, command_environment, worker_environment

OTHERS = {
    # The service manager's, for the agent alone.
    **dict.fromkeys(["NOTIFY_SOCKET", "LISTEN_FDS", "LISTEN_PID", "LISTEN_FDNAMES", "WATCHDOG_USEC"], "1"),
    # What a shell happens to have.
    "AUTH_AGENT_LOG": "debug",
    "AWS_SECRET_ACCESS_KEY": "secret",
    "HTTPS_PROXY": "http://user:password@proxy",
    "KEYRING_PROPERTY_SCHEME": "other",
    "LD_PRELOAD": "/other.so",
    "PYTHONASYNCIODEBUG": "1",
    "PYTHONDEVMODE": "1",
    "PYTHONWARNINGS": "error",
    "SSL_CERT_FILE": "/other.pem",
}


@pytest.fixture
def shell(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> dict[str, str]:
    """Variables that the children need, in an environment with others."""
    needed = {"HOME": "/home/anna", "PATH": "/bin", "LC_ALL": "C.UTF-8", "XDG_RUNTIME_DIR": str(tmp_path)}
    for name in os.environ:
        monkeypatch.delenv(name)
    for name, value in {**OTHERS, **needed, "PYTHONPATH": "/lib"}.items():
        monkeypatch.setenv(name, value)
    return needed


def test_a_worker_gets_what_it_needs_and_where_its_modules_are(shell: dict[str, str]) -> None:
    assert worker_environment() == {**shell, "PYTHONPATH": "/lib"}


def test_a_users_command_gets_the_bus_where_it_is_now_and_no_modules(
    shell: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert command_environment() == shell
    (Path(shell["XDG_RUNTIME_DIR"]) / "bus").touch()
    monkeypatch.setenv("DBUS_SESSION_BUS_ADDRESS", "unix:path=/gone")
    found = f"unix:path={shell['XDG_RUNTIME_DIR']}/bus"
    assert command_environment() == {**shell, "DBUS_SESSION_BUS_ADDRESS": found}


def test_an_agent_in_the_background_gets_all_that_is_not_this_process_s_own(
    shell: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("PYTEST_CURRENT_TEST")
    own = ("PYTHON", "NOTIFY", "LISTEN", "WATCHDOG")
    others = {name: value for name, value in OTHERS.items() if not name.startswith(own)}
    assert background_environment() == {**shell, **others, "PYTHONPATH": "/lib"}
