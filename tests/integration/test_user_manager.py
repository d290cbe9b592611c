"""The agent as a service of a real `systemd --user`."""

import json
import os
import re
import signal
import subprocess
import time
from collections.abc import Generator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from auth_agent import remedies
from auth_agent.cli.exits import DENIED, NOT_RUNNING
from auth_agent.service.manager import MARK
from tests.integration.agent_process import AgentProcess, until
from tests.integration.conftest import ProviderPool
from tests.integration.user_manager import UserManager
from tests.op.provider import OpenIDProvider

pytestmark = pytest.mark.slow

# Of `systemd-analyze security`, times ten: what plain seccomp filters reach.
MAX_EXPOSURE = 64
PASSPHRASE = "correct horse"


@pytest.fixture(scope="module")
def user() -> Generator[UserManager, None, None]:
    """A user with a service manager."""
    with UserManager() as manager:
        yield manager


@pytest.fixture(scope="module")
def provider(provider_pool: ProviderPool) -> Generator[OpenIDProvider, None, None]:
    """A provider for all tests."""
    with provider_pool.lend(access_token_lifetime=3600) as one:
        yield one


@pytest.fixture
def installed(user: UserManager, provider: OpenIDProvider) -> Generator[UserManager, None, None]:
    """The user with the service installed as it comes, and a session of the account `work`."""
    user.output("auth-agent", "service", "install", "--force")
    config = user.home / ".config" / "auth-agent" / "config.toml"
    if not config.exists() or "[accounts.work]" not in config.read_text():
        add = ("auth-agent", "account", "add", "work", "--issuer", provider.issuer, "--client-id", "native-app")
        user.output(*add)
    log_in(user, provider)
    yield user
    user.run("rm", "-rf", ".config/systemd/user/auth-agent.service.d")
    user.run("systemctl", "--user", "daemon-reload")
    user.run("systemctl", "--user", "reset-failed")


def log_in(user: UserManager, provider: OpenIDProvider) -> None:
    """Give the account `work` a session that is saved."""
    refresh_token = provider.login().refresh_token
    result = user.run("auth-agent", "import", "work", stdin=refresh_token)
    assert result.returncode == 0, result.stderr
    until(lambda: record(user)["saved"] is True)


def record(user: UserManager) -> dict[str, object]:
    (result,) = json.loads(user.output("auth-agent", "status", "work", "--json"))["accounts"]
    return dict(result)


def pid_of(user: UserManager) -> int:
    """The agent's process id by the manager; 0 while it doesn't run."""
    return int(user.unit()["MainPID"])


def serves(user: UserManager) -> str:
    """Get a token; the token."""
    return user.output("auth-agent", "token", "work").strip()


# ---- token files


def test_the_command_of_a_token_file_runs_outside_of_the_unit(installed: UserManager, provider: OpenIDProvider) -> None:
    script = (
        "mkdir -p ~/kept && cat >> ~/.config/auth-agent/config.toml <<'END'\n"
        '[files.token]\naccount = "work"\n'
        'command = ["sh", "-c", "cat > ~/kept/event; env > ~/kept/environment; '
        'grep NoNewPrivs /proc/self/status > ~/kept/privileges; mv ~/kept ~/changed"]\n'
        "END\n"
        "auth-agent reload && cat ~/.config/auth-agent/config.toml"
    )
    configuration = installed.output("sh", "-c", script)
    until(lambda: installed.run("test", "-d", "changed").returncode == 0)
    assert json.loads(installed.output("cat", "changed/event"))["event"] == "file_changed"
    # The agent's unit has NoNewPrivileges=, and its main process LISTEN_FDS.
    assert installed.output("cat", "changed/privileges").split() == ["NoNewPrivs:", "0"]
    token, environment = serves(installed), installed.output("cat", "changed/environment")
    assert "LISTEN_FDS" not in environment
    assert token not in environment
    file = installed.output("sh", "-c", 'echo "$XDG_RUNTIME_DIR/auth-agent/token"').strip()
    assert installed.output("cat", file) == token
    installed.output("systemctl", "--user", "stop", "auth-agent.service")
    assert installed.run("test", "-e", file).returncode == 1
    without = configuration.partition("[files.token]")[0]
    assert installed.run("sh", "-c", "cat > ~/.config/auth-agent/config.toml", stdin=without).returncode == 0
    log_in(installed, provider)


# ---- install


def test_the_first_client_starts_the_agent_with_its_session(installed: UserManager) -> None:
    token = serves(installed)
    installed.output("systemctl", "--user", "stop", "auth-agent.service")
    assert pid_of(installed) == 0
    assert installed.unit("auth-agent.socket")["ActiveState"] == "active"
    assert serves(installed) == token
    assert installed.unit()["ActiveState"] == "active"
    assert installed.unit()["NRestarts"] == "0"


def test_a_second_install_changes_nothing(installed: UserManager) -> None:
    pid = pid_of(installed)
    result = installed.run("auth-agent", "service", "install")
    assert (result.returncode, result.stdout) == (0, "")
    assert f"process {pid}," in result.stderr
    assert "Wrote" not in result.stderr


def test_service_status_is_readable_and_has_json(installed: UserManager) -> None:
    state = json.loads(installed.output("auth-agent", "service", "status", "--json"))
    assert (state["installed"], state["enabled"], state["active"]) == (True, True, "active")
    assert state["pid"] == pid_of(installed)
    assert all(Path(file).exists() for file in state["files"])
    output = installed.output("auth-agent", "service", "status")
    assert f"process {state['pid']}" in output
    assert "the service starts the agent again" in installed.output("auth-agent", "status")


def test_the_units_are_valid_and_sandboxed(installed: UserManager) -> None:
    files = json.loads(installed.output("auth-agent", "service", "status", "--json"))["files"]
    verification = installed.run("systemd-analyze", "--user", "verify", *files)
    assert (verification.returncode, verification.stderr) == (0, "")
    command = ["systemd-analyze", "security", "--offline=yes", f"--threshold={MAX_EXPOSURE}", files[1]]
    security = subprocess.run(command, capture_output=True, text=True, check=False)
    assert security.returncode == 0, security.stdout


def test_an_agent_outside_of_the_service_is_replaced_and_its_session_stays(
    installed: UserManager, provider: OpenIDProvider
) -> None:
    installed.output("auth-agent", "service", "uninstall")
    installed.output("auth-agent", "start")
    log_in(installed, provider)
    token = serves(installed)
    result = installed.run("auth-agent", "service", "install")
    assert result.returncode == 0, result.stderr
    assert "outside of the service" in result.stderr
    assert pid_of(installed) > 0
    assert serves(installed) == token


def test_sessions_in_memory_are_not_lost_without_force(installed: UserManager, provider: OpenIDProvider) -> None:
    installed.output("auth-agent", "service", "uninstall")
    installed.output("auth-agent", "start", "--store", "memory")
    refresh_token = provider.login().refresh_token
    assert installed.run("auth-agent", "import", "work", stdin=refresh_token).returncode == 0
    result = installed.run("auth-agent", "service", "install")
    assert result.returncode == 1
    assert "auth-agent service install --force" in result.stderr
    assert installed.run("auth-agent", "service", "status").returncode != 0
    installed.output("auth-agent", "service", "install", "--force", "--store", "keyring")
    assert json.loads(installed.output("auth-agent", "status", "--json"))["agent"]["store"]["name"] == "keyring"


def test_a_unit_that_somebody_else_wrote_is_not_replaced(installed: UserManager) -> None:
    unit = installed.home / ".config" / "systemd" / "user" / "auth-agent.service"
    own = unit.read_text()
    unit.write_text(own.replace(MARK, "Written by hand"))
    result = installed.run("auth-agent", "service", "install")
    assert result.returncode == 1
    assert str(unit) in result.stderr
    assert "Written by hand" in unit.read_text()
    installed.output("auth-agent", "service", "install", "--force")
    assert unit.read_text() == own


def test_the_configuration_of_the_shell_is_kept(installed: UserManager) -> None:
    other = installed.home / "other config.toml"
    installed.output("env", f"AUTH_AGENT_CONFIG={other}", "auth-agent", "service", "install")
    assert json.loads(installed.output("auth-agent", "status", "--json"))["agent"]["config"] == str(other)
    installed.output("auth-agent", "service", "install")
    assert json.loads(installed.output("auth-agent", "status", "--json"))["agent"]["config"] != str(other)


def test_the_log_is_the_journal(installed: UserManager) -> None:
    assert installed.run("auth-agent", "service", "logs", "-n", "5").returncode == 0


# ---- what can happen to it


def test_a_removed_socket_is_replaced_by_the_agent_and_restored_by_its_unit(installed: UserManager) -> None:
    token, pid = serves(installed), pid_of(installed)
    socket = installed.runtime / "auth-agent" / "agent.sock"
    socket.unlink()
    until(socket.exists)
    assert serves(installed) == token
    assert pid_of(installed) == pid
    (remedy,) = json.loads(installed.output("auth-agent", "status", "--json"))["agent"]["socket_problem"]["remedy"]
    installed.output(*remedy["command"])
    assert serves(installed) == token
    assert json.loads(installed.output("auth-agent", "status", "--json"))["agent"]["socket_problem"] is None
    assert installed.unit("auth-agent.socket")["ActiveState"] == "active"
    installed.output("systemctl", "--user", "stop", "auth-agent.service")
    assert serves(installed) == token  # the socket is the unit's again


def test_after_a_crash_a_client_in_the_queue_is_served(installed: UserManager) -> None:
    token, pid = serves(installed), pid_of(installed)
    restarts = int(installed.unit()["NRestarts"])
    os.kill(pid, signal.SIGKILL)
    assert serves(installed) == token  # it waits for the service, which is back after a second
    assert pid_of(installed) not in (0, pid)
    assert int(installed.unit()["NRestarts"]) == restarts + 1


def test_a_hanging_agent_is_ended_by_the_watchdog_and_comes_back(installed: UserManager) -> None:
    token = serves(installed)
    installed.override("WatchdogSec=2\nTimeoutAbortSec=1")
    installed.output("systemctl", "--user", "restart", "auth-agent.service")
    pid = pid_of(installed)
    os.kill(pid, signal.SIGSTOP)
    until(lambda: pid_of(installed) not in (0, pid))
    assert installed.unit()["NRestarts"] != "0"
    assert serves(installed) == token


def test_an_idle_agent_feeds_the_watchdog(installed: UserManager) -> None:
    installed.override("WatchdogSec=4")
    installed.output("systemctl", "--user", "restart", "auth-agent.service")
    pid, fed = pid_of(installed), set[str]()

    def is_fed() -> bool:
        fed.add(installed.unit()["WatchdogTimestampMonotonic"])
        return len(fed) > 2

    until(is_fed, every=0.1)
    assert pid_of(installed) == pid


def test_a_suspended_machine_loses_no_session(installed: UserManager) -> None:
    token = serves(installed)
    installed.override("WatchdogSec=2")
    installed.output("systemctl", "--user", "restart", "auth-agent.service")
    stopped = (installed.process.pid, pid_of(installed))
    for pid in stopped:
        os.kill(pid, signal.SIGSTOP)
    resumes_at = time.monotonic() + 2.5  # longer than the watchdog waits
    until(lambda: time.monotonic() > resumes_at)
    for pid in stopped:
        os.kill(pid, signal.SIGCONT)
    assert serves(installed) == token


def test_a_reload_reads_the_configuration_again(installed: UserManager, provider: OpenIDProvider) -> None:
    config = installed.home / ".config" / "auth-agent" / "config.toml"
    text = config.read_text()
    config.write_text(f'{text}\n[accounts.more]\nissuer = "{provider.issuer}"\nclient_id = "native-app"\n')
    installed.output("systemctl", "--user", "reload", "auth-agent.service")
    until(lambda: "more" in installed.output("auth-agent", "status"))
    config.write_text(text)
    installed.output("auth-agent", "reload")


def test_the_manager_shows_accounts_logins_needed_and_the_next_refresh(installed: UserManager) -> None:
    until(lambda: installed.unit()["StatusText"].startswith("1 account; next refresh at "))


def test_a_stop_during_a_refresh_finishes_it_first(installed: UserManager, provider: OpenIDProvider) -> None:
    provider.reset()
    provider.fault("delay", ms=1500, grant_type="refresh_token")
    with ThreadPoolExecutor() as clients:
        refresh = clients.submit(installed.run, "auth-agent", "refresh", "work")
        until(lambda: any(request.grant_type == "refresh_token" for request in provider.requests(provider.token_path)))
        installed.output("systemctl", "--user", "stop", "auth-agent.service")
        assert refresh.result().returncode == 0
    assert {row.presented for row in provider.ledger().values()} == {1}
    assert provider.userinfo(serves(installed)).status_code == 200


def test_an_upgrade_restarts_the_agent_and_rewrites_a_changed_unit(installed: UserManager) -> None:
    token, pid = serves(installed), pid_of(installed)
    installed.output("auth-agent", "restart")
    assert pid_of(installed) == pid
    assert serves(installed) == token
    unit = installed.home / ".config" / "systemd" / "user" / "auth-agent.service"
    content = unit.read_text()
    unit.write_text(content.replace("RestartSec=1", "RestartSec=9"))
    installed.output("systemctl", "--user", "daemon-reload")
    result = installed.run("auth-agent", "service", "install")
    assert "Wrote" in result.stderr
    assert unit.read_text() == content
    assert pid_of(installed) not in (0, pid)
    assert serves(installed) == token


@pytest.fixture
def sealed(installed: UserManager, provider: OpenIDProvider) -> Generator[UserManager, None, None]:
    """The same with `--store file`, unlocked, and a session in the sealed file."""
    installed.output("auth-agent", "service", "install", "--force", "--store", "file")
    made = installed.run("auth-agent", "unlock", "--passphrase-fd", "0", stdin=PASSPHRASE)
    assert made.returncode == 0, made.stderr
    log_in(installed, provider)
    yield installed
    installed.output("auth-agent", "service", "install", "--force", "--store", "keyring")
    # The user manager of systemd 252 leaves them there, and would pass them on again instead of new ones.
    installed.output("sh", "-c", 'chmod -R u+w "$XDG_RUNTIME_DIR/credentials" && rm -r "$XDG_RUNTIME_DIR/credentials"')


def test_a_credential_unlocks_the_sealed_file_at_each_start(sealed: UserManager) -> None:
    """As docs/store.md describes it. The manager runs as the user: it must be able to read the file."""
    token = serves(sealed)
    sealed.output("systemctl", "--user", "restart", "auth-agent.service")
    assert sealed.run("auth-agent", "token", "work").returncode == DENIED
    written = sealed.run("sh", "-c", "umask 077; cat > passphrase", stdin=f"{PASSPHRASE}\n")
    assert written.returncode == 0, written.stderr
    sealed.override("LoadCredential=auth-agent-passphrase:%h/passphrase")
    for _ in range(2):
        sealed.output("systemctl", "--user", "restart", "auth-agent.service")
        until(lambda: record(sealed)["state"] == "ready")
        assert serves(sealed) == token


def test_a_wrong_credential_leaves_the_sealed_file_locked_and_the_log_says_so(sealed: UserManager) -> None:
    # There is no journal: the log goes into a file instead.
    sealed.override("SetCredential=auth-agent-passphrase:wrong\nStandardError=append:%h/agent.log")
    sealed.output("systemctl", "--user", "restart", "auth-agent.service")
    log = sealed.home / "agent.log"
    until(lambda: log.exists() and "credential name=auth-agent-passphrase" in log.read_text())
    until(lambda: "the passphrase is wrong" in log.read_text())
    assert sealed.run("auth-agent", "token", "work").returncode == DENIED


# ---- stop and restart


# An agent of an earlier version: it does not listen again on the socket that it was passed.
EARLIER = """\
import runpy, socket, sys
socket.socket.listen = lambda *_: None
sys.argv[0] = "auth-agent"
runpy.run_module("auth_agent", run_name="__main__", alter_sys=True)
"""


@pytest.fixture(params=["today's", "earlier"])
def restarting(request: pytest.FixtureRequest, installed: UserManager) -> Generator[UserManager, None, None]:
    """The same with a service that the manager starts again after each end that it didn't cause; of either version."""
    command = f"ExecStart=\nExecStart={installed.installed.python} -P %h/earlier.py run"
    (installed.home / "earlier.py").write_text(EARLIER)
    installed.output("systemctl", "--user", "stop", "auth-agent.socket", "auth-agent.service")
    installed.override("Restart=always\n" + (command if request.param == "earlier" else ""))
    installed.output("systemctl", "--user", "start", "auth-agent.socket")
    yield installed
    installed.output("systemctl", "--user", "stop", "auth-agent.service")


def test_a_stop_goes_through_the_manager_which_does_not_start_the_agent_again(restarting: UserManager) -> None:
    installed, token = restarting, serves(restarting)
    result = installed.run("auth-agent", "stop")
    assert result.returncode == 0, result.stderr
    remedy = remedies.deactivate(("systemctl", "--user", "disable", "--now", "auth-agent.socket"))
    assert f"  {remedy}\n" in result.stderr
    assert (installed.unit()["ActiveState"], installed.unit()["NRestarts"]) == ("inactive", "0")
    again = installed.run("auth-agent", "stop")  # which starts no agent to stop it
    assert (again.returncode, f"  {remedy}\n" in again.stderr) == (NOT_RUNNING, True)
    assert installed.unit()["ActiveState"] == "inactive"
    assert serves(installed) == token
    installed.output(*remedy.command)
    assert installed.run("auth-agent", "token", "work").returncode == NOT_RUNNING
    installed.output("auth-agent", "start")
    assert serves(installed) == token


def test_a_restart_keeps_the_process_of_the_service(restarting: UserManager) -> None:
    token, pid = serves(restarting), pid_of(restarting)
    result = restarting.run("auth-agent", "restart")
    assert result.returncode == 0, result.stderr
    assert f"process {pid}," in result.stderr
    assert pid_of(restarting) == pid
    assert serves(restarting) == token


def test_a_service_of_another_name_is_stopped_through_the_manager(installed: UserManager) -> None:
    installed.output("auth-agent", "service", "uninstall")
    own = ("systemd-run", "--user", "--unit=my-agent", "--property=Restart=always", "--property=RestartSec=0")
    installed.output(*own, "--collect", str(installed.installed.bin / "auth-agent"), "run")
    until(lambda: installed.run("auth-agent", "status").returncode == 0)
    result = installed.run("auth-agent", "stop")
    assert (result.returncode, result.stderr) == (0, "stopped\n")
    assert installed.unit("my-agent.service")["ActiveState"] == "inactive"


def test_a_service_that_only_started_the_agent_is_not_stopped(installed: UserManager) -> None:
    installed.output("auth-agent", "service", "uninstall")
    script = f"{installed.installed.bin / 'auth-agent'} start; exec sleep 300"
    installed.output("systemd-run", "--user", "--unit=other", "--collect", "sh", "-c", script)
    until(lambda: installed.run("auth-agent", "status").returncode == 0)
    result = installed.run("auth-agent", "stop")
    assert (result.returncode, result.stderr) == (0, "stopped\n")
    assert installed.unit("other.service")["ActiveState"] == "active"
    installed.output("systemctl", "--user", "stop", "other.service")


def test_start_uses_the_service_where_it_is_installed(installed: UserManager) -> None:
    installed.output("systemctl", "--user", "stop", "auth-agent.socket", "auth-agent.service")
    assert installed.run("auth-agent", "token", "work").returncode == 3
    assert "already running" in installed.run("auth-agent", "start").stderr
    assert pid_of(installed) > 0


# ---- the store


@pytest.fixture
def with_keyring(installed: UserManager) -> Generator[UserManager, None, None]:
    """The same; after the test it uses the keyring again, and the units as they come."""
    yield installed
    installed.output("auth-agent", "service", "install", "--force", "--store", "keyring")


def store_of(user: UserManager) -> str:
    return str(json.loads(user.output("auth-agent", "status", "--json"))["agent"]["store"]["name"])


def unit_of(user: UserManager) -> Path:
    return user.home / ".config" / "systemd" / "user" / "auth-agent.service"


def note_of(user: UserManager) -> Path:
    return user.home / ".local" / "state" / "auth-agent" / "store-in-use.json"


def name_in_unit(user: UserManager, store: str) -> None:
    """Have the unit name that store, as an earlier version's did."""
    content = unit_of(user).read_text()
    changed = re.sub(r"(?m)^(ExecStart=.* run)$", rf"\1 --store {store}", content)
    assert changed != content
    unit_of(user).write_text(changed)
    user.output("systemctl", "--user", "daemon-reload")


def test_a_persistent_store_is_remembered_and_is_not_in_the_unit(with_keyring: UserManager) -> None:
    unit, pid, token = unit_of(with_keyring).read_text(), pid_of(with_keyring), serves(with_keyring)
    result = with_keyring.run("auth-agent", "service", "install", "--store", "file")
    assert result.returncode == 0, result.stderr
    assert "The service uses the store file." in result.stderr
    assert unit_of(with_keyring).read_text() == unit
    assert pid_of(with_keyring) not in (0, pid)
    assert store_of(with_keyring) == "file"
    with_keyring.output("systemctl", "--user", "restart", "auth-agent.service")
    assert store_of(with_keyring) == "file"
    pid = pid_of(with_keyring)
    with_keyring.output("auth-agent", "service", "install")
    assert (store_of(with_keyring), pid_of(with_keyring)) == ("file", pid)
    with_keyring.output("auth-agent", "service", "install", "--store", "keyring")
    assert serves(with_keyring) == token


def test_the_store_of_an_agent_outside_of_the_service_becomes_the_services(with_keyring: UserManager) -> None:
    with_keyring.output("auth-agent", "service", "uninstall")
    with_keyring.output("auth-agent", "start", "--store", "file")
    with_keyring.output("auth-agent", "service", "install")
    assert "--store" not in unit_of(with_keyring).read_text()
    assert pid_of(with_keyring) > 0
    assert store_of(with_keyring) == "file"


def test_a_store_in_memory_is_in_the_unit_and_is_not_remembered(with_keyring: UserManager) -> None:
    with_keyring.output("auth-agent", "service", "install", "--store", "memory")
    assert " run --store memory\n" in unit_of(with_keyring).read_text()
    assert store_of(with_keyring) == "memory"
    assert json.loads(note_of(with_keyring).read_text())["store"] == "keyring"
    with_keyring.output("auth-agent", "service", "install")
    assert store_of(with_keyring) == "memory"
    with_keyring.output("auth-agent", "service", "install", "--store", "keyring")
    assert "--store" not in unit_of(with_keyring).read_text()
    assert store_of(with_keyring) == "keyring"


@pytest.mark.parametrize("runs", [True, False])
def test_the_store_in_the_unit_of_an_earlier_version_stays_in_use(runs: bool, with_keyring: UserManager) -> None:
    with_keyring.output("systemctl", "--user", "stop", "auth-agent.socket", "auth-agent.service")
    note_of(with_keyring).unlink()
    name_in_unit(with_keyring, "file")
    if runs:
        with_keyring.output("systemctl", "--user", "start", "auth-agent.socket")
        assert store_of(with_keyring) == "file"
    else:
        with_keyring.output("systemctl", "--user", "disable", "auth-agent.socket")
    result = with_keyring.run("auth-agent", "service", "install")
    assert result.returncode == 0, result.stderr
    assert "--store" not in unit_of(with_keyring).read_text()
    assert store_of(with_keyring) == "file"


def test_an_install_that_is_refused_does_not_change_the_store(with_keyring: UserManager) -> None:
    unit = unit_of(with_keyring)
    unit.write_text(unit.read_text().replace(MARK, "Written by hand"))
    note = note_of(with_keyring).read_text()
    assert with_keyring.run("auth-agent", "service", "install", "--store", "file").returncode == 1
    assert note_of(with_keyring).read_text() == note


def test_a_store_that_can_not_be_remembered_is_reported_before_anything_is_written(with_keyring: UserManager) -> None:
    name_in_unit(with_keyring, "keyring")
    unit, note = unit_of(with_keyring).read_text(), note_of(with_keyring)
    note.unlink()
    note.mkdir()
    result = with_keyring.run("auth-agent", "service", "install", "--store", "file")
    note.rmdir()
    assert result.returncode == 1
    assert str(note) in result.stderr
    assert unit_of(with_keyring).read_text() == unit


def test_a_service_with_another_state_directory_than_the_shell_is_reported(with_keyring: UserManager) -> None:
    install = ("auth-agent", "service", "install", "--store", "file")
    result = with_keyring.run("env", f"XDG_STATE_HOME={with_keyring.home}/elsewhere", *install)
    assert result.returncode == 1
    assert "unset XDG_STATE_HOME" in result.stderr
    assert store_of(with_keyring) == "keyring"


# ---- uninstall


def test_after_an_uninstall_nothing_is_left_but_sessions_and_configuration(installed: UserManager) -> None:
    token = serves(installed)
    result = installed.run("auth-agent", "service", "uninstall")
    assert result.returncode == 0
    assert not list((installed.home / ".config" / "systemd").rglob("auth-agent.s*"))
    assert installed.run("auth-agent", "service", "status").returncode == 3
    assert installed.run("auth-agent", "status").returncode == 3
    assert "not installed" in installed.run("auth-agent", "service", "uninstall").stderr
    installed.output("auth-agent", "start")
    assert serves(installed) == token
    assert "auth-agent service install" in installed.output("auth-agent", "status")
    installed.output("auth-agent", "stop")


def test_without_a_service_manager_the_command_prints_the_alternative() -> None:
    with AgentProcess(started=False) as nowhere:
        nowhere.environment.update(XDG_RUNTIME_DIR=str(nowhere.home), DBUS_SESSION_BUS_ADDRESS="unix:path=/nonexistent")
        del nowhere.environment["AUTH_AGENT_SOCK"]
        assert nowhere.run("service", "uninstall").returncode == 0
        for command in ("install", "status"):
            result = nowhere.run("service", command)
            assert result.returncode == 1
            assert "auth-agent start" in result.stderr
