"""What `auth-agent doctor` makes of what it sees, without an agent or a provider."""

import errno
import json
import os
import socket
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from auth_agent import remedies
from auth_agent.cli.doctor.agent import judge_agent, judge_session, judge_store
from auth_agent.cli.doctor.directories import check_directories
from auth_agent.cli.doctor.environment import check_environment
from auth_agent.cli.doctor.finding import GOOD, WARNING, WRONG, Finding, report, worst
from auth_agent.cli.doctor.keyring import judge_bus
from auth_agent.cli.doctor.ports import check_peers, check_ports
from auth_agent.cli.doctor.provider import judge, judge_clock, without_repetition
from auth_agent.cli.doctor.service import judge_service
from auth_agent.cli.terminal import PLAIN, Terminal, columns
from auth_agent.config import Account
from auth_agent.grant_type import CLIENT_CREDENTIALS
from auth_agent.host import tcp_table
from auth_agent.oauth.discovery import Metadata
from auth_agent.oauth.outcome import Misconfigured, Unsent
from auth_agent.service.systemd import Systemd
from auth_agent_client import Record
from auth_agent_client.remedy import Remedy
from tests.free_ports import free_ports

ISSUER = "https://acme.example"
ME = os.geteuid()


def verdicts(findings: list[Finding]) -> list[tuple[str, str]]:
    return [(finding.check, finding.verdict) for finding in findings]


# ---- findings


@pytest.mark.parametrize(
    ("given", "expected"), [([], GOOD), ([GOOD, WARNING], WARNING), ([WRONG, GOOD], WRONG), ([WARNING, WRONG], WRONG)]
)
def test_the_worst_verdict_counts(given: list[str], expected: str) -> None:
    assert worst(Finding("agent", verdict, "") for verdict in given) == expected


def test_a_finding_is_json_with_its_remedy_as_data() -> None:
    finding = Finding("agent", WARNING, "none", (remedies.restart(), remedies.check_network()))
    assert json.loads(json.dumps(finding.as_json())) == {
        "check": "agent",
        "verdict": "warning",
        "text": "none",
        "remedy": [
            {"text": remedies.restart().text, "command": ["auth-agent", "restart"]},
            {"text": remedies.check_network().text},
        ],
    }


@pytest.mark.parametrize("width", [20, 40, 80, 200])
def test_a_report_fits_the_terminal_but_for_a_command_which_is_whole(width: int) -> None:
    command = remedies.close_file("/home/anna/.config/auth-agent/config.toml")
    findings = [Finding("environment", WRONG, "a long sentence of many words " * 5, (command,))]
    lines = report(findings, Terminal(width))
    assert any(command.line in line for line in lines)
    assert all(columns(line) <= width for line in lines if command.line not in line)


def test_a_report_steers_no_terminal() -> None:
    lines = report([Finding("provider", WRONG, "\x1b[2Jred\nline")], PLAIN)
    assert not [line for line in lines if "\x1b" in line or "\n" in line]


@pytest.mark.parametrize(
    ("given", "summary"),
    [
        ([GOOD, GOOD], "Nothing is wrong."),
        ([WARNING], "1 warning."),
        ([WARNING, WARNING, WRONG], "1 wrong, 2 warnings."),
    ],
)
def test_a_report_ends_with_a_summary(given: list[str], summary: str) -> None:
    assert report([Finding("agent", verdict, "") for verdict in given], PLAIN)[-1] == summary


# ---- the environment


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("http://proxy.example:3128", "http://proxy.example:3128"),
        ("http://anna:secret@proxy.example:3128/", "http://proxy.example:3128"),
        ("anna:secret@proxy.example:3128", "http://proxy.example:3128"),
        ("http://anna:se@cr#et@proxy.example", "http://proxy.example:80"),
        ("http://[secret@", "…"),
        ("http://anna:secret", "…"),
    ],
)
def test_a_proxy_is_shown_without_its_password(url: str, shown: str) -> None:
    assert check_environment({"HTTPS_PROXY": url})[0].text == f"HTTPS_PROXY={shown}"


def test_what_is_set_is_shown_and_no_password() -> None:
    environ = {"https_proxy": "http://anna:secret@proxy:1", "AUTH_AGENT_LOG": "debug", "API_TOKEN": "secret"}
    (finding,) = check_environment(environ)
    assert finding.verdict == GOOD
    assert finding.text == "AUTH_AGENT_LOG=debug, https_proxy=http://proxy:1"


@pytest.mark.parametrize(
    ("name", "value", "verdict"),
    [
        ("XDG_RUNTIME_DIR", "/nonexistent", WRONG),
        ("SSL_CERT_FILE", "/nonexistent", WRONG),
        ("ALL_PROXY", "socks4://127.0.0.1:1080", WRONG),
        ("https_proxy", "http://anna:secret", WRONG),
        ("PYTHONPATH", "/srv/lib", WARNING),
        ("AUTH_AGENT_LOG", "verbose", WARNING),
    ],
)
def test_a_variable_that_can_not_be_used_is_named_with_what_helps(name: str, value: str, verdict: str) -> None:
    _, finding = check_environment({name: value})
    assert (finding.check, finding.verdict) == ("environment", verdict)
    assert name in finding.text
    assert finding.remedy


# ---- the directories


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A home directory, and no variable that names another directory."""
    for name in ("AUTH_AGENT_SOCK", "AUTH_AGENT_CONFIG", "XDG_STATE_HOME", "XDG_CONFIG_HOME"):
        monkeypatch.delenv(name, raising=False)
    home, runtime = tmp_path / "home", tmp_path / "run"
    home.mkdir()
    runtime.mkdir()
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(runtime))
    return home


def test_directories_that_the_agent_would_make_are_no_problem(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(home / "missing"))
    assert check_directories() == []


@pytest.mark.parametrize("name", ["HOME", "XDG_RUNTIME_DIR", "XDG_STATE_HOME", "XDG_CONFIG_HOME"])
@pytest.mark.usefixtures("home")
def test_a_relative_directory_is_wrong(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(name, "relative")
    (finding,) = check_directories()
    assert (finding.verdict, finding.remedy) == (WRONG, (remedies.set_variable(name),))
    assert name in finding.text


def test_a_home_directory_of_another_user_is_wrong(home: Path) -> None:
    if ME != 0:
        pytest.skip("only root can give a directory to another user")
    os.chown(home, 65534, 65534)
    findings = check_directories()
    assert {(finding.verdict, finding.remedy) for finding in findings} == {(WRONG, (remedies.as_yourself(),))}
    assert list(home.iterdir()) == []


@pytest.mark.parametrize(
    ("changed", "number"),
    [
        ({"f_flag": os.ST_RDONLY}, errno.EROFS),
        ({"f_bavail": 0}, errno.ENOSPC),
        ({"f_favail": 0}, errno.ENOSPC),
        ({"f_favail": 0, "f_files": 0}, None),
    ],
)
def test_a_file_system_that_takes_no_file_is_wrong(
    changed: dict[str, int], number: int | None, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    system = SimpleNamespace(**{"f_flag": 0, "f_bavail": 9, "f_favail": 9, "f_files": 9, **changed})

    def statvfs(_: Path) -> SimpleNamespace:
        return system

    monkeypatch.setattr(os, "statvfs", statvfs)
    helps = {finding.remedy[0] for finding in check_directories()}
    assert helps == ({remedies.for_file(OSError(number, ""), home)[0]} if number else set())


def test_a_bus_that_moved_is_told(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DBUS_SESSION_BUS_ADDRESS", f"unix:path={home}/gone")
    assert judge_bus() is None  # there is no other
    (home.parent / "run" / "bus").touch()
    finding = judge_bus()
    assert finding is not None
    assert (finding.verdict, finding.remedy) == (WARNING, (remedies.unset_variable("DBUS_SESSION_BUS_ADDRESS"),))


# ---- the agent

STATUS: dict[str, object] = {
    "agent": {
        "version": "1.2",
        "pid": 12,
        "started_at": 1000.0,
        "socket": "/run/agent.sock",
        "config": "/etc/config.toml",
        "store": {"name": "keyring", "persistent": True, "state": "ready", "unsaved": 0},
    },
    "accounts": [],
}


def test_an_agent_of_this_version_with_this_configuration_is_good() -> None:
    findings = judge_agent(STATUS, "1.2", "/etc/config.toml", 1060.0)
    assert verdicts(findings) == [("agent", GOOD), ("socket", GOOD)]
    assert findings[0].text == "version 1.2, process 12, running for 1 min"


def test_a_locked_agent_is_a_warning_with_what_unlocks_it() -> None:
    agent: Any = STATUS["agent"]
    finding = judge_agent({"agent": {**agent, "locked": True}}, "1.2", "/etc/config.toml", 1060.0)[-1]
    assert (finding.check, finding.verdict, finding.remedy) == ("agent", WARNING, (remedies.unlock(),))


def test_another_version_and_another_configuration_are_warnings() -> None:
    _, _, version, config = judge_agent(STATUS, "1.3", "/home/config.toml", 1060.0)
    assert (version.check, version.verdict, version.remedy) == ("version", WARNING, (remedies.restart(),))
    assert (config.check, config.verdict, config.remedy) == ("config", WARNING, (remedies.same_configuration(),))


@pytest.mark.parametrize(
    ("store", "verdict"),
    [
        ({"name": "keyring", "persistent": True, "state": "ready"}, GOOD),
        ({"name": "memory", "persistent": False, "state": "ready"}, WARNING),
        ({"name": "keyring", "persistent": True, "state": "locked", "problem": "locked"}, WRONG),
    ],
)
def test_a_store_is_judged_by_its_state(store: dict[str, object], verdict: str) -> None:
    assert verdicts(judge_store({"agent": {"store": store}, "accounts": []})) == [("store", verdict)]


def test_sessions_that_are_not_saved_are_named() -> None:
    records = [{"account": "work", "state": "ready", "saved": False}]
    _, finding = judge_store({**STATUS, "accounts": records})
    assert finding.verdict == WARNING
    assert "work" in finding.text


@pytest.mark.parametrize(
    ("record", "verdict"),
    [
        ({"state": "ready", "expires_at": 2000.0, "renewal": "idle", "saved": True}, GOOD),
        ({"state": "login_required", "reason": "invalid_grant"}, WRONG),
        ({"state": "logged_out"}, WARNING),
    ],
)
def test_a_session_is_judged_as_status_shows_it(record: dict[str, object], verdict: str) -> None:
    finding = judge_session(Record({"account": "work", **record}), 1000.0)
    assert (finding.check, finding.verdict) == ("session", verdict)
    assert bool(finding.remedy) is (verdict != GOOD)


# ---- providers, clocks and ports


def test_a_provider_is_judged_by_its_metadata() -> None:
    metadata = Metadata(ISSUER, f"{ISSUER}/token")
    assert judge(ISSUER, "work", metadata, 0.25).text == f"{ISSUER} (work): OpenID Connect, responded in 250 ms"
    plain = replace(metadata, is_openid=False)
    assert "OAuth 2" in judge(ISSUER, "work", plain, 0.25).text
    assert "ms" not in judge(ISSUER, "work", plain, 0.25, configured=True).text
    unreachable = judge(ISSUER, "work", Unsent("acme.example can't be reached: timed out"), 5)
    assert (unreachable.verdict, unreachable.remedy) == (WRONG, (remedies.check_network(),))
    wrong = judge(ISSUER, "work", Misconfigured("not found"), 5)
    assert (wrong.verdict, wrong.remedy) == (WRONG, (remedies.correct_configuration(),))


@pytest.mark.parametrize(
    ("offset", "expected"), [(None, []), (59.0, [GOOD]), (-59.0, [GOOD]), (61.0, [WARNING]), (-61.0, [WARNING])]
)
def test_a_clock_may_differ_by_a_minute(offset: float | None, expected: list[str]) -> None:
    assert [finding.verdict for finding in judge_clock(ISSUER, offset)] == expected


def test_a_clock_that_is_wrong_is_shown_with_its_direction() -> None:
    assert "behind" in judge_clock(ISSUER, 3600.0)[0].text
    assert "ahead" in judge_clock(ISSUER, -3600.0)[0].text


def test_a_good_clock_is_shown_once_and_each_wrong_one() -> None:
    good, wrong = judge_clock(ISSUER, 0.0), judge_clock(ISSUER, 3600.0)
    assert without_repetition([*good, *wrong, *good, *wrong]) == [*good, *wrong, *wrong]


def test_a_port_that_is_taken_is_named_and_all_taken_are_wrong() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        (some,) = check_ports([Account("work", ISSUER, "id", redirect_ports=(port, 0))])
        (none,) = check_ports([Account("work", ISSUER, "id", redirect_ports=(port,))])
    assert (some.verdict, none.verdict) == (WARNING, WRONG)
    assert str(port) in some.text
    assert none.remedy == remedies.other_ports("work")
    (free,) = check_ports([Account("work", ISSUER, "id", redirect_ports=(0,))])
    assert free.verdict == GOOD


def test_a_port_of_localhost_is_free_if_it_is_on_both_addresses() -> None:
    (port,) = free_ports(1)
    with socket.create_server(("::1", port), family=socket.AF_INET6):
        (finding,) = check_ports([Account("work", ISSUER, "id", redirect_ports=(port,), redirect_host="localhost")])
        (other,) = check_ports([Account("work", ISSUER, "id", redirect_ports=(port,))])
    assert (finding.verdict, other.verdict) == (WRONG, GOOD)
    (free,) = check_ports([Account("work", ISSUER, "id", redirect_ports=(0,), redirect_host="localhost")])
    assert free.verdict == GOOD


def test_the_same_ports_are_checked_once_and_not_for_a_client_of_its_own() -> None:
    accounts = [Account("a", ISSUER, "id", redirect_ports=(0,)), Account("b", ISSUER, "id", redirect_ports=(0,))]
    assert len(check_ports(accounts)) == 1
    assert check_ports([Account("c", ISSUER, "id", grant_type=CLIENT_CREDENTIALS)]) == []


def test_without_the_kernels_table_other_users_are_told_of(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert (check_peers().check, check_peers().verdict) == ("redirects", GOOD)
    monkeypatch.setattr(tcp_table, "_TABLE", tmp_path / "none")
    assert (check_peers().verdict, check_peers().remedy) == (WARNING, (remedies.hide_url(),))


# ---- the service


@pytest.mark.parametrize(
    ("files", "runs", "verdict", "remedy"),
    [
        ("enabled", True, GOOD, ()),
        ("there", True, WARNING, (remedies.install_service(),)),
        ("missing", True, WARNING, (remedies.install_service(),)),
        ("missing", False, WARNING, (remedies.start(),)),
    ],
)
def test_what_starts_the_agent_at_a_login_is_judged_by_files(
    files: str, runs: bool, verdict: str, remedy: tuple[Remedy, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    if runs:
        (tmp_path / "systemd" / "private").mkdir(parents=True)
    if files != "missing":
        (tmp_path / "auth-agent.socket").touch()
    if files == "enabled":
        (tmp_path / "sockets.target.wants").mkdir()
        (tmp_path / "sockets.target.wants" / "auth-agent.socket").symlink_to(tmp_path / "auth-agent.socket")
    finding = judge_service(Systemd(tmp_path))
    assert (finding.check, finding.verdict, finding.remedy) == ("service", verdict, remedy)
