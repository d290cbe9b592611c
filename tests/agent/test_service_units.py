"""What `auth-agent service install` writes, without a service manager."""

import plistlib
import shlex
import signal
import stat
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest

from auth_agent.service import program as program_module
from auth_agent.service.launchd import Launchd
from auth_agent.service.manager import MARK, Program, ServiceError
from auth_agent.service.program import installed_program, missing_variables, named_store
from auth_agent.service.systemd import Systemd, command_line, quoted, unit

ROOT = Path(__file__).parents[2]
TEMPLATE = (ROOT / "systemd" / "auth-agent.service").read_text()
PROPERTY_LIST = ROOT / "launchd" / "auth-agent.plist"
PROGRAM = Program(
    ("/opt/auth agent/bin/auth-agent", "run", "--store", "memory"), {"AUTH_AGENT_CONFIG": "/etc/100%.toml"}
)


# ---- systemd


@pytest.mark.parametrize(
    ("word", "expected"),
    [
        ("/usr/bin/auth-agent", "/usr/bin/auth-agent"),
        ("/opt/my agent", '"/opt/my agent"'),
        ("/opt/100%", "/opt/100%%"),
        ('a"b\\c', '"a\\"b\\\\c"'),
        ("", '""'),
    ],
)
def test_a_word_is_quoted_for_a_unit(word: str, expected: str) -> None:
    assert quoted(word) == expected


def test_a_dollar_in_a_command_stands_for_itself() -> None:
    assert command_line(("/opt/$HOME/x", "run")) == '"/opt/$$HOME/x" run'


def test_a_unit_has_the_command_and_its_environment_and_all_else_of_the_template() -> None:
    lines = unit(TEMPLATE, PROGRAM).splitlines()
    assert 'ExecStart="/opt/auth agent/bin/auth-agent" run --store memory' in lines
    assert "Environment=AUTH_AGENT_CONFIG=/etc/100%%.toml" in lines
    assert set(TEMPLATE.splitlines()) - set(lines) == {"ExecStart=auth-agent run"}


def test_a_template_without_a_command_is_refused() -> None:
    with pytest.raises(ServiceError):
        unit("[Service]\n", PROGRAM)


def test_the_watchdog_waits_for_several_looks_of_the_refresher_and_ends_a_hang_without_a_crash() -> None:
    settings = dict(line.split("=", 1) for line in TEMPLATE.splitlines() if "=" in line and not line.startswith("#"))
    assert int(settings["WatchdogSec"]) >= 3 * 30
    assert settings["WatchdogSignal"] == "SIGTERM"
    assert int(settings["TimeoutStopSec"]) > 12
    assert settings["SyslogLevelPrefix"] == "no"


def test_an_enabled_socket_is_recognized_by_its_link(tmp_path: Path) -> None:
    manager = Systemd(tmp_path)
    assert (manager.has_files(), manager.is_enabled()) == (False, False)
    (tmp_path / "auth-agent.socket").touch()
    assert (manager.has_files(), manager.is_enabled()) == (True, False)
    wants = tmp_path / "sockets.target.wants"
    wants.mkdir()
    (wants / "auth-agent.socket").symlink_to(tmp_path / "auth-agent.socket")
    assert manager.is_enabled()


def test_a_missing_template_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    stand_in(tmp_path, "systemctl", monkeypatch, "exit 0")
    with pytest.raises(ServiceError, match=r"auth-agent\.socket"):
        Systemd(tmp_path, tmp_path / "nothing").write(PROGRAM, replace=False)


@pytest.mark.parametrize("text", [TEMPLATE, unit(TEMPLATE, Program(("/usr/bin/auth-agent", "run"), {}))])
def test_units_of_a_package_are_used_where_they_are(text: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    packaged = tmp_path / "packaged" / "auth-agent.service"
    packaged.parent.mkdir()
    packaged.write_text(text)
    stand_in(tmp_path / "bin", "systemctl", monkeypatch, f"echo FragmentPath={packaged}")
    manager = Systemd(tmp_path / "own", ROOT / "systemd")
    assert manager.write(Program(("/usr/bin/auth-agent", "run"), {}), replace=False) == []
    assert not (tmp_path / "own").exists()
    # Another installation of the same user needs units of its own.
    assert len(manager.write(PROGRAM, replace=False)) == 2


@pytest.mark.parametrize("store", [None, "file", "memory"])
def test_the_store_that_a_unit_names_is_read_from_it(
    store: str | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stand_in(tmp_path / "bin", "systemctl", monkeypatch, "exit 0")
    manager = Systemd(tmp_path / "own", ROOT / "systemd")
    assert manager.store() is None
    manager.write(installed_program(store, {"AUTH_AGENT_CONFIG": "/etc/--store x.toml"}), replace=False)
    assert manager.store() == store


def test_a_service_that_lingers_is_there_from_boot_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    record = stand_in(tmp_path, "loginctl", monkeypatch, "exit 0")
    Systemd(tmp_path).linger()
    assert record.read_text() == "enable-linger\n"


def test_a_command_of_the_manager_that_fails_is_an_error_with_what_it_printed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stand_in(tmp_path, "loginctl", monkeypatch, "echo 'Could not enable linger: Access denied' >&2; exit 1")
    with pytest.raises(ServiceError, match="Access denied"):
        Systemd(tmp_path).linger()


# ---- the program


def test_the_command_on_the_path_is_used_if_it_is_this_installation(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    script = tmp_path / "venv" / "auth-agent"
    script.parent.mkdir()
    script.touch(0o755)
    link = tmp_path / "bin" / "auth-agent"
    link.parent.mkdir()
    link.symlink_to(script)
    monkeypatch.setattr(sys, "executable", str(script.with_name("python")))
    monkeypatch.setenv("PATH", str(link.parent))
    assert installed_program(None, {}).command == (str(link), "run")
    monkeypatch.setenv("PATH", str(tmp_path))
    assert installed_program("memory", {}).command == (str(script), "run", "--store", "memory")
    script.unlink()
    assert installed_program(None, {}).command == (sys.executable, "-P", "-m", "auth_agent", "run")


@pytest.mark.parametrize(
    ("command", "store"),
    [
        (("auth-agent", "run", "--store", "file"), "file"),
        (("auth-agent", "run", "--store"), None),
        (("auth-agent", "run"), None),
        ((), None),
    ],
)
def test_the_store_that_a_command_names(command: tuple[str, ...], store: str | None) -> None:
    assert named_store(command) == store


def test_a_configuration_is_kept_with_an_absolute_path() -> None:
    assert installed_program(None, {"AUTH_AGENT_CONFIG": "here.toml"}).environment == {
        "AUTH_AGENT_CONFIG": str(Path.cwd() / "here.toml")
    }
    assert installed_program(None, {"AUTH_AGENT_CONFIG": ""}).environment == {}


def test_variables_that_a_service_lacks_are_named() -> None:
    environ = {"https_proxy": "http://proxy", "SSL_CERT_FILE": "/etc/ca.pem", "HOME": "/", "NO_PROXY": ""}
    assert missing_variables(environ) == ["SSL_CERT_FILE", "https_proxy"]


# ---- launchd


def stand_in(directory: Path, name: str, monkeypatch: pytest.MonkeyPatch, script: str) -> Path:
    """Put a program of that name on the path, which records its arguments; return the file of the record."""
    directory.mkdir(exist_ok=True)
    record = directory / f"{name}.record"
    program = directory / name
    program.write_text(f'#!/bin/sh\necho "$@" >> {shlex.quote(str(record))}\n{script}\n')
    program.chmod(stat.S_IRWXU)
    monkeypatch.setenv("PATH", f"{directory}:/usr/bin:/bin")
    return record


class Mac:
    """A home directory, and a launchctl that records what it is asked."""

    def __init__(self, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.home = home
        self.loaded = home / "loaded"
        loaded = self.loaded
        actions = f'list) cat {loaded} ;; bootstrap) echo "{{}};" > {loaded} ;; bootout) rm {loaded} ;;'
        script = f'case "$1" in {actions} esac'
        self._record = stand_in(home / "bin", "launchctl", monkeypatch, script)
        monkeypatch.setenv("XDG_RUNTIME_DIR", str(home / "runtime"))
        monkeypatch.setattr("os.getuid", lambda: 501)
        self.launchd = Launchd(home, PROPERTY_LIST)
        self.file = home / "Library" / "LaunchAgents" / "auth-agent.plist"

    def commands(self) -> list[str]:
        """Return the command lines since the last call, without those that only look."""
        lines = self._record.read_text().splitlines() if self._record.exists() else []
        self._record.unlink(missing_ok=True)
        return [line for line in lines if not line.startswith("list")]

    def content(self) -> Mapping[str, object]:
        content: Mapping[str, object] = plistlib.loads(self.file.read_bytes())
        return content


@pytest.fixture
def mac(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Mac:
    return Mac(tmp_path, monkeypatch)


def test_a_property_list_has_absolute_paths_and_the_socket_with_its_mode(mac: Mac) -> None:
    assert mac.launchd.write(PROGRAM, replace=False) == [mac.file]
    content = mac.content()
    assert content["Label"] == "auth-agent"
    assert content["ProgramArguments"] == list(PROGRAM.command)
    assert content["Sockets"] == {
        "agent": {"SockPathMode": 0o600, "SockPathName": str(mac.home / "runtime" / "auth-agent" / "agent.sock")}
    }
    assert content["KeepAlive"] == {"SuccessfulExit": False}
    assert content["EnvironmentVariables"] == dict(PROGRAM.environment)
    assert content["StandardErrorPath"] == str(mac.home / "Library" / "Logs" / "auth-agent.log")
    assert content["HardResourceLimits"] == {"Core": 0}
    assert content["Umask"] == 0o077
    assert stat.S_IMODE((mac.home / "runtime" / "auth-agent").stat().st_mode) == 0o700


def test_a_property_list_that_is_there_already_is_not_written_again(mac: Mac) -> None:
    mac.launchd.write(PROGRAM, replace=False)
    assert mac.launchd.write(PROGRAM, replace=False) == []


def test_a_property_list_of_somebody_else_is_replaced_only_by_force(mac: Mac) -> None:
    mac.file.parent.mkdir(parents=True)
    mac.file.write_bytes(plistlib.dumps({"Label": "auth-agent"}))
    with pytest.raises(ServiceError, match=str(mac.file)):
        mac.launchd.write(PROGRAM, replace=False)
    assert mac.launchd.remove() == []
    assert mac.launchd.write(PROGRAM, replace=True) == [mac.file]
    assert MARK in mac.file.read_text()


@pytest.mark.parametrize("store", [None, "file", "memory"])
def test_the_store_that_a_property_list_names_is_read_from_it(store: str | None, mac: Mac) -> None:
    assert mac.launchd.store() is None
    mac.launchd.write(installed_program(store, {}), replace=False)
    assert mac.launchd.store() == store


@pytest.mark.parametrize("content", [b"", b"<plist>", b"bplist00", plistlib.dumps({"ProgramArguments": "--store x"})])
def test_a_damaged_property_list_names_no_store(content: bytes, mac: Mac) -> None:
    mac.file.parent.mkdir(parents=True)
    mac.file.write_bytes(content)
    assert mac.launchd.store() is None


def test_it_is_loaded_once_and_loaded_anew_when_it_changed(mac: Mac) -> None:
    mac.launchd.write(PROGRAM, replace=False)
    mac.launchd.enable()
    mac.launchd.enable()
    assert mac.commands() == [f"bootstrap gui/501 {mac.file}"]
    mac.launchd.reload()
    assert mac.commands() == ["bootout gui/501/auth-agent", f"bootstrap gui/501 {mac.file}"]


def test_it_is_unloaded_and_removed(mac: Mac) -> None:
    mac.launchd.write(PROGRAM, replace=False)
    mac.launchd.enable()
    mac.commands()
    mac.launchd.disable()
    mac.launchd.disable()
    assert mac.commands() == ["bootout gui/501/auth-agent"]
    assert mac.launchd.remove() == [mac.file]
    assert not mac.file.exists()


@pytest.mark.parametrize(
    ("listed", "active", "pid"),
    [
        (None, "not loaded", None),
        ('{\n\t"Label" = "auth-agent";\n};', "waiting", None),
        ('{\n\t"PID" = 812;\n};', "running", 812),
    ],
)
def test_its_state_is_read_from_launchctl(listed: str | None, active: str, pid: int | None, mac: Mac) -> None:
    if listed is not None:
        mac.loaded.write_text(listed)
    state = mac.launchd.state()
    assert (state.active, state.pid, state.installed) == (active, pid, False)


def test_its_process_is_signalled_by_launchd(mac: Mac) -> None:
    mac.loaded.write_text('{\n\t"PID" = 812;\n};')
    assert mac.launchd.service_of(813) is None
    service = mac.launchd.service_of(812)
    assert service is not None
    mac.launchd.send(service.name, signal.SIGUSR1)
    mac.launchd.stop(service.name)
    assert mac.commands() == ["kill SIGUSR1 gui/501/auth-agent", "kill SIGTERM gui/501/auth-agent"]
    assert service.deactivation == ("launchctl", "bootout", "gui/501/auth-agent")


@pytest.mark.parametrize(("listed", "waits"), [(None, False), ("{};", True), ('{\n\t"PID" = 812;\n};', False)])
def test_whether_it_waits_for_a_program_is_read_from_launchctl(listed: str | None, waits: bool, mac: Mac) -> None:
    if listed is not None:
        mac.loaded.write_text(listed)
    assert (mac.launchd.waiting_service() is not None) == waits


def test_there_is_no_service_before_the_login(mac: Mac) -> None:
    with pytest.raises(ServiceError):
        mac.launchd.linger()


def test_the_log_is_a_file(mac: Mac) -> None:
    log = str(mac.home / "Library" / "Logs" / "auth-agent.log")
    assert mac.launchd.log_command(5, follow=True) == ("tail", "-n", "5", "-f", log)
    assert program_module.default_socket() == str(mac.home / "runtime" / "auth-agent" / "agent.sock")
