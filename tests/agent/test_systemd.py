"""What a service manager and the agent tell each other, over real sockets, and in processes of their own."""

import contextlib
import os
import re
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Generator
from pathlib import Path

import pytest

from auth_agent.host.systemd import READY, children_environment, inherited_socket, notify, reloading
from tests.integration.agent_process import PASSING_ON

ADOPT = """\
import os
from auth_agent.errors import StartupError
from auth_agent.host.systemd import inherited_socket
try:
    found = inherited_socket()
except StartupError as error:
    print(error)
else:
    print(found and (found.fileno(), found.getsockname(), found.get_inheritable(), found.getblocking()))
    found and found.close()
"""


@pytest.fixture
def place() -> Generator[Path]:
    """Not pytest's tmp_path: a socket's path has room for a hundred bytes."""
    with tempfile.TemporaryDirectory(prefix="auth-agent-") as directory:
        yield Path(directory)


# ---- what the agent tells


@pytest.mark.parametrize("abstract", [False, True])
def test_a_state_arrives_as_it_is(abstract: bool, place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    name = f"@auth-agent-{os.getpid()}" if abstract else str(place / "notify")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as receiver:
        receiver.bind(name.replace("@", "\0"))
        monkeypatch.setenv("NOTIFY_SOCKET", name)
        notify(READY)
        receiver.settimeout(10)
        assert receiver.recv(100) == b"READY=1"


@pytest.mark.parametrize("name", [None, ""])
def test_where_nobody_wants_to_know_nothing_is_said(
    name: str | None, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.delenv("NOTIFY_SOCKET", raising=False)
    if name is not None:
        monkeypatch.setenv("NOTIFY_SOCKET", name)
    notify(READY)
    assert caplog.messages == []


@pytest.mark.parametrize(
    "name", ["/nowhere/notify", "@nobody-there", "relative", "vsock:2:1234", "/" + "x" * 200, "@\udcff", "/dev/null"]
)
def test_an_address_that_nobody_hears_is_logged_and_no_more(
    name: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("NOTIFY_SOCKET", name)
    notify(READY)
    assert [message.partition(" error=")[0] for message in caplog.messages] == ["notify state='READY=1'"]


def test_a_receiver_that_never_reads_delays_nothing(
    place: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    with (
        socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as receiver,
        socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as filler,
    ):
        receiver.bind(str(place / "notify"))
        filler.setblocking(False)
        with contextlib.suppress(BlockingIOError):
            while True:
                filler.sendto(b"x" * 1000, str(place / "notify"))
        monkeypatch.setenv("NOTIFY_SOCKET", str(place / "notify"))
        notify(READY)
    assert [message.partition(" error=")[0] for message in caplog.messages] == ["notify state='READY=1'"]


def test_a_reload_tells_its_time() -> None:
    before = time.clock_gettime(time.CLOCK_MONOTONIC)
    first, second = reloading().split("\n")
    assert first == "RELOADING=1"
    name, _, microseconds = second.partition("=")
    assert name == "MONOTONIC_USEC"
    assert before - 0.001 <= int(microseconds) / 1e6 <= time.clock_gettime(time.CLOCK_MONOTONIC)


def test_children_hear_nothing_of_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AUTH_AGENT_LOG", "debug")
    expected = children_environment()
    for name in ("NOTIFY_SOCKET", "LISTEN_FDS", "LISTEN_PID", "LISTEN_FDNAMES", "LISTEN_PIDFDID", "WATCHDOG_USEC"):
        monkeypatch.setenv(name, "1")
    assert children_environment() == expected
    assert expected["AUTH_AGENT_LOG"] == "debug"


# ---- what it is given


def adopted(passed: socket.socket | None, count: str | None = "1") -> str:
    """What a process makes of being started with that socket."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("LISTEN_")}
    if count is not None:
        environment["LISTEN_FDS"] = count
    done = subprocess.run(
        [*PASSING_ON, sys.executable, "-W", "error", "-c", ADOPT],
        env=environment,
        stdin=subprocess.DEVNULL if passed is None else passed.fileno(),
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stderr == ""
    return done.stdout.rstrip("\n")


def test_a_listening_socket_is_taken_over_and_kept_from_children(place: Path) -> None:
    with socket.socket(socket.AF_UNIX) as passed:
        passed.bind(str(place / "agent.sock"))
        passed.listen()
        assert adopted(passed) == str((3, str(place / "agent.sock"), False, False))


@pytest.mark.parametrize("count", [None, "0"])
def test_where_none_was_passed_there_is_none(count: str | None) -> None:
    assert adopted(None, count) == "None"


@pytest.mark.parametrize("pid", [None, "", "1", str(os.getppid()), "x"])
def test_what_was_said_to_another_process_is_not_for_this_one(pid: str | None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LISTEN_FDS", "1")
    monkeypatch.delenv("LISTEN_PID", raising=False)
    if pid is not None:
        monkeypatch.setenv("LISTEN_PID", pid)
    assert inherited_socket() is None


@pytest.mark.parametrize("count", ["2", "many", "-1", ""])
def test_only_one_is_taken(count: str, place: Path) -> None:
    with socket.socket(socket.AF_UNIX) as passed:
        passed.bind(str(place / "agent.sock"))
        passed.listen()
        said = adopted(passed, count)
    assert said == f"{count} sockets were passed to the agent, which serves one"


@pytest.mark.parametrize(
    ("family", "kind", "said"),
    [
        (socket.AF_INET, socket.SOCK_STREAM, "is not a Unix socket: ListenStream= must be a path"),
        (socket.AF_UNIX, socket.SOCK_DGRAM, "not ListenDatagram="),
        (socket.AF_UNIX, socket.SOCK_SEQPACKET, "it must be ListenStream="),
        (socket.AF_UNIX, socket.SOCK_STREAM, "does not listen: .*Accept=yes"),
    ],
)
def test_a_wrong_socket_is_told_with_what_to_write_into_the_unit(
    family: socket.AddressFamily, kind: socket.SocketKind, said: str
) -> None:
    with socket.socket(family, kind) as passed:
        if family == socket.AF_INET:
            passed.listen()
        assert re.search(said, adopted(passed))


def test_what_is_no_socket_is_told() -> None:
    assert "descriptor 3 should be the agent's socket" in adopted(None)
