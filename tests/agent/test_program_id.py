"""Which processes are one program, from `/proc`."""

import os
import subprocess
import sys

import pytest
from hypothesis import given, strategies as st

from auth_agent.host.program_id import Origin, ProgramID, origin, read_origin, unit_path

linux = pytest.mark.skipif(sys.platform != "linux", reason="other systems have no /proc")

APP = "/user.slice/user-1000.slice/user@1000.service/app.slice"
TICKS = os.sysconf("SC_CLK_TCK")


def stat(
    pid: int, since: float, *, session: int, group: int = 0, terminal: int = 0, foreground: int = -1, name: str = "x"
) -> str:
    """Return a `/proc/PID/stat`."""
    return f"{pid} ({name}) S 1 {group} {session} {terminal} {foreground} {'0 ' * 13}{int(since * TICKS)} 0 0\n"


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        (f"{APP}/backup.service", f"{APP}/backup.service"),
        (f"{APP}/backup.service/made/by-itself.scope", f"{APP}/backup.service"),
        (f"{APP}/app-gnome-firefox-4711.scope", f"{APP}/app-gnome-firefox-4711.scope"),
        (f"{APP}/app-dbus.slice/dbus-1.service", f"{APP}/app-dbus.slice/dbus-1.service"),
        ("/user.slice/user-1000.slice/session-3.scope", "/user.slice/user-1000.slice/session-3.scope"),
        ("/system.slice/docker-0a.scope", "/system.slice/docker-0a.scope"),
        (APP, None),
        (f"{APP}/made-by-hand", None),
        ("/", None),
        ("/docker/0a", None),
        ("", None),
    ],
)
def test_a_unit_is_known_by_its_path_up_to_it(path: str, expected: str | None) -> None:
    assert unit_path(f"0::{path}\n") == expected
    assert unit_path(f"4:memory:/other.service\n1:name=systemd:{path}\n0::/\n") == expected


def test_two_commands_of_one_session_are_one_program_as_old_as_the_session() -> None:
    leader = stat(10, 100, session=10)
    first = origin(stat(11, 500, session=10, group=11), leader, "0::/\n")
    second = origin(stat(12, 600, session=10, group=12, name="a (b) S 1"), leader, "0::/\n")
    assert first == second == Origin(ProgramID("session", "10 100.0"), 100)
    assert not first.is_at_terminal


def test_a_session_whose_number_is_used_again_is_another_program() -> None:
    before = origin(stat(11, 500, session=10), stat(10, 100, session=10), "")
    after = origin(stat(11, 500, session=10), stat(10, 400, session=10), "")
    assert before.program != after.program


def test_a_session_that_outlived_its_leader_is_as_old_as_the_process() -> None:
    assert origin(stat(11, 500, session=10), None, "") == Origin(ProgramID("session", "10 None"), 500)


def test_a_unit_goes_before_the_session_and_is_as_old_as_the_process() -> None:
    result = origin(stat(11, 500, session=10), stat(10, 100, session=10), f"0::{APP}/backup.service\n")
    assert result == Origin(ProgramID("unit", f"{APP}/backup.service"), 500)


def test_what_a_person_waits_for_is_not_the_program_that_runs_behind_it() -> None:
    leader = stat(10, 100, session=10, group=10, terminal=34816, foreground=12)
    behind = origin(stat(11, 200, session=10, group=11, terminal=34816, foreground=12), leader, "0::/s.scope")
    before = origin(stat(12, 300, session=10, group=12, terminal=34816, foreground=12), leader, "0::/s.scope")
    assert (behind.program.kind, behind.is_at_terminal) == ("unit", False)
    assert before == Origin(ProgramID("terminal", "10 100.0"), 100)
    assert before.is_at_terminal


def test_processes_whose_session_is_in_another_pid_namespace_are_one_program() -> None:
    # Such as what `docker exec` starts: a loop of them must not be a new program each time.
    first, second = (origin(stat(pid, since, session=0), None, "0::/") for pid, since in ((11, 500), (12, 501)))
    assert first == Origin(ProgramID("session", "0 None"), 500)
    assert second == Origin(ProgramID("session", "0 None"), 501)


@pytest.mark.parametrize("text", ["", "11", "11 (x) S 1 2 3\n"])
def test_an_incomplete_stat_is_an_error(text: str) -> None:
    with pytest.raises(OSError, match="nothing about the process"):
        origin(text, None, "")


@given(st.text())
def test_any_cgroup_is_read(text: str) -> None:
    path = unit_path(text)
    assert path is None or path.endswith((".service", ".scope"))


@linux
def test_real_processes_of_one_session_are_one_program_and_another_session_another() -> None:
    def started(*, new_session: bool) -> Origin:
        with subprocess.Popen(["/bin/sleep", "1000"], start_new_session=new_session) as process:
            try:
                return read_origin(process.pid)
            finally:
                process.kill()

    if unit_path(os.pread(os.open("/proc/self/cgroup", os.O_RDONLY), 16384, 0).decode()) is not None:
        pytest.skip("runs in a systemd unit, which is one program")
    first, second, third = started(new_session=False), started(new_session=False), started(new_session=True)
    assert first.program == second.program
    assert first.program != third.program


@linux
def test_an_ended_process_is_an_error() -> None:
    with subprocess.Popen(["/bin/true"]) as process:
        process.wait()
    with pytest.raises(OSError, match=str(process.pid)):
        read_origin(process.pid)
