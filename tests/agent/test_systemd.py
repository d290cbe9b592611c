"""The service manager's protocols, over real sockets and in separate processes."""

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

from auth_agent.host.systemd import READY, inherited_socket, notify, reloading
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
def directory() -> Generator[Path]:
    """Not pytest's tmp_path: a socket's path has room for a hundred bytes."""
    with tempfile.TemporaryDirectory(prefix="auth-agent-") as name:
        yield Path(name)


# ---- notifications to the service manager


@pytest.mark.parametrize("abstract", [False, True])
def test_a_state_is_sent_unchanged(abstract: bool, directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    name = f"@auth-agent-{os.getpid()}" if abstract else str(directory / "notify")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as receiver:
        receiver.bind(name.replace("@", "\0"))
        monkeypatch.setenv("NOTIFY_SOCKET", name)
        notify(READY)
        receiver.settimeout(10)
        assert receiver.recv(100) == b"READY=1"


@pytest.mark.parametrize("name", [None, ""])
def test_without_notify_socket_nothing_is_sent_or_logged(
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
def test_a_failed_notification_is_only_logged(
    name: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("NOTIFY_SOCKET", name)
    notify(READY)
    assert [message.partition(" error=")[0] for message in caplog.messages] == ["notify state='READY=1'"]


def test_a_receiver_that_never_reads_delays_nothing_and_is_logged(
    directory: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    with (
        socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as receiver,
        socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as filler,
    ):
        receiver.bind(str(directory / "notify"))
        filler.setblocking(False)
        with contextlib.suppress(BlockingIOError):
            while True:
                filler.sendto(b"x" * 1000, str(directory / "notify"))
        monkeypatch.setenv("NOTIFY_SOCKET", str(directory / "notify"))
        notify(READY)
    assert [message.partition(" error=")[0] for message in caplog.messages] == ["notify state='READY=1'"]


def test_a_reload_notification_contains_the_monotonic_time() -> None:
    before = time.clock_gettime(time.CLOCK_MONOTONIC)
    first, second = reloading().split("\n")
    assert first == "RELOADING=1"
    name, _, microseconds = second.partition("=")
    assert name == "MONOTONIC_USEC"
    assert before - 0.001 <= int(microseconds) / 1e6 <= time.clock_gettime(time.CLOCK_MONOTONIC)


# ---- the inherited socket


def adopt_socket(passed: socket.socket | None, count: str | None = "1") -> str:
    """Return what `inherited_socket` returns or raises in a process that is started with that socket."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("LISTEN_")}
    if count is not None:
        environment["LISTEN_FDS"] = count
    process = subprocess.run(
        [*PASSING_ON, sys.executable, "-W", "error", "-c", ADOPT],
        env=environment,
        stdin=subprocess.DEVNULL if passed is None else passed.fileno(),
        capture_output=True,
        text=True,
        check=True,
    )
    assert process.stderr == ""
    return process.stdout.rstrip("\n")


def test_a_listening_socket_is_used_and_not_inheritable(directory: Path) -> None:
    with socket.socket(socket.AF_UNIX) as passed:
        passed.bind(str(directory / "agent.sock"))
        passed.listen()
        assert adopt_socket(passed) == str((3, str(directory / "agent.sock"), False, False))


@pytest.mark.parametrize("count", [None, "0"])
def test_without_a_passed_socket_the_result_is_none(count: str | None) -> None:
    assert adopt_socket(None, count) == "None"


@pytest.mark.parametrize("pid", [None, "", "1", str(os.getppid()), "x"])
def test_variables_for_another_pid_are_ignored(pid: str | None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LISTEN_FDS", "1")
    monkeypatch.delenv("LISTEN_PID", raising=False)
    if pid is not None:
        monkeypatch.setenv("LISTEN_PID", pid)
    assert inherited_socket() is None


@pytest.mark.parametrize("count", ["2", "many", "-1", ""])
def test_more_than_one_socket_is_an_error(count: str, directory: Path) -> None:
    with socket.socket(socket.AF_UNIX) as passed:
        passed.bind(str(directory / "agent.sock"))
        passed.listen()
        message = adopt_socket(passed, count)
    assert message.split(" ")[:2] == [count, "sockets"]


@pytest.mark.parametrize(
    ("family", "kind", "settings"),
    [
        (socket.AF_INET, socket.SOCK_STREAM, ["ListenStream="]),
        (socket.AF_UNIX, socket.SOCK_DGRAM, ["ListenStream=", "ListenDatagram="]),
        (socket.AF_UNIX, socket.SOCK_SEQPACKET, ["ListenStream=", "ListenDatagram="]),
        (socket.AF_UNIX, socket.SOCK_STREAM, ["Accept="]),
    ],
)
def test_an_unsuitable_socket_is_an_error_that_names_the_setting_to_correct(
    family: socket.AddressFamily, kind: socket.SocketKind, settings: list[str]
) -> None:
    with socket.socket(family, kind) as passed:
        if family == socket.AF_INET:
            passed.listen()
        message = adopt_socket(passed)
    assert re.findall(r"[A-Z]\w+=", message) == settings


def test_a_descriptor_that_is_not_a_socket_is_an_error() -> None:
    assert adopt_socket(None).startswith("descriptor 3 ")
