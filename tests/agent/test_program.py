"""Which program a process is, from `/proc`."""

import os
import subprocess
import sys
from collections.abc import Generator

import pytest
from hypothesis import given, strategies as st

from auth_agent.host.program import (
    Program,
    program,
    read_parent,
    read_program,
    read_start_time,
    read_unit,
    start_time,
    unit,
)
from tests.integration.agent_process import until

linux = pytest.mark.skipif(sys.platform != "linux", reason="other systems have no /proc")

APP = "/user.slice/user-1000.slice/user@1000.service/app.slice"


@pytest.mark.parametrize(
    ("comm", "executable", "name"),
    [
        ("curl\n", "/usr/bin/curl", "curl"),
        ("systemd-resolve\n", "/usr/lib/systemd/systemd-resolved", "systemd-resolved"),  # cut at 15 bytes
        ("python3\n", "/usr/bin/python3.11", "python3.11"),
        ("auth-agent\n", "/usr/bin/python3.11", "auth-agent"),  # a script
        ("backup (1)\n", "/usr/bin/bash", "backup (1)"),
        ("ssh\n", None, "ssh"),  # its memory is not readable
        ("\n", "/usr/bin/curl", "curl"),
        ("\n", None, "?"),
        ("x\x1b[2J\u202e\n", "/usr/bin/curl", "x [2J"),
    ],
)
def test_a_program_is_named_by_its_file_or_its_script(comm: str, executable: str | None, name: str) -> None:
    assert program(comm, executable, "0::/\n") == Program(name, executable, None)


def test_a_program_whose_file_was_replaced_is_the_same() -> None:
    assert program("curl\n", "/usr/bin/curl (deleted)", "") == program("curl\n", "/usr/bin/curl", "")


def test_a_path_is_printable_and_short() -> None:
    result = program("x\n", f"/tmp/\x1b[31m/{'x' * 5000}", "")
    assert result.executable is not None
    assert result.executable.startswith("/tmp/ [31m/xxx")
    assert (len(result.executable), len(result.name)) == (200, 64)


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        (f"{APP}/backup.service", "backup.service"),
        (f"{APP}/backup.service/workers/3", "backup.service"),
        (f"{APP}/app-org.mozilla.firefox.slice/app-org.mozilla.firefox-4711.scope", "app-org.mozilla.firefox-*.scope"),
        (f"{APP}/app-gnome-org.gnome.Terminal-22.scope", "app-gnome-org.gnome.Terminal-*.scope"),
        (f"{APP}/vte-spawn-0a1b2c3d-0a1b-4c3d-8e7f-0a1b2c3d4e5f.scope", "vte-spawn-*.scope"),
        (f"{APP}/app-org.kde.kate@0a1b2c3d4e5f60718293a4b5c6d7e8f9.service", "app-org.kde.kate@*.service"),
        (f"{APP}/run-u123.service", "run-*.service"),
        (f"{APP}/run-r0a1b2c3d4e5f60718293a4b5c6d7e8f9.scope", "run-*.scope"),
        (f"{APP}/mail-2024.service", "mail-2024.service"),
        (f"{APP}/sync@work.service", "sync@work.service"),
        ("/user.slice/user-1000.slice/session-3.scope", "session-*.scope"),
        ("/system.slice/docker-" + "0a" * 32 + ".scope", "docker-*.scope"),
        (APP, "user@*.service"),
        (f"{APP}/x.servicelike", "user@*.service"),
        ("/", None),
        ("/user.slice", None),
        ("", None),
    ],
)
def test_the_unit_of_a_process_omits_parts_that_vary(path: str, expected: str | None) -> None:
    assert unit(f"0::{path}\n") == expected
    assert unit(f"4:memory:/other.service\n1:name=systemd:{path}\n0::/\n") == expected


@pytest.mark.parametrize("text", ["", "\n", "0::", "::", "x", "4:memory:/other.service\n"])
def test_without_a_cgroup_there_is_no_unit(text: str) -> None:
    assert unit(text) is None


@given(st.text(), st.none() | st.text(), st.text())
def test_any_name_of_a_process_becomes_printable_and_short(comm: str, executable: str | None, path: str) -> None:
    result = program(comm, executable, f"0::/{path}.scope\n")
    assert all(value is None or (value.isprintable() and len(value) <= 200) for value in result)
    assert result.name


def test_the_start_time_is_read_with_any_process_name() -> None:
    fields = " ".join(map(str, range(4, 53)))  # each field is its number
    assert start_time(f"4711 (a b) S 1 (x) S {fields}\n") == start_time(f"4711 (x) S {fields}\n") == "22"


@pytest.mark.parametrize("text", ["", "4711", "4711 (x) S 1 2 3\n"])
def test_an_incomplete_stat_has_no_start_time(text: str) -> None:
    assert start_time(text) == ""


# ---- real processes


@pytest.fixture
def sleeper() -> Generator["subprocess.Popen[bytes]"]:
    with subprocess.Popen(["/bin/sleep", "1000"], stdout=subprocess.PIPE) as process:
        yield process
        process.kill()


@linux
def test_a_real_process_is_read(sleeper: "subprocess.Popen[bytes]") -> None:
    until(lambda: read_program(sleeper.pid).name != read_program(os.getpid()).name)  # it has executed sleep
    result = read_program(sleeper.pid)
    assert (result.name, result.executable) == ("sleep", os.path.realpath("/bin/sleep"))
    started = read_start_time(sleeper.pid)
    assert started.isdigit()
    assert started == read_start_time(sleeper.pid)
    assert read_parent(sleeper.pid) == os.getpid()
    assert (read_unit(sleeper.pid) is None) == (result.unit is None)


@linux
def test_reading_an_ended_process_is_an_error(sleeper: "subprocess.Popen[bytes]") -> None:
    sleeper.kill()
    sleeper.wait()
    for read in (read_program, read_start_time, read_parent, read_unit):
        with pytest.raises(OSError, match=str(sleeper.pid)):
            read(sleeper.pid)
