"""The browser: which one is chosen, what it is given, and what is never opened."""

import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from auth_agent.cli import browser
from tests.integration.agent_process import until

ADDRESS = "https://acme.example/authorize?client_id=c&state=s%2Bt;x"
Install = Callable[..., Path]


@pytest.fixture
def install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Install:
    """Puts a program on the path, where there is no other; and there is no screen."""
    monkeypatch.setenv("PATH", f"{tmp_path}")
    for name in ("BROWSER", "DISPLAY", "WAYLAND_DISPLAY", "SSH_CONNECTION", "SSH_TTY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(sys, "platform", "linux")

    def put(name: str, script: str = "true") -> Path:
        program = tmp_path / name
        program.write_text(f"#!/bin/sh\n{script}\n")
        program.chmod(0o755)
        return program

    return put


def test_without_a_screen_there_is_no_browser(install: Install) -> None:
    install("xdg-open")
    assert browser.command() is None
    assert not browser.open_url(ADDRESS)


@pytest.mark.parametrize("variable", ["DISPLAY", "WAYLAND_DISPLAY"])
def test_a_screen_has_the_desktops_browser(install: Install, monkeypatch: pytest.MonkeyPatch, variable: str) -> None:
    monkeypatch.setenv(variable, ":0")
    assert browser.command() is None
    program = install("xdg-open")
    assert browser.command() == [str(program), "%s"]


def test_linux_on_windows_has_the_browser_of_windows(install: Install, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DISPLAY", ":0")
    install("xdg-open")
    program = install("wslview")
    assert browser.command() == [str(program), "%s"]


def test_a_mac_has_one_unless_its_screen_is_elsewhere(install: Install, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "platform", "darwin")
    program = install("open")
    assert browser.command() == [str(program), "%s"]
    monkeypatch.setenv("SSH_CONNECTION", "192.0.2.1 22 192.0.2.2 22")
    assert browser.command() is None


@pytest.mark.parametrize(
    ("variable", "arguments"),
    [
        ("lynx-like", ["%s"]),
        ("not-there:lynx-like:other", ["%s"]),
        ("lynx-like --new 'a b' %s &", ["--new", "a b", "%s"]),
        ("lynx-like --url=%s -x", ["--url=%s", "-x"]),
        ("it's:lynx-like", ["%s"]),
    ],
)
def test_the_first_that_is_wished_for_and_there_comes_before_the_desktops(
    install: Install, monkeypatch: pytest.MonkeyPatch, variable: str, arguments: list[str]
) -> None:
    monkeypatch.setenv("DISPLAY", ":0")
    monkeypatch.setenv("BROWSER", variable)
    install("xdg-open")
    install("other")
    program = install("lynx-like")
    assert browser.command() == [str(program), *arguments]


def test_the_address_is_one_argument_and_no_shell_sees_it(
    install: Install, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    told = tmp_path / "told"
    told.touch()
    # It lives on, as a browser does.
    install("mine", f'echo noise; echo "$#|$1|$$" >{told}; exec /bin/sleep 30')
    monkeypatch.setenv("BROWSER", "mine")
    assert browser.open_url(ADDRESS)
    count, address, pid = until(told.read_text).split("|")
    session = os.getsid(int(pid))
    os.kill(int(pid), signal.SIGKILL)
    os.waitpid(int(pid), 0)  # which the command leaves to its own end
    assert (count, address) == ("1", ADDRESS)
    assert session == int(pid)  # away from this terminal
    assert capfd.readouterr() == ("", "")


def test_a_browser_that_fails_at_once_is_noticed(install: Install, monkeypatch: pytest.MonkeyPatch) -> None:
    install("mine", "exit 3")
    monkeypatch.setenv("BROWSER", "mine")
    assert not browser.open_url(ADDRESS)
    install("mine", "exit 0")
    assert browser.open_url(ADDRESS)
    install("mine").write_text("#!/not/there\n")
    assert not browser.open_url(ADDRESS)


@pytest.mark.parametrize(
    "address",
    [
        "file:///etc/passwd",
        "javascript:alert(1)",
        "http://acme.example/",
        "http://127.0.0.1.acme.example/",
        "https://user@acme.example/",
        "https:///nowhere",
        "https://acme.example/\n",
        "--version",
        "",
    ],
)
def test_what_no_login_asks_for_is_never_opened(
    install: Install, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, address: str
) -> None:
    install("mine", f"echo opened >{tmp_path}/told")
    monkeypatch.setenv("BROWSER", "mine")
    assert not browser.open_url(address)
    assert not (tmp_path / "told").exists()
    assert browser.open_url("http://[::1]:8080/")
