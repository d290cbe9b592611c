"""Opening a browser: which program is chosen, with which argument, and which URLs are never opened."""

import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from auth_agent.cli import browser
from tests.integration.agent_process import until

URL = "https://acme.example/authorize?client_id=c&state=s%2Bt;x"
Install = Callable[..., Path]


@pytest.fixture
def install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Install:
    """Return a function that installs a program as the only one in PATH; no display is set."""
    monkeypatch.setenv("PATH", f"{tmp_path}")
    for name in ("BROWSER", "DISPLAY", "WAYLAND_DISPLAY", "SSH_CONNECTION", "SSH_TTY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(sys, "platform", "linux")

    def install_program(name: str, script: str = "true") -> Path:
        program = tmp_path / name
        program.write_text(f"#!/bin/sh\n{script}\n")
        program.chmod(0o755)
        return program

    return install_program


def test_without_a_display_there_is_no_browser(install: Install) -> None:
    install("xdg-open")
    assert browser.command() is None
    assert not browser.open_url(URL)


@pytest.mark.parametrize("variable", ["DISPLAY", "WAYLAND_DISPLAY"])
def test_a_display_has_the_desktops_browser(install: Install, monkeypatch: pytest.MonkeyPatch, variable: str) -> None:
    monkeypatch.setenv(variable, ":0")
    assert browser.command() is None
    program = install("xdg-open")
    assert browser.command() == [str(program), "%s"]


def test_wsl_has_the_browser_of_windows(install: Install, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DISPLAY", ":0")
    install("xdg-open")
    program = install("wslview")
    assert browser.command() == [str(program), "%s"]


def test_a_browser_is_elsewhere_over_ssh_and_in_windows(install: Install, monkeypatch: pytest.MonkeyPatch) -> None:
    assert not browser.is_elsewhere()
    monkeypatch.setenv("DISPLAY", ":0")
    install("xdg-open")
    assert not browser.is_elsewhere()
    for name in ("SSH_CONNECTION", "SSH_TTY"):
        monkeypatch.setenv(name, "x")
        assert browser.is_elsewhere()
        monkeypatch.delenv(name)
    install("wslview")
    assert browser.is_elsewhere()


def test_macos_has_a_browser_except_over_ssh(install: Install, monkeypatch: pytest.MonkeyPatch) -> None:
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
def test_the_first_installed_program_of_browser_is_preferred_to_the_desktops(
    install: Install, monkeypatch: pytest.MonkeyPatch, variable: str, arguments: list[str]
) -> None:
    monkeypatch.setenv("DISPLAY", ":0")
    monkeypatch.setenv("BROWSER", variable)
    install("xdg-open")
    install("other")
    program = install("lynx-like")
    assert browser.command() == [str(program), *arguments]


def test_the_url_is_one_argument_and_no_shell_is_used(
    install: Install, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    output = tmp_path / "output"
    output.touch()
    # It keeps running, as a browser does.
    install("mine", f'echo noise; echo "$#|$1|$$" >{output}; exec /bin/sleep 30')
    monkeypatch.setenv("BROWSER", "mine")
    assert browser.open_url(URL)
    count, url, pid = until(output.read_text).split("|")
    session = os.getsid(int(pid))
    os.kill(int(pid), signal.SIGKILL)
    os.waitpid(int(pid), 0)  # since the command doesn't wait for it
    assert (count, url) == ("1", URL)
    assert session == int(pid)  # in a session without this terminal
    assert capfd.readouterr() == ("", "")


def test_a_browser_that_fails_at_once_is_detected(install: Install, monkeypatch: pytest.MonkeyPatch) -> None:
    install("mine", "exit 3")
    monkeypatch.setenv("BROWSER", "mine")
    assert not browser.open_url(URL)
    install("mine", "exit 0")
    assert browser.open_url(URL)
    install("mine").write_text("#!/not/there\n")
    assert not browser.open_url(URL)


@pytest.mark.parametrize(
    "url",
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
def test_a_url_of_an_unsafe_kind_is_never_opened(
    install: Install, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, url: str
) -> None:
    install("mine", f"echo opened >{tmp_path}/output")
    monkeypatch.setenv("BROWSER", "mine")
    assert not browser.open_url(url)
    assert not (tmp_path / "output").exists()
    assert browser.open_url("http://[::1]:8080/")
